//! Which trails a trigger means.

use std::collections::{BTreeMap, BTreeSet};

use trailseal_core::ids::{FunctionArn, KeyArn, Region, TrailArn};
use trailseal_core::observation::{Class, Failure, ListedTrails, OddTrail, TrailSettings};
use trailseal_core::trigger::TrailRef;

use super::side_by_side;
use crate::aws::Read;

/// A trail to look at, with its settings if they were read on the way.
#[derive(Debug, Clone)]
pub(crate) struct Meant {
    /// Which.
    pub(crate) trail: TrailRef,
    /// Its settings, or why they could not be read.
    pub(crate) settings: Option<Result<TrailSettings, Failure>>,
}

impl Meant {
    /// One that a trigger names.
    pub(crate) fn named(trail: TrailRef) -> Self {
        Self { trail, settings: None }
    }
}

/// Every trail that this account can see, each once and in its home Region, where it can be changed; and
/// those that are there and cannot be asked for.
pub(crate) async fn every_trail(
    reader: &impl Read,
    home: &FunctionArn,
) -> Result<(Vec<Meant>, Vec<OddTrail>), Failure> {
    let ListedTrails { trails, odd } = reader.trails(home.region()).await?;
    let listed: BTreeMap<TrailArn, Region> = trails.into_iter().collect();
    let regions: BTreeSet<&Region> = listed.values().collect();
    let read = side_by_side(regions.into_iter().map(async |region| (region, reader.trails_of(region).await))).await;
    let mut settings = BTreeMap::new();
    let mut unread = BTreeMap::new();
    for (region, trails) in read {
        match trails {
            Ok(trails) => settings.extend(trails.into_iter().map(|trail| (trail.arn.clone(), trail))),
            Err(failure) => drop(unread.insert(region, failure)),
        }
    }
    let meant = listed.iter().map(|(arn, region)| Meant {
        trail: TrailRef::Arn(arn.clone()),
        settings: match (settings.remove(arn), unread.get(region)) {
            (Some(settings), _) => Some(Ok(settings)),
            (None, Some(failure)) => Some(Err(failure.clone())),
            // Deleted since it was listed, or hidden from `DescribeTrails`: it is asked for by its name.
            (None, None) => None,
        },
    });
    Ok((meant.collect(), odd))
}

/// Every trail that uses that key, as far as can be told.
pub(crate) async fn trails_with_key(
    reader: &impl Read,
    home: &FunctionArn,
    key: &KeyArn,
) -> Result<Vec<Meant>, Failure> {
    let uses = |meant: &Meant| match &meant.settings {
        Some(Ok(settings)) => names(settings.kms_key_id.as_deref(), key),
        // Found out by trying again; what does not pass is no matter of this key, and every sweep's to tell.
        Some(Err(failure)) => failure.class == Class::Transient,
        None => true,
    };
    let (meant, _) = every_trail(reader, home).await?;
    Ok(meant.into_iter().filter(uses).collect())
}

/// CloudTrail names a key by its ARN; some emulators, and old trails, by its id.
fn names(named: Option<&str>, key: &KeyArn) -> bool {
    named.is_some_and(|named| named == key.as_str() || named == key.id().as_str())
}
