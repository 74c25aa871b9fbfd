//! A trailseal key without an alias is adopted or is a stray.

use fake_aws::{Fault, Key, KeyState, Trail};
use serde_json::{Value, json};

use crate::support::{Scenario, account, now, sealed_account, sealing_policy, steps};

#[test]
fn a_key_in_use_without_its_alias_is_adopted_first() {
    let (mut world, key) = sealed_account();
    world.aliases.clear();
    world.add_trail(Trail::new("second", "eu-west-1", "audit-logs"));
    let older = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke(&json!({ "trail": "second", "region": "eu-west-1" }));
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(steps(&answer), ["adopt-key done", "enable-rotation done", "create-alias done", "update-trail done"]);
    assert_eq!(answer["trails"][0]["key_arn"], json!(key), "a key in use outranks the oldest");
    let world = scenario.aws.snapshot();
    assert_eq!(world.aliases.values().next().unwrap().target, key);
    assert_eq!(answer["strays"][0]["key_arn"], json!(older));
    assert_eq!(answer["strays"].as_array().unwrap().len(), 1);
    assert_eq!(world.keys.len(), 2);
}

#[test]
fn the_oldest_unfinished_key_is_adopted_others_are_strays() {
    let mut world = account();
    let made =
        |created| Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(created);
    let (young, old) = (world.key(made(1_700_000_500)), world.key(made(1_700_000_100)));
    let pending_deletion = world.key(made(1_600_000_000).state(KeyState::PendingDeletion));
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["key_arn"], json!(old));
    let strays: Vec<&str> =
        answer["strays"].as_array().unwrap().iter().map(|it| it["key_arn"].as_str().unwrap()).collect();
    assert_eq!(strays, [&young], "{pending_deletion} is pending deletion");
    assert!(answer["strays"][0]["caution"].as_str().unwrap().contains("cannot be read without it"));
    let message = scenario.only_alert().message;
    assert!(
        message.contains(&young) && message.contains("Before you remove it: no trail uses this key now"),
        "{message}"
    );
    assert_eq!(scenario.aws.world().keys[&old].rotation_days, Some(365));
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_key_with_only_the_tag_is_not_adopted() {
    let mut other_statement: Value = serde_json::from_str(&sealing_policy()).unwrap();
    other_statement["Statement"].as_array_mut().unwrap().push(
        json!({ "Sid": "ReaderAccountsDecrypt", "Effect": "Allow",
        "Principal": { "AWS": "arn:aws:iam::666666666666:root" }, "Action": "kms:Decrypt", "Resource": "*",
        "Condition": { "StringLike": { "kms:ViaService": "s3.*" } } }),
    );
    let ours = |policy: &str| Key::new("eu-central-1").policy(policy).tag("managed-by", "trailseal").created(1);
    for (what, key) in [
        ("a statement that trailseal would not write", ours(&other_statement.to_string())),
        ("KMS's default policy", ours("")),
        ("disabled", ours(&sealing_policy()).state(KeyState::Disabled)),
        ("a different tag value", Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "another-team")),
        ("asymmetric", ours(&sealing_policy()).spec("RSA_2048", "SIGN_VERIFY")),
        ("a grant", ours(&sealing_policy()).granted_to("arn:aws:iam::666666666666:role/stranger")),
        ("imported material", Key { origin: "EXTERNAL".into(), ..ours(&sealing_policy()) }),
        ("multi-Region", Key { multi_region: true, ..ours(&sealing_policy()) }),
    ] {
        let mut world = account();
        let key = world.key(key);
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(steps(&answer)[0], "create-key done", "{what}: {answer:#}");
        assert_ne!(answer["trails"][0]["key_arn"], json!(key), "{what}");
    }
}

#[test]
fn a_young_unaliased_key_is_not_a_stray() {
    let mut world = account();
    let made =
        |created| Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(created);
    let (old, _young) = (world.key(made(1_700_000_100)), world.key(made(now())));
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!((&answer["trails"][0]["key_arn"], &answer["strays"]), (&json!(old), &json!([])));
}

#[test]
fn a_key_with_any_alias_is_not_unfinished() {
    let mut world = account();
    let key = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    world.alias("eu-central-1", "alias/another-stack", &key);
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(steps(&answer)[0], "create-key done");
    assert_eq!(answer["strays"], json!([]));
}

#[test]
fn the_next_run_finishes_a_key_without_its_alias() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| (call.operation == "CreateAlias").then(Fault::access_denied));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    let key = answer["strays"][0]["key_arn"].as_str().unwrap().to_owned();
    scenario.aws.clear_hooks();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(answer["trails"][0]["key_arn"], json!(key));
    assert_eq!((answer["strays"].clone(), scenario.aws.world().keys.len()), (json!([]), 1));
}

#[test]
fn an_unreadable_tag_index_is_a_warning() {
    let mut scenario = Scenario::enforce(account());
    scenario.aws.before(|call, _| (call.operation == "GetResources").then(Fault::access_denied));
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    let warning = answer["trails"][0]["warnings"][0]["detail"].as_str().unwrap();
    assert!(warning.contains("tag:GetResources"), "{warning}");
}
