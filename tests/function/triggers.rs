//! Events and requests: which start a run, and which are ignored or rejected.

use serde_json::json;

use crate::support::{AUDIT, Scenario, account, event, logged_answers};

/// The event files that are ignored.
const IGNORED: [&str; 10] = [
    "console-sign-in",
    "update-trail-nothing-named",
    "stop-logging-failed",
    "update-trail-denied",
    "update-trail-vpc-endpoint",
    "update-trail-other-account",
    "delete-trail",
    "put-event-selectors",
    "get-trail",
    "run-instances",
];

#[test]
fn unrelated_events_are_ignored_without_a_call() {
    let mut scenario = Scenario::enforce(account());
    for name in IGNORED {
        let answer = scenario.invoke_event(name);
        assert!(!answer["ignored"].as_str().unwrap().is_empty(), "{name}");
        assert_eq!((&answer["trails"], &answer["summary"]), (&json!([]), &json!({})), "{name}");
        assert_eq!(scenario.take_calls(), [""; 0], "{name}");
    }
}

#[test]
fn malformed_input_is_rejected_without_a_call() {
    let mut scenario = Scenario::enforce(account());
    let payloads: [&[u8]; 12] = [
        b"",
        b"nonsense",
        b"{\"trail\":",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"42",
        b"\"audit\"",
        b"{}",
        b"{\"key1\": \"value1\"}",
        &[b'['; 5000],
        b"{\"trail\": \"audit\", \"region\": \"Ireland\"}",
    ];
    for payload in payloads {
        let shown = String::from_utf8_lossy(payload).chars().take(40).collect::<String>();
        let error = scenario.function.invoke(payload).outcome.unwrap_err();
        assert_eq!(error.error_type, "InvalidInput", "{shown}: {error}");
        assert!(error.error_message.starts_with("invalid input: "), "{shown}: {error}");
        assert!(error.error_message.len() < 600, "{shown}: {error}");
        assert!(!error.error_message.contains("::"), "{error} contains a Rust type");
    }
    for name in [
        "update-trail-malformed-name",
        "update-trail-malformed-arn",
        "update-trail-malformed-region",
        "ec2-state-change",
    ] {
        assert_eq!(scenario.expect_failure(name).0.error_type, "InvalidInput", "{name}");
    }
    assert_eq!(scenario.take_calls(), [""; 0]);
    assert_eq!(scenario.invoke_event("update-trail-by-name")["summary"], json!({ "remediated": 1 }));
}

#[test]
fn every_trail_event_seals_the_trail_and_names_the_actor() {
    for (name, actor) in [
        ("create-trail-terraform", json!("arn:aws:iam::123456789012:user/ops/ann")),
        ("create-trail-console-empty-key", json!("arn:aws:sts::123456789012:assumed-role/admin/ann")),
        ("create-trail-with-key", json!("arn:aws:sts::123456789012:assumed-role/deployer/deploy")),
        ("update-trail-console-by-arn", json!("arn:aws:iam::123456789012:root")),
        ("update-trail-parameters-left-out", json!("arn:aws:sts::123456789012:assumed-role/deployer/deploy")),
        ("update-trail-parameters-null", json!("arn:aws:sts::123456789012:assumed-role/deployer/deploy")),
        ("stop-logging-by-name", json!("94482488-3041-7045-1234-example00001")),
        ("stop-logging-by-arn", json!("arn:aws:iam::123456789012:user/ops/ann")),
        ("start-logging-by-service", json!("cloudtrail.amazonaws.com")),
        ("request-by-name", json!(null)),
        ("request-by-arn", json!(null)),
    ] {
        let mut scenario = Scenario::enforce(account());
        let answer = scenario.invoke_event(name);
        assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{name}: {answer:#}");
        assert_eq!(answer["trails"][0]["trail_arn"], AUDIT);
        assert_eq!(answer["trigger"]["actor"], actor, "{name}");
        let input = event(name);
        assert_eq!(answer["trigger"]["event_id"], input["detail"]["eventID"], "{name}");
        let kind = input["detail"]["eventName"].as_str().unwrap_or("request");
        assert_eq!(answer["trigger"]["kind"], kind);
    }
}

#[test]
fn the_current_state_decides_not_the_event() {
    let mut scenario = Scenario::enforce(account());
    scenario.invoke_event("create-trail-console-empty-key");
    scenario.assert_converged("create-trail-console-empty-key");
    scenario.assert_converged("update-trail-console-by-arn");
}

#[test]
fn a_deleted_trail_is_gone() {
    let mut world = account();
    world.trails.clear();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "gone": 1 }));
    assert_eq!(answer["trails"][0]["trail_arn"], AUDIT);
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
}

#[test]
fn an_error_is_logged_once_without_the_payload() {
    let mut scenario = Scenario::enforce(account());
    let (_, invocation) = scenario.expect_failure("update-trail-malformed-name");
    assert_eq!(logged_answers(&invocation).len(), 0);
    assert!(!invocation.logs.iter().any(|line| line.contains("AKIAEXAMPLE")), "{:#?}", invocation.logs);
}
