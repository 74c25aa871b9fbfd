//! The role has the rights that the function needs, and no others: every call of every decision, and of the
//! few scenes here, was judged by the role's policies together with the keys' and buckets'.

use std::collections::BTreeSet;
use std::path::Path;

use fake_aws::{Authorization, Key, Statement, Topic, Trail};
use serde_json::json;

use crate::decisions::plays;
use crate::role;
use crate::support::{Setting, TOPIC, account, sealed};

/// What others do as this role, on the function's behalf.
const BY_OTHERS: [(&str, &str); 4] = [
    ("events:PutEvents", "Lambda sends answers to the stack's bus, from which they go to `OutcomeBusArn`"),
    ("logs:CreateLogStream", "Lambda keeps what the function writes"),
    ("logs:PutLogEvents", "Lambda keeps what the function writes"),
    ("sqs:SendMessage", "Lambda parks events that failed for good"),
];

/// Every call, with its mode.
fn asked() -> Vec<(&'static str, Authorization)> {
    let mut asked = plays().asked.clone();
    for mode in ["dry-run", "enforce"] {
        let scenes = [sweep(mode), encrypted_topic(mode)];
        asked.extend(scenes.into_iter().flatten().map(|asked| (mode, asked)));
    }
    asked
}

/// A sweep looks at every trail; one's bucket is where the trail is.
fn sweep(mode: &str) -> Vec<Authorization> {
    let world = sealed().0.bucket("near", "eu-west-1").trail(Trail::new("near", "eu-west-1", "near"));
    let mut scene = Setting::new(world).with("TRAILSEAL_MODE", mode).start();
    let answer = scene.answer(&json!({ "sweep": {} }));
    assert!(answer["summary"]["compliant"] == 1 && answer["summary"]["failed"].is_null(), "{answer:#}");
    scene.aws.authorizations()
}

/// An alert to a topic that is encrypted with the account's own key, whose policy leaves it to IAM.
fn encrypted_topic(mode: &str) -> Vec<Authorization> {
    let mut world = account();
    let key = world.key(Key::new("eu-west-1"));
    world.topics.insert(TOPIC.into(), Topic { key_arn: Some(key.clone()), ..Topic::default() });
    let mut scene = Setting::new(world).with("TRAILSEAL_MODE", mode).parameter("TopicKeyArn", &key).start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["alerts"], json!({ "sent": 1, "failed": 0 }), "{answer:#}");
    scene.aws.authorizations()
}

/// Whether an action of IAM's names fits one that a policy lists.
fn fits(listed: &str, action: &str) -> bool {
    listed.strip_suffix('*').map_or(listed == action, |beginning| action.starts_with(beginning))
}

fn is_write(action: &str) -> bool {
    let (service, name) = action.split_once(':').unwrap();
    let reads = ["Describe", "Get", "List"].iter().any(|verb| name.starts_with(verb));
    // With a topic's key, SNS encrypts an alert; that is no change to anything.
    let uses = ["Decrypt", "GenerateDataKey"].contains(&name);
    ["cloudtrail", "kms"].contains(&service) && !reads && !uses
}

#[test]
fn every_call_is_allowed_in_its_mode() {
    let asked = asked();
    let refused: BTreeSet<&str> = asked
        .iter()
        .filter(|(_, asked)| !asked.decision.is_allowed())
        .map(|(_, asked)| asked.request.action.as_str())
        .collect();
    // No less either: what is allowed by now is no exception any more.
    assert_eq!(refused, role::REFUSED.iter().map(|(action, _)| *action).collect());

    // And the scenes make every call that there is in the code.
    let made: BTreeSet<String> = asked.iter().map(|(_, asked)| asked.operation.replace("tagging:", "tag:")).collect();
    assert_eq!(made, operations(&root().join("src/aws")));
}

/// Every operation that a file, or one in a folder, names like `kms:CreateKey`, tests left out.
fn operations(path: &Path) -> BTreeSet<String> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let sources = entries.filter(|path| path.file_name().is_none_or(|it| it != "tests.rs" && it != "error.rs"));
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
fn every_right_that_the_role_has_is_used() {
    let asked = asked();
    let used: BTreeSet<(&Statement, &str)> = asked
        .iter()
        .flat_map(|(_, asked)| asked.decision.allowed_by.iter().map(|by| (by, asked.request.action.as_str())))
        .collect();
    let unused: BTreeSet<(Statement, String)> = role::allowed_actions()
        .into_iter()
        .filter(|(statement, listed)| !used.iter().any(|(by, action)| *by == statement && fits(listed, action)))
        .collect();
    let by_others = |action: &str| BY_OTHERS.iter().any(|(others, _)| *others == action);
    let superfluous: Vec<_> = unused.iter().filter(|(_, action)| !by_others(action)).collect();
    assert!(superfluous.is_empty(), "no scene needs these: {superfluous:#?}");
    for (action, who) in BY_OTHERS {
        assert!(unused.iter().any(|(_, unused)| unused == action), "{action} ({who}) is not there or is used here");
    }
}

#[test]
fn another_function_that_was_given_the_role_may_do_none_of_it() {
    let another = role::FUNCTION.replace("trailseal", "another");
    for (mode, asked) in asked() {
        let question = asked.request.clone().with("lambda:SourceFunctionArn", &another);
        let policies = role::in_mode(mode, &role::Texts::new());
        let decision = Authorization { request: question, ..asked }.under(&policies);
        assert!(matches!(decision.denied_by, Some(Statement::Identity { .. })), "{decision:?}");
    }
}

#[test]
fn in_dry_run_every_write_is_explicitly_denied() {
    let asked = asked();
    let writes_of = |mode: &str| {
        let writes = asked.iter().filter(|(of, asked)| *of == mode && is_write(&asked.request.action));
        writes.map(|(_, asked)| asked).collect::<Vec<_>>()
    };
    assert_eq!(writes_of("dry-run"), Vec::<&Authorization>::new(), "nothing is even tried");
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
    let mut known = operations(&root().join("src/aws/write.rs"));
    // Asked for beside CreateKey.
    known.insert("kms:TagResource".into());
    assert_eq!(actions, known);
}
