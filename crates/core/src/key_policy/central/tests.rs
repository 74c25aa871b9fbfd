use super::*;
use crate::access::{KeyAccess, cloudtrail_context, cloudtrail_key_access};
use crate::iam::{Caller, Context, Document, Identity, Request, evaluate};
use crate::key_policy::KeyPolicy;
use crate::testing::{config, home, outcome};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
const ORGANIZATION: &str = "o-abcdefghij";
const MEMBER: &str = "210987654321";

fn central(organization: Option<&str>, accounts: &[&str], readers: &str) -> CentralKey {
    CentralKey {
        partition: Partition::commercial(),
        account: home().account().clone(),
        organization: organization.map(|id| id.parse().unwrap()),
        accounts: accounts.iter().map(|id| id.parse().unwrap()).collect(),
        readers: readers.parse().unwrap(),
        stack: StackName::default(),
    }
}

fn of_organization() -> String {
    central(Some(ORGANIZATION), &[], "").policy().unwrap()
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

/// What the policy says to a service that asks for a trail of an account of that organization: to each
/// of CloudTrail's calls.
fn says_to(policy: &str, service: &str, account: &str, organization: &str) -> [&'static str; 3] {
    let trail = trail(account).parse().unwrap();
    ["kms:GenerateDataKey", "kms:DescribeKey", "kms:Decrypt"].map(|action| {
        let context = cloudtrail_context(&trail)
            .with("aws:SourceOrgID", organization)
            // Services call from accounts of AWS's own.
            .with("kms:CallerAccount", "000000000001")
            .with("kms:EncryptionContext:aws:cloudtrail:arn", trail.as_str());
        let caller = Caller::service(service);
        let request = Request { caller, action: action.to_owned(), resource: KEY.to_owned(), context };
        outcome(&evaluate(&Document::parse(policy).unwrap(), &request))
    })
}

/// What the policy says to a role that asks by itself, not through S3.
fn says_to_role(policy: &str, role: &str, organization: Option<&str>, action: &str) -> &'static str {
    let identity = Identity::parse(role).unwrap();
    let context = Context::new()
        .with("aws:PrincipalArn", role)
        .with("kms:CallerAccount", identity.account())
        .without("kms:ViaService")
        .without("aws:SourceArn");
    let context = match organization {
        Some(organization) => context.with("aws:PrincipalOrgID", organization),
        None => context.without("aws:PrincipalOrgID"),
    };
    let caller = Caller::Identity(identity);
    outcome(&evaluate(
        &Document::parse(policy).unwrap(),
        &Request { caller, action: action.to_owned(), resource: KEY.to_owned(), context },
    ))
}

#[test]
fn the_whole_policy_is_this() {
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
    // The key's own account is always there, also if it is named again.
    let text = central(Some(ORGANIZATION), &["444455556666", "123456789012"], siem).policy().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    let beginning = "{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {\n      \"Sid\": \"AccountAdministersThroughIam\",";
    assert!(text.starts_with(beginning) && text.ends_with("\n}\n"), "{text}");
}

#[test]
fn what_it_says_of_its_own_account_and_of_readers_is_what_trailseal_writes_on_its_own_keys() {
    let readers = "arn:aws:iam::222233334444:role/siem,222233334444,o-bbbbbbbbbb,account";
    let ours = KeyPolicy::new(&config(&[("TRAILSEAL_LOG_READERS", readers)]), &home());
    let mut ours = statements(&ours.text());
    ours.retain(|statement| statement["Sid"] != "TrailsealFinishesCreation");
    let mut theirs = statements(&central(Some(ORGANIZATION), &[], readers).policy().unwrap());
    theirs.retain(|statement| {
        !statement["Sid"].as_str().unwrap().starts_with("Organization")
            || statement["Sid"] == "OrganizationReadersDecrypt"
    });
    assert_eq!(theirs, ours);
}

