//! Trouble: what passes is waited out or handed back to Lambda, what does not is told once.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fake_aws::{Fault, Key, Trail};
use serde_json::json;

use crate::support::{Scene, Setting, account, count, logged, sealing_policy, steps, with_sealing_key, writes};

/// Refuses the first `times` calls of an operation.
fn refuse(scene: &Scene, operation: &'static str, mut times: usize, fault: Fault) {
    scene.aws.before(move |call, _| {
        if call.operation != operation || times == 0 {
            return None;
        }
        times -= 1;
        Some(fault.clone())
    });
}

#[test]
fn throttling_conflicts_and_server_errors_are_retried_inside() {
    for (operation, fault) in [
        ("GetTrail", Fault::throttled()),
        ("HeadBucket", Fault::internal()),
        ("UpdateTrail", Fault::error(400, "ConflictException", "being modified")),
        ("UpdateTrail", Fault::throttled()),
        ("CreateKey", Fault::throttled()),
        ("CreateAlias", Fault::internal()),
        ("DescribeKey", Fault::Drop),
    ] {
        let mut scene = Scene::enforcing(account());
        refuse(&scene, operation, 2, fault.clone());
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{operation} {fault:?}: {answer:#}");
        assert_eq!(scene.aws.world().keys.len(), 1, "{operation} {fault:?}");
        scene.aws.clear_hooks();
        scene.again_nothing_happens("update-trail-by-name");
    }
}

#[test]
fn a_read_that_many_invocations_share_the_rate_of_is_tried_for_longer_than_others() {
    let mut scene = Scene::enforcing(account());
    // One more than the attempts of other calls.
    refuse(&scene, "GetTrail", 9, Fault::throttled());
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(scene.calls().iter().filter(|call| *call == "cloudtrail:GetTrail").count(), 11);
}

#[test]
fn a_read_that_is_throttled_until_time_is_over_says_so() {
    let mut scene = Scene::enforcing(account());
    refuse(&scene, "GetTrail", usize::MAX, Fault::throttled());
    let (error, invocation) = scene.failure_within("update-trail-by-name", Duration::from_secs(25));
    assert_eq!(error.error_type, "Transient");
    let error = &logged(&invocation)[0]["trails"][0]["error"];
    assert_eq!((&error["class"], &error["code"]), (&json!("transient"), &json!("ThrottlingException")), "{error:#}");
}

#[test]
fn what_does_not_pass_in_time_fails_the_invocation_for_lambda_to_retry_without_an_alert() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Scene::enforcing(world);
    refuse(&scene, "UpdateTrail", usize::MAX, Fault::error(400, "ConflictException", "being modified"));
    let started = Instant::now();
    let (error, invocation) = scene.failure_within("update-trail-by-name", Duration::from_secs(5));
    assert!(started.elapsed() < Duration::from_secs(5), "it kept within its deadline");
    assert_eq!(error.error_type, "Transient");
    assert!(error.error_message.contains("trail/audit"), "{error}");
    assert_eq!(scene.aws.world().published.len(), 0);
    let answer = &logged(&invocation)[0];
    assert_eq!((&answer["level"], &answer["summary"]), (&json!("ERROR"), &json!({ "failed": 1 })));
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &error["code"]), (&json!("transient"), &json!("ConflictException")), "{error:#}");
    assert!(error["request_id"].is_string());

    scene.aws.clear_hooks();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "Lambda's retry finishes it");
}

#[test]
fn a_denied_call_is_told_once_by_name_and_the_invocation_succeeds() {
    for (operation, write) in [
        ("cloudtrail:GetTrail", false),
        ("cloudtrail:GetTrailStatus", false),
        ("kms:DescribeKey", false),
        ("kms:CreateKey", true),
        ("kms:CreateAlias", true),
        ("cloudtrail:UpdateTrail", true),
    ] {
        let mut world = account();
        world.denied.insert(operation.into());
        let mut scene = Scene::enforcing(world);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "failed": 1 }), "{operation}");
        let error = &answer["trails"][0]["error"];
        assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!(operation)), "{error:#}");
        assert!(error["remedy"].as_str().unwrap().contains(operation), "{error:#}");
        assert!(error["request_id"].is_string(), "{error:#}");
        assert_eq!(answer["alerts"], json!({ "sent": 1, "failed": 0 }));
        assert_eq!(scene.audit().kms_key_id, None);
        if !write {
            assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"], "{operation}");
        }
    }
}

