//! Errors that AWS returns for a reason of its own: eventual consistency, the alert topic's key, a bucket elsewhere.

use std::time::Duration;

use fake_aws::{Fault, Key, KeyState, Trail};
use serde_json::{Value, json};

use crate::support::{
    Scenario, account, add_sealing_key, count_calls, event, inject, sealed_account, sealing_policy, step, steps, writes,
};

const INVALID_PRINCIPALS: &str = "Policy contains a statement with one or more invalid principals.";
const ROLE_DENIED: &str = "Access denied. Check the permissions for your role.";

fn invalid_principals() -> Fault {
    Fault::error(400, "MalformedPolicyDocumentException", INVALID_PRINCIPALS)
}

fn log_role_denied() -> Fault {
    Fault::error(400, "InvalidCloudWatchLogsLogGroupArnException", ROLE_DENIED)
}

/// A policy with only the account root's statement.
fn stripped_policy() -> String {
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().truncate(1);
    policy.to_string()
}

/// The answer of an invocation with little time.
fn invoke_within(scenario: &mut Scenario, seconds: u64) -> Value {
    let event = event("update-trail-by-name").to_string();
    let invocation = scenario.function.invoke_within(event.as_bytes(), Duration::from_secs(seconds));
    invocation.outcome.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_throttled_alert_is_published_later() {
    for fault in [
        Fault::error(429, "Throttled", "Rate exceeded"),
        Fault::error(400, "Throttling", "Rate exceeded"),
        Fault::error(400, "KMSThrottling", "Rate exceeded"),
    ] {
        let mut scenario = Scenario::enforce(account());
        inject(&scenario, "Publish", 2, fault.clone());
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["alerts"], json!({ "sent": 1, "failed": 0 }), "{fault:?}");
        assert_eq!(count_calls(&scenario, "Publish"), 3, "{fault:?}");
        scenario.only_alert();
    }
}

#[test]
fn an_alert_refused_for_the_topics_key_logs_the_remedy() {
    for (code, remedy) in [
        ("KMSAccessDenied", "`TopicKeyStatement` to the policy of that key"),
        ("KMSDisabled", "enable the KMS key that encrypts the topic"),
        ("KMSInvalidState", "check the state of the KMS key that encrypts the topic"),
        ("KMSNotFound", "encrypt the topic with a KMS key that exists in `eu-west-1`"),
        ("KMSOptInRequired", "check the account that owns the KMS key that encrypts the topic"),
    ] {
        let mut scenario = Scenario::enforce(account());
        inject(&scenario, "Publish", usize::MAX, Fault::error(400, code, "null (Service: AWSKMS; Status Code: 400)"));
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!((&answer["summary"], &answer["alerts"]["failed"]), (&json!({ "remediated": 1 }), &json!(1)));
        assert_eq!(count_calls(&scenario, "Publish"), 1, "{code}");
        let logged = scenario.function.stdout();
        let line = logged.iter().find(|line| line.contains("cannot publish an alert to `arn:aws:sns:"));
        assert!(line.is_some_and(|line| line.contains(code) && line.contains(remedy)), "{code}: {logged:#?}");
    }
}

#[test]
fn a_bucket_that_moves_is_found_by_the_next_run() {
    for status in [301, 400] {
        let mut world = account();
        world.buckets.get_mut("audit-logs").unwrap().wrong_region_status = status;
        let mut scenario = Scenario::enforce(world);
        scenario.aws.before(|call, world| {
            if call.operation == "GetBucketPolicy" {
                world.buckets.get_mut("audit-logs").unwrap().region = "eu-west-1".into();
            }
            None
        });
        let (error, _) = scenario.expect_failure("update-trail-by-name");
        assert_eq!(error.error_type, "Transient");
        assert!(
            error.error_message.contains("cannot read the policy of bucket `audit-logs` in `eu-central-1`"),
            "{error}"
        );
        assert_eq!(writes(&scenario.aws.calls()), [""; 0]);
        assert_eq!(count_calls(&scenario, "GetBucketPolicy"), 1, "the same request would fail again");

        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
        assert!(scenario.audit().kms_key_id.unwrap().starts_with("arn:aws:kms:eu-west-1:"));
        scenario.aws.clear_hooks();
        scenario.assert_converged("update-trail-by-name");
    }
}

#[test]
fn a_bucket_in_a_disabled_region_prevents_writes() {
    for (code, remedy) in [
        ("InvalidToken", "enable `eu-central-1` for this account"),
        ("InvalidAccessKeyId", "check that `eu-central-1` is enabled for this account"),
        ("OptInRequired", "ask AWS Support why the account has no access"),
        ("SignatureDoesNotMatch", "check that no proxy between trailseal and AWS changes requests"),
    ] {
        let mut scenario = Scenario::enforce(account());
        inject(&scenario, "GetBucketPolicy", usize::MAX, Fault::error(400, code, "refused"));
        let answer = scenario.invoke_event("update-trail-by-name");
        let error = &answer["trails"][0]["error"];
        assert_eq!((&error["class"], &error["code"]), (&json!("terminal"), &json!(code)), "{answer:#}");
        assert!(error["remedy"].as_str().unwrap().contains(remedy), "{error:#}");
        assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    }
}

