//! Writes. Takes the steps of a plan in order and decides nothing: whatever contradicts the plan is a
//! surprise, and the flow observes, assesses and plans again for the trails that it concerns.
//!
//! Regions are worked on side by side, so that none waits for another's trouble.

mod key;
mod trail;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::plan::{Plan, TrailPlan, TrailStep};
use trailseal_core::progress::{Progress, TrailProgress};

use crate::aws::{Read, Write};

/// What contradicted the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) struct Surprise(pub(crate) String);

/// The trails that have to be looked at again, and why.
pub(crate) type Surprises = BTreeMap<TrailArn, String>;

/// Applies a plan. `stale` says that time passed or something was written since the facts were read.
pub(crate) async fn apply(
    reader: &impl Read,
    writer: &impl Write,
    plan: &Plan,
    stale: bool,
    progress: &mut Progress,
) -> Surprises {
    let mut surprises = Surprises::new();
    // Logging first: it must not hang on how long sealing takes, nor on whether it is possible.
    let starts =
        by_region(plan, progress, |plan| plan.steps.iter().any(|step| matches!(step, TrailStep::StartLogging { .. })));
    let started = join_all(starts.into_values().map(|trails| start(writer, trails))).await;
    note(started.into_iter().flatten(), progress, &mut surprises);

    let keys = join_all(plan.keys.iter().map(|(region, key)| {
        let mut done = std::mem::take(progress.key(region));
        async move {
            let sealed = key::seal_region(reader, writer, region, key, &mut done).await;
            (region, done, sealed)
        }
    }))
    .await;
    let mut ready = BTreeMap::new();
    for (region, done, sealed) in keys {
        *progress.key(region) = done;
        match sealed {
            Ok(key) => drop(key.map(|key| ready.insert(region, key))),
            Err(Surprise(why)) => {
                let uses = plan.trails.iter().filter(|(_, trail)| trail.sealing_region.as_ref() == Some(region));
                surprises.extend(uses.map(|(arn, _)| (arn.clone(), why.clone())));
            }
        }
    }

    let updates =
        by_region(plan, progress, |plan| plan.steps.iter().any(|step| matches!(step, TrailStep::Update { .. })));
    let updates = updates.into_values().map(|mut trails| {
        trails.retain(|(arn, ..)| !surprises.contains_key(*arn));
        update(reader, writer, plan, &ready, stale, trails)
    });
    let updated = join_all(updates.collect::<Vec<_>>()).await;
    note(updated.into_iter().flatten(), progress, &mut surprises);
    surprises
}

/// A trail at work: what is planned for it, and how it came along.
type AtWork<'a> = (&'a TrailArn, &'a TrailPlan, TrailProgress);
/// What came of it.
type Worked<'a> = (&'a TrailArn, TrailProgress, Result<(), Surprise>);

/// The trails that such a step is planned for, by the Region in which they are changed.
fn by_region<'a>(
    plan: &'a Plan,
    progress: &Progress,
    wanted: impl Fn(&TrailPlan) -> bool,
) -> BTreeMap<&'a Region, Vec<AtWork<'a>>> {
    let mut regions: BTreeMap<&Region, Vec<AtWork<'_>>> = BTreeMap::new();
    for (arn, trail) in plan.trails.iter().filter(|(_, trail)| wanted(trail)) {
        let done = progress.trails.get(arn).cloned().unwrap_or_default();
        regions.entry(arn.region()).or_default().push((arn, trail, done));
    }
    regions
}

fn note<'a>(worked: impl Iterator<Item = Worked<'a>>, progress: &mut Progress, surprises: &mut Surprises) {
    for (arn, done, result) in worked {
        *progress.trail(arn) = done;
        if let Err(Surprise(why)) = result {
            surprises.insert(arn.clone(), why);
        }
    }
}

/// Starts the trails of one Region, one after the other.
async fn start<'a>(writer: &impl Write, trails: Vec<AtWork<'a>>) -> Vec<Worked<'a>> {
    let mut worked = Vec::new();
    for (arn, plan, mut done) in trails {
        let mut result = Ok(());
        for step in &plan.steps {
            if let TrailStep::StartLogging { home_region } = step {
                result = trail::start_logging(writer, arn, home_region, &mut done).await;
            }
        }
        worked.push((arn, done, result));
    }
    worked
}

/// Beginning with another one each second, so that none is always the last when time runs out.
fn in_turn<T>(mut trails: Vec<T>) -> Vec<T> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let first = usize::try_from(now).unwrap_or_default().checked_rem(trails.len()).unwrap_or_default();
    trails.rotate_left(first);
    trails
}

/// Gives the trails of one Region their keys, one after the other.
async fn update<'a>(
    reader: &impl Read,
    writer: &impl Write,
    plan: &Plan,
    keys: &BTreeMap<&Region, KeyArn>,
    mut stale: bool,
    trails: Vec<AtWork<'a>>,
) -> Vec<Worked<'a>> {
    let mut worked = Vec::new();
    for (arn, of_trail, mut done) in in_turn(trails) {
        let mut result = Ok(());
        for step in &of_trail.steps {
            let TrailStep::Update { bucket_region, observed, if_refused, .. } = step else {
                stale = true;
                continue;
            };
            match (keys.get(bucket_region), plan.keys.get(bucket_region)) {
                (Some(key), Some(of_key)) => {
                    let stale = stale || !of_key.steps.is_empty();
                    let update = trail::Update { observed, key, fresh: of_key.fresh, if_refused };
                    result = update.send(reader, writer, stale, &mut done).await;
                }
                _ => done.leave(step, None),
            }
        }
        stale = true;
        worked.push((arn, done, result));
    }
    worked
}
