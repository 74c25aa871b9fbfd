//! Answers that are lost, that say nothing, or that say something else than was asked for.

use std::time::Duration;

use fake_aws::{Fault, Trail, World};
use serde_json::json;

use crate::support::{Scene, account, count, event, findings, now, step, steps, with_sealing_key};

/// Loses the answers to so many `CreateKey`s. With `unindexed`, the tag index does not know the keys.
fn lose_create_key(scene: &Scene, mut times: usize, unindexed: bool, fault: Fault) {
    scene.aws.after(move |call, world| {
        if call.operation != "CreateKey" || times == 0 {
            return None;
        }
        times -= 1;
        if unindexed {
            world.keys.values_mut().for_each(|key| key.unindexed_calls = 1000);
        }
        Some(fault.clone())
    });
}

#[test]
fn a_key_whose_creation_nobody_confirmed_is_found_and_finished() {
    for lost in [Fault::internal(), Fault::Drop] {
        let mut world = account();
        world.now = now();
        let mut scene = Scene::enforcing(world);
        lose_create_key(&scene, 1, false, lost);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(count(&scene, "CreateKey"), 1);
        assert_eq!(
            steps(&answer),
            ["create-key failed", "adopt-key done", "enable-rotation done", "create-alias done", "update-trail done"]
        );
        assert_eq!(answer["summary"], json!({ "remediated": 1 }));
        assert_eq!(answer["strays"], json!([]));
        assert!(
            step(&answer, "create-key")["detail"].as_str().unwrap().contains(": it was, `arn:aws:kms:"),
            "{answer:#}"
        );
        assert!(!scene.only_alert().message.contains("see to the key named above"));
        assert_eq!(scene.aws.world().keys.len(), 1);
        scene.aws.clear_hooks();
        scene.again_nothing_happens("update-trail-by-name");
    }
}

