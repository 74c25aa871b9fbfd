//! An answer, and a step while it is performed, as text for a person at a terminal.

use super::answer::{Answer, Outcome, TrailReport};
use super::message::{note, notices, trail_arn, trail_section};
use super::wording;
use crate::config::{Config, Mode};
use crate::journal::Entry;
use crate::plan::Subject;
use crate::trigger::Origin;

/// What became of a step, in one line.
pub fn step_text(entry: &Entry) -> String {
    let (step, status) = (wording::id(&entry.step.name()), wording::id(&entry.status()));
    let subject = match &entry.subject {
        Subject::Key(region) => region.to_string(),
        Subject::Trail(arn) => arn.to_string(),
    };
    format!("{step} ({status}), {subject}: {}", wording::detail(entry))
}

/// Every trail with its steps, those that need no attention in one line each, and a summary.
pub fn answer_text(answer: &Answer, origin: &Origin, config: &Config) -> String {
    let (quiet, reported): (Vec<&TrailReport>, Vec<&TrailReport>) =
        answer.trails.iter().partition(|trail| trail.outcome <= Outcome::Exempt);
    let mut paragraphs: Vec<String> = reported.iter().map(|trail| section(trail, origin, config)).collect();
    let lines: Vec<String> =
        quiet.iter().map(|trail| format!("Trail: {}: {}", trail_arn(trail), quiet_outcome(trail))).collect();
    paragraphs.extend((!lines.is_empty()).then(|| lines.join("\n")));
    paragraphs.extend(answer.warnings.iter().map(note));
    paragraphs.extend(notices(answer));
    paragraphs.extend(new_key_policy(answer).filter(|_| config.mode == Mode::DryRun));
    paragraphs.push(wording::summary(answer));
    paragraphs.join("\n\n") + "\n"
}

fn quiet_outcome(trail: &TrailReport) -> String {
    let detail = trail.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let notes: Vec<String> = trail.warnings.iter().map(|warning| format!("\n  {}", note(warning))).collect();
    format!("{}{detail}{}", trail.outcome.as_str(), notes.concat())
}

fn section(trail: &TrailReport, origin: &Origin, config: &Config) -> String {
    format!(
        "{}.\n{}\nWhat to do next: {}",
        wording::capitalized(&wording::headline(trail, config.mode)),
        trail_section(trail, origin, config),
        wording::next_action(trail, origin, config, false)
    )
}

/// The policy of the keys that would be created. It is the same for every Region.
fn new_key_policy(answer: &Answer) -> Option<String> {
    let policy = answer.trails.iter().find_map(|trail| trail.new_key_policy.as_ref())?;
    let policy = serde_json::to_string_pretty(policy).ok()?;
    Some(format!("{}:\n{policy}", wording::NEW_KEY_POLICY))
}
