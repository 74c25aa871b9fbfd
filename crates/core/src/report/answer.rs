//! The answer: what became of every trail. It is also the log line and what a destination receives.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::wording;
use crate::config::Mode;
use crate::failure::Failure;
#[cfg(feature = "schema")]
use crate::finding::WarningId;
use crate::finding::{Finding, FindingId, KeyOwner, Warning};
use crate::iam::Reason;
use crate::ids::{KeyArn, Region, TrailArn};
use crate::journal::StepStatus;
use crate::key_policy::KeyPolicy;
use crate::plan::strays::Stray;
use crate::plan::{PolicyChange, StepName};
use crate::trigger::{Origin, SWEEP};

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
    /// Why the event was ignored, if it was.
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
    /// Stray keys: trailseal created them, and no trail uses them.
    #[serde(serialize_with = "strays")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<StrayReport>"))]
    pub strays: Vec<Stray>,
    /// Whether anything was omitted to keep the answer small.
    pub truncated: bool,
    /// Failures that an alert must report even if no trail failed. The steps of a trail list them, too.
    #[serde(skip)]
    pub unreported_failures: Vec<Failure>,
}

/// What started the invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TriggerReport {
    /// The event's name, `sweep` or `request`.
    pub kind: String,
    /// The event ID from CloudTrail.
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
    /// The change of the key's policy, for the trail under which that step is listed.
    #[serde(skip)]
    pub policy_change: Option<PolicyChange>,
    /// Who may edit the key that the trail gets, if it gets one.
    #[serde(skip)]
    pub key_owner: Option<KeyOwner>,
    /// The principals of the account that the bucket policy names as readers, if they need permission to decrypt.
    #[serde(skip)]
    pub account_readers: Vec<String>,
    /// Why AWS would refuse a planned step.
    #[serde(skip)]
    pub obstructions: Vec<Obstruction>,
}

/// Why AWS would refuse a planned step, although the plan contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstruction {
    /// KMS rejects existing statements of the key's policy.
    RejectedStatements {
        /// The key.
        key: KeyArn,
        /// The statements, each with the reason.
        reasons: Vec<Reason>,
    },
    /// AWS Control Tower owns the trail.
    ControlTower,
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
    /// What it changed, or may have.
    #[serde(skip)]
    pub effect: StepEffect,
}

/// What a step changed, or may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepEffect {
    /// Nothing, as far as is known.
    None,
    /// A key that no trail used before.
    NewKey,
    /// A trail, or a key that trails may use.
    InUse,
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

/// An ID with its words.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Described<I> {
    /// The stable ID.
    id: I,
    /// In words, with the names that matter.
    detail: String,
}

/// A stray key: trailseal created it, and no trail uses it as far as is known.
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

/// The size in bytes above which details are dropped; trails with findings always stay. Far below what a log line, a
/// destination and an event accept.
const MAX_BYTES: usize = 200_000;

/// The answer as one line of the log.
#[derive(Serialize)]
struct LogLine<'a> {
    level: &'static str,
    /// As Lambda's own lines have it.
    #[serde(rename = "requestId")]
    request_id: &'a str,
    #[serde(flatten)]
    answer: &'a Answer,
}

impl Answer {
    /// The answer to an event that trailseal does not act on.
    pub fn ignored(mode: Mode, origin: &Origin, reason: String) -> Self {
        Self { ignored: Some(reason), ..Self::new(mode, origin, vec![], vec![]) }
    }

    /// The answer to an event about a key that no trail uses in these Regions, as far as they could be read.
    pub fn unused_key(
        mode: Mode,
        origin: &Origin,
        key: &KeyArn,
        regions: &BTreeMap<Region, Result<(), Failure>>,
        warnings: Vec<Warning>,
    ) -> Self {
        let read: Vec<&Region> = regions.iter().filter(|(_, read)| read.is_ok()).map(|(region, _)| region).collect();
        let reason = wording::unused_key(key, &read, warnings.is_empty());
        Self { warnings, ..Self::ignored(mode, origin, reason) }
    }

    /// The answer if the trails could not be listed.
    pub fn unlisted(mode: Mode, origin: &Origin, failure: Failure) -> Self {
        Self { error: Some(failure), ..Self::new(mode, origin, vec![], vec![]) }
    }

    pub(super) fn new(mode: Mode, origin: &Origin, trails: Vec<TrailReport>, strays: Vec<Stray>) -> Self {
        let mut summary = BTreeMap::new();
        for trail in &trails {
            let count: &mut u32 = summary.entry(trail.outcome.as_str()).or_default();
            *count = count.saturating_add(1);
        }
        let Origin { kind, event_id, actor, user_agent, deployed_with: _, region, is_command: _ } = origin.clone();
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
            unreported_failures: vec![],
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

    /// The first transient failure, if the invocation is to be retried because of it. A sweep that listed the trails is not:
    /// the next one reads everything again.
    pub fn transient_failure(&self) -> Option<String> {
        let of_trail = |trail: &TrailReport| {
            let failure = trail.error.as_ref().filter(|failure| failure.is_transient())?;
            let name = trail.trail.as_ref().map_or_else(String::as_str, TrailArn::as_str);
            Some(wording::not_remediated_yet(name, failure))
        };
        let unlisted = self.error.as_ref().filter(|failure| failure.is_transient());
        let mut retried = self.trails.iter().filter(|_| self.trigger.kind != SWEEP);
        unlisted.map(|failure| failure.message.clone()).or_else(|| retried.find_map(of_trail))
    }

    /// The answer as one line of JSON with its level, for metric filters, and the ID of Lambda's request.
    ///
    /// # Errors
    ///
    /// None in practice: every map key is a string.
    pub fn log_line(&self, request_id: &str) -> Result<String, serde_json::Error> {
        let failed = self.alerts.failed > 0
            || self.error.is_some()
            || self.trails.iter().any(|trail| trail.outcome == Outcome::Failed);
        let level = if failed { "ERROR" } else { "INFO" };
        serde_json::to_string(&LogLine { level, request_id, answer: self })
    }
}

impl TrailReport {
    /// Whether a step took effect, or may have, and then another principal deleted, exempted or fixed the trail.
    pub(super) fn is_superseded(&self) -> bool {
        match self.outcome {
            Outcome::Gone | Outcome::Exempt => self.steps.iter().any(|it| it.effect != StepEffect::None),
            // A new key without the alias is reported as a stray.
            Outcome::Compliant => self.steps.iter().any(|it| match it.effect {
                StepEffect::None => false,
                StepEffect::NewKey => it.step == StepName::CreateAlias,
                StepEffect::InUse => true,
            }),
            _ => false,
        }
    }

    /// Whether it failed after a change that a retry would find and not report. Steps on a new key do not count: a retry
    /// continues with it and reports it.
    pub(super) fn failed_after_change(&self) -> bool {
        self.outcome == Outcome::Failed && self.steps.iter().any(|it| it.effect == StepEffect::InUse)
    }

    /// Whether it is unknown what became of a step that is not about a new key.
    pub(super) fn is_unclear(&self) -> bool {
        self.steps.iter().any(|it| it.effect == StepEffect::InUse && it.status != StepStatus::Done)
    }

    /// Whether a step was performed, or would be.
    pub(super) fn performs(&self, step: StepName) -> bool {
        self.steps.iter().filter(|it| it.step == step).any(|it| match it.status {
            StepStatus::Done => true,
            StepStatus::Planned => self.outcome == Outcome::Planned,
            StepStatus::NotNeeded | StepStatus::Failed => false,
        })
    }

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
