//! The answer: what became of every trail. It is also the log line and what a destination receives.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::account::AccountReport;
use super::wording;
use crate::config::Mode;
use crate::context::Context;
use crate::failure::{Class, Failure};
#[cfg(feature = "schema")]
use crate::finding::WarningId;
use crate::finding::{Finding, FindingId, KeyOwner, Warning};
use crate::ids::{Region, TrailArn};
use crate::journal::{AliasState, Entry, Journal, StepResult, StepStatus, Subject};
use crate::key_policy::KeyPolicy;
use crate::observation::MalformedTrail;
use crate::plan::strays::Stray;
use crate::plan::{Disposition, Step, StepName, TrailPlan};
use crate::trigger::Origin;

/// What became of a trail, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It has no finding.
    Compliant,
    /// It does not exist.
    Gone,
    /// It has the exempt tag.
    Exempt,
    /// Another account must fix it.
    OutOfScope,
    /// It is encrypted, with a finding that is reported and not fixed.
    Noted,
    /// It was fixed.
    Remediated,
    /// It would be fixed.
    Planned,
    /// It could not be fixed.
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

/// The function's answer. Every field is always present, null or empty where it does not apply. New fields may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Answer {
    /// The version of this format: 1.
    pub schema: u32,
    /// `dry-run` or `enforce`.
    pub mode: &'static str,
    /// What started the invocation.
    pub trigger: TriggerReport,
    /// Why nothing was read, if so.
    pub ignored: Option<String>,
    /// Every trail that was read, sorted by ARN.
    pub trails: Vec<TrailReport>,
    /// The number of trails with each outcome.
    pub summary: BTreeMap<&'static str, u32>,
    /// Why the trails could not be listed, if so.
    pub error: Option<Failure>,
    /// Warnings that are not about a single trail.
    #[serde(serialize_with = "warnings")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<Described<WarningId>>"))]
    pub warnings: Vec<Warning>,
    /// How many alerts were published.
    pub alerts: Alerts,
    /// Keys of trailseal's that no trail uses.
    #[serde(serialize_with = "strays")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<StrayReport>"))]
    pub strays: Vec<Stray>,
    /// Whether anything was omitted to keep the answer small.
    pub truncated: bool,
    /// What an alert must contain whatever becomes of the trails. Each is listed under its trail, too.
    #[serde(skip)]
    pub account_notices: Vec<Failure>,
}

/// What started the invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TriggerReport {
    /// The event's name, `sweep` or `request`.
    pub kind: String,
    /// The event id from CloudTrail.
    pub event_id: Option<String>,
    /// The caller of the API call that the event reports.
    pub actor: Option<String>,
    /// The caller's user agent.
    pub user_agent: Option<String>,
    /// The event's Region.
    pub region: Option<Region>,
}

/// What became of one trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TrailReport {
    /// The trail's ARN; for an entry with a malformed ARN, what AWS returned.
    #[serde(rename = "trail_arn", serialize_with = "trail_name")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub trail: Result<TrailArn, String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was left alone, if it was.
    pub detail: Option<String>,
    /// What was wrong with it.
    #[serde(serialize_with = "findings")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<Described<FindingId>>"))]
    pub findings: Vec<Finding>,
    /// Its key after this run; in dry-run mode the key that it would get, null if one would be created.
    pub key_arn: Option<String>,
    /// The key that it had before, if that was another.
    pub previous_key_arn: Option<String>,
    /// What was done or would be done, in order.
    pub steps: Vec<StepReport>,
    /// What the reader needs to know.
    #[serde(serialize_with = "warnings")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<Described<WarningId>>"))]
    pub warnings: Vec<Warning>,
    /// What failed.
    pub error: Option<Failure>,
    /// The policy of the key that would be created, for the trail under which that step is listed.
    pub new_key_policy: Option<KeyPolicy>,
    /// Who may edit the key that the trail gets, if it gets one.
    #[serde(skip)]
    pub key_owner: Option<KeyOwner>,
}