#[test]
fn cloudtrail_is_certainly_let_in_for_the_keys_own_account_and_for_those_that_are_named() {
    let policy = central(Some(ORGANIZATION), &[MEMBER], "account").policy().unwrap();
    for account in ["123456789012", MEMBER] {
        let entry = cloudtrail_key_access(
            &Document::parse(&policy).unwrap(),
            &KEY.parse().unwrap(),
            &trail(account).parse().unwrap(),
        );
        let KeyAccess { generate_data_key, describe_key, decrypt } = entry;
        let says = [generate_data_key, describe_key, decrypt].map(|decision| outcome(&decision));
        assert_eq!(says, ["allowed"; 3]);
    }
    // Nothing tells of which organization another account is.
    let entry = cloudtrail_key_access(
        &Document::parse(&policy).unwrap(),
        &KEY.parse().unwrap(),
        &trail("444455556666").parse().unwrap(),
    );
    assert_eq!(outcome(&entry.describe_key), "unknown");
}

#[test]
fn cloudtrail_is_let_in_for_the_organizations_accounts_no_other_organizations_and_no_other_service() {
    let policy = of_organization();
    let cloudtrail = "cloudtrail.amazonaws.com";
    assert_eq!(says_to(&policy, cloudtrail, MEMBER, ORGANIZATION), ["allowed"; 3]);
    assert_eq!(says_to(&policy, cloudtrail, MEMBER, "o-bbbbbbbbbb"), ["implicit deny"; 3]);
    assert_eq!(says_to(&policy, "config.amazonaws.com", MEMBER, ORGANIZATION), ["implicit deny"; 3]);
    let by_name = central(None, &[MEMBER], "").policy().unwrap();
    assert_eq!(says_to(&by_name, cloudtrail, MEMBER, "o-bbbbbbbbbb"), ["allowed"; 3]);
    assert_eq!(says_to(&by_name, cloudtrail, "444455556666", ORGANIZATION), ["implicit deny"; 3]);
}

#[test]
fn another_accounts_trailseal_may_describe_the_key_and_nothing_else() {
    let trailseal = format!("arn:aws:iam::{MEMBER}:role/trailseal-eu-west-1");
    let another = format!("arn:aws:iam::{MEMBER}:role/path/trailseal-eu-west-1");
    let (within, outside) = (Some(ORGANIZATION), Some("o-bbbbbbbbbb"));
    let describe = "kms:DescribeKey";
    let policy = of_organization();
    assert_eq!(says_to_role(&policy, &trailseal, within, describe), "allowed");
    for action in ["kms:GetKeyPolicy", "kms:GenerateDataKey", "kms:Decrypt", "kms:PutKeyPolicy", "kms:CreateGrant"] {
        assert_eq!(says_to_role(&policy, &trailseal, within, action), "implicit deny", "{action}");
    }
    for organization in [outside, None] {
        assert_eq!(says_to_role(&policy, &trailseal, organization, describe), "implicit deny");
    }
    assert_eq!(says_to_role(&policy, &another, within, describe), "implicit deny");

    let by_name = central(None, &[MEMBER], "").policy().unwrap();
    let elsewhere = trailseal.replace(MEMBER, "444455556666");
    assert_eq!(says_to_role(&by_name, &trailseal, outside, describe), "allowed");
    assert_eq!(says_to_role(&by_name, &trailseal, None, "kms:Decrypt"), "implicit deny");
    assert_eq!(says_to_role(&by_name, &elsewhere, within, describe), "implicit deny");
    assert_eq!(says_to_role(&by_name, &another, None, describe), "implicit deny");
    // Under another name, trailseal is another role.
    let renamed = CentralKey { stack: "seal".parse().unwrap(), ..central(Some(ORGANIZATION), &[], "") };
    assert_eq!(says_to_role(&renamed.policy().unwrap(), &trailseal, within, describe), "implicit deny");
}

