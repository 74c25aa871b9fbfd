//! The bucket: can CloudTrail still write, which readers lose access, what stops replicating?

use fake_aws::{Bucket, Key, World};
use serde_json::{Value, json};

use crate::support::{ACCOUNT, ALIAS, AUDIT, Scenario, account, add_sealing_key, sealing_policy, step, writes};

const SIEM: &str = "arn:aws:iam::210987654321:role/siem";
const LOGS: &str = "arn:aws:s3:::audit-logs/*";

/// A policy that lets CloudTrail deliver, with these statements.
fn bucket_policy(statements: &Value) -> String {
    account().bucket_policy("audit-logs", statements.as_array().unwrap())
}

fn read_statement(principal: Value) -> Value {
    json!({ "Sid": "Reads", "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": LOGS })
}

/// The account with a changed bucket.
pub fn with_bucket(bucket: impl FnOnce(Bucket) -> Bucket) -> World {
    let mut world = account();
    world.add_bucket(bucket(Bucket::new("audit-logs", "eu-central-1")));
    world
}

fn with_policy(statements: Value) -> World {
    with_bucket(|bucket| bucket.policy(&bucket_policy(&statements)))
}

/// The first trail's warnings: id and detail.
pub fn warnings(answer: &Value) -> Vec<(&str, &str)> {
    let warnings = answer["trails"][0]["warnings"].as_array().unwrap();
    warnings.iter().map(|it| (it["id"].as_str().unwrap(), it["detail"].as_str().unwrap())).collect()
}

pub fn only_warning<'a>(answer: &'a Value, id: &str) -> &'a str {
    let warnings = warnings(answer);
    assert_eq!(warnings.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id], "{warnings:#?}");
    warnings[0].1
}

#[test]
fn an_external_reader_is_named_in_answer_and_alert() {
    for (setting, summary) in [
        (Scenario::builder(with_policy(json!([read_statement(json!({ "AWS": SIEM }))]))).dry_run(), "planned"),
        (Scenario::builder(with_policy(json!([read_statement(json!({ "AWS": SIEM }))]))), "remediated"),
    ] {
        let mut scenario = setting.start();
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ summary: 1 }));
        let detail = only_warning(&answer, "readers-locked-out");
        assert!(detail.contains(SIEM) && detail.contains("`Reads`"), "{detail}");
        assert!(scenario.only_alert().message.contains(SIEM));
    }
}

#[test]
fn hold_fails_a_trail_whose_readers_are_locked_out() {
    let world = with_policy(json!([read_statement(json!({ "AWS": [SIEM, "333333333333"] }))]));
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_READERS_LOCKED_OUT", "hold").start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    let error = &answer["trails"][0]["error"];
    assert_eq!(error["class"], "terminal");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(SIEM) && message.contains("333333333333"), "{message}");
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    assert_eq!(scenario.audit().kms_key_id, None);
}

