//! What CloudTrail checks before it takes a trail's settings: the bucket, and the key with its policy.

use crate::answer::Refusal;
use crate::names::{self, Arn};
use crate::policy::{self, Caller, Question, Verdict};
use crate::{Bucket, Key, KeyManager, Trail, World};

/// CloudTrail's name in policies, in every partition.
const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

/// Condition keys that only a caller with an identity of its own carries; a service has none.
const OF_IDENTITIES: [&str; 8] = [
    "aws:PrincipalArn",
    "aws:PrincipalAccount",
    "aws:PrincipalOrgID",
    "aws:userid",
    "aws:username",
    "aws:SourceVpce",
    "aws:SourceVpc",
    "kms:GrantIsForAWSResource",
];

/// The bucket exists and lets CloudTrail write.
pub(crate) fn bucket(world: &World, trail: &Trail) -> Result<(), Refusal> {
    let name = &trail.bucket;
    let bucket = world
        .buckets
        .get(name)
        .ok_or_else(|| Refusal::new("S3BucketDoesNotExistException", format!("S3 bucket {name} does not exist!")))?;
    match bucket.denies_cloudtrail {
        true => Err(Refusal::new(
            "InsufficientS3BucketPolicyException",
            format!("Incorrect S3 bucket policy is detected for bucket: {name}"),
        )),
        false => Ok(()),
    }
}

/// The key's ARN, from whatever it may be called. Names without a Region are looked up in the bucket's.
pub(crate) fn key_arn(world: &mut World, trail: &Trail, id: &str) -> Result<String, Refusal> {
    let region = world.buckets.get(&trail.bucket).map(|bucket| bucket.region.clone()).unwrap_or_default();
    let arn = if names::is_key_id(id) {
        world.arn("kms", &region, &format!("key/{id}"))
    } else if names::is_alias_name(id) {
        world.arn("kms", &region, id)
    } else {
        id.to_owned()
    };
    let invalid = || Refusal::new("InvalidKmsKeyIdException", format!("KMS key ID is invalid: {id}"));
    let resource = Arn::kms(&arn).ok_or_else(invalid)?.resource;
    if resource.starts_with("alias/") {
        let alias = world.aliases.get_mut(&arn).ok_or_else(|| key_not_found(&arn))?;
        if alias.hidden_calls > 0 {
            alias.hidden_calls -= 1;
            return Err(key_not_found(&arn));
        }
        return Ok(alias.target.clone());
    }
    match resource.strip_prefix("key/").is_some_and(names::is_key_id) {
        true => Ok(arn),
        false => Err(invalid()),
    }
}

/// The trail's key, if it has one, is one that CloudTrail can use for it. Each try lets time pass for
/// what is not settled yet.
pub(crate) fn key(world: &mut World, trail_arn: &str, trail: &Trail) -> Result<(), Refusal> {
    let Some(key_arn) = trail.kms_key_id.clone() else {
        return Ok(());
    };
    let bucket = world.buckets.get(&trail.bucket).cloned().unwrap_or_else(|| Bucket::new(&trail.bucket, ""));
    let key = world.keys.get_mut(&key_arn).ok_or_else(|| key_not_found(&key_arn))?;
    if key.hidden_calls > 0 {
        key.hidden_calls -= 1;
        return Err(key_not_found(&key_arn));
    }
    judge_key(key, &key_arn, &bucket)?;
    if key.unsettled_tries > 0 {
        key.unsettled_tries -= 1;
        return Err(insufficient(&bucket, &key_arn));
    }
    match gap(world, &key_arn, trail_arn, &bucket) {
        None => Ok(()),
        Some(_) => Err(insufficient(&bucket, &key_arn)),
    }
}

/// Everything about the key but its policy.
pub(crate) fn judge_key(key: &Key, key_arn: &str, bucket: &Bucket) -> Result<(), Refusal> {
    if names::region_of(key_arn) != bucket.region {
        return Err(key_not_found(key_arn));
    }
    if !key.is_usable() {
        return Err(Refusal::new(
            "KmsException",
            format!("The KMS key {key_arn} cannot be used, its state is {:?}", key.state),
        ));
    }
    if !key.is_symmetric() || key.usage != "ENCRYPT_DECRYPT" {
        return Err(Refusal::new("InvalidKmsKeyIdException", format!("KMS key ID is invalid: {key_arn}")));
    }
    match key.manager {
        KeyManager::Customer => Ok(()),
        // Nobody can let CloudTrail into a key whose policy AWS writes.
        KeyManager::Aws => Err(insufficient(bucket, key_arn)),
    }
}

/// What the key's policy does not let CloudTrail do for the trail, if anything.
pub(crate) fn gap(world: &World, key_arn: &str, trail_arn: &str, bucket: &Bucket) -> Option<String> {
    let policy = &world.keys.get(key_arn)?.policy;
    let partition = Arn::parse(trail_arn).map_or("aws", |arn| arn.partition);
    let bucket_arn = format!("arn:{partition}:s3:::{}", bucket.name);
    let context = "kms:EncryptionContext:aws:cloudtrail:arn";
    let s3_context = "kms:EncryptionContext:aws:s3:arn";
    let mut questions = vec![
        question(world, "kms:GenerateDataKey", key_arn, trail_arn)
            .with(context, trail_arn)
            .with(s3_context, &format!("{bucket_arn}/AWSLogs")),
        question(world, "kms:DescribeKey", key_arn, trail_arn).without(&[context, s3_context]),
    ];
    if bucket.bucket_key {
        // The encryption context is the bucket's then; nobody says that the trail's is there as well.
        let decrypt = question(world, "kms:Decrypt", key_arn, trail_arn);
        questions.push(decrypt.without(&[context]).with(s3_context, &bucket_arn));
    }
    questions.into_iter().find_map(|question| match policy::ask(policy, &question) {
        Verdict::Allowed => None,
        Verdict::Denied(by) => Some(format!("{} is denied by {by}", question.action)),
        Verdict::Delegated | Verdict::Silent => Some(format!("{} is not allowed", question.action)),
    })
}

/// A call of CloudTrail's own on behalf of a trail.
pub(crate) fn question(world: &World, action: &str, resource: &str, trail_arn: &str) -> Question {
    let owner = names::account_of(trail_arn);
    let question = Question::new(Caller::Service(CLOUDTRAIL.to_owned()), action, resource)
        .with("aws:SourceArn", trail_arn)
        .with("aws:SourceAccount", owner)
        .with("aws:PrincipalIsAWSService", "true")
        .with("aws:PrincipalServiceName", CLOUDTRAIL)
        .with("aws:SecureTransport", "true")
        .without(&OF_IDENTITIES);
    // The organization of the account for which it asks; the service is in none.
    match world.organizations.get(owner) {
        Some(organization) => question.with("aws:SourceOrgID", organization),
        None => question.without(&["aws:SourceOrgID"]),
    }
}

fn key_not_found(key_arn: &str) -> Refusal {
    Refusal::new("KmsKeyNotFoundException", format!("KMS key {key_arn} cannot be found"))
}

fn insufficient(bucket: &Bucket, key_arn: &str) -> Refusal {
    Refusal::new(
        "InsufficientEncryptionPolicyException",
        format!("Insufficient permissions to access S3 bucket {} or KMS key {key_arn}.", bucket.name),
    )
}
