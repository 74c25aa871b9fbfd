//! What the access questions decide in cases that no vector states: partitions, accounts, folders, and changed keys.
#![expect(clippy::unwrap_used, reason = "a test")]

use serde_json::{Value, json};
use trailseal_core::access::{
    LogFiles, LogFolder, account_readers, decrypters, excludes_other_accounts, locked_out_readers,
    named_trail_accounts, named_trails, tests_encryption,
};
use trailseal_core::iam::{Document, StatementId};
use trailseal_core::ids::{AccountId, KeyArn, Region, TrailArn};

const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

fn account() -> AccountId {
    "123456789012".parse().unwrap()
}

fn allow(principal: Value, action: &str, resource: &str) -> Value {
    json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource })
}

fn document(statements: &[Value]) -> Document {
    Document::new(statements.iter().cloned())
}

#[test]
fn s3_has_the_names_of_its_partition() {
    for (partition, region, domain) in [
        ("aws", "eu-west-1", None),
        ("aws-us-gov", "us-gov-west-1", None),
        ("aws-cn", "cn-north-1", Some("amazonaws.com.cn")),
        ("aws-eusc", "eusc-de-east-1", Some("amazonaws.eu")),
        ("aws-iso", "us-iso-east-1", Some("c2s.ic.gov")),
        ("aws-iso-b", "us-isob-east-1", Some("sc2s.sgov.gov")),
        ("aws-iso-e", "eu-isoe-west-1", Some("cloud.adc-e.uk")),
        ("aws-iso-f", "us-isof-south-1", Some("csp.hci.ic.gov")),
    ] {
        let key: KeyArn = format!("arn:{partition}:kms:{region}:123456789012:key/1234abcd").parse().unwrap();
        let is_certain = |domains: Vec<&str>| {
            let names: Vec<String> = domains.iter().map(|domain| format!("s3.{region}.{domain}")).collect();
            let mut statement = allow(json!({ "AWS": "210987654321" }), "kms:Decrypt", "*");
            statement["Condition"] = json!({ "StringEquals": { "kms:ViaService": names } });
            decrypters(&document(&[statement]), &key, &account()).first().map(|reader| reader.certain)
        };
        let both: Vec<&str> = ["amazonaws.com"].into_iter().chain(domain).collect();
        assert_eq!(is_certain(both), Some(true), "{partition}");
        assert_eq!(is_certain(vec!["amazonaws.com"]), Some(domain.is_none()), "{partition}: it is not documented");
    }
}

#[test]
fn a_certain_lockout_outranks_an_uncertain_one() {
    let trail: TrailArn = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap();
    let key: KeyArn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".parse().unwrap();
    let administrator = document(&[allow(json!({ "AWS": "123456789012" }), "kms:*", "*")]);
    let found = |statements: &[Value]| -> Vec<(bool, usize)> {
        let files = LogFiles::new("logs", None, &trail);
        let readers = locked_out_readers(&document(statements), &files, Some(&administrator), &key, &account());
        readers.into_iter().map(|reader| (reader.certain, reader.statement.index)).collect()
    };
    let certain = allow(json!({ "AWS": "210987654321" }), "s3:GetObject", "arn:aws:s3:::logs/*");
    let mut unclear = certain.clone();
    unclear["Condition"] = json!({ "IpAddress": { "aws:SourceIp": "192.0.2.0/24" } });
    assert_eq!(found(&[unclear.clone(), certain.clone()]), [(true, 1)]);
    assert_eq!(found(&[certain.clone(), unclear.clone()]), [(true, 0)]);
    assert_eq!(found(&[certain.clone(), certain]), [(true, 0)], "the first of several");
    assert_eq!(found(&[unclear.clone(), unclear]), [(false, 0)]);
}

#[test]
fn a_reader_is_found_once_for_each_statement() {
    let key: KeyArn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".parse().unwrap();
    let found = |statements: &[Value]| -> Vec<(String, usize)> {
        let found = decrypters(&document(statements), &key, &account());
        found.into_iter().map(|reader| (reader.name, reader.statement.index)).collect()
    };
    let reader = |ids: Value| allow(json!({ "AWS": ids }), "kms:Decrypt", "*");
    let [one, two] = ["210987654321", "999999999999"];
    let (first, again) = (reader(json!([one, one])), reader(json!([one, two])));
    let expected = [(one, 0), (one, 1), (two, 1)].map(|(name, index)| (name.to_owned(), index));
    assert_eq!(found(&[first, again]), expected);
}