#[test]
fn hold_changes_nothing_without_a_lockout() {
    for world in [
        account(),
        with_policy(json!([read_statement(json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:role/athena") }))])),
    ] {
        let mut scenario = Scenario::builder(world).env("TRAILSEAL_READERS_LOCKED_OUT", "hold").start();
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
        assert_eq!(warnings(&answer), []);
    }
}

#[test]
fn every_form_of_log_reader_allows_its_principals() {
    let organization = json!({ "Sid": "Reads", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": LOGS,
        "Condition": { "StringEquals": { "aws:PrincipalOrgID": "o-abcdefghij" } } });
    for (readers, statement) in [
        (SIEM, read_statement(json!({ "AWS": SIEM }))),
        ("210987654321", read_statement(json!({ "AWS": SIEM }))),
        ("210987654321", read_statement(json!({ "AWS": "arn:aws:iam::210987654321:root" }))),
        ("o-abcdefghij", organization),
    ] {
        let mut scenario =
            Scenario::builder(with_policy(json!([statement]))).env("TRAILSEAL_LOG_READERS", readers).start();
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }));
        assert_eq!(warnings(&answer), [], "{readers}");
        scenario.assert_converged("update-trail-by-name");
    }
}

#[test]
fn the_value_account_allows_the_accounts_readers() {
    let mut scenario = Scenario::builder(account()).env("TRAILSEAL_LOG_READERS", "account").dry_run().start();
    let answer = scenario.invoke_event("update-trail-by-name");
    let policy = answer["trails"][0]["new_key_policy"].to_string();
    assert!(policy.contains("AccountReadersDecrypt") && policy.contains(r#""kms:CallerAccount":"123456789012""#));
    assert!(!scenario.only_alert().message.contains("need kms:Decrypt on the key in their IAM policies"));
    let mut scenario = Scenario::builder(account()).dry_run().start();
    scenario.invoke_event("update-trail-by-name");
    let message = scenario.only_alert().message;
    assert!(message.contains("need kms:Decrypt on the key in their IAM policies"), "{message}");
}

#[test]
fn a_bucket_policy_that_denies_the_key_prevents_writes() {
    let deny = |condition: Value| json!({ "Sid": "OnlyThatKey", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": LOGS, "Condition": condition });
    let other = "arn:aws:kms:eu-central-1:123456789012:key/another";
    for (world, sealed) in [
        (
            with_policy(json!([deny(
                json!({ "StringNotEquals": { "s3:x-amz-server-side-encryption-aws-kms-key-id": other } })
            )])),
            false,
        ),
        (
            with_policy(json!([deny(json!({ "StringNotEquals": { "s3:x-amz-server-side-encryption": "AES256" } }))])),
            false,
        ),
        (
            with_policy(json!([deny(json!({ "StringNotEquals": { "s3:x-amz-server-side-encryption": "aws:kms" } }))])),
            true,
        ),
        (with_policy(json!([deny(json!({ "Bool": { "aws:SecureTransport": "false" } }))])), true),
    ] {
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        if sealed {
            assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
            assert_eq!(scenario.aws.snapshot().check_delivery(AUDIT), Ok(()));
        } else {
            assert_eq!(answer["summary"], json!({ "failed": 1 }));
            assert!(answer["trails"][0]["error"]["message"].as_str().unwrap().contains("`OnlyThatKey`"), "{answer:#}");
            assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
            assert_eq!(scenario.aws.world().keys.len(), 0, "no key is created");
        }
    }
}

#[test]
fn an_unclear_bucket_policy_is_a_warning() {
    let deny = json!({ "Sid": "OnlyFromHere", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": LOGS,
        "Condition": { "NotIpAddress": { "aws:SourceIp": "203.0.113.0/24" }, "StringEquals": { "s3:x-amz-server-side-encryption": "aws:kms" } } });
    let mut scenario = Scenario::builder(with_policy(json!([deny]))).dry_run().start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert!(only_warning(&answer, "bucket-policy-unreadable").contains("OnlyFromHere"));
}

#[test]
fn a_bucket_that_keeps_cloudtrail_out_costs_no_key() {
    let world = |policy: &str| with_bucket(|bucket| bucket.policy(policy));
    let allow = |condition: Value| {
        json!({ "Version": "2012-10-17", "Statement": [
            { "Sid": "Acl", "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" },
              "Action": "s3:GetBucketAcl", "Resource": "arn:aws:s3:::audit-logs" },
            { "Sid": "Write", "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" },
              "Action": "s3:PutObject", "Resource": LOGS, "Condition": condition },
        ] })
        .to_string()
    };
    let equals = |key: &str, value: &str| allow(json!({ "StringEquals": { key: value } }));
    let other_arn = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/other";
    for (world, reason) in [
        (
            world(&equals("aws:PrincipalOrgID", "o-abcdefghij")),
            "statement `Write`: its condition `StringEquals` on `aws:PrincipalOrgID`",
        ),
        (world(&equals("aws:SourceArn", other_arn)), "trail/other"),
        (world(&equals("aws:SourceArn", "arn:aws:cloudtrail:*:123456789012:trail/*")), "on `aws:SourceArn`"),
        (
            world(
                &json!({ "Version": "2012-10-17", "Statement": [read_statement(json!({ "AWS": SIEM }))] }).to_string(),
            ),
            "no statement",
        ),
        (with_bucket(Bucket::without_policy), "has no policy"),
        (
            with_policy(
                json!([{ "Sid": "OnlyFromHere", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": LOGS,
                "Condition": { "StringNotEquals": { "aws:SourceVpce": "vpce-1" } } }]),
            ),
            "statement `OnlyFromHere` denies",
        ),
    ] {
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
        let error = &answer["trails"][0]["error"];
        assert!(error["message"].as_str().unwrap().contains(reason), "{error:#}");
        assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
        assert!(scenario.aws.world().keys.is_empty());
        assert!(scenario.aws.snapshot().check_delivery(AUDIT).is_err());
        let Some(statements) = error["remedy"].as_str().unwrap().split_once(": [") else {
            assert_eq!(reason, "statement `OnlyFromHere` denies");
            continue;
        };
        let statements = format!("[{}", statements.1.split_once("]; until then").unwrap().0);
        let statements: Value = serde_json::from_str(&(statements + "]")).unwrap();
        let fixed = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        scenario.aws.world().buckets.get_mut("audit-logs").unwrap().policy = Some(fixed);
        assert_eq!(scenario.invoke_event("update-trail-by-name")["summary"], json!({ "remediated": 1 }));
        assert_eq!(scenario.aws.snapshot().check_delivery(AUDIT), Ok(()));
    }
}

#[test]
fn a_doubt_that_todays_files_share_is_no_warning() {
    for condition in [
        json!({ "NumericLessThan": { "s3:TlsVersion": "1.3" } }),
        json!({ "StringNotEquals": { "s3:signatureversion": "AWS4-HMAC-SHA256" } }),
        json!({ "BoolIfExists": { "aws:MultiFactorAuthPresent": "False" } }),
    ] {
        let deny = json!({ "Sid": "Doubt", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": LOGS, "Condition": condition });
        let mut scenario = Scenario::builder(with_policy(json!([deny]))).dry_run().start();
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!((&answer["summary"], warnings(&answer)), (&json!({ "planned": 1 }), vec![]), "{answer:#}");
    }
}

#[test]
fn a_condition_on_the_organization_is_decided_if_it_is_known() {
    let deny = json!({ "Sid": "Others", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": LOGS,
        "Condition": { "StringNotEquals": { "aws:SourceOrgID": "o-abcdefghij" } } });
    for (id, summary) in [("", "planned"), ("o-abcdefghij", "planned"), ("o-zzzzzzzzzz", "failed")] {
        let scenario = Scenario::builder(with_policy(json!([deny]))).dry_run();
        let mut scenario = scenario.env("TRAILSEAL_ORGANIZATION_ID", id).start();
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ summary: 1 }), "{id} {answer:#}");
    }
}

#[test]
fn a_bucket_bound_to_one_key_gets_the_keys_to_allow() {
    let deny = json!({ "Sid": "OnlyThatKey", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": LOGS,
        "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-central-1:123456789012:key/another" } } });
    let mut scenario = Scenario::enforce(with_policy(json!([deny])));
    let error = &scenario.invoke_event("update-trail-by-name")["trails"][0]["error"];
    assert!(
        error["message"].as_str().unwrap().contains("the key that trailseal would create in `eu-central-1`"),
        "{error:#}"
    );
    let remedy = error["remedy"].as_str().unwrap();
    assert!(remedy.contains("`arn:aws:kms:eu-central-1:123456789012:key/*`") && remedy.contains("TRAILSEAL_KEY_ARNS"));
    assert!(!error.to_string().contains("00000000-0000-0000"));
}

