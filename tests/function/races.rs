//! Somebody else, or another run of our own, is quicker.

use std::time::Duration;

use fake_aws::{Fault, Key, Trail};
use serde_json::json;

use crate::support::{
    ALIAS, AUDIT, Scene, Setting, account, findings, logged, sealing_policy, step, steps, with_sealing_key,
};

/// Does something once, just before an operation.
fn once_before(scene: &Scene, operation: &'static str, mut act: impl FnMut(&mut fake_aws::World) + Send + 'static) {
    let mut done = false;
    scene.aws.before(move |call, world| {
        if call.operation == operation && !done {
            done = true;
            act(world);
        }
        None
    });
}

#[test]
fn who_loses_the_race_for_the_alias_uses_the_winners_key_and_reports_its_own_as_a_stray() {
    let mut scene = Scene::enforcing(account());
    once_before(&scene, "CreateAlias", |world| {
        let winner = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal"));
        world.alias("eu-central-1", ALIAS, &winner);
    });
    let answer = scene.event("update-trail-by-name");
    let world = scene.aws.snapshot();
    let winner = world.alias_target("eu-central-1", ALIAS).unwrap().to_owned();
    assert_eq!(world.keys.len(), 2);
    assert_eq!(scene.audit().kms_key_id, Some(winner.clone()));
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert_eq!(
        steps(&answer),
        ["create-key done", "enable-rotation done", "create-alias not-needed", "update-trail done"]
    );
    let ours = world.keys.keys().find(|key| **key != winner).unwrap();
    // Whose the winner is nobody looked at.
    let told = format!("key `{winner}` had it first; `{ours}` is a stray");
    assert_eq!(step(&answer, "create-alias")["detail"], json!(told));
    assert_eq!(answer["strays"].as_array().unwrap().len(), 1);
    assert_eq!(answer["strays"][0]["key_arn"], json!(ours));
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn a_stray_is_told_also_where_the_winner_sealed_the_trail() {
    let mut scene = Scene::enforcing(account());
    once_before(&scene, "CreateAlias", |world| {
        let winner = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.alias("eu-central-1", ALIAS, &winner);
        world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(winner);
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
    assert_eq!(answer["alerts"], json!({ "sent": 1, "failed": 0 }));
    let command = answer["strays"][0]["command"].as_str().unwrap();
    let alert = scene.only_alert();
    assert!(alert.message.contains(command));
    assert_eq!(alert.attributes["outcome"], "noted", "a filter on outcomes lets it through");
}

#[test]
fn a_stray_is_told_also_where_the_trail_is_left_to_lambdas_retry() {
    let mut scene = Scene::enforcing(account());
    once_before(&scene, "CreateAlias", |world| {
        let winner = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.alias("eu-central-1", ALIAS, &winner);
    });
    scene.aws.before(|call, _| (call.operation == "UpdateTrail").then(Fault::throttled));
    let (error, _) = scene.failure_within("update-trail-by-name", Duration::from_secs(6));
    assert_eq!(error.error_type, "Transient");
    let alert = scene.only_alert();
    assert_eq!(alert.subject.as_deref(), Some("trailseal: a KMS key was left over"));
    assert!(alert.message.contains("aws kms schedule-key-deletion"), "{}", alert.message);
}

/// Runs a command of an alert with an `aws` that looks up aliases like that, and says what it did.
fn carried_out(command: &str, list_aliases: &str) -> String {
    let script = format!("aws() {{ case \"$2\" in list-aliases) {list_aliases};; *) echo \"$2\";; esac; }}\n{command}");
    let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_key_of_which_nobody_knows_whether_it_is_in_use_is_only_removed_if_it_is_not() {
    let mut scene = Scene::enforcing(account());
    scene.aws.after(|call, _| (call.operation == "CreateAlias").then(|| Fault::Hang(Duration::from_secs(60))));
    let (_, invocation) = scene.failure_within("update-trail-by-name", Duration::from_secs(4));
    let answer = &logged(&invocation)[0];
    let command = answer["strays"][0]["command"].as_str().unwrap();
    let alert = scene.only_alert();
    assert_eq!(alert.subject.as_deref(), Some("trailseal: a KMS key needs your attention"));
    assert!(alert.message.contains("may not be used") && alert.message.contains(command), "{}", alert.message);
    assert_eq!(carried_out(command, "echo"), "schedule-key-deletion");
    assert_eq!(carried_out(command, "echo alias/trailseal"), "");
    assert_eq!(carried_out(command, "return 254"), "", "a look-up that fails says nothing");
}

#[test]
fn a_key_that_somebody_gave_the_trail_while_cloudtrail_was_busy_is_not_overwritten() {
    for busy in [Fault::error(400, "ConflictException", "being modified"), Fault::throttled(), Fault::internal()] {
        let mut world = account();
        with_sealing_key(&mut world, "eu-central-1");
        let mut scene = Scene::enforcing(world);
        let mut done = false;
        scene.aws.before(move |call, world| {
            if call.operation != "UpdateTrail" || done {
                return None;
            }
            done = true;
            let theirs = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("owner", "somebody"));
            world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(theirs);
            Some(busy.clone())
        });
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
        let key = scene.audit().kms_key_id.unwrap();
        assert_eq!(scene.aws.world().keys[&key].tags["owner"], "somebody");
    }
}

#[test]
fn a_winners_alias_that_kms_does_not_show_yet_is_waited_for_and_no_further_key_is_made() {
    let mut scene = Scene::enforcing(account());
    once_before(&scene, "CreateAlias", |world| {
        let winner = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.alias("eu-central-1", ALIAS, &winner);
        world.aliases.values_mut().for_each(|alias| alias.hidden_calls = 2);
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(scene.aws.world().keys.len(), 2, "the winner's and the one that lost");
    assert_eq!(answer["strays"].as_array().unwrap().len(), 1);
}

#[test]
fn a_key_made_in_this_run_is_used_in_its_next_pass_although_its_alias_is_not_shown_yet() {
    let mut world = account();
    world.delays.alias_visible_after = 1000;
    let mut scene = Scene::enforcing(world);
    let mut looks = 0;
    scene.aws.before(move |call, world| {
        looks += usize::from(call.operation == "GetTrail");
        if call.operation == "GetTrail" && looks == 2 {
            world.trails.get_mut(AUDIT).unwrap().prefix = Some("changed".into());
        }
        None
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(scene.aws.world().keys.len(), 1);
    assert_eq!(answer["strays"], json!([]));
}

#[test]
fn an_alias_that_was_refused_without_a_clear_answer_is_tried_again_for_the_same_key() {
    let mut scene = Scene::enforcing(account());
    let mut times = 0;
    scene.aws.before(move |call, _| {
        // As often as the SDK tries by itself.
        times += usize::from(call.operation == "CreateAlias");
        (call.operation == "CreateAlias" && times <= 8).then(Fault::internal)
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(scene.aws.world().keys.len(), 1);
    assert_eq!(
        steps(&answer),
        ["create-key done", "enable-rotation done", "create-alias failed", "create-alias done", "update-trail done"]
    );
    scene.aws.clear_hooks();
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn an_alias_whose_answer_was_lost_is_found_to_be_ours() {
    let mut scene = Scene::enforcing(account());
    let mut times = 1;
    scene.aws.after(move |call, _| {
        if call.operation != "CreateAlias" || times == 0 {
            return None;
        }
        times -= 1;
        Some(Fault::internal())
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(scene.aws.world().keys.len(), 1);
    assert_eq!(answer["strays"], json!([]));
    assert_eq!(steps(&answer), ["create-key done", "enable-rotation done", "create-alias done", "update-trail done"]);
    assert!(step(&answer, "create-alias")["detail"].as_str().unwrap().contains("read back"));
    scene.aws.clear_hooks();
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn a_trail_that_somebody_sealed_meanwhile_is_left_as_it_is() {
    let mut scene = Scene::enforcing(account());
    once_before(&scene, "CreateAlias", |world| {
        let theirs = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(theirs);
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
    assert_eq!(
        steps(&answer),
        ["create-key done", "enable-rotation done", "create-alias done", "update-trail not-needed"]
    );
    assert!(!scene.aws.names().contains(&"cloudtrail:UpdateTrail".to_owned()));
}

#[test]
fn a_restart_is_told_also_where_somebody_else_sealed_the_trail() {
    let mut world = account();
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").stopped(1_780_000_500));
    with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Setting::new(world).with("TRAILSEAL_RESTART_LOGGING", "true").start();
    once_before(&scene, "StartLogging", |world| {
        let theirs = world.key(Key::new("eu-central-1").policy(&sealing_policy()));
        world.trails.get_mut(AUDIT).unwrap().kms_key_id = Some(theirs);
    });
    let answer = scene.event("stop-logging-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(findings(&answer), ["no-cmk", "logging-stopped"]);
    assert_eq!(steps(&answer), ["start-logging done", "update-trail not-needed"]);
    assert_eq!(answer["alerts"]["sent"], 1);
}

#[test]
fn a_trail_whose_bucket_moved_meanwhile_gets_the_key_of_the_new_buckets_region() {
    let mut scene = Scene::enforcing(account().bucket("moved-logs", "us-east-1"));
    once_before(&scene, "CreateAlias", |world| {
        "moved-logs".clone_into(&mut world.trails.get_mut(AUDIT).unwrap().bucket);
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert!(scene.audit().kms_key_id.unwrap().contains(":us-east-1:"));
    let made = ["create-key done", "enable-rotation done", "create-alias done"];
    assert_eq!(steps(&answer), [&made[..], &made[..], &["update-trail done"]].concat(), "both keys are told");
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn a_trail_that_is_deleted_meanwhile_is_gone() {
    let mut scene = Scene::enforcing(account());
    once_before(&scene, "CreateAlias", |world| drop(world.trails.remove(AUDIT)));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "gone": 1 }), "{answer:#}");
    assert_eq!(steps(&answer), ["create-key done", "enable-rotation done", "create-alias done"]);
}

#[test]
fn a_trail_that_is_deleted_at_the_last_moment_is_gone_and_no_failure() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Scene::enforcing(world);
    once_before(&scene, "UpdateTrail", |world| drop(world.trails.remove(AUDIT)));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "gone": 1 }), "{answer:#}");
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
}

#[test]
fn somebody_who_changes_the_trail_again_and_again_ends_in_a_retry_by_lambda() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, world| {
        if call.operation == "GetTrail" {
            let trail = world.trails.get_mut(AUDIT).unwrap();
            trail.prefix = Some(format!("{}x", trail.prefix.clone().unwrap_or_default()));
        }
        None
    });
    let (error, _) = scene.failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert!(error.error_message.contains("changed meanwhile"), "{error}");
    assert_eq!(scene.aws.world().keys.len(), 1, "three passes, one key");
    scene.aws.clear_hooks();
    assert_eq!(scene.event("update-trail-by-name")["summary"], json!({ "remediated": 1 }));
}
