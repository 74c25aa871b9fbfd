//! Which trails a trigger names.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;
use trailseal_core::context::Context;
use trailseal_core::failure::Failure;
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::observation::{ListedTrails, MalformedTrail, TrailSettings};
use trailseal_core::trigger::{Target, TrailRef};

use super::join_unordered;
use crate::aws::Read;

/// A trail to reconcile, with its settings if they were read already.
#[derive(Debug, Clone)]
pub(crate) struct TrailTarget {
    pub(crate) trail: TrailRef,
    /// Its settings, or why they cannot be read.
    pub(crate) settings: Option<Result<TrailSettings, Failure>>,
}

impl TrailTarget {
    /// A trail that is read anew.
    pub(crate) fn new(trail: TrailRef) -> Self {
        Self { trail, settings: None }
    }

    /// The ARN that CloudTrail resolves the target to.
    pub(crate) fn arn(&self, context: &Context) -> TrailArn {
        self.trail.arn(&context.function_arn)
    }
}

/// The trails of a run.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    pub(crate) trails: Vec<TrailTarget>,
    /// Trails that were listed with a malformed ARN.
    pub(crate) malformed: Vec<MalformedTrail>,
    /// The Regions of the listed trails, with the failure of those whose trails could not be read.
    pub(crate) regions: BTreeMap<Region, Result<(), Failure>>,
    /// Whether the rotation of keys is read.
    pub(crate) rotation: bool,
    /// Settings that were read already were read after this time.
    pub(crate) read_since: Instant,
}

/// The trails that a trigger names.
///
/// # Errors
///
/// The trails could not be listed.
pub(crate) async fn targets(reader: &impl Read, target: &Target, context: &Context) -> Result<Targets, Failure> {
    let rotation = target.includes_rotation();
    match target {
        Target::Ignored(_) => Ok(Targets::of(vec![])),
        Target::Trails(trails) => Ok(Targets::of(trails.iter().cloned().map(TrailTarget::new).collect())),
        Target::Sweep => Ok(Targets { rotation, ..every_trail(reader, context).await? }),
        Target::Key { key, .. } => {
            let mut targets = every_trail(reader, context).await?;
            targets.trails.retain(|target| match &target.settings {
                Some(Ok(settings)) => {
                    let used = settings.kms_key_id.clone().into_iter().collect();
                    is_named(&used, key)
                }
                // A retry may show that it uses the key. The answer warns about a failure that persists.
                Some(Err(failure)) => failure.is_transient(),
                None => true,
            });
            Ok(Targets { rotation, ..targets })
        }
    }
}

/// Every trail that this account can see, each once and in its home Region, where it can be changed.
async fn every_trail(reader: &impl Read, context: &Context) -> Result<Targets, Failure> {
    let read_since = Instant::now();
    let ListedTrails { trails, malformed } = reader.list_trails(context.function_arn.region()).await?;
    let listed: BTreeMap<TrailArn, Region> = trails.into_iter().collect();
    let regions: BTreeSet<&Region> = listed.values().collect();
    let read = regions.into_iter().map(async |region| (region, reader.describe_trails(region).await));
    let mut settings = BTreeMap::new();
    let mut regions_read = BTreeMap::new();
    for (region, trails) in join_unordered(read).await {
        let read = trails.map(|trails| settings.extend(trails.into_iter().map(|trail| (trail.arn.clone(), trail))));
        regions_read.insert(region.clone(), read);
    }
    let trails = listed.iter().map(|(arn, region)| TrailTarget {
        trail: TrailRef::Arn(arn.clone()),
        settings: match (settings.remove(arn), regions_read.get(region)) {
            (Some(settings), _) => Some(Ok(settings)),
            (None, Some(Err(failure))) => Some(Err(failure.clone())),
            // Deleted since it was listed, or malformed in or hidden from `DescribeTrails`: it is read by its name.
            (None, _) => None,
        },
    });
    Ok(Targets { trails: trails.collect(), malformed, regions: regions_read, rotation: false, read_since })
}

impl Targets {
    /// Trails that are read from now on.
    fn of(trails: Vec<TrailTarget>) -> Self {
        let (malformed, regions) = (Vec::new(), BTreeMap::new());
        Self { trails, malformed, regions, rotation: false, read_since: Instant::now() }
    }

    /// The keys that the trails for which `counts` holds name, and why not every trail could be read.
    pub(crate) async fn used_keys(
        &self,
        reader: &impl Read,
        counts: impl Fn(&TrailTarget) -> bool,
    ) -> (BTreeSet<String>, Option<Failure>) {
        let read = self.trails.iter().filter(|target| counts(target)).map(async |target| match &target.settings {
            Some(settings) => settings.clone().map(Some),
            None => reader.trail(&target.trail).await,
        });
        let mut used = BTreeSet::new();
        let mut unreadable = self.malformed.first().map(|malformed| malformed.failure.clone());
        for settings in join_unordered(read).await {
            match settings {
                Ok(settings) => used.extend(settings.and_then(|settings| settings.kms_key_id)),
                Err(failure) => unreadable = Some(failure),
            }
        }
        (used, unreadable)
    }
}

/// The keys that the trails of the account name, and why not every trail could be read.
pub(crate) async fn keys_used_in_account(reader: &impl Read, context: &Context) -> (BTreeSet<String>, Option<Failure>) {
    match every_trail(reader, context).await {
        Ok(targets) => targets.used_keys(reader, |_| true).await,
        Err(failure) => (BTreeSet::new(), Some(failure)),
    }
}

/// Whether a key is among these names. CloudTrail names a key by its ARN; some emulators, and old trails, by its ID.
pub(crate) fn is_named(names: &BTreeSet<String>, key: &KeyArn) -> bool {
    names.contains(key.as_str()) || names.contains(key.id().as_str())
}