#[test]
fn a_key_that_the_tag_index_shows_late_is_waited_for() {
    let mut scene = Scene::enforcing(account());
    scene.aws.after(|call, world| {
        let lost = call.operation == "CreateKey";
        if lost {
            world.keys.values_mut().for_each(|key| key.unindexed_calls = 2);
        }
        lost.then(Fault::internal)
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert_eq!((count(&scene, "CreateKey"), count(&scene, "GetResources")), (1, 4));
    assert_eq!(scene.aws.world().keys.len(), 1);
}

#[test]
fn create_key_is_never_sent_twice_without_looking_in_between() {
    for lost in [Fault::internal(), Fault::Drop] {
        let mut scene = Scene::enforcing(account());
        lose_create_key(&scene, 1, true, lost);
        let answer = scene.event("update-trail-by-name");
        let names = scene.aws.names();
        let sent: Vec<usize> = (0..names.len()).filter(|&at| names[at] == "kms:CreateKey").collect();
        assert_eq!(sent.len(), 2, "{names:#?}");
        for look in ["kms:DescribeKey", "tagging:GetResources"] {
            assert!(names[sent[0]..sent[1]].contains(&look.to_owned()), "looked up in between: {look}");
        }
        assert_eq!(
            steps(&answer),
            ["create-key failed", "create-key done", "enable-rotation done", "create-alias done", "update-trail done"]
        );
        assert!(answer["trails"][0]["steps"][0]["detail"].as_str().unwrap().contains("managed-by"), "{answer:#}");
        let alert = scene.only_alert().message;
        assert!(alert.contains("What to do next: see to the key named above"), "{alert}");
        assert_eq!(answer["summary"], json!({ "remediated": 1 }));
        scene.aws.clear_hooks();
        scene.again_nothing_happens("update-trail-by-name");
    }
}

#[test]
fn create_key_is_sent_twice_at_most_however_often_nobody_answers() {
    let mut scene = Scene::enforcing(account());
    lose_create_key(&scene, 9, true, Fault::internal());
    let (error, _) = scene.failure("update-trail-by-name");
    assert_eq!(error.error_type, "Transient");
    assert_eq!(count(&scene, "CreateKey"), 2);
    assert!(scene.only_alert().message.contains("not known whether a key was created"));
}

#[test]
fn an_update_whose_answer_is_lost_again_and_again_is_read_back() {
    let mut world = account();
    let key = with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Scene::enforcing(world);
    scene.aws.after(|call, _| (call.operation == "UpdateTrail").then(Fault::internal));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert_eq!(findings(&answer), ["no-cmk"]);
    assert_eq!(steps(&answer), ["update-trail done"]);
    assert!(step(&answer, "update-trail")["detail"].as_str().unwrap().contains("read back"));
    assert_eq!(answer["trails"][0]["key_arn"], json!(key));
    scene.aws.clear_hooks();
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn an_update_whose_answer_was_lost_is_compared_like_any_other() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Scene::enforcing(world);
    scene.aws.after(|call, world| {
        let lost = call.operation == "UpdateTrail";
        if lost {
            world.trails.values_mut().for_each(|trail| trail.log_file_validation = false);
        }
        lost.then(Fault::internal)
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
    let error = answer["trails"][0]["error"]["message"].as_str().unwrap();
    assert!(error.contains("LogFileValidationEnabled: true → false"), "{error}");
}

#[test]
fn a_sealed_trail_that_does_not_log_is_remediated_and_not_only_noted() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").stopped(1_780_000_500));
    let mut scene = Scene::enforcing(world);
    scene.aws.after(|call, _| (call.operation == "UpdateTrail").then(Fault::internal));
    let answer = scene.event("stop-logging-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(findings(&answer), ["no-cmk", "logging-stopped"]);
}

#[test]
fn an_update_of_which_nobody_knows_what_came_is_not_said_to_be_untried() {
    let mut world = account();
    with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Scene::enforcing(world);
    let mut updated = false;
    scene.aws.after(move |call, _| {
        updated |= call.operation == "UpdateTrail";
        match call.operation.as_str() {
            "UpdateTrail" => Some(Fault::internal()),
            "GetTrail" if updated => Some(Fault::access_denied()),
            _ => None,
        }
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(steps(&answer), ["update-trail failed"]);
    assert!(step(&answer, "update-trail")["detail"].as_str().unwrap().contains("not known whether"), "{answer:#}");
}

#[test]
fn answers_that_say_nothing_are_no_permission_to_go_on() {
    for (operation, body) in [("ListTags", "{}"), ("GetTrail", "{}"), ("DescribeKey", "{}"), ("GetTrail", "<html>")] {
        let mut scene = Scene::enforcing(account());
        scene.aws.before(move |call, _| {
            (call.operation == operation).then(|| Fault::Raw { status: 200, body: body.to_owned() })
        });
        let invocation =
            scene.function.invoke_within(event("update-trail-by-name").to_string().as_bytes(), Duration::from_secs(5));
        match invocation.outcome {
            Ok(answer) => assert_eq!(answer["summary"], json!({ "failed": 1 }), "{operation} {body}: {answer:#}"),
            Err(error) => assert_eq!(error.error_type, "Transient", "{operation} {body}"),
        }
        assert_eq!(scene.audit().kms_key_id, None);
        assert!(scene.aws.world().keys.is_empty());
    }
}

#[test]
fn settings_that_changed_at_the_same_time_are_told() {
    let mut world: World = account();
    with_sealing_key(&mut world, "eu-central-1");
    let mut scene = Scene::enforcing(world);
    scene.aws.before(|call, world| {
        if call.operation == "UpdateTrail" {
            world.trails.values_mut().for_each(|trail| trail.multi_region = false);
        }
        None
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    let error = answer["trails"][0]["error"]["message"].as_str().unwrap();
    assert!(error.contains("IsMultiRegionTrail: true → false"), "{error}");
    assert_eq!(step(&answer, "update-trail")["status"], "done");
    assert_eq!(answer["trails"][0]["key_arn"], json!(scene.audit().kms_key_id));
}

#[test]
fn a_key_state_that_nobody_knows_moves_no_trail_and_seals_none() {
    let mut world = account();
    let key = with_sealing_key(&mut world, "eu-central-1");
    let unknown = move |call: &fake_aws::Call, _: &mut World| {
        let metadata = json!({ "KeyMetadata": {
            "KeyId": key, "Arn": key, "KeyManager": "CUSTOMER", "KeySpec": "SYMMETRIC_DEFAULT",
            "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": "Rotating" } });
        (call.operation == "DescribeKey").then(|| Fault::Raw { status: 200, body: metadata.to_string() })
    };
    let mut encrypted = world.clone();
    let own = encrypted.alias_target("eu-central-1", "alias/trailseal").unwrap().to_owned();
    encrypted.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&own));
    let mut scene = Scene::enforcing(encrypted);
    scene.aws.before(unknown.clone());
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }));
    assert_eq!(answer["trails"][0]["warnings"][0]["id"], "key-unreadable");

    let mut scene = Scene::enforcing(world);
    scene.aws.before(unknown);
    assert_eq!(scene.event("update-trail-by-name")["summary"], json!({ "failed": 1 }));
    assert_eq!(scene.audit().kms_key_id, None);
}
