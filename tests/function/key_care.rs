//! A key of ours that somebody broke, stripped or left without its alias is mended; another's is not.

use fake_aws::{Fault, Key, KeyState, Trail};
use serde_json::{Value, json};

use crate::support::{
    AUDIT, Scene, Setting, account, count, findings, sealed, sealing_policy, step, steps, with_sealing_key, writes,
};

/// A statement of somebody else's, odd but harmless.
fn theirs() -> Value {
    json!({ "Sid": "Their own", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:root" },
        "Action": ["kms:TagResource"], "Resource": "*" })
}

/// The account's own administration and a statement of somebody else's: what is left of a policy that
/// somebody wrote anew.
fn stripped() -> String {
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    let admin = policy["Statement"][0].clone();
    policy["Statement"] = json!([theirs(), admin]);
    policy.to_string()
}

fn statements(scene: &Scene, key: &str) -> Vec<Value> {
    let policy: Value = serde_json::from_str(&scene.aws.world().keys[key].policy).unwrap();
    policy["Statement"].as_array().unwrap().clone()
}

fn sids(statements: &[Value]) -> Vec<&str> {
    statements.iter().map(|it| it["Sid"].as_str().unwrap()).collect()
}

#[test]
fn a_key_of_ours_that_was_disabled_and_stripped_works_again_with_the_foreign_statement_still_there() {
    let (mut world, key) = sealed();
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (KeyState::Disabled, stripped());
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(findings(&answer), ["key-disabled", "key-policy-gap"]);
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert_eq!(steps(&answer), ["restore-key done", "extend-key-policy done"]);
    assert_eq!(answer["trails"][0]["key_arn"], json!(key));
    assert_eq!(answer["trails"][0]["previous_key_arn"], json!(null));
    assert_eq!(writes(&scene.aws.calls()), ["kms:EnableKey", "kms:PutKeyPolicy", "sns:Publish"]);
    let after = statements(&scene, &key);
    assert_eq!(after[0], theirs());
    assert_eq!(
        sids(&after)[2..],
        ["TrailsealFinishesCreation", "CloudTrailEncrypts", "CloudTrailDescribes", "CloudTrailDecryptsForBucketKeys"]
    );
    let world = scene.aws.snapshot();
    assert_eq!(world.keys[&key].state, KeyState::Enabled);
    assert!(!world.keys[&key].lockout_check_bypassed);
    assert_eq!(world.check_delivery(AUDIT), Ok(()));
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn the_policy_is_read_just_before_and_just_after_it_is_put() {
    let (mut world, key) = sealed();
    world.keys.get_mut(&key).unwrap().policy = stripped();
    let mut scene = Scene::enforcing(world);
    scene.event("update-trail-by-name");
    let calls = scene.calls();
    let put = calls.iter().position(|call| call == "kms:PutKeyPolicy").unwrap();
    assert_eq!((calls[put - 1].as_str(), calls[put + 1].as_str()), ("kms:GetKeyPolicy", "kms:GetKeyPolicy"));
}

#[test]
fn a_doomed_key_of_ours_is_saved() {
    let (mut world, key) = sealed();
    let doomed = world.keys.get_mut(&key).unwrap();
    (doomed.state, doomed.deletion_date) = (KeyState::PendingDeletion, Some(1_790_000_000));
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(findings(&answer), ["key-pending-deletion"]);
    assert_eq!(steps(&answer), ["restore-key done"]);
    assert_eq!(writes(&scene.aws.calls()), ["kms:CancelKeyDeletion", "kms:EnableKey", "sns:Publish"]);
    assert_eq!(scene.aws.world().keys[&key].state, KeyState::Enabled);
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn an_unencrypted_trail_gets_the_sealing_key_after_it_was_restored_and_extended() {
    let mut world = account();
    let key = with_sealing_key(&mut world, "eu-central-1");
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (KeyState::PendingDeletion, stripped());
    world.delays.policy_effective_after = 2;
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(steps(&answer), ["restore-key done", "extend-key-policy done", "update-trail done"]);
    assert_eq!(scene.audit().kms_key_id, Some(key));
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn in_dry_run_restoring_and_extending_are_planned_with_the_statements_and_nothing_is_written() {
    let (mut world, key) = sealed();
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (KeyState::Disabled, stripped());
    let mut scene = Setting::new(world.clone()).dry_run().start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "planned": 1 }));
    assert_eq!(steps(&answer), ["restore-key planned", "extend-key-policy planned"]);
    let detail = step(&answer, "extend-key-policy")["detail"].as_str().unwrap();
    assert!(detail.contains(r#""Sid":"CloudTrailEncrypts""#) && detail.contains(&key), "{detail}");
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
    assert_eq!(scene.aws.snapshot().keys, world.keys);
}

#[test]
fn a_reader_who_was_added_to_the_configuration_is_added_to_the_key() {
    let (mut world, key) = sealed();
    let siem = "arn:aws:iam::210987654321:role/siem";
    world.principals.insert(siem.into());
    let mut scene = Setting::new(world).with("TRAILSEAL_LOG_READERS", siem).start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(findings(&answer), ["key-policy-gap"]);
    assert!(answer["trails"][0]["findings"][0]["detail"].as_str().unwrap().contains("LogReadersDecrypt"));
    assert_eq!(steps(&answer), ["extend-key-policy done"]);
    let after = statements(&scene, &key);
    assert_eq!(after.len(), 6);
    assert_eq!(after[5]["Condition"]["ArnEquals"]["aws:PrincipalArn"], siem);
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn a_reader_who_was_taken_out_of_the_configuration_keeps_its_statement_and_is_named_with_the_command() {
    let (mut world, key) = sealed();
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({ "Sid": "ReaderAccountsDecrypt", "Effect": "Allow",
        "Principal": { "AWS": "arn:aws:iam::210987654321:root" }, "Action": "kms:Decrypt", "Resource": "*",
        "Condition": { "StringLike": { "kms:ViaService": "s3.*" } } }));
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }));
    let warning = &answer["trails"][0]["warnings"][0];
    assert_eq!(warning["id"], "reader-not-revoked");
    let detail = warning["detail"].as_str().unwrap();
    for part in ["210987654321", "ReaderAccountsDecrypt", "aws kms put-key-policy --region eu-central-1", &key] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert_eq!(scene.calls().len(), 4);
}