#[test]
fn the_bucket_policy_must_allow_digest_files_too() {
    let digests = "arn:aws:s3:::audit-logs/AWSLogs/*/CloudTrail-Digest/*";
    let deny = json!({ "Sid": "PlainDigests", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": digests,
        "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption": "AES256" } } });
    for (validated, summary) in [(true, "failed"), (false, "remediated")] {
        let mut world = with_policy(json!([deny]));
        world.trails.get_mut(AUDIT).unwrap().log_file_validation = validated;
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ summary: 1 }), "{answer:#}");
        assert_eq!(answer.to_string().contains("PlainDigests"), validated);
    }
}

#[test]
fn only_external_readers_of_the_trails_files_count() {
    let everyone = |sid: &str, resource: &str, condition: Value| json!({ "Sid": sid, "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": resource, "Condition": condition });
    let own = "arn:aws:iam::${aws:ResourceAccount}:role/athena";
    let other_region = "arn:aws:s3:::audit-logs/AWSLogs/*/CloudTrail/us-west-2/*";
    for statement in [
        everyone("Own", LOGS, json!({ "ArnLike": { "aws:PrincipalArn": own } })),
        everyone("Own", LOGS, json!({ "StringEquals": { "aws:PrincipalAccount": "${s3:ResourceAccount}" } })),
        everyone("Elsewhere", other_region, json!({ "StringEquals": { "aws:PrincipalAccount": "210987654321" } })),
    ] {
        let mut world = with_policy(json!([statement]));
        world.trails.get_mut(AUDIT).unwrap().multi_region = false;
        let mut scenario = Scenario::builder(world).env("TRAILSEAL_READERS_LOCKED_OUT", "hold").start();
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
        assert_eq!(warnings(&answer), []);
    }
}

