//! The bucket's side: whether CloudTrail can still write, who could no longer read, what would no longer
//! be replicated.

use fake_aws::{Bucket, Key, Trail, World};
use serde_json::{Value, json};

use crate::support::{
    ACCOUNT, AUDIT, Scene, Setting, account, findings, sealing_policy, steps, with_sealing_key, writes,
};

const SIEM: &str = "arn:aws:iam::210987654321:role/siem";
const LOGS: &str = "arn:aws:s3:::audit-logs/*";

fn bucket_policy(statements: Value) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

fn reads(principal: Value) -> Value {
    json!({ "Sid": "Reads", "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": LOGS })
}

/// The account whose trail's bucket has that policy.
fn with_bucket(bucket: impl FnOnce(Bucket) -> Bucket) -> World {
    let mut world = account();
    world.add_bucket(bucket(Bucket::new("audit-logs", "eu-central-1")));
    world
}

fn with_policy(statements: Value) -> World {
    with_bucket(|bucket| bucket.policy(&bucket_policy(statements)))
}

/// The warnings of the first trail, by id, with their words.
fn warnings(answer: &Value) -> Vec<(&str, &str)> {
    let warnings = answer["trails"][0]["warnings"].as_array().unwrap();
    warnings.iter().map(|it| (it["id"].as_str().unwrap(), it["detail"].as_str().unwrap())).collect()
}

fn only_warning<'a>(answer: &'a Value, id: &str) -> &'a str {
    let warnings = warnings(answer);
    assert_eq!(warnings.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id], "{warnings:#?}");
    warnings[0].1
}

#[test]
fn a_reader_in_another_account_is_named_in_plan_answer_and_alert() {
    for (setting, summary) in [
        (Setting::new(with_policy(json!([reads(json!({ "AWS": SIEM }))]))).dry_run(), "planned"),
        (Setting::new(with_policy(json!([reads(json!({ "AWS": SIEM }))]))), "remediated"),
    ] {
        let mut scene = setting.start();
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ summary: 1 }));
        let words = only_warning(&answer, "readers-locked-out");
        assert!(words.contains(SIEM) && words.contains("`Reads`"), "{words}");
        assert!(scene.only_alert().message.contains(SIEM));
    }
}

#[test]
fn hold_keeps_a_trail_whose_readers_would_be_locked_out_as_it_is_and_names_them() {
    let world = with_policy(json!([reads(json!({ "AWS": [SIEM, "333333333333"] }))]));
    let mut scene = Setting::new(world).with("TRAILSEAL_READERS_LOCKED_OUT", "hold").start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    let error = &answer["trails"][0]["error"];
    assert_eq!(error["class"], "terminal");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(SIEM) && message.contains("333333333333"), "{message}");
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
    assert_eq!(scene.audit().kms_key_id, None);
}

#[test]
fn hold_holds_nobody_back_where_nobody_is_locked_out() {
    for world in
        [account(), with_policy(json!([reads(json!({ "AWS": format!("arn:aws:iam::{ACCOUNT}:role/athena") }))]))]
    {
        let mut scene = Setting::new(world).with("TRAILSEAL_READERS_LOCKED_OUT", "hold").start();
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
        assert_eq!(warnings(&answer), []);
    }
}

#[test]
fn every_form_of_configured_reader_lets_its_readers_in() {
    let organization = json!({ "Sid": "Reads", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": LOGS,
        "Condition": { "StringEquals": { "aws:PrincipalOrgID": "o-abcdefghij" } } });
    for (readers, statement) in [
        (SIEM, reads(json!({ "AWS": SIEM }))),
        ("210987654321", reads(json!({ "AWS": SIEM }))),
        ("210987654321", reads(json!({ "AWS": "arn:aws:iam::210987654321:root" }))),
        ("o-abcdefghij", organization),
    ] {
        let mut scene = Setting::new(with_policy(json!([statement]))).with("TRAILSEAL_LOG_READERS", readers).start();
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }));
        assert_eq!(warnings(&answer), [], "{readers}");
        scene.again_nothing_happens("update-trail-by-name");
    }
}

