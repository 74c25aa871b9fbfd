//! What CloudTrail checks before it accepts a trail's settings: the bucket, and the key with its policy.

use crate::names::{self, Arn};
use crate::policy::{self, AccessRequest, Caller, PolicyDecision};
use crate::response::ApiError;
use crate::{Bucket, Key, KeyManager, Trail, World};

/// CloudTrail's name in policies, in every partition.
const CLOUDTRAIL: &str = "cloudtrail.amazonaws.com";

/// Condition keys that are present only if an IAM identity calls, not a service.
const PRINCIPAL_KEYS: [&str; 8] = [
    "aws:PrincipalArn",
    "aws:PrincipalAccount",
    "aws:PrincipalOrgID",
    "aws:userid",
    "aws:username",
    "aws:SourceVpce",
    "aws:SourceVpc",
    "kms:GrantIsForAWSResource",
];

/// The accounts that CloudTrail used before March 2015, as far as the fake knows them.
const FORMER_ACCOUNTS: [&str; 2] = ["903692715234", "859597730677"];

/// Checks that the bucket exists and allows CloudTrail to read its ACL and to write with the trail's key.
pub(crate) fn bucket(world: &World, trail_arn: &str, trail: &Trail) -> Result<(), ApiError> {
    let name = &trail.bucket;
    let bucket = world
        .buckets
        .get(name)
        .ok_or_else(|| ApiError::new("S3BucketDoesNotExistException", format!("S3 bucket {name} does not exist!")))?;
    match bucket.denies_cloudtrail || bucket_policy_gap(world, trail_arn, trail, bucket).is_some() {
        true => Err(ApiError::new(
            "InsufficientS3BucketPolicyException",
            format!("Incorrect S3 bucket policy is detected for bucket: {name}"),
        )),
        false => Ok(()),
    }
}

/// What the bucket's policy does not allow CloudTrail to do for the trail, if anything.
pub(crate) fn bucket_policy_gap(world: &World, trail_arn: &str, trail: &Trail, bucket: &Bucket) -> Option<String> {
    const ENCRYPTION: &str = "s3:x-amz-server-side-encryption";
    const KEY_ID: &str = "s3:x-amz-server-side-encryption-aws-kms-key-id";
    let policy = bucket.policy.as_deref().unwrap_or_default();
    let bucket_arn = format!("arn:{}:s3:::{}", world.partition, bucket.name);
    let prefix = trail.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
    let organization = match world.organizations.get(&trail.owner) {
        Some(organization) if trail.organization => format!("{organization}/"),
        _ => String::new(),
    };
    let object = format!("{bucket_arn}/{prefix}AWSLogs/{organization}{}/CloudTrail/log.json.gz", trail.owner);
    let request = |action, resource: &str| {
        cloudtrail_request(world, action, resource, trail_arn)
            .with("aws:ResourceAccount", &bucket.owner)
            .with("s3:ResourceAccount", &bucket.owner)
            .with("s3:TlsVersion", "1.3")
    };
    let write = request("s3:PutObject", &object).with("s3:x-amz-acl", "bucket-owner-full-control");
    let write = match &trail.kms_key_id {
        Some(key_arn) => write.with(ENCRYPTION, "aws:kms").with(KEY_ID, key_arn),
        None => write.with(ENCRYPTION, "AES256").without(&[KEY_ID]),
    };
    let read_acl = request("s3:GetBucketAcl", &bucket_arn).without(&["s3:x-amz-acl", ENCRYPTION, KEY_ID]);
    [write, read_acl].into_iter().find_map(|request| match policy::evaluate(policy, &request) {
        PolicyDecision::Allowed | PolicyDecision::Delegated => None,
        PolicyDecision::ExplicitDeny(by) => Some(format!("{} is denied by {by}", request.action)),
        PolicyDecision::ImplicitDeny => {
            let by_account = |account: &str| {
                let root = format!("arn:{}:iam::{account}:root", world.partition);
                let caller = Caller::Principal(root);
                policy::evaluate(policy, &AccessRequest { caller, ..request.clone() }) == PolicyDecision::Allowed
            };
            let allowed = FORMER_ACCOUNTS.into_iter().any(by_account);
            (!allowed).then(|| format!("{} is not allowed", request.action))
        }
    })
}

