//! One alert for a whole sweep.

use super::answer::{Answer, Outcome, TrailReport};
use super::message::{Draft, note, notices, trail_section};
use super::wording;
use crate::config::{Config, Mode};
use crate::trigger::{Origin, SWEEP};

/// SNS accepts 256 KB. The log contains what does not fit.
/// Source: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>.
const MAX_BYTES: usize = 200_000;

/// The alert, if anything needs attention.
pub(super) fn draft(answer: &Answer, origin: &Origin, config: &Config) -> Option<Draft> {
    // Every member account would report the same organization trail every day.
    let mut trails: Vec<&TrailReport> =
        answer.trails.iter().filter(|trail| trail.outcome > Outcome::OutOfScope || trail.is_superseded()).collect();
    let notices = notices(answer);
    if trails.is_empty() && notices.is_empty() && answer.warnings.is_empty() && answer.error.is_none() {
        return None;
    }
    trails.sort_by_key(|trail| std::cmp::Reverse(trail.outcome));
    let worst = match (&answer.error, trails.first()) {
        (Some(_), _) => Outcome::Failed,
        (None, Some(worst)) => worst.outcome.max(Outcome::Noted),
        // A notice about the account must pass a subscription's filter by outcome.
        (None, None) => Outcome::Noted,
    };
    let headline = wording::digest_headline(answer.error.is_some(), &trails, answer.trails.len());
    let mut text = account_text(answer, origin, config, &headline, &notices);
    push_sections(&mut text, &trails, origin, config);
    let region = config.alert_topic.as_ref().map(|topic| topic.region().to_string()).unwrap_or_default();
    let attributes = vec![("outcome", worst.as_str().to_owned()), ("mode", answer.mode.to_owned()), ("region", region)];
    Some(Draft { headline, text, attributes })
}

/// The parts of the text that are not about a single trail.
fn account_text(answer: &Answer, origin: &Origin, config: &Config, headline: &str, notices: &[String]) -> String {
    let mut text = format!("{}.\n", wording::capitalized(headline));
    if config.mode == Mode::DryRun {
        text.push_str(&format!("{}\n", wording::DRY_RUN));
    }
    if origin.kind != SWEEP {
        text.push_str(&format!("\n{}\n", wording::caused_by(origin)));
    }
    if let Some(error) = &answer.error {
        let remedy = error.remedy.as_deref().unwrap_or_default();
        text.push_str(&format!("\nFailed: {}\nWhat to do next: {remedy}\n", error.message));
    }
    let notes = answer.warnings.iter().map(note);
    for paragraph in notes.chain(notices.iter().cloned()) {
        text.push_str(&format!("\n{paragraph}\n"));
    }
    text
}

/// Appends the section of each trail that fits.
fn push_sections(text: &mut String, trails: &[&TrailReport], origin: &Origin, config: &Config) {
    let mut omitted: usize = 0;
    for trail in trails {
        let section = format!(
            "\n\n{}.\n{}\nWhat to do next: {}\n",
            wording::capitalized(&wording::headline(trail, config.mode)),
            trail_section(trail, origin, config),
            wording::next_action(trail, origin, config, false)
        );
        if text.len().saturating_add(section.len()) > MAX_BYTES {
            omitted = omitted.saturating_add(1);
        } else {
            text.push_str(&section);
        }
    }
    if omitted > 0 {
        text.push_str(&format!("\n{}\n", wording::omitted_trails(omitted)));
    }
}
