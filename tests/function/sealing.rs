//! Sealing an unencrypted trail.

use std::time::Duration;

use fake_aws::{Bucket, Key, KeyState, Trail};
use serde_json::{Value, json};

use crate::support::{ALIAS, AUDIT, Scenario, account, add_sealing_key, findings, sealing_policy, step, steps, writes};

const READ_TRAIL: [&str; 2] = ["cloudtrail:GetTrail", "cloudtrail:GetTrailStatus"];
const READ_BUCKET_AND_TAGS: [&str; 2] = ["s3:HeadBucket", "cloudtrail:ListTags"];
const READ_SEALING_KEY: [&str; 3] = ["kms:DescribeKey", "s3:GetBucketPolicy", "s3:GetBucketReplication"];

/// Asserts the calls, round by round. The order within a round is not fixed.
fn assert_rounds(calls: &[String], rounds: &[&[&str]]) {
    let mut rest = calls;
    for round in rounds {
        assert!(rest.len() >= round.len(), "{calls:#?}");
        let (now, later) = rest.split_at(round.len());
        let (mut now, mut expected) = (now.to_vec(), round.to_vec());
        now.sort_unstable();
        expected.sort_unstable();
        assert_eq!(now, expected, "{calls:#?}");
        rest = later;
    }
    assert!(rest.is_empty(), "more calls: {rest:?}");
}

#[test]
fn an_unencrypted_trail_gets_a_new_key_in_its_buckets_region() {
    let mut scenario = Scenario::enforce(account());
    let before = scenario.audit();
    let answer = scenario.invoke_event("update-trail-by-name");

    assert_eq!(findings(&answer), ["no-cmk"]);
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert_eq!(steps(&answer), ["create-key done", "enable-rotation done", "create-alias done", "update-trail done"]);
    assert_rounds(
        &scenario.take_calls(),
        &[
            &READ_TRAIL,
            &READ_BUCKET_AND_TAGS,
            &READ_SEALING_KEY,
            &["tagging:GetResources"],
            &["kms:CreateKey"],
            &["kms:EnableKeyRotation"],
            &["kms:CreateAlias"],
            &["cloudtrail:GetTrail"],
            &["cloudtrail:UpdateTrail"],
            &["sns:Publish"],
        ],
    );

    let world = scenario.aws.snapshot();
    assert_eq!(world.keys.len(), 1);
    let (arn, key) = world.keys.iter().next().unwrap();
    assert_eq!(key.region, "eu-central-1");
    assert_eq!(key.state, KeyState::Enabled);
    assert_eq!(
        (key.spec.as_str(), key.usage.as_str(), key.multi_region),
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", false)
    );
    assert_eq!(key.rotation_days, Some(365));
    assert_eq!(key.tags.iter().collect::<Vec<_>>(), [(&"managed-by".to_owned(), &"trailseal".to_owned())]);
    assert!(!key.lockout_check_bypassed);
    assert!(key.description.contains("CloudTrail"));
    let as_json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(as_json(&key.policy), as_json(&sealing_policy()));
    assert_eq!(world.aliases.keys().collect::<Vec<_>>(), [&format!("arn:aws:kms:eu-central-1:123456789012:{ALIAS}")]);
    assert_eq!(world.aliases.values().next().unwrap().target, *arn);
    assert_eq!(scenario.audit(), Trail { kms_key_id: Some(arn.clone()), ..before });
    assert_eq!(answer["trails"][0]["key_arn"], json!(arn));
    assert_eq!(answer["trails"][0]["previous_key_arn"], json!(null));
    assert_eq!(answer["strays"], json!([]));

    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn update_trail_contains_only_the_arn_and_the_key() {
    let mut scenario = Scenario::enforce(account());
    scenario.invoke_event("update-trail-by-name");
    let calls = scenario.aws.calls();
    let update = calls.iter().find(|call| call.operation == "UpdateTrail").unwrap();
    let key = scenario.audit().kms_key_id.unwrap();
    assert_eq!(update.input, json!({ "Name": AUDIT, "KmsKeyId": key }));
    assert_eq!(update.region, "eu-west-1");
}

#[test]
fn a_second_trail_reuses_the_key_behind_the_alias() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["key_arn"], json!(key));
    assert_eq!(answer["trails"][0]["warnings"], json!([]));
    assert_eq!(steps(&answer), ["update-trail done"]);
    assert_rounds(
        &scenario.take_calls(),
        &[
            &READ_TRAIL,
            &READ_BUCKET_AND_TAGS,
            &READ_SEALING_KEY,
            &["kms:GetKeyPolicy", "kms:ListResourceTags"],
            &["cloudtrail:UpdateTrail"],
            &["sns:Publish"],
        ],
    );
    assert_eq!(scenario.aws.world().keys.len(), 1);
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_compliant_trail_stays_in_the_budget() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key));
    let mut scenario = Scenario::enforce(world);
    // Long enough for the calls of one round to overlap on a busy machine.
    scenario.aws.set_latency(Duration::from_millis(250));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }));
    assert_eq!(answer["trails"][0]["warnings"], json!([]));
    assert!(fake_aws::rounds(&scenario.aws.calls()) <= 2);
    assert_rounds(
        &scenario.take_calls(),
        &[&READ_TRAIL, &["kms:DescribeKey", "kms:GetKeyPolicy", "kms:ListResourceTags"]],
    );
}

