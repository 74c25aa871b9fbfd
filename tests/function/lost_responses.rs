//! Writes whose response is lost: their effect is found by a later read, and nothing is created twice.

use std::time::Duration;

use fake_aws::{Fault, Key, Trail};
use serde_json::json;

use crate::support::{
    Scenario, account, add_sealing_key, count_calls, event, findings, inject, logged_answers, now, sealing_policy,
    step, steps,
};

/// Loses the responses of the first `times` `CreateKey` calls. With `unindexed`, the tag index lacks the keys.
fn lose_create_key(scenario: &Scenario, mut times: usize, unindexed: bool, fault: Fault) {
    scenario.aws.after(move |call, world| {
        if call.operation != "CreateKey" || times == 0 {
            return None;
        }
        times -= 1;
        if unindexed {
            world.keys.values_mut().for_each(|key| key.unindexed_calls = 1000);
        }
        Some(fault.clone())
    });
}

#[test]
fn an_unconfirmed_key_is_found_and_finished() {
    let without_arn = json!({ "KeyMetadata": { "KeyId": "no ARN" } }).to_string();
    for lost in [Fault::internal(), Fault::Drop, Fault::Raw { status: 200, body: without_arn }] {
        let mut world = account();
        world.now = now();
        let mut scenario = Scenario::enforce(world);
        lose_create_key(&scenario, 1, false, lost);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(count_calls(&scenario, "CreateKey"), 1);
        assert_eq!(
            steps(&answer),
            ["create-key failed", "adopt-key done", "enable-rotation done", "create-alias done", "update-trail done"]
        );
        assert_eq!(answer["summary"], json!({ "remediated": 1 }));
        assert_eq!(answer["strays"], json!([]));
        assert!(
            step(&answer, "create-key")["detail"].as_str().unwrap().contains("shows that it created key `arn:aws:kms:"),
            "{answer:#}"
        );
        assert!(!scenario.only_alert().message.contains("act on the notice above"));
        assert_eq!(scenario.aws.world().keys.len(), 1);
        scenario.aws.clear_hooks();
        scenario.assert_converged("update-trail-by-name");
    }
}

#[test]
fn a_key_that_is_indexed_late_is_awaited() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.after(|call, world| {
        let lost = call.operation == "CreateKey";
        if lost {
            world.keys.values_mut().for_each(|key| key.unindexed_calls = 2);
        }
        lost.then(Fault::internal)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert_eq!((count_calls(&scenario, "CreateKey"), count_calls(&scenario, "GetResources")), (1, 4));
    assert_eq!(scenario.aws.world().keys.len(), 1);
}

#[test]
fn create_key_is_not_resent_before_a_read() {
    for lost in [Fault::internal(), Fault::Drop] {
        let mut scenario = Scenario::enforce(account());
        lose_create_key(&scenario, 1, true, lost);
        let answer = scenario.invoke_event("update-trail-by-name");
        let names = scenario.aws.names();
        let sent: Vec<usize> = (0..names.len()).filter(|&at| names[at] == "kms:CreateKey").collect();
        assert_eq!(sent.len(), 2, "{names:#?}");
        for read in ["kms:DescribeKey", "tagging:GetResources"] {
            assert!(names[sent[0]..sent[1]].contains(&read.to_owned()), "read in between: {read}");
        }
        assert_eq!(
            steps(&answer),
            ["create-key failed", "create-key done", "enable-rotation done", "create-alias done", "update-trail done"]
        );
        assert!(answer["trails"][0]["steps"][0]["detail"].as_str().unwrap().contains("managed-by"), "{answer:#}");
        let alert = scenario.only_alert().message;
        assert!(alert.contains("What to do next: act on the notice above"), "{alert}");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }));
        scenario.aws.clear_hooks();
        scenario.assert_converged("update-trail-by-name");
    }
}

#[test]
fn create_key_is_sent_at_most_twice() {
    let mut scenario = Scenario::enforce(account());
    lose_create_key(&scenario, 9, true, Fault::internal());
    let (error, _) = scenario.expect_failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert_eq!(count_calls(&scenario, "CreateKey"), 2);
    assert!(scenario.only_alert().message.contains("unknown whether a key was created"));
}

