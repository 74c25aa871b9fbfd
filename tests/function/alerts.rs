//! A message that a person can act on without opening a console.

use fake_aws::Fault;
use serde_json::{Value, json};

use crate::support::{ALIAS, AUDIT, Scene, Setting, account};

#[test]
fn the_alert_says_what_was_wrong_who_caused_it_what_was_done_and_what_it_costs() {
    let mut scene = Scene::enforcing(account());
    let answer = scene.event("create-trail-terraform");
    assert_eq!(answer["alerts"], json!({ "sent": 1, "failed": 0 }));
    let alert = scene.only_alert();
    assert_eq!(alert.subject.as_deref(), Some("trailseal: trail audit is now encrypted with a customer-managed key"));
    let key = scene.audit().kms_key_id.unwrap();
    for part in [
        AUDIT,
        "no-cmk",
        "arn:aws:iam::123456789012:user/ops/ann",
        "terraform-provider-aws/6.20.0",
        "CreateTrail",
        "create-key (done)",
        "update-trail (done)",
        &key,
        ALIAS,
        "$1 a month",
        "kms:Decrypt",
        "What to do next:",
    ] {
        assert!(alert.message.contains(part), "{part} is not in\n{}", alert.message);
    }
    let expected = [("mode", "enforce"), ("outcome", "remediated"), ("region", "eu-west-1"), ("trail_arn", AUDIT)];
    assert_eq!(alert.attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn a_dry_runs_alert_says_that_nothing_was_changed_and_how_to_have_it_done() {
    let mut scene = Setting::new(account()).dry_run().start();
    scene.event("update-trail-by-name");
    let alert = scene.only_alert();
    for part in ["nothing was changed", "Mode=enforce", "trailseal:exempt", "What would be done:", "$1 a month"] {
        assert!(alert.message.contains(part), "{part} is not in\n{}", alert.message);
    }
    assert_eq!(alert.attributes["outcome"], "planned");
}

#[test]
fn the_alert_for_chat_is_the_json_that_amazon_q_developer_takes() {
    let mut scene = Setting::new(account()).with("TRAILSEAL_ALERT_FORMAT", "chatbot").start();
    scene.event("update-trail-by-name");
    let message: Value = serde_json::from_str(&scene.only_alert().message).unwrap();
    assert_eq!((&message["version"], &message["source"]), (&json!("1.0"), &json!("custom")));
    assert_eq!(message["content"]["textType"], "client-markdown");
    assert!(message["content"]["description"].as_str().unwrap().contains(AUDIT));
}

#[test]
fn an_alert_that_is_refused_is_counted_and_changes_nothing_else() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| (call.service == "sns").then(Fault::access_denied));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 1 }));
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert!(scene.audit().kms_key_id.is_some());
    assert!(scene.function.stdout().iter().any(|line| line.contains("cannot publish an alert")));
}

#[test]
fn without_a_topic_nothing_is_published() {
    let mut scene = Setting::new(account()).with("TRAILSEAL_ALERT_TOPIC_ARN", "").start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
    assert!(!scene.calls().contains(&"sns:Publish".to_owned()));
}
