//! What giving keys to trails hangs on, beyond the single trail: the candidates for each Region's
//! sealing key, and the trails' buckets.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::join;
use trailseal_core::config::Config;
use trailseal_core::facts::{
    BucketFacts, Candidates, Class, Failure, InUse, KeyFacts, Reading, SealingFacts, TaggedKey,
};
use trailseal_core::ids::{FunctionArn, KeyArn, Region};
use trailseal_core::key::sealing_key_hangs_on_tags;
use trailseal_core::planner::Wanted;
use trailseal_core::progress::Progress;
use trailseal_core::trigger::TrailRef;

use super::{key, tags};
use crate::aws::Read;

/// How often, and how long apart, something is looked for that may exist but is not shown yet: an
/// alias, a key in the tag index.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Reads what is wanted; keys and buckets side by side.
pub(crate) async fn sealing(
    reader: &impl Read,
    wanted: &Wanted,
    progress: &Progress,
    config: &Config,
    home: &FunctionArn,
) -> SealingFacts {
    let keys = async {
        let open: BTreeSet<&Region> = progress.open_regions().collect();
        let mut keys = Vec::new();
        for region in &wanted.regions {
            let candidates = candidates(reader, region, config, home, open.contains(region), progress).await;
            keys.push((region.clone(), candidates));
        }
        keys
    };
    let buckets = async {
        let mut buckets = Vec::new();
        for (name, region) in &wanted.buckets {
            buckets.push((name.clone(), bucket(reader, name, region).await));
        }
        buckets
    };
    let (keys, buckets) = join!(keys, buckets);
    SealingFacts { keys: keys.into_iter().collect(), buckets: buckets.into_iter().collect() }
}

async fn bucket(reader: &impl Read, name: &str, region: &Region) -> Result<BucketFacts, Failure> {
    let (policy, replication) = join!(reader.bucket_policy(name, region), reader.bucket_replication(name, region));
    Ok(BucketFacts { policy: policy?, replication: replication? })
}

/// The candidates for the sealing key of a Region. With `settling`, the alias exists or may have been
/// created a moment ago, so that it is waited for.
async fn candidates(
    reader: &impl Read,
    region: &Region,
    config: &Config,
    home: &FunctionArn,
    settling: bool,
    progress: &Progress,
) -> Candidates {
    let named = named(reader, region, config, home, settling).await;
    let nothing_there = matches!(named, Ok(Reading::Absent)) && !config.supplied_keys.contains_key(region);
    match (nothing_there, progress.made(region)) {
        (false, _) => Candidates { named, tagged: None, made: None },
        (true, None) => {
            Candidates { named, tagged: Some(tagged(reader, region, progress, config, home).await), made: None }
        }
        (true, Some(mut made)) => {
            // KMS may not show it yet, nor does everything hang on it.
            if let Ok(Reading::Known(facts)) = key(reader, made.key.as_str(), region, home).await {
                made.facts = Some(facts);
            }
            Candidates { named, tagged: None, made: Some(made) }
        }
    }
}

/// The supplied key of a Region, or what is behind the alias.
async fn named(
    reader: &impl Read,
    region: &Region,
    config: &Config,
    home: &FunctionArn,
    settling: bool,
) -> Result<Reading<KeyFacts>, Failure> {
    let supplied = config.supplied_keys.get(region);
    let named = supplied.map_or(config.key_alias.as_str(), KeyArn::as_str);
    let mut reading = key(reader, named, region, home).await?;
    for _ in 0..LOOKS {
        if !settling || reading != Reading::Absent {
            break;
        }
        reader.wait(PAUSE).await?;
        reading = key(reader, named, region, home).await?;
    }
    if let Reading::Known(key) = &mut reading
        && sealing_key_hangs_on_tags(key, config, home)
    {
        key.tags = Some(tags(reader, &key.metadata.arn, config).await?);
    }
    Ok(reading)
}

/// Every key there that the tag index says is ours. The index lags: one that may have been created a
/// moment ago is waited for. One that shows up later still is found by the next look, and reported.
async fn tagged(
    reader: &impl Read,
    region: &Region,
    progress: &Progress,
    config: &Config,
    home: &FunctionArn,
) -> Result<Vec<TaggedKey>, Failure> {
    let mut arns = reader.tagged_keys(region).await?;
    for _ in 0..LOOKS {
        if !progress.is_expected(region, &arns) {
            break;
        }
        reader.wait(PAUSE).await?;
        arns = reader.tagged_keys(region).await?;
    }
    let mut keys = Vec::new();
    for arn in arns {
        let (facts, told, aliases) =
            join!(key(reader, arn.as_str(), region, home), tags(reader, &arn, config), reader.key_aliases(&arn));
        let mut facts = match facts? {
            Reading::Known(facts) => facts,
            // The index may still name a key that was deleted.
            Reading::Absent => continue,
            Reading::Denied(failure) => return Err(failure),
        };
        facts.tags = Some(told?);
        keys.push(TaggedKey { facts, aliases: aliases?, in_use: InUse::No });
    }
    // The trails are only looked at if there is a key that one of them may use.
    if keys.iter().any(|key| key.aliases.is_empty()) {
        let (used, unseen) = used_keys(reader, home).await;
        if let Some(failure) = unseen.as_ref().filter(|failure| failure.class == Class::Transient) {
            return Err(failure.clone());
        }
        for key in &mut keys {
            let arn = &key.facts.metadata.arn;
            key.in_use = match &unseen {
                _ if used.contains(arn.as_str()) || used.contains(&**arn.id()) => InUse::Yes,
                Some(failure) => InUse::Unknown(failure.clone()),
                None => InUse::No,
            };
        }
    }
    Ok(keys)
}

/// The keys of every trail that this account can see, and why not every trail could be looked at.
async fn used_keys(reader: &impl Read, home: &FunctionArn) -> (BTreeSet<String>, Option<Failure>) {
    let mut used = BTreeSet::new();
    let mut unseen = None;
    match reader.trails(home.region()).await {
        Err(failure) => unseen = Some(failure),
        Ok(trails) => {
            for (trail, _) in trails {
                match reader.trail(&TrailRef::Arn(trail)).await {
                    Ok(settings) => used.extend(settings.and_then(|settings| settings.kms_key_id)),
                    Err(failure) => unseen = Some(failure),
                }
            }
        }
    }
    (used, unseen)
}
