//! Writes. The executor performs the steps of a plan in order and decides nothing. Whatever contradicts the plan ends the
//! pass for the trails that it concerns: they are observed, assessed and planned again. What became of each step is
//! returned as entries for the journal.

mod key;
mod trail;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::join_all;
use tokio::time::Instant;
use trailseal_core::ids::{Region, TrailArn};
use trailseal_core::journal::{Contradiction, Entry, Journal, StepResult, StepStatus};
use trailseal_core::plan::{Disposition, Plan, Step, Subject, TrailPlan};
use trailseal_core::report::step_text;

use crate::aws::{Read, Write};

/// The `tracing` target of the lines about steps.
pub const STEP_TARGET: &str = "trailseal::step";

/// How long a trail counts as unchanged after it was read, if nothing was written meanwhile.
const FRESHNESS: Duration = Duration::from_secs(2);

/// What one pass did.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) entries: Vec<Entry>,
    /// The trails whose plan the state of AWS contradicts.
    pub(crate) contradictions: BTreeMap<TrailArn, Contradiction>,
}

/// What the tasks of one pass share.
pub(crate) struct Executor<'a, R, W> {
    reader: R,
    writer: W,
    journal: &'a Journal,
    /// Varies which trail goes first, so that none is always last when time runs out.
    start_offset: u64,
    /// The trails were read after this time.
    observed_at: Instant,
    /// Whether this run wrote anything, or may have.
    has_written: AtomicBool,
}

/// A task's entries, and what contradicted its plan.
type TaskResult = (Vec<Entry>, Option<Contradiction>);

impl<'a, R: Read, W: Write> Executor<'a, R, W> {
    /// An executor for the last plan of the journal.
    pub(crate) fn new(reader: R, writer: W, journal: &'a Journal, start_offset: u64, observed_at: Instant) -> Self {
        let has_written = AtomicBool::new(journal.pass() > 1);
        Self { reader, writer, journal, start_offset, observed_at, has_written }
    }

    /// Seconds since 1970.
    fn now(&self) -> i64 {
        let now = self.reader.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
    }

    /// Performs the steps of the plan. `logging_writer` starts logging.
    pub(crate) async fn apply(&self, logging_writer: &impl Write) -> Applied {
        let Some(plan) = self.journal.plans().last() else { return Applied::default() };
        let mut applied = self.start_logging_for_all(plan, logging_writer).await;
        applied.merge(self.update_keys_and_trails(plan, &applied).await);
        applied
    }

    /// Starts logging, with a writer of its own. This comes first: it must not depend on how long encryption takes, nor
    /// on whether it is possible.
    async fn start_logging_for_all(&self, plan: &Plan, logging_writer: &impl Write) -> Applied {
        let mut regions: BTreeMap<&Region, Vec<(&TrailArn, &Region, &TrailPlan)>> = BTreeMap::new();
        for (arn, trail) in &plan.trails {
            if let Some(home_region) = &trail.restart {
                regions.entry(arn.region()).or_default().push((arn, home_region, trail));
            }
        }
        let started = join_all(regions.into_values().map(|trails| {
            join_all(starting_at(self.start_offset, trails).into_iter().map(async |(arn, home_region, trail)| {
                let (entries, mut contradiction) = self.start_logging(logging_writer, arn, home_region).await;
                let is_started = entries.iter().any(|entry| entry.status() == StepStatus::Done);
                // A trail with a sealing key is verified, or updated, after the steps of the key.
                if is_started && trail.disposition == Disposition::Remediate && trail.sealing_region.is_none() {
                    contradiction = self.verify(arn, trail).await;
                }
                (arn, (entries, contradiction))
            }))
        }));
        Applied::of(started.await.into_iter().flatten())
    }

    /// Performs the other steps. The trails of a sealing key wait for that key only.
    async fn update_keys_and_trails(&self, plan: &Plan, restarted: &Applied) -> Applied {
        let pass = self.journal.pass();
        let keys = join_all(plan.keys.iter().map(async |(region, key)| {
            let trails = plan.trails_of(region);
            let (entries, key_result) = self.apply_key(region, key).await;
            let mut applied = Applied { entries, ..Applied::default() };
            match key_result {
                key::KeyResult::Contradicted(contradiction) => {
                    let contradicted = trails.map(|(arn, _)| (arn.clone(), contradiction.clone()));
                    applied.contradictions.extend(contradicted);
                }
                key::KeyResult::Unusable => {
                    let updates = trails.filter_map(|(arn, trail)| Some((arn, trail.update.clone()?)));
                    applied.entries.extend(updates.map(|(arn, update)| {
                        let subject = Subject::Trail(arn.clone());
                        Entry::new(pass, subject, Step::Update(update), key.key.clone(), StepResult::NotPerformed)
                    }));
                }
                key::KeyResult::Usable(arn) => {
                    let trails = trails.filter(|(trail, _)| !restarted.contradictions.contains_key(*trail));
                    let tasks = starting_at(self.start_offset, trails.collect()).into_iter();
                    let updated = join_all(tasks.map(async |(trail, plan)| match &plan.update {
                        Some(update) => (trail, self.update_trail(update, &arn, key).await),
                        None => (trail, (vec![], self.verify(trail, plan).await)),
                    }));
                    applied.merge(Applied::of(updated.await));
                }
            }
            applied
        }));
        let mut applied = Applied::default();
        keys.await.into_iter().for_each(|key| applied.merge(key));
        applied
    }
}

impl Applied {
    fn of<'a>(results: impl IntoIterator<Item = (&'a TrailArn, TaskResult)>) -> Self {
        let mut applied = Self::default();
        for (arn, (entries, contradiction)) in results {
            applied.entries.extend(entries);
            applied.contradictions.extend(contradiction.map(|contradiction| (arn.clone(), contradiction)));
        }
        applied
    }

    /// Adds what another task did.
    fn merge(&mut self, other: Self) {
        self.entries.extend(other.entries);
        self.contradictions.extend(other.contradictions);
    }
}

/// Logs what became of a step at once, for a run that is stopped before its answer.
fn logged(entry: Entry) -> Entry {
    tracing::info!(target: STEP_TARGET, "{}", step_text(&entry));
    entry
}

/// The same items in order, starting with another one for each `start_offset`.
fn starting_at<T>(start_offset: u64, mut items: Vec<T>) -> Vec<T> {
    let count = u64::try_from(items.len()).unwrap_or_default();
    let first = start_offset.checked_rem(count).and_then(|first| usize::try_from(first).ok());
    items.rotate_left(first.unwrap_or_default());
    items
}