#[test]
fn an_unconfirmed_update_is_read_back() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    scenario.aws.after(|call, _| (call.operation == "UpdateTrail").then(Fault::internal));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert_eq!(findings(&answer), ["no-cmk"]);
    assert_eq!(steps(&answer), ["update-trail done"]);
    assert!(step(&answer, "update-trail")["detail"].as_str().unwrap().contains("read back"));
    assert_eq!(answer["trails"][0]["key_arn"], json!(key));
    scenario.aws.clear_hooks();
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn an_unconfirmed_update_is_compared_with_the_settings() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    scenario.aws.after(|call, world| {
        let lost = call.operation == "UpdateTrail";
        if lost {
            world.trails.values_mut().for_each(|trail| trail.log_file_validation = false);
        }
        lost.then(Fault::internal)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    let error = answer["trails"][0]["error"]["message"].as_str().unwrap();
    assert!(error.contains("LogFileValidationEnabled: true → false"), "{error}");
}

#[test]
fn a_sealed_trail_that_is_stopped_is_remediated() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").stopped(1_780_000_500));
    let mut scenario = Scenario::enforce(world);
    scenario.aws.after(|call, _| (call.operation == "UpdateTrail").then(Fault::internal));
    let answer = scenario.invoke_event("stop-logging-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(findings(&answer), ["no-cmk", "logging-stopped"]);
}

#[test]
fn an_update_with_unknown_outcome_is_reported_as_such() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    let mut updated = false;
    scenario.aws.after(move |call, _| {
        updated |= call.operation == "UpdateTrail";
        match call.operation.as_str() {
            "UpdateTrail" => Some(Fault::internal()),
            "GetTrail" if updated => Some(Fault::access_denied()),
            _ => None,
        }
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(steps(&answer), ["update-trail failed"]);
    assert!(step(&answer, "update-trail")["detail"].as_str().unwrap().contains("unknown whether"), "{answer:#}");
}

/// CloudTrail is eventually consistent: the reads after the update return the new, the old, the old and the new settings.
#[test]
fn an_update_that_reads_show_late_is_reported() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    let set_key = |world: &mut fake_aws::World, key: Option<&String>| {
        world.trails.values_mut().for_each(|trail| trail.kms_key_id = key.cloned());
    };
    let mut reads = 0;
    scenario.aws.before(move |call, world| {
        reads += usize::from(call.operation == "GetTrail");
        if call.operation == "GetTrail" && [3, 4].contains(&reads) {
            set_key(world, None);
        }
        None
    });
    let mut updated = false;
    scenario.aws.after(move |call, world| {
        let is_update = call.operation == "UpdateTrail";
        updated |= is_update;
        set_key(world, Some(&key).filter(|_| updated));
        is_update.then(Fault::throttled)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(count_calls(&scenario, "UpdateTrail"), 1);
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert!(step(&answer, "update-trail")["detail"].as_str().unwrap().contains("read back"), "{answer:#}");
    scenario.only_alert();
}

/// The retry finds the trail compliant and does not report the change.
#[test]
fn an_update_that_outlasts_the_invocation_is_alerted() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    scenario.aws.after(|call, _| (call.operation == "UpdateTrail").then(|| Fault::Hang(Duration::from_secs(60))));
    let (error, _) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(5));
    assert_eq!(error.error_type, "Transient");
    let alert = scenario.only_alert();
    let subject = "trailseal: it is unknown whether trail audit was remediated";
    assert_eq!(alert.subject.as_deref(), Some(subject), "{}", alert.message);
    scenario.aws.clear_hooks();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }));
    assert_eq!(scenario.only_alert(), alert);
}

/// The read after the update returns the old settings. The next pass reads the new ones, and KMS does not know the key yet.
#[test]
fn an_update_is_alerted_if_its_key_cannot_be_read() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    let (mut reads, mut is_updated) = (0, false);
    scenario.aws.before(move |call, world| {
        reads += usize::from(call.operation == "GetTrail");
        let is_stale = call.operation == "GetTrail" && reads == 3;
        world.trails.values_mut().for_each(|trail| {
            trail.kms_key_id = Some(key.clone()).filter(|_| is_updated && !is_stale);
        });
        let is_unknown = is_updated && call.operation == "ListResourceTags";
        is_updated |= call.operation == "UpdateTrail";
        is_unknown.then(|| Fault::error(400, "NotFoundException", "Key does not exist"))
    });
    scenario.aws.after(|call, _| (call.operation == "UpdateTrail").then(Fault::throttled));
    let (error, _) = scenario.expect_failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert_eq!(count_calls(&scenario, "UpdateTrail"), 1);
    let alert = scenario.only_alert();
    let subject = "trailseal: it is unknown whether trail audit was remediated";
    assert_eq!(alert.subject.as_deref(), Some(subject), "{}", alert.message);
}

