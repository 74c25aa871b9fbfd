//! The role has exactly the permissions that the function needs. The fake authorizes every call of the decision table
//! and of the scenarios below with the role's policies and the resource policies.

use std::collections::BTreeSet;
use std::path::Path;

use fake_aws::{Authorization, Key, Statement, Topic, Trail};
use serde_json::json;

use crate::decisions::table_run;
use crate::role;
use crate::support::{Scenario, TOPIC, account, sealed_account};

/// What AWS services do with this role on the function's behalf.
const USED_BY_SERVICES: [(&str, &str); 4] = [
    ("events:PutEvents", "Lambda sends answers to the stack's bus, which forwards them to `OutcomeBusArn`"),
    ("logs:CreateLogStream", "Lambda stores the function's log"),
    ("logs:PutLogEvents", "Lambda stores the function's log"),
    ("sqs:SendMessage", "Lambda moves events that failed finally to the queue"),
];

/// Every authorized call, with its mode.
fn authorizations() -> Vec<(&'static str, Authorization)> {
    let mut authorizations = table_run().authorizations.clone();
    for mode in ["dry-run", "enforce"] {
        let scenarios = [sweep(mode), encrypted_topic(mode)];
        authorizations.extend(scenarios.into_iter().flatten().map(|it| (mode, it)));
    }
    authorizations
}

/// A sweep over a trail whose bucket is in another Region and one whose bucket is in its own.
fn sweep(mode: &str) -> Vec<Authorization> {
    let world = sealed_account().0.bucket("near", "eu-west-1").trail(Trail::new("near", "eu-west-1", "near"));
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_MODE", mode).start();
    let answer = scenario.invoke(&json!({ "sweep": {} }));
    assert!(answer["summary"]["compliant"] == 1 && answer["summary"]["failed"].is_null(), "{answer:#}");
    scenario.aws.authorizations()
}

/// An alert to a topic encrypted with a customer managed key whose policy delegates to IAM.
fn encrypted_topic(mode: &str) -> Vec<Authorization> {
    let mut world = account();
    let key = world.key(Key::new("eu-west-1"));
    world.topics.insert(TOPIC.into(), Topic { key_arn: Some(key.clone()), ..Topic::default() });
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_MODE", mode).parameter("TopicKeyArn", &key).start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["alerts"], json!({ "sent": 1, "failed": 0 }), "{answer:#}");
    scenario.aws.authorizations()
}

/// Whether a policy's action pattern matches an action.
fn matches(listed: &str, action: &str) -> bool {
    listed.strip_suffix('*').map_or(listed == action, |beginning| action.starts_with(beginning))
}

fn is_write(action: &str) -> bool {
    let (service, name) = action.split_once(':').unwrap();
    let reads = ["Describe", "Get", "List"].iter().any(|verb| name.starts_with(verb));
    // SNS encrypts an alert with the topic's key, which changes nothing.
    let uses = ["Decrypt", "GenerateDataKey"].contains(&name);
    ["cloudtrail", "kms"].contains(&service) && !reads && !uses
}

#[test]
fn every_call_is_allowed_in_its_mode() {
    let authorizations = authorizations();
    let refused: BTreeSet<&str> = authorizations
        .iter()
        .filter(|(_, call)| !call.decision.is_allowed())
        .map(|(_, call)| call.request.action.as_str())
        .collect();
    // Equality also detects exceptions that are no longer needed.
    assert_eq!(refused, role::DENIED.iter().map(|(action, _)| *action).collect());

    // The scenarios make every call that the code contains.
    let made: BTreeSet<String> =
        authorizations.iter().map(|(_, call)| call.operation.replace("tagging:", "tag:")).collect();
    assert_eq!(made, operations(&root().join("src/aws")));
}

/// Every operation that the sources under a path name, like `kms:CreateKey`, without tests.
fn operations(path: &Path) -> BTreeSet<String> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let sources = entries.filter(|path| path.file_name().is_none_or(|it| it != "tests.rs" && it != "errors"));
        return sources.flat_map(|path| operations(&path)).collect();
    }
    let source = std::fs::read_to_string(path).unwrap();
    let quoted = source.split('"').filter_map(|text| text.split_once(':'));
    let named = quoted.filter(|(service, name)| {
        ["cloudtrail", "kms", "s3", "sns", "tag"].contains(service)
            && name.starts_with(char::is_uppercase)
            && name.chars().all(char::is_alphanumeric)
    });
    named.map(|(service, name)| format!("{service}:{name}")).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_permission_of_the_role_is_used() {
    let authorizations = authorizations();
    let used: BTreeSet<(&Statement, &str)> = authorizations
        .iter()
        .flat_map(|(_, call)| call.decision.allowed_by.iter().map(|by| (by, call.request.action.as_str())))
        .collect();
    let unused: BTreeSet<(Statement, String)> = role::allowed_actions()
        .into_iter()
        .filter(|(statement, listed)| !used.iter().any(|(by, action)| *by == statement && matches(listed, action)))
        .collect();
    let used_by_service = |action: &str| USED_BY_SERVICES.iter().any(|(used, _)| *used == action);
    let superfluous: Vec<_> = unused.iter().filter(|(_, action)| !used_by_service(action)).collect();
    assert!(superfluous.is_empty(), "no scenario needs these: {superfluous:#?}");
    for (action, reason) in USED_BY_SERVICES {
        assert!(
            unused.iter().any(|(_, unused)| unused == action),
            "{action} ({reason}) is absent or used by a scenario"
        );
    }
}

#[test]
fn another_function_with_the_role_is_denied() {
    let another = role::FUNCTION.replace("trailseal", "another");
    for (mode, call) in authorizations() {
        let request = call.request.clone().with("lambda:SourceFunctionArn", &another);
        let policies = role::in_mode(mode, &role::Texts::new());
        let decision = Authorization { request, ..call }.under(&policies);
        assert!(matches!(decision.denied_by, Some(Statement::Identity { .. })), "{decision:?}");
    }
}

#[test]
fn in_dry_run_every_write_is_explicitly_denied() {
    let authorizations = authorizations();
    let writes_of = |mode: &str| {
        let writes = authorizations.iter().filter(|(of, call)| *of == mode && is_write(&call.request.action));
        writes.map(|(_, call)| call).collect::<Vec<_>>()
    };
    assert_eq!(writes_of("dry-run"), Vec::<&Authorization>::new(), "no write is attempted");
    let policies = role::in_mode("dry-run", &role::Texts::new());
    let writes = writes_of("enforce");
    for write in &writes {
        let decision = write.under(&policies);
        assert!(
            matches!(decision.denied_by, Some(Statement::Identity { .. })),
            "{}: {decision:?}",
            write.request.action
        );
    }
    let actions: BTreeSet<String> = writes.iter().map(|write| write.request.action.clone()).collect();
    let mut known: BTreeSet<String> =
        operations(&root().join("src/aws")).into_iter().filter(|operation| is_write(operation)).collect();
    // CreateKey requires it too.
    known.insert("kms:TagResource".into());
    assert_eq!(actions, known);
}