#[test]
fn a_key_of_ours_with_the_exempt_tag_is_not_restored_and_the_reason_is_told() {
    let (mut world, key) = sealed();
    let broken = world.keys.get_mut(&key).unwrap();
    broken.state = KeyState::Disabled;
    broken.tags.insert("trailseal:exempt".into(), "SEC-7: being replaced".into());
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    let error = &answer["trails"][0]["error"];
    assert!(error["message"].as_str().unwrap().contains("SEC-7: being replaced"), "{error:#}");
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
    assert_eq!(scene.aws.world().keys[&key].state, KeyState::Disabled);
}

#[test]
fn a_deny_that_keeps_cloudtrail_out_of_a_key_of_ours_is_named_and_stays() {
    let (mut world, key) = sealed();
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({ "Sid": "NobodyAtAll", "Effect": "Deny", "Principal": "*",
        "Action": "kms:GenerateDataKey*", "Resource": "*" }));
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    assert_eq!(findings(&answer), ["key-policy-gap"]);
    assert!(
        answer["trails"][0]["error"]["message"].as_str().unwrap().contains("`NobodyAtAll` denies it"),
        "{answer:#}"
    );
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
}

#[test]
fn what_only_an_administrator_may_do_fails_with_the_command_and_the_statements() {
    for (state, policy, denied, parts) in [
        (
            KeyState::Disabled,
            sealing_policy(),
            "kms:EnableKey",
            ["aws kms enable-key --region eu-central-1", "enable-key"],
        ),
        (
            KeyState::PendingDeletion,
            sealing_policy(),
            "kms:CancelKeyDeletion",
            ["aws kms cancel-key-deletion --region eu-central-1", "; aws kms enable-key"],
        ),
        (
            KeyState::Enabled,
            stripped(),
            "kms:PutKeyPolicy",
            ["aws kms put-key-policy --region eu-central-1", "CloudTrailEncrypts"],
        ),
    ] {
        let (mut world, key) = sealed();
        let broken = world.keys.get_mut(&key).unwrap();
        (broken.state, broken.policy) = (state, policy);
        broken.denied.insert(denied.into());
        let mut scene = Scene::enforcing(world);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
        let error = &answer["trails"][0]["error"];
        assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!(denied)));
        let remedy = error["remedy"].as_str().unwrap();
        assert!(remedy.contains(denied) && parts.iter().all(|part| remedy.contains(part)), "{remedy}");
        assert_eq!(scene.aws.world().keys[&key].state, state);
    }
}

