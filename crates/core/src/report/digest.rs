//! One message for a whole sweep.

use super::{Config, Draft, Mode, Origin, Outcome, SWEEP};
use super::{about, beside, caused_by, id, next};
use crate::report::{Answer, TrailReport};

/// SNS takes 256 KB; what does not fit is in the log. Source:
/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>.
const ROOM: usize = 200_000;

/// The message, if there is anything to say.
pub(super) fn of(answer: &Answer, origin: &Origin, config: &Config) -> Option<Draft> {
    let told = |trail: &&TrailReport| {
        // Every member account would say the same of an organization trail every day.
        !matches!(trail.outcome, Outcome::Compliant | Outcome::Gone | Outcome::Exempt | Outcome::OutOfScope)
    };
    let mut trails: Vec<&TrailReport> = answer.trails.iter().filter(told).collect();
    let beside = beside(answer);
    if trails.is_empty() && beside.is_empty() && answer.warnings.is_empty() && answer.error.is_none() {
        return None;
    }
    trails.sort_by_key(|trail| std::cmp::Reverse(trail.outcome));
    let worst = match (&answer.error, trails.first()) {
        (Some(_), _) => Outcome::Failed,
        (None, Some(worst)) => worst.outcome,
        // What is told beside the trails must pass a filter that is after whatever calls for somebody.
        (None, None) => Outcome::Noted,
    };
    let headline = headline_of(answer, &trails);
    let mut text = format!("{}.\n", super::capitalised(&headline));
    if config.mode == Mode::DryRun {
        text.push_str("This is a dry-run: nothing was changed.\n");
    }
    if origin.kind != SWEEP {
        for words in caused_by(origin) {
            text.push_str(&format!("\n{words}\n"));
        }
    }
    if let Some(error) = &answer.error {
        let remedy = error.remedy.as_deref().unwrap_or_default();
        text.push_str(&format!("\nFailed: {}\nWhat to do next: {remedy}\n", error.message));
    }
    for warning in &answer.warnings {
        text.push_str(&format!("\nNote: {}: {}\n", id(&warning.id), warning.detail));
    }
    for words in &beside {
        text.push_str(&format!("\n{words}\n"));
    }
    let mut left_out: usize = 0;
    for trail in trails {
        let words = format!(
            "\n\n{}.\n{}\nWhat to do next: {}\n",
            super::capitalised(&super::headline(
                trail,
                trail.trail_arn.rsplit('/').next().unwrap_or_default(),
                config.mode
            )),
            about(trail, config),
            next(trail, config)
        );
        if text.len().saturating_add(words.len()) > ROOM {
            left_out = left_out.saturating_add(1);
        } else {
            text.push_str(&words);
        }
    }
    if left_out > 0 {
        text.push_str(&format!("\n{left_out} more trails are in the function's log.\n"));
    }
    let region = config.alert_topic.as_ref().map(|topic| topic.region().to_string()).unwrap_or_default();
    let attributes = vec![("outcome", worst.as_str().to_owned()), ("mode", answer.mode.to_owned()), ("region", region)];
    Some(Draft { headline, text, attributes })
}

fn headline_of(answer: &Answer, trails: &[&TrailReport]) -> String {
    if answer.error.is_some() {
        return "the trails could not be listed".into();
    }
    let counted: Vec<String> = [Outcome::Failed, Outcome::Planned, Outcome::Remediated, Outcome::Noted]
        .into_iter()
        .filter_map(|outcome| {
            let count = trails.iter().filter(|trail| trail.outcome == outcome).count();
            (count > 0).then(|| format!("{count} {}", outcome.as_str()))
        })
        .collect();
    match counted.as_slice() {
        [] => "something beside the trails needs your attention".into(),
        counted => format!("{} of {} trails", counted.join(", "), answer.trails.len()),
    }
}