/// One step and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepReport {
    /// The step.
    pub step: StepName,
    /// What became of it.
    pub status: StepStatus,
    /// In words, with the names that matter.
    pub detail: String,
}

/// How many alerts were published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Alerts {
    /// Published.
    pub sent: u32,
    /// Not published.
    pub failed: u32,
}

/// An id with its words.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Described<I> {
    /// The stable id.
    id: I,
    /// In words, with the names that matter.
    detail: String,
}

/// A key of trailseal's that no trail uses, as far as is known.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct StrayReport {
    /// The key.
    key_arn: String,
    /// The command that removes it.
    command: String,
    /// What to consider first, if anything.
    caution: Option<&'static str>,
}

fn findings<S: Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(findings.iter().map(|it| Described { id: it.id(), detail: wording::finding(it) }))
}

fn warnings<S: Serializer>(warnings: &[Warning], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(warnings.iter().map(|it| Described { id: it.id(), detail: wording::warning(it) }))
}

fn strays<S: Serializer>(strays: &[Stray], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(strays.iter().map(|stray| StrayReport {
        key_arn: stray.key.to_string(),
        command: wording::stray_command(stray),
        caution: wording::stray_caution(stray),
    }))
}

fn trail_name<S: Serializer>(trail: &Result<TrailArn, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(trail.as_ref().map_or_else(String::as_str, TrailArn::as_str))
}

/// The most bytes of an answer, apart from trails with findings: far below what a log line, a destination and an event
/// accept.
const MAX_BYTES: usize = 200_000;

/// The answer as one line of the log.
#[derive(Serialize)]
struct LogLine<'a> {
    level: &'static str,
    #[serde(flatten)]
    answer: &'a Answer,
}

impl Answer {
    /// The answer to an event that trailseal does not act on.
    pub fn ignored(mode: Mode, origin: &Origin, reason: String) -> Self {
        Self { ignored: Some(reason), ..Self::new(mode, origin, vec![], vec![]) }
    }

    /// The answer if the trails could not be listed.
    pub fn unlisted(mode: Mode, origin: &Origin, failure: Failure) -> Self {
        Self { error: Some(failure), ..Self::new(mode, origin, vec![], vec![]) }
    }

    /// The answer about every trail of a run.
    pub fn compose(context: &Context, origin: &Origin, journal: &Journal, report: AccountReport) -> Self {
        let mode = context.config.mode;
        let trails = journal.last_plans().into_keys().filter_map(|arn| trail_report(mode, arn, journal));
        let mut trails: Vec<TrailReport> = trails.chain(report.malformed.into_iter().map(malformed_trail)).collect();
        let name = |trail: &TrailReport| trail.trail.as_ref().map_or_else(Clone::clone, ToString::to_string);
        trails.sort_by_key(name);
        let mut strays = journal.strays();
        strays.extend(report.strays.into_iter().filter(|stray| !journal.uses_key(&stray.key)));
        let mut unique: Vec<Stray> = Vec::new();
        for stray in strays {
            if unique.iter().all(|known| known.key != stray.key) {
                unique.push(stray);
            }
        }
        let mut answer = Self::new(mode, origin, trails, unique);
        answer.account_notices = account_notices(&answer.trails, journal);
        answer.warnings = report.warnings;
        answer
    }

    fn new(mode: Mode, origin: &Origin, trails: Vec<TrailReport>, strays: Vec<Stray>) -> Self {
        let mut summary = BTreeMap::new();
        for trail in &trails {
            let count: &mut u32 = summary.entry(trail.outcome.as_str()).or_default();
            *count = count.saturating_add(1);
        }
        let Origin { kind, event_id, actor, user_agent, region } = origin.clone();
        Self {
            schema: 1,
            mode: mode.as_str(),
            trigger: TriggerReport { kind, event_id, actor, user_agent, region },
            ignored: None,
            trails,
            summary,
            error: None,
            warnings: vec![],
            alerts: Alerts::default(),
            strays,
            truncated: false,
            account_notices: vec![],
        }
    }

