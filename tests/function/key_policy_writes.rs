//! How a key policy is written: between two reads, once, and reported whatever became of it.

use std::time::Duration;

use fake_aws::Fault;
use serde_json::{Value, json};

use crate::key_repair::{customer_statement, replaced_policy, sids, statements};
use crate::support::{AUDIT, Scenario, count_calls, sealed_account, step, steps, writes};

#[test]
fn put_key_policy_is_preceded_and_followed_by_a_read() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().policy = replaced_policy();
    let mut scenario = Scenario::enforce(world);
    scenario.invoke_event("update-trail-by-name");
    let calls = scenario.take_calls();
    let put = calls.iter().position(|call| call == "kms:PutKeyPolicy").unwrap();
    assert_eq!((calls[put - 1].as_str(), calls[put + 1].as_str()), ("kms:GetKeyPolicy", "kms:GetKeyPolicy"));
}

#[test]
fn a_policy_that_cannot_be_read_again_is_not_replaced() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().policy = replaced_policy();
    let mut scenario = Scenario::enforce(world.clone());
    scenario.invoke_event("update-trail-by-name");
    let calls = scenario.take_calls();
    let reads_until_put =
        calls.iter().take_while(|it| *it != "kms:PutKeyPolicy").filter(|it| *it == "kms:GetKeyPolicy");
    let last = reads_until_put.count();

    let mut scenario = Scenario::enforce(world.clone());
    let mut reads = 0;
    scenario.aws.before(move |call, _| {
        reads += usize::from(call.operation == "GetKeyPolicy");
        (call.operation == "GetKeyPolicy" && reads >= last).then(Fault::access_denied)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    assert_eq!(
        (steps(&answer), count_calls(&scenario, "GetKeyPolicy")),
        (vec!["extend-key-policy planned".into()], last)
    );
    assert_eq!(answer["trails"][0]["error"]["operation"], "kms:GetKeyPolicy");
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
}

#[test]
fn a_concurrent_policy_change_is_kept() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().policy = replaced_policy();
    let mut scenario = Scenario::enforce(world);
    let changed = key.clone();
    let (mut reads, mut puts, mut changed_after_put) = (0, 0, false);
    scenario.aws.before(move |call, world| {
        puts += usize::from(call.operation == "PutKeyPolicy");
        let read = call.operation == "GetKeyPolicy";
        reads += usize::from(read);
        // After planning, and between PutKeyPolicy and the read that verifies it.
        if read && (reads == 2 || (puts == 1 && !std::mem::replace(&mut changed_after_put, true))) {
            let policy = &mut world.keys.get_mut(&changed).unwrap().policy;
            let mut document: Value = serde_json::from_str(policy).unwrap();
            let mut statement = customer_statement();
            statement["Sid"] = json!(format!("Meanwhile{reads}"));
            document["Statement"].as_array_mut().unwrap().push(statement);
            *policy = document.to_string();
        }
        None
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    scenario.aws.clear_hooks();
    let after = statements(&scenario, &key);
    assert!(sids(&after).contains(&"Meanwhile2") && sids(&after).contains(&"CloudTrailEncrypts"), "{:?}", sids(&after));
    assert_eq!(scenario.aws.snapshot().check_delivery(AUDIT), Ok(()));
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn an_unconfirmed_put_key_policy_is_not_resent() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().policy = replaced_policy();
    let mut scenario = Scenario::enforce(world);
    scenario.aws.after(|call, _| (call.operation == "PutKeyPolicy").then(Fault::internal));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(count_calls(&scenario, "PutKeyPolicy"), 1);
    assert_eq!(statements(&scenario, &key).len(), 6);
}

#[test]
fn an_unconfirmed_policy_that_kms_shows_late_is_awaited() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().policy = replaced_policy();
    let mut scenario = Scenario::enforce(world);
    let old = json!({ "PolicyName": "default", "Policy": replaced_policy() }).to_string();
    let (mut is_put, mut stale_reads) = (false, 2);
    scenario.aws.before(move |call, _| {
        is_put |= call.operation == "PutKeyPolicy";
        if call.operation != "GetKeyPolicy" || !is_put || stale_reads == 0 {
            return None;
        }
        stale_reads -= 1;
        Some(Fault::Raw { status: 200, body: old.clone() })
    });
    scenario.aws.after(|call, _| (call.operation == "PutKeyPolicy").then(Fault::internal));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(
        (&answer["summary"], steps(&answer)),
        (&json!({ "remediated": 1 }), vec!["extend-key-policy done".into()])
    );
    assert!(step(&answer, "extend-key-policy")["detail"].as_str().unwrap().contains("read back"), "{answer:#}");
    let calls = scenario.take_calls();
    let put = calls.iter().position(|call| call == "kms:PutKeyPolicy").unwrap();
    assert_eq!(calls[put + 1..put + 4], ["kms:GetKeyPolicy"; 3]);
}

/// Another principal writes the old policy again, or KMS shows the new one later: the retry may find nothing to do.
#[test]
fn a_policy_that_kms_does_not_show_is_alerted() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().policy = replaced_policy();
    let mut scenario = Scenario::enforce(world);
    scenario.aws.after(move |call, world| {
        if call.operation == "PutKeyPolicy" {
            world.keys.get_mut(&key).unwrap().policy = replaced_policy();
        }
        None
    });
    let (error, _) = scenario.expect_failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert!(error.error_message.contains("KMS does not return the new policy"), "{}", error.error_message);
    assert_eq!(count_calls(&scenario, "PutKeyPolicy"), 1);
    let alert = scenario.only_alert();
    let subject = "trailseal: it is unknown whether trail audit was remediated";
    assert_eq!(alert.subject.as_deref(), Some(subject), "{}", alert.message);
}

/// The read that follows is not sent.
#[test]
fn a_put_key_policy_that_outlasts_the_run_is_alerted() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().policy = replaced_policy();
    let mut scenario = Scenario::enforce(world);
    scenario.aws.after(|call, _| (call.operation == "PutKeyPolicy").then(|| Fault::Hang(Duration::from_secs(60))));
    let (error, _) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(5));
    assert_eq!(error.error_type, "Transient");
    let alert = scenario.only_alert();
    let subject = "trailseal: it is unknown whether trail audit was remediated";
    assert_eq!(alert.subject.as_deref(), Some(subject), "{}", alert.message);
    scenario.aws.clear_hooks();
    scenario.assert_converged("update-trail-by-name");
}
