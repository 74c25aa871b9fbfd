//! Failures: transient errors are retried, then left to Lambda's retry; terminal errors are reported once.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fake_aws::{Fault, Key, Trail};
use serde_json::json;

use crate::support::{
    Scenario, account, add_sealing_key, assert_request_id, count_calls, inject, logged_answers, sealed_account, steps,
    writes,
};

#[test]
fn throttling_conflicts_and_server_errors_are_retried() {
    for (operation, fault) in [
        ("GetTrail", Fault::throttled()),
        ("HeadBucket", Fault::internal()),
        ("UpdateTrail", Fault::error(400, "ConflictException", "being modified")),
        ("UpdateTrail", Fault::throttled()),
        ("CreateKey", Fault::throttled()),
        ("CreateAlias", Fault::internal()),
        ("DescribeKey", Fault::Drop),
    ] {
        let mut scenario = Scenario::enforce(account());
        inject(&scenario, operation, 2, fault.clone());
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{operation} {fault:?}: {answer:#}");
        assert_eq!(scenario.aws.world().keys.len(), 1, "{operation} {fault:?}");
        scenario.aws.clear_hooks();
        scenario.assert_converged("update-trail-by-name");
    }
}

#[test]
fn a_key_without_describe_that_cloudtrail_refuses_fails() {
    let mut world = account();
    let policy = world.cloudtrail_key_policy().replace("kms:DescribeKey", "kms:Encrypt");
    let key = world.key(Key::new("eu-central-1").policy(&policy));
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_KEY_ARNS", &key).start();
    let refusal = Fault::error(400, "InsufficientEncryptionPolicyException", "insufficient permissions");
    inject(&scenario, "UpdateTrail", usize::MAX, refusal);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((&answer["summary"], steps(&answer)), (&json!({ "failed": 1 }), vec!["update-trail failed".into()]));
    assert_eq!(answer["trails"][0]["warnings"][0]["id"], "describe-key-missing");
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!("cloudtrail:UpdateTrail")));
    assert!(error["remedy"].as_str().unwrap().contains("CloudTrailDescribes"), "{error:#}");
    assert_eq!(writes(&scenario.aws.calls()), ["cloudtrail:UpdateTrail", "sns:Publish"]);
    assert_eq!(scenario.audit().kms_key_id, None);
    scenario.aws.clear_hooks();
    assert_eq!(scenario.invoke_event("update-trail-by-name")["summary"], json!({ "remediated": 1 }));
    assert_eq!(scenario.audit().kms_key_id, Some(key));
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn throttled_cloudtrail_reads_get_more_attempts() {
    let mut scenario = Scenario::enforce(account());
    // More than the attempts of other calls.
    inject(&scenario, "GetTrail", 9, Fault::throttled());
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(scenario.take_calls().iter().filter(|call| *call == "cloudtrail:GetTrail").count(), 11);
}

#[test]
fn a_read_that_stays_throttled_reports_throttling() {
    let mut scenario = Scenario::enforce(account());
    inject(&scenario, "GetTrail", usize::MAX, Fault::throttled());
    let (error, invocation) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(25));
    assert_eq!(error.error_type, "Transient");
    let error = &logged_answers(&invocation)[0]["trails"][0]["error"];
    assert_eq!((&error["class"], &error["code"]), (&json!("transient"), &json!("ThrottlingException")), "{error:#}");
}

#[test]
fn a_persistent_transient_error_fails_without_an_alert() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    inject(&scenario, "UpdateTrail", usize::MAX, Fault::error(400, "ConflictException", "being modified"));
    let started = Instant::now();
    let (error, invocation) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(5));
    assert!(started.elapsed() < Duration::from_secs(5), "within the deadline");
    assert_eq!(error.error_type, "Transient");
    assert!(error.error_message.contains("trail/audit"), "{error}");
    assert_eq!(scenario.aws.world().published.len(), 0);
    let answer = &logged_answers(&invocation)[0];
    assert_eq!((&answer["level"], &answer["summary"]), (&json!("ERROR"), &json!({ "failed": 1 })));
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &error["code"]), (&json!("transient"), &json!("ConflictException")), "{error:#}");
    assert!(error["request_id"].is_string());

    scenario.aws.clear_hooks();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "Lambda's retry finishes it");
}

#[test]
fn a_trail_whose_keys_tags_stay_throttled_is_not_compliant() {
    let mut scenario = Scenario::enforce(sealed_account().0);
    inject(&scenario, "ListResourceTags", usize::MAX, Fault::throttled());
    let (error, invocation) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(5));
    assert_eq!(error.error_type, "Transient");
    let error = &logged_answers(&invocation)[0]["trails"][0]["error"];
    assert_eq!((&error["class"], &error["operation"]), (&json!("transient"), &json!("kms:ListResourceTags")));
}

