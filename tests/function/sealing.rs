//! An unencrypted trail is sealed.

use std::time::Duration;

use fake_aws::{Bucket, Key, KeyState, Trail};
use serde_json::{Value, json};

use crate::support::{
    ALIAS, AUDIT, Scene, Setting, account, findings, sealing_policy, step, steps, with_sealing_key, writes,
};

const LOOK: [&str; 2] = ["cloudtrail:GetTrail", "cloudtrail:GetTrailStatus"];
const LOOK_FURTHER: [&str; 2] = ["s3:HeadBucket", "cloudtrail:ListTags"];
const LOOK_FOR_A_KEY: [&str; 3] = ["kms:DescribeKey", "s3:GetBucketPolicy", "s3:GetBucketReplication"];

fn sorted_prefix(calls: &[String], rounds: &[&[&str]]) {
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
    let mut scene = Scene::enforcing(account());
    let before = scene.audit();
    let answer = scene.event("update-trail-by-name");

    assert_eq!(findings(&answer), ["no-cmk"]);
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert_eq!(steps(&answer), ["create-key done", "enable-rotation done", "create-alias done", "update-trail done"]);
    sorted_prefix(
        &scene.calls(),
        &[
            &LOOK,
            &LOOK_FURTHER,
            &LOOK_FOR_A_KEY,
            &["tagging:GetResources"],
            &["kms:CreateKey"],
            &["kms:EnableKeyRotation"],
            &["kms:CreateAlias"],
            &["cloudtrail:GetTrail"],
            &["cloudtrail:UpdateTrail"],
            &["sns:Publish"],
        ],
    );

    let world = scene.aws.snapshot();
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
    assert_eq!(scene.audit(), Trail { kms_key_id: Some(arn.clone()), ..before });
    assert_eq!(answer["trails"][0]["key_arn"], json!(arn));
    assert_eq!(answer["trails"][0]["previous_key_arn"], json!(null));
    assert_eq!(answer["strays"], json!([]));

    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn update_trail_carries_the_arn_and_the_key_and_nothing_else() {
    let mut scene = Scene::enforcing(account());
    scene.event("update-trail-by-name");
    let calls = scene.aws.calls();
    let update = calls.iter().find(|call| call.operation == "UpdateTrail").unwrap();
    let key = scene.audit().kms_key_id.unwrap();
    assert_eq!(update.input, json!({ "Name": AUDIT, "KmsKeyId": key }));
    assert_eq!(update.region, "eu-west-1");
}

#[test]
fn a_second_trail_reuses_the_key_behind_the_alias() {
    let mut world = account();
    let key = with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["key_arn"], json!(key));
    assert_eq!(answer["trails"][0]["warnings"], json!([]));
    assert_eq!(steps(&answer), ["update-trail done"]);
    sorted_prefix(
        &scene.calls(),
        &[&LOOK, &LOOK_FURTHER, &LOOK_FOR_A_KEY, &["kms:GetKeyPolicy"], &["cloudtrail:UpdateTrail"], &["sns:Publish"]],
    );
    assert_eq!(scene.aws.world().keys.len(), 1);
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn a_compliant_trail_costs_four_reads_in_two_rounds_and_no_alert() {
    let mut world = account();
    let key = with_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key));
    let mut scene = Scene::enforcing(world);
    // Long enough for calls of one round to be seen together on a busy machine.
    scene.aws.set_latency(Duration::from_millis(250));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }));
    assert_eq!(answer["trails"][0]["warnings"], json!([]));
    assert!(fake_aws::rounds(&scene.aws.calls()) <= 2);
    sorted_prefix(&scene.calls(), &[&LOOK, &["kms:DescribeKey", "kms:GetKeyPolicy"]]);
}