#[test]
fn failed_rotation_does_not_keep_a_trail_unsealed_but_is_told_with_the_command() {
    for fault in [Fault::access_denied(), Fault::error(400, "DependencyTimeoutException", "try later")] {
        let mut scene = Scene::enforcing(account());
        refuse(&scene, "EnableKeyRotation", usize::MAX, fault);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(
            steps(&answer),
            ["create-key done", "enable-rotation failed", "create-alias done", "update-trail done"]
        );
        assert_eq!(answer["summary"], json!({ "failed": 1 }));
        let error = &answer["trails"][0]["error"];
        assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!("kms:EnableKeyRotation")));
        let command =
            format!("aws kms enable-key-rotation --region eu-central-1 --key-id {}", scene.audit().kms_key_id.unwrap());
        assert!(scene.only_alert().message.contains(&command), "{}", scene.only_alert().message);
    }
}

#[test]
fn failed_rotation_is_not_forgotten_by_a_second_pass() {
    let mut scene = Scene::enforcing(account());
    let mut changed = false;
    scene.aws.before(move |call, world| {
        if call.operation == "CreateAlias" && !changed {
            changed = true;
            world.trails.values_mut().for_each(|trail| trail.prefix = Some("changed".into()));
        }
        (call.operation == "EnableKeyRotation").then(Fault::access_denied)
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    assert_eq!(answer["trails"][0]["error"]["operation"], "kms:EnableKeyRotation");
    assert!(scene.audit().kms_key_id.is_some());
    assert!(scene.only_alert().subject.unwrap().contains("is encrypted, but"));
}

#[test]
fn a_start_that_may_pass_is_left_to_lambdas_retry_although_sealing_never_can() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").stopped(1_780_000_500));
    world.denied.insert("cloudtrail:UpdateTrail".into());
    let mut scene = Setting::new(world).with("TRAILSEAL_RESTART_LOGGING", "true").start();
    refuse(&scene, "StartLogging", usize::MAX, Fault::error(400, "InternalFailure", "later"));
    let (error, _) = scene.failure("stop-logging-by-name");
    assert_eq!(error.error_type, "Transient");
    assert!(error.error_message.contains("start logging"), "{error}");
}

#[test]
fn failed_rotation_is_told_also_where_the_trail_is_left_to_lambdas_retry() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| match call.operation.as_str() {
        "EnableKeyRotation" => Some(Fault::access_denied()),
        "UpdateTrail" => Some(Fault::throttled()),
        _ => None,
    });
    let (error, _) = scene.failure_within("update-trail-by-name", Duration::from_secs(5));
    assert_eq!(error.error_type, "Transient");
    assert!(scene.only_alert().message.contains("aws kms enable-key-rotation"), "{}", scene.only_alert().message);
}

#[test]
fn what_was_not_done_when_time_ran_out_is_listed() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| (call.operation == "CreateKey").then(|| Fault::Hang(Duration::from_secs(60))));
    let (_, invocation) = scene.failure_within("update-trail-by-name", Duration::from_secs(3));
    assert_eq!(
        steps(&logged(&invocation)[0]),
        ["create-key failed", "enable-rotation planned", "create-alias planned", "update-trail planned"]
    );
}

#[test]
fn logging_is_started_also_where_cloudtrail_has_no_time_for_the_key() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").stopped(1_780_000_500));
    let mut scene = Setting::new(world).with("TRAILSEAL_RESTART_LOGGING", "true").start();
    refuse(&scene, "UpdateTrail", usize::MAX, Fault::throttled());
    scene.failure_within("stop-logging-by-name", Duration::from_secs(4));
    assert!(scene.audit().logging);
}

#[test]
fn what_was_tried_again_until_time_ran_out_is_named_also_where_aws_gives_no_code() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| (call.operation == "HeadBucket").then(Fault::internal));
    let (error, invocation) = scene.failure_within("update-trail-by-name", Duration::from_secs(3));
    assert!(error.error_message.contains("HTTP 500"), "{error}");
    assert_eq!(logged(&invocation)[0]["trails"][0]["error"]["operation"], "s3:HeadBucket");
}

#[test]
fn time_that_runs_out_while_a_key_is_made_is_left_to_lambdas_retry() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| (call.operation == "EnableKeyRotation").then(|| Fault::Hang(Duration::from_secs(60))));
    let (error, _) = scene.failure_within("update-trail-by-name", Duration::from_secs(4));
    assert_eq!(error.error_type, "Transient");
    assert_eq!(scene.only_alert().subject.as_deref(), Some("trailseal: a KMS key needs your attention"));
    assert_eq!(scene.audit().kms_key_id, None);
}