#[test]
fn a_reader_decrypts_through_s3_alone() {
    let siem = "arn:aws:iam::222233334444:role/siem";
    let policy = central(Some(ORGANIZATION), &[], siem).policy().unwrap();
    assert_eq!(says_to_role(&policy, siem, None, "kms:Decrypt"), "implicit deny");
    let through_s3 = |role: &str| {
        let context =
            Context::new().with("aws:PrincipalArn", role).with("kms:ViaService", "s3.eu-west-1.amazonaws.com");
        let caller = Caller::Identity(Identity::parse(role).unwrap());
        let request = Request { caller, action: "kms:Decrypt".to_owned(), resource: KEY.to_owned(), context };
        outcome(&evaluate(&Document::parse(&policy).unwrap(), &request))
    };
    assert_eq!(through_s3(siem), "allowed");
    assert_eq!(through_s3("arn:aws:iam::222233334444:role/other"), "implicit deny");
}

#[test]
fn no_principal_is_anybody_who_could_be_deleted() {
    let policy = central(Some(ORGANIZATION), &[MEMBER], "arn:aws:iam::222233334444:role/siem").policy().unwrap();
    for statement in statements(&policy) {
        let principal = &statement["Principal"];
        let lasting = [
            json!("*"),
            json!({ "AWS": "arn:aws:iam::123456789012:root" }),
            json!({ "Service": "cloudtrail.amazonaws.com" }),
        ];
        assert!(lasting.contains(principal), "{principal}");
        assert!(*principal != "*" || statement["Condition"].is_object());
    }
}

#[test]
fn it_is_not_taken_for_the_policy_of_an_unfinished_key_and_lacks_nothing_but_the_role() {
    let ours = KeyPolicy::new(&config(&[]), &home());
    let document = Document::parse(&of_organization()).unwrap();
    assert!(!ours.covers(&document));
    assert_eq!(ours.full_extension(&document).unwrap().sids(), ["TrailsealFinishesCreation"]);
    assert_eq!(ours.extension(&document), None);
    assert_eq!(ours.unrevoked_readers(&document), []);
}

#[test]
fn arns_are_of_the_keys_partition() {
    let china =
        CentralKey { partition: "aws-cn".parse().unwrap(), ..central(Some(ORGANIZATION), &[MEMBER], "222233334444") };
    let text = china.policy().unwrap();
    assert!(text.contains("arn:aws-cn:iam::222233334444:root") && !text.contains("arn:aws:"), "{text}");
}

#[test]
fn a_key_for_its_own_account_alone_is_left_to_trailseal() {
    for accounts in [&[][..], &["123456789012"]] {
        let refused = central(None, accounts, "o-abcdefghij").policy().unwrap_err();
        assert!(matches!(refused, NoPolicy::NobodyElse), "{refused}");
    }
}

#[test]
fn a_policy_longer_than_kms_takes_is_told_with_how_many_accounts_fit() {
    let ids: Vec<String> = (0..400_u64).map(|n| format!("{:012}", 500_000_000_000 + n)).collect();
    let with = |count: usize| {
        let ids: Vec<&str> = ids.iter().take(count).map(String::as_str).collect();
        central(None, &ids, "").policy()
    };
    let Err(NoPolicy::TooLong { bytes, accounts: 400, fitting }) = with(400) else { panic!("it fits") };
    assert!(bytes > MAX_BYTES);
    // Without layout, more fit than with it.
    assert!(with(fitting).unwrap().len() <= MAX_BYTES && with(fitting + 1).is_err());
    assert!(!with(fitting).unwrap().contains("  ") && with(50).unwrap().contains("  "));
    assert_eq!(sids(&with(fitting).unwrap()).last().unwrap(), "TrailsealDescribes");
    let told = with(400).unwrap_err().to_string();
    assert!(told.contains(&format!("of the 400 further accounts, {fitting} fit")), "{told}");

    let readers: Vec<String> = ids.iter().map(|id| format!("arn:aws:iam::{id}:role/{}", "r".repeat(64))).collect();
    let told = central(Some(ORGANIZATION), &[], &readers.join(",")).policy().unwrap_err().to_string();
    assert!(told.contains("too many readers"), "{told}");
}
