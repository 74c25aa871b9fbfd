//! Judging the readers of a bucket takes a time that the bucket's owner cannot drive up: with the policies below, each
//! as long as S3 allows, the debug build would take minutes if each combination were evaluated by itself.
#![expect(clippy::unwrap_used, reason = "a test")]

use serde_json::{Value, json};
use trailseal_core::access::{LockedOutReader, LogFiles, locked_out_readers};
use trailseal_core::iam::Document;

/// The size limit of a bucket policy.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html>.
const MAX_BYTES: usize = 20 * 1024;

fn account(number: usize) -> String {
    format!("2{number:011}")
}

fn role(number: usize) -> String {
    format!("arn:aws:iam::{}:role/siem", account(number))
}

fn folder(number: usize) -> String {
    format!("arn:aws:s3:::logs/AWSLogs/*/{}/*", account(number))
}

fn list(count: usize, text: fn(usize) -> String) -> Value {
    (0..count).map(text).collect()
}

fn allow(principals: Value, resources: Value) -> Value {
    json!({ "Effect": "Allow", "Principal": { "AWS": principals }, "Action": "s3:GetObject", "Resource": resources })
}

/// The readers that an organization trail's new key locks out.
fn judge(name: &str, statements: Vec<Value>) -> Vec<LockedOutReader> {
    let policy = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
    assert!(policy.len() <= MAX_BYTES, "{name}: {} bytes", policy.len());
    let policy = Document::parse(&policy).unwrap();
    let trail = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap();
    let files = LogFiles { organization: true, ..LogFiles::new("logs", None, &trail) };
    let key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".parse().unwrap();
    let key_policy = Document::new([json!({
        "Effect": "Allow", "Principal": { "AWS": list(20, |number| account(number.saturating_mul(7))) },
        "Action": "kms:Decrypt", "Resource": "*", "Condition": { "StringLike": { "kms:ViaService": "s3.*" } },
    })]);
    locked_out_readers(&policy, &files, Some(&key_policy), &key, trail.account())
}

#[test]
fn many_principals_and_folders_are_judged_quickly() {
    let readers = judge("roles and folders", vec![allow(list(200, role), list(100, folder))]);
    assert_eq!(readers.len(), 180);
    let readers = judge("accounts and folders", vec![allow(list(600, account), list(220, folder))]);
    assert_eq!(readers.len(), 580);
}

#[test]
fn many_denies_are_judged_quickly() {
    let deny = |number: usize| json!({ "Effect": "Deny", "Principal": { "AWS": account(number) }, "Action": "s3:*", "Resource": folder(number) });
    let statements = std::iter::once(allow(list(90, account), list(90, folder))).chain((0..90).map(deny));
    assert_eq!(judge("denies", statements.collect()).len(), 77);
    let but = json!({
        "Effect": "Deny", "NotPrincipal": { "AWS": list(300, account) }, "Action": "s3:*", "Resource": "*",
    });
    assert!(!judge("NotPrincipal", vec![allow(list(300, role), json!("*")), but]).is_empty());
}

#[test]
fn many_exempt_accounts_are_judged_quickly() {
    let deny = json!({
        "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*",
        "Condition": { "StringNotEquals": { "aws:PrincipalAccount": list(900, account) } },
    });
    let everyone = json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": "*",
        "Condition": { "Bool": { "aws:New": "true" } } });
    let statements = std::iter::once(deny).chain(std::iter::repeat_n(everyone, 40));
    assert_eq!(judge("exempt accounts", statements.collect()).len(), 881, "everyone, and 880 accounts");
}

#[test]
fn many_wildcards_are_judged_quickly() {
    let pattern = |number: usize| format!("arn:aws:s3:::{}x{number}", "*?".repeat(40));
    let deny = json!({
        "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": (0..100).map(pattern).collect::<Value>(),
    });
    assert_eq!(judge("resource wildcards", vec![allow(list(100, account), list(100, folder)), deny]).len(), 85);
    let arns = |number: usize| format!("arn:aws:iam::*:role/{}x{number}", "*?".repeat(40));
    let deny = json!({
        "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*",
        "Condition": { "ArnLike": { "aws:PrincipalArn": (0..80).map(arns).collect::<Value>() } },
    });
    assert_eq!(judge("condition wildcards", vec![allow(list(200, role), json!("*")), deny]).len(), 180);
}

#[test]
fn many_statements_are_judged_quickly() {
    let statement = |number: usize| allow(json!(account(number)), json!(folder(number)));
    assert_eq!(judge("statements", (0..140).map(statement).collect()).len(), 120);
    let conditional = |number: usize| {
        let condition = json!({ "StringEquals": { "aws:PrincipalOrgID": format!("o-{number:010}") } });
        json!({ "Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": "*", "Condition": condition })
    };
    assert_eq!(judge("organizations", (0..140).map(conditional).collect()).len(), 140);
    let organizations: Value = (0..1000).map(|number| format!("o-{number:010}")).collect();
    let everyone = json!({
        "Effect": "Allow", "Principal": "*", "Action": "s3:Get*", "Resource": "*",
        "Condition": { "StringEquals": { "aws:PrincipalOrgID": organizations } },
    });
    assert_eq!(judge("one statement for organizations", vec![everyone]).len(), 1000);
}

#[test]
fn many_malformed_names_are_judged_quickly() {
    let names = |number: usize| format!("arn:aws:iam::{}:neither/user/nor/role", account(number));
    assert_eq!(judge("malformed names", vec![allow(list(270, names), json!("*"))]).len(), 270);
}
