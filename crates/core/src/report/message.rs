//! The layout that alerts and digests share. The sentences are in [`super::wording`].

use super::answer::{Answer, Outcome, TrailReport};
use super::wording;
use crate::config::{Config, Mode};
use crate::finding::Warning;
use crate::ids::TrailArn;
use crate::plan::StepName;
use crate::trigger::Origin;

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
pub(super) fn trail_section(trail: &TrailReport, origin: &Origin, config: &Config) -> String {
    let mut lines = vec![format!("Trail: {}", trail_arn(trail))];
    for finding in &trail.findings {
        lines.push(format!("Finding: {}: {}", wording::id(&finding.id()), wording::finding(finding)));
    }
    lines.extend(trail.detail.as_ref().map(|reason| format!("Not changed: {reason}")));
    if let Some(error) = &trail.error {
        lines.push(format!("Failed: {}", error.message));
        lines.extend(error.request_id.as_ref().map(|request| format!("AWS request ID: {request}")));
    }
    if !trail.steps.is_empty() {
        let heading = wording::steps_heading(config.mode == Mode::DryRun, trail.outcome == Outcome::Failed);
        lines.extend([String::new(), format!("{heading}:")]);
    }
    for step in &trail.steps {
        let name = wording::id(&step.step);
        let is_the_error = trail.error.as_ref().is_some_and(|error| error.message == step.detail);
        let detail = if is_the_error { wording::SEE_ABOVE } else { &step.detail };
        lines.push(match config.mode {
            Mode::DryRun => format!("- {name}: {detail}"),
            Mode::Enforce => format!("- {name} ({}): {detail}", wording::step_status(step.status)),
        });
    }
    let cost = trail.performs(StepName::CreateKey).then(wording::cost);
    let access = trail.performs(StepName::UpdateTrail).then(|| wording::access_consequences(trail, config));
    for paragraph in cost.into_iter().chain(access).chain(trail.warnings.iter().map(note)) {
        lines.extend([String::new(), paragraph]);
    }
    lines.extend([String::new(), wording::explanation(trail, origin)]);
    lines.push(String::new());
    lines.join("\n")
}

pub(super) fn trail_arn(trail: &TrailReport) -> &str {
    trail.trail.as_ref().map_or_else(String::as_str, TrailArn::as_str)
}

/// A warning with its ID.
pub(super) fn note(warning: &Warning) -> String {
    format!("Warning: {}: {}", wording::id(&warning.id()), wording::warning(warning))
}
