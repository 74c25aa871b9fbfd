//! Yearly rotation of the sealing key: read in sweeps and on `DisableKeyRotation`, enabled on trailseal's own key only.

use fake_aws::{Fault, KeyState, Trail, World};
use serde_json::{Value, json};

use crate::support::{Scenario, account, count_calls, event, findings, sealed_account, steps, writes};

fn sweep() -> Value {
    json!({ "sweep": {} })
}

/// The sealed account, without rotation of its key.
fn without_rotation() -> (World, String) {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().rotation_days = None;
    (world, key)
}

fn key_event(name: &str, key: &str) -> Value {
    let mut event = event(name);
    event["detail"]["requestParameters"]["keyId"] = json!(key);
    event["detail"]["resources"] = json!([{ "ARN": key }]);
    event
}

/// Two refusals that end by themselves.
fn refuse_twice(scenario: &Scenario, code: &'static str) {
    let mut refusals = 2;
    scenario.aws.before(move |call, _| {
        if call.operation != "EnableKeyRotation" || refusals == 0 {
            return None;
        }
        refusals -= 1;
        Some(Fault::error(400, code, "not yet"))
    });
}

#[test]
fn rotation_that_was_disabled_is_enabled_once() {
    let (mut world, key) = without_rotation();
    world.add_trail(Trail::new("second", "us-east-1", "audit-logs").encrypted_with(&key));
    let before = world.clone();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke(&key_event("disable-key-rotation", &key));
    assert_eq!(answer["summary"], json!({ "remediated": 2 }), "{answer:#}");
    assert_eq!((findings(&answer), steps(&answer)), (vec!["key-rotation-off"], vec!["enable-rotation done".into()]));
    assert_eq!(answer["trails"][1]["steps"][0]["status"], "not-needed", "{answer:#}");
    assert_eq!(writes(&scenario.aws.calls()), ["kms:EnableKeyRotation", "sns:Publish", "sns:Publish"]);
    let after = scenario.aws.snapshot();
    assert_eq!((after.keys[&key].rotation_days, &after.trails), (Some(365), &before.trails));
    assert!(after.published[0].message.contains("ops/ann"), "{}", after.published[0].message);
    scenario.aws.clear_calls();
    for input in [key_event("disable-key-rotation", &key), sweep()] {
        assert_eq!(scenario.invoke(&input)["summary"], json!({ "compliant": 2 }));
    }
    assert_eq!(writes(&scenario.aws.calls()), [""; 0]);
}

#[test]
fn only_a_sweep_and_its_event_read_rotation() {
    let (world, key) = without_rotation();
    let mut scenario = Scenario::enforce(world);
    for input in [event("update-trail-by-name"), key_event("disable-key", &key), key_event("put-key-policy", &key)] {
        assert_eq!(scenario.invoke(&input)["summary"], json!({ "compliant": 1 }));
    }
    assert_eq!(count_calls(&scenario, "GetKeyRotationStatus"), 0);
    scenario.aws.clear_calls();
    assert_eq!(scenario.invoke(&sweep())["summary"], json!({ "remediated": 1 }));
    assert_eq!(count_calls(&scenario, "GetKeyRotationStatus"), 2, "health, and the sealing key");
}

#[test]
fn a_key_that_cannot_rotate_is_not_asked() {
    for (name, read) in [("imported", false), ("replica", false), ("primary", true), ("pending deletion", false)] {
        let (mut world, key) = without_rotation();
        let changed = world.keys.get_mut(&key).unwrap();
        match name {
            "imported" => changed.origin = "EXTERNAL".into(),
            "replica" => (changed.multi_region, changed.replica) = (true, true),
            "primary" => changed.multi_region = true,
            _ => changed.state = KeyState::PendingDeletion,
        }
        let mut scenario = Scenario::builder(world).dry_run().start();
        let answer = scenario.invoke(&sweep());
        assert_eq!(count_calls(&scenario, "GetKeyRotationStatus") > 0, read, "{name}");
        assert_eq!(findings(&answer).contains(&"key-rotation-off"), read, "{name}");
    }
}

#[test]
fn refusals_right_after_a_change_are_retried() {
    for code in ["DisabledException", "NotFoundException", "KMSInvalidStateException"] {
        let mut scenario = Scenario::enforce(account());
        refuse_twice(&scenario, code);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{code}: {answer:#}");
        assert_eq!(count_calls(&scenario, "EnableKeyRotation"), 3);
        assert!(scenario.aws.world().keys.values().all(|key| key.rotation_days == Some(365)), "{code}");

        let (mut world, key) = without_rotation();
        world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
        let mut scenario = Scenario::enforce(world);
        refuse_twice(&scenario, code);
        let answer = scenario.invoke(&sweep());
        assert_eq!(steps(&answer), ["restore-key done", "enable-rotation done"], "{code}");
        assert_eq!(scenario.aws.world().keys[&key].rotation_days, Some(365), "{code}");
    }
}

#[test]
fn a_sweep_enables_what_a_new_key_was_refused() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| (call.operation == "EnableKeyRotation").then(Fault::access_denied));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["error"]["operation"], "kms:EnableKeyRotation");
    assert_eq!(scenario.invoke_event("update-trail-by-name")["summary"], json!({ "compliant": 1 }));
    let answer = scenario.invoke(&sweep());
    assert_eq!(
        (answer["summary"].clone(), steps(&answer)),
        (json!({ "failed": 1 }), vec!["enable-rotation failed".into()])
    );
    scenario.aws.clear_hooks();
    assert_eq!(scenario.invoke(&sweep())["summary"], json!({ "remediated": 1 }));
    assert_eq!(scenario.invoke(&sweep())["summary"], json!({ "compliant": 1 }));
    assert!(scenario.aws.world().keys.values().all(|key| key.rotation_days == Some(365)));
}

#[test]
fn a_rotation_that_cannot_be_read_is_not_off() {
    let (world, _) = without_rotation();
    let mut scenario = Scenario::enforce(world);
    for (fault, outcome) in [
        (Fault::access_denied(), "compliant"),
        (Fault::error(400, "UnsupportedOperationException", "no"), "compliant"),
        (Fault::internal(), "failed"),
    ] {
        scenario.aws.before(move |call, _| (call.operation == "GetKeyRotationStatus").then(|| fault.clone()));
        let answer = scenario.invoke(&sweep());
        let trail = &answer["trails"][0];
        assert_eq!((&trail["outcome"], findings(&answer)), (&json!(outcome), vec![]), "{answer:#}");
        let warning = json!(if outcome == "failed" { None } else { Some("key-unreadable") });
        assert_eq!(trail["warnings"][0]["id"], warning);
        scenario.aws.clear_hooks();
    }
    assert_eq!(count_calls(&scenario, "EnableKeyRotation"), 0);
}
