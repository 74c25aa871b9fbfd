//! Trails that are not ours to mend, or not to be mended.

use std::time::Duration;

use fake_aws::{Key, KeyState, Trail};
use serde_json::json;

use crate::support::{Scene, Setting, account, findings, steps, with_sealing_key, writes};

#[test]
fn a_trail_with_the_exempt_tag_is_left_alone_and_its_reason_told() {
    let mut world = account();
    world.add_trail(
        Trail::new("audit", "eu-west-1", "audit-logs").tag("trailseal:exempt", "SEC-42: read by the old SIEM"),
    );
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "exempt": 1 }));
    assert_eq!(answer["trails"][0]["detail"], "SEC-42: read by the old SIEM");
    assert_eq!(findings(&answer), ["no-cmk"]);
    assert_eq!(writes(&scene.aws.calls()), [""; 0]);
}

#[test]
fn another_accounts_organization_trail_is_out_of_scope_and_told_where_an_event_named_it() {
    let mut world = account();
    world.add_trail(Trail::new("organization", "us-east-1", "org-logs").organization("999999999999"));
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-organization");
    assert_eq!(answer["summary"], json!({ "out-of-scope": 1 }));
    assert_eq!(findings(&answer), ["no-cmk"]);
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
    assert!(scene.only_alert().message.contains("999999999999"));
}

#[test]
fn another_accounts_trail_costs_two_reads_whatever_its_key() {
    let mut world = account();
    let key = world.key(Key::new("us-east-1").of_account("999999999999"));
    world.add_trail(
        Trail::new("organization", "us-east-1", "org-logs").organization("999999999999").encrypted_with(&key),
    );
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-organization");
    assert_eq!(answer["summary"], json!({ "out-of-scope": 1 }));
    assert_eq!((findings(&answer), &answer["alerts"]["sent"]), (vec![], &json!(0)));
    let mut calls = scene.calls();
    calls.sort();
    assert_eq!(calls, ["cloudtrail:GetTrail", "cloudtrail:GetTrailStatus"]);
}

#[test]
fn a_trail_that_is_deleted_before_it_is_started_again_is_gone() {
    let mut world = account();
    let key = with_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key).stopped(1_780_000_500));
    let mut scene = Setting::new(world).with("TRAILSEAL_RESTART_LOGGING", "true").start();
    scene.aws.before(|call, world| {
        if call.operation == "StartLogging" {
            world.trails.clear();
        }
        None
    });
    assert_eq!(scene.event("stop-logging-by-name")["summary"], json!({ "gone": 1 }));
}

#[test]
fn a_stopped_trail_is_noted_and_started_again_only_if_configured() {
    let mut world = account();
    let key = with_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key).stopped(1_780_000_500));
    let mut scene = Scene::enforcing(world.clone());
    let answer = scene.event("stop-logging-by-name");
    assert_eq!(answer["summary"], json!({ "noted": 1 }));
    assert_eq!(findings(&answer), ["logging-stopped"]);
    assert!(!scene.aws.names().contains(&"s3:HeadBucket".to_owned()), "its bucket does not matter");
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
    assert!(scene.only_alert().message.contains("aws cloudtrail start-logging"));

    let mut scene = Setting::new(world).with("TRAILSEAL_RESTART_LOGGING", "true").start();
    let answer = scene.event("stop-logging-by-name");
    assert_eq!(steps(&answer), ["start-logging done"]);
    assert!(scene.audit().logging);
    scene.again_nothing_happens("stop-logging-by-name");
}

#[test]
fn a_sealing_key_that_cannot_be_used_is_never_given_and_the_remedy_is_named() {
    let disabled: fn(Key) -> Key = |key| key.state(KeyState::Disabled);
    let doomed: fn(Key) -> Key = |key| key.state(KeyState::PendingDeletion);
    let asymmetric: fn(Key) -> Key = |key| key.spec("RSA_2048", "SIGN_VERIFY");
    let imported: fn(Key) -> Key = |key| key.state(KeyState::PendingImport);
    for (make, remedy) in [
        (disabled, "aws kms enable-key --region eu-central-1"),
        (doomed, "aws kms cancel-key-deletion --region eu-central-1"),
        (asymmetric, "let `alias/trailseal` name a symmetric"),
        (imported, "let `alias/trailseal` name a symmetric"),
    ] {
        let mut world = account();
        let key = world.key(make(Key::new("eu-central-1")));
        world.alias("eu-central-1", "alias/trailseal", &key);
        let mut scene = Scene::enforcing(world);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "failed": 1 }));
        let error = &answer["trails"][0]["error"];
        assert_eq!(error["class"], "terminal");
        assert!(error["remedy"].as_str().unwrap().contains(remedy), "{error:#}");
        assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
        assert_eq!(scene.audit().kms_key_id, None);
    }
}

#[test]
fn a_supplied_key_that_does_not_exist_fails_and_no_other_is_taken() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    let missing = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-00000000dead";
    let mut scene = Setting::new(world).with("TRAILSEAL_KEY_ARNS", missing).start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    assert!(answer["trails"][0]["error"]["remedy"].as_str().unwrap().contains("TRAILSEAL_KEY_ARNS"));
    assert_eq!(scene.audit().kms_key_id, None);
}

#[test]
fn a_missing_key_that_there_is_no_time_to_look_for_again_is_left_to_lambdas_retry() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    let missing = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-00000000dead";
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(missing));
    let mut scene = Scene::enforcing(world);
    let (error, _) = scene.failure_within("update-trail-by-name", Duration::from_secs(20));
    assert_eq!(error.error_type, "Transient");
    assert_eq!(writes(&scene.aws.calls()), [""; 0]);
    assert_eq!(scene.audit().kms_key_id.as_deref(), Some(missing));
}