#[test]
fn readers_of_the_account_itself_are_let_in_by_account() {
    let mut scene = Setting::new(account()).with("TRAILSEAL_LOG_READERS", "account").dry_run().start();
    let answer = scene.event("update-trail-by-name");
    let policy = answer["trails"][0]["new_key_policy"].to_string();
    assert!(policy.contains("AccountReadersDecrypt") && policy.contains(r#""kms:CallerAccount":"123456789012""#));
    assert!(!scene.only_alert().message.contains("need kms:Decrypt on the key in their own"));
    let mut scene = Setting::new(account()).dry_run().start();
    scene.event("update-trail-by-name");
    let message = scene.only_alert().message;
    assert!(message.contains("need kms:Decrypt on the key in their own"), "{message}");
}

#[test]
fn a_bucket_policy_that_refuses_the_new_key_fails_the_trail_and_nothing_is_written() {
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
        let mut scene = Scene::enforcing(world);
        let answer = scene.event("update-trail-by-name");
        if sealed {
            assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
            assert_eq!(scene.aws.snapshot().check_delivery(AUDIT), Ok(()));
        } else {
            assert_eq!(answer["summary"], json!({ "failed": 1 }));
            assert!(answer["trails"][0]["error"]["message"].as_str().unwrap().contains("`OnlyThatKey`"), "{answer:#}");
            assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
            assert_eq!(scene.aws.world().keys.len(), 0, "no key either");
        }
    }
}

#[test]
fn a_bucket_whose_policy_and_replication_may_not_be_read_is_a_warning_of_its_own() {
    for not_allowed in [false, true] {
        let world = with_bucket(|bucket| {
            let mut bucket = bucket.of_account("210987654321");
            bucket.method_not_allowed = not_allowed;
            bucket
        });
        let mut scene = Scene::enforcing(world);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
        let ids: Vec<&str> = warnings(&answer).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["bucket-policy-unreadable", "replication-unreadable"]);
    }
}

#[test]
fn a_bucket_policy_that_cannot_be_judged_is_said_and_left_to_cloudtrail() {
    let deny = json!({ "Sid": "OnlyFromHere", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": LOGS,
        "Condition": { "StringNotEquals": { "aws:SourceVpce": "vpce-1" } } });
    let mut scene = Scene::enforcing(with_policy(json!([deny])));
    let answer = scene.event("update-trail-by-name");
    assert!(only_warning(&answer, "bucket-policy-unreadable").contains("OnlyFromHere"));
}

#[test]
fn a_bucket_that_takes_one_key_only_is_told_which_keys_it_would_have_to_take() {
    let deny = json!({ "Sid": "OnlyThatKey", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": LOGS,
        "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-central-1:123456789012:key/another" } } });
    let mut scene = Scene::enforcing(with_policy(json!([deny])));
    let error = &scene.event("update-trail-by-name")["trails"][0]["error"];
    assert!(
        error["message"].as_str().unwrap().contains("the key that trailseal would create in `eu-central-1`"),
        "{error:#}"
    );
    let remedy = error["remedy"].as_str().unwrap();
    assert!(remedy.contains("`arn:aws:kms:eu-central-1:123456789012:key/*`") && remedy.contains("TRAILSEAL_KEY_ARNS"));
    assert!(!error.to_string().contains("00000000-0000-0000"));
}

#[test]
fn digest_files_are_written_with_the_key_too_where_there_are_any() {
    let digests = "arn:aws:s3:::audit-logs/AWSLogs/*/CloudTrail-Digest/*";
    let deny = json!({ "Sid": "PlainDigests", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": digests,
        "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption": "AES256" } } });
    for (validated, summary) in [(true, "failed"), (false, "remediated")] {
        let mut world = with_policy(json!([deny]));
        world.trails.get_mut(AUDIT).unwrap().log_file_validation = validated;
        let mut scene = Scene::enforcing(world);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ summary: 1 }), "{answer:#}");
        assert_eq!(answer.to_string().contains("PlainDigests"), validated);
    }
}

#[test]
fn who_is_no_reader_of_this_trails_files_or_not_of_another_account_is_not_named() {
    let everybody = |sid: &str, resource: &str, condition: Value| json!({ "Sid": sid, "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": resource, "Condition": condition });
    let own = "arn:aws:iam::${aws:ResourceAccount}:role/athena";
    let elsewhere = "arn:aws:s3:::audit-logs/AWSLogs/*/CloudTrail/us-west-2/*";
    for statement in [
        everybody("Own", LOGS, json!({ "ArnLike": { "aws:PrincipalArn": own } })),
        everybody("Own", LOGS, json!({ "StringEquals": { "aws:PrincipalAccount": "${s3:ResourceAccount}" } })),
        everybody("Elsewhere", elsewhere, json!({ "StringEquals": { "aws:PrincipalAccount": "210987654321" } })),
    ] {
        let mut world = with_policy(json!([statement]));
        world.trails.get_mut(AUDIT).unwrap().multi_region = false;
        let mut scene = Setting::new(world).with("TRAILSEAL_READERS_LOCKED_OUT", "hold").start();
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
        assert_eq!(warnings(&answer), []);
    }
}

