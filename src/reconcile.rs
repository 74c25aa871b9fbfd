//! The whole flow: targets → observe → assess → plan → (dry-run stops) → apply → journal → answer → alerts.

use std::collections::BTreeMap;

use tokio::time::Instant;
use trailseal_core::assess::{AssessedTrail, assess_all, required_reads};
use trailseal_core::config::Mode;
use trailseal_core::context::Context;
use trailseal_core::ids::TrailArn;
use trailseal_core::journal::Journal;
use trailseal_core::observation::RemediationFacts;
use trailseal_core::pending::Pending;
use trailseal_core::plan::plan as make_plan;
use trailseal_core::report::{AccountReport, Answer, alerts};
use trailseal_core::trigger::{Origin, Target, Trigger};

use crate::apply::Executor;
use crate::aws::Aws;
use crate::invocation::Invocation;
use crate::observe::{self, Targets, observe_health, observe_remediation};
use crate::sweep;

/// Maximum number of passes per invocation.
const MAX_PASSES: usize = 3;

/// Called in each pass, once everything is read and before anything is changed.
pub type BeforeApply<'a> = &'a mut (dyn FnMut(&AssessedTrails, &RemediationFacts) -> Proceed + Send);

/// Whether a pass goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proceed {
    /// It makes the planned changes, if the mode allows it.
    Apply,
    /// It changes nothing, and is the last one.
    Stop,
}

/// The trails of a pass after assessment.
pub type AssessedTrails = BTreeMap<TrailArn, AssessedTrail>;

/// Reconciles the trails that a trigger names, and publishes the alerts.
pub async fn reconcile(aws: &Aws, context: &Context, trigger: Trigger, invocation: Invocation) -> Answer {
    reconcile_if(aws, context, trigger, invocation, &mut |_, _| Proceed::Apply).await
}

/// The same, but the caller decides before each pass changes anything.
pub async fn reconcile_if(
    aws: &Aws,
    context: &Context,
    trigger: Trigger,
    invocation: Invocation,
    before_apply: BeforeApply<'_>,
) -> Answer {
    let Trigger { origin, target } = trigger;
    let mode = context.config.mode;
    if let Target::Ignored(reason) = target {
        return Answer::ignored(mode, &origin, reason);
    }
    let only_one_trail = matches!(&target, Target::Trails(trails) if trails.len() == 1);
    let reader = aws.reader(invocation.stage_deadline(only_one_trail));
    let mut answer = match (observe::targets(&reader, &target, context).await, &target) {
        (Err(failure), _) => Answer::unlisted(mode, &origin, failure),
        (Ok(targets), Target::Key { key, .. }) if targets.trails.is_empty() => {
            let AccountReport { warnings, .. } = AccountReport::of_key(key, &targets.malformed, &targets.regions);
            Answer::unused_key(mode, &origin, key, &targets.regions, warnings)
        }
        (Ok(targets), _) => {
            let passes = run_passes(aws, context, targets.clone(), invocation, before_apply);
            let (journal, account) = match &target {
                Target::Sweep => sweep::reconcile_and_scan(passes, aws, context, targets, invocation).await,
                Target::Key { key, .. } => {
                    (passes.await, AccountReport::of_key(key, &targets.malformed, &targets.regions))
                }
                _ => (passes.await, AccountReport::default()),
            };
            Answer::compose(context, &origin, &journal, account)
        }
    };
    publish_alerts(aws, context, &origin, invocation, &mut answer).await;
    answer.truncate()
}

/// Observes, assesses, plans and applies; again for the trails whose plan the state of AWS contradicts.
async fn run_passes(
    aws: &Aws,
    context: &Context,
    mut targets: Targets,
    invocation: Invocation,
    before_apply: BeforeApply<'_>,
) -> Journal {
    let mut journal = Journal::default();
    let mut contradictions = BTreeMap::new();
    loop {
        let only_one_trail = targets.trails.len() == 1;
        let new_reader = || aws.reader(invocation.stage_deadline(only_one_trail));
        let pending = Pending::of(&journal);

        let health = observe_health(&new_reader(), &targets, context).await;
        let assessed = assess_all(health, context);
        let facts =
            observe_remediation(new_reader, &required_reads(&assessed), &pending, context, targets.rotation).await;
        let plan = make_plan(&assessed, &facts, &pending.unfinished, context);
        journal.append(pending.resolve(&assessed, &facts, &plan));
        journal.begin_pass(plan);
        if before_apply(&assessed, &facts) == Proceed::Stop || context.config.mode == Mode::DryRun {
            match journal.pass() {
                1 => journal.record_planned(),
                _ => journal.abandon(contradictions),
            }
            return journal;
        }

        // No writer exists before this line.
        let logging_writer = aws.writer(invocation.stage_deadline(only_one_trail));
        let (reader, writer) = (aws.reader(invocation.work_until), aws.writer(invocation.work_until));
        let executor = Executor::new(reader, writer, &journal, invocation.start_offset, targets.read_since);
        let applied = executor.apply(&logging_writer).await;
        journal.append(applied.entries);
        if applied.contradictions.is_empty() {
            return journal;
        }
        if journal.pass() == MAX_PASSES || Instant::now() >= invocation.work_until {
            journal.abandon(applied.contradictions);
            return journal;
        }
        tracing::info!(pass = journal.pass(), contradictions = ?applied.contradictions, "starting another pass");
        // `TrailTarget::arn` may differ from the ARN of a trail that is named otherwise, but a single target is certainly
        // the contradicted one.
        targets.trails.retain(|target| only_one_trail || applied.contradictions.contains_key(&target.arn(context)));
        targets.trails.iter_mut().for_each(|target| target.settings = None);
        contradictions = applied.contradictions;
        targets.read_since = Instant::now();
    }
}

/// Publishes the alerts. One that cannot be published is logged and counted, and changes nothing else.
async fn publish_alerts(aws: &Aws, context: &Context, origin: &Origin, invocation: Invocation, answer: &mut Answer) {
    let Some(topic) = &context.config.alert_topic else { return };
    for alert in alerts(answer, origin, context) {
        match aws.publisher(invocation.alerts_until).publish(topic, &alert).await {
            Ok(()) => answer.alerts.sent = answer.alerts.sent.saturating_add(1),
            Err(failure) => {
                answer.alerts.failed = answer.alerts.failed.saturating_add(1);
                tracing::error!(remedy = failure.remedy, "{}", failure.message);
            }
        }
    }
}