/// Resolves a key ID, an alias or an ARN to the key's ARN. Without a Region, in the bucket's Region.
pub(crate) fn key_arn(world: &mut World, trail: &Trail, id: &str) -> Result<String, ApiError> {
    let region = world.buckets.get(&trail.bucket).map(|bucket| bucket.region.clone()).unwrap_or_default();
    let arn = if names::is_key_id(id) {
        world.arn("kms", &region, &format!("key/{id}"))
    } else if names::is_alias_name(id) {
        world.arn("kms", &region, id)
    } else {
        id.to_owned()
    };
    let invalid = || ApiError::new("InvalidKmsKeyIdException", format!("KMS key ID is invalid: {id}"));
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

/// Checks that CloudTrail can use the trail's key, if it has one. Each call counts down the key's
/// consistency delays.
pub(crate) fn key(world: &mut World, trail_arn: &str, trail: &Trail) -> Result<(), ApiError> {
    let Some(key_arn) = trail.kms_key_id.clone() else {
        return Ok(());
    };
    let bucket = world.buckets.get(&trail.bucket).cloned().unwrap_or_else(|| Bucket::new(&trail.bucket, ""));
    let key = world.keys.get_mut(&key_arn).ok_or_else(|| key_not_found(&key_arn))?;
    if key.hidden_calls > 0 {
        key.hidden_calls -= 1;
        return Err(key_not_found(&key_arn));
    }
    check_key(key, &key_arn, &bucket)?;
    if key.policy_pending_calls > 0 {
        key.policy_pending_calls -= 1;
        return Err(insufficient(&bucket, &key_arn));
    }
    match policy_gap(world, &key_arn, trail_arn, &bucket) {
        None => Ok(()),
        Some(_) => Err(insufficient(&bucket, &key_arn)),
    }
}

/// Checks everything about the key but its policy.
pub(crate) fn check_key(key: &Key, key_arn: &str, bucket: &Bucket) -> Result<(), ApiError> {
    if names::region_of(key_arn) != bucket.region {
        return Err(key_not_found(key_arn));
    }
    if !key.is_usable() {
        return Err(ApiError::new(
            "KmsException",
            format!("The KMS key {key_arn} cannot be used, its state is {:?}", key.state),
        ));
    }
    if !key.is_symmetric() || key.usage != "ENCRYPT_DECRYPT" {
        return Err(ApiError::new("InvalidKmsKeyIdException", format!("KMS key ID is invalid: {key_arn}")));
    }
    match key.manager {
        KeyManager::Customer => Ok(()),
        // The customer cannot change the policy of an AWS managed key.
        KeyManager::Aws => Err(insufficient(bucket, key_arn)),
    }
}

/// What the key's policy does not allow CloudTrail to do for the trail, if anything. AWS documents `kms:DescribeKey` as
/// required, but accepts the policy of this guide, which does not allow it, and delivers:
/// <https://docs.aws.amazon.com/controltower/latest/userguide/configure-kms-keys.html>.
pub(crate) fn policy_gap(world: &World, key_arn: &str, trail_arn: &str, bucket: &Bucket) -> Option<String> {
    let policy = &world.keys.get(key_arn)?.policy;
    let partition = Arn::parse(trail_arn).map_or("aws", |arn| arn.partition);
    let bucket_arn = format!("arn:{partition}:s3:::{}", bucket.name);
    let context = "kms:EncryptionContext:aws:cloudtrail:arn";
    let s3_context = "kms:EncryptionContext:aws:s3:arn";
    let mut requests = vec![
        cloudtrail_request(world, "kms:GenerateDataKey", key_arn, trail_arn)
            .with(context, trail_arn)
            .with(s3_context, &format!("{bucket_arn}/AWSLogs")),
    ];
    if bucket.bucket_key {
        // The encryption context is then the bucket. AWS does not document that the trail's is also present.
        let decrypt = cloudtrail_request(world, "kms:Decrypt", key_arn, trail_arn);
        requests.push(decrypt.without(&[context]).with(s3_context, &bucket_arn));
    }
    requests.into_iter().find_map(|request| match policy::evaluate(policy, &request) {
        PolicyDecision::Allowed => None,
        PolicyDecision::ExplicitDeny(by) => Some(format!("{} is denied by {by}", request.action)),
        PolicyDecision::Delegated | PolicyDecision::ImplicitDeny => Some(format!("{} is not allowed", request.action)),
    })
}

/// A request that CloudTrail makes on behalf of a trail.
pub(crate) fn cloudtrail_request(world: &World, action: &str, resource: &str, trail_arn: &str) -> AccessRequest {
    let owner = names::account_of(trail_arn);
    let request = AccessRequest::new(Caller::Service(CLOUDTRAIL.to_owned()), action, resource)
        .with("aws:SourceArn", trail_arn)
        .with("aws:SourceAccount", owner)
        .with("aws:PrincipalIsAWSService", "true")
        .with("aws:PrincipalServiceName", CLOUDTRAIL)
        .with("aws:SecureTransport", "true")
        .without(&PRINCIPAL_KEYS);
    // The organization of the trail's owner; the service itself is in none.
    match world.organizations.get(owner) {
        Some(organization) => request.with("aws:SourceOrgID", organization),
        None => request.without(&["aws:SourceOrgID"]),
    }
}

fn key_not_found(key_arn: &str) -> ApiError {
    ApiError::new("KmsKeyNotFoundException", format!("KMS key {key_arn} cannot be found"))
}

fn insufficient(bucket: &Bucket, key_arn: &str) -> ApiError {
    ApiError::new(
        "InsufficientEncryptionPolicyException",
        format!("Insufficient permissions to access S3 bucket {} or KMS key {key_arn}.", bucket.name),
    )
}