#[test]
fn a_statement_that_kms_no_longer_accepts_is_named_where_it_blocks_the_policy() {
    let (mut world, key) = sealed();
    let mut policy: Value = serde_json::from_str(&stripped()).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({ "Sid": "Gone", "Effect": "Allow",
        "Principal": { "AWS": "AROA1234567890EXAMPLE" }, "Action": "kms:Encrypt", "Resource": "*" }));
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    let error = &answer["trails"][0]["error"];
    assert_eq!(error["code"], "MalformedPolicyDocumentException");
    assert!(error["remedy"].as_str().unwrap().contains("`Gone`"), "{error:#}");
    let mut scene = Setting::new(scene.aws.snapshot()).dry_run().start();
    let planned = scene.event("update-trail-by-name");
    let detail = step(&planned, "extend-key-policy")["detail"].as_str().unwrap();
    assert!(detail.contains("KMS will refuse it") && detail.contains("`Gone`"), "known before it is tried: {detail}");
}

#[test]
fn a_finished_key_that_does_not_name_the_functions_role_is_left_as_it_is_and_given() {
    let mut world = account();
    let key = with_sealing_key(&mut world, "eu-central-1");
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().remove(1);
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(steps(&answer), ["update-trail done"]);
    assert_eq!(scene.calls().len(), 10);
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn the_role_of_a_stack_that_was_deleted_gives_way_to_the_present_one() {
    let (mut world, key) = sealed();
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"][1]["Principal"] = json!({ "AWS": "AROA1234567890EXAMPLE" });
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(steps(&answer), ["extend-key-policy done"]);
    let after: Value = serde_json::from_str(&scene.aws.world().keys[&key].policy).unwrap();
    assert_eq!(after, serde_json::from_str::<Value>(&sealing_policy()).unwrap());
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn a_policy_that_would_grow_too_long_is_not_put() {
    let (mut world, key) = sealed();
    let mut policy: Value = serde_json::from_str(&stripped()).unwrap();
    policy["Statement"][0]["Sid"] = json!("x".repeat(20_000));
    let laid_out = serde_json::to_string_pretty(&policy).unwrap().replace(": ", &format!(":{}", " ".repeat(900)));
    assert!(laid_out.len() > 30_000);
    world.keys.get_mut(&key).unwrap().policy = laid_out;
    let mut scene = Scene::enforcing(world.clone());
    scene.event("update-trail-by-name");
    assert_eq!(scene.aws.snapshot().check_delivery(AUDIT), Ok(()), "white space makes way first");

    policy["Statement"][0]["Sid"] = json!("x".repeat(32_000));
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert!(answer["trails"][0]["error"]["message"].as_str().unwrap().contains("32768 bytes"), "{answer:#}");
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
}

#[test]
fn a_policy_that_somebody_changes_at_the_same_time_is_looked_at_again_and_keeps_both_changes() {
    let (mut world, key) = sealed();
    world.keys.get_mut(&key).unwrap().policy = stripped();
    let mut scene = Scene::enforcing(world);
    let changed = key.clone();
    let (mut reads, mut put, mut looked) = (0, 0, false);
    scene.aws.before(move |call, world| {
        put += usize::from(call.operation == "PutKeyPolicy");
        let read = call.operation == "GetKeyPolicy";
        reads += usize::from(read);
        // After it was planned, and between putting it and looking.
        if read && (reads == 2 || (put == 1 && !std::mem::replace(&mut looked, true))) {
            let policy = &mut world.keys.get_mut(&changed).unwrap().policy;
            let mut document: Value = serde_json::from_str(policy).unwrap();
            let mut more = theirs();
            more["Sid"] = json!(format!("Meanwhile{reads}"));
            document["Statement"].as_array_mut().unwrap().push(more);
            *policy = document.to_string();
        }
        None
    });
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    scene.aws.clear_hooks();
    let after = statements(&scene, &key);
    assert!(sids(&after).contains(&"Meanwhile2") && sids(&after).contains(&"CloudTrailEncrypts"), "{:?}", sids(&after));
    assert_eq!(scene.aws.snapshot().check_delivery(AUDIT), Ok(()));
    scene.again_nothing_happens("update-trail-by-name");
}

#[test]
fn a_put_policy_whose_answer_is_lost_is_read_back_and_not_sent_again() {
    let (mut world, key) = sealed();
    world.keys.get_mut(&key).unwrap().policy = stripped();
    let mut scene = Scene::enforcing(world);
    scene.aws.after(|call, _| (call.operation == "PutKeyPolicy").then(Fault::internal));
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "remediated": 1 }), "{answer:#}");
    assert_eq!(count(&scene, "PutKeyPolicy"), 1);
    assert_eq!(statements(&scene, &key).len(), 6);
}