#[test]
fn reading_object_versions_counts_as_reading() {
    let mut versions = read_statement(json!({ "AWS": SIEM }));
    versions["Action"] = json!("s3:GetObjectVersion");
    let mut scenario = Scenario::builder(with_policy(json!([versions]))).dry_run().start();
    assert!(only_warning(&scenario.invoke_event("update-trail-by-name"), "readers-locked-out").contains(SIEM));
}

#[test]
fn a_supplied_keys_remedy_does_not_name_log_readers() {
    let mut world = with_policy(json!([read_statement(json!({ "AWS": SIEM }))]));
    let own = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
    let mut scenario = Scenario::builder(world)
        .env("TRAILSEAL_KEY_ARNS", &own)
        .env("TRAILSEAL_LOG_READERS", "account,210987654321")
        .start();
    let answer = scenario.invoke_event("update-trail-by-name");
    let detail = only_warning(&answer, "readers-locked-out");
    assert!(detail.contains("ask the key's owner to add them to the key policy"), "{detail}");
    let message = scenario.only_alert().message;
    assert!(
        message.contains("`LogReaders` (`TRAILSEAL_LOG_READERS`) has no effect on it")
            && !message.contains("can also decrypt"),
        "{message}"
    );
}

fn replication(rule: &str) -> String {
    format!(
        r#"<ReplicationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Role>arn:aws:iam::123456789012:role/r</Role>{rule}</ReplicationConfiguration>"#
    )
}

fn rule(elements: &str, status: &str) -> String {
    format!(
        "<Rule><ID>to-the-archive</ID><Priority>1</Priority><Status>{status}</Status>{elements}<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication><Destination><Bucket>arn:aws:s3:::archive</Bucket></Destination></Rule>"
    )
}