#[test]
fn a_supplied_key_is_used_as_it_is() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    let own = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
    let mut scene = Setting::new(world).with("TRAILSEAL_KEY_ARNS", &own).start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["key_arn"], json!(own));
    assert_eq!(steps(&answer), ["update-trail done"]);
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn another_accounts_supplied_key_that_may_not_be_read_is_tried() {
    let mut world = account();
    let policy = sealing_policy().replace(":iam::123456789012:", ":iam::210987654321:");
    let central = world.key(Key::new("eu-central-1").of_account("210987654321").policy(&policy));
    let mut scene = Setting::new(world).with("TRAILSEAL_KEY_ARNS", &central).start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(answer["trails"][0]["key_arn"], json!(central));
    assert_eq!(answer["trails"][0]["warnings"][0]["id"], "key-unreadable");
    assert!(!scene.aws.names().contains(&"kms:GetKeyPolicy".to_owned()));
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn the_buckets_region_is_found_where_s3_refuses_to_answer() {
    for status in [301, 400, 403] {
        let mut world = account();
        let bucket = world.buckets.get_mut("audit-logs").unwrap();
        bucket.wrong_region_status = status;
        if status == 403 {
            bucket.head_status = Some(403);
        }
        let mut scene = Scene::enforcing(world);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{status}: {answer:#}");
        assert_eq!(scene.aws.world().keys.values().next().unwrap().region, "eu-central-1");
    }
}

#[test]
fn a_bucket_with_dots_in_its_name_works() {
    let mut world = account();
    world.add_bucket(Bucket::new("logs.example.com", "us-east-1"));
    world.add_trail(Trail::new("audit", "eu-west-1", "logs.example.com"));
    let mut scene = Scene::enforcing(world);
    scene.event("update-trail-by-name");
    assert!(scene.audit().kms_key_id.unwrap().contains(":us-east-1:"));
}

#[test]
fn the_trail_is_changed_in_its_home_region_wherever_the_function_runs() {
    let mut scene =
        Setting::new(account()).function_arn("arn:aws:lambda:us-east-1:123456789012:function:trailseal").start();
    let answer = scene.answer(&json!({ "trail": AUDIT }));
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    for call in scene.aws.calls().iter().filter(|call| call.service == "cloudtrail") {
        assert_eq!(call.region, "eu-west-1", "{}", call.operation);
    }
}

#[test]
fn the_configured_tags_alias_and_readers_are_on_the_new_key() {
    let mut scene = Setting::new(account())
        .with("TRAILSEAL_KEY_ALIAS", "alias/security/trails")
        .with("TRAILSEAL_KEY_TAGS", "team=security, cost-centre=42")
        .with("TRAILSEAL_LOG_READERS", "210987654321,account")
        .start();
    let answer = scene.event("update-trail-by-name");
    assert!(step(&answer, "create-alias")["detail"].as_str().unwrap().contains("alias/security/trails"));
    let world = scene.aws.snapshot();
    let key = world.keys.values().next().unwrap();
    assert_eq!(key.tags.len(), 3);
    assert_eq!(key.tags["team"], "security");
    assert!(key.policy.contains("ReaderAccountsDecrypt") && key.policy.contains("AccountReadersDecrypt"));
    assert!(world.aliases.keys().all(|alias| alias.ends_with(":alias/security/trails")));
}

#[test]
fn in_dry_run_the_same_is_planned_and_nothing_is_written_but_the_alert() {
    let world = account();
    let mut scene = Setting::new(world.clone()).dry_run().start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["mode"], "dry-run");
    assert_eq!(answer["summary"], json!({ "planned": 1 }));
    assert_eq!(
        steps(&answer),
        ["create-key planned", "enable-rotation planned", "create-alias planned", "update-trail planned"]
    );
    assert_eq!(answer["trails"][0]["key_arn"], json!(null), "one would be created");
    let policy = answer["trails"][0]["new_key_policy"].clone();
    assert_eq!(policy, serde_json::from_str::<Value>(&sealing_policy()).unwrap());
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
    let after = scene.aws.snapshot();
    assert_eq!((after.trails, after.keys, after.aliases), (world.trails, world.keys, world.aliases));
}

#[test]
fn in_dry_run_the_key_that_the_trail_would_get_is_named() {
    let mut world = account();
    let key = with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Setting::new(world).dry_run().with("TRAILSEAL_ROLE_ARN", "").start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["key_arn"], json!(key));
    assert_eq!(steps(&answer), ["update-trail planned"]);
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
}