#[test]
fn only_a_policy_for_the_account_excludes_others() {
    let excludes = |statements: &[Value]| excludes_other_accounts(Some(&document(statements)), &account());
    let own = || allow(json!({ "AWS": "123456789012" }), "kms:*", "*");
    let service = || allow(json!({ "Service": CLOUDTRAIL }), "kms:*", "*");
    assert!(excludes(&[own(), service()]));
    assert!(!excludes(&[own(), allow(json!({ "AWS": "210987654321" }), "kms:Decrypt", "*")]));
    assert!(!excludes(&[allow(json!("*"), "kms:Decrypt", "*")]));
    assert!(!excludes_other_accounts(None, &account()), "the policy is unknown");
    let unsupported = Document::parse(r#"{"Version":"2026-01-01","Statement":[]}"#).unwrap();
    assert!(!excludes_other_accounts(Some(&unsupported), &account()));
}

#[test]
fn own_readers_are_those_that_the_policy_names() {
    let trail: TrailArn = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap();
    let files = LogFiles::new("logs", None, &trail);
    let readers = |statements: &[Value]| account_readers(&document(statements), &files, &account());
    let role = "arn:aws:iam::123456789012:role/siem";
    let reads = |principal: &str| allow(json!({ "AWS": principal }), "s3:GetObject", "arn:aws:s3:::logs/*");
    assert_eq!(readers(&[reads(role)]), [role]);
    assert_eq!(readers(&[reads("arn:aws:iam::210987654321:role/siem")]), [""; 0], "another account's");
    assert_eq!(readers(&[allow(json!({ "AWS": role }), "s3:GetObject", "arn:aws:s3:::other/*")]), [""; 0]);
    let mut deny = reads(role);
    deny["Effect"] = json!("Deny");
    assert_eq!(readers(&[reads(role), deny.clone()]), [""; 0]);
    assert_eq!(readers(&[deny]), [""; 0]);
}

#[test]
fn a_statement_tests_encryption_by_key_or_value() {
    let policy = |condition: Value| {
        let mut statement = allow(json!("*"), "s3:PutObject", "*");
        statement["Condition"] = condition;
        document(&[allow(json!("*"), "s3:*", "*"), statement])
    };
    let tests = |condition: Value, index| tests_encryption(&policy(condition), &StatementId { index, sid: None });
    let by_key = json!({ "StringEquals": { "s3:X-Amz-Server-Side-Encryption": "aws:kms" } });
    assert!(tests(by_key.clone(), 1) && !tests(by_key.clone(), 0) && !tests(by_key, 2));
    assert!(!tests(json!({ "Bool": { "aws:SecureTransport": "true" } }), 1));
}

#[test]
fn a_folder_is_the_one_that_cloudtrail_writes_to() {
    let by = |statements: &[Value]| LogFolder::named_by(&document(statements));
    let write = |principal: Value, resource: &str| allow(principal, "s3:PutObject", resource);
    let service = || json!({ "Service": CLOUDTRAIL });
    let folder = by(&[
        allow(json!({ "AWS": "123456789012" }), "s3:*", "arn:aws:s3:::backup/old/AWSLogs/x"),
        allow(service(), "s3:GetBucketAcl", "arn:aws:s3:::acl/acl/AWSLogs/x"),
        write(json!({ "Service": "config.amazonaws.com" }), "arn:aws:s3:::config/config/AWSLogs/x"),
        write(service(), "arn:aws:s3:::logs/audit/AWSLogs/123456789012/*"),
    ]);
    assert_eq!((folder.bucket.as_deref(), folder.prefix.as_deref()), (Some("logs"), Some("audit")));
    assert!(!folder.organization);
    let mut deny = write(service(), "arn:aws:s3:::denied/denied/AWSLogs/o-abcdefghij/*");
    deny["Effect"] = json!("Deny");
    let folder = by(&[deny, write(service(), "arn:aws:s3:::logs/a?b/AWSLogs/o-abcdefghij/*")]);
    assert_eq!((folder.bucket.as_deref(), folder.prefix.as_deref()), (Some("logs"), Some("axb")));
    assert!(folder.organization);
    let pattern = by(&[write(service(), "arn:aws:s3:::lo*/*/AWSLogs/*"), write(service(), "arn:aws:s3:::l?gs/x")]);
    assert_eq!((pattern.bucket, pattern.prefix), (None, None));
    assert_eq!(by(&[write(service(), "arn:aws:s3:::logs/${x}/AWSLogs/*")]).bucket.as_deref(), Some("logs"));
}

#[test]
fn trails_and_their_accounts_are_read_from_conditions() {
    let region: Region = "eu-west-1".parse().unwrap();
    let about = |arns: Value| {
        let mut statement = allow(json!({ "Service": CLOUDTRAIL }), "s3:PutObject", "*");
        statement["Condition"] = json!({ "StringEquals": { "aws:SourceArn": arns } });
        document(&[statement])
    };
    let trail = |account: &str, name: &str| format!("arn:aws:cloudtrail:eu-west-1:{account}:trail/{name}");
    let policy = about(json!([trail("123456789012", "one"), trail("210987654321", "two")]));
    let ids: Vec<String> = named_trail_accounts(&policy).iter().map(ToString::to_string).collect();
    assert_eq!(ids, ["123456789012", "210987654321"]);
    assert_eq!(named_trail_accounts(&document(&[allow(json!("*"), "s3:*", "*")])), []);
    let names: Vec<String> = named_trails(&policy, &account(), &region).iter().map(ToString::to_string).collect();
    assert_eq!(names, [trail("123456789012", "one")]);
}
