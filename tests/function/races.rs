//! Concurrent changes by another run or another principal.

use std::time::Duration;

use fake_aws::{Fault, Key, Trail};
use serde_json::json;

use crate::support::{
    ALIAS, AUDIT, Scenario, account, add_sealing_key, findings, logged_answers, sealing_policy, step, steps,
};

/// Changes the world once, directly before an operation.
fn once_before(
    scenario: &Scenario,
    operation: &'static str,
    mut change: impl FnMut(&mut fake_aws::World) + Send + 'static,
) {
    let mut done = false;
    scenario.aws.before(move |call, world| {
        if call.operation == operation && !done {
            done = true;
            change(world);
        }
        None
    });
}

#[test]
fn the_loser_of_the_alias_race_reports_a_stray() {
    let mut scenario = Scenario::enforce(account());
    once_before(&scenario, "CreateAlias", |world| {
        let winner = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal"));
        world.alias("eu-central-1", ALIAS, &winner);
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    let world = scenario.aws.snapshot();
    let winner = world.alias_target("eu-central-1", ALIAS).unwrap().to_owned();
    assert_eq!(world.keys.len(), 2);
    assert_eq!(scenario.audit().kms_key_id, Some(winner.clone()));
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert_eq!(
        steps(&answer),
        ["create-key done", "enable-rotation done", "create-alias not-needed", "update-trail done"]
    );
    let ours = world.keys.keys().find(|key| **key != winner).unwrap();
    let expected = format!("key `{winner}` got the alias first; `{ours}` is a stray");
    assert_eq!(step(&answer, "create-alias")["detail"], json!(expected));
    assert_eq!(answer["strays"].as_array().unwrap().len(), 1);
    assert_eq!(answer["strays"][0]["key_arn"], json!(ours));
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_stray_is_alerted_if_another_run_seals_the_trail() {
    let mut scenario = Scenario::enforce(account());
    once_before(&scenario, "CreateAlias", |world| {
        let winner = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.alias("eu-central-1", ALIAS, &winner);
        world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(winner);
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
    assert_eq!(answer["alerts"], json!({ "sent": 1, "failed": 0 }));
    let command = answer["strays"][0]["command"].as_str().unwrap();
    let alert = scenario.only_alert();
    assert!(alert.message.contains(command));
    assert_eq!(alert.attributes["outcome"], "noted", "subscriptions that filter on outcomes receive it");
}

#[test]
fn a_stray_is_alerted_before_a_lambda_retry() {
    let mut scenario = Scenario::enforce(account());
    once_before(&scenario, "CreateAlias", |world| {
        let winner = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.alias("eu-central-1", ALIAS, &winner);
    });
    scenario.aws.before(|call, _| (call.operation == "UpdateTrail").then(Fault::throttled));
    let (error, _) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(6));
    assert_eq!(error.error_type, "Transient");
    let alert = scenario.only_alert();
    assert_eq!(alert.subject.as_deref(), Some("trailseal: a KMS key is unused"));
    assert!(alert.message.contains("aws kms schedule-key-deletion"), "{}", alert.message);
}

#[test]
fn a_repair_for_a_trail_that_is_then_deleted_is_alerted() {
    for request in ["update-trail-by-name", "sweep"] {
        let mut world = account();
        let key = add_sealing_key(&mut world, "eu-central-1");
        world.keys.get_mut(&key).unwrap().state = fake_aws::KeyState::Disabled;
        let mut scenario = Scenario::enforce(world);
        scenario.aws.after(|call, world| {
            if call.operation == "EnableKey" {
                world.trails.clear();
            }
            None
        });
        let answer = scenario.invoke_event(request);
        assert_eq!(answer["summary"], json!({ "gone": 1 }), "{answer:#}");
        let alert = scenario.only_alert();
        assert!(alert.message.contains("was deleted while trailseal prepared its key"), "{}", alert.message);
        assert!(alert.message.contains("restore-key (done)"), "{}", alert.message);
        assert_eq!(alert.attributes["outcome"], "noted");
    }
}

/// Runs an alert's command with a fake `aws` whose `list-aliases` behaves as given, and returns the operation called.
fn run_command(command: &str, list_aliases: &str) -> String {
    let script = format!("aws() {{ case \"$2\" in list-aliases) {list_aliases};; *) echo \"$2\";; esac; }}\n{command}");
    let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_removal_command_checks_that_the_key_is_unused() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.after(|call, _| (call.operation == "CreateAlias").then(|| Fault::Hang(Duration::from_secs(60))));
    let (_, invocation) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(4));
    let answer = &logged_answers(&invocation)[0];
    let command = answer["strays"][0]["command"].as_str().unwrap();
    let alert = scenario.only_alert();
    assert_eq!(alert.subject.as_deref(), Some("trailseal: a KMS key needs your attention"));
    assert!(alert.message.contains("may be unused") && alert.message.contains(command), "{}", alert.message);
    assert_eq!(run_command(command, "echo"), "schedule-key-deletion");
    assert_eq!(run_command(command, "echo alias/trailseal"), "");
    assert_eq!(run_command(command, "return 254"), "", "a failed read prevents the deletion");
}

#[test]
fn a_key_assigned_during_a_conflict_is_not_replaced() {
    for busy in [Fault::error(400, "ConflictException", "being modified"), Fault::throttled(), Fault::internal()] {
        let mut world = account();
        add_sealing_key(&mut world, "eu-central-1");
        let mut scenario = Scenario::enforce(world);
        let mut done = false;
        scenario.aws.before(move |call, world| {
            if call.operation != "UpdateTrail" || done {
                return None;
            }
            done = true;
            let theirs = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("owner", "another-team"));
            world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(theirs);
            Some(busy.clone())
        });
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
        let key = scenario.audit().kms_key_id.unwrap();
        assert_eq!(scenario.aws.world().keys[&key].tags["owner"], "another-team");
    }
}

#[test]
fn an_alias_that_is_not_visible_yet_is_awaited() {
    let mut scenario = Scenario::enforce(account());
    once_before(&scenario, "CreateAlias", |world| {
        let winner = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.alias("eu-central-1", ALIAS, &winner);
        world.aliases.values_mut().for_each(|alias| alias.hidden_calls = 2);
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(scenario.aws.world().keys.len(), 2, "the winner's key and the stray");
    assert_eq!(answer["strays"].as_array().unwrap().len(), 1);
}

#[test]
fn a_later_pass_uses_the_key_of_an_earlier_one() {
    let mut world = account();
    world.delays.alias_visible_after = 1000;
    let mut scenario = Scenario::enforce(world);
    let mut reads = 0;
    scenario.aws.before(move |call, world| {
        reads += usize::from(call.operation == "GetTrail");
        if call.operation == "GetTrail" && reads == 2 {
            world.trails.get_mut(AUDIT).unwrap().prefix = Some("changed".into());
        }
        None
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(scenario.aws.world().keys.len(), 1);
    assert_eq!(answer["strays"], json!([]));
}

#[test]
fn a_failed_create_alias_is_retried_for_the_same_key() {
    let mut scenario = Scenario::enforce(account());
    let mut times = 0;
    scenario.aws.before(move |call, _| {
        // The number of attempts of one call.
        times += usize::from(call.operation == "CreateAlias");
        (call.operation == "CreateAlias" && times <= 8).then(Fault::internal)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(scenario.aws.world().keys.len(), 1);
    assert_eq!(
        steps(&answer),
        ["create-key done", "enable-rotation done", "create-alias failed", "create-alias done", "update-trail done"]
    );
    let calls = scenario.take_calls();
    let last_failure = calls.iter().enumerate().filter(|(_, call)| *call == "kms:CreateAlias").nth(7).unwrap().0;
    assert!(calls[last_failure + 1].starts_with("cloudtrail:"), "the next pass reads the alias: {calls:#?}");
    scenario.aws.clear_hooks();
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn an_alias_of_another_key_does_not_finish_a_refused_key() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, world| {
        if call.operation != "CreateAlias" {
            return None;
        }
        let theirs = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.alias("eu-central-1", ALIAS, &theirs);
        Some(Fault::error(400, "LimitExceededException", "too many aliases"))
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    assert_eq!(answer["trails"][0]["error"]["code"], "LimitExceededException");
    assert_eq!(
        steps(&answer),
        ["create-key done", "enable-rotation done", "create-alias failed", "update-trail planned"]
    );
    assert_eq!(scenario.audit().kms_key_id, None);
}

#[test]
fn an_unconfirmed_alias_is_read_back() {
    let mut scenario = Scenario::enforce(account());
    let mut times = 1;
    scenario.aws.after(move |call, _| {
        if call.operation != "CreateAlias" || times == 0 {
            return None;
        }
        times -= 1;
        Some(Fault::internal())
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(scenario.aws.world().keys.len(), 1);
    assert_eq!(answer["strays"], json!([]));
    assert_eq!(steps(&answer), ["create-key done", "enable-rotation done", "create-alias done", "update-trail done"]);
    assert!(step(&answer, "create-alias")["detail"].as_str().unwrap().contains("read back"));
    scenario.aws.clear_hooks();
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_concurrently_sealed_trail_is_unchanged() {
    let mut scenario = Scenario::enforce(account());
    once_before(&scenario, "CreateAlias", |world| {
        let theirs = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(theirs);
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
    assert_eq!(
        steps(&answer),
        ["create-key done", "enable-rotation done", "create-alias done", "update-trail not-needed"]
    );
    assert!(!scenario.aws.names().contains(&"cloudtrail:UpdateTrail".to_owned()));
}

#[test]
fn a_restart_of_a_concurrently_sealed_trail_is_alerted() {
    let mut world = account();
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").stopped(1_780_000_500));
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    once_before(&scenario, "StartLogging", |world| {
        let theirs = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(theirs);
    });
    let answer = scenario.invoke_event("stop-logging-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(findings(&answer), ["no-cmk", "logging-stopped"]);
    assert_eq!(steps(&answer), ["start-logging done", "update-trail not-needed"]);
    assert_eq!(answer["alerts"]["sent"], 1);
}

#[test]
fn a_concurrent_bucket_change_uses_the_new_region() {
    let mut scenario = Scenario::enforce(account().bucket("moved-logs", "us-east-1"));
    once_before(&scenario, "CreateAlias", |world| {
        "moved-logs".clone_into(&mut world.trails.get_mut(AUDIT).unwrap().bucket);
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert!(scenario.audit().kms_key_id.unwrap().contains(":us-east-1:"));
    let made = ["create-key done", "enable-rotation done", "create-alias done"];
    assert_eq!(steps(&answer), [&made[..], &made[..], &["update-trail done"]].concat(), "both keys are reported");
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_concurrently_deleted_trail_is_gone() {
    let mut scenario = Scenario::enforce(account());
    once_before(&scenario, "CreateAlias", |world| drop(world.trails.remove(AUDIT)));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "gone": 1 }), "{answer:#}");
    assert_eq!(steps(&answer), ["create-key done", "enable-rotation done", "create-alias done"]);
}

#[test]
fn a_trail_deleted_before_update_trail_is_gone() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    once_before(&scenario, "UpdateTrail", |world| drop(world.trails.remove(AUDIT)));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "gone": 1 }), "{answer:#}");
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
}

#[test]
fn three_contradicted_passes_end_in_a_lambda_retry() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, world| {
        if call.operation == "GetTrail" {
            let trail = world.trails.get_mut(AUDIT).unwrap();
            trail.prefix = Some(format!("{}x", trail.prefix.clone().unwrap_or_default()));
        }
        None
    });
    let (error, _) = scenario.expect_failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert!(error.error_message.contains("another principal changed trail"), "{error}");
    assert_eq!(scenario.aws.world().keys.len(), 1, "three passes, one key");
    scenario.aws.clear_hooks();
    assert_eq!(scenario.invoke_event("update-trail-by-name")["summary"], json!({ "remediated": 1 }));
}

#[test]
fn a_deleted_trail_is_gone_whatever_its_status_returns() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.world().trails.remove(AUDIT);
    scenario.aws.before(|call, _| (call.operation == "GetTrailStatus").then(Fault::access_denied));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "gone": 1 }), "{answer:#}");
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
}

#[test]
fn a_key_assigned_during_a_later_pass_is_not_replaced() {
    let mut scenario = Scenario::enforce(account());
    let mut passes = 0;
    scenario.aws.before(move |call, world| {
        if call.operation == "CreateAlias" {
            add_sealing_key(world, "eu-central-1");
        }
        // Read in each pass, after the trail.
        passes += usize::from(call.operation == "GetBucketPolicy");
        if call.operation == "GetBucketPolicy" && passes == 2 {
            let theirs = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("owner", "another-team"));
            world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(theirs);
        }
        None
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
    let key = scenario.audit().kms_key_id.unwrap();
    assert_eq!(scenario.aws.world().keys[&key].tags["owner"], "another-team");
}

#[test]
fn concurrent_setting_changes_are_reported() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, world| {
        if call.operation == "UpdateTrail" {
            world.trails.values_mut().for_each(|trail| trail.multi_region = false);
        }
        None
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    let error = answer["trails"][0]["error"]["message"].as_str().unwrap();
    assert!(error.contains("IsMultiRegionTrail: true → false"), "{error}");
    assert_eq!(step(&answer, "update-trail")["status"], "done");
    assert_eq!(answer["trails"][0]["key_arn"], json!(scenario.audit().kms_key_id));
}
