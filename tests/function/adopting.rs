//! A key of ours without an alias is finished, or is a stray.

use fake_aws::{Fault, Key, KeyState, Trail};
use serde_json::{Value, json};

use crate::support::{Scene, account, now, sealed, sealing_policy, steps};

#[test]
fn a_key_in_use_whose_alias_was_deleted_is_found_and_gets_it_back() {
    let (mut world, key) = sealed();
    world.aliases.clear();
    world.add_trail(Trail::new("second", "eu-west-1", "audit-logs"));
    let older = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    let mut scene = Scene::enforcing(world);
    let answer = scene.answer(&json!({ "trail": "second", "region": "eu-west-1" }));
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(steps(&answer), ["adopt-key done", "enable-rotation done", "create-alias done", "update-trail done"]);
    assert_eq!(answer["trails"][0]["key_arn"], json!(key), "the one that a trail uses before the oldest");
    let world = scene.aws.snapshot();
    assert_eq!(world.aliases.values().next().unwrap().target, key);
    assert_eq!(answer["strays"][0]["key_arn"], json!(older));
    assert_eq!(answer["strays"].as_array().unwrap().len(), 1);
    assert_eq!(world.keys.len(), 2);
}

#[test]
fn the_oldest_unfinished_key_is_adopted_and_the_others_are_strays() {
    let mut world = account();
    let made =
        |created| Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(created);
    let (young, old) = (world.key(made(1_700_000_500)), world.key(made(1_700_000_100)));
    let doomed = world.key(made(1_600_000_000).state(KeyState::PendingDeletion));
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["key_arn"], json!(old));
    let strays: Vec<&str> =
        answer["strays"].as_array().unwrap().iter().map(|it| it["key_arn"].as_str().unwrap()).collect();
    assert_eq!(strays, [&young], "{doomed} is being deleted");
    assert!(answer["strays"][0]["caution"].as_str().unwrap().contains("nobody can read them any more without it"));
    let message = scene.only_alert().message;
    assert!(message.contains(&young) && message.contains("Think first: no trail uses it now"), "{message}");
    assert_eq!(scene.aws.world().keys[&old].rotation_days, Some(365));
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn a_key_that_only_bears_our_tag_is_not_adopted() {
    let mut hostile: Value = serde_json::from_str(&sealing_policy()).unwrap();
    hostile["Statement"].as_array_mut().unwrap().push(json!({ "Sid": "ReaderAccountsDecrypt", "Effect": "Allow",
        "Principal": { "AWS": "arn:aws:iam::666666666666:root" }, "Action": "kms:Decrypt", "Resource": "*",
        "Condition": { "StringLike": { "kms:ViaService": "s3.*" } } }));
    let ours = |policy: &str| Key::new("eu-central-1").policy(policy).tag("managed-by", "trailseal").created(1);
    for (what, key) in [
        ("a statement that trailseal would not write", ours(&hostile.to_string())),
        ("KMS's default policy", ours("")),
        ("disabled", ours(&sealing_policy()).state(KeyState::Disabled)),
        ("another's tag", Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "somebody")),
        ("asymmetric", ours(&sealing_policy()).spec("RSA_2048", "SIGN_VERIFY")),
        ("a grant for a stranger", ours(&sealing_policy()).granted_to("arn:aws:iam::666666666666:role/stranger")),
        ("imported material", Key { origin: "EXTERNAL".into(), ..ours(&sealing_policy()) }),
        ("copies in other Regions", Key { multi_region: true, ..ours(&sealing_policy()) }),
    ] {
        let mut world = account();
        let key = world.key(key);
        let mut scene = Scene::enforcing(world);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(steps(&answer)[0], "create-key done", "{what}: {answer:#}");
        assert_ne!(answer["trails"][0]["key_arn"], json!(key), "{what}");
    }
}

#[test]
fn a_young_key_without_an_alias_may_be_another_runs_and_is_no_stray() {
    let mut world = account();
    let made =
        |created| Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(created);
    let (old, _young) = (world.key(made(1_700_000_100)), world.key(made(now())));
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!((&answer["trails"][0]["key_arn"], &answer["strays"]), (&json!(old), &json!([])));
}

#[test]
fn a_key_with_an_alias_of_any_name_is_neither_adopted_nor_a_stray() {
    let mut world = account();
    let key = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    world.alias("eu-central-1", "alias/another-stack", &key);
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(steps(&answer)[0], "create-key done");
    assert_eq!(answer["strays"], json!([]));
}

#[test]
fn a_run_that_ended_between_creating_a_key_and_its_alias_is_finished_by_the_next() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| (call.operation == "CreateAlias").then(Fault::access_denied));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    let key = answer["strays"][0]["key_arn"].as_str().unwrap().to_owned();
    scene.aws.clear_hooks();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(answer["trails"][0]["key_arn"], json!(key));
    assert_eq!((answer["strays"].clone(), scene.aws.world().keys.len()), (json!([]), 1));
}

#[test]
fn without_the_tag_index_a_trail_is_sealed_all_the_same_and_that_is_said() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| (call.operation == "GetResources").then(Fault::access_denied));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    let warning = answer["trails"][0]["warnings"][0]["detail"].as_str().unwrap();
    assert!(warning.contains("tag:GetResources"), "{warning}");
}