    /// Omits what is least needed until the answer is small enough: compliant trails, then the details of steps. A trail
    /// with a finding always stays.
    #[must_use]
    pub fn truncate(mut self) -> Self {
        let fits = |answer: &Self| serde_json::to_vec(answer).is_ok_and(|text| text.len() <= MAX_BYTES);
        if !fits(&self) {
            self.truncated = true;
            self.trails.retain(|trail| trail.outcome != Outcome::Compliant || !trail.findings.is_empty());
        }
        if !fits(&self) {
            self.trails.iter_mut().flat_map(|trail| &mut trail.steps).for_each(|step| step.detail.clear());
        }
        self
    }

    /// The first transient failure, which a retry of the invocation can resolve.
    pub fn transient_failure(&self) -> Option<String> {
        let of_trail = |trail: &TrailReport| {
            let failure = trail.error.as_ref().filter(|failure| failure.is_transient())?;
            let name = trail.trail.as_ref().map_or_else(String::as_str, TrailArn::as_str);
            Some(format!("trail `{name}` is not finished: {}", failure.message))
        };
        let unlisted = self.error.as_ref().filter(|failure| failure.is_transient());
        unlisted.map(|failure| failure.message.clone()).or_else(|| self.trails.iter().find_map(of_trail))
    }

    /// The answer as one line of JSON with its level, for metric filters.
    ///
    /// # Errors
    ///
    /// None in practice: every map key is a string.
    pub fn log_line(&self) -> Result<String, serde_json::Error> {
        let failed = self.alerts.failed > 0
            || self.error.is_some()
            || self.trails.iter().any(|trail| trail.outcome == Outcome::Failed);
        serde_json::to_string(&LogLine { level: if failed { "ERROR" } else { "INFO" }, answer: self })
    }
}

fn trail_report(mode: Mode, arn: &TrailArn, journal: &Journal) -> Option<TrailReport> {
    let (_, plan) = journal.last_plan(arn)?;
    let first = journal.first_plan(arn)?;
    let region = journal.sealing_region(arn);
    let acted = has_acted(arn, region, journal);
    let error = error(arn, region, journal);
    let outcome = if error.is_some() { Outcome::Failed } else { outcome(mode, plan, acted) };
    let steps = steps(arn, plan, first, journal);
    let assigned = journal.assigned_key(arn).map(ToString::to_string);
    let key_plan = region.and_then(|region| journal.key_plan(region));
    let key_arn = match (mode, key_plan) {
        (Mode::DryRun, Some(key)) => key.key.as_ref().map(ToString::to_string),
        _ => assigned.or_else(|| current_key(arn, plan, first, journal)),
    };
    let updates = steps.iter().any(|step| step.step == StepName::UpdateTrail);
    let previous = first.current_key.clone();
    // A later pass that finds the trail compliant, or gone, does not contain the reason for what was done.
    let explains = acted || (outcome == Outcome::Failed && plan.findings.is_empty());
    let is_listed_here = region.is_some_and(|region| journal.reporting_trail(region) == Some(arn));
    Some(TrailReport {
        trail: Ok(arn.clone()),
        outcome,
        detail: match &plan.disposition {
            Disposition::Exempt(value) => Some(value.clone()),
            Disposition::OutOfScope { owner, unreadable } => Some(wording::out_of_scope(owner, unreadable.as_ref())),
            _ => None,
        },
        findings: if explains { &first.findings } else { &plan.findings }.clone(),
        previous_key_arn: previous.filter(|previous| updates && Some(previous) != key_arn.as_ref()),
        key_arn,
        steps,
        warnings: plan.warnings.clone(),
        error,
        key_owner: key_plan.map(|key| key.owner),
        new_key_policy: region
            .filter(|_| is_listed_here)
            .and_then(|region| journal.plans().iter().find_map(|plan| plan.keys.get(region)?.new_policy().cloned())),
    })
}

