//! The port to read.

mod buckets;
mod keys;
mod trails;

use std::time::Duration;

use tokio::time::{Instant, sleep};
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::observation::{
    Failure, KeyMetadata, KeyTags, ListedTrails, Reading, ReplicationRule, TrailSettings, TrailStatus,
};
use trailseal_core::trigger::TrailRef;

use super::clients::Aws;
use super::{Read, Until};

/// Reads AWS until the deadline.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    pub(super) aws: &'a Aws,
    pub(super) until: Until,
}

/// Sends one SDK operation with our retry rules for its error type.
macro_rules! send {
    ($operation:expr, $sdk:ident, $again:expr, $attempt:expr) => {{
        // For the type of the operation's error, which only its own type names.
        fn rules<T, E, B>(
            _: &$sdk::client::customize::CustomizableOperation<T, E, B>,
            again: Again,
            attempt: &Attempt,
        ) -> Rules
        where
            E: ::aws_sdk_kms::error::ProvideErrorMetadata + ::std::error::Error + Send + Sync + 'static,
        {
            Rules::of::<E>(again, attempt.last.clone())
        }
        let operation = $operation.customize();
        let rules = rules(&operation, $again, &$attempt);
        operation.config_override($sdk::config::Builder::new().retry_classifier(rules)).send()
    }};
}
pub(super) use send;

/// Sends one in its turn (a Region, and what it counts as there), for whoever holds the clients until a deadline.
macro_rules! answer {
    ($port:expr, $turn:expr, $operation:expr, $sdk:ident, $again:expr, $attempt:expr) => {
        $port.aws.answer($port.until, $turn, &$attempt, || $crate::aws::read::send!($operation, $sdk, $again, $attempt))
    };
}
pub(super) use answer;

/// What the console and some emulators send as an empty text is not set.
pub(super) fn set(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The settings to be kept, out of either of the SDK's types that hold them.
macro_rules! kept {
    ($told:ident) => {
        KeptSettings {
            bucket: $told.s3_bucket_name.unwrap_or_default(),
            key_prefix: set($told.s3_key_prefix),
            sns_topic: set($told.sns_topic_arn),
            log_group: set($told.cloud_watch_logs_log_group_arn),
            log_role: set($told.cloud_watch_logs_role_arn),
            global_service_events: $told.include_global_service_events,
            multi_region: $told.is_multi_region_trail,
            log_file_validation: $told.log_file_validation_enabled,
            organization_trail: $told.is_organization_trail,
            recursive_logging: $told.recursive_logging,
        }
    };
}
pub(super) use kept;

impl Read for Reader<'_> {
    async fn trail(&self, trail: &TrailRef) -> Result<Option<TrailSettings>, Failure> {
        trails::trail(self, trail).await
    }

    async fn trail_status(&self, trail: &TrailRef) -> Result<Option<TrailStatus>, Failure> {
        trails::status(self, trail).await
    }

    async fn trail_tag(&self, trail: &TrailArn, home: &Region, key: &str) -> Result<Option<String>, Failure> {
        trails::tag(self, trail, home, key).await
    }

    async fn trails(&self, region: &Region) -> Result<ListedTrails, Failure> {
        trails::all(self, region).await
    }

    async fn trails_of(&self, region: &Region) -> Result<Vec<TrailSettings>, Failure> {
        trails::of_region(self, region).await
    }

    async fn bucket_region(&self, bucket: &str, home: &Region) -> Result<Region, Failure> {
        buckets::region(self, bucket, home).await
    }

    async fn bucket_policy(&self, bucket: &str, region: &Region) -> Result<Reading<String>, Failure> {
        buckets::policy(self, bucket, region).await
    }

    async fn bucket_replication(
        &self,
        bucket: &str,
        region: &Region,
    ) -> Result<Reading<Vec<ReplicationRule>>, Failure> {
        buckets::replication(self, bucket, region).await
    }

    async fn key(&self, key: &str, region: &Region) -> Result<Reading<KeyMetadata>, Failure> {
        keys::key(self, key, region).await
    }

    async fn key_policy(&self, key: &KeyArn) -> Result<Reading<String>, Failure> {
        keys::policy(self, key).await
    }

    async fn key_tags(&self, key: &KeyArn, exempt_tag: &str) -> Result<KeyTags, Failure> {
        keys::tags(self, key, exempt_tag).await
    }

    async fn key_aliases(&self, key: &KeyArn) -> Result<Vec<String>, Failure> {
        keys::aliases(self, key).await
    }

    async fn key_has_grants(&self, key: &KeyArn) -> Result<bool, Failure> {
        keys::has_grants(self, key).await
    }

    async fn tagged_keys(&self, region: &Region) -> Result<Vec<KeyArn>, Failure> {
        keys::tagged(self, region).await
    }

    async fn wait(&self, time: Duration) -> Result<(), Failure> {
        let Until { at, whose } = self.until;
        if at.saturating_duration_since(Instant::now()) <= time {
            let message =
                format!("something has to be read again a little later, and {whose} does not last until then");
            return Err(Failure::transient(message));
        }
        sleep(time).await;
        Ok(())
    }
}
