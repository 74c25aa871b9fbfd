//! Trails that trailseal must not or cannot remediate.

use std::time::Duration;

use fake_aws::{Key, KeyState, Trail};
use serde_json::json;

use crate::support::{Scenario, account, add_sealing_key, findings, steps, writes};

#[test]
fn an_exempt_trail_is_unchanged_with_its_reason() {
    let mut world = account();
    world.add_trail(
        Trail::new("audit", "eu-west-1", "audit-logs").tag("trailseal:exempt", "SEC-42: read by the old SIEM"),
    );
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "exempt": 1 }));
    assert_eq!(answer["trails"][0]["detail"], "SEC-42: read by the old SIEM");
    assert_eq!(findings(&answer), ["no-cmk"]);
    assert_eq!(writes(&scenario.aws.calls()), [""; 0]);
}

#[test]
fn an_organization_trail_in_an_event_is_out_of_scope() {
    let mut world = account();
    world.add_trail(Trail::new("organization", "us-east-1", "org-logs").organization("999999999999"));
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-organization");
    assert_eq!(answer["summary"], json!({ "out-of-scope": 1 }));
    assert_eq!(findings(&answer), ["no-cmk"]);
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    assert!(scenario.only_alert().message.contains("999999999999"));
}

#[test]
fn a_trail_of_another_account_costs_two_reads() {
    let mut world = account();
    let key = world.key(Key::new("us-east-1").of_account("999999999999"));
    world.add_trail(
        Trail::new("organization", "us-east-1", "org-logs").organization("999999999999").encrypted_with(&key),
    );
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-organization");
    assert_eq!(answer["summary"], json!({ "out-of-scope": 1 }));
    assert_eq!((findings(&answer), &answer["alerts"]["sent"]), (vec![], &json!(0)));
    let mut calls = scenario.take_calls();
    calls.sort();
    assert_eq!(calls, ["cloudtrail:GetTrail", "cloudtrail:GetTrailStatus"]);
}

#[test]
fn a_trail_deleted_before_its_restart_is_gone() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key).stopped(1_780_000_500));
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    scenario.aws.before(|call, world| {
        if call.operation == "StartLogging" {
            world.trails.clear();
        }
        None
    });
    assert_eq!(scenario.invoke_event("stop-logging-by-name")["summary"], json!({ "gone": 1 }));
}

#[test]
fn a_stopped_trail_restarts_only_if_configured() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key).stopped(1_780_000_500));
    let mut scenario = Scenario::enforce(world.clone());
    let answer = scenario.invoke_event("stop-logging-by-name");
    assert_eq!(answer["summary"], json!({ "noted": 1 }));
    assert_eq!(findings(&answer), ["logging-stopped"]);
    assert!(!scenario.aws.names().contains(&"s3:HeadBucket".to_owned()), "the bucket is not read");
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    assert!(scenario.only_alert().message.contains("aws cloudtrail start-logging"));

    let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    let answer = scenario.invoke_event("stop-logging-by-name");
    assert_eq!(steps(&answer), ["start-logging done"]);
    assert!(scenario.audit().logging);
    scenario.assert_converged("stop-logging-by-name");
}

#[test]
fn an_unusable_sealing_key_fails_with_its_remedy() {
    let disabled: fn(Key) -> Key = |key| key.state(KeyState::Disabled);
    let pending_deletion: fn(Key) -> Key = |key| key.state(KeyState::PendingDeletion);
    let asymmetric: fn(Key) -> Key = |key| key.spec("RSA_2048", "SIGN_VERIFY");
    let pending_import: fn(Key) -> Key = |key| key.state(KeyState::PendingImport);
    for (make, remedy) in [
        (disabled, "aws kms enable-key --region eu-central-1"),
        (pending_deletion, "aws kms cancel-key-deletion --region eu-central-1"),
        (asymmetric, "associate `alias/trailseal` with an enabled, symmetric"),
        (pending_import, "make the key usable again, as the message above describes"),
    ] {
        let mut world = account();
        let key = world.key(make(Key::new("eu-central-1")));
        world.alias("eu-central-1", "alias/trailseal", &key);
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "failed": 1 }));
        let error = &answer["trails"][0]["error"];
        assert_eq!(error["class"], "terminal");
        assert!(error["remedy"].as_str().unwrap().contains(remedy), "{error:#}");
        assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
        assert_eq!(scenario.audit().kms_key_id, None);
    }
}

#[test]
fn a_missing_supplied_key_is_not_replaced() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let missing = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-00000000dead";
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_KEY_ARNS", missing).start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    assert!(answer["trails"][0]["error"]["remedy"].as_str().unwrap().contains("TRAILSEAL_KEY_ARNS"));
    assert_eq!(scenario.audit().kms_key_id, None);
}

#[test]
fn a_missing_key_without_a_second_read_is_transient() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let missing = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-4000-8000-00000000dead";
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(missing));
    let mut scenario = Scenario::enforce(world);
    let (error, _) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(20));
    assert_eq!(error.error_type, "Transient");
    assert_eq!(writes(&scenario.aws.calls()), [""; 0]);
    assert_eq!(scenario.audit().kms_key_id.as_deref(), Some(missing));
}
