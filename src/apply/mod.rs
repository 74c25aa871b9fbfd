//! Writes. Takes the steps of a plan in order and decides nothing: whatever contradicts the plan is a
//! surprise, and the flow observes, assesses and plans again for the trails that it concerns.
//!
//! Regions are worked on side by side, so that none waits for another's trouble.

mod key;
mod trail;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use futures_util::future::join_all;
use tokio::time::Instant;
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::plan::{KeyPlan, Plan, TrailPlan, TrailStep};
use trailseal_core::progress::{Progress, TrailProgress};

use crate::aws::{Read, Write};

/// What contradicted the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) struct Surprise(pub(crate) String);

/// The trails that have to be looked at again, and why.
pub(crate) type Surprises = BTreeMap<TrailArn, String>;

/// Starts the trails that are to log again. First of all: it must not hang on how long sealing takes,
/// nor on whether it is possible.
pub(crate) async fn start(writer: &impl Write, plan: &Plan, first: u64, progress: &mut Progress) -> Surprises {
    let starts = |step: &TrailStep| matches!(step, TrailStep::StartLogging { .. });
    let mut regions: BTreeMap<&Region, Vec<AtWork<'_>>> = BTreeMap::new();
    for (arn, trail) in plan.trails.iter().filter(|(_, trail)| trail.steps.iter().any(starts)) {
        let done = progress.trails.get(arn).cloned().unwrap_or_default();
        regions.entry(arn.region()).or_default().push((arn, trail, done));
    }
    let started = join_all(regions.into_values().map(|trails| start_each(writer, beginning_with(first, trails)))).await;
    let mut surprises = Surprises::new();
    note(started.into_iter().flatten(), progress, &mut surprises);
    surprises
}

/// Applies the rest of a plan. The trails of a sealing key wait for that key alone, and for their turn in
/// the Region where they are changed. After `fresh_until`, too much time passed since they were read.
pub(crate) async fn seal<'a>(
    reader: &impl Read,
    writer: &impl Write,
    plan: &'a Plan,
    fresh_until: Instant,
    first: u64,
    progress: &mut Progress,
    surprises: &mut Surprises,
) {
    let turns: BTreeMap<&Region, Turn> = plan.trails.keys().map(|arn| (arn.region(), Turn::default())).collect();
    let of_its_own = Turn::default();
    let keys = join_all(plan.keys.iter().map(|(region, key)| {
        let mut done = std::mem::take(progress.key(region));
        let trails = beginning_with(first, updates(plan, region, progress, surprises));
        let (turns, of_its_own) = (&turns, &of_its_own);
        async move {
            let sealed = key::seal_region(reader, writer, region, key, &mut done).await;
            let given = match sealed {
                Ok(given) => given,
                Err(surprise) => return (region, done, vec![], Some(surprise)),
            };
            let given = given.as_ref().map(|given| (given, key));
            let update = |trail: AtWork<'a>| {
                let turn = turns.get(trail.0.region()).unwrap_or(of_its_own);
                update(reader, writer, given, fresh_until, turn, trail)
            };
            (region, done, join_all(trails.into_iter().map(update)).await, None)
        }
    }))
    .await;
    for (region, done, worked, surprise) in keys {
        *progress.key(region) = done;
        note(worked.into_iter(), progress, surprises);
        if let Some(Surprise(why)) = surprise {
            let uses = plan.trails.iter().filter(|(_, trail)| trail.sealing_region.as_ref() == Some(region));
            surprises.extend(uses.map(|(arn, _)| (arn.clone(), why.clone())));
        }
    }
}

/// A trail at work: what is planned for it, and how it came along.
type AtWork<'a> = (&'a TrailArn, &'a TrailPlan, TrailProgress);
/// What came of it.
type Worked<'a> = (&'a TrailArn, TrailProgress, Result<(), Surprise>);

fn note<'a>(worked: impl Iterator<Item = Worked<'a>>, progress: &mut Progress, surprises: &mut Surprises) {
    for (arn, done, result) in worked {
        *progress.trail(arn) = done;
        if let Err(Surprise(why)) = result {
            surprises.insert(arn.clone(), why);
        }
    }
}

/// Starts the trails of one Region, one after the other.
async fn start_each<'a>(writer: &impl Write, trails: Vec<AtWork<'a>>) -> Vec<Worked<'a>> {
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

/// The trails that are to be given the sealing key of that Region.
fn updates<'a>(plan: &'a Plan, region: &Region, progress: &Progress, surprises: &Surprises) -> Vec<AtWork<'a>> {
    let wanted = |step: &TrailStep| matches!(step, TrailStep::Update { bucket_region, .. } if bucket_region == region);
    let trails =
        plan.trails.iter().filter(|(arn, trail)| trail.steps.iter().any(wanted) && !surprises.contains_key(*arn));
    trails.map(|(arn, trail)| (arn, trail, progress.trails.get(arn).cloned().unwrap_or_default())).collect()
}

/// The same trails in turn, beginning with another one each time, so that none is always the last when time
/// runs out.
fn beginning_with(first: u64, mut trails: Vec<AtWork<'_>>) -> Vec<AtWork<'_>> {
    let count = u64::try_from(trails.len()).unwrap_or_default();
    let first = first.checked_rem(count).and_then(|first| usize::try_from(first).ok());
    trails.rotate_left(first.unwrap_or_default());
    trails
}

/// Whether a trail was changed in a Region before.
type Turn = AtomicBool;

/// Gives a trail its key when it is its turn.
async fn update<'a>(
    reader: &impl Read,
    writer: &impl Write,
    given: Option<(&KeyArn, &KeyPlan)>,
    fresh_until: Instant,
    turn: &Turn,
    (arn, plan, mut done): AtWork<'a>,
) -> Worked<'a> {
    let mut stale = false;
    let mut result = Ok(());
    for step in &plan.steps {
        let TrailStep::Update { observed, if_refused, .. } = step else {
            stale = true;
            continue;
        };
        match given {
            Some((key, of_key)) => {
                let fresh_until = Some(fresh_until).filter(|_| !stale && of_key.steps.is_empty());
                let update = trail::Update { observed, key, fresh: of_key.fresh, if_refused };
                result = update.send(reader, writer, turn, fresh_until, &mut done).await;
            }
            None => done.leave(step, None),
        }
    }
    (arn, done, result)
}
