//! What comes between two steps on a key: other runs, lost answers, refusals that last.

use fake_aws::{Fault, Key, KeyState, Trail};
use serde_json::{Value, json};

use crate::support::{
    AUDIT, Scene, Setting, account, count, findings, now, sealed, sealing_policy, step, steps, with_sealing_key, writes,
};

fn without(sids: &[&str]) -> String {
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().retain(|it| !sids.contains(&it["Sid"].as_str().unwrap()));
    policy.to_string()
}

#[test]
fn a_key_that_the_next_try_finishes_is_no_stray() {
    let mut scene = Scene::enforcing(account());
    scene.aws.before(|call, _| (call.operation == "CreateAlias").then(Fault::throttled));
    let (error, _) = scene.failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert_eq!(scene.aws.world().published.len(), 0);
    scene.aws.clear_hooks();
    let answer = scene.event("update-trail-by-name");
    assert_eq!((answer["strays"].clone(), scene.aws.world().keys.len()), (json!([]), 1));
}

#[test]
fn a_key_that_would_be_adopted_is_no_stray_although_this_trail_may_not_be_sealed() {
    let mut world = account();
    world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    world.buckets.get_mut("audit-logs").unwrap().policy = Some(
        json!({ "Statement": [{ "Sid": "No", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::audit-logs/*" }] })
            .to_string(),
    );
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!((answer["summary"].clone(), answer["strays"].clone()), (json!({ "failed": 1 }), json!([])));
}

#[test]
fn principals_that_kms_tells_in_another_order_each_time_are_nobodys_change() {
    let (mut world, key) = sealed();
    let mut policy: Value = serde_json::from_str(&without(&["CloudTrailDescribes"])).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({ "Sid": "Theirs", "Effect": "Allow", "Resource": "*",
        "Principal": { "AWS": ["arn:aws:iam::210987654321:root", "arn:aws:iam::333333333333:root"] }, "Action": "kms:DescribeKey" }));
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scene = Scene::enforcing(world);
    let shuffled = key.clone();
    scene.aws.before(move |call, world| {
        if call.operation == "GetKeyPolicy" {
            let policy = &mut world.keys.get_mut(&shuffled).unwrap().policy;
            let mut document: Value = serde_json::from_str(policy).unwrap();
            for statement in document["Statement"].as_array_mut().unwrap() {
                if let Some(Value::Array(names)) = statement.pointer_mut("/Principal/AWS") {
                    names.reverse();
                }
            }
            *policy = document.to_string();
        }
        None
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(steps(&answer), ["extend-key-policy done"], "{answer:#}");
    assert_eq!((answer["summary"].clone(), count(&scene, "PutKeyPolicy")), (json!({ "remediated": 1 }), 1));
}

#[test]
fn an_adopted_key_gets_what_it_lacks_also_when_it_has_to_be_looked_at_again() {
    let mut world = account();
    let policy = without(&["CloudTrailDescribes", "CloudTrailDecryptsForBucketKeys"]);
    let key = world.key(Key::new("eu-central-1").policy(&policy).tag("managed-by", "trailseal").created(1));
    world.delays.alias_visible_after = 3;
    let mut scene = Scene::enforcing(world);
    let mut sent = 0;
    scene.aws.before(move |call, _| {
        sent += usize::from(call.operation == "PutKeyPolicy");
        (call.operation == "PutKeyPolicy" && sent == 1).then(Fault::internal)
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    let after: Value = serde_json::from_str(&scene.aws.world().keys[&key].policy).unwrap();
    assert_eq!(after["Statement"].as_array().unwrap().len(), 5);
}

#[test]
fn a_key_whose_creation_nobody_confirmed_is_waited_for_beside_others_of_ours() {
    let mut world = account();
    world.now = now();
    let another =
        world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(1));
    world.alias("eu-central-1", "alias/another-stack", &another);
    let mut scene = Scene::enforcing(world);
    let mut lost = false;
    scene.aws.after(move |call, world| {
        let first = call.operation == "CreateKey" && !lost;
        if first {
            lost = true;
            world.keys.values_mut().for_each(|key| key.unindexed_calls = if key.created > 1 { 2 } else { 0 });
        }
        first.then(Fault::internal)
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!((count(&scene, "CreateKey"), scene.aws.world().keys.len()), (1, 2));
}

#[test]
fn another_runs_young_key_is_not_taken_for_the_one_that_nobody_confirmed() {
    let mut world = account();
    let theirs = world
        .key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal").created(now() - 60));
    world.keys.get_mut(&theirs).unwrap().unindexed_calls = 1;
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.operation == "CreateKey").then(Fault::internal));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["trails"][0]["key_arn"], json!(theirs));
    assert!(scene.only_alert().message.contains("it is not known whether a key was created"), "{answer:#}");
}

#[test]
fn a_state_that_kms_keeps_refusing_is_a_failure_with_its_remedy() {
    let (mut world, key) = sealed();
    world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| {
        (call.operation == "CancelKeyDeletion" || call.operation == "EnableKey")
            .then(|| Fault::error(400, "KMSInvalidStateException", "is pending import"))
    });
    let answer = scene.event("update-trail-by-name");
    let error = &answer["trails"][0]["error"];
    assert_eq!(
        (&error["class"], &error["code"]),
        (&json!("terminal"), &json!("KMSInvalidStateException")),
        "{answer:#}"
    );
    assert!(error["remedy"].as_str().unwrap().contains("aws kms enable-key"), "{error:#}");
}

#[test]
fn a_policy_that_may_not_be_read_back_is_said_to_be_put_and_not_blamed_on_somebody() {
    let (mut world, key) = sealed();
    world.keys.get_mut(&key).unwrap().policy = without(&["CloudTrailDescribes"]);
    let mut scene = Scene::enforcing(world);
    let mut put = false;
    scene.aws.before(move |call, _| {
        put |= call.operation == "PutKeyPolicy";
        (put && call.operation == "GetKeyPolicy").then(Fault::access_denied)
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    assert!(
        answer["trails"][0]["error"]["message"].as_str().unwrap().contains("was put and cannot be read back"),
        "{answer:#}"
    );
}

#[test]
fn a_key_that_was_restored_is_told_of_although_it_cannot_be_read_back() {
    let (mut world, key) = sealed();
    world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
    let mut scene = Scene::enforcing(world);
    let mut enabled = false;
    scene.aws.before(move |call, _| {
        enabled |= call.operation == "EnableKey";
        (enabled && call.operation == "DescribeKey").then(Fault::access_denied)
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(steps(&answer), ["restore-key done"]);
    assert!(
        step(&answer, "restore-key")["detail"].as_str().unwrap().contains("says KMS; cannot read key"),
        "{answer:#}"
    );
    assert!(scene.only_alert().message.contains("restore-key (done)"));
}

#[test]
fn a_key_that_was_restored_before_something_passed_is_told_of_at_once() {
    let (mut world, key) = sealed();
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (KeyState::Disabled, without(&["CloudTrailDescribes"]));
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, _| (call.operation == "PutKeyPolicy").then(Fault::throttled));
    let (error, _) = scene.failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert!(
        scene.only_alert().message.contains("restore-key (done)"),
        "the next try does not see that it was disabled"
    );
}

#[test]
fn an_answer_that_nobody_can_read_leaves_open_what_became_of_the_call() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Scene::enforcing(world);
    scene
        .aws
        .after(|call, _| (call.operation == "UpdateTrail").then(|| Fault::Raw { status: 200, body: "<html>".into() }));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert!(step(&answer, "update-trail")["detail"].as_str().unwrap().contains("read back"));
}

#[test]
fn an_exempt_key_with_a_gap_is_noted_like_anothers_and_its_trail_not_moved() {
    let (mut world, _) = sealed();
    let exempt = Key::new("eu-central-1").policy(&without(&["CloudTrailEncrypts"])).tag("managed-by", "trailseal");
    let exempt = world.key(exempt.tag("trailseal:exempt", "SEC-7"));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&exempt));
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!((answer["summary"].clone(), findings(&answer)), (json!({ "noted": 1 }), vec!["key-policy-gap"]));
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
}

#[test]
fn a_trail_whose_own_key_works_does_not_fail_by_the_sealing_keys_trouble() {
    let (mut world, sealing) = sealed();
    let own = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal"));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&own));
    let broken = world.keys.get_mut(&sealing).unwrap();
    broken.state = KeyState::Disabled;
    broken.tags.insert("trailseal:exempt".into(), "SEC-7".into());
    let mut scene = Setting::new(world).with("TRAILSEAL_LOG_READERS", "210987654321").start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "noted": 1 }), "{answer:#}");
    assert_eq!(scene.aws.snapshot().check_delivery(AUDIT), Ok(()));
}

#[test]
fn whoever_deletes_the_key_of_older_logs_is_told_how_to_keep_it() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    let doomed = world.key(Key::new("eu-central-1").state(KeyState::PendingDeletion));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&doomed));
    let mut scene = Scene::enforcing(world);
    scene.event("update-trail-by-name");
    let message = scene.only_alert().message;
    let command = format!("aws kms cancel-key-deletion --region eu-central-1 --key-id {doomed}");
    assert!(message.contains(&command) && message.contains("older logs"), "{message}");
}
