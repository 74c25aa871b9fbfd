//! The flow on one screen: observe → assess → plan → (dry-run stops here) → apply → report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::join;
use tokio::time::Instant;
use trailseal_core::alert::alerts;
use trailseal_core::assess::{KeyNeed, Verdict, assess};
use trailseal_core::config::{Config, Mode};
use trailseal_core::finding::Warning;
use trailseal_core::ids::{FunctionArn, TrailArn};
use trailseal_core::plan::Plan;
use trailseal_core::planner::{Judged, doubts, left_over, plan, wanted};
use trailseal_core::progress::Progress;
use trailseal_core::report::Answer;
use trailseal_core::trigger::{Origin, Target};

use crate::apply::{self, Surprises};
use crate::aws::{Aws, Deadline, Read};
use crate::observe::{self, Meant, Shared};

/// How often a surprise is met by looking again.
const PASSES: usize = 3;

/// For how long a trail counts as being as it was read.
const FRESH: Duration = Duration::from_secs(2);

/// The times until which work and alerts may take, all within the invocation's.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Reading and writing.
    pub work: Instant,
    /// Telling about it.
    pub report: Instant,
}

/// Reconciles what the trigger means and says what became of it. `first`, another number for each
/// invocation, says with which trail to begin where they have to wait for each other.
pub async fn reconcile(
    aws: &Aws,
    config: &Config,
    home: &FunctionArn,
    target: Target,
    origin: &Origin,
    deadlines: Deadlines,
    first: u64,
) -> Answer {
    let began = Instant::now();
    let fresh_until = began.checked_add(FRESH).unwrap_or(began);
    let reader = aws.reader(deadlines.share(matches!(target, Target::Trail(_))));
    let meant = match &target {
        Target::Ignored(reason) => return Answer::ignored(config.mode, origin, reason.clone()),
        Target::Trail(trail) => Ok((vec![Meant::named(trail.clone())], vec![])),
        Target::Key(key) => observe::trails_with_key(&reader, home, key).await.map(|meant| (meant, vec![])),
        Target::Sweep => observe::every_trail(&reader, home).await,
    };
    let mut answer = match (meant, target) {
        (Err(failure), _) => Answer::unlisted(config.mode, origin, failure),
        (Ok((meant, _)), Target::Key(key)) if meant.is_empty() => {
            Answer::ignored(config.mode, origin, format!("no trail uses key `{key}`"))
        }
        (Ok((meant, odd)), target) => {
            let run = Run { aws, config, home, deadlines, first };
            let listed = meant.clone();
            let regions = match target {
                Target::Sweep => observe::regions(&listed, config, home),
                _ => BTreeSet::new(),
            };
            let trails = (listed.as_slice(), odd.as_slice());
            let found = observe::left_over(&reader, trails, &regions, config, home);
            let ((mut plan, progress, logging), mut found) = join!(run.passes(meant, fresh_until), found);
            if target == Target::Sweep {
                // Where trails have their buckets and, so far, none its key.
                let more = progress.keys.keys().filter(|region| !regions.contains(*region)).cloned().collect();
                let more = observe::left_over(&aws.reader(deadlines.work), trails, &more, config, home).await;
                found = found.and(more);
            }
            plan.add_strays(left_over(&found.keys));
            let mut warnings = doubts(&found, &plan, &progress);
            if target == Target::Sweep && logging == Some(false) && odd.is_empty() && !progress.restarted() {
                warnings.push(Warning::no_logging_trail());
            }
            plan.odd = odd;
            Answer::compose(config.mode, origin, &plan, &progress, warnings)
        }
    };
    alert(aws, config, home, origin, deadlines.report, &mut answer).await;
    answer.fitting()
}

impl Deadlines {
    /// The time until which is looked, or started: of several trails, one that does not answer must leave
    /// the others time to be mended.
    fn share(self, alone: bool) -> Deadline {
        if alone {
            return self.work.into();
        }
        let left = self.work.saturating_duration_since(Instant::now());
        let third = left.checked_div(3).unwrap_or(left);
        Deadline::share(Instant::now().checked_add(third).unwrap_or(self.work))
    }
}

struct Run<'a> {
    aws: &'a Aws,
    config: &'a Config,
    home: &'a FunctionArn,
    deadlines: Deadlines,
    first: u64,
}

