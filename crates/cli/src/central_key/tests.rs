use trailseal_core::access::{KeyAccess, cloudtrail_key_access};
use trailseal_core::config::Config;
use trailseal_core::iam::{Caller, Context, Document, Identity, Request, evaluate};
use trailseal_core::key_policy::KeyPolicy;

use super::*;

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
const ORGANIZATION: &str = "o-abcdefghij";
const ACCOUNT: &str = "123456789012";
const MEMBER: &str = "210987654321";

fn central(organization: Option<&str>, accounts: &[&str], readers: &str) -> CentralKey {
    CentralKey {
        partition: "aws".parse().unwrap(),
        account: ACCOUNT.parse().unwrap(),
        organization: organization.map(|id| id.parse().unwrap()),
        accounts: accounts.iter().map(|id| id.parse().unwrap()).collect(),
        readers: readers.parse().unwrap(),
        stack: "trailseal".parse().unwrap(),
    }
}

fn for_organization() -> String {
    central(Some(ORGANIZATION), &[], "").policy().unwrap()
}

/// The policy of the keys that trailseal creates.
fn own_policy(readers: &str) -> KeyPolicy {
    let lookup = |name: &str| match name {
        "TRAILSEAL_MODE" => Some("enforce".to_owned()),
        "TRAILSEAL_ROLE_ARN" => Some(format!("arn:aws:iam::{ACCOUNT}:role/trailseal")),
        "TRAILSEAL_LOG_READERS" => Some(readers.to_owned()),
        _ => None,
    };
    let function = format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:function:trailseal");
    KeyPolicy::new(&Config::parse(lookup).unwrap(), &function.parse().unwrap())
}

fn key_access(policy: &str, account: &str) -> KeyAccess {
    cloudtrail_key_access(
        &Document::parse(policy).unwrap(),
        &KEY.parse().unwrap(),
        &trail(account).parse().unwrap(),
        None,
    )
}

fn statements(policy: &str) -> Vec<Value> {
    let policy: Value = serde_json::from_str(policy).unwrap();
    policy["Statement"].as_array().unwrap().clone()
}

fn sids(policy: &str) -> Vec<String> {
    statements(policy).iter().map(|statement| statement["Sid"].as_str().unwrap().to_owned()).collect()
}

fn trail(account: &str) -> String {
    format!("arn:aws:cloudtrail:us-east-1:{account}:trail/audit")
}

/// How the policy answers CloudTrail's calls, made by `service` for a trail of that account and organization.
fn service_calls(policy: &str, service: &str, account: &str, organization: &str) -> [&'static str; 3] {
    ["kms:GenerateDataKey", "kms:DescribeKey", "kms:Decrypt"].map(|action| {
        let context = Context::new()
            .with("aws:SourceArn", trail(account))
            .with("aws:SourceAccount", account)
            .with("aws:SourceOrgID", organization)
            // A service principal belongs to no organization and has no ARN.
            .without("aws:PrincipalOrgID")
            .without("aws:PrincipalArn")
            // Services call from AWS's own accounts.
            .with("kms:CallerAccount", "000000000001")
            .with("kms:EncryptionContext:aws:cloudtrail:arn", trail(account));
        answer(policy, Caller::service(service), action, context)
    })
}

/// How the policy answers a role's own call, not one through S3.
fn role_call(policy: &str, role: &str, organization: Option<&str>, action: &str) -> &'static str {
    let identity = Identity::parse(role).unwrap();
    let context = Context::new()
        .with("aws:PrincipalArn", role)
        .with("kms:CallerAccount", role.split(':').nth(4).unwrap())
        .without("kms:ViaService")
        .without("aws:SourceArn");
    let context = match organization {
        Some(organization) => context.with("aws:PrincipalOrgID", organization),
        None => context.without("aws:PrincipalOrgID"),
    };
    answer(policy, Caller::Identity(identity), action, context)
}

