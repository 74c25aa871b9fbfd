//! The flow on one screen: observe → assess → plan → (dry-run stops here) → apply → report.

use std::collections::BTreeMap;

use tokio::time::Instant;
use trailseal_core::alert::alerts;
use trailseal_core::assess::{KeyNeed, Verdict, assess};
use trailseal_core::config::{Config, Mode};
use trailseal_core::ids::FunctionArn;
use trailseal_core::plan::Plan;
use trailseal_core::planner::{Judged, plan, wanted};
use trailseal_core::progress::Progress;
use trailseal_core::report::Answer;
use trailseal_core::trigger::{Origin, TrailRef};

use crate::apply::apply;
use crate::aws::{Aws, Read};
use crate::observe;

/// How often a surprise is met by looking again.
const PASSES: usize = 3;

/// The times until which work and alerts may take, all within the invocation's.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Reading and writing.
    pub work: Instant,
    /// Telling about it.
    pub report: Instant,
}

/// Reconciles the trails and says what became of them.
pub async fn reconcile(
    aws: &Aws,
    config: &Config,
    home: &FunctionArn,
    targets: &[TrailRef],
    origin: &Origin,
    deadlines: Deadlines,
) -> Answer {
    let reader = aws.reader(deadlines.work);
    let mut progress = Progress::default();
    let mut pass = 1;
    let plan = loop {
        let (plan, waited) = look(&reader, config, home, targets, &mut progress).await;
        progress.begin(&plan);
        if config.mode == Mode::DryRun {
            progress.plan_only(&plan);
            break plan;
        }
        let writer = aws.writer(deadlines.work);
        match apply(&reader, &writer, &plan, waited || pass > 1, &mut progress).await {
            Ok(()) => break plan,
            Err(surprise) if pass == PASSES || Instant::now() >= deadlines.work => {
                progress.give_up(&plan, &surprise.0);
                break plan;
            }
            Err(surprise) => tracing::info!(pass, surprise = surprise.0, "looking again"),
        }
        pass = pass.saturating_add(1);
    };
    let mut answer = Answer::compose(config.mode, origin, &plan, &progress);
    alert(aws, config, origin, deadlines.report, &mut answer).await;
    answer
}

/// Observes, assesses and plans; also finds out how what an earlier pass left open turned out.
async fn look(
    reader: &impl Read,
    config: &Config,
    home: &FunctionArn,
    targets: &[TrailRef],
    progress: &mut Progress,
) -> (Plan, bool) {
    let mut waited = false;
    let mut trails = BTreeMap::new();
    for target in targets {
        let (arn, judged) = match observe::trail(reader, target, config, home).await {
            Ok(None) => (target.arn(home), Judged::Gone),
            Err(failure) => (target.arn(home), Judged::Unseen(failure)),
            Ok(Some(facts)) => {
                waited |= facts.waited;
                let assessment = assess(&facts, config, home);
                let mending = match assessment.verdict {
                    Verdict::Compliant | Verdict::OutOfScope(_) => None,
                    Verdict::Note => Some(observe::mending(reader, &facts.settings, config, false).await),
                    Verdict::Mend { ref key, .. } => {
                        let seal = *key == Some(KeyNeed::Sealing);
                        Some(observe::mending(reader, &facts.settings, config, seal).await)
                    }
                };
                (facts.settings.arn.clone(), Judged::Seen { settings: facts.settings, assessment, mending })
            }
        };
        trails.insert(arn, judged);
    }
    let mut wanted = wanted(trails.values());
    wanted.regions.extend(progress.open_regions().cloned());
    let mut sealing = observe::sealing(reader, &wanted, progress, config, home).await;
    progress.settle(&trails, &mut sealing);
    (plan(trails, &sealing, config, home), waited)
}

/// Publishes what there is to say. A message that does not get out is logged and counted, and changes
/// nothing else.
async fn alert(aws: &Aws, config: &Config, origin: &Origin, deadline: Instant, answer: &mut Answer) {
    let Some(topic) = &config.alert_topic else { return };
    for alert in alerts(answer, origin, config) {
        match aws.publisher(deadline).publish(topic, &alert).await {
            Ok(()) => answer.alerts.sent = answer.alerts.sent.saturating_add(1),
            Err(failure) => {
                answer.alerts.failed = answer.alerts.failed.saturating_add(1);
                tracing::error!(remedy = failure.remedy, "{}", failure.message);
            }
        }
    }
}
