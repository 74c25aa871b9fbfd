//! AWS as the flow sees it: one port to read, one to write. Only this folder names the SDK.

mod clients;
mod error;
mod pace;
mod publish;
mod read;
mod retry;
#[cfg(test)]
mod tests;
mod under_way;
mod write;

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use trailseal_core::ids::{KeyAlias, KeyArn, Region, TrailArn};
use trailseal_core::observation::{
    Failure, KeyMetadata, KeyTags, ListedTrails, Reading, ReplicationRule, TrailSettings, TrailStatus, UpdatedTrail,
};
use trailseal_core::plan::NewKey;
use trailseal_core::trigger::TrailRef;

pub use clients::Aws;

/// Until when a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    /// When it is over.
    at: Instant,
    /// What is over then, as messages name it.
    whose: &'static str,
}

impl Until {
    /// What of the invocation's time is for this, so that the rest is left for other trails.
    pub fn share(at: Instant) -> Self {
        Self { at, whose: "its share of the invocation's time" }
    }
}

/// All the time that there is.
impl From<Instant> for Until {
    fn from(at: Instant) -> Self {
        Self { at, whose: "the invocation's time" }
    }
}

/// Everything that is read. Observing and planning hold nothing else.
pub trait Read: Sync {
    /// `GetTrail`; `None`: there is no such trail.
    fn trail(&self, trail: &TrailRef) -> impl Future<Output = Result<Option<TrailSettings>, Failure>> + Send;
    /// `GetTrailStatus`; `None`: there is no such trail.
    fn trail_status(&self, trail: &TrailRef) -> impl Future<Output = Result<Option<TrailStatus>, Failure>> + Send;
    /// The value of one of a trail's tags, by `ListTags`.
    fn trail_tag(
        &self,
        trail: &TrailArn,
        home: &Region,
        key: &str,
    ) -> impl Future<Output = Result<Option<String>, Failure>> + Send;
    /// Every trail that the account sees, by its ARN and its home Region: `ListTrails`, asked in `region`.
    fn trails(&self, region: &Region) -> impl Future<Output = Result<ListedTrails, Failure>> + Send;
    /// Every trail that can be changed in that Region, with its settings: `DescribeTrails`.
    fn trails_of(&self, region: &Region) -> impl Future<Output = Result<Vec<TrailSettings>, Failure>> + Send;
    /// The Region of a bucket, asked in the trail's home Region.
    fn bucket_region(&self, bucket: &str, home: &Region) -> impl Future<Output = Result<Region, Failure>> + Send;
    /// `GetBucketPolicy`, in the bucket's own Region.
    fn bucket_policy(
        &self,
        bucket: &str,
        region: &Region,
    ) -> impl Future<Output = Result<Reading<String>, Failure>> + Send;
    /// The rules of `GetBucketReplication`, in the bucket's own Region.
    fn bucket_replication(
        &self,
        bucket: &str,
        region: &Region,
    ) -> impl Future<Output = Result<Reading<Vec<ReplicationRule>>, Failure>> + Send;
    /// `DescribeKey`, of a key's ARN, id or alias in that Region.
    fn key(&self, key: &str, region: &Region) -> impl Future<Output = Result<Reading<KeyMetadata>, Failure>> + Send;
    /// `GetKeyPolicy`.
    fn key_policy(&self, key: &KeyArn) -> impl Future<Output = Result<Reading<String>, Failure>> + Send;
    /// What a key's tags say, by `ListResourceTags`.
    fn key_tags(&self, key: &KeyArn, exempt_tag: &str) -> impl Future<Output = Result<KeyTags, Failure>> + Send;
    /// The names of a key's aliases (`alias/…`), by `ListAliases`.
    fn key_aliases(&self, key: &KeyArn) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;
    /// Whether a key has any grant, by `ListGrants`.
    fn key_has_grants(&self, key: &KeyArn) -> impl Future<Output = Result<bool, Failure>> + Send;
    /// The keys of a Region that the tag index says are ours, by `GetResources` of the Resource Groups
    /// Tagging API. The index runs behind: a new key comes late, and its tags may have changed since.
    fn tagged_keys(&self, region: &Region) -> impl Future<Output = Result<Vec<KeyArn>, Failure>> + Send;
    /// Lets time pass before something is read again; fails at once if there is not that much left.
    fn wait(&self, time: Duration) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Everything that is written, apart from alerts. Only `apply` holds it.
pub trait Write: Sync {
    /// `CreateKey`, sent once.
    fn create_key(&self, region: &Region, key: &NewKey) -> impl Future<Output = Result<KeyArn, Failure>> + Send;
    /// `EnableKeyRotation` of a key that was just created.
    fn enable_rotation(&self, key: &KeyArn) -> impl Future<Output = Result<(), Failure>> + Send;
    /// `CreateAlias` for a key that was just created.
    fn create_alias(
        &self,
        alias: &KeyAlias,
        key: &KeyArn,
    ) -> impl Future<Output = Result<AliasCreation, Failure>> + Send;
    /// `CancelKeyDeletion`, sent once: a second one would be refused. The key is disabled afterwards.
    fn cancel_key_deletion(&self, key: &KeyArn) -> impl Future<Output = Result<(), Failure>> + Send;
    /// `EnableKey`.
    fn enable_key(&self, key: &KeyArn) -> impl Future<Output = Result<(), Failure>> + Send;
    /// `PutKeyPolicy`, sent once, never with the lock-out check bypassed.
    fn put_key_policy(&self, key: &KeyArn, policy: &str) -> impl Future<Output = Result<(), Failure>> + Send;
    /// `UpdateTrail` with the ARN and `KmsKeyId`, nothing else; sent once. With `settling`, a refusal that
    /// a young key explains is one that passes.
    fn update_trail(
        &self,
        trail: &TrailArn,
        home: &Region,
        key: &KeyArn,
        settling: bool,
    ) -> impl Future<Output = Result<UpdatedTrail, Failure>> + Send;
    /// `StartLogging`.
    fn start_logging(&self, trail: &TrailArn, home: &Region) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What came of creating the alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AliasCreation {
    /// It is ours.
    Created,
    /// It was there already, perhaps by an earlier attempt of our own.
    AlreadyExists,
}
