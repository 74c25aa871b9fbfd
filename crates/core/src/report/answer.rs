//! The answer: what became of every trail, for people and for machines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Mode;
use crate::finding::{Finding, Warning};
use crate::ids::TrailArn;
use crate::key_policy::KeyPolicy;
use crate::observation::{Class, Failure, OddTrail};
use crate::plan::{Fate, KeyOwner, Plan, StepName, TrailPlan};
use crate::progress::{KeyProgress, Progress, StepReport, StepStatus, TrailProgress};
use crate::stray::Stray;
use crate::trigger::Origin;

/// What became of a trail, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing was found.
    Compliant,
    /// It was deleted meanwhile.
    Gone,
    /// It carries the exempt tag.
    Exempt,
    /// Another account's to mend.
    OutOfScope,
    /// Encrypted, with a finding that is reported and not mended.
    Noted,
    /// It was mended.
    Remediated,
    /// It would be mended.
    Planned,
    /// It could not be mended.
    Failed,
}

impl Outcome {
    /// As in the answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Compliant => "compliant",
            Self::Gone => "gone",
            Self::Exempt => "exempt",
            Self::OutOfScope => "out-of-scope",
            Self::Noted => "noted",
            Self::Remediated => "remediated",
            Self::Planned => "planned",
            Self::Failed => "failed",
        }
    }
}

/// The function's answer, also its log line and what a destination receives. Every field is always
/// there, null or empty where it has nothing to say. New fields may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answer {
    /// The version of this form: 1.
    pub schema: u32,
    /// `dry-run` or `enforce`.
    pub mode: &'static str,
    /// What started this invocation.
    pub trigger: TriggerReport,
    /// Why nothing was looked at, if so.
    pub ignored: Option<String>,
    /// Every trail that was looked at, sorted by ARN.
    pub trails: Vec<TrailReport>,
    /// How many trails had each outcome.
    pub summary: BTreeMap<&'static str, u32>,
    /// Why the trails could not be listed, if so.
    pub error: Option<Failure>,
    /// Warnings that are about no single trail.
    pub warnings: Vec<Warning>,
    /// What became of the alerts.
    pub alerts: Alerts,
    /// Keys of trailseal's that nothing uses.
    pub strays: Vec<Stray>,
    /// Whether anything was left out to keep the answer small.
    pub truncated: bool,
    /// What somebody has to be told whatever becomes of the trails; each stands under its trail, too.
    #[serde(skip)]
    pub asides: Vec<String>,
}

/// What started the invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TriggerReport {
    /// The event's name, `sweep` or `request`.
    pub kind: String,
    /// CloudTrail's id of the event.
    pub event_id: Option<String>,
    /// Who made the call that the event tells of.
    pub actor: Option<String>,
    /// The event's Region.
    pub region: Option<String>,
}

/// What became of one trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TrailReport {
    /// Which.
    pub trail_arn: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was left alone, if it was.
    pub detail: Option<String>,
    /// What was wrong with it.
    pub findings: Vec<Finding>,
    /// Its key after this run; in a dry-run the key that it would get, null if one would be created.
    pub key_arn: Option<String>,
    /// The key that it had before, if that was another.
    pub previous_key_arn: Option<String>,
    /// What was done or would be done, in order.
    pub steps: Vec<StepReport>,
    /// What somebody should know.
    pub warnings: Vec<Warning>,
    /// What failed.
    pub error: Option<Failure>,
    /// Whose key it is that the trail gets, if it gets one.
    #[serde(skip)]
    pub key_owner: Option<KeyOwner>,
    /// The policy of the key that would be created, for the trail under which that step is listed.
    pub new_key_policy: Option<KeyPolicy>,
}

/// How many alerts were published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Alerts {
    /// Published.
    pub sent: u32,
    /// Lost.
    pub failed: u32,
}

/// The most bytes of an answer, apart from trails with findings: well below what a log line, a
/// destination and an event may hold.
const ROOM: usize = 200_000;

/// The answer as one line of the log.
#[derive(Debug, Serialize)]
struct LogLine<'a> {
    level: &'static str,
    #[serde(flatten)]
    answer: &'a Answer,
}

impl Answer {
    /// The answer to an event that is none of our business.
    pub fn ignored(mode: Mode, origin: &Origin, reason: String) -> Self {
        Self { ignored: Some(reason), ..Self::of(mode, origin, Vec::new(), Vec::new()) }
    }

    /// The answer where the trails could not even be listed.
    pub fn unlisted(mode: Mode, origin: &Origin, failure: Failure) -> Self {
        Self { error: Some(failure), ..Self::of(mode, origin, Vec::new(), Vec::new()) }
    }