#[test]
fn a_key_without_its_alias_is_a_stray_with_the_command_that_removes_it() {
    let mut world = account();
    world.denied.insert("kms:CreateAlias".into());
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    let key = scene.aws.world().keys.keys().next().unwrap().clone();
    assert_eq!(answer["strays"][0]["key_arn"], json!(key));
    let command = answer["strays"][0]["command"].as_str().unwrap().to_owned();
    assert!(command.starts_with("aws kms schedule-key-deletion --region eu-central-1 --key-id "), "{command}");
    assert!(scene.only_alert().message.contains(&command));
}

#[test]
fn a_bucket_that_is_gone_is_told_and_nothing_is_written() {
    let mut world = account();
    world.buckets.clear();
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &error["code"]), (&json!("terminal"), &json!("NoSuchBucket")), "{answer:#}");
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
}

#[test]
fn a_key_of_somebody_elses_that_does_not_let_cloudtrail_in_is_not_given_and_the_statements_are_named() {
    let mut world = account();
    let key = world.key(Key::new("eu-central-1"));
    world.alias("eu-central-1", "alias/trailseal", &key);
    let before = world.keys[&key].policy.clone();
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!(null)));
    assert!(error["message"].as_str().unwrap().contains("`kms:GenerateDataKey`"), "{error:#}");
    for part in ["CloudTrailEncrypts", "CloudTrailDescribes", "CloudTrailDecryptsForBucketKeys", &key] {
        assert!(error["remedy"].as_str().unwrap().contains(part), "{part}: {error:#}");
    }
    assert_eq!(steps(&answer), [""; 0]);
    assert_eq!(scene.aws.world().keys[&key].policy, before);
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
}

#[test]
fn cloudtrails_refusal_of_a_key_that_could_not_be_judged_names_the_statements_to_add() {
    let mut world = account();
    let key = world.key(Key::new("eu-central-1"));
    world.keys.get_mut(&key).unwrap().denied.insert("kms:GetKeyPolicy".into());
    let mut scene = Setting::new(world).with("TRAILSEAL_KEY_ARNS", &key).start();
    let answer = scene.event("update-trail-by-name");
    let error = &answer["trails"][0]["error"];
    assert_eq!(error["code"], "InsufficientEncryptionPolicyException");
    for part in ["CloudTrailEncrypts", "CloudTrailDescribes", "CloudTrailDecryptsForBucketKeys", &key] {
        assert!(error["remedy"].as_str().unwrap().contains(part), "{part}: {error:#}");
    }
    assert_eq!(steps(&answer), ["update-trail failed"]);
    assert_eq!(count(&scene, "UpdateTrail"), 1, "an old key's refusal is no matter of waiting");
}

#[test]
fn what_kms_and_cloudtrail_do_not_see_yet_is_waited_out() {
    let mut world = account();
    world.delays.key_visible_after = 2;
    world.delays.policy_effective_after = 2;
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(count(&scene, "CreateKey"), 1);
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn a_key_that_another_run_created_a_moment_ago_is_waited_for_too() {
    let mut world = account();
    world.now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = with_sealing_key(&mut world, "eu-central-1");
    world.keys.get_mut(&key).unwrap().policy_pending_calls = 2;
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(count(&scene, "UpdateTrail"), 3);
}

#[test]
fn a_policy_that_is_too_long_is_not_mistaken_for_throttling() {
    let mut scene = Scene::enforcing(account());
    refuse(&scene, "CreateKey", usize::MAX, Fault::error(400, "LimitExceededException", "too long"));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(count(&scene, "CreateKey"), 1);
    assert_eq!(answer["trails"][0]["error"]["class"], "terminal");
}

#[test]
fn an_unreachable_aws_fails_the_invocation_within_its_deadline() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|_, _| Some(Fault::Hang(Duration::from_secs(60))));
    let (error, invocation) = scene.failure_within("update-trail-by-name", Duration::from_secs(3));
    assert_eq!(error.error_type, "Transient");
    assert!(invocation.wall < Duration::from_secs(3), "{:?}", invocation.wall);
    assert!(error.error_message.contains("cannot read trail"), "{error}");
}

#[test]
fn the_sealing_policy_of_the_tests_is_the_one_that_is_written() {
    let mut scene = Scene::enforcing(account());
    scene.event("update-trail-by-name");
    let world = scene.aws.snapshot();
    let as_json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(as_json(&world.keys.values().next().unwrap().policy), as_json(&sealing_policy()));
}