#[test]
fn a_conflicting_change_of_the_bucket_is_retried() {
    for (operation, code) in [
        ("GetBucketPolicy", "OperationAborted"),
        ("GetBucketReplication", "OperationAborted"),
        ("ListTags", "ResourceNotFoundException"),
    ] {
        let mut scenario = Scenario::enforce(account());
        inject(&scenario, operation, 2, Fault::error(409, code, "in progress"));
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{operation}: {answer:#}");
        assert_eq!(count_calls(&scenario, operation), 3);
    }
}

#[test]
fn a_403_without_a_code_names_action_and_resource() {
    for (operation, action, resource) in [
        ("UpdateTrail", "cloudtrail:UpdateTrail", "trail/audit"),
        ("GetTrail", "cloudtrail:GetTrail", "trail/audit"),
        ("CreateKey", "kms:CreateKey", "`eu-central-1`"),
    ] {
        let mut scenario = Scenario::enforce(account());
        inject(&scenario, operation, usize::MAX, Fault::Raw { status: 403, body: String::new() });
        let answer = scenario.invoke_event("update-trail-by-name");
        let error = &answer["trails"][0]["error"];
        assert_eq!((&error["class"], &error["code"]), (&json!("terminal"), &json!("HTTP 403")), "{answer:#}");
        assert!(error["message"].as_str().unwrap().contains(resource), "{error:#}");
        assert!(error["remedy"].as_str().unwrap().contains(&format!("allow `{action}`")), "{error:#}");
    }
    let mut scenario = Scenario::enforce(account());
    inject(&scenario, "GetBucketPolicy", usize::MAX, Fault::Raw { status: 403, body: String::new() });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["warnings"][0]["id"], "bucket-policy-unreadable", "{answer:#}");
}

#[test]
fn a_role_that_kms_does_not_know_yet_is_awaited() {
    let mut scenario = Scenario::enforce(account());
    inject(&scenario, "CreateKey", 2, invalid_principals());
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!((count_calls(&scenario, "CreateKey"), scenario.aws.world().keys.len()), (3, 1));
    scenario.assert_converged("update-trail-by-name");

    let (mut world, key) = sealed_account();
    world.keys.get_mut(&key).unwrap().policy = stripped_policy();
    let mut scenario = Scenario::enforce(world);
    inject(&scenario, "PutKeyPolicy", 2, invalid_principals());
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(steps(&answer), ["extend-key-policy done"], "{answer:#}");
    assert_eq!(count_calls(&scenario, "PutKeyPolicy"), 3);
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_role_that_kms_never_knows_is_reported() {
    let mut scenario = Scenario::enforce(account());
    inject(&scenario, "CreateKey", usize::MAX, invalid_principals());
    let answer = invoke_within(&mut scenario, 5);
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &answer["alerts"]["sent"]), (&json!("terminal"), &json!(1)), "{answer:#}");
    assert!(error["message"].as_str().unwrap().contains("invalid principals. (retried until"), "{error:#}");
    assert!(error["remedy"].as_str().unwrap().contains("`TRAILSEAL_ROLE_ARN`"), "{error:#}");
    assert!(count_calls(&scenario, "CreateKey") > 2 && scenario.aws.world().keys.is_empty());
}

#[test]
fn a_trails_new_log_role_is_awaited() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world.clone());
    inject(&scenario, "UpdateTrail", 2, log_role_denied());
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(count_calls(&scenario, "UpdateTrail"), 3);

    let mut scenario = Scenario::enforce(world);
    inject(&scenario, "UpdateTrail", usize::MAX, log_role_denied());
    let answer = invoke_within(&mut scenario, 5);
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &answer["alerts"]["sent"]), (&json!("terminal"), &json!(1)), "{answer:#}");
    assert!(error["message"].as_str().unwrap().contains(ROLE_DENIED), "{error:#}");
    assert!(error["remedy"].as_str().unwrap().contains("`logs:PutLogEvents`"), "{error:#}");
}

#[test]
fn a_restored_key_is_awaited_in_the_next_pass_too() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (KeyState::Disabled, stripped_policy());
    let mut scenario = Scenario::enforce(world);
    let enabled = std::sync::atomic::AtomicBool::new(false);
    let mut refusals = 2;
    scenario.aws.before(move |call, world| {
        match call.operation.as_str() {
            "EnableKey" => enabled.store(true, std::sync::atomic::Ordering::Relaxed),
            // Another principal restores the policy, which ends the pass.
            "GetKeyPolicy" if enabled.load(std::sync::atomic::Ordering::Relaxed) => {
                world.keys.values_mut().for_each(|key| key.policy = sealing_policy());
            }
            "UpdateTrail" if refusals > 0 => {
                refusals -= 1;
                return Some(Fault::error(400, "KmsException", "the key is disabled"));
            }
            _ => {}
        }
        None
    });
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(steps(&answer), ["restore-key done", "extend-key-policy not-needed", "update-trail done"]);
    assert_eq!(count_calls(&scenario, "UpdateTrail"), 3);
    scenario.assert_converged("update-trail-by-name");
}