/// The retry finds the trail logging and does not report that this invocation started it.
#[test]
fn a_restart_is_alerted_before_a_lambda_retry() {
    let mut world = account();
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").stopped(1_780_000_500));
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    scenario.aws.before(|call, _| (call.operation == "GetBucketPolicy").then(Fault::internal));
    let (error, _) = scenario.expect_failure("stop-logging-by-name");
    assert_eq!(error.error_type, "Transient");
    assert_eq!(count_calls(&scenario, "UpdateTrail"), 0);
    let alert = scenario.only_alert().message;
    assert!(alert.contains("start-logging (done)"), "{alert}");
}

#[test]
fn a_throttled_create_key_is_resent_after_a_read() {
    let mut scenario = Scenario::enforce(account());
    inject(&scenario, "CreateKey", 2, Fault::throttled());
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    let sent: Vec<_> =
        scenario.aws.names().into_iter().filter(|it| it.contains("CreateKey") || it.contains("GetRes")).collect();
    assert_eq!(sent, ["tagging:GetResources", "kms:CreateKey"].repeat(3));

    // A role that may not read the tag index creates a key, too.
    let mut world = account();
    world.denied.insert("tagging:GetResources".into());
    let mut scenario = Scenario::enforce(world);
    inject(&scenario, "CreateKey", 2, Fault::throttled());
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((count_calls(&scenario, "CreateKey"), scenario.aws.world().keys.len()), (3, 1), "{answer:#}");
}

#[test]
fn create_key_is_not_resent_if_the_read_before_it_fails() {
    let unreadable = Fault::Raw { status: 200, body: "{}".into() };
    for (fault, class) in [(Fault::internal(), "transient"), (unreadable, "terminal")] {
        let mut scenario = Scenario::enforce(account());
        let mut sent = 0;
        scenario.aws.before(move |call, _| {
            sent += usize::from(call.operation == "CreateKey");
            match call.operation.as_str() {
                "CreateKey" => Some(Fault::throttled()),
                "GetResources" if sent > 0 => Some(fault.clone()),
                _ => None,
            }
        });
        let event = event("update-trail-by-name").to_string();
        let invocation = scenario.function.invoke_within(event.as_bytes(), Duration::from_secs(5));
        let answer = &logged_answers(&invocation)[0];
        assert_eq!(answer["trails"][0]["error"]["class"], class, "{answer:#}");
        assert_eq!((count_calls(&scenario, "CreateKey"), scenario.aws.world().keys.len()), (1, 0), "{class}");
    }
}

#[test]
fn a_key_of_another_run_replaces_a_throttled_create_key() {
    for refused in [Fault::throttled(), Fault::error(400, "MalformedPolicyDocumentException", "invalid principals")] {
        let mut scenario = Scenario::enforce(account());
        let mut refused = Some(refused);
        scenario.aws.before(move |call, world| {
            let refusal = refused.take_if(|_| call.operation == "CreateKey");
            if refusal.is_some() {
                let key = Key { created: now(), ..Key::new("eu-central-1") };
                world.key(key.policy(&sealing_policy()).tag("managed-by", "trailseal"));
            }
            refusal
        });
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
        assert_eq!((count_calls(&scenario, "CreateKey"), scenario.aws.world().keys.len()), (1, 1));
        scenario.aws.clear_hooks();
        scenario.assert_converged("update-trail-by-name");
    }
}

#[test]
fn a_second_key_is_reported_by_the_next_sweep() {
    let mut world = account();
    world.now = now() - 600;
    let mut scenario = Scenario::enforce(world);
    lose_create_key(&scenario, 1, true, Fault::throttled());
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((&answer["summary"], count_calls(&scenario, "CreateKey")), (&json!({ "remediated": 1 }), 2));
    let used = scenario.audit().kms_key_id.unwrap();
    scenario.aws.world().keys.values_mut().for_each(|key| key.unindexed_calls = 0);
    let answer = scenario.invoke(&json!({ "sweep": {} }));
    let strays = answer["strays"].as_array().unwrap();
    assert_eq!(strays.len(), 1, "{answer:#}");
    assert!(
        strays[0]["key_arn"] != json!(used)
            && scenario.aws.world().keys.contains_key(strays[0]["key_arn"].as_str().unwrap())
    );
}
