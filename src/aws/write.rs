//! The port to write.

use aws_sdk_kms::types::{KeySpec, KeyUsageType, Tag};
use trailseal_core::ids::{KeyAlias, KeyArn, Region, TrailArn};
use trailseal_core::observation::{Class, Failure, KeptSettings, UpdatedTrail};
use trailseal_core::plan::NewKey;

use super::clients::Aws;
use super::error::Attempt;
use super::pace::Kind;
use super::read::{answer, kept, set};
use super::retry::{Again, Rules};
use super::{AliasCreation, Until, Write};

/// Writes to AWS until the deadline.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    pub(super) aws: &'a Aws,
    pub(super) until: Until,
}

/// What KMS may say of a key that it created a moment ago.
const NEW_TO_KMS: Again = Again::WhileSettling(&["NotFoundException"]);
/// What KMS may say of a key whose deletion was cancelled a moment ago: that it is still pending.
const JUST_RESCUED: Again = Again::WhileSettling(&["KMSInvalidStateException"]);
/// What CloudTrail may say of a key, or of a policy, that it does not see yet.
const NEW_TO_CLOUDTRAIL: &[&str] =
    &["KmsKeyNotFoundException", "InsufficientEncryptionPolicyException", "KmsException", "KmsKeyDisabledException"];

impl Write for Writer<'_> {
    async fn create_key(&self, region: &Region, key: &NewKey) -> Result<KeyArn, Failure> {
        let attempt = Attempt::new("kms:CreateKey", format!("create a key in `{region}`"));
        let tags = key.tags.iter().map(|(name, value)| Tag::builder().tag_key(name).tag_value(value).build());
        let tags = tags.collect::<Result<Vec<_>, _>>().map_err(|odd| attempt.unusable_answer(&odd.to_string()))?;
        let call = self
            .aws
            .kms(region)
            .create_key()
            .key_spec(KeySpec::SymmetricDefault)
            .key_usage(KeyUsageType::EncryptDecrypt)
            .multi_region(false)
            .description(&key.description)
            .policy(key.policy.text())
            .set_tags(Some(tags));
        let output = answer!(self, (region, Kind::Other), call, aws_sdk_kms, Again::IfThrottled, attempt).await?;
        let arn = output.key_metadata.and_then(|metadata| metadata.arn).unwrap_or_default();
        // One may have been created all the same.
        arn.parse().map_err(|malformed| Failure {
            left_open: true,
            ..attempt.unusable_answer(&format!("KMS created one whose ARN is odd: {malformed}"))
        })
    }

    async fn enable_rotation(&self, key: &KeyArn) -> Result<(), Failure> {
        let attempt = Attempt::new("kms:EnableKeyRotation", format!("switch on rotation of key `{key}`"));
        let call = self.aws.kms(key.region()).enable_key_rotation().key_id(key.as_str());
        answer!(self, (key.region(), Kind::Other), call, aws_sdk_kms, NEW_TO_KMS, attempt).await.map(drop)
    }

    async fn create_alias(&self, alias: &KeyAlias, key: &KeyArn) -> Result<AliasCreation, Failure> {
        let attempt = Attempt::new("kms:CreateAlias", format!("create `{alias}` for key `{key}`"));
        let call = self.aws.kms(key.region()).create_alias().alias_name(alias.as_str()).target_key_id(key.as_str());
        match answer!(self, (key.region(), Kind::Other), call, aws_sdk_kms, NEW_TO_KMS, attempt).await {
            Ok(_) => Ok(AliasCreation::Created),
            Err(failure) if failure.is("AlreadyExistsException") => Ok(AliasCreation::AlreadyExists),
            Err(failure) => Err(failure),
        }
    }

    async fn cancel_key_deletion(&self, key: &KeyArn) -> Result<(), Failure> {
        let attempt = Attempt::new("kms:CancelKeyDeletion", format!("cancel the deletion of key `{key}`"));
        let call = self.aws.kms(key.region()).cancel_key_deletion().key_id(key.as_str());
        answer!(self, (key.region(), Kind::Other), call, aws_sdk_kms, Again::IfThrottled, attempt).await.map(drop)
    }

    async fn enable_key(&self, key: &KeyArn) -> Result<(), Failure> {
        let attempt = Attempt::new("kms:EnableKey", format!("enable key `{key}`"));
        let call = self.aws.kms(key.region()).enable_key().key_id(key.as_str());
        answer!(self, (key.region(), Kind::Other), call, aws_sdk_kms, JUST_RESCUED, attempt).await.map(drop)
    }

    async fn put_key_policy(&self, key: &KeyArn, policy: &str) -> Result<(), Failure> {
        let attempt = Attempt::new("kms:PutKeyPolicy", format!("extend the policy of key `{key}`"));
        let call = self.aws.kms(key.region()).put_key_policy().key_id(key.as_str());
        let call = call.policy_name("default").policy(policy);
        answer!(self, (key.region(), Kind::Other), call, aws_sdk_kms, Again::IfThrottled, attempt).await.map(drop)
    }

    async fn update_trail(
        &self,
        trail: &TrailArn,
        home: &Region,
        key: &KeyArn,
        settling: bool,
    ) -> Result<UpdatedTrail, Failure> {
        let attempt = Attempt::new("cloudtrail:UpdateTrail", format!("give trail `{trail}` the key `{key}`"));
        let call = self.aws.cloudtrail(home).update_trail().name(trail.as_str()).kms_key_id(key.as_str());
        match answer!(self, (home, Kind::Write), call, aws_sdk_cloudtrail, Again::ByTheCaller, attempt).await {
            Ok(updated) => Ok(UpdatedTrail { kms_key_id: set(updated.kms_key_id), kept: kept!(updated) }),
            Err(mut failure) => {
                // A later try may succeed while the key is young.
                if settling && NEW_TO_CLOUDTRAIL.iter().any(|code| failure.is(code)) {
                    failure.class = Class::Transient;
                }
                Err(failure)
            }
        }
    }

    async fn start_logging(&self, trail: &TrailArn, home: &Region) -> Result<(), Failure> {
        let attempt = Attempt::new("cloudtrail:StartLogging", format!("start logging of trail `{trail}`"));
        let call = self.aws.cloudtrail(home).start_logging().name(trail.as_str());
        answer!(self, (home, Kind::Write), call, aws_sdk_cloudtrail, Again::Usual, attempt).await.map(drop)
    }
}