#[test]
fn anothers_key_that_lacks_something_is_noted_with_the_statements_until_delivery_fails() {
    let mut world = account();
    let theirs = world.key(Key::new("eu-central-1"));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&theirs));
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "noted": 1 }));
    assert_eq!(findings(&answer), ["key-policy-gap"]);
    assert!(answer["trails"][0]["findings"][0]["detail"].as_str().unwrap().contains(r#""Sid":"CloudTrailEncrypts""#));
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);

    for (error, summary) in
        [("NoSuchBucket", "noted"), ("KMS.DisabledException", "remediated"), ("AccessDenied", "remediated")]
    {
        let mut world = account();
        let theirs = world.key(Key::new("eu-central-1"));
        world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&theirs).failing(error));
        let before = world.keys[&theirs].clone();
        let mut scene = Scene::enforcing(world);
        let answer = scene.event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ summary: 1 }), "{error}: {answer:#}");
        assert_eq!(findings(&answer), ["key-policy-gap", "delivery-failing"]);
        assert_eq!(scene.aws.world().keys[&theirs], before, "another's key is never edited");
        if summary == "remediated" {
            assert_eq!(answer["trails"][0]["previous_key_arn"], json!(theirs));
            scene.again_nothing_happens("update-trail-by-name");
        }
    }
}

#[test]
fn a_key_that_may_not_be_read_is_a_warning_unless_delivery_fails() {
    let mut world = account();
    let central = world.key(Key::new("eu-central-1").of_account("210987654321"));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&central));
    let mut failing = world.clone();
    let mut scene = Scene::enforcing(world);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }));
    assert_eq!(answer["trails"][0]["warnings"][0]["id"], "key-unreadable");

    failing.trails.get_mut(AUDIT).unwrap().latest_delivery_error = Some("AccessDenied".into());
    let mut scene = Scene::enforcing(failing);
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "noted": 1 }));
    assert_eq!(findings(&answer), ["delivery-failing"]);
    assert_eq!(scene.audit().kms_key_id, Some(central));
}

#[test]
fn a_supplied_key_is_never_edited_whatever_its_tags_say() {
    let mut world = account();
    let own = world.key(Key::new("eu-central-1").tag("managed-by", "trailseal").state(KeyState::Disabled));
    let before = world.keys[&own].clone();
    let mut scene = Setting::new(world).with("TRAILSEAL_KEY_ARNS", &own).start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    assert_eq!(scene.aws.world().keys[&own], before);
    assert_eq!(count(&scene, "ListResourceTags"), 0);
}

#[test]
fn another_key_of_ours_that_is_not_the_sealing_key_is_not_kept_up_and_its_trail_not_moved() {
    let (mut world, key) = sealed();
    let second = world.key(Key::new("eu-central-1").policy(&sealing_policy()).tag("managed-by", "trailseal"));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&second));
    let mut scene = Setting::new(world).with("TRAILSEAL_LOG_READERS", "210987654321").start();
    let answer = scene.event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "noted": 1 }), "{answer:#}");
    assert_eq!(findings(&answer), ["key-policy-gap"]);
    assert_eq!(writes(&scene.aws.calls()), ["sns:Publish"]);
    assert_eq!((scene.audit().kms_key_id, scene.aws.world().aliases.len()), (Some(second), 1));
    assert!(scene.aws.world().aliases.values().all(|alias| alias.target == key));
}
