//! What giving keys to trails hangs on, beyond the single trail: the candidates for each Region's
//! sealing key, and the trails' buckets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::join;
use trailseal_core::assess::is_ours;
use trailseal_core::config::Config;
use trailseal_core::ids::{FunctionArn, KeyArn, Region};
use trailseal_core::key::sealing_key_hangs_on_tags;
use trailseal_core::observation::{
    BucketFacts, Candidates, Class, Failure, InUse, KeyFacts, LeftOver, OddTrail, Reading, SealingFacts, TaggedKey,
};
use trailseal_core::planner::Wanted;
use trailseal_core::progress::Progress;

use super::{Meant, every_trail, key, side_by_side, tags};
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
    let open: BTreeSet<&Region> = progress.open_regions().collect();
    let keys = side_by_side(wanted.regions.iter().map(async |region| {
        (region.clone(), candidates(reader, region, config, home, open.contains(region), progress).await)
    }));
    let buckets = side_by_side(
        wanted.buckets.iter().map(async |(name, region)| (name.clone(), bucket(reader, name, region).await)),
    );
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
        keys.extend(tagged_key(reader, &arn, config, home).await?);
    }
    for key in keys.iter_mut().filter(|key| key.aliases.is_empty()) {
        key.granted = reader.key_has_grants(&key.facts.metadata.arn).await?;
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
                _ if is_named(&used, arn) => InUse::Yes,
                Some(failure) => InUse::Unknown(failure.clone()),
                None => InUse::No,
            };
        }
    }
    Ok(keys)
}

/// CloudTrail names a key by its ARN; some emulators, and old trails, by its id.
fn is_named(used: &BTreeSet<String>, key: &KeyArn) -> bool {
    used.contains(key.as_str()) || used.contains(key.id().as_str())
}

/// A key that the tag index names; `None`: it was deleted since.
async fn tagged_key(
    reader: &impl Read,
    arn: &KeyArn,
    config: &Config,
    home: &FunctionArn,
) -> Result<Option<TaggedKey>, Failure> {
    let (facts, told, aliases) =
        join!(key(reader, arn.as_str(), arn.region(), home), tags(reader, arn, config), reader.key_aliases(arn));
    let mut facts = match facts? {
        Reading::Known(facts) => facts,
        Reading::Absent => return Ok(None),
        Reading::Denied(failure) => return Err(failure),
    };
    facts.tags = Some(told?);
    Ok(Some(TaggedKey { facts, aliases: aliases?, granted: false, in_use: InUse::No }))
}

/// The Regions that trails of ours have to do with, as far as their settings tell.
pub(crate) fn regions(meant: &[Meant], config: &Config, home: &FunctionArn) -> BTreeSet<Region> {
    let mut regions = BTreeSet::from([home.region().clone()]);
    let known = meant.iter().filter_map(|meant| meant.settings.as_ref()?.as_ref().ok());
    for settings in known.filter(|settings| is_ours(&settings.arn, config, home)) {
        regions.insert(settings.home_region.clone());
        let key = settings.kms_key_id.as_ref().and_then(|named| named.parse::<KeyArn>().ok());
        regions.extend(key.map(|key| key.region().clone()));
    }
    regions
}

/// The keys with our tag that none of these trails is seen to use, in those Regions.
pub(crate) async fn left_over(
    reader: &impl Read,
    (meant, odd): (&[Meant], &[OddTrail]),
    regions: &BTreeSet<Region>,
    config: &Config,
    home: &FunctionArn,
) -> LeftOver {
    if regions.is_empty() {
        return LeftOver::default();
    }
    // Another account's trail that cannot be read raises no doubt: keys of ours let in this account's.
    let counts =
        |meant: &&Meant| matches!(meant.settings, Some(Ok(_))) || is_ours(&meant.trail.arn(home), config, home);
    let (used, unseen) = named_keys(reader, meant.iter().filter(counts).cloned(), odd).await;
    // A supplied key is its owner's, whatever its tags say, and trails of other accounts may use it.
    let supplied = |arn: &KeyArn| config.supplied_keys.values().any(|supplied| supplied == arn);
    let in_region = async |region: &Region| {
        let mut found = LeftOver::default();
        let arns = match reader.tagged_keys(region).await {
            Ok(arns) => arns,
            Err(failure) => return LeftOver { regions: vec![(region.clone(), failure)], ..found },
        };
        for arn in arns.into_iter().filter(|arn| !is_named(&used, arn) && !supplied(arn)) {
            match tagged_key(reader, &arn, config, home).await {
                Ok(None) => {}
                Ok(Some(key)) => {
                    let in_use = unseen.clone().map_or(InUse::No, InUse::Unknown);
                    found.keys.push(TaggedKey { in_use, ..key });
                }
                Err(failure) => found.unread.push((arn, failure)),
            }
        }
        found
    };
    let found = side_by_side(regions.iter().map(async |region| (region, in_region(region).await))).await;
    // In the order of the Regions, not of their answers.
    let found: BTreeMap<&Region, LeftOver> = found.into_iter().collect();
    found.into_values().fold(LeftOver::default(), LeftOver::and)
}

/// The keys of every trail that this account can see, and why not every trail could be looked at.
async fn used_keys(reader: &impl Read, home: &FunctionArn) -> (BTreeSet<String>, Option<Failure>) {
    match every_trail(reader, home).await {
        Ok((meant, odd)) => named_keys(reader, meant, &odd).await,
        Err(failure) => (BTreeSet::new(), Some(failure)),
    }
}

/// The keys that these trails name, and why not every one could be looked at.
async fn named_keys(
    reader: &impl Read,
    meant: impl IntoIterator<Item = Meant>,
    odd: &[OddTrail],
) -> (BTreeSet<String>, Option<Failure>) {
    let read = side_by_side(meant.into_iter().map(async |meant| match meant.settings {
        Some(settings) => settings.map(Some),
        None => reader.trail(&meant.trail).await,
    }))
    .await;
    let mut used = BTreeSet::new();
    let mut unseen = odd.first().map(|odd| odd.failure.clone());
    for settings in read {
        match settings {
            Ok(settings) => used.extend(settings.and_then(|settings| settings.kms_key_id)),
            Err(failure) => unseen = Some(failure),
        }
    }
    (used, unseen)
}