impl Run<'_> {
    /// Looks, plans and applies, again for what was surprised. Also says whether any trail logs, if that
    /// is known.
    async fn passes(&self, mut meant: Vec<Meant>, fresh_until: Instant) -> (Plan, Progress, Option<bool>) {
        let mut progress = Progress::default();
        let mut whole = Plan::default();
        let mut logging = None;
        for pass in 1..=PASSES {
            let (plan, seen) = self.look(&meant, &mut progress).await;
            progress.begin(&plan);
            if pass == 1 {
                logging = seen.logging;
            }
            if self.config.mode == Mode::DryRun {
                progress.plan_only(&plan);
                whole.replace(plan);
                break;
            }
            let starter = self.aws.writer(self.deadlines.share(meant.len() == 1));
            let mut surprises = apply::start(&starter, &plan, self.first, &mut progress).await;
            let (reader, writer) = (self.aws.reader(self.deadlines.work), self.aws.writer(self.deadlines.work));
            let fresh_until = if seen.waited || pass > 1 { Instant::now() } else { fresh_until };
            apply::seal(&reader, &writer, &plan, fresh_until, self.first, &mut progress, &mut surprises).await;
            let last = pass == PASSES || Instant::now() >= self.deadlines.work;
            if last {
                progress.give_up(&plan, &surprises);
            }
            whole.replace(plan);
            if surprises.is_empty() || last {
                break;
            }
            tracing::info!(pass, surprises = ?surprises.values().collect::<Vec<_>>(), "looking again");
            meant = again(&meant, &surprises, self.home);
        }
        (whole, progress, logging)
    }

    /// Observes, assesses and plans; also finds out how what an earlier pass left open turned out.
    async fn look(&self, meant: &[Meant], progress: &mut Progress) -> (Plan, Seen) {
        let alone = meant.len() == 1;
        let reader = self.aws.reader(self.deadlines.share(alone));
        let reader = Shared::new(&reader);
        let looked = observe::side_by_side(meant.iter().map(|meant| self.trail(&reader, meant))).await;
        let any_logs = looked.iter().any(|(.., seen)| seen.logging == Some(true));
        let none_logs = looked.iter().all(|(.., seen)| seen.logging == Some(false));
        let seen = Seen {
            waited: looked.iter().any(|(.., seen)| seen.waited),
            logging: (any_logs || none_logs).then_some(any_logs),
        };
        let trails: BTreeMap<_, _> = looked.into_iter().map(|(arn, judged, _)| (arn, judged)).collect();
        let mut wanted = wanted(trails.values());
        wanted.regions.extend(progress.open_regions().cloned());
        // Whoever did not answer until now takes no time from this.
        let reader = self.aws.reader(self.deadlines.share(alone));
        let mut sealing = observe::sealing(&Shared::new(&reader), &wanted, progress, self.config, self.home).await;
        progress.settle(&trails, &mut sealing);
        (plan(trails, &sealing, self.config, self.home), seen)
    }

    async fn trail(&self, reader: &impl Read, meant: &Meant) -> (TrailArn, Judged, Seen) {
        let Self { config, home, .. } = self;
        let facts = match observe::trail(reader, meant, config, home).await {
            Ok(None) => return (meant.trail.arn(home), Judged::Gone, Seen { logging: Some(false), waited: false }),
            Err(failure) => return (meant.trail.arn(home), Judged::Unseen(failure), Seen::default()),
            Ok(Some(facts)) => facts,
        };
        let seen = Seen { waited: facts.waited, logging: Some(facts.status.logging) };
        let assessment = assess(&facts, config, home);
        let mending = match &assessment.verdict {
            Verdict::Compliant | Verdict::OutOfScope(_) => None,
            Verdict::Note => Some(observe::mending(reader, &facts.settings, config, false).await),
            Verdict::Mend { key, .. } => {
                let seal = *key == Some(KeyNeed::Sealing);
                Some(observe::mending(reader, &facts.settings, config, seal).await)
            }
        };
        (facts.settings.arn.clone(), Judged::Seen { settings: facts.settings, assessment, mending }, seen)
    }
}

/// What looking found out beside the trails' own facts.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Whether time passed.
    waited: bool,
    /// Whether a trail logs; `None`: not every one could be looked at.
    logging: Option<bool>,
}

/// Those that were surprised, to be read anew.
fn again(meant: &[Meant], surprises: &Surprises, home: &FunctionArn) -> Vec<Meant> {
    // One that was named otherwise than by its ARN is the only one.
    if let [only] = meant {
        return vec![Meant::named(only.trail.clone())];
    }
    let surprised = meant.iter().filter(|meant| surprises.contains_key(&meant.trail.arn(home)));
    surprised.map(|meant| Meant::named(meant.trail.clone())).collect()
}

/// Publishes what there is to say. A message that does not get out is logged and counted, and changes
/// nothing else.
async fn alert(
    aws: &Aws,
    config: &Config,
    home: &FunctionArn,
    origin: &Origin,
    deadline: Instant,
    answer: &mut Answer,
) {
    let Some(topic) = &config.alert_topic else { return };
    for alert in alerts(answer, origin, config, home) {
        match aws.publisher(deadline).publish(topic, &alert).await {
            Ok(()) => answer.alerts.sent = answer.alerts.sent.saturating_add(1),
            Err(failure) => {
                answer.alerts.failed = answer.alerts.failed.saturating_add(1);
                tracing::error!(remedy = failure.remedy, "{}", failure.message);
            }
        }
    }
}
