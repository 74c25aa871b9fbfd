//! The error of the latest delivery, and what clears it.

use fake_aws::{FakeAws, Key, KeyState, Trail};

use crate::{IRELAND, cloudtrail, kms, world};

const ERROR: &str = "KMS.DisabledException";

/// A trail whose deliveries fail, with a key in this state. Without a policy, the key allows CloudTrail.
fn failing(state: KeyState, policy: Option<&str>) -> (FakeAws, String) {
    let mut world = world().bucket("logs", IRELAND);
    let allowing = world.cloudtrail_key_policy();
    let key = world.key(Key::new(IRELAND).state(state).policy(policy.unwrap_or(&allowing)));
    world.add_trail(Trail::new("audit", IRELAND, "logs").encrypted_with(&key).failing(ERROR));
    world.caller_iam_allows_put_key_policy = true;
    (FakeAws::start(world), key)
}

async fn error(aws: &FakeAws) -> Option<String> {
    let client = cloudtrail(aws, IRELAND).await;
    client.get_trail_status().name("audit").send().await.unwrap().latest_delivery_error
}

#[tokio::test]
async fn enabling_the_key_clears_the_error() {
    let (aws, key) = failing(KeyState::PendingDeletion, None);
    let client = kms(&aws, IRELAND).await;
    client.cancel_key_deletion().key_id(&key).send().await.unwrap();
    assert_eq!(error(&aws).await.as_deref(), Some(ERROR));
    client.enable_key().key_id(&key).send().await.unwrap();
    assert_eq!(error(&aws).await, None);
}

#[tokio::test]
async fn a_key_policy_that_allows_cloudtrail_clears_the_error() {
    let without_cloudtrail = world().default_key_policy("123456789012");
    let (aws, key) = failing(KeyState::Enabled, Some(&without_cloudtrail));
    let allowing = aws.world().cloudtrail_key_policy();
    let client = kms(&aws, IRELAND).await;
    for (policy, expected) in [(&without_cloudtrail, Some(ERROR)), (&allowing, None)] {
        client.put_key_policy().key_id(&key).policy(policy).send().await.unwrap();
        assert_eq!(error(&aws).await.as_deref(), expected);
    }
}

#[tokio::test]
async fn another_key_clears_the_error() {
    let (aws, _) = failing(KeyState::Disabled, None);
    let policy = aws.world().cloudtrail_key_policy();
    let other = aws.world().key(Key::new(IRELAND).policy(&policy));
    cloudtrail(&aws, IRELAND).await.update_trail().name("audit").kms_key_id(&other).send().await.unwrap();
    assert_eq!(error(&aws).await, None);
}

#[tokio::test]
async fn the_error_remains_while_another_cause_exists() {
    let (aws, key) = failing(KeyState::Disabled, None);
    aws.world().buckets.get_mut("logs").unwrap().denies_cloudtrail = true;
    kms(&aws, IRELAND).await.enable_key().key_id(&key).send().await.unwrap();
    assert_eq!(error(&aws).await.as_deref(), Some(ERROR));
}
