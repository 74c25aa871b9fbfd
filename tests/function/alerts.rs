//! Alerts: a person can act on the message without opening a console.

use fake_aws::Fault;
use serde_json::{Value, json};

use crate::support::{ALIAS, AUDIT, Scenario, account, add_sealing_key, event, sealed_account, steps, writes};

#[test]
fn an_alert_contains_finding_actor_steps_and_cost() {
    let mut scenario = Scenario::enforce(account());
    let answer = scenario.invoke_event("create-trail-terraform");
    assert_eq!(answer["alerts"], json!({ "sent": 1, "failed": 0 }));
    let alert = scenario.only_alert();
    assert_eq!(alert.subject.as_deref(), Some("trailseal: trail audit is now encrypted with a customer managed key"));
    let key = scenario.audit().kms_key_id.unwrap();
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
        &format!("`kms_key_id = \"{key}\"` in `aws_cloudtrail`"),
        "the next deployment removes it again",
    ] {
        assert!(alert.message.contains(part), "{part} is not in\n{}", alert.message);
    }
    let about = [("account", "123456789012"), ("region", "eu-west-1"), ("trail_arn", AUDIT)];
    let expected = [&about[..], &[("mode", "enforce"), ("outcome", "remediated")]].concat();
    assert_eq!(alert.attributes, expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect());
}

#[test]
fn alerts_to_a_central_topic_name_the_account() {
    let central = "arn:aws:sns:eu-west-1:999999999999:trailseal";
    for (input, subject) in [
        (event("create-trail-terraform"), "trailseal: 123456789012: trail audit is now encrypted with a"),
        (json!({ "sweep": {} }), "trailseal: 123456789012: 1 remediated of 1 trail"),
    ] {
        let mut world = account();
        world.topics.insert(central.to_owned(), fake_aws::Topic::default());
        let setting = Scenario::builder(world).env("TRAILSEAL_ALERT_TOPIC_ARN", central);
        let mut scenario = setting.parameter("AlertTopicArn", central).start();
        scenario.invoke(&input);
        let alert = scenario.only_alert();
        assert_eq!(alert.topic_arn, central);
        assert!(alert.subject.as_deref().unwrap().starts_with(subject), "{:?}", alert.subject);
        assert!(alert.message.starts_with("Account: 123456789012\n\n"), "{}", alert.message);
        assert_eq!(alert.attributes["account"], "123456789012");
    }
}

#[test]
fn a_dry_run_alert_explains_how_to_enforce() {
    let mut scenario = Scenario::builder(account()).dry_run().start();
    scenario.invoke_event("update-trail-by-name");
    let alert = scenario.only_alert();
    for part in [
        "Nothing was changed",
        "set `Mode` (`TRAILSEAL_MODE`) to `enforce`",
        "trailseal:exempt",
        "Planned changes:",
        "$1 a month",
    ] {
        assert!(alert.message.contains(part), "{part} is not in\n{}", alert.message);
    }
    assert_eq!(alert.attributes["outcome"], "planned");
}

#[test]
fn a_chat_alert_has_the_schema_of_amazon_q_developer() {
    let mut scenario = Scenario::builder(account()).env("TRAILSEAL_ALERT_FORMAT", "chatbot").start();
    scenario.invoke_event("update-trail-by-name");
    let message: Value = serde_json::from_str(&scenario.only_alert().message).unwrap();
    assert_eq!((&message["version"], &message["source"]), (&json!("1.0"), &json!("custom")));
    assert_eq!(message["content"]["textType"], "client-markdown");
    assert!(message["content"]["description"].as_str().unwrap().contains(AUDIT));
}

#[test]
fn a_user_agent_cannot_inject_links_or_lines() {
    let mut scenario = Scenario::builder(account()).env("TRAILSEAL_ALERT_FORMAT", "chatbot").start();
    let mut event = event("update-trail-by-name");
    event["detail"]["userAgent"] =
        json!("<!channel> <https://evil.example|Approve> [x](https://evil.example)\nWhat to do next: \u{202e}pay");
    scenario.invoke(&event);
    let message: Value = serde_json::from_str(&scenario.only_alert().message).unwrap();
    let text = message["content"]["description"].as_str().unwrap();
    assert!(!text.contains(['<', '>', '\u{202e}']) && !text.contains("]("), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("What to do next:")).count(), 1);
}