fn answer(policy: &str, caller: Caller, action: &str, context: Context) -> &'static str {
    let request = Request { caller, action: action.to_owned(), resource: KEY.to_owned(), context };
    evaluate(&Document::parse(policy).unwrap(), &request).name()
}

#[test]
fn the_whole_policy() {
    let siem = "arn:aws:iam::222233334444:role/siem";
    let own = json!(["arn:aws:cloudtrail:*:123456789012:trail/*", "arn:aws:cloudtrail:*:444455556666:trail/*",]);
    let all = "arn:aws:cloudtrail:*:*:trail/*";
    let of_it = json!({ "aws:SourceOrgID": ORGANIZATION });
    let cloudtrail = json!({ "Service": "cloudtrail.amazonaws.com" });
    let role = json!({ "aws:PrincipalArn": "arn:aws:iam::*:role/trailseal-*" });
    let expected = json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Sid": "AccountAdministersThroughIam", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:root" }, "Action": "kms:*", "Resource": "*" },
            { "Sid": "CloudTrailEncrypts", "Effect": "Allow", "Principal": cloudtrail, "Action": "kms:GenerateDataKey*", "Resource": "*",
              "Condition": { "ArnLike": { "aws:SourceArn": own }, "StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": own } } },
            { "Sid": "CloudTrailDescribes", "Effect": "Allow", "Principal": cloudtrail, "Action": "kms:DescribeKey", "Resource": "*",
              "Condition": { "ArnLike": { "aws:SourceArn": own } } },
            { "Sid": "CloudTrailDecryptsForBucketKeys", "Effect": "Allow", "Principal": cloudtrail, "Action": "kms:Decrypt", "Resource": "*",
              "Condition": { "ArnLike": { "aws:SourceArn": own } } },
            { "Sid": "OrganizationTrailsEncrypt", "Effect": "Allow", "Principal": cloudtrail, "Action": "kms:GenerateDataKey*", "Resource": "*",
              "Condition": { "StringEquals": of_it, "ArnLike": { "aws:SourceArn": all }, "StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": all } } },
            { "Sid": "OrganizationTrailsDescribe", "Effect": "Allow", "Principal": cloudtrail, "Action": "kms:DescribeKey", "Resource": "*",
              "Condition": { "StringEquals": of_it, "ArnLike": { "aws:SourceArn": all } } },
            { "Sid": "OrganizationTrailsDecryptForBucketKeys", "Effect": "Allow", "Principal": cloudtrail, "Action": "kms:Decrypt", "Resource": "*",
              "Condition": { "StringEquals": of_it, "ArnLike": { "aws:SourceArn": all } } },
            { "Sid": "OrganizationTrailsealDescribes", "Effect": "Allow", "Principal": "*", "Action": "kms:DescribeKey", "Resource": "*",
              "Condition": { "StringEquals": { "aws:PrincipalOrgID": ORGANIZATION }, "ArnLike": role } },
            { "Sid": "TrailsealDescribes", "Effect": "Allow", "Principal": "*", "Action": "kms:DescribeKey", "Resource": "*",
              "Condition": { "StringEquals": { "kms:CallerAccount": "444455556666" }, "ArnLike": role } },
            { "Sid": "LogReadersDecrypt", "Effect": "Allow", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*",
              "Condition": { "ArnEquals": { "aws:PrincipalArn": siem }, "StringLike": { "kms:ViaService": "s3.*" } } },
        ]
    });
    // The key's own account is always included, and only once.
    let text = central(Some(ORGANIZATION), &["444455556666", "123456789012"], siem).policy().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    let beginning = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {\n      \"Sid\": \"AccountAdministersThroughIam\",";
    assert!(text.starts_with(beginning) && text.ends_with("\n}\n"), "{text}");
}

