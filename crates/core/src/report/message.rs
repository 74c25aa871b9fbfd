//! The layout that alerts and digests share. The sentences are in [`super::wording`].

use serde_json::json;

use super::answer::{Answer, Outcome, TrailReport};
use super::wording;
use crate::config::{Config, Mode};
use crate::finding::Warning;
use crate::ids::TrailArn;
use crate::journal::StepStatus;
use crate::plan::StepName;

/// A message before it is put into the topic's format.
pub(super) struct Draft {
    /// A part of a sentence, for the subject.
    pub(super) headline: String,
    pub(super) text: String,
    pub(super) attributes: Vec<(&'static str, String)>,
}

/// The notices that are not about a single trail.
pub(super) fn notices(answer: &Answer) -> Vec<String> {
    let failures = answer.unreported_failures.iter().map(wording::failure_notice);
    answer.strays.iter().map(wording::stray_notice).chain(failures).collect()
}

/// One trail: what was wrong, what was done about it, and the consequences.
pub(super) fn trail_section(trail: &TrailReport, config: &Config) -> String {
    let mut lines = vec![format!("Trail: {}", trail_arn(trail))];
    for finding in &trail.findings {
        lines.push(format!("Finding: {}: {}", id(&finding.id()), wording::finding(finding)));
    }
    lines.extend(trail.detail.as_ref().map(|reason| format!("Not changed: {reason}")));
    if let Some(error) = &trail.error {
        lines.push(format!("Failed: {}", error.message));
        lines.extend(error.request_id.as_ref().map(|request| format!("AWS request ID: {request}")));
    }
    if !trail.steps.is_empty() {
        lines.extend([String::new(), wording::steps_heading(trail.outcome, config.mode).into()]);
    }
    for step in &trail.steps {
        let name = id(&step.step);
        lines.push(match config.mode {
            Mode::DryRun => format!("- {name}: {}", step.detail),
            Mode::Enforce => format!("- {name} ({}): {}", id(&step.status), step.detail),
        });
    }
    let cost = is_taken(trail, StepName::CreateKey).then(wording::cost);
    let access = is_taken(trail, StepName::UpdateTrail).then(|| wording::access_consequences(trail.key_owner, config));
    for paragraph in cost.into_iter().chain(access).chain(trail.warnings.iter().map(note)) {
        lines.extend([String::new(), paragraph]);
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Whether a step was taken, or would be.
fn is_taken(trail: &TrailReport, step: StepName) -> bool {
    trail.steps.iter().filter(|it| it.step == step).any(|it| match it.status {
        StepStatus::Done => true,
        StepStatus::Planned => trail.outcome == Outcome::Planned,
        StepStatus::NotNeeded | StepStatus::Failed => false,
    })
}

pub(super) fn trail_arn(trail: &TrailReport) -> &str {
    trail.trail.as_ref().map_or_else(String::as_str, TrailArn::as_str)
}

/// A warning with its ID.
pub(super) fn note(warning: &Warning) -> String {
    format!("Note: {}: {}", id(&warning.id()), wording::warning(warning))
}

/// An ID as in the answer.
fn id(value: &impl serde::Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}
