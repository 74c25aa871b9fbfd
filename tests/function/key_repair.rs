//! trailseal restores and extends its own keys, and no other key.

use fake_aws::{Key, KeyState, Trail};
use serde_json::{Value, json};

use crate::support::{
    AUDIT, Scenario, account, add_sealing_key, count_calls, findings, sealed_account, sealing_policy, step, steps,
    writes,
};

/// A statement that the customer wrote.
pub fn customer_statement() -> Value {
    json!({ "Sid": "Their own", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:root" },
        "Action": ["kms:TagResource"], "Resource": "*" })
}

/// A policy that the customer wrote over trailseal's: their own statement, then the account root's.
pub fn replaced_policy() -> String {
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    let admin = policy["Statement"][0].clone();
    policy["Statement"] = json!([customer_statement(), admin]);
    policy.to_string()
}

pub fn statements(scenario: &Scenario, key: &str) -> Vec<Value> {
    let policy: Value = serde_json::from_str(&scenario.aws.world().keys[key].policy).unwrap();
    policy["Statement"].as_array().unwrap().clone()
}

pub fn sids(statements: &[Value]) -> Vec<&str> {
    statements.iter().map(|it| it["Sid"].as_str().unwrap()).collect()
}

#[test]
fn repair_keeps_the_customers_statements() {
    let (mut world, key) = sealed_account();
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (KeyState::Disabled, replaced_policy());
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(findings(&answer), ["key-disabled", "key-policy-gap"]);
    assert_eq!(answer["summary"], json!({ "remediated": 1 }));
    assert_eq!(steps(&answer), ["restore-key done", "extend-key-policy done"]);
    assert_eq!(answer["trails"][0]["key_arn"], json!(key));
    assert_eq!(answer["trails"][0]["previous_key_arn"], json!(null));
    assert_eq!(writes(&scenario.aws.calls()), ["kms:EnableKey", "kms:PutKeyPolicy", "sns:Publish"]);
    let after = statements(&scenario, &key);
    assert_eq!(after[0], customer_statement());
    assert_eq!(
        sids(&after)[2..],
        ["TrailsealFinishesCreation", "CloudTrailEncrypts", "CloudTrailDescribes", "CloudTrailDecryptsForBucketKeys"]
    );
    let world = scenario.aws.snapshot();
    assert_eq!(world.keys[&key].state, KeyState::Enabled);
    assert!(!world.keys[&key].lockout_check_bypassed);
    assert_eq!(world.check_delivery(AUDIT), Ok(()));
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn the_sealing_key_is_repaired_before_it_is_assigned() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (KeyState::PendingDeletion, replaced_policy());
    world.delays.policy_effective_after = 2;
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(steps(&answer), ["restore-key done", "extend-key-policy done", "update-trail done"]);
    assert_eq!(scenario.audit().kms_key_id, Some(key));
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn dry_run_plans_the_repair_with_its_statements() {
    let (mut world, key) = sealed_account();
    let broken = world.keys.get_mut(&key).unwrap();
    (broken.state, broken.policy) = (KeyState::Disabled, replaced_policy());
    let mut scenario = Scenario::builder(world.clone()).dry_run().start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "planned": 1 }));
    assert_eq!(steps(&answer), ["restore-key planned", "extend-key-policy planned"]);
    let detail = step(&answer, "extend-key-policy")["detail"].as_str().unwrap();
    assert!(detail.contains(r#""Sid":"CloudTrailEncrypts""#) && detail.contains(&key), "{detail}");
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    assert_eq!(scenario.aws.snapshot().keys, world.keys);
}

#[test]
fn a_newly_configured_reader_is_added_to_the_key() {
    let (mut world, key) = sealed_account();
    let siem = "arn:aws:iam::210987654321:role/siem";
    world.principals.insert(siem.into());
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_LOG_READERS", siem).start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(findings(&answer), ["key-policy-gap"]);
    assert!(answer["trails"][0]["findings"][0]["detail"].as_str().unwrap().contains("LogReadersDecrypt"));
    assert_eq!(steps(&answer), ["extend-key-policy done"]);
    let after = statements(&scenario, &key);
    assert_eq!(after.len(), 6);
    assert_eq!(after[5]["Condition"]["ArnEquals"]["aws:PrincipalArn"], siem);
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_removed_reader_keeps_its_statement_with_a_warning() {
    let (mut world, key) = sealed_account();
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({ "Sid": "ReaderAccountsDecrypt", "Effect": "Allow",
        "Principal": { "AWS": "arn:aws:iam::210987654321:root" }, "Action": "kms:Decrypt", "Resource": "*",
        "Condition": { "StringLike": { "kms:ViaService": "s3.*" } } }));
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "compliant": 1 }));
    let warning = &answer["trails"][0]["warnings"][0];
    assert_eq!(warning["id"], "reader-not-revoked");
    let detail = warning["detail"].as_str().unwrap();
    for part in ["210987654321", "ReaderAccountsDecrypt", "aws kms put-key-policy --region eu-central-1", &key] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    assert_eq!(scenario.take_calls().len(), 5);
}

