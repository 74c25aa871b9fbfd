//! What an answer claims: only what was read after it was written.

use fake_aws::{Fault, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use crate::support::{
    AUDIT, Scenario, account, add_sealing_key, count_calls, findings, now, sealed_account, sealing_policy, step, steps,
};

/// trailseal's policy without CloudTrail's statements.
fn stripped() -> String {
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().truncate(2);
    policy.to_string()
}

/// trailseal's policy with a Deny of which it is unknown whether it applies.
fn unclear() -> String {
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({
        "Sid": "Perhaps", "Effect": "Deny", "Principal": "*", "Action": "kms:GenerateDataKey*", "Resource": "*",
        "Condition": { "StringEquals": { "aws:SomethingNew": "value" } } }));
    policy.to_string()
}

/// The sealed account with its key in this state and with this policy.
fn broken(state: KeyState, policy: String) -> (World, String) {
    let (mut world, key) = sealed_account();
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (state, policy);
    (world, key)
}

/// Every call of an operation gets this response instead of its own.
fn replace(scenario: &Scenario, operation: &'static str, response: Fault) {
    scenario.aws.before(move |call, _| (call.operation == operation).then(|| response.clone()));
}

/// The first `times` calls of an operation take effect, and get this response.
fn fail_after(scenario: &Scenario, operation: &'static str, mut times: usize, response: Fault) {
    scenario.aws.after(move |call, _| {
        if call.operation != operation || times == 0 {
            return None;
        }
        times -= 1;
        Some(response.clone())
    });
}

/// Changes the world once, before the first `operation` after the first `write`.
fn once_after(
    scenario: &Scenario,
    write: &'static str,
    operation: &'static str,
    mut change: impl FnMut(&mut World) + Send + 'static,
) {
    let (mut written, mut done) = (false, false);
    scenario.aws.before(move |call, world| {
        if written && !done && call.operation == operation {
            done = true;
            change(world);
        }
        written |= call.operation == write;
        None
    });
}

#[test]
fn an_enabled_key_with_an_unreadable_policy_is_a_failure() {
    let empty = Fault::Raw { status: 200, body: "{}".into() };
    for (state, response, message) in [
        (KeyState::Disabled, Fault::access_denied(), "not authorized"),
        (KeyState::PendingDeletion, Fault::access_denied(), "not authorized"),
        (KeyState::Disabled, empty, "returned no `Policy`"),
    ] {
        let (world, key) = broken(state, stripped());
        let mut scenario = Scenario::enforce(world);
        replace(&scenario, "GetKeyPolicy", response);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(
            (answer["summary"].clone(), steps(&answer)),
            (json!({ "failed": 1 }), vec!["restore-key done".into()])
        );
        let finding = if state == KeyState::Disabled { "key-disabled" } else { "key-pending-deletion" };
        assert_eq!(findings(&answer), [finding]);
        let error = &answer["trails"][0]["error"];
        assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!("kms:GetKeyPolicy")));
        let text = error["message"].as_str().unwrap();
        assert!(text.contains("it is unknown whether CloudTrail can use it") && text.contains(message), "{text}");
        let alert = scenario.only_alert().message;
        assert!(alert.contains("restore-key (done)") && alert.contains(error["remedy"].as_str().unwrap()), "{alert}");
        assert_eq!(scenario.aws.world().keys[&key].state, KeyState::Enabled);
        // Once the policy can be read, the next run extends it.
        scenario.aws.clear_hooks();
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(
            (answer["summary"].clone(), steps(&answer)),
            (json!({ "remediated": 1 }), vec!["extend-key-policy done".into()])
        );
        scenario.assert_converged("update-trail-by-name");
    }
}

#[test]
fn a_denied_policy_read_names_the_call_to_allow() {
    let (mut world, key) = broken(KeyState::Disabled, stripped());
    world.keys.get_mut(&key).unwrap().denied.insert("kms:GetKeyPolicy".into());
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    let remedy = answer["trails"][0]["error"]["remedy"].as_str().unwrap();
    assert!(remedy.starts_with("allow `kms:GetKeyPolicy`"), "{answer:#}");
}

