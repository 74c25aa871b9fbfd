//! What starts it, and what does not.

use serde_json::json;

use crate::support::{AUDIT, Scene, account, event, logged};

/// Every event file that is none of our business.
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
fn what_is_none_of_our_business_is_ignored_with_a_reason_and_without_a_call() {
    let mut scene = Scene::enforcing(account());
    for name in IGNORED {
        let answer = scene.event(name);
        assert!(!answer["ignored"].as_str().unwrap().is_empty(), "{name}");
        assert_eq!((&answer["trails"], &answer["summary"]), (&json!([]), &json!({})), "{name}");
        assert_eq!(scene.calls(), [""; 0], "{name}");
    }
}

#[test]
fn nonsense_is_an_error_in_our_words_without_a_call_and_the_next_event_is_served() {
    let mut scene = Scene::enforcing(account());
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
        let error = scene.function.invoke(payload).outcome.unwrap_err();
        assert_eq!(error.error_type, "InvalidInput", "{shown}: {error}");
        assert!(error.error_message.starts_with("invalid input: "), "{shown}: {error}");
        assert!(error.error_message.len() < 600, "{shown}: {error}");
        assert!(!error.error_message.contains("::"), "a Rust type in {error}");
    }
    for name in [
        "update-trail-malformed-name",
        "update-trail-malformed-arn",
        "update-trail-malformed-region",
        "ec2-state-change",
    ] {
        assert_eq!(scene.failure(name).0.error_type, "InvalidInput", "{name}");
    }
    assert_eq!(scene.calls(), [""; 0]);
    assert_eq!(scene.event("update-trail-by-name")["summary"], json!({ "remediated": 1 }));
}

#[test]
fn every_event_about_the_trail_seals_it_and_says_who_caused_it() {
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
        let mut scene = Scene::enforcing(account());
        let answer = scene.event(name);
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
fn the_trails_present_state_counts_and_not_what_the_event_says_of_it() {
    let mut scene = Scene::enforcing(account());
    scene.event("create-trail-console-empty-key");
    scene.again_nothing_happens("create-trail-console-empty-key");
    scene.again_nothing_happens("update-trail-console-by-arn");
}

#[test]
fn a_trail_that_was_deleted_meanwhile_is_gone() {
    let mut world = account();
    world.trails.clear();
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "gone": 1 }));
    assert_eq!(answer["trails"][0]["trail_arn"], AUDIT);
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
}

#[test]
fn an_error_is_logged_once_and_no_payload_with_it() {
    let mut scene = Scene::enforcing(account());
    let (_, invocation) = scene.failure("update-trail-malformed-name");
    assert_eq!(logged(&invocation).len(), 0);
    assert!(!invocation.logs.iter().any(|line| line.contains("AKIAEXAMPLE")), "{:#?}", invocation.logs);
}