#[test]
fn an_exempt_key_is_not_restored() {
    let (mut world, key) = sealed_account();
    let broken = world.keys.get_mut(&key).unwrap();
    broken.state = KeyState::Disabled;
    broken.tags.insert("trailseal:exempt".into(), "SEC-7: being replaced".into());
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    let error = &answer["trails"][0]["error"];
    assert!(error["message"].as_str().unwrap().contains("SEC-7: being replaced"), "{error:#}");
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
    assert_eq!(scenario.aws.world().keys[&key].state, KeyState::Disabled);
}

#[test]
fn a_deny_in_a_key_policy_is_named_and_kept() {
    let (mut world, key) = sealed_account();
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "Sid": "DenyEveryone", "Effect": "Deny", "Principal": "*",
        "Action": "kms:GenerateDataKey*", "Resource": "*" }));
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    assert_eq!(findings(&answer), ["key-policy-gap"]);
    assert!(
        answer["trails"][0]["error"]["message"].as_str().unwrap().contains("`DenyEveryone` denies it"),
        "{answer:#}"
    );
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
}

#[test]
fn a_denied_repair_fails_with_its_command() {
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
            replaced_policy(),
            "kms:PutKeyPolicy",
            ["aws kms put-key-policy --region eu-central-1", "CloudTrailEncrypts"],
        ),
    ] {
        let (mut world, key) = sealed_account();
        let broken = world.keys.get_mut(&key).unwrap();
        (broken.state, broken.policy) = (state, policy);
        broken.denied.insert(denied.into());
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ "failed": 1 }), "{answer:#}");
        let error = &answer["trails"][0]["error"];
        assert_eq!((&error["class"], &error["operation"]), (&json!("terminal"), &json!(denied)));
        let remedy = error["remedy"].as_str().unwrap();
        assert!(remedy.contains(denied) && parts.iter().all(|part| remedy.contains(part)), "{remedy}");
        assert_eq!(scenario.aws.world().keys[&key].state, state);
        let calls = scenario.take_calls();
        let write = calls.iter().position(|call| call == denied).unwrap();
        let reads = calls[write + 1..].iter().filter(|call| call.starts_with("kms:")).count();
        assert_eq!(reads, 1, "one read shows that it had no effect: {calls:#?}");
    }
}

