//! The alerts: messages that a person can act on without opening a console. Their sentences are in [`super::wording`].

use serde_json::json;

use super::answer::{Answer, Outcome, TrailReport};
use super::message::{Draft, notices, trail_arn, trail_section};
use super::{digest, wording};
use crate::config::{AlertFormat, Config, Mode};
use crate::context::Context;
use crate::failure::Class;
use crate::finding::FindingId;
use crate::ids::shorten;
use crate::trigger::{Origin, SWEEP};

/// A message for the alert topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// One line of ASCII with fewer than 100 characters, as SNS requires.
    pub subject: String,
    /// The text, or the JSON of Amazon Q Developer that contains it.
    pub message: String,
    /// What subscriptions can filter by.
    pub attributes: Vec<(&'static str, String)>,
}

/// The alerts about an answer: one for each trail that needs attention, or one for a whole sweep. None for a transient
/// failure, because the invocation is retried.
pub fn alerts(answer: &Answer, origin: &Origin, context: &Context) -> Vec<Alert> {
    drafts(answer, origin, &context.config).into_iter().map(|draft| draft.format(context)).collect()
}

fn drafts(answer: &Answer, origin: &Origin, config: &Config) -> Vec<Draft> {
    let unlisted = answer.error.as_ref().map(|error| error.class);
    if unlisted == Some(Class::Transient) {
        return Vec::new();
    }
    if origin.kind == SWEEP || unlisted.is_some() {
        return digest::draft(answer, origin, config).into_iter().collect();
    }
    // With several trails, the first alert contains the notices about the account.
    let mut notices = notices(answer);
    let alert = |trail: &TrailReport| {
        let headline = wording::headline(trail, config.mode);
        let text = trail_text(trail, origin, config, &headline, &std::mem::take(&mut notices));
        // The outcome of a superseded trail must not hide the change from a subscription that filters by outcome.
        let outcome = if trail.is_superseded() { trail.outcome.max(Outcome::Noted) } else { trail.outcome };
        trail_draft(answer, trail, outcome, headline, text)
    };
    let mut alerts: Vec<Draft> = answer.trails.iter().filter(|trail| needs_alert(trail)).map(alert).collect();
    // A stray never goes unnoticed, also if the trail itself needs no alert, or not yet.
    if alerts.is_empty() {
        alerts.extend(key_draft(answer));
    }
    alerts
}

fn needs_alert(trail: &TrailReport) -> bool {
    match trail.outcome {
        Outcome::Planned | Outcome::Remediated | Outcome::Noted => true,
        Outcome::Failed => {
            let is_final = trail.error.as_ref().is_none_or(|error| !error.is_transient());
            is_final || trail.failed_after_change()
        }
        Outcome::OutOfScope => trail.has(FindingId::NoCmk),
        Outcome::Compliant | Outcome::Gone | Outcome::Exempt => trail.is_superseded(),
    }
}

/// The alert about keys alone.
fn key_draft(answer: &Answer) -> Option<Draft> {
    let notices = notices(answer);
    let trail = answer.trails.first().filter(|_| !notices.is_empty())?;
    let headline = wording::key_headline(&answer.strays);
    let text =
        format!("{}.\n\nTrail: {}\n\n{}\n", wording::capitalized(headline), trail_arn(trail), notices.join("\n\n"));
    // A compliant trail must not hide the notice from a subscription that filters by outcome.
    Some(trail_draft(answer, trail, trail.outcome.max(Outcome::Noted), headline.to_owned(), text))
}

fn trail_draft(answer: &Answer, trail: &TrailReport, outcome: Outcome, headline: String, text: String) -> Draft {
    let region = trail.trail.as_ref().map(|arn| arn.region().to_string()).unwrap_or_default();
    let attributes = vec![
        ("outcome", outcome.as_str().to_owned()),
        ("mode", answer.mode.to_owned()),
        ("region", region),
        ("trail_arn", trail_arn(trail).to_owned()),
    ];
    Draft { headline, text, attributes }
}

impl Draft {
    fn format(self, context: &Context) -> Alert {
        let Self { mut headline, mut text, mut attributes } = self;
        let account = context.function_arn.account();
        let config = &context.config;
        // Another account's topic receives the alerts of many accounts.
        let is_central = config.alert_topic.as_ref().is_some_and(|topic| topic.account() != account);
        if is_central {
            headline = format!("{account}: {headline}");
        }
        let names_trail = attributes.iter().any(|(name, _)| *name == "trail_arn");
        if is_central || !names_trail {
            text = format!("Account: {account}\n\n{text}");
        }
        attributes.push(("account", account.to_string()));
        Alert {
            subject: shorten_ascii(&format!("trailseal: {headline}"), 99),
            message: match config.alert_format {
                AlertFormat::Text => text,
                AlertFormat::Chatbot => chatbot(&headline, &text),
            },
            attributes,
        }
    }
}

/// The text of an alert about one trail.
fn trail_text(trail: &TrailReport, origin: &Origin, config: &Config, headline: &str, notices: &[String]) -> String {
    let mut lines = vec![format!("{}.", wording::capitalized(headline))];
    if config.mode == Mode::DryRun {
        lines.push(wording::DRY_RUN.into());
    }
    lines.extend([String::new(), wording::caused_by(origin), trail_section(trail, origin, config)]);
    lines.extend(notices.iter().map(|notice| format!("{notice}\n")));
    lines.push(format!("What to do next: {}\n", wording::next_action(trail, origin, config, !notices.is_empty())));
    lines.join("\n")
}

/// Source: <https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html>. The caller chose some of these
/// words, so nothing in them may become a link or a mention. Statements and commands are unchanged.
fn chatbot(title: &str, text: &str) -> String {
    let plain = text.replace('<', "‹").replace('>', "›").replace("](", "] (");
    let title = wording::capitalized(title);
    let content = json!({ "textType": "client-markdown", "title": title, "description": plain });
    json!({ "version": "1.0", "source": "custom", "content": content }).to_string()
}

fn shorten_ascii(text: &str, limit: usize) -> String {
    let ascii: String = text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    shorten(&ascii, limit.saturating_sub(3)).replace('…', "...")
}