#[test]
fn a_repair_with_an_unclear_policy_is_a_failure() {
    for policy in [unclear(), "not a policy".to_owned()] {
        let (world, key) = broken(KeyState::Disabled, sealing_policy());
        let mut scenario = Scenario::enforce(world);
        replace(&scenario, "GetKeyPolicy", Fault::Raw { status: 200, body: json!({ "Policy": policy }).to_string() });
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(
            (answer["summary"].clone(), steps(&answer)),
            (json!({ "failed": 1 }), vec!["restore-key done".into()])
        );
        let error = &answer["trails"][0]["error"];
        assert!(error["message"].as_str().unwrap().contains(&format!("key `{key}` was repaired, but ")), "{error:#}");
        assert!(error["remedy"].as_str().unwrap().contains("LatestDeliveryError"), "{error:#}");
        assert_eq!(answer["trails"][0]["warnings"][0]["id"], "key-policy-unclear");
    }
    let (world, _) = broken(KeyState::Enabled, unclear());
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_LOG_READERS", "210987654321").start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(
        (answer["summary"].clone(), steps(&answer)),
        (json!({ "failed": 1 }), vec!["extend-key-policy done".into()])
    );
}

#[test]
fn cloudtrails_acceptance_verifies_a_restored_key() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let sealing = world.keys.get_mut(&key).unwrap();
    sealing.state = KeyState::Disabled;
    sealing.denied.insert("kms:GetKeyPolicy".into());
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(steps(&answer), ["restore-key done", "update-trail done"]);
}

