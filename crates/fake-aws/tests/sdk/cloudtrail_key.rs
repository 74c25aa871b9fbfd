//! What CloudTrail checks before it accepts a trail's key.

use aws_sdk_kms::error::ProvideErrorMetadata as _;
use fake_aws::{Bucket, ConsistencyDelays, FakeAws, Key, KeyState, Trail, World};
use serde_json::{Value, json};

use crate::{ACCOUNT, FRANKFURT, IRELAND, OTHER_ACCOUNT, cloudtrail, code, world};

/// A trail in Ireland with a bucket in Frankfurt.
fn unencrypted() -> World {
    world().bucket("logs", FRANKFURT).trail(Trail::new("audit", IRELAND, "logs"))
}

/// The same with a key that CloudTrail can use, and its ARN.
fn with_key(key: Key) -> (World, String) {
    let mut world = unencrypted();
    let policy = world.cloudtrail_key_policy();
    let arn = world.key(key.policy(&policy));
    (world, arn)
}

/// The error code of encrypting with this key.
async fn update_error(world: World, key: &str) -> String {
    let aws = FakeAws::start(world);
    let before = aws.snapshot();
    let client = cloudtrail(&aws, IRELAND).await;
    let code = code(client.update_trail().name("audit").kms_key_id(key).send().await);
    assert_eq!(aws.snapshot(), before);
    code
}

#[tokio::test]
async fn any_name_of_a_usable_key_is_resolved_to_its_arn() {
    let (mut world, key) = with_key(Key::new(FRANKFURT));
    world.alias(FRANKFURT, "alias/trailseal", &key);
    let aws = FakeAws::start(world);
    let client = cloudtrail(&aws, IRELAND).await;
    let id = key.rsplit('/').next().unwrap().to_owned();
    let alias_arn = "arn:aws:kms:eu-central-1:123456789012:alias/trailseal".to_owned();
    for name in [key.clone(), id, "alias/trailseal".to_owned(), alias_arn] {
        let output = client.update_trail().name("audit").kms_key_id(name).send().await.unwrap();
        assert_eq!(output.kms_key_id(), Some(key.as_str()));
    }
    let arn = aws.world().trail_arn(IRELAND, "audit");
    assert_eq!(aws.world().check_delivery(&arn), Ok(()));
    let output = client.update_trail().name("audit").kms_key_id("").send().await.unwrap();
    assert_eq!(output.kms_key_id(), None);
    assert_eq!(aws.world().trails[&arn].kms_key_id, None);
}

#[tokio::test]
async fn a_key_must_be_in_the_buckets_region() {
    let (world, key) = with_key(Key::new(IRELAND));
    assert_eq!(update_error(world, &key).await, "KmsKeyNotFoundException");
}

#[tokio::test]
async fn a_key_must_exist() {
    let id = "00000000-0000-4000-8000-00000000ffff";
    assert_eq!(update_error(unencrypted(), id).await, "KmsKeyNotFoundException");
    assert_eq!(update_error(unencrypted(), "alias/none").await, "KmsKeyNotFoundException");
    assert_eq!(update_error(unencrypted(), "no key").await, "InvalidKmsKeyIdException");
    assert_eq!(update_error(unencrypted(), "arn:aws:kms:x").await, "InvalidKmsKeyIdException");
}

#[tokio::test]
async fn a_key_must_be_enabled() {
    for state in [KeyState::Disabled, KeyState::PendingDeletion, KeyState::PendingImport] {
        let (world, key) = with_key(Key::new(FRANKFURT).state(state));
        assert_eq!(update_error(world, &key).await, "KmsException");
    }
}

#[tokio::test]
async fn a_key_must_be_symmetric_and_customer_managed() {
    let (world, key) = with_key(Key::new(FRANKFURT).spec("RSA_2048", "ENCRYPT_DECRYPT"));
    assert_eq!(update_error(world, &key).await, "InvalidKmsKeyIdException");
    let (world, key) = with_key(Key::new(FRANKFURT).spec("HMAC_256", "GENERATE_VERIFY_MAC"));
    assert_eq!(update_error(world, &key).await, "InvalidKmsKeyIdException");
    let (world, key) = with_key(Key::new(FRANKFURT).managed_by_aws());
    assert_eq!(update_error(world, &key).await, "InsufficientEncryptionPolicyException");
}

#[tokio::test]
async fn another_accounts_key_must_allow_cloudtrail() {
    let (world, key) = with_key(Key::new(FRANKFURT).of_account(OTHER_ACCOUNT));
    let aws = FakeAws::start(world);
    let client = cloudtrail(&aws, IRELAND).await;
    client.update_trail().name("audit").kms_key_id(&key).send().await.unwrap();
}