#[test]
fn a_denied_call_is_reported_and_the_invocation_succeeds() {
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
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "failed": 1 }), "{operation}");
        let error = &answer["trails"][0]["error"];
        assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!(operation)), "{error:#}");
        assert!(error["remedy"].as_str().unwrap().contains(operation), "{error:#}");
        assert!(error["request_id"].is_string(), "{error:#}");
        assert_eq!(answer["alerts"], json!({ "sent": 1, "failed": 0 }));
        assert_eq!(scenario.audit().kms_key_id, None);
        if !write {
            assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"], "{operation}");
        }
    }
}

#[test]
fn failed_rotation_does_not_prevent_sealing() {
    for fault in [Fault::access_denied(), Fault::error(400, "DependencyTimeoutException", "try later")] {
        let mut scenario = Scenario::enforce(account());
        inject(&scenario, "EnableKeyRotation", usize::MAX, fault);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(
            steps(&answer),
            ["create-key done", "enable-rotation failed", "create-alias done", "update-trail done"]
        );
        assert_eq!(answer["summary"], json!({ "failed": 1 }));
        let error = &answer["trails"][0]["error"];
        assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!("kms:EnableKeyRotation")));
        let command = format!(
            "aws kms enable-key-rotation --region eu-central-1 --key-id {}",
            scenario.audit().kms_key_id.unwrap()
        );
        assert!(scenario.only_alert().message.contains(&command), "{}", scenario.only_alert().message);
    }
}

#[test]
fn a_second_pass_still_reports_failed_rotation() {
    let mut scenario = Scenario::enforce(account());
    let mut changed = false;
    scenario.aws.before(move |call, world| {
        if call.operation == "CreateAlias" && !changed {
            changed = true;
            world.trails.values_mut().for_each(|trail| trail.prefix = Some("changed".into()));
        }
        (call.operation == "EnableKeyRotation").then(Fault::access_denied)
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    assert_eq!(answer["trails"][0]["error"]["operation"], "kms:EnableKeyRotation");
    assert!(scenario.audit().kms_key_id.is_some());
    assert!(scenario.only_alert().subject.unwrap().contains("is encrypted, but"));
}

#[test]
fn a_transient_start_error_outranks_a_terminal_one() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").stopped(1_780_000_500));
    world.denied.insert("cloudtrail:UpdateTrail".into());
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    inject(&scenario, "StartLogging", usize::MAX, Fault::error(400, "InternalFailure", "later"));
    let (error, _) = scenario.expect_failure("stop-logging-by-name");
    assert_eq!(error.error_type, "Transient");
    assert!(error.error_message.contains("start logging"), "{error}");
}

#[test]
fn failed_rotation_is_alerted_before_a_lambda_retry() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| match call.operation.as_str() {
        "EnableKeyRotation" => Some(Fault::access_denied()),
        "UpdateTrail" => Some(Fault::throttled()),
        _ => None,
    });
    let (error, _) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(5));
    assert_eq!(error.error_type, "Transient");
    assert!(scenario.only_alert().message.contains("aws kms enable-key-rotation"), "{}", scenario.only_alert().message);
}

#[test]
fn steps_after_a_timeout_are_listed_as_planned() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| (call.operation == "CreateKey").then(|| Fault::Hang(Duration::from_secs(60))));
    let (_, invocation) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(3));
    assert_eq!(
        steps(&logged_answers(&invocation)[0]),
        ["create-key failed", "enable-rotation planned", "create-alias planned", "update-trail planned"]
    );
}

#[test]
fn logging_starts_even_if_update_trail_is_throttled() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").stopped(1_780_000_500));
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_RESTART_LOGGING", "true").start();
    inject(&scenario, "UpdateTrail", usize::MAX, Fault::throttled());
    scenario.expect_failure_within("stop-logging-by-name", Duration::from_secs(4));
    assert!(scenario.audit().logging);
}

#[test]
fn an_error_without_a_code_names_the_operation() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| (call.operation == "HeadBucket").then(Fault::internal));
    let (error, invocation) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(3));
    assert!(error.error_message.contains("HTTP 500"), "{error}");
    assert_eq!(logged_answers(&invocation)[0]["trails"][0]["error"]["operation"], "s3:HeadBucket");
}

#[test]
fn a_timeout_while_creating_a_key_is_transient() {
    let mut scenario = Scenario::enforce(account());
    scenario
        .aws
        .before(|call, _| (call.operation == "EnableKeyRotation").then(|| Fault::Hang(Duration::from_secs(60))));
    let (error, _) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(4));
    assert_eq!(error.error_type, "Transient");
    assert_eq!(scenario.only_alert().subject.as_deref(), Some("trailseal: a KMS key needs your attention"));
    assert_eq!(scenario.audit().kms_key_id, None);
}