#[test]
fn a_deny_added_during_the_extension_is_evaluated() {
    let (world, key) = broken(KeyState::Enabled, stripped());
    let mut scenario = Scenario::enforce(world);
    once_after(&scenario, "PutKeyPolicy", "GetKeyPolicy", move |world| {
        let policy = &mut world.keys.get_mut(&key).unwrap().policy;
        let mut document: Value = serde_json::from_str(policy).unwrap();
        document["Statement"].as_array_mut().unwrap().push(json!({
            "Sid": "Locked", "Effect": "Deny", "Principal": "*", "Action": "kms:GenerateDataKey*", "Resource": "*" }));
        *policy = document.to_string();
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(
        (answer["summary"].clone(), steps(&answer)),
        (json!({ "failed": 1 }), vec!["extend-key-policy done".into()])
    );
    assert!(answer["trails"][0]["error"]["message"].as_str().unwrap().contains("`Locked` denies it"), "{answer:#}");
}

#[test]
fn an_extension_that_is_replaced_is_reported_and_made_again() {
    let (world, key) = broken(KeyState::Enabled, stripped());
    let mut scenario = Scenario::enforce(world);
    once_after(&scenario, "PutKeyPolicy", "GetKeyPolicy", move |world| {
        let policy = &mut world.keys.get_mut(&key).unwrap().policy;
        let mut document: Value = serde_json::from_str(policy).unwrap();
        document["Statement"].as_array_mut().unwrap().truncate(1);
        *policy = document.to_string();
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(
        (answer["summary"].clone(), steps(&answer)),
        (json!({ "remediated": 1 }), vec!["extend-key-policy done".to_owned(); 2])
    );
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_repair_reads_the_trail_once_more() {
    for (state, policy) in [(KeyState::Disabled, sealing_policy()), (KeyState::Enabled, stripped())] {
        let (world, _) = broken(state, policy);
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }));
        let calls = scenario.aws.names();
        assert_eq!(calls.iter().filter(|call| *call == "cloudtrail:GetTrail").count(), 2);
        assert_eq!(calls[calls.len() - 2..], ["cloudtrail:GetTrail", "sns:Publish"], "after the last write");
    }
}

#[test]
fn a_key_removed_during_its_repair_is_assigned_again() {
    for (state, policy, write, read, repair) in [
        (KeyState::Disabled, sealing_policy(), "EnableKey", "DescribeKey", "restore-key done"),
        (KeyState::PendingDeletion, sealing_policy(), "EnableKey", "DescribeKey", "restore-key done"),
        (KeyState::Enabled, stripped(), "PutKeyPolicy", "GetKeyPolicy", "extend-key-policy done"),
    ] {
        let (world, key) = broken(state, policy);
        let mut scenario = Scenario::enforce(world);
        once_after(&scenario, write, read, |world| world.trails.get_mut(AUDIT).unwrap().kms_key_id = None);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(
            (answer["summary"].clone(), steps(&answer)),
            (json!({ "remediated": 1 }), vec![repair.to_owned(), "update-trail done".into()]),
            "{answer:#}"
        );
        assert_eq!(scenario.audit().kms_key_id, Some(key));
        scenario.assert_converged("update-trail-by-name");
    }
}

#[test]
fn a_trail_that_changed_during_a_repair_is_observed_again() {
    let (world, _) = broken(KeyState::Disabled, sealing_policy());
    let mut scenario = Scenario::enforce(world);
    once_after(&scenario, "EnableKey", "DescribeKey", |world| {
        let theirs = world.key(Key::new("eu-central-1").state(KeyState::Disabled));
        world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(theirs);
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(steps(&answer), ["restore-key done", "update-trail done"], "{answer:#}");
    assert_eq!(scenario.aws.snapshot().check_delivery(AUDIT), Ok(()));

    let (world, _) = broken(KeyState::Disabled, sealing_policy());
    let mut scenario = Scenario::enforce(world);
    once_after(&scenario, "EnableKey", "DescribeKey", |world| drop(world.trails.remove(AUDIT)));
    assert_eq!(scenario.invoke_event("update-trail-by-name")["summary"], json!({ "gone": 1 }));
}

#[test]
fn an_update_is_not_sent_if_the_read_before_it_fails() {
    let mut scenario = Scenario::enforce(account());
    let mut reads = 0;
    scenario.aws.before(move |call, _| {
        reads += usize::from(call.operation == "GetTrail");
        (call.operation == "GetTrail" && reads > 1).then(Fault::access_denied)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    assert_eq!(
        steps(&answer),
        ["create-key done", "enable-rotation done", "create-alias done", "update-trail planned"]
    );
    assert_eq!((count_calls(&scenario, "GetTrail"), count_calls(&scenario, "UpdateTrail")), (2, 0));
}

#[test]
fn a_trail_that_cannot_be_read_again_is_not_remediated() {
    let (world, _) = broken(KeyState::Disabled, sealing_policy());
    let mut scenario = Scenario::enforce(world);
    let mut reads = 0;
    scenario.aws.before(move |call, _| {
        reads += usize::from(call.operation == "GetTrail");
        (call.operation == "GetTrail" && reads > 1).then(Fault::access_denied)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((answer["summary"].clone(), steps(&answer)), (json!({ "failed": 1 }), vec!["restore-key done".into()]));
    assert_eq!(answer["trails"][0]["error"]["operation"], "cloudtrail:GetTrail");
}

#[test]
fn a_key_removed_while_logging_starts_is_assigned_again() {
    let (mut world, key) = sealed_account();
    let trail = Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key);
    world.add_trail(trail.stopped(1_780_000_500));
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    once_after(&scenario, "StartLogging", "GetTrail", |world| world.trails.get_mut(AUDIT).unwrap().kms_key_id = None);
    let answer = scenario.invoke_event("stop-logging-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(steps(&answer), ["start-logging done", "update-trail done"]);
    assert_eq!(scenario.audit().kms_key_id, Some(key));
}

#[test]
fn a_restart_is_verified_unless_it_failed_or_an_update_follows() {
    let (world, _) = account_for("StartLogging");
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    replace(&scenario, "StartLogging", Fault::access_denied());
    let answer = scenario.invoke_event("stop-logging-by-name");
    assert_eq!((&answer["summary"], steps(&answer)), (&json!({ "failed": 1 }), vec!["start-logging failed".into()]));
    assert_eq!(count_calls(&scenario, "GetTrail"), 1);

    let (mut world, _) = account_for("UpdateTrail");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").stopped(1_780_000_500));
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    let answer = scenario.invoke_event("stop-logging-by-name");
    assert_eq!(steps(&answer), ["start-logging done", "update-trail done"], "{answer:#}");
    assert_eq!(count_calls(&scenario, "GetTrail"), 2, "before the plan, and before the update");
}

/// An account in which `operation` is one of the steps, and the event that leads to it.
fn account_for(operation: &str) -> (World, &'static str) {
    match operation {
        "UpdateTrail" => {
            let mut world = account();
            add_sealing_key(&mut world, "eu-central-1");
            (world, "update-trail-by-name")
        }
        "StartLogging" => {
            let (mut world, key) = sealed_account();
            let trail = Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key);
            world.add_trail(trail.stopped(1_780_000_500));
            (world, "stop-logging-by-name")
        }
        "EnableKey" => (broken(KeyState::Disabled, sealing_policy()).0, "update-trail-by-name"),
        "CancelKeyDeletion" => (broken(KeyState::PendingDeletion, sealing_policy()).0, "update-trail-by-name"),
        "PutKeyPolicy" => (broken(KeyState::Enabled, stripped()).0, "update-trail-by-name"),
        _ => (account(), "update-trail-by-name"),
    }
}

/// Every write, with the step that shows its effect. A key whose creation failed is adopted.
const WRITES: [(&str, &str); 8] = [
    ("CreateKey", "adopt-key"),
    ("EnableKeyRotation", "enable-rotation"),
    ("CreateAlias", "create-alias"),
    ("CancelKeyDeletion", "restore-key"),
    ("EnableKey", "restore-key"),
    ("PutKeyPolicy", "extend-key-policy"),
    ("UpdateTrail", "update-trail"),
    ("StartLogging", "start-logging"),
];

#[test]
fn a_write_that_took_effect_is_reported_whatever_it_returned() {
    let busy = || Fault::error(400, "ConflictException", "being modified");
    let terminal = || Fault::error(400, "InvalidParameterException", "no");
    let final_errors = [
        ("UpdateTrail", 2, busy()),
        ("UpdateTrail", 9, Fault::access_denied()),
        ("UpdateTrail", 9, terminal()),
        ("StartLogging", 9, Fault::access_denied()),
        ("EnableKey", 9, Fault::access_denied()),
        ("PutKeyPolicy", 9, Fault::access_denied()),
        ("PutKeyPolicy", 9, terminal()),
        ("CreateAlias", 9, Fault::access_denied()),
        ("CreateAlias", 1, busy()),
        ("CreateKey", 9, Fault::access_denied()),
        ("CreateKey", 9, terminal()),
        ("EnableKeyRotation", 9, Fault::access_denied()),
        ("EnableKeyRotation", 9, terminal()),
        ("CancelKeyDeletion", 9, Fault::access_denied()),
    ];
    let retried_errors = || {
        let throttled = Fault::error(429, "TooManyRequestsException", "Rate exceeded");
        [Fault::throttled(), throttled, Fault::internal(), Fault::Drop]
    };
    let retried = WRITES.iter().flat_map(|(operation, _)| retried_errors().map(|error| (*operation, 1, error)));
    for (operation, times, response) in retried.chain(final_errors) {
        let (_, name) = WRITES.iter().find(|(write, _)| *write == operation).unwrap();
        let (world, event) = account_for(operation);
        let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
        scenario.aws.world().now = now();
        fail_after(&scenario, operation, times, response.clone());
        let answer = scenario.invoke_event(event);
        let context = format!("{operation} {response:?}: {answer:#}");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{context}");
        assert_eq!(
            (&step(&answer, name)["status"], &answer["alerts"]["sent"]),
            (&json!("done"), &json!(1)),
            "{context}"
        );
        assert_eq!(answer["strays"], json!([]), "{context}");
        assert_eq!((scenario.aws.world().keys.len(), count_calls(&scenario, "CreateKey") <= 1), (1, true), "{context}");
        if operation == "CreateKey" {
            assert_eq!(step(&answer, "create-key")["status"], "failed", "{context}");
        }
        scenario.aws.clear_hooks();
        scenario.assert_converged(event);
    }
}

#[test]
fn a_write_is_read_back_if_the_check_before_its_retry_fails() {
    for (operation, check) in [("UpdateTrail", "GetTrail"), ("PutKeyPolicy", "GetKeyPolicy")] {
        let (world, event) = account_for(operation);
        let mut scenario = Scenario::enforce(world);
        fail_after(&scenario, operation, 1, Fault::throttled());
        let (mut written, mut checked) = (false, false);
        scenario.aws.before(move |call, _| {
            written |= call.operation == operation;
            let denied = written && !checked && call.operation == check;
            checked |= denied;
            denied.then(Fault::access_denied)
        });
        let answer = scenario.invoke_event(event);
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{operation}: {answer:#}");
        assert_eq!((count_calls(&scenario, operation), &answer["alerts"]["sent"]), (1, &json!(1)), "{operation}");
        scenario.aws.clear_hooks();
        scenario.assert_converged(event);
    }
}

#[test]
fn a_write_without_an_effect_is_a_failure() {
    for operation in ["UpdateTrail", "StartLogging", "EnableKey", "PutKeyPolicy", "CreateAlias"] {
        let (world, event) = account_for(operation);
        let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
        replace(&scenario, operation, Fault::access_denied());
        let answer = scenario.invoke_event(event);
        assert_eq!(answer["summary"], json!({ "failed": 1 }), "{operation}: {answer:#}");
        assert!(steps(&answer).iter().any(|step| step.ends_with(" failed")), "{operation}: {answer:#}");
    }
}