#[test]
fn whoever_reads_versions_only_reads() {
    let mut versions = reads(json!({ "AWS": SIEM }));
    versions["Action"] = json!("s3:GetObjectVersion");
    let mut scene = Setting::new(with_policy(json!([versions]))).dry_run().start();
    assert!(only_warning(&scene.event("update-trail-by-name"), "readers-locked-out").contains(SIEM));
}

#[test]
fn with_an_owners_key_nobody_is_told_to_name_readers_in_a_configuration_that_it_does_not_follow() {
    let mut world = with_policy(json!([reads(json!({ "AWS": SIEM }))]));
    let own = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
    let mut scene = Setting::new(world)
        .with("TRAILSEAL_KEY_ARNS", &own)
        .with("TRAILSEAL_LOG_READERS", "account,210987654321")
        .start();
    let answer = scene.event("update-trail-by-name");
    let words = only_warning(&answer, "readers-locked-out");
    assert!(words.contains("let whoever keeps the key name them in its policy"), "{words}");
    let message = scene.only_alert().message;
    assert!(
        message.contains("TRAILSEAL_LOG_READERS has no effect on it") && !message.contains("may decrypt, too"),
        "{message}"
    );
}

fn replication(rule: &str) -> String {
    format!(
        r#"<ReplicationConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Role>arn:aws:iam::123456789012:role/r</Role>{rule}</ReplicationConfiguration>"#
    )
}

fn rule(more: &str, status: &str) -> String {
    format!(
        "<Rule><ID>to-the-archive</ID><Priority>1</Priority><Status>{status}</Status>{more}<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication><Destination><Bucket>arn:aws:s3:::archive</Bucket></Destination></Rule>"
    )
}

#[test]
fn a_replication_that_would_stop_is_named_and_one_that_goes_on_is_not() {
    let everything = "<Filter><Prefix></Prefix></Filter>";
    let takes_kms = "<SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects></SourceSelectionCriteria>";
    for (rule, stops) in [
        (rule(everything, "Enabled"), true),
        (rule("<Filter><Prefix>AWSLogs/</Prefix></Filter>", "Enabled"), true),
        (rule(everything, "Disabled"), false),
        (rule(&format!("{everything}{takes_kms}"), "Enabled"), false),
        (rule("<Filter><Prefix>reports/</Prefix></Filter>", "Enabled"), false),
        (rule("<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>", "Enabled"), false),
    ] {
        let mut scene = Setting::new(with_bucket(|bucket| bucket.replication(&replication(&rule)))).dry_run().start();
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "planned": 1 }));
        if stops {
            let words = only_warning(&answer, "replication-will-stop");
            assert!(words.contains("`to-the-archive`") && words.contains("arn:aws:s3:::archive"), "{words}");
            assert!(scene.only_alert().message.contains("to-the-archive"));
        } else {
            assert_eq!(warnings(&answer), [], "{rule}");
        }
    }
}

#[test]
fn anothers_key_that_does_not_let_cloudtrail_decrypt_is_a_warning_and_ours_a_gap_to_extend() {
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().retain(|it| it["Sid"] != "CloudTrailDecryptsForBucketKeys");
    for ours in [false, true] {
        let mut world = account();
        let mut key = Key::new("eu-central-1").policy(&policy.to_string());
        if ours {
            key = key.tag("managed-by", "trailseal");
        }
        let key = world.key(key);
        world.alias("eu-central-1", "alias/trailseal", &key);
        world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key));
        let mut scene = Scene::enforcing(world);
        let answer = scene.event("update-trail-by-name");
        if ours {
            assert_eq!(
                (findings(&answer), steps(&answer)),
                (vec!["key-policy-gap"], vec!["extend-key-policy done".into()])
            );
            scene.again_nothing_happens("update-trail-by-name");
        } else {
            assert_eq!(answer["summary"], json!({ "compliant": 1 }));
            only_warning(&answer, "bucket-key-needs-decrypt");
        }
    }
}

#[test]
fn an_unencrypted_trail_whose_sealing_key_exists_costs_ten_calls_and_is_protected_in_round_five() {
    let mut world = with_policy(json!([reads(json!({ "AWS": SIEM }))]));
    with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Scene::enforcing(world);
    scene.aws.set_latency(std::time::Duration::from_millis(250));
    scene.event("update-trail-by-name");
    let calls = scene.aws.calls();
    assert_eq!(calls.len(), 10, "{:#?}", scene.aws.names());
    let update = calls.iter().position(|call| call.operation == "UpdateTrail").unwrap();
    assert_eq!(fake_aws::rounds(&calls[..=update]), 5);
}