#[test]
fn a_statement_that_kms_rejects_is_named() {
    let (mut world, key) = sealed_account();
    let mut policy: Value = serde_json::from_str(&replaced_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(json!({ "Sid": "Gone", "Effect": "Allow",
        "Principal": { "AWS": "AROA1234567890EXAMPLE" }, "Action": "kms:Encrypt", "Resource": "*" }));
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    let error = &answer["trails"][0]["error"];
    assert_eq!(error["code"], "MalformedPolicyDocumentException");
    assert!(error["remedy"].as_str().unwrap().contains("`Gone`"), "{error:#}");
    let mut scenario = Scenario::builder(scenario.aws.snapshot()).dry_run().start();
    let planned = scenario.invoke_event("update-trail-by-name");
    let detail = step(&planned, "extend-key-policy")["detail"].as_str().unwrap();
    assert!(
        detail.contains("KMS rejects the policy") && detail.contains("`Gone`"),
        "predicted in dry-run mode: {detail}"
    );
}

#[test]
fn a_finished_key_needs_no_statement_for_the_role() {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"].as_array_mut().unwrap().remove(1);
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(steps(&answer), ["update-trail done"]);
    assert_eq!(scenario.take_calls().len(), 11);
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_deleted_roles_statement_gets_the_current_role() {
    let (mut world, key) = sealed_account();
    let mut policy: Value = serde_json::from_str(&sealing_policy()).unwrap();
    policy["Statement"][1]["Principal"] = json!({ "AWS": "AROA1234567890EXAMPLE" });
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(steps(&answer), ["extend-key-policy done"]);
    let after: Value = serde_json::from_str(&scenario.aws.world().keys[&key].policy).unwrap();
    assert_eq!(after, serde_json::from_str::<Value>(&sealing_policy()).unwrap());
    scenario.assert_converged("update-trail-by-name");
}

#[test]
fn a_policy_over_the_size_limit_is_not_put() {
    let (mut world, key) = sealed_account();
    let mut policy: Value = serde_json::from_str(&replaced_policy()).unwrap();
    policy["Statement"][0]["Sid"] = json!("x".repeat(20_000));
    let laid_out = serde_json::to_string_pretty(&policy).unwrap().replace(": ", &format!(":{}", " ".repeat(900)));
    assert!(laid_out.len() > 30_000);
    world.keys.get_mut(&key).unwrap().policy = laid_out;
    let mut scenario = Scenario::enforce(world.clone());
    scenario.invoke_event("update-trail-by-name");
    assert_eq!(scenario.aws.snapshot().check_delivery(AUDIT), Ok(()), "white space is removed first");

    policy["Statement"][0]["Sid"] = json!("x".repeat(32_000));
    world.keys.get_mut(&key).unwrap().policy = policy.to_string();
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert!(answer["trails"][0]["error"]["message"].as_str().unwrap().contains("32768 bytes"), "{answer:#}");
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);
}

#[test]
fn a_customer_key_gap_is_noted_until_delivery_fails() {
    let mut world = account();
    let theirs = world.key(Key::new("eu-central-1"));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&theirs));
    let mut scenario = Scenario::enforce(world);
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "noted": 1 }));
    assert_eq!(findings(&answer), ["key-policy-gap"]);
    assert!(answer["trails"][0]["findings"][0]["detail"].as_str().unwrap().contains(r#""Sid":"CloudTrailEncrypts""#));
    assert_eq!(writes(&scenario.aws.calls()), ["sns:Publish"]);

    for (error, summary) in
        [("NoSuchBucket", "noted"), ("KMS.DisabledException", "remediated"), ("AccessDenied", "remediated")]
    {
        let mut world = account();
        let theirs = world.key(Key::new("eu-central-1"));
        world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&theirs).failing(error));
        let before = world.keys[&theirs].clone();
        let mut scenario = Scenario::enforce(world);
        let answer = scenario.invoke_event("update-trail-by-name");
        assert_eq!(answer["summary"], json!({ summary: 1 }), "{error}: {answer:#}");
        assert_eq!(findings(&answer), ["key-policy-gap", "delivery-failing"]);
        assert_eq!(scenario.aws.world().keys[&theirs], before, "a customer key is not edited");
        if summary == "remediated" {
            assert_eq!(answer["trails"][0]["previous_key_arn"], json!(theirs));
            scenario.assert_converged("update-trail-by-name");
        }
    }
}

#[test]
fn a_supplied_key_is_not_edited_even_if_tagged() {
    let mut world = account();
    let own = world.key(Key::new("eu-central-1").tag("managed-by", "trailseal").state(KeyState::Disabled));
    let before = world.keys[&own].clone();
    let mut scenario = Scenario::builder(world).env("TRAILSEAL_KEY_ARNS", &own).start();
    let answer = scenario.invoke_event("update-trail-by-name");
    assert_eq!(answer["summary"], json!({ "failed": 1 }));
    assert_eq!(scenario.aws.world().keys[&own], before);
    assert_eq!(count_calls(&scenario, "ListResourceTags"), 0);
}