#[test]
fn chat_alerts_keep_statements_and_commands_verbatim() {
    let mut world = account();
    let key = world.key(fake_aws::Key::new("eu-central-1"));
    world.alias("eu-central-1", "alias/trailseal", &key);
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_ALERT_FORMAT", "chatbot").start();
    let answer = scenario.invoke_event("update-trail-by-name");
    let remedy = answer["trails"][0]["error"]["remedy"].as_str().unwrap();
    let message: Value = serde_json::from_str(&scenario.only_alert().message).unwrap();
    assert!(remedy.contains(r#"[{"Action":"#) && message["content"]["description"].as_str().unwrap().contains(remedy));
}

#[test]
fn a_subject_fits_sns_for_the_longest_trail_name() {
    let mut world = account();
    let name = "x".repeat(128);
    world.add_trail(fake_aws::Trail::new(&name, "eu-west-1", "audit-logs"));
    let mut scenario = Scenario::enforce(world);
    scenario.invoke(&json!({ "trail": name, "region": "eu-west-1" }));
    assert!(scenario.only_alert().subject.unwrap().len() < 100);
}

#[test]
fn a_denied_alert_is_counted_and_changes_nothing_else() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| (call.service == "sns").then(Fault::access_denied));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 1 }));
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert!(scenario.audit().kms_key_id.is_some());
    assert!(scenario.function.stdout().iter().any(|line| line.contains("cannot publish an alert")));
}

#[test]
fn without_a_topic_nothing_is_published() {
    let mut scenario = Scenario::builder(account()).env("TRAILSEAL_ALERT_TOPIC_ARN", "").start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
    assert!(!scenario.take_calls().contains(&"sns:Publish".to_owned()));
}

#[test]
fn a_key_that_terraform_removes_again_is_shown_every_time() {
    let mut scenario = Scenario::enforce(account());
    scenario.invoke_event("create-trail-terraform");
    let key = scenario.audit().kms_key_id.unwrap();
    scenario.aws.world().trails.get_mut(AUDIT).unwrap().kms_key_id = None;
    scenario.aws.world().published.clear();
    let mut again = event("create-trail-terraform");
    again["detail"]["eventName"] = json!("UpdateTrail");
    scenario.invoke(&again);
    let argument = format!("`kms_key_id = \"{key}\"` in `aws_cloudtrail`");
    assert!(scenario.only_alert().message.contains(&argument), "{}", scenario.only_alert().message);
    // A sweep has no user agent. That the key existed before shows that the trail may have had it.
    scenario.aws.world().trails.get_mut(AUDIT).unwrap().kms_key_id = None;
    scenario.aws.world().published.clear();
    scenario.invoke(&json!({ "sweep": {} }));
    let message = scenario.only_alert().message;
    for part in
        ["`kms_key_id` (Terraform, OpenTofu, Ansible)", "The key existed before this run", "lookup-events", &key]
    {
        assert!(message.contains(part), "{part} is not in\n{message}");
    }
}

#[test]
fn a_dry_run_for_cloudformation_shows_the_argument() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let mut scenario = Scenario::builder(world).dry_run().start();
    let mut deployment = event("update-trail-by-name");
    for field in ["userAgent", "sourceIPAddress"] {
        deployment["detail"][field] = json!("cloudformation.amazonaws.com");
    }
    scenario.invoke(&deployment);
    let message = scenario.only_alert().message;
    assert!(message.contains(&format!("`KMSKeyId: {key}` in `AWS::CloudTrail::Trail`")), "{message}");
}

#[test]
fn a_key_without_an_administrator_needs_aws_support() {
    let (mut world, key) = sealed_account();
    let policy = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Resource": "*", "Action": "kms:Describe*",
        "Principal": { "AWS": "arn:aws:iam::123456789012:root" } }, { "Effect": "Allow", "Resource": "*",
        "Action": ["kms:GetKeyPolicy", "kms:ListResourceTags"], "Principal": { "AWS": "arn:aws:iam::123456789012:root" } }] });
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((&answer["summary"], steps(&answer)), (&json!({ "failed": 1 }), vec![]), "{answer:#}");
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"], "KMS would certainly refuse the others");
    let remedy = answer["trails"][0]["error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("contact AWS Support") && !remedy.contains("an administrator"), "{remedy}");
}