#[test]
fn own_statements_equal_those_of_keys_that_trailseal_creates() {
    let readers = "arn:aws:iam::222233334444:role/siem,222233334444,o-bbbbbbbbbb,account";
    let mut own = statements(&own_policy(readers).text());
    own.retain(|statement| statement["Sid"] != "TrailsealFinishesCreation");
    let mut central = statements(&central(Some(ORGANIZATION), &[], readers).policy().unwrap());
    central.retain(|statement| {
        !statement["Sid"].as_str().unwrap().starts_with("Organization")
            || statement["Sid"] == "OrganizationReadersDecrypt"
    });
    assert_eq!(central, own);
}

#[test]
fn cloudtrail_is_allowed_with_certainty_for_named_accounts() {
    let policy = central(Some(ORGANIZATION), &[MEMBER], "account").policy().unwrap();
    for account in ["123456789012", MEMBER] {
        let KeyAccess { generate_data_key, describe_key, decrypt } = key_access(&policy, account);
        assert_eq!([generate_data_key, describe_key, decrypt].map(|it| it.name()), ["allowed"; 3]);
    }
    // The organization of another account is unknown.
    assert_eq!(key_access(&policy, "444455556666").describe_key.name(), "unknown");
}

#[test]
fn only_cloudtrail_is_allowed_and_only_for_the_organization() {
    let policy = for_organization();
    let cloudtrail = "cloudtrail.amazonaws.com";
    assert_eq!(service_calls(&policy, cloudtrail, MEMBER, ORGANIZATION), ["allowed"; 3]);
    assert_eq!(service_calls(&policy, cloudtrail, MEMBER, "o-bbbbbbbbbb"), ["implicit deny"; 3]);
    assert_eq!(service_calls(&policy, "config.amazonaws.com", MEMBER, ORGANIZATION), ["implicit deny"; 3]);
    let by_name = central(None, &[MEMBER], "").policy().unwrap();
    assert_eq!(service_calls(&by_name, cloudtrail, MEMBER, "o-bbbbbbbbbb"), ["allowed"; 3]);
    assert_eq!(service_calls(&by_name, cloudtrail, "444455556666", ORGANIZATION), ["implicit deny"; 3]);
}

#[test]
fn trailseal_in_another_account_may_only_describe_the_key() {
    let trailseal = format!("arn:aws:iam::{MEMBER}:role/trailseal-eu-west-1");
    let another = format!("arn:aws:iam::{MEMBER}:role/path/trailseal-eu-west-1");
    let (within, outside) = (Some(ORGANIZATION), Some("o-bbbbbbbbbb"));
    let describe = "kms:DescribeKey";
    let policy = for_organization();
    assert_eq!(role_call(&policy, &trailseal, within, describe), "allowed");
    for action in ["kms:GetKeyPolicy", "kms:GenerateDataKey", "kms:Decrypt", "kms:PutKeyPolicy", "kms:CreateGrant"] {
        assert_eq!(role_call(&policy, &trailseal, within, action), "implicit deny", "{action}");
    }
    for organization in [outside, None] {
        assert_eq!(role_call(&policy, &trailseal, organization, describe), "implicit deny");
    }
    assert_eq!(role_call(&policy, &another, within, describe), "implicit deny");

    let by_name = central(None, &[MEMBER], "").policy().unwrap();
    let elsewhere = trailseal.replace(MEMBER, "444455556666");
    assert_eq!(role_call(&by_name, &trailseal, outside, describe), "allowed");
    assert_eq!(role_call(&by_name, &trailseal, None, "kms:Decrypt"), "implicit deny");
    assert_eq!(role_call(&by_name, &elsewhere, within, describe), "implicit deny");
    assert_eq!(role_call(&by_name, &another, None, describe), "implicit deny");
    // A stack of another name has another role.
    let renamed = CentralKey { stack: "seal".parse().unwrap(), ..central(Some(ORGANIZATION), &[], "") };
    assert_eq!(role_call(&renamed.policy().unwrap(), &trailseal, within, describe), "implicit deny");
}