/// The key that the trail names, as far as was read.
fn current_key(arn: &TrailArn, plan: &TrailPlan, first: &TrailPlan, journal: &Journal) -> Option<String> {
    let other = journal.entries_of(Subject::Trail(arn.clone())).filter_map(|entry| match &entry.result {
        StepResult::OtherKey(named) => named.clone(),
        _ => None,
    });
    match plan.disposition {
        // What the last pass could not read, the first one did.
        Disposition::Failed(_) => plan.current_key.clone().or(first.current_key.clone()),
        _ => other.last().or(plan.current_key.clone()),
    }
}

/// A trail of which only its existence is known must not be omitted.
fn malformed_trail(malformed: MalformedTrail) -> TrailReport {
    TrailReport {
        trail: Err(malformed.name),
        outcome: Outcome::Failed,
        detail: None,
        findings: vec![],
        key_arn: None,
        previous_key_arn: None,
        steps: vec![],
        warnings: vec![],
        error: Some(malformed.failure),
        new_key_policy: None,
        key_owner: None,
    }
}

fn outcome(mode: Mode, plan: &TrailPlan, acted: bool) -> Outcome {
    match &plan.disposition {
        Disposition::Gone => Outcome::Gone,
        Disposition::OutOfScope { .. } => Outcome::OutOfScope,
        Disposition::Exempt(_) => Outcome::Exempt,
        Disposition::Failed(_) => Outcome::Failed,
        Disposition::Remediated if mode == Mode::DryRun => Outcome::Planned,
        Disposition::Remediated => Outcome::Remediated,
        // A later pass finds compliant what an earlier one fixed.
        Disposition::Compliant | Disposition::Noted if acted => Outcome::Remediated,
        Disposition::Noted => Outcome::Noted,
        Disposition::Compliant => Outcome::Compliant,
    }
}

/// Whether something was done for the trail.
fn has_acted(arn: &TrailArn, region: Option<&Region>, journal: &Journal) -> bool {
    journal.assigned_key(arn).is_some()
        || journal.is_restarted(arn)
        || region.is_some_and(|region| journal.is_repaired(region))
}

/// What failed for a trail. A transient failure comes first: the invocation is retried, and every other failure recurs.
fn error(arn: &TrailArn, region: Option<&Region>, journal: &Journal) -> Option<Failure> {
    let (pass, plan) = journal.last_plan(arn)?;
    if matches!(plan.disposition, Disposition::Gone | Disposition::OutOfScope { .. } | Disposition::Exempt(_)) {
        return None;
    }
    let obstacle = journal.obstacle(arn).map(wording::obstacle);
    let subject = Subject::Trail(arn.clone());
    let failed = |entry: &&Entry| entry.pass == pass && !entry.resolves;
    let of_step = |update: bool| {
        let entries = journal.entries_of(subject.clone()).filter(failed);
        entries.filter(move |entry| (entry.step != Step::Restart) == update).filter_map(step_error).last()
    };
    let key = region.and_then(|region| step_error(journal.key_failure(region)?));
    let abandoned = journal.abandoned(arn).map(wording::abandoned);
    let assignment = of_step(true).or(obstacle).or_else(|| abandoned.map(|failure| key.clone().unwrap_or(failure)));
    let lasting = [
        assignment,
        key,
        of_step(false),
        setting_changes(arn, journal),
        region.and_then(|region| rotation_error(region, journal)),
    ];
    let mut failures: Vec<Failure> = lasting.into_iter().flatten().collect();
    failures.sort_by_key(|failure| failure.class == Class::Terminal);
    failures.into_iter().next()
}

fn step_error(entry: &Entry) -> Option<Failure> {
    match &entry.result {
        StepResult::OtherKey(named) => Some(wording::other_key(entry, named.as_deref())),
        _ => Some(wording::step_failure(entry, entry.failure()?)),
    }
}

/// Other settings of a trail changed while it got its key: no later pass undoes that.
fn setting_changes(arn: &TrailArn, journal: &Journal) -> Option<Failure> {
    let changes = journal.entries_of(Subject::Trail(arn.clone())).map(Entry::setting_changes);
    changes.filter(|changes| !changes.is_empty()).last().map(|changes| wording::setting_changes(arn, changes))
}

