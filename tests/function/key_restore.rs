//! How a key is made usable again: every effect is reported, whatever becomes of the rest.

use std::time::Duration;

use fake_aws::{Fault, Key, KeyState, World};
use serde_json::json;

use crate::support::{AUDIT, Scenario, count_calls, sealed_account, sealing_policy, steps};

/// The sealed account with its key in this state.
fn sealed_with_key(state: KeyState) -> (World, String) {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().state = state;
    (world, key)
}

#[test]
fn a_canceled_deletion_is_reported_if_the_key_stays_disabled() {
    let (world, key) = sealed_with_key(KeyState::PendingDeletion);
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "EnableKey").then(Fault::access_denied));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((&answer["summary"], steps(&answer)), (&json!({ "failed": 1 }), vec!["restore-key failed".into()]));
    let message = answer["trails"][0]["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("; its deletion is canceled"), "{message}");
    assert_eq!(scenario.aws.world().keys[&key].state, KeyState::Disabled);
}

/// The retry finds the key disabled, and reports only that it enables it.
#[test]
fn a_canceled_deletion_is_alerted_before_a_lambda_retry() {
    let (world, key) = sealed_with_key(KeyState::PendingDeletion);
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "EnableKey").then(Fault::throttled));
    let (error, _) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(8));
    assert_eq!(error.error_type, "Transient");
    assert_eq!(
        (count_calls(&scenario, "CancelKeyDeletion"), scenario.aws.world().keys[&key].state),
        (1, KeyState::Disabled)
    );
    let alert = scenario.only_alert().message;
    assert!(alert.contains("restore-key (failed)") && alert.contains("its deletion is canceled"), "{alert}");
}

/// The first attempt cancels the deletion and is throttled, so the second one is refused. Then another principal enables it.
#[test]
fn a_cancellation_that_a_second_attempt_hides_is_alerted() {
    let (world, key) = sealed_with_key(KeyState::PendingDeletion);
    let mut scenario = Scenario::enforce(world);
    let mut attempts = 0;
    scenario.aws.after(move |call, world| {
        attempts += usize::from(call.operation == "CancelKeyDeletion");
        if call.operation == "CancelKeyDeletion" && attempts > 1 {
            world.keys.get_mut(&key).unwrap().state = KeyState::Enabled;
        }
        (call.operation == "CancelKeyDeletion" && attempts == 1).then(Fault::throttled)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((answer["summary"].clone(), count_calls(&scenario, "EnableKey")), (json!({ "compliant": 1 }), 0));
    let subject = "trailseal: trail audit is compliant, but the outcome of a change is unknown";
    assert_eq!(scenario.only_alert().subject.as_deref(), Some(subject));
}

/// Another principal schedules the deletion again, and then assigns another key.
#[test]
fn a_cancellation_that_another_principal_undoes_is_alerted() {
    let (mut world, key) = sealed_with_key(KeyState::PendingDeletion);
    let theirs = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(move |call, world| {
        if call.operation == "EnableKey" {
            world.keys.get_mut(&key).unwrap().state = KeyState::PendingDeletion;
            world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(theirs.clone());
        }
        None
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(
        (answer["summary"].clone(), count_calls(&scenario, "CancelKeyDeletion")),
        (json!({ "compliant": 1 }), 1)
    );
    let subject = "trailseal: trail audit is compliant, but the outcome of a change is unknown";
    assert_eq!(scenario.only_alert().subject.as_deref(), Some(subject));
}

/// Another principal disables the key again, or KMS shows it as enabled later: the retry may find nothing to do.
#[test]
fn a_key_that_kms_does_not_show_as_enabled_is_alerted() {
    let (world, key) = sealed_with_key(KeyState::Disabled);
    let mut scenario = Scenario::enforce(world);
    scenario.aws.after(move |call, world| {
        if call.operation == "EnableKey" {
            world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
        }
        None
    });
    let (error, _) = scenario.expect_failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert_eq!(count_calls(&scenario, "EnableKey"), 1);
    let alert = scenario.only_alert().message;
    assert!(alert.contains("restore-key (done)") && alert.contains("does not return key"), "{alert}");
}