/// The sealing key was just changed by an earlier run or another principal, of which KMS shows nothing.
#[test]
fn a_new_key_that_stays_invisible_to_cloudtrail_is_transient() {
    let mut scenario = Scenario::enforce(account());
    inject(&scenario, "UpdateTrail", usize::MAX, Fault::error(400, "KmsKeyNotFoundException", "no such key"));
    let (error, _) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(5));
    assert_eq!(error.error_type, "Transient");
    assert!(count_calls(&scenario, "UpdateTrail") > 1);
    scenario.aws.clear_hooks();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((&answer["summary"], scenario.aws.world().keys.len()), (&json!({ "remediated": 1 }), 1));
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_usable_key_that_cloudtrail_refuses_is_retried() {
    for code in
        ["KmsKeyNotFoundException", "InsufficientEncryptionPolicyException", "KmsException", "KmsKeyDisabledException"]
    {
        let mut world = account();
        add_sealing_key(&mut world, "eu-central-1");
        let mut scenario = Scenario::enforce(world);
        inject(&scenario, "UpdateTrail", 3, Fault::error(400, code, "not yet"));
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!((&answer["summary"], &answer["alerts"]["sent"]), (&json!({ "remediated": 1 }), &json!(1)), "{code}");
        assert_eq!((count_calls(&scenario, "UpdateTrail"), steps(&answer)), (4, vec!["update-trail done".to_owned()]));
        scenario.assert_converged("update-trail-by-name");
    }
    let mut world = account();
    let supplied = world.cloudtrail_key_policy();
    let key = world.key(Key { policy_pending_calls: 2, ..Key::new("eu-central-1").policy(&supplied) });
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_KEY_ARNS", &key).start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((&answer["summary"], count_calls(&scenario, "UpdateTrail")), (&json!({ "remediated": 1 }), 3));
}

#[test]
fn a_usable_key_that_cloudtrail_always_refuses_is_reported() {
    let mut world = account();
    add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::enforce(world);
    let refusal = Fault::error(400, "InsufficientEncryptionPolicyException", "insufficient permissions");
    inject(&scenario, "UpdateTrail", usize::MAX, refusal);
    let answer = invoke_within(&mut scenario, 5);
    let error = &answer["trails"][0]["error"];
    assert_eq!((&error["class"], &answer["alerts"]["sent"]), (&json!("terminal"), &json!(1)), "{answer:#}");
    assert!(error["message"].as_str().unwrap().contains("(retried until"), "{error:#}");
    assert!(error["remedy"].as_str().unwrap().contains("check that the bucket policy allows"), "{error:#}");
    assert!(count_calls(&scenario, "UpdateTrail") > 2);
}

#[test]
fn a_run_that_ends_after_a_repair_is_continued() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (KeyState::Disabled, stripped_policy());
    let mut scenario = Scenario::enforce(world);
    scenario.aws.before(|call, _| (call.operation == "UpdateTrail").then(|| Fault::Hang(Duration::from_secs(60))));
    let (error, _) = scenario.expect_failure_within("update-trail-by-name", Duration::from_secs(4));
    assert_eq!(error.error_type, "Transient");
    scenario.aws.clear_hooks();
    inject(&scenario, "UpdateTrail", 2, Fault::error(400, "KmsKeyDisabledException", "the key is disabled"));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((&answer["summary"], steps(&answer)), (&json!({ "remediated": 1 }), vec!["update-trail done".into()]));
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn rotation_waits_until_kms_shows_the_new_key_enabled() {
    for code in ["DisabledException", "NotFoundException"] {
        let mut scenario = Scenario::enforce(account());
        inject(&scenario, "EnableKeyRotation", 2, Fault::error(400, code, "the key is not enabled"));
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(step(&answer, "enable-rotation")["status"], "done", "{answer:#}");
        assert!(scenario.aws.world().keys.values().all(|key| key.rotation_days == Some(365)));
    }
}

#[test]
fn an_empty_setting_equals_an_absent_one() {
    for topic in [None, Some("arn:aws:sns:eu-west-1:123456789012:news".to_owned())] {
        let mut world = account();
        add_sealing_key(&mut world, "eu-central-1");
        let mut trail = Trail::new("audit", "eu-west-1", "audit-logs");
        trail.sns_topic_arn = topic;
        world.add_trail(trail);
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    }
}
