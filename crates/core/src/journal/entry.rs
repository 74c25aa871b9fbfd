//! An entry of the journal: a step, and what became of it.

use serde::Serialize;

use crate::failure::{Class, Failure};
use crate::ids::{KeyArn, TrailArn};
use crate::observation::SettingChange;
use crate::plan::{KeyStep, Step, StepName, Subject};

/// A step and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The pass, counted from 1.
    pub pass: usize,
    /// What the step changes.
    pub subject: Subject,
    /// The step.
    pub step: Step,
    /// The key of the step; `None` if it does not exist yet.
    pub key: Option<KeyArn>,
    /// What became of it.
    pub result: StepResult,
    /// Whether this replaces the last entry of the same step in reports.
    pub resolves: bool,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepResult {
    /// It was not performed: dry-run mode, or something failed before it.
    NotPerformed,
    /// It was performed.
    Done(Effect),
    /// The state of AWS contradicts the plan.
    Contradicted(Contradiction),
    /// The call failed and changed nothing.
    Failed(Failure),
    /// The call failed, and may have taken effect.
    Unconfirmed {
        /// The failure.
        failure: Failure,
        /// When it was sent, in seconds since 1970. Used only for `CreateKey`.
        sent_at: i64,
    },
    /// `CreateKey` failed, and a later read shows the key that it created, which is the entry's key. A report shows a
    /// failed step, because another step adopts the key.
    CreatedKeyFound(Failure),
    /// CloudTrail accepted the key and then returned another key.
    OtherKey(String),
}

/// The effect of a step that was performed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// What was planned.
    Applied,
    /// What was planned, as AWS responded; it could not be read back.
    Unverified(Failure),
    /// What was planned; another principal changed the policy again since.
    AppliedThenChanged,
    /// The trail has the key; these other settings differ from those read before.
    Updated(Vec<SettingChange>),
    /// The call failed or got no response, and a later read shows the effect. For a trail, with other settings that differ.
    ReadBack(Vec<SettingChange>),
}

/// How the state of AWS contradicts the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// The alias exists.
    AliasExists,
    /// Another key has the alias.
    AliasTaken {
        /// That key.
        holder: KeyArn,
        /// Whether a trail uses the key that did not get the alias.
        in_use: bool,
    },
    /// Another principal changed the key policy.
    PolicyChanged(KeyArn),
    /// The key's state does not permit the step.
    StateChanged(Failure),
    /// Another principal changed the trail.
    TrailChanged(TrailArn),
    /// The trail no longer exists.
    TrailGone(Failure),
    /// The outcome of a write is unknown.
    OutcomeUnknown(Failure),
}

/// The status of a step in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    /// Not performed: dry-run mode, or something failed before it.
    Planned,
    /// Performed.
    Done,
    /// The state of AWS contradicted it, another principal did it, or it is listed under another trail of this run.
    NotNeeded,
    /// Attempted.
    Failed,
}

impl Entry {
    /// What became of a step.
    pub fn new(pass: usize, subject: Subject, step: Step, key: Option<KeyArn>, result: StepResult) -> Self {
        Self { pass, subject, step, key, result, resolves: false }
    }

    /// The status in reports.
    pub fn status(&self) -> StepStatus {
        match &self.result {
            StepResult::NotPerformed => StepStatus::Planned,
            StepResult::Failed(failure) if failure.not_sent => StepStatus::Planned,
            StepResult::Done(_) => StepStatus::Done,
            StepResult::Contradicted(_) => StepStatus::NotNeeded,
            StepResult::Failed(_)
            | StepResult::Unconfirmed { .. }
            | StepResult::CreatedKeyFound(_)
            | StepResult::OtherKey(_) => StepStatus::Failed,
        }
    }

    /// The failure, if the step failed.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.result {
            StepResult::Failed(failure)
            | StepResult::Unconfirmed { failure, .. }
            | StepResult::CreatedKeyFound(failure) => Some(failure),
            _ => None,
        }
    }

    /// Whether it changed something, or may have. A change that was replaced at once does not count.
    pub fn may_have_effect(&self) -> bool {
        match &self.result {
            StepResult::Contradicted(Contradiction::StateChanged(failure)) | StepResult::Failed(failure) => {
                failure.outcome_unknown
            }
            StepResult::NotPerformed | StepResult::Contradicted(_) | StepResult::OtherKey(_) => false,
            StepResult::Done(_) => !matches!(self.step, Step::Key(KeyStep::Adopt(_))),
            StepResult::Unconfirmed { .. } | StepResult::CreatedKeyFound(_) => true,
        }
    }

    /// Whether a retry can help with the failure, if the step failed. Not with that of rotation: once the trail is
    /// encrypted, a retry does not read the rotation of its key, and the next sweep tries again.
    pub fn failure_class(&self) -> Option<Class> {
        let is_retried = self.step.name() != StepName::EnableRotation;
        self.failure().map(|failure| if is_retried { failure.class } else { Class::Terminal })
    }

    /// The settings of a trail that differ from those read before.
    pub fn setting_changes(&self) -> &[SettingChange] {
        match &self.result {
            StepResult::Done(Effect::Updated(changes) | Effect::ReadBack(changes)) => changes,
            _ => &[],
        }
    }
}