#[test]
fn a_supplied_key_outranks_the_alias() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let own = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_KEY_ARNS", &own).start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["key_arn"], json!(own));
    assert_eq!(steps(&answer), ["update-trail done"]);
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn an_unreadable_supplied_key_is_used() {
    let mut world = account();
    let policy = sealing_policy().replace(":iam::123456789012:", ":iam::210987654321:");
    let central = world.key(Key::new("eu-central-1").of_account("210987654321").policy(&policy));
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_KEY_ARNS", &central).start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(answer["trails"][0]["key_arn"], json!(central));
    assert_eq!(answer["trails"][0]["warnings"][0]["id"], "key-unreadable");
    assert!(!scenario.aws.names().contains(&"kms:GetKeyPolicy".to_owned()));
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn the_bucket_region_is_read_from_error_responses() {
    for status in [301, 400, 403] {
        let mut world = account();
        let bucket = world.buckets.get_mut("audit-logs").unwrap();
        bucket.wrong_region_status = status;
        if status == 403 {
            bucket.head_status = Some(403);
        }
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{status}: {answer:#}");
        assert_eq!(scenario.aws.world().keys.values().next().unwrap().region, "eu-central-1");
    }
}

#[test]
fn a_bucket_with_dots_in_its_name_works() {
    let mut world = account();
    world.add_bucket(Bucket::new("logs.example.com", "us-east-1"));
    world.add_trail(Trail::new("audit", "eu-west-1", "logs.example.com"));
    let mut scenario = Scenario::enforce(world);
    scenario.invoke_event("update-trail-by-name");
    assert!(scenario.audit().kms_key_id.unwrap().contains(":us-east-1:"));
}

#[test]
fn a_trail_is_updated_in_its_home_region() {
    let mut scenario =
        Scenario::builder(account()).function_arn("arn:aws:lambda:us-east-1:123456789012:function:trailseal").start();
    let answer = scenario.invoke(&json!({ "trail": AUDIT }));
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    for call in scenario.aws.calls().iter().filter(|call| call.service == "cloudtrail") {
        assert_eq!(call.region, "eu-west-1", "{}", call.operation);
    }
}

#[test]
fn a_new_key_has_the_configured_tags_alias_and_readers() {
    let mut scenario = Scenario::builder(account())
        .env("TRAILSEAL_KEY_ALIAS", "alias/security/trails")
        .env("TRAILSEAL_KEY_TAGS", "team=security, cost-centre=42")
        .env("TRAILSEAL_LOG_READERS", "210987654321,account")
        .start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert!(step(&answer, "create-alias")["detail"].as_str().unwrap().contains("alias/security/trails"));
    let world = scenario.aws.snapshot();
    let key = world.keys.values().next().unwrap();
    assert_eq!(key.tags.len(), 3);
    assert_eq!(key.tags["team"], "security");
    assert!(key.policy.contains("ReaderAccountsDecrypt") && key.policy.contains("AccountReadersDecrypt"));
    assert!(world.aliases.keys().all(|alias| alias.ends_with(":alias/security/trails")));
}

#[test]
fn dry_run_plans_the_same_and_writes_only_the_alert() {
    let world = account();
    let mut scenario = Scenario::builder(world.clone()).dry_run().start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["mode"], "dry-run");
    assert_eq!(answer["summary"], json!({ "planned": 1 }));
    assert_eq!(
        steps(&answer),
        ["create-key planned", "enable-rotation planned", "create-alias planned", "update-trail planned"]
    );
    assert_eq!(answer["trails"][0]["key_arn"], json!(null), "one would be created");
    let policy = answer["trails"][0]["new_key_policy"].clone();
    assert_eq!(policy, serde_json::from_str::<Value>(&sealing_policy()).unwrap());
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    let after = scenario.aws.snapshot();
    assert_eq!((after.trails, after.keys, after.aliases), (world.trails, world.keys, world.aliases));
}

#[test]
fn dry_run_names_the_key_that_the_trail_would_get() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::builder(world).dry_run().env("TRAILSEAL_ROLE_ARN", "").start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["key_arn"], json!(key));
    assert_eq!(steps(&answer), ["update-trail planned"]);
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
}
