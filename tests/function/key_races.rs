//! What happens between two steps on a key: concurrent runs, lost responses, persistent errors.

use fake_aws::{Fault, Key, KeyState, Trail};
use serde_json::{Value, json};

use crate::support::{
    AUDIT, Scenario, account, add_sealing_key, count_calls, findings, now, sealed_account, sealing_policy, step, steps,
    writes,
};

fn without(sids: &[&str]) -> String {
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().retain(|it| !sids.contains(&it["Sid"].as_str().unwrap()));
    policy.to_string()
}

#[test]
fn a_key_that_the_next_run_finishes_is_not_a_stray() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| (call.operation == "CreateAlias").then(Fault::throttled));
    let (error, _) = scenario.expect_failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert_eq!(scenario.aws.world().published.len(), 0);
    scenario.aws.clear_hooks();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((answer["strays"].clone(), scenario.aws.world().keys.len()), (json!([]), 1));
}

#[test]
fn an_adoptable_key_is_not_a_stray() {
    let mut world = account();
    world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    world.buckets.get_mut("audit-logs").unwrap().policy = Some(
        json!({ "Statement": [{ "Sid": "No", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::audit-logs/*" }] })
            .to_string(),
    );
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((answer["summary"].clone(), answer["strays"].clone()), (json!({ "failed": 1 }), json!([])));
}

#[test]
fn reordered_principals_are_not_a_policy_change() {
    let (mut world, key) = sealed_account();
    let mut policy: Value = serde_json::from_str(&without(&["CloudTrailDescribes"])).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({ "Sid": "Theirs", "Effect": "Allow", "Resource": "*",
        "Principal": { "AWS": ["arn:aws:iam::210987654321:root", "arn:aws:iam::333333333333:root"] }, "Action": "kms:DescribeKey" }));
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scenario = Scenario::enforce(world);
    let shuffled = key.clone();
    scenario.aws.before(move |call, world| {
        if call.operation == "GetKeyPolicy" {
            let policy = &mut world.keys.get_mut(&shuffled).unwrap().policy;
            let mut document: Value = serde_json::from_str(policy).unwrap();
            for statement in document["Statement"].as_array_mut().unwrap() {
                if let Some(Value::Array(names)) = statement.pointer_mut("/Principal/AWS") {
                    names.reverse();
                }
            }
            *policy = document.to_string();
        }
        None
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(steps(&answer), ["extend-key-policy done"], "{answer:#}");
    assert_eq!((answer["summary"].clone(), count_calls(&scenario, "PutKeyPolicy")), (json!({ "remediated": 1 }), 1));
}

#[test]
fn an_adopted_key_is_extended_in_a_later_pass() {
    let mut world = account();
    let policy = without(&["CloudTrailDescribes", "CloudTrailDecryptsForBucketKeys"]);
    let key = world.key(Key::new("eu-central-1").policy(&policy).tag("managed-by", "trailseal").created(1));
    world.delays.alias_visible_after = 3;
    let mut scenario = Scenario::enforce(world);
    let mut sent = 0;
    scenario.aws.before(move |call, _| {
        sent += usize::from(call.operation == "PutKeyPolicy");
        (call.operation == "PutKeyPolicy" && sent == 1).then(Fault::internal)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    let after: Value = serde_json::from_str(&scenario.aws.world().keys[&key].policy).unwrap();
    assert_eq!(after["Statement"].as_array().unwrap().len(), 5);
}

#[test]
fn an_unconfirmed_key_is_awaited_next_to_other_keys() {
    let mut world = account();
    world.now = now();
    let another =
        world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    world.alias("eu-central-1", "alias/another-stack", &another);
    let mut scenario = Scenario::enforce(world);
    let mut response_lost = false;
    scenario.aws.after(move |call, world| {
        let first = call.operation == "CreateKey" && !response_lost;
        if first {
            response_lost = true;
            world.keys.values_mut().for_each(|key| key.unindexed_calls = if key.created > 1 { 2 } else { 0 });
        }
        first.then(Fault::internal)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!((count_calls(&scenario, "CreateKey"), scenario.aws.world().keys.len()), (1, 2));
}

#[test]
fn another_runs_key_is_not_the_unconfirmed_one() {
    let mut world = account();
    let theirs = world
        .key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(now() - 60));
    world.keys.get_mut(&theirs).unwrap().unindexed_calls = 1;
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "CreateKey").then(Fault::internal));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["key_arn"], json!(theirs));
    assert!(scenario.only_alert().message.contains("it is unknown whether a key was created"), "{answer:#}");
}

#[test]
fn a_persistent_invalid_state_fails_with_its_remedy() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| {
        (call.operation == "CancelKeyDeletion" || call.operation == "EnableKey")
            .then(|| Fault::error(400, "KMSInvalidStateException", "is pending import"))
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    let error = &answer["trails"][0]["error"];
    assert_eq!(
        (&error["class"], &error["code"]),
        (&json!("terminal"), &json!("KMSInvalidStateException")),
        "{answer:#}"
    );
    assert!(error["remedy"].as_str().unwrap().contains("aws kms enable-key"), "{error:#}");
}

#[test]
fn a_deletion_scheduled_during_a_repair_is_canceled() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
    let mut scenario = Scenario::enforce(world);
    let (sealing, mut done) = (key.clone(), false);
    scenario.aws.before(move |call, world| {
        if call.operation == "EnableKey" && !done {
            done = true;
            world.keys.get_mut(&sealing).unwrap().state = KeyState::PendingDeletion;
        }
        None
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(count_calls(&scenario, "CancelKeyDeletion"), 1);
    assert_eq!(scenario.aws.world().keys[&key].state, KeyState::Enabled);
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn the_pass_after_a_lost_response_reads_the_keys_state() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().state = KeyState::PendingDeletion;
    let mut scenario = Scenario::enforce(world);
    let mut lose = true;
    scenario.aws.after(move |call, _| {
        (call.operation == "CancelKeyDeletion" && std::mem::take(&mut lose)).then(Fault::internal)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    let calls = scenario.take_calls();
    let lost = calls.iter().position(|call| call == "kms:CancelKeyDeletion").unwrap();
    assert!(calls[lost + 1].starts_with("cloudtrail:"), "{calls:#?}");
    assert_eq!(scenario.aws.world().keys[&key].state, KeyState::Enabled);
}

#[test]
fn an_unverified_policy_is_not_a_concurrent_change() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().policy = without(&["CloudTrailDescribes"]);
    let mut scenario = Scenario::enforce(world);
    let mut put = false;
    scenario.aws.before(move |call, _| {
        put |= call.operation == "PutKeyPolicy";
        (put && call.operation == "GetKeyPolicy").then(Fault::access_denied)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    assert!(answer["trails"][0]["error"]["message"].as_str().unwrap().contains("cannot be read back"), "{answer:#}");
}

#[test]
fn an_unverified_restore_is_reported() {
    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
    let mut scenario = Scenario::enforce(world);
    let mut enabled = false;
    scenario.aws.before(move |call, _| {
        enabled |= call.operation == "EnableKey";
        (enabled && call.operation == "DescribeKey").then(Fault::access_denied)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((answer["summary"].clone(), steps(&answer)), (json!({ "failed": 1 }), vec!["restore-key done".into()]));
    assert_eq!(answer["trails"][0]["error"]["operation"], "kms:DescribeKey");
    assert!(
        step(&answer, "restore-key")["detail"]
            .as_str()
            .unwrap()
            .contains("according to KMS; it was not read back: cannot read key"),
        "{answer:#}"
    );
    assert!(scenario.only_alert().message.contains("restore-key (done)"));
}

#[test]
fn a_restore_before_a_transient_error_is_alerted() {
    let (mut world, key) = sealed_account();
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (KeyState::Disabled, without(&["CloudTrailDescribes"]));
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "PutKeyPolicy").then(Fault::throttled));
    let (error, _) = scenario.expect_failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert!(
        scenario.only_alert().message.contains("restore-key (done)"),
        "the next run cannot see that it was disabled"
    );
}

#[test]
fn a_malformed_response_leaves_the_outcome_unknown() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    scenario
        .aws
        .after(|call, _| (call.operation == "UpdateTrail").then(|| Fault::Raw { status: 200, body: "<html>".into() }));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert!(step(&answer, "update-trail")["detail"].as_str().unwrap().contains("read back"));
}

#[test]
fn an_exempt_key_with_a_gap_is_noted() {
    let (mut world, _) = sealed_account();
    let exempt = Key::new("eu-central-1").policy(&without(&["CloudTrailEncrypts"])).tag("managed-by", "trailseal");
    let exempt = world.key(exempt.tag("trailseal:exempt", "SEC-7"));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&exempt));
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((answer["summary"].clone(), findings(&answer)), (json!({ "noted": 1 }), vec!["key-policy-gap"]));
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
}

#[test]
fn a_broken_sealing_key_does_not_fail_other_trails() {
    let (mut world, sealing) = sealed_account();
    let own = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal"));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&own));
    let broken = world.keys.get_mut(&sealing).unwrap();
    broken.state = KeyState::Disabled;
    broken.tags.insert("trailseal:exempt".into(), "SEC-7".into());
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_LOG_READERS", "210987654321").start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "noted": 1 }), "{answer:#}");
    assert_eq!(scenario.aws.snapshot().check_delivery(AUDIT), Ok(()));
}

#[test]
fn an_alert_explains_how_to_keep_a_deleted_key() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let pending_deletion = world.key(Key::new("eu-central-1").state(KeyState::PendingDeletion));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&pending_deletion));
    let mut scenario = Scenario::enforce(world);
    scenario.invoke_event("update-trail-by-name");
    let message = scenario.only_alert().message;
    let command = format!("aws kms cancel-key-deletion --region eu-central-1 --key-id {pending_deletion}");
    assert!(message.contains(&command) && message.contains("older log files"), "{message}");
}

#[test]
fn a_throttled_extension_keeps_a_change_made_meanwhile() {
    let theirs = json!({ "Sid": "Theirs", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::210987654321:root" },
        "Action": "kms:DescribeKey", "Resource": "*" });
    for refused in [Fault::throttled(), Fault::error(400, "MalformedPolicyDocumentException", "invalid principals")] {
        let (mut world, key) = sealed_account();
        world.keys.get_mut(&key).unwrap().policy = without(&["CloudTrailDescribes"]);
        let mut scenario = Scenario::enforce(world);
        let (mut refused, sealing, statement) = (Some(refused), key.clone(), theirs.clone());
        scenario.aws.before(move |call, world| {
            let refusal = refused.take_if(|_| call.operation == "PutKeyPolicy");
            if refusal.is_some() {
                let policy = &mut world.keys.get_mut(&sealing).unwrap().policy;
                let mut document: Value = serde_json::from_str(policy).unwrap();
                document["Statement"].as_array_mut().unwrap().push(statement.clone());
                *policy = document.to_string();
            }
            refusal
        });
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
        let after: Value = serde_json::from_str(&scenario.aws.world().keys[&key].policy).unwrap();
        assert!(after["Statement"].as_array().unwrap().contains(&theirs), "{after:#}");
        scenario.aws.clear_hooks();
        scenario.assert_converged("update-trail-by-name");
    }
}
