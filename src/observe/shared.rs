//! Reads that several trails share are done once a pass: their key, their bucket.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::observation::{
    Failure, KeyMetadata, KeyTags, ListedTrails, ParsedPolicy, Reading, ReplicationRule, TrailSettings, TrailStatus,
};
use trailseal_core::trigger::TrailRef;

use crate::aws::{BucketReads, KeyReads, Read, TagReads, TrailReads};

/// A reader that asks everything about keys and buckets once.
#[derive(Debug)]
pub(crate) struct Shared<'a, R> {
    reader: &'a R,
    keys: Once<Reading<KeyMetadata>>,
    key_policies: Once<Reading<ParsedPolicy>>,
    key_tags: Once<KeyTags>,
    bucket_regions: Once<Region>,
}

/// What was asked for, by what it is about; whoever asks while an answer is under way waits for it.
#[derive(Debug)]
struct Once<T>(Mutex<BTreeMap<String, (Instant, Answered<T>)>>);

/// An answer, or one that is under way. It stands beside the time at which it was first asked for.
type Answered<T> = Arc<OnceCell<Result<T, Failure>>>;

impl<T: Clone> Once<T> {
    fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    async fn get(&self, about: String, read: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let asked = || (Instant::now(), Answered::default());
        let (_, cell) =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(about).or_insert_with(asked).clone();
        cell.get_or_init(|| read).await.clone()
    }

    fn forget(&self, until: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, (asked, _)| *asked > until);
    }
}

impl<'a, R: Read> Shared<'a, R> {
    pub(crate) fn new(reader: &'a R) -> Self {
        Self {
            reader,
            keys: Once::new(),
            key_policies: Once::new(),
            key_tags: Once::new(),
            bucket_regions: Once::new(),
        }
    }
}

fn in_region(name: &str, region: &Region) -> String {
    format!("{region} {name}")
}

impl<R: Read> TrailReads for Shared<'_, R> {
    async fn trail(&self, trail: &TrailRef) -> Result<Option<TrailSettings>, Failure> {
        self.reader.trail(trail).await
    }

    async fn trail_status(&self, trail: &TrailRef) -> Result<Option<TrailStatus>, Failure> {
        self.reader.trail_status(trail).await
    }

    async fn trail_tag(&self, trail: &TrailArn, home_region: &Region, key: &str) -> Result<Option<String>, Failure> {
        self.reader.trail_tag(trail, home_region, key).await
    }

    async fn list_trails(&self, region: &Region) -> Result<ListedTrails, Failure> {
        self.reader.list_trails(region).await
    }

    async fn describe_trails(&self, region: &Region) -> Result<Vec<TrailSettings>, Failure> {
        self.reader.describe_trails(region).await
    }
}

impl<R: Read> BucketReads for Shared<'_, R> {
    async fn bucket_region(&self, bucket: &str, region: &Region) -> Result<Region, Failure> {
        // Asked once in each Region, so that the trouble of one is not that of trails elsewhere.
        self.bucket_regions.get(in_region(bucket, region), self.reader.bucket_region(bucket, region)).await
    }

    async fn bucket_policy(&self, bucket: &str, region: &Region) -> Result<Reading<ParsedPolicy>, Failure> {
        self.reader.bucket_policy(bucket, region).await
    }

    async fn bucket_replication(
        &self,
        bucket: &str,
        region: &Region,
    ) -> Result<Reading<Vec<ReplicationRule>>, Failure> {
        self.reader.bucket_replication(bucket, region).await
    }
}

impl<R: Read> KeyReads for Shared<'_, R> {
    async fn key_metadata(&self, key: &str, region: &Region) -> Result<Reading<KeyMetadata>, Failure> {
        self.keys.get(in_region(key, region), self.reader.key_metadata(key, region)).await
    }

    async fn key_policy(&self, key: &KeyArn) -> Result<Reading<ParsedPolicy>, Failure> {
        self.key_policies.get(key.to_string(), self.reader.key_policy(key)).await
    }

    async fn key_tags(&self, key: &KeyArn, exempt_tag: &str) -> Result<KeyTags, Failure> {
        self.key_tags.get(key.to_string(), self.reader.key_tags(key, exempt_tag)).await
    }

    async fn key_aliases(&self, key: &KeyArn) -> Result<Vec<String>, Failure> {
        self.reader.key_aliases(key).await
    }

    async fn key_has_grants(&self, key: &KeyArn) -> Result<bool, Failure> {
        self.reader.key_has_grants(key).await
    }
}

impl<R: Read> TagReads for Shared<'_, R> {
    async fn tagged_keys(&self, region: &Region) -> Result<Vec<KeyArn>, Failure> {
        self.reader.tagged_keys(region).await
    }
}

impl<R: Read> Read for Shared<'_, R> {
    /// Whoever waits wants to see something else than before; of several who do, the first has read it anew.
    async fn wait(&self, time: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        let waited = self.reader.wait(time).await;
        self.keys.forget(began);
        self.key_policies.forget(began);
        waited
    }
}