#[test]
fn named_readers_of_the_account_are_in_plan_and_alert() {
    let athena = format!("arn:aws:iam::{ACCOUNT}:role/athena");
    let named = |principal: &str| with_policy(json!([read_statement(json!({ "AWS": [principal] }))]));
    let anyone = json!({ "Sid": "Reads", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": LOGS,
        "Condition": { "ArnEquals": { "aws:PrincipalArn": athena } } });
    let supplied = |mut world: World| {
        let policy = world.cloudtrail_key_policy();
        let key = world.key(Key::new("eu-central-1").policy(&policy));
        (world, Some(key))
    };
    let aliased = |world: World| {
        let (mut world, key) = supplied(world);
        world.alias("eu-central-1", ALIAS, &key.unwrap());
        world
    };
    for (world, key, readers, is_named) in [
        (named(&athena), None, "", true),
        (with_policy(json!([anyone])), None, "", true),
        (supplied(named(&athena)).0, supplied(named(&athena)).1, "", true),
        (supplied(named(&athena)).0, supplied(named(&athena)).1, "account", true),
        (aliased(named(&athena)), None, "account", true),
        (named(&athena), None, "account", false),
        (account(), None, "", false),
    ] {
        for mode in ["dry-run", "enforce"] {
            let mut builder =
                Scenario::builder(world.clone()).env("TRAILSEAL_MODE", mode).env("TRAILSEAL_LOG_READERS", readers);
            if let Some(key) = &key {
                builder = builder.env("TRAILSEAL_KEY_ARNS", key);
            }
            let mut scenario = builder.start();
            let answer = scenario.invoke_event("update-trail-by-name");
            let detail = step(&answer, "update-trail")["detail"].as_str().unwrap();
            if mode == "dry-run" {
                assert_eq!(detail.contains(&format!("the bucket policy names `{athena}`")), is_named, "{detail}");
            }
            let alert = scenario.only_alert().message;
            let (_, access) = alert.split_once("Who may lose access: ").unwrap();
            assert_eq!(
                access.contains(&format!("names these readers in this account: {athena}.")),
                is_named,
                "{alert}"
            );
        }
    }
}

#[test]
fn replication_that_stops_is_a_warning() {
    let whole_bucket = "<Filter><Prefix></Prefix></Filter>";
    let selects_sse_kms = "<SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects></SourceSelectionCriteria>";
    for (rule, stops) in [
        (rule(whole_bucket, "Enabled"), true),
        (rule("<Filter><Prefix>AWSLogs/</Prefix></Filter>", "Enabled"), true),
        (rule(whole_bucket, "Disabled"), false),
        (rule(&format!("{whole_bucket}{selects_sse_kms}"), "Disabled"), false),
        (rule("<Filter><Prefix>reports/</Prefix></Filter>", "Enabled"), false),
        (rule("<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>", "Enabled"), false),
    ] {
        let mut scenario =
            Scenario::builder(with_bucket(|bucket| bucket.replication(&replication(&rule)))).dry_run().start();
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "planned": 1 }));
        if stops {
            let detail = only_warning(&answer, "replication-will-stop");
            assert!(detail.contains("`to-the-archive`") && detail.contains("arn:aws:s3:::archive"), "{detail}");
            assert!(scenario.only_alert().message.contains("to-the-archive"));
        } else {
            assert_eq!(warnings(&answer), [], "{rule}");
        }
    }
}

#[test]
fn a_replication_role_without_the_new_key_is_a_warning() {
    let elements = "<Filter><Prefix></Prefix></Filter><SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects></SourceSelectionCriteria>";
    let world = || with_bucket(|bucket| bucket.replication(&replication(&rule(elements, "Enabled"))));
    let role = "arn:aws:iam::123456789012:role/r";
    let mut scenario = Scenario::builder(world()).dry_run().start();
    let answer = scenario.invoke_event("update-trail-by-name");
    let detail = only_warning(&answer, "replication-will-stop");
    assert!(detail.contains(role) && detail.contains("kms:Decrypt") && detail.contains("s3.eu-central-1."), "{detail}");
    for readers in ["account", role] {
        let mut scenario = Scenario::builder(world()).env("TRAILSEAL_LOG_READERS", readers).dry_run().start();
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(warnings(&answer), [], "{readers}");
    }
}

#[test]
fn sealing_with_an_existing_key_stays_in_the_budget() {
    let mut world = with_policy(json!([read_statement(json!({ "AWS": SIEM }))]));
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    scenario.aws.set_latency(std::time::Duration::from_millis(250));
    scenario.invoke_event("update-trail-by-name");
    let calls = scenario.aws.calls();
    assert_eq!(calls.len(), 11, "{:#?}", scenario.aws.names());
    let update = calls.iter().position(|call| call.operation == "UpdateTrail").unwrap();
    assert_eq!(fake_aws::rounds(&calls[..=update]), 5);
}
