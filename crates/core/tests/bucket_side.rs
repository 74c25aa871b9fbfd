//! The bucket's side of a trail that gets a key: whether its policy lets CloudTrail write with that
//! key, and who could read the log files and not decrypt them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use trailseal_core::access::{LockedOutReader, LogFiles, cloudtrail_bucket_access, locked_out_readers};
use trailseal_core::config::Config;
use trailseal_core::iam::{Decision, Document};
use trailseal_core::ids::{AccountId, KeyArn, TrailArn};
use trailseal_core::key_policy::KeyPolicy;

#[expect(dead_code, reason = "each test uses some of it")]
mod arbitrary_policies;
mod cases;

const KEY: &str = "arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER_KEY: &str = "arn:aws:kms:us-east-1:111111111111:key/0000abcd-12ab-34cd-56ef-1234567890ab";
const SIEM: &str = "arn:aws:iam::222222222222:role/siem";

/// One of the policies that have a file of their own.
fn filed(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies").join(format!("bucket-{name}.json"));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    file["policy"].clone()
}

/// CloudTrail's own bucket policy with more statements.
fn with(statements: &[Value]) -> Value {
    let mut policy = filed("cloudtrail");
    policy["Statement"].as_array_mut().unwrap().extend_from_slice(statements);
    policy
}

fn in_partition(text: &str, partition: &str, region: &str) -> String {
    text.replace("arn:aws:", &format!("arn:{partition}:")).replace("us-east-1", region)
}

fn trail() -> TrailArn {
    "arn:aws:cloudtrail:us-east-1:111111111111:trail/audit".parse().unwrap()
}

/// `no`, `cannot tell` or the statement.
fn refusal(policy: &Value, key: &str) -> String {
    refusal_of(policy, key, false)
}

fn refusal_of(policy: &Value, key: &str, organization: bool) -> String {
    let trail = trail();
    let files = LogFiles { organization, ..LogFiles::new("logs", None, &trail) };
    let policy = Document::parse(&policy.to_string()).unwrap();
    match cloudtrail_bucket_access(&policy, &files, &key.parse().unwrap()) {
        Decision::ExplicitDeny(statement) => statement.sid.unwrap(),
        Decision::Unknown(_) => "cannot tell".to_owned(),
        _ => "no".to_owned(),
    }
}

fn deny_puts(sid: &str, condition: &Value) -> Value {
    json!({ "Sid": sid, "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::logs/*", "Condition": condition })
}

fn deny_all(sid: &str, condition: &Value) -> Value {
    json!({ "Sid": sid, "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": ["arn:aws:s3:::logs", "arn:aws:s3:::logs/*"], "Condition": condition })
}

const KEY_ID: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
const SSE: &str = "s3:x-amz-server-side-encryption";

#[test]
fn a_deny_refuses_if_the_new_request_would_meet_it() {
    let table = [
        (json!({ "StringNotEquals": { KEY_ID: OTHER_KEY } }), "Deny"),
        (json!({ "StringNotEqualsIfExists": { KEY_ID: OTHER_KEY } }), "Deny"),
        (json!({ "ArnNotEqualsIfExists": { KEY_ID: OTHER_KEY } }), "Deny"),
        (json!({ "StringNotEquals": { KEY_ID: [OTHER_KEY, KEY] } }), "no"),
        (json!({ "StringNotLike": { KEY_ID: "arn:aws:kms:us-east-1:111111111111:key/*" } }), "no"),
        (json!({ "StringNotLike": { KEY_ID: "arn:aws:kms:us-east-1:222222222222:key/*" } }), "Deny"),
        (json!({ "Null": { KEY_ID: "true" } }), "no"),
        (json!({ "Null": { KEY_ID: "false" } }), "Deny"),
        (json!({ "Null": { SSE: true } }), "no"),
        (json!({ "StringNotEquals": { SSE: "AES256" } }), "Deny"),
        (json!({ "StringNotEquals": { SSE: ["AES256", "aws:kms"] } }), "no"),
        (json!({ "StringNotEquals": { SSE: "aws:kms:dsse" } }), "Deny"),
        (json!({ "StringEquals": { SSE: "aws:kms" }, "StringNotEquals": { KEY_ID: KEY } }), "no"),
        (json!({ "Null": { "s3:x-amz-server-side-encryption-customer-algorithm": "false" } }), "no"),
        (json!({ "StringNotEquals": { "s3:x-amz-acl": "bucket-owner-full-control" } }), "no"),
        (json!({ "Bool": { "aws:SecureTransport": "false" } }), "no"),
        (json!({ "NumericLessThan": { "s3:TlsVersion": 1.2 } }), "no"),
        (json!({ "NumericLessThan": { "s3:TlsVersion": 1.3 } }), "cannot tell"),
        (json!({ "StringNotEquals": { "aws:SourceAccount": "111111111111" } }), "no"),
        (json!({ "StringNotEquals": { "aws:SourceAccount": "222222222222" } }), "Deny"),
        (
            json!({ "StringNotEquals": { "aws:SourceVpce": "vpce-1" }, "Bool": { "aws:PrincipalIsAWSService": "false" } }),
            "no",
        ),
        (json!({ "StringNotEquals": { "aws:SourceVpce": "vpce-1" } }), "cannot tell"),
        (json!({ "StringNotEquals": { "aws:PrincipalOrgID": "o-aa111bb222" } }), "Deny"),
        (json!({ "ArnNotLike": { "aws:PrincipalArn": SIEM } }), "cannot tell"),
    ];
    for (condition, expected) in table {
        assert_eq!(refusal(&with(&[deny_puts("Deny", &condition)]), KEY), expected, "{condition}");
        assert_eq!(refusal(&with(&[deny_all("Deny", &condition)]), KEY), expected, "{condition}");
    }
}