#[test]
fn a_reader_can_decrypt_only_through_s3() {
    let siem = "arn:aws:iam::222233334444:role/siem";
    let policy = central(Some(ORGANIZATION), &[], siem).policy().unwrap();
    assert_eq!(role_call(&policy, siem, None, "kms:Decrypt"), "implicit deny");
    let through_s3 = |role: &str| {
        let context =
            Context::new().with("aws:PrincipalArn", role).with("kms:ViaService", "s3.eu-west-1.amazonaws.com");
        answer(&policy, Caller::Identity(Identity::parse(role).unwrap()), "kms:Decrypt", context)
    };
    assert_eq!(through_s3(siem), "allowed");
    assert_eq!(through_s3("arn:aws:iam::222233334444:role/other"), "implicit deny");
}

#[test]
fn no_principal_can_be_deleted() {
    let policy = central(Some(ORGANIZATION), &[MEMBER], "arn:aws:iam::222233334444:role/siem").policy().unwrap();
    for statement in statements(&policy) {
        let principal = &statement["Principal"];
        let permanent = [
            json!("*"),
            json!({ "AWS": "arn:aws:iam::123456789012:root" }),
            json!({ "Service": "cloudtrail.amazonaws.com" }),
        ];
        assert!(permanent.contains(principal), "{principal}");
        assert!(*principal != "*" || statement["Condition"].is_object());
    }
}

#[test]
fn it_lacks_only_the_role_of_an_unfinished_key() {
    let own = own_policy("");
    let document = Document::parse(&for_organization()).unwrap();
    assert!(!own.covers(&document));
    assert_eq!(own.full_extension(&document).unwrap().sids(), ["TrailsealFinishesCreation"]);
    assert_eq!(own.extension(&document), None);
    assert_eq!(own.unrevoked_readers(&document), []);
}

#[test]
fn arns_have_the_keys_partition() {
    let china =
        CentralKey { partition: "aws-cn".parse().unwrap(), ..central(Some(ORGANIZATION), &[MEMBER], "222233334444") };
    let text = china.policy().unwrap();
    assert!(text.contains("arn:aws-cn:iam::222233334444:root") && !text.contains("arn:aws:"), "{text}");
}

#[test]
fn a_key_for_only_its_own_account_is_rejected() {
    for accounts in [&[][..], &["123456789012"]] {
        let refused = central(None, accounts, "o-abcdefghij").policy().unwrap_err();
        assert!(matches!(refused, NoPolicy::NoOtherAccount), "{refused}");
    }
}

#[test]
fn a_policy_too_long_for_kms_reports_how_many_accounts_fit() {
    let ids: Vec<String> = (0..400_u64).map(|n| format!("{:012}", 500_000_000_000 + n)).collect();
    let with = |count: usize| {
        let ids: Vec<&str> = ids.iter().take(count).map(String::as_str).collect();
        central(None, &ids, "").policy()
    };
    let Err(NoPolicy::TooLong { bytes, accounts: 400, fitting }) = with(400) else { panic!("it fits") };
    assert!(bytes > MAX_BYTES);
    // Without indentation, more accounts fit.
    assert!(with(fitting).unwrap().len() <= MAX_BYTES && with(fitting + 1).is_err());
    assert!(!with(fitting).unwrap().contains("  ") && with(50).unwrap().contains("  "));
    assert_eq!(sids(&with(fitting).unwrap()).last().unwrap(), "TrailsealDescribes");
    let message = with(400).unwrap_err().to_string();
    assert!(message.contains(&format!("only {fitting} of the 400 other accounts fit")), "{message}");

    let readers: Vec<String> = ids.iter().map(|id| format!("arn:aws:iam::{id}:role/{}", "r".repeat(64))).collect();
    let message = central(Some(ORGANIZATION), &[], &readers.join(",")).policy().unwrap_err().to_string();
    assert!(message.contains("too many '--readers'"), "{message}");
}