/// Rotation that could not be enabled: no later pass retries it. Of no interest for a key that lost the alias.
fn rotation_error(region: &Region, journal: &Journal) -> Option<Failure> {
    let own = journal.own_keys(region);
    let is_lost =
        |entry: &&Entry| own.iter().any(|own| Some(&own.key) == entry.key.as_ref() && own.alias == AliasState::Lost);
    let subject = Subject::Key(region.clone());
    let entries = journal.entries_of(subject).filter(|entry| entry.step.name() == StepName::EnableRotation);
    entries.filter(|entry| !is_lost(entry)).filter_map(step_error).last()
}

/// Keys that may exist, and failures that are not a trail's own error.
fn account_notices(trails: &[TrailReport], journal: &Journal) -> Vec<Failure> {
    let is_unreported = |failure: &Failure| trails.iter().all(|trail| trail.error.as_ref() != Some(failure));
    let unconfirmed = journal.key_regions().flat_map(|region| {
        let steps = journal.steps(Subject::Key(region.clone())).into_iter();
        let creates = steps.filter(|entry| entry.step.name() == StepName::CreateKey);
        let unconfirmed = creates.filter(|entry| matches!(entry.result, StepResult::Unconfirmed { .. }));
        unconfirmed.filter_map(step_error).last().map(|failure| Failure { remedy: None, ..failure })
    });
    let rotation = journal.key_regions().filter_map(|region| rotation_error(region, journal));
    let arns = trails.iter().filter_map(|trail| trail.trail.as_ref().ok());
    let settings = arns.filter_map(|arn| setting_changes(arn, journal));
    unconfirmed.chain(rotation.chain(settings).filter(is_unreported)).collect()
}

/// In the order in which they are taken: the start of logging, the steps of every key that is listed under this trail,
/// the assignment of the key.
fn steps(arn: &TrailArn, plan: &TrailPlan, first: &TrailPlan, journal: &Journal) -> Vec<StepReport> {
    let report =
        |entry: &Entry| StepReport { step: entry.step.name(), status: entry.status(), detail: wording::detail(entry) };
    let own = journal.steps(Subject::Trail(arn.clone()));
    let (restarts, updates): (Vec<&Entry>, Vec<&Entry>) = own.iter().partition(|entry| entry.step == Step::Restart);
    let mut steps: Vec<StepReport> = restarts.into_iter().map(report).collect();
    let sealing_region = journal.sealing_region(arn);
    for region in journal.key_regions() {
        let Some(reporting) = journal.reporting_trail(region) else { continue };
        let key_steps = journal.steps(Subject::Key(region.clone())).into_iter().map(report);
        if reporting == arn {
            steps.extend(key_steps);
        } else if sealing_region == Some(region) {
            let listed = |step: StepReport| StepReport {
                status: StepStatus::NotNeeded,
                detail: wording::listed_under(reporting),
                ..step
            };
            steps.extend(key_steps.map(listed));
        }
    }
    steps.extend(updates.into_iter().map(report));
    let is_settled = matches!(plan.disposition, Disposition::Compliant | Disposition::Noted);
    if let (true, None, Some(_), Some(key)) = (is_settled, journal.assigned_key(arn), sealing_region, &plan.current_key)
        && first.current_key.as_ref() != Some(key)
    {
        let detail = wording::superseded(key);
        steps.push(StepReport { step: StepName::UpdateTrail, status: StepStatus::NotNeeded, detail });
    }
    steps
}

impl TrailReport {
    /// Whether the trail has this finding.
    pub(super) fn has(&self, id: FindingId) -> bool {
        self.findings.iter().any(|finding| finding.id() == id)
    }

    /// The trail's name, for headlines.
    pub(super) fn name(&self) -> &str {
        match &self.trail {
            Ok(arn) => arn.name().as_str(),
            Err(malformed) => malformed,
        }
    }
}