    /// The answer for every trail of the plan.
    pub fn compose(mode: Mode, origin: &Origin, plan: &Plan, progress: &Progress, warnings: Vec<Warning>) -> Self {
        let trails = plan.trails.iter().map(|(arn, trail)| trail_report(mode, arn, trail, plan, progress));
        let mut trails: Vec<TrailReport> = trails.chain(plan.odd.iter().map(odd_report)).collect();
        trails.sort_by(|one, other| one.trail_arn.cmp(&other.trail_arn));
        let mut strays = progress.strays();
        strays.extend(plan.strays.iter().filter(|stray| progress.made_no(&stray.key_arn)).cloned());
        let mut answer = Self::of(mode, origin, trails, strays);
        answer.asides = asides(&answer.trails, progress);
        answer.warnings = warnings;
        answer
    }

    fn of(mode: Mode, origin: &Origin, trails: Vec<TrailReport>, strays: Vec<Stray>) -> Self {
        let mut summary = BTreeMap::new();
        for trail in &trails {
            let count: &mut u32 = summary.entry(trail.outcome.as_str()).or_default();
            *count = count.saturating_add(1);
        }
        let trigger = TriggerReport {
            kind: origin.kind.clone(),
            event_id: origin.event_id.clone(),
            actor: origin.actor.clone(),
            region: origin.region.as_ref().map(ToString::to_string),
        };
        Self {
            schema: 1,
            mode: mode.as_str(),
            trigger,
            ignored: None,
            trails,
            summary,
            error: None,
            warnings: Vec::new(),
            alerts: Alerts::default(),
            strays,
            truncated: false,
            asides: Vec::new(),
        }
    }

    /// Leaves out what is least needed until the answer is small enough: trails that are well, then the
    /// words of steps. A trail with a finding always stays.
    #[must_use]
    pub fn fitting(mut self) -> Self {
        let fits = |answer: &Self| serde_json::to_vec(answer).is_ok_and(|text| text.len() <= ROOM);
        if !fits(&self) {
            self.truncated = true;
            self.trails.retain(|trail| trail.outcome != Outcome::Compliant || !trail.findings.is_empty());
        }
        if !fits(&self) {
            self.trails.iter_mut().flat_map(|trail| &mut trail.steps).for_each(|step| step.detail.clear());
        }
        self
    }

    /// What is not done yet and passes, in words.
    pub fn unfinished(&self) -> Option<String> {
        let passes = |failure: &&Failure| failure.class == Class::Transient;
        let of_trail = |trail: &TrailReport| {
            let failure = trail.error.as_ref().filter(passes)?;
            Some(format!("trail `{}` is not done yet: {}", trail.trail_arn, failure.message))
        };
        let unlisted = self.error.as_ref().filter(passes).map(|failure| failure.message.clone());
        unlisted.or_else(|| self.trails.iter().find_map(of_trail))
    }

    /// The answer as one line of JSON with its level, which Lambda's log filters read.
    ///
    /// # Errors
    ///
    /// None that can occur: every key is a text.
    pub fn log_line(&self) -> Result<String, serde_json::Error> {
        let failed = self.alerts.failed > 0
            || self.error.is_some()
            || self.trails.iter().any(|trail| trail.outcome == Outcome::Failed);
        serde_json::to_string(&LogLine { level: if failed { "ERROR" } else { "INFO" }, answer: self })
    }
}

fn trail_report(mode: Mode, arn: &TrailArn, trail: &TrailPlan, plan: &Plan, progress: &Progress) -> TrailReport {
    let nothing = Default::default();
    let done = progress.trails.get(arn).unwrap_or(&nothing);
    let key = done.sealing_region.as_ref().and_then(|region| progress.keys.get(region));
    let (outcome, detail, error) = outcome(mode, trail, done, key);
    let steps = steps(arn, trail, done, progress);
    // A later pass that finds the trail well, or not at all, does not say why this was done.
    let why = acted(done, key) || (outcome == Outcome::Failed && trail.findings.is_empty());
    let would_get = trail.sealing_region.as_ref().and_then(|region| plan.keys.get(region));
    let key_arn = match (&done.sealed, mode, would_get) {
        (Some(sealed), _, _) => Some(sealed.to_string()),
        (None, Mode::DryRun, Some(key)) => key.key.as_ref().map(ToString::to_string),
        // What was not seen in the last pass was in the first.
        _ if matches!(trail.fate, Fate::Failed(_)) => trail.current_key.clone().or(done.previous_key.clone()),
        _ => done.other_key.clone().or(trail.current_key.clone()),
    };
    let updates = steps.iter().any(|step| step.step == StepName::UpdateTrail);
    let listed_here = |key: &&KeyProgress| key.reported_under.as_ref() == Some(arn);
    TrailReport {
        trail_arn: arn.to_string(),
        outcome,
        detail,
        findings: if why { &done.findings } else { &trail.findings }.clone(),
        previous_key_arn: done.previous_key.clone().filter(|previous| updates && Some(previous) != key_arn.as_ref()),
        key_arn,
        steps,
        warnings: trail.warnings.clone(),
        error,
        key_owner: would_get.map(|key| key.owner),
        new_key_policy: key.filter(listed_here).and_then(|key| key.new_policy.clone()),
    }
}