#[tokio::test]
async fn the_request_has_the_organization_of_the_trails_owner() {
    let (mut world, key) = with_key(Key::new(FRANKFURT).of_account(OTHER_ACCOUNT));
    let policy = &mut world.keys.get_mut(&key).unwrap().policy;
    *policy = policy.replace(
        "\"aws:SourceArn\":\"arn:aws:cloudtrail:*:123456789012:trail/*\"",
        "\"aws:SourceArn\":\"o-abcdefghij\"",
    );
    *policy = policy.replace("ArnLike", "StringEquals").replace("aws:SourceArn", "aws:SourceOrgID");
    assert!(policy.contains(r#"{"StringEquals":{"aws:SourceOrgID":"o-abcdefghij"}"#), "{policy}");
    assert_eq!(update_error(world.clone(), &key).await, "InsufficientEncryptionPolicyException");
    assert_eq!(
        update_error(world.clone().organization("o-bbbbbbbbbb", &[ACCOUNT]), &key).await,
        "InsufficientEncryptionPolicyException"
    );
    let aws = FakeAws::start(world.organization("o-abcdefghij", &[ACCOUNT]));
    let client = cloudtrail(&aws, IRELAND).await;
    client.update_trail().name("audit").kms_key_id(&key).send().await.unwrap();
}

#[tokio::test]
async fn a_key_policy_must_allow_cloudtrail() {
    let mut world = unencrypted();
    let key = world.key(Key::new(FRANKFURT));
    assert_eq!(update_error(world.clone(), &key).await, "InsufficientEncryptionPolicyException");

    // Each replacement breaks the policy.
    let valid = world.cloudtrail_key_policy();
    let replacements = [
        ("kms:GenerateDataKey*", "kms:Encrypt"),
        ("cloudtrail.amazonaws.com", "config.amazonaws.com"),
        ("cloudtrail:*:123456789012", "cloudtrail:*:210987654321"),
        ("cloudtrail:*:", "cloudtrail:eu-west-2:"),
        ("aws:SourceArn", "aws:SourceOrgPaths"),
        ("ArnLike", "NumericEquals"),
        ("aws:cloudtrail:arn", "aws:s3:arn"),
    ];
    for (from, to) in replacements {
        assert!(valid.contains(from));
        world.keys.get_mut(&key).unwrap().policy = valid.replace(from, to);
        assert_eq!(update_error(world.clone(), &key).await, "InsufficientEncryptionPolicyException", "{to}");
    }
}

#[tokio::test]
async fn describe_is_not_required() {
    let (mut world, key) = with_key(Key::new(FRANKFURT));
    let policy = &mut world.keys.get_mut(&key).unwrap().policy;
    *policy = policy.replace("kms:DescribeKey", "kms:Encrypt");
    let aws = FakeAws::start(world);
    let client = cloudtrail(&aws, IRELAND).await;
    client.update_trail().name("audit").kms_key_id(&key).send().await.unwrap();
    let arn = aws.world().trail_arn(IRELAND, "audit");
    assert_eq!(aws.world().check_delivery(&arn), Ok(()));
}

#[tokio::test]
async fn a_deny_statement_is_an_error() {
    let (mut world, key) = with_key(Key::new(FRANKFURT));
    let deny = r#""Statement":[{"Effect":"Deny","Principal":"*","Action":"kms:generatedatakey*","Resource":"*"},"#;
    let policy = &mut world.keys.get_mut(&key).unwrap().policy;
    *policy = policy.replace(r#""Statement":["#, deny);
    assert_eq!(update_error(world, &key).await, "InsufficientEncryptionPolicyException");
}

#[tokio::test]
async fn decrypt_is_required_only_with_a_bucket_key() {
    let (mut world, key) = with_key(Key::new(FRANKFURT));
    let policy = &mut world.keys.get_mut(&key).unwrap().policy;
    *policy = policy.replace("kms:Decrypt", "kms:Encrypt");
    let mut with_bucket_key = world.clone();
    with_bucket_key.add_bucket(Bucket::new("logs", FRANKFURT).with_bucket_key());
    assert_eq!(update_error(with_bucket_key, &key).await, "InsufficientEncryptionPolicyException");
    let aws = FakeAws::start(world);
    let client = cloudtrail(&aws, IRELAND).await;
    client.update_trail().name("audit").kms_key_id(&key).send().await.unwrap();
}

#[tokio::test]
async fn the_bucket_is_checked() {
    let (mut world, key) = with_key(Key::new(FRANKFURT));
    world.buckets.get_mut("logs").unwrap().denies_cloudtrail = true;
    assert_eq!(update_error(world.clone(), &key).await, "InsufficientS3BucketPolicyException");
    world.buckets.clear();
    assert_eq!(update_error(world, &key).await, "S3BucketDoesNotExistException");
}

#[tokio::test]
async fn consistency_delays_are_counted_in_calls() {
    let (mut world, key) = with_key(Key::new(FRANKFURT));
    let entry = world.keys.get_mut(&key).unwrap();
    entry.hidden_calls = 1;
    entry.policy_pending_calls = 2;
    let aws = FakeAws::start(world);
    let client = cloudtrail(&aws, IRELAND).await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(code(client.update_trail().name("audit").kms_key_id(&key).send().await));
    }
    let insufficient = "InsufficientEncryptionPolicyException";
    assert_eq!(codes, ["KmsKeyNotFoundException", insufficient, insufficient]);
    client.update_trail().name("audit").kms_key_id(&key).send().await.unwrap();
    assert_eq!(aws.world().delays, ConsistencyDelays::default());
}

#[tokio::test]
async fn a_trail_needs_a_bucket_policy_that_lets_cloudtrail_in() {
    let statement = |principal: Value, action: &str, condition: Value| {
        json!({"Effect": "Allow", "Principal": principal, "Action": action,
        "Resource": ["arn:aws:s3:::logs", "arn:aws:s3:::logs/AWSLogs/123456789012/*"], "Condition": condition})
    };
    let both = ["s3:GetBucketAcl", "s3:PutObject"];
    let policy = |principal: Value, condition: Value| {
        let statements = both.map(|action| statement(principal.clone(), action, condition.clone()));
        Bucket::new("logs", FRANKFURT).policy(&json!({"Statement": statements}).to_string())
    };
    let service = || json!({"Service": "cloudtrail.amazonaws.com"});
    let only = |action: &str| {
        let statements = json!({"Statement": statement(service(), action, json!({}))});
        Bucket::new("logs", FRANKFURT).policy(&statements.to_string())
    };
    let equals = |key: &str, value: &str| json!({"StringEquals": {key: value}});
    for (bucket, accepted) in [
        (Bucket::new("logs", FRANKFURT), true),
        (policy(service(), json!({})), true),
        (policy(service(), equals("aws:SourceArn", "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit")), true),
        (policy(json!({"AWS": "arn:aws:iam::859597730677:root"}), json!({})), true),
        (Bucket::new("logs", FRANKFURT).without_policy(), false),
        (only("s3:GetBucketAcl"), false),
        (only("s3:PutObject"), false),
        (policy(json!({"AWS": "arn:aws:iam::123456789012:root"}), json!({})), false),
        (policy(service(), equals("aws:PrincipalOrgID", "o-abcdefghij")), false),
        (policy(service(), equals("aws:SourceArn", "arn:aws:cloudtrail:*:123456789012:trail/*")), false),
    ] {
        let mut world = world().trail(Trail::new("audit", IRELAND, "logs"));
        let policy = bucket.policy.clone();
        world.add_bucket(bucket);
        let aws = FakeAws::start(world);
        let updated = cloudtrail(&aws, IRELAND).await.update_trail().name("audit").send().await;
        assert_eq!(updated.is_ok(), accepted, "{policy:?}");
        if let Err(error) = updated {
            let error = error.into_service_error();
            assert_eq!(error.code(), Some("InsufficientS3BucketPolicyException"));
            assert_eq!(error.message(), Some("Incorrect S3 bucket policy is detected for bucket: logs"));
        }
    }
}

#[tokio::test]
async fn delivery_requires_a_usable_key_and_a_bucket_without_deny() {
    let (mut world, key) = with_key(Key::new(FRANKFURT));
    let arn = world.trail_arn(IRELAND, "audit");
    world.trails.get_mut(&arn).unwrap().kms_key_id = Some(key.clone());
    assert_eq!(world.check_delivery(&arn), Ok(()));
    let pinned = r#"{"Statement":{"Sid":"OnlyOneKey","Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::logs/*",
        "Condition":{"StringNotEquals":{"s3:x-amz-server-side-encryption-aws-kms-key-id":"arn:aws:kms:eu-central-1:123456789012:key/other"}}}}"#;
    world.add_bucket(Bucket::new("logs", FRANKFURT).policy(pinned));
    assert!(world.check_delivery(&arn).unwrap_err().contains("OnlyOneKey"));
    world.add_bucket(Bucket::new("logs", FRANKFURT));
    world.keys.get_mut(&key).unwrap().state = KeyState::Disabled;
    assert!(world.check_delivery(&arn).unwrap_err().contains("Disabled"));
}
