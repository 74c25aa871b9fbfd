//! What KMS checks before it accepts a key policy.

use fake_aws::{FakeAws, Key, World};
use serde_json::{Value, json};

use crate::{IRELAND, code, kms, world};

const ROLE: &str = "arn:aws:iam::123456789012:role/trailseal";
const ROOT: &str = "arn:aws:iam::123456789012:root";

fn allow(principal: Value, action: &str) -> Value {
    json!({"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*"})
}

fn policy(statements: &[Value]) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

/// KMS's error code for this policy. `None` if it is accepted.
async fn policy_error(world: &World, policy: &str) -> Option<String> {
    let aws = FakeAws::start(world.clone());
    let client = kms(&aws, IRELAND).await;
    let result = client.create_key().policy(policy).send().await;
    match result {
        Ok(_) => None,
        Err(_) => Some(code(result)),
    }
}

const MALFORMED: Option<&str> = Some("MalformedPolicyDocumentException");

#[tokio::test]
async fn a_policy_must_allow_its_author_to_replace_it() {
    let mut world = world();
    let named = policy(&[allow(json!({"AWS": ROLE}), "kms:PutKeyPolicy")]);
    let delegating = policy(&[allow(json!({"AWS": ROOT}), "kms:*")]);
    let neither = policy(&[allow(json!({"AWS": ROOT}), "kms:Decrypt")]);
    assert_eq!(policy_error(&world, &named).await, None);
    assert_eq!(policy_error(&world, &neither).await.as_deref(), MALFORMED);
    assert_eq!(policy_error(&world, &delegating).await.as_deref(), MALFORMED);
    world.caller_iam_allows_put_key_policy = true;
    assert_eq!(policy_error(&world, &delegating).await, None);
    let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "kms:Put*", "Resource": "*"});
    let denying = policy(&[allow(json!({"AWS": ROLE}), "kms:*"), deny]);
    assert_eq!(policy_error(&world, &denying).await.as_deref(), MALFORMED);
}

#[tokio::test]
async fn a_bypassed_lockout_check_is_recorded() {
    let aws = FakeAws::start(world());
    let client = kms(&aws, IRELAND).await;
    let locked = policy(&[allow(json!({"AWS": ROOT}), "kms:Decrypt")]);
    client.create_key().policy(locked).bypass_policy_lockout_safety_check(true).send().await.unwrap();
    assert!(aws.world().keys.values().all(|key| key.lockout_check_bypassed));
}

#[tokio::test]
async fn every_statement_must_be_complete() {
    let world = world();
    let own = allow(json!({"AWS": ROLE}), "kms:*");
    for missing in ["Effect", "Principal", "Action", "Resource"] {
        let mut broken = own.clone();
        broken.as_object_mut().unwrap().remove(missing);
        let policy = policy(&[own.clone(), broken]);
        assert_eq!(policy_error(&world, &policy).await.as_deref(), MALFORMED, "{missing}");
    }
    assert_eq!(policy_error(&world, "{").await.as_deref(), MALFORMED);
    assert_eq!(policy_error(&world, &policy(&[])).await.as_deref(), MALFORMED);
}

#[tokio::test]
async fn every_principal_must_exist() {
    let mut world = world();
    let with = |principal: Value| policy(&[allow(json!({"AWS": ROLE}), "kms:*"), allow(principal, "kms:Decrypt")]);
    let reader = "arn:aws:iam::210987654321:role/reader";
    let valid = [
        json!("*"),
        json!({"AWS": "210987654321"}),
        json!({"AWS": ["*", "arn:aws:iam::210987654321:root"]}),
        json!({"Service": ["cloudtrail.amazonaws.com"]}),
    ];
    for principal in valid {
        assert_eq!(policy_error(&world, &with(principal.clone())).await, None, "{principal}");
    }
    let invalid = [
        json!({"AWS": reader}),
        json!({"AWS": "AROAEXAMPLEEXAMPLE123"}),
        json!({"AWS": "arn:aws-cn:iam::210987654321:root"}),
        json!({"AWS": []}),
        json!({}),
        json!("reader"),
    ];
    for principal in invalid {
        assert_eq!(policy_error(&world, &with(principal.clone())).await.as_deref(), MALFORMED, "{principal}");
    }
    world.add_principal(reader);
    assert_eq!(policy_error(&world, &with(json!({"AWS": reader}))).await, None);
}

#[tokio::test]
async fn a_deleted_role_makes_a_policy_unwritable() {
    let mut world = world();
    let reader = "arn:aws:iam::123456789012:role/reader";
    world.add_principal(reader);
    let text = policy(&[allow(json!({"AWS": ROLE}), "kms:*"), allow(json!({"AWS": reader}), "kms:Decrypt")]);
    let arn = world.key(Key::new(IRELAND).policy(&text));
    world.delete_principal(reader);
    let aws = FakeAws::start(world);
    let client = kms(&aws, IRELAND).await;
    let read = client.get_key_policy().key_id(&arn).send().await.unwrap().policy.unwrap();
    assert!(read.contains("\"AROA") && !read.contains(reader));
    let error = client.put_key_policy().key_id(&arn).policy(read).send().await;
    let error = error.unwrap_err().into_service_error();
    assert!(error.is_malformed_policy_document_exception());
    assert!(error.to_string().contains("Malformed") || error.meta().message().unwrap().contains("invalid principals"));
}

#[tokio::test]
async fn a_policy_has_at_most_32_kilobytes_of_latin_text() {
    let world = world();
    let mut own = allow(json!({"AWS": ROLE}), "kms:*");
    own["Sid"] = json!("x".repeat(32_768));
    assert_eq!(policy_error(&world, &policy(&[own.clone()])).await.as_deref(), Some("LimitExceededException"));
    own["Sid"] = json!("\u{3a9}");
    assert_eq!(policy_error(&world, &policy(&[own])).await.as_deref(), Some("ValidationException"));
}

#[tokio::test]
async fn a_policy_is_replaced_verbatim() {
    let mut world = world();
    world.delays.policy_effective_after = 3;
    let arn = world.key(Key::new(IRELAND));
    let aws = FakeAws::start(world);
    let client = kms(&aws, IRELAND).await;
    let text = policy(&[allow(json!({"AWS": ROLE}), "kms:*")]);
    client.put_key_policy().key_id(&arn).policy(&text).send().await.unwrap();
    assert_eq!(aws.world().keys[&arn].policy, text);
    assert_eq!(aws.world().keys[&arn].policy_pending_calls, 3);
}