/// A trail of which nothing is known but that it is there must not be passed over in silence.
fn odd_report(odd: &OddTrail) -> TrailReport {
    TrailReport {
        trail_arn: odd.told.clone(),
        outcome: Outcome::Failed,
        detail: None,
        findings: vec![],
        key_arn: None,
        previous_key_arn: None,
        steps: vec![],
        warnings: vec![],
        error: Some(odd.failure.clone()),
        key_owner: None,
        new_key_policy: None,
    }
}

/// What became of the trail, why it was left alone if it was, and what failed.
fn outcome(
    mode: Mode,
    trail: &TrailPlan,
    done: &TrailProgress,
    key: Option<&KeyProgress>,
) -> (Outcome, Option<String>, Option<Failure>) {
    let outcome = match &trail.fate {
        Fate::Gone => return (Outcome::Gone, None, None),
        Fate::OutOfScope(reason) => return (Outcome::OutOfScope, Some(reason.clone()), None),
        Fate::Exempt(value) => return (Outcome::Exempt, Some(value.clone()), None),
        Fate::Failed(_) => Outcome::Failed,
        Fate::Mended if mode == Mode::DryRun => Outcome::Planned,
        Fate::Mended => Outcome::Remediated,
        // A later pass finds well what an earlier one mended.
        Fate::Compliant | Fate::Noted if acted(done, key) => Outcome::Remediated,
        Fate::Noted => Outcome::Noted,
        Fate::Compliant => Outcome::Compliant,
    };
    let failures = [
        done.failure.as_ref(),
        key.and_then(|key| key.failure.as_ref()),
        done.not_restarted.as_ref(),
        done.lasting.as_ref(),
        key.and_then(|key| key.lasting.as_ref()),
    ];
    // One that passes comes first: the invocation is tried again, and whatever does not pass comes again.
    let mut failures: Vec<&Failure> = failures.into_iter().flatten().collect();
    failures.sort_by_key(|failure| failure.class == Class::Terminal);
    let error = failures.first().map(|failure| (*failure).clone());
    (if error.is_some() { Outcome::Failed } else { outcome }, None, error)
}

/// Whether something was done for the trail.
fn acted(done: &TrailProgress, key: Option<&KeyProgress>) -> bool {
    done.sealed.is_some() || done.restarted || key.is_some_and(|key| key.mended)
}

/// Keys that may have been left over, and what failed for good beside a trail's own failure.
fn asides(trails: &[TrailReport], progress: &Progress) -> Vec<String> {
    let told = |failure: &&Failure| trails.iter().all(|trail| trail.error.as_ref() != Some(*failure));
    let perhaps = progress.keys.values().filter_map(|key| Some(key.perhaps_created.as_ref()?.what.clone()));
    let lasting = progress.keys.values().filter_map(|key| key.lasting.as_ref());
    let lasting = lasting.chain(progress.trails.values().filter_map(|trail| trail.lasting.as_ref())).filter(told);
    let words = |failure: &Failure| format!("{}. {}", failure.message, failure.remedy.as_deref().unwrap_or_default());
    perhaps.chain(lasting.map(words)).collect()
}

/// In the order in which they are taken: the start of logging, the steps of every key that is listed
/// under this trail, the rest of the trail's own.
fn steps(arn: &TrailArn, trail: &TrailPlan, done: &TrailProgress, progress: &Progress) -> Vec<StepReport> {
    let starts = |step: &&StepReport| step.step == StepName::StartLogging;
    let mut steps: Vec<StepReport> = done.steps.iter().filter(starts).cloned().collect();
    for (region, key) in &progress.keys {
        match &key.reported_under {
            Some(first) if first == arn => steps.extend(key.steps.iter().cloned()),
            Some(first) if done.sealing_region.as_ref() == Some(region) => {
                let detail = format!("listed under `{first}`");
                steps.extend(
                    key.steps.iter().map(|step| StepReport::new(step.step, StepStatus::NotNeeded, detail.clone())),
                );
            }
            _ => {}
        }
    }
    steps.extend(done.steps.iter().filter(|step| !starts(step)).cloned());
    if let (Fate::Compliant | Fate::Noted, None, Some(_), Some(key)) =
        (&trail.fate, &done.sealed, &done.sealing_region, &trail.current_key)
        && done.previous_key.as_ref() != Some(key)
    {
        let detail = format!("somebody else gave it `{key}`");
        steps.push(StepReport::new(StepName::UpdateTrail, StepStatus::NotNeeded, detail));
    }
    steps
}
