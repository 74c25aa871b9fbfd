//! The whole flow: targets → observe → assess → plan → (dry-run stops) → apply → journal → answer.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use tokio::join;
use tokio::time::Instant;
use trailseal_core::assess::{assess_all, required_reads};
use trailseal_core::config::Mode;
use trailseal_core::context::Context;
use trailseal_core::journal::Journal;
use trailseal_core::pending::Pending;
use trailseal_core::plan::plan;
use trailseal_core::report::{AccountReport, Answer, alerts};
use trailseal_core::trigger::{Origin, Target, Trigger};

use crate::apply::Executor;
use crate::aws::{Aws, Deadline};
use crate::observe::{self, TrailTarget};
use crate::sweep;

/// How often trails are observed again after the state of AWS contradicted their plan.
const MAX_PASSES: usize = 3;

/// What one invocation has besides its trigger.
#[derive(Debug, Clone, Copy)]
pub struct Invocation {
    /// When reads and writes end.
    pub work_until: Instant,
    /// When alerts end.
    pub alerts_until: Instant,
    /// Another number for each invocation.
    pub rotation: u64,
}

/// Reconciles the trails that a trigger names, and publishes the alerts.
pub async fn reconcile(aws: &Aws, context: &Context, trigger: Trigger, invocation: Invocation) -> Answer {
    let Trigger { origin, target } = trigger;
    let mode = context.config.mode;
    let is_sweep = target == Target::Sweep;
    let one_trail = matches!(target, Target::Trail(_));
    let started = Instant::now();
    let reader = aws.reader(invocation.deadline(if one_trail { 1 } else { usize::MAX }));
    let mut answer = match (observe::targets(&reader, &target, context).await, target) {
        (_, Target::Ignored(reason)) => return Answer::ignored(mode, &origin, reason),
        (Err(failure), _) => Answer::unlisted(mode, &origin, failure),
        (Ok(targets), Target::Key(key)) if targets.trails.is_empty() => {
            Answer::ignored(mode, &origin, format!("no trail uses key `{key}`"))
        }
        (Ok(targets), _) => {
            let regions = if is_sweep { sweep::regions(&targets, context) } else { BTreeSet::new() };
            let scan = sweep::scan_tagged_keys(&reader, &targets, &regions, context);
            let passes = passes(aws, context, targets.trails.clone(), invocation, started);
            let (journal, mut scan) = join!(passes, scan);
            let report = match is_sweep {
                true => {
                    // Regions where trails have their buckets and, so far, no key.
                    let more =
                        journal.candidate_regions().filter(|region| !regions.contains(*region)).cloned().collect();
                    let reader = aws.reader(invocation.work_until);
                    scan.merge(sweep::scan_tagged_keys(&reader, &targets, &more, context).await);
                    AccountReport::new(targets.malformed, &scan, &journal)
                }
                false => AccountReport::default(),
            };
            Answer::compose(context, &origin, &journal, report)
        }
    };
    publish_alerts(aws, context, &origin, invocation.alerts_until, &mut answer).await;
    answer.truncate()
}

/// Observes, assesses, plans and applies; again for the trails whose plan the state of AWS contradicted. The settings of
/// the first pass were read after `observed_at`: a sweep reads them while it lists the trails.
async fn passes(
    aws: &Aws,
    context: &Context,
    mut targets: Vec<TrailTarget>,
    invocation: Invocation,
    mut observed_at: Instant,
) -> Journal {
    let mut journal = Journal::default();
    let has_written = AtomicBool::new(false);
    loop {
        let count = targets.len();
        let new_reader = || aws.reader(invocation.deadline(count));
        let health = observe::health(&new_reader(), &targets, context).await;
        let assessed = assess_all(health, context);
        let pending = Pending::of(&journal);
        let required = required_reads(assessed.values());
        let facts = observe::remediation(new_reader, &required, &pending, context).await;
        let plan = plan(&assessed, &facts, &pending.unfinished, context);
        journal.append(pending.resolve(&assessed, &facts, &plan));
        journal.begin_pass(plan.clone());
        if context.config.mode == Mode::DryRun {
            journal.record_planned();
            return journal;
        }
        // The writers exist only from here on.
        let starter = aws.writer(invocation.deadline(count));
        let (reader, writer) = (aws.reader(invocation.work_until), aws.writer(invocation.work_until));
        let rotation = invocation.rotation;
        let executor = Executor { reader, writer, journal: &journal, rotation, observed_at, has_written: &has_written };
        let mut applied = executor.restart(&plan, &starter).await;
        applied.merge(executor.seal(&plan, &applied).await);
        journal.append(applied.entries);
        if applied.contradictions.is_empty() {
            return journal;
        }
        if journal.pass() == MAX_PASSES || Instant::now() >= invocation.work_until {
            journal.abandon(applied.contradictions);
            return journal;
        }
        tracing::info!(pass = journal.pass(), contradictions = ?applied.contradictions, "observing again");
        let is_contradicted = |target: &TrailTarget| applied.contradictions.contains_key(&target.arn(context));
        // A trail that was not named by its ARN is the only one.
        targets.retain(|target| count == 1 || is_contradicted(target));
        targets.iter_mut().for_each(|target| target.settings = None);
        observed_at = Instant::now();
    }
}

impl Invocation {
    /// Of several trails, one that does not respond must leave time for the others: each stage gets a third of the rest.
    fn deadline(&self, trails: usize) -> Deadline {
        if trails == 1 {
            return self.work_until.into();
        }
        let left = self.work_until.saturating_duration_since(Instant::now());
        Deadline::share(Instant::now().checked_add(left.checked_div(3).unwrap_or(left)).unwrap_or(self.work_until))
    }
}

/// Publishes the alerts. One that cannot be published is logged and counted, and changes nothing else.
async fn publish_alerts(aws: &Aws, context: &Context, origin: &Origin, until: Instant, answer: &mut Answer) {
    let Some(topic) = &context.config.alert_topic else { return };
    for alert in alerts(answer, origin, context) {
        match aws.publisher(until).publish(topic, &alert).await {
            Ok(()) => answer.alerts.sent = answer.alerts.sent.saturating_add(1),
            Err(failure) => {
                answer.alerts.failed = answer.alerts.failed.saturating_add(1);
                tracing::error!(remedy = failure.remedy, "{}", failure.message);
            }
        }
    }
}
