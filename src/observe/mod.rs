//! Reads. Observation makes no judgment: it reads what the caller names, in two stages. The health of each trail first;
//! then, only for trails with a finding, what the plan needs. Which trails have a finding is decided between the stages,
//! in `trailseal_core::assess`.

mod candidates;
mod health;
mod shared;
mod targets;

use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use tokio::join;
use trailseal_core::assess::RequiredReads;
use trailseal_core::context::Context;
use trailseal_core::failure::Failure;
use trailseal_core::ids::Region;
use trailseal_core::observation::{BucketObservation, BucketOwner, RemediationFacts};
use trailseal_core::pending::Pending;

pub(crate) use candidates::tagged_key;
pub use health::READ_TARGET;
pub(crate) use health::observe_health;
pub(crate) use targets::{Targets, TrailTarget, is_named, keys_used_in_account, targets};

use crate::aws::Read;

/// Awaits all of them, in no particular order. The limits of `aws` bound how many calls are in flight, so a read that
/// hangs delays no other.
pub(crate) async fn join_unordered<F: Future>(reads: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    reads.into_iter().collect::<FuturesUnordered<_>>().collect().await
}

/// Reads what the plan needs besides the health of the trails: exempt tags and the Regions of buckets, then the
/// candidates for the sealing keys and the buckets of the trails without an exempt tag. Each half gets a reader of its
/// own, so that a Region that does not respond to the first leaves time for the second.
pub(crate) async fn observe_remediation<R: Read>(
    new_reader: impl Fn() -> R,
    required: &RequiredReads,
    pending: &Pending,
    context: &Context,
    rotation: bool,
) -> RemediationFacts {
    let reader = &new_reader();
    let tags = join_unordered(required.trails_to_check.iter().map(async |trail| {
        let tag = reader.trail_tag(&trail.arn, &trail.home_region, &context.config.exempt_tag).await;
        (trail.arn.clone(), tag)
    }));
    let sealed = required.trails_to_check.iter().filter(|trail| required.trails_to_seal.contains(&trail.arn));
    // Read once for each home Region, so that the failure of one does not affect trails elsewhere.
    let located: BTreeSet<(&str, &Region)> =
        sealed.clone().map(|trail| (trail.kept.bucket.as_str(), &trail.home_region)).collect();
    let regions =
        join_unordered(located.into_iter().map(async |(bucket, home_region)| {
            ((bucket, home_region), reader.bucket_region(bucket, home_region).await)
        }));
    let (tags, regions) = join!(tags, regions);
    let (exempt_tags, regions): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (tags.into_iter().collect(), regions.into_iter().collect());
    let mut facts = RemediationFacts { exempt_tags, ..RemediationFacts::default() };
    let mut key_regions: BTreeSet<Region> = pending.alias_regions().cloned().collect();
    let mut buckets: BTreeMap<&str, Region> = BTreeMap::new();
    let may_be_exempt = |trail| !matches!(facts.exempt_tags.get(trail), Some(Ok(None)));
    for trail in sealed {
        let bucket = trail.kept.bucket.as_str();
        let Some(region) = regions.get(&(bucket, &trail.home_region)) else { continue };
        if let (Ok(region), false) = (region, may_be_exempt(&trail.arn)) {
            key_regions.insert(region.clone());
            buckets.insert(bucket, region.clone());
        }
        facts.bucket_regions.insert(trail.arn.clone(), region.clone());
    }
    let repaired = required.keys_to_repair.iter().filter(|(trail, _)| !may_be_exempt(trail));
    key_regions.extend(repaired.map(|(_, key)| key.region().clone()));
    let reader = &new_reader();
    let candidates = join_unordered(key_regions.into_iter().map(async |region| {
        let candidates = candidates::candidates(reader, &region, pending, context, rotation).await;
        (region, candidates)
    }));
    let buckets = join_unordered(
        buckets.iter().map(async |(name, region)| ((*name).to_owned(), bucket(reader, name, region).await)),
    );
    let (candidates, buckets) = join!(candidates, buckets);
    facts.candidates = candidates.into_iter().collect();
    facts.buckets = buckets.into_iter().collect();
    facts
}

async fn bucket(reader: &impl Read, name: &str, region: &Region) -> Result<BucketObservation, Failure> {
    let policy_and_owner = async {
        let policy = reader.bucket_policy(name, region).await?;
        // A further call only if the policy does not show the owner.
        let owner = match BucketOwner::from_policy_read(&policy) {
            Some(owner) => owner,
            None => reader.bucket_owner(name, region).await,
        };
        Ok((policy, owner))
    };
    let (policy_and_owner, replication) = join!(policy_and_owner, reader.bucket_replication(name, region));
    let (policy, owner) = policy_and_owner?;
    Ok(BucketObservation { owner, policy, replication: replication? })
}