#[test]
fn a_key_without_its_alias_is_reported_as_a_stray() {
    let mut world = account();
    world.denied.insert("kms:CreateAlias".into());
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    let key = scenario.aws.world().keys.keys().next().unwrap().clone();
    assert_eq!(answer["strays"][0]["key_arn"], json!(key));
    let command = answer["strays"][0]["command"].as_str().unwrap().to_owned();
    assert!(command.starts_with("aws kms schedule-key-deletion --region eu-central-1 --key-id "), "{command}");
    assert!(scenario.only_alert().message.contains(&command));
}

#[test]
fn a_missing_bucket_fails_without_a_write() {
    let mut world = account();
    world.buckets.clear();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &error["code"]), (&json!("terminal"), &json!("NoSuchBucket")), "{answer:#}");
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
}

#[test]
fn a_customer_key_with_a_gap_fails_with_the_statements() {
    let mut world = account();
    let key = world.key(Key::new("eu-central-1"));
    world.alias("eu-central-1", "alias/trailseal", &key);
    let before = world.keys[&key].policy.clone();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!(null)));
    assert!(error["message"].as_str().unwrap().contains("`kms:GenerateDataKey`"), "{error:#}");
    for part in ["CloudTrailEncrypts", "CloudTrailDescribes", "CloudTrailDecryptsForBucketKeys", &key] {
        assert!(error["remedy"].as_str().unwrap().contains(part), "{part}: {error:#}");
    }
    assert_eq!(steps(&answer), [""; 0]);
    assert_eq!(scenario.aws.world().keys[&key].policy, before);
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
}

#[test]
fn cloudtrails_refusal_of_a_key_lists_the_statements() {
    let mut world = account();
    let key = world.key(Key::new("eu-central-1"));
    world.keys.get_mut(&key).unwrap().denied.insert("kms:GetKeyPolicy".into());
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_KEY_ARNS", &key).start();
    let answer = scenario.invoke_event("update-trail-by-name");
    let error = &answer["trails"][0]["error"];
    assert_eq!(error["code"], "InsufficientEncryptionPolicyException");
    for part in ["CloudTrailEncrypts", "CloudTrailDescribes", "CloudTrailDecryptsForBucketKeys", &key] {
        assert!(error["remedy"].as_str().unwrap().contains(part), "{part}: {error:#}");
    }
    assert_eq!(steps(&answer), ["update-trail failed"]);
    assert_eq!(count_calls(&scenario, "UpdateTrail"), 1, "a refusal of an old key is not retried");
}

#[test]
fn eventual_consistency_is_retried() {
    let mut world = account();
    world.delays.key_visible_after = 2;
    world.delays.policy_effective_after = 2;
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(count_calls(&scenario, "CreateKey"), 1);
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_key_that_another_run_just_created_is_awaited() {
    let mut world = account();
    world.now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let key = add_sealing_key(&mut world, "eu-central-1");
    world.keys.get_mut(&key).unwrap().policy_pending_calls = 2;
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(count_calls(&scenario, "UpdateTrail"), 3);
}

#[test]
fn limit_exceeded_is_not_retried_as_throttling() {
    let mut scenario = Scenario::enforce(account());
    inject(&scenario, "CreateKey", usize::MAX, Fault::error(400, "LimitExceededException", "too long"));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(count_calls(&scenario, "CreateKey"), 1);
    assert_eq!(answer["trails"][0]["error"]["class"], "terminal");
}

#[test]
fn unreachable_aws_fails_within_the_deadline() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|_, _| Some(Fault::Hang(Duration::from_secs(60))));
    let (error, invocation) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(3));
    assert_eq!(error.error_type, "Transient");
    assert!(invocation.wall < Duration::from_secs(3), "{:?}", invocation.wall);
    assert!(error.error_message.contains("cannot read trail"), "{error}");
}

#[test]
fn every_log_line_has_the_request_id_at_any_level() {
    for level in ["INFO", "ERROR"] {
        let setting = Scenario::builder(account()).env("AWS_LAMBDA_LOG_LEVEL", level);
        let mut scenario = setting.start();
        scenario.aws.before(|call, _| (call.service == "sns").then(Fault::access_denied));
        scenario.invoke_event("update-trail-by-name");
        scenario.aws.clear_hooks();
        inject(&scenario, "GetTrail", usize::MAX, Fault::throttled());
        let (_, invocation) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(15));
        assert_request_id(&invocation);
        // The answer, and the error that the runtime logs.
        assert_eq!(invocation.logs.len(), 2, "{:#?}", invocation.logs);
        let denied = scenario.function.stdout().into_iter().find(|line| line.contains("cannot publish an alert"));
        assert!(denied.unwrap().contains(r#""requestId":"00000000-0000-4000-8000-000000000001""#));
    }
}