#[test]
fn policies_as_aws_and_others_publish_them() {
    for (name, key, expected) in [
        ("cloudtrail", KEY, "no"),
        ("deny-insecure-transport", KEY, "no"),
        ("data-perimeter", KEY, "no"),
        ("deny-wrong-key", KEY, "no"),
        ("deny-wrong-key", OTHER_KEY, "DenyEncryptedWithWrongKMSKey"),
        ("deny-sse-kms", KEY, "DenyIncorrectEncryptionHeader"),
        ("deny-both", OTHER_KEY, "no"),
        ("not-principal-service", KEY, "no"),
        ("principal-arn", KEY, "cannot tell"),
    ] {
        assert_eq!(refusal(&filed(name), key), expected, "{name}");
    }
}

#[test]
fn only_denies_on_these_log_files_count() {
    let elsewhere = json!({ "Sid": "Elsewhere", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::logs/archive/*" });
    let reads = json!({ "Sid": "Reads", "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::logs/*" });
    assert_eq!(refusal(&with(&[elsewhere, reads]), KEY), "no");
    assert_eq!(refusal(&json!({ "Statement": [] }), KEY), "no", "that nothing allows it is not asked");
    let folder = |folder: &str| {
        with(&[json!({ "Sid": "Folder", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": format!("arn:aws:s3:::logs/AWSLogs/{folder}/*") })])
    };
    assert_eq!(refusal(&folder("111111111111"), KEY), "Folder");
    assert_eq!(refusal(&folder("222222222222"), KEY), "no");
    assert_eq!(refusal(&folder("o-abcdefghij"), KEY), "no", "an organization's folder is not this trail's");
    assert_eq!(refusal_of(&folder("o-abcdefghij"), KEY, true), "Folder");
    assert_eq!(refusal(&folder("111111111111/CloudTrail/us-west-2"), KEY), "cannot tell");
}

fn readers_by(
    bucket: &str,
    key_policy: Option<&str>,
    key: &str,
    trail: &str,
    organization: bool,
) -> Vec<LockedOutReader> {
    let (trail, key): (TrailArn, KeyArn) = (trail.parse().unwrap(), key.parse().unwrap());
    let account: AccountId = "111111111111".parse().unwrap();
    let files = LogFiles { organization, ..LogFiles::new("logs", None, &trail) };
    let parse = |policy: &str| Document::parse(policy).unwrap();
    locked_out_readers(&parse(bucket), &files, key_policy.map(parse).as_ref(), &key, &account)
}

fn sealing(readers: &str, partition: &str) -> String {
    let lookup = |name: &str| match name {
        "TRAILSEAL_MODE" => Some("enforce".to_owned()),
        "TRAILSEAL_ROLE_ARN" => Some(format!("arn:{partition}:iam::111111111111:role/trailseal")),
        "TRAILSEAL_LOG_READERS" => Some(readers.to_owned()),
        _ => None,
    };
    let home = format!("arn:{partition}:lambda:us-east-1:111111111111:function:trailseal");
    KeyPolicy::new(&Config::parse(lookup).unwrap(), &home.parse().unwrap()).text()
}

/// The names of those who are locked out by the key that trailseal would make for these log readers;
/// with a `?` if it is not certain.
fn locked(policy: &Value, readers: &str) -> Vec<String> {
    names(&readers_by(&policy.to_string(), Some(&sealing(readers, "aws")), KEY, trail().as_str(), false))
}

fn names(found: &[LockedOutReader]) -> Vec<String> {
    found.iter().map(|it| format!("{}{}", it.reader, if it.certain { "" } else { "?" })).collect()
}

fn read(principal: &Value, condition: &Value) -> Value {
    json!({ "Sid": "Read", "Effect": "Allow", "Principal": principal, "Action": ["s3:ListBucket", "s3:GetObject"],
        "Resource": ["arn:aws:s3:::logs", "arn:aws:s3:::logs/*"], "Condition": condition })
}

fn reader(principal: &Value, condition: &Value) -> Value {
    with(&[read(principal, condition)])
}

#[test]
fn nobody_is_locked_out_where_nobody_reads() {
    for name in ["cloudtrail", "deny-insecure-transport", "data-perimeter", "deny-wrong-key"] {
        assert!(locked(&filed(name), "").is_empty(), "{name}");
    }
}

#[test]
fn a_reader_of_another_account_is_locked_out_unless_the_key_lets_it_in() {
    let policy = reader(&json!({ "AWS": SIEM }), &json!({}));
    let found = readers_by(&policy.to_string(), Some(&sealing("", "aws")), KEY, trail().as_str(), false);
    assert_eq!(
        found,
        [LockedOutReader {
            reader: SIEM.to_owned(),
            certain: true,
            reason: "statement `Read` of the bucket's policy allows them to read; no statement of the key's policy allows them to decrypt".to_owned(),
        }]
    );
    for readers in [SIEM, "222222222222"] {
        assert!(locked(&policy, readers).is_empty(), "{readers}");
    }
    assert_eq!(locked(&policy, "account"), [SIEM], "that is the trail's own account");
    assert_eq!(locked(&policy, "o-aa111bb222"), [format!("{SIEM}?")], "it may be of that organization");
    assert_eq!(locked(&policy, "arn:aws:iam::222222222222:role/other,333333333333"), [SIEM]);
    let user = "arn:aws:iam::222222222222:user/ann";
    assert!(locked(&reader(&json!({ "AWS": user }), &json!({})), user).is_empty());
    let session = "arn:aws:sts::222222222222:assumed-role/siem/s1";
    assert!(locked(&reader(&json!({ "AWS": session }), &json!({})), "222222222222").is_empty());
    assert_eq!(locked(&reader(&json!({ "AWS": session }), &json!({})), SIEM), [format!("{session}?")]);
}

#[test]
fn an_account_is_locked_out_altogether_or_but_for_some() {
    for account in ["arn:aws:iam::222222222222:root", "222222222222"] {
        let policy = reader(&json!({ "AWS": account }), &json!({}));
        assert_eq!(locked(&policy, ""), [account]);
        assert!(locked(&policy, "222222222222").is_empty());
        assert_eq!(locked(&policy, "333333333333"), [account]);
        assert_eq!(locked(&policy, SIEM), [format!("{account}?")]);
        assert_eq!(locked(&policy, "arn:aws:iam::333333333333:role/siem"), [account]);
    }
    let policy =
        reader(&json!("*"), &json!({ "StringEquals": { "aws:PrincipalAccount": ["222222222222", "111111111111"] } }));
    assert_eq!(locked(&policy, ""), ["222222222222"]);
    assert!(locked(&policy, "222222222222").is_empty());
}

#[test]
fn an_organization_is_locked_out_unless_the_key_lets_it_in() {
    let policy = filed("organization-readers");
    assert_eq!(locked(&policy, ""), ["o-aa111bb222"]);
    assert!(locked(&policy, "o-aa111bb222").is_empty());
    assert_eq!(locked(&policy, "o-zz111bb222"), ["o-aa111bb222"]);
    assert_eq!(locked(&policy, SIEM), ["o-aa111bb222?"]);
    let unit = "o-aa111bb222/r-ab12/ou-ab12-11111111/*";
    let policy =
        reader(&json!({ "AWS": "*" }), &json!({ "ForAnyValue:StringLike": { "aws:PrincipalOrgPaths": unit } }));
    assert_eq!(locked(&policy, ""), [unit]);
    assert!(locked(&policy, "o-aa111bb222").is_empty());
    let both = reader(&json!({ "AWS": SIEM }), &json!({ "StringEquals": { "aws:PrincipalOrgID": "o-aa111bb222" } }));
    assert!(locked(&both, "o-aa111bb222").is_empty(), "whoever reads is of the organization");
    assert_eq!(locked(&both, "o-zz111bb222"), [SIEM]);
}

#[test]
fn everybody_is_who_the_conditions_mean() {
    let like = |pattern: &str| json!({ "ArnLike": { "aws:PrincipalArn": pattern } });
    let table = [
        (json!({}), vec!["*"]),
        (json!({ "Bool": { "aws:SecureTransport": "true" } }), vec!["*"]),
        (json!({ "IpAddress": { "aws:SourceIp": "203.0.113.0/24" } }), vec!["*?"]),
        (json!({ "StringNotEquals": { "aws:PrincipalOrgID": "o-aa111bb222" } }), vec!["*?"]),
        (json!({ "StringEqualsIfExists": { "aws:PrincipalAccount": "222222222222" } }), vec!["*?"]),
        (json!({ "StringLike": { "aws:PrincipalOrgID": "o-*" } }), vec!["o-*?"]),
        (json!({ "ArnEquals": { "aws:PrincipalArn": [SIEM, "arn:aws:iam::111111111111:role/own"] } }), vec![SIEM]),
        (like("arn:aws:iam::222222222222:role/read-*"), vec!["arn:aws:iam::222222222222:role/read-*"]),
        (like("arn:aws:iam::*:role/siem"), vec!["arn:aws:iam::*:role/siem"]),
        (like("arn:aws:iam::111111111111:role/*"), vec![]),
        (json!({ "StringEquals": { "aws:PrincipalAccount": "111111111111" } }), vec![]),
        (json!({ "StringEquals": { "aws:PrincipalAccount": "${aws:ResourceAccount}" } }), vec![]),
        (json!({ "StringEquals": { "s3:DataAccessPointAccount": "111111111111" } }), vec![]),
        (json!({ "StringEquals": { "s3:DataAccessPointAccount": "222222222222" } }), vec!["222222222222"]),
        (
            json!({ "StringEquals": { "aws:PrincipalServiceName": "athena.amazonaws.com" } }),
            vec!["athena.amazonaws.com"],
        ),
        (json!({ "StringEquals": { "s3:ExistingObjectTag/public": "yes" } }), vec![]),
    ];
    for (condition, expected) in table {
        assert_eq!(locked(&reader(&json!("*"), &condition), ""), expected, "{condition}");
        assert_eq!(locked(&reader(&json!({ "AWS": ["*"] }), &condition), ""), expected, "{condition}");
    }
    for readers in [SIEM, "222222222222", "o-aa111bb222", "account"] {
        assert_eq!(locked(&reader(&json!("*"), &json!({})), readers), ["*"], "{readers}");
    }
    let pattern = reader(&json!("*"), &like("arn:aws:iam::*:role/siem"));
    assert_eq!(locked(&pattern, SIEM), ["arn:aws:iam::*:role/siem?"]);
    assert_eq!(locked(&pattern, "arn:aws:iam::222222222222:role/other"), ["arn:aws:iam::*:role/siem"]);
}

#[test]
fn services_and_those_who_cannot_be_asked_for_are_named_too() {
    let identity = "arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1";
    let canonical = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be";
    let table = [
        (
            json!({ "Service": ["securitylake.amazonaws.com", "cloudtrail.amazonaws.com"] }),
            vec!["securitylake.amazonaws.com"],
        ),
        (json!({ "Service": "athena.amazonaws.com" }), vec!["athena.amazonaws.com"]),
        (json!({ "AWS": identity }), vec!["arn:aws:iam::cloudfront:user/CloudFront Origin Access Identity E1?"]),
        (
            json!({ "CanonicalUser": canonical }),
            vec!["79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be?"],
        ),
        (json!({ "Federated": "accounts.google.com" }), vec!["accounts.google.com?"]),
        (json!({ "Federated": "arn:aws:iam::111111111111:saml-provider/own" }), vec![]),
        (json!({ "AWS": "AROADBQP57FF2AEXAMPLE" }), vec![]),
        (
            json!({ "AWS": ["111111111111", "arn:aws:iam::111111111111:root", "arn:aws:iam::111111111111:role/own"] }),
            vec![],
        ),
        (json!({ "AWS": [SIEM, "AIDADBQP57FF2AEXAMPLE", "333333333333"] }), vec![SIEM, "333333333333"]),
        (json!(7), vec!["7?"]),
    ];
    for (principal, expected) in table {
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(locked(&reader(&principal, &json!({})), ""), expected, "{principal}");
    }
    let mut others = read(&json!("*"), &json!({}));
    let statement = others.as_object_mut().unwrap();
    statement.remove("Principal");
    statement.insert("NotPrincipal".to_owned(), json!({ "AWS": SIEM }));
    assert_eq!(locked(&with(&[others]), ""), [format!("everyone but {{\"AWS\":\"{SIEM}\"}}?")]);
}

#[test]
fn whoever_does_not_read_these_log_files_is_no_reader() {
    let allow = |action: &str, resource: &str| {
        let principal = json!({ "AWS": SIEM });
        with(&[json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource })])
    };
    assert!(locked(&allow("s3:ListBucket", "arn:aws:s3:::logs"), "").is_empty());
    assert!(locked(&allow("s3:PutObject", "arn:aws:s3:::logs/*"), "").is_empty());
    assert!(locked(&allow("s3:GetObject", "arn:aws:s3:::logs/audit/*"), "").is_empty());
    assert!(locked(&allow("s3:GetObject", "arn:aws:s3:::logs/AWSLogs/222222222222/*"), "").is_empty());
    for resource in ["AWSLogs/*", "AWSLogs/111111111111/*", "AWSLogs/*/CloudTrail/us-west-2/*", "*.json.gz"] {
        assert_eq!(locked(&allow("s3:Get*", &format!("arn:aws:s3:::logs/{resource}")), ""), [SIEM], "{resource}");
    }
    let mut shared = allow("s3:GetObject", "arn:aws:s3:::logs/*");
    let folder = "arn:aws:s3:::logs/AWSLogs/o-abcdefghij/*";
    let statements = shared["Statement"].as_array_mut().unwrap();
    statements[1]["Resource"] = json!(["arn:aws:s3:::logs/AWSLogs/111111111111/*", folder]);
    statements.push(json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": folder }));
    let shared = shared.to_string();
    let by = |organization| names(&readers_by(&shared, Some(&sealing("", "aws")), KEY, trail().as_str(), organization));
    assert_eq!(by(false), [SIEM]);
    assert!(by(true).is_empty(), "an organization's files are in its own folder");
    let member = allow("s3:GetObject", "arn:aws:s3:::logs/AWSLogs/o-abcdefghij/222222222222/*").to_string();
    let by = |organization| names(&readers_by(&member, Some(&sealing("", "aws")), KEY, trail().as_str(), organization));
    assert!(by(false).is_empty());
    assert_eq!(by(true), [SIEM], "a member reads its own folder");
}

#[test]
fn a_deny_that_surely_keeps_a_reader_out_makes_it_no_reader() {
    let both = |deny: Value| with(&[read(&json!({ "AWS": SIEM }), &json!({})), deny]);
    let not_in = |sid: &str, key: &str, value: &str| deny_all(sid, &json!({ "StringNotEquals": { key: value } }));
    assert!(locked(&both(not_in("Own", "aws:PrincipalAccount", "111111111111")), "").is_empty());
    assert_eq!(locked(&both(not_in("Own", "aws:PrincipalAccount", "222222222222")), ""), [SIEM]);
    assert_eq!(locked(&both(not_in("Perimeter", "aws:PrincipalOrgID", "o-aa111bb222")), ""), [SIEM]);
    assert_eq!(locked(&both(deny_all("Tls", &json!({ "NumericLessThan": { "s3:TlsVersion": "1.2" } }))), ""), [SIEM]);
    let account = json!({ "AWS": "arn:aws:iam::222222222222:root" });
    let but_for = deny_all("ButForSiem", &json!({ "ArnNotEquals": { "aws:PrincipalArn": SIEM } }));
    let account = with(&[read(&account, &json!({})), but_for]);
    assert_eq!(locked(&account, "").len(), 1, "some role of the account reads");
}

#[test]
fn a_key_policy_that_may_not_be_read_makes_nothing_certain() {
    let policy = reader(&json!({ "AWS": [SIEM, "222222222222"] }), &json!({})).to_string();
    let found = readers_by(&policy, None, KEY, trail().as_str(), false);
    assert_eq!(names(&found), ["222222222222?".to_owned(), format!("{SIEM}?")]);
}

#[test]
fn every_partition_has_its_own_names() {
    for (partition, region) in [
        ("aws-us-gov", "us-gov-west-1"),
        ("aws-cn", "cn-north-1"),
        ("aws-eusc", "eusc-de-east-1"),
        ("aws-iso", "us-iso-east-1"),
    ] {
        let here = |text: &str| in_partition(text, partition, region);
        let siem = here(SIEM);
        let bucket = here(&reader(&json!({ "AWS": SIEM }), &json!({})).to_string());
        let by = |readers: &str| {
            names(&readers_by(&bucket, Some(&sealing(readers, partition)), &here(KEY), &here(trail().as_str()), false))
        };
        assert_eq!(by(""), [siem.as_str()]);
        assert!(by(&siem).is_empty(), "{partition}");
        assert!(by("222222222222").is_empty(), "{partition}");
        let policy =
            here(&with(&[deny_puts("Deny", &json!({ "StringNotEquals": { KEY_ID: OTHER_KEY } }))]).to_string());
        let trail = here(trail().as_str()).parse().unwrap();
        let files = LogFiles::new("logs", None, &trail);
        let policy = Document::parse(&policy).unwrap();
        let access = |key: &str| cloudtrail_bucket_access(&policy, &files, &here(key).parse().unwrap());
        assert!(access(OTHER_KEY).is_allowed());
        assert!(access(KEY).explicit_deny().is_some());
    }
}

/// As in the generated policies.
const TRAIL: &str = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
const SOME_KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";

fn any_policy() -> impl Strategy<Value = Value> {
    prop_oneof![3 => arbitrary_policies::policy(), 1 => arbitrary_policies::broken_policy()]
}

proptest! {
    #![proptest_config(cases::config(1000))]

    #[test]
    fn any_policy_gets_an_answer_and_any_text(policy in any_policy(), key in any_policy(), organization: bool) {
        let trail = TRAIL.parse().unwrap();
        let files = LogFiles { organization, ..LogFiles::new("logs", None, &trail) };
        let (arn, account) = (SOME_KEY.parse().unwrap(), "123456789012".parse().unwrap());
        let [policy, key] = [policy, key].map(|policy| Document::parse(&policy.to_string()).unwrap());
        let _: Decision = cloudtrail_bucket_access(&policy, &files, &arn);
        let _ = locked_out_readers(&policy, &files, Some(&key), &arn, &account);
    }

    #[test]
    fn a_deny_more_makes_nobody_a_reader_and_lets_nobody_write(
        policy in any_policy(), more in arbitrary_policies::statement(), key in any_policy(),
    ) {
        let mut longer = policy.clone();
        let mut more = more;
        more["Effect"] = json!("Deny");
        longer["Statement"].as_array_mut().unwrap().push(more);
        let key = key.to_string();
        let by = |policy: &Value| readers_by(&policy.to_string(), Some(&key), SOME_KEY, TRAIL, false);
        let (before, after) = (by(&policy), by(&longer));
        for reader in after {
            let earlier = before.iter().find(|it| it.reader == reader.reader);
            prop_assert!(earlier.is_some_and(|earlier| earlier.certain || !reader.certain), "{:?}", reader);
        }
        let refusal = |policy: &Value| {
            let trail = TRAIL.parse().unwrap();
            let files = LogFiles::new("logs", None, &trail);
            cloudtrail_bucket_access(&Document::parse(&policy.to_string()).unwrap(), &files, &SOME_KEY.parse().unwrap())
        };
        prop_assert!(!refusal(&longer).is_allowed() || refusal(&policy).is_allowed());
    }
}
