//! The alert: a message that a person can act on without opening a console.

mod digest;

use serde_json::json;

use crate::config::{AlertFormat, Config, Mode};
use crate::finding::FindingId;
use crate::ids::{FunctionArn, shorten};
use crate::observation::Class;
use crate::plan::{KeyOwner, StepName};
use crate::progress::StepStatus;
use crate::report::{Answer, Outcome, TrailReport};
use crate::stray::Stray;
use crate::trigger::{Origin, SWEEP};

/// A message for the alert topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// One line of ASCII with less than 100 characters, as SNS wants it.
    pub subject: String,
    /// The text, or Amazon Q Developer's JSON around it.
    pub message: String,
    /// What subscriptions can filter by.
    pub attributes: Vec<(&'static str, String)>,
}

/// What is to be told, before it is put into the form that the topic's readers take.
struct Draft {
    /// A part of a sentence, for the subject.
    headline: String,
    text: String,
    attributes: Vec<(&'static str, String)>,
}

/// The alerts that this answer of the function at `home` calls for: one for each trail about which there is
/// something to say, of a sweep one for all. None for a failure that passes, where the invocation is tried
/// again.
pub fn alerts(answer: &Answer, origin: &Origin, config: &Config, home: &FunctionArn) -> Vec<Alert> {
    drafts(answer, origin, config).into_iter().map(|draft| message(draft, config, home)).collect()
}

fn drafts(answer: &Answer, origin: &Origin, config: &Config) -> Vec<Draft> {
    let unlisted = answer.error.as_ref().map(|error| error.class);
    if unlisted == Some(Class::Transient) {
        return Vec::new();
    }
    if origin.kind == SWEEP || unlisted.is_some() {
        return digest::of(answer, origin, config).into_iter().collect();
    }
    let worth_it = |trail: &&TrailReport| match trail.outcome {
        Outcome::Planned | Outcome::Remediated | Outcome::Noted => true,
        // The next try does not see that a key was broken.
        Outcome::Failed => {
            trail.error.as_ref().is_none_or(|error| error.class == Class::Terminal) || mended_a_key(trail)
        }
        Outcome::OutOfScope => trail.findings.iter().any(|finding| finding.id == FindingId::NoCmk),
        Outcome::Compliant | Outcome::Gone | Outcome::Exempt => false,
    };
    // Where there are several, the first tells what is to be told beside the trails.
    let mut beside = beside(answer);
    let mut alert = |trail| alert(answer, trail, origin, config, &std::mem::take(&mut beside));
    let mut alerts: Vec<Draft> = answer.trails.iter().filter(worth_it).map(&mut alert).collect();
    // Nothing is left over unnoticed, also where there is nothing to say of the trail, or not yet.
    if alerts.is_empty() {
        alerts.extend(about_keys(answer));
    }
    alerts
}

fn mended_a_key(trail: &TrailReport) -> bool {
    let mends = |step: StepName| matches!(step, StepName::RestoreKey | StepName::ExtendKeyPolicy);
    trail.steps.iter().any(|it| mends(it.step) && it.status == StepStatus::Done)
}

/// The alert about keys alone.
fn about_keys(answer: &Answer) -> Option<Draft> {
    let words = beside(answer);
    let trail = answer.trails.first().filter(|_| !words.is_empty())?;
    let certain = answer.strays.iter().any(|stray| stray.certain);
    let headline = if certain { "a KMS key was left over" } else { "a KMS key needs your attention" };
    let text = format!("{}.\n\nTrail: {}\n\n{}\n", capitalised(headline), trail.trail_arn, words.join("\n\n"));
    // A trail that is well must not keep it from a filter that is after whatever calls for somebody.
    Some(about_trail(answer, trail, trail.outcome.max(Outcome::Noted), headline.to_owned(), text))
}

/// What there is to say of keys beside what became of the trails.
fn beside(answer: &Answer) -> Vec<String> {
    let stray = |stray: &Stray| {
        let used = if stray.certain { "is not used" } else { "may not be used" };
        let first = stray.caution.map(|caution| format!("Think first: {caution}. ")).unwrap_or_default();
        format!("A key that trailseal created {used}: {}. {first}Remove it with: {}", stray.key_arn, stray.command)
    };
    answer.strays.iter().map(stray).chain(answer.asides.iter().cloned()).collect()
}

fn alert(answer: &Answer, trail: &TrailReport, origin: &Origin, config: &Config, beside: &[String]) -> Draft {
    let name = trail.trail_arn.rsplit('/').next().unwrap_or_default();
    let headline = headline(trail, name, config.mode);
    let text = text(trail, origin, config, &headline, beside);
    about_trail(answer, trail, trail.outcome, headline, text)
}

fn about_trail(answer: &Answer, trail: &TrailReport, outcome: Outcome, headline: String, text: String) -> Draft {
    let region = trail.trail_arn.split(':').nth(3).unwrap_or_default();
    let attributes = vec![
        ("outcome", outcome.as_str().to_owned()),
        ("mode", answer.mode.to_owned()),
        ("region", region.to_owned()),
        ("trail_arn", trail.trail_arn.clone()),
    ];
    Draft { headline, text, attributes }
}

fn message(draft: Draft, config: &Config, home: &FunctionArn) -> Alert {
    let Draft { mut headline, mut text, mut attributes } = draft;
    let account = home.account();
    // Another account's topic hears of many accounts.
    if config.alert_topic.as_ref().is_some_and(|topic| topic.account() != account) {
        headline = format!("{account}: {headline}");
        text = format!("Account: {account}\n\n{text}");
    }
    attributes.push(("account", account.to_string()));
    Alert {
        // SNS takes less than 100 characters.
        subject: shorten_ascii(&format!("trailseal: {headline}"), 99),
        message: match config.alert_format {
            AlertFormat::Text => text,
            AlertFormat::Chatbot => chatbot(&headline, &text),
        },
        attributes,
    }
}

fn headline(trail: &TrailReport, name: &str, mode: Mode) -> String {
    let update = trail.steps.iter().rfind(|step| step.step == StepName::UpdateTrail);
    let done = update.is_some_and(|step| step.status == StepStatus::Done);
    let sealed = done || (mode == Mode::DryRun && update.is_some());
    match trail.outcome {
        Outcome::Planned if sealed => format!("trail {name} would be encrypted with a customer-managed key (dry-run)"),
        Outcome::Planned => format!("trail {name} would be mended (dry-run)"),
        Outcome::Remediated if sealed => format!("trail {name} is now encrypted with a customer-managed key"),
        Outcome::Remediated => format!("trail {name} was mended"),
        Outcome::Failed if mode == Mode::DryRun => format!("trail {name} could not be mended (dry-run)"),
        Outcome::Failed if done => format!("trail {name} is encrypted, but something else needs you"),
        Outcome::Failed => format!("trail {name} could not be mended"),
        Outcome::OutOfScope => format!("trail {name} is not encrypted and not ours to mend"),
        outcome => format!("trail {name} is {}", outcome.as_str()),
    }
}

fn text(trail: &TrailReport, origin: &Origin, config: &Config, headline: &str, beside: &[String]) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(format!("{}.", capitalised(headline)));
    if config.mode == Mode::DryRun {
        line("This is a dry-run: nothing was changed.".into());
    }
    line(String::new());
    for words in caused_by(origin) {
        line(words);
    }
    text.push_str(&about(trail, config));
    for words in beside {
        text.push_str(&format!("\n{words}\n"));
    }
    let also = if beside.is_empty() { "" } else { "see to the key named above; apart from that: " };
    text.push_str(&format!("\nWhat to do next: {also}{}\n", next(trail, config)));
    text
}

/// One trail: what was wrong, what was done about it, what follows.
fn about(trail: &TrailReport, config: &Config) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line(format!("Trail: {}", trail.trail_arn));
    for finding in &trail.findings {
        line(format!("Wrong: {}: {}", id(&finding.id), finding.detail));
    }
    if let Some(reason) = &trail.detail {
        line(format!("Why it was left alone: {reason}"));
    }
    if let Some(error) = &trail.error {
        line(format!("Failed: {}", error.message));
        if let Some(request) = &error.request_id {
            line(format!("AWS's request id: {request}"));
        }
    }
    if !trail.steps.is_empty() {
        line(String::new());
        line(match trail.outcome {
            _ if config.mode == Mode::DryRun => "What would be done:".into(),
            Outcome::Failed => "What was done, and what was not:".into(),
            _ => "What was done:".into(),
        });
    }
    for step in &trail.steps {
        let (status, name) = (id(&step.status), id(&step.step));
        line(if config.mode == Mode::DryRun {
            format!("- {name}: {}", step.detail)
        } else {
            format!("- {name} ({status}): {}", step.detail)
        });
    }
    for words in consequences(trail, config) {
        line(String::new());
        line(words);
    }
    for warning in &trail.warnings {
        line(String::new());
        line(format!("Note: {}: {}", id(&warning.id), warning.detail));
    }
    text
}

fn caused_by(origin: &Origin) -> Vec<String> {
    let actor = origin.actor.as_deref().unwrap_or("not told");
    let with = origin.user_agent.as_ref().map(|agent| format!(" with {agent}")).unwrap_or_default();
    let region = origin.region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
    match origin.kind.as_str() {
        "request" => vec!["Asked for by: a request to the function".into()],
        kind => {
            let event = origin.event_id.as_ref().map(|event| format!(", event {event}")).unwrap_or_default();
            vec![format!("Caused by: {actor}{with} ({kind}{region}{event})")]
        }
    }
}

/// What it costs, and who may lose access to the logs.
fn consequences(trail: &TrailReport, config: &Config) -> Vec<String> {
    let taken = |name| {
        trail.steps.iter().filter(|it| it.step == name).any(|it| match it.status {
            StepStatus::Done => true,
            StepStatus::Planned => trail.outcome == Outcome::Planned,
            StepStatus::NotNeeded | StepStatus::Failed => false,
        })
    };
    let mut words = Vec::new();
    if taken(StepName::CreateKey) {
        words.push("Cost: a new KMS key is $1 a month, whichever number of trails use it, and $1 more after each of its first two yearly rotations.".into());
    }
    if taken(StepName::UpdateTrail) && !matches!(trail.key_owner, None | Some(KeyOwner::Trailseal)) {
        words.push("Who may lose access: whoever reads new log files needs kms:Decrypt on the key, whose policy trailseal does not edit: TRAILSEAL_LOG_READERS has no effect on it. Files that are there already stay as they are.".into());
    } else if taken(StepName::UpdateTrail) {
        let own = if config.log_readers.own_account {
            "Principals of this account that may read the bucket may decrypt, too."
        } else {
            "Principals of this account need kms:Decrypt on the key in their own policies."
        };
        let others = &config.log_readers;
        let named: Vec<String> = others
            .principals
            .iter()
            .map(ToString::to_string)
            .chain(others.accounts.iter().map(ToString::to_string))
            .chain(others.organizations.iter().map(ToString::to_string))
            .collect();
        let named = if named.is_empty() {
            "Nobody outside this account is let in by a key that trailseal creates (TRAILSEAL_LOG_READERS names nobody).".into()
        } else {
            format!("A key that trailseal creates lets in: {}.", named.join(", "))
        };
        words.push(format!("Who may lose access: whoever reads new log files, a replication's role included, needs kms:Decrypt on the key. {own} {named} Files that are there already stay as they are."));
    }
    words
}

fn next(trail: &TrailReport, config: &Config) -> String {
    let remedy = trail.error.as_ref().and_then(|error| error.remedy.clone());
    let region = trail.trail_arn.split(':').nth(3).unwrap_or_default();
    let found = |id| trail.findings.iter().any(|finding| finding.id == id);
    let stopped = found(FindingId::LoggingStopped);
    let start = format!("aws cloudtrail start-logging --region {region} --name {}", trail.trail_arn);
    let mut next = match trail.outcome {
        Outcome::Failed => remedy.unwrap_or_else(|| "see the message above".into()),
        Outcome::Planned => format!(
            "to have it done, deploy trailseal with Mode=enforce; to have this trail left alone, tag it `{}` with the reason as the value.",
            config.exempt_tag
        ),
        Outcome::Remediated => {
            "nothing, unless a reader of these logs is missing above. New files are encrypted within about 5 minutes."
                .into()
        }
        Outcome::OutOfScope => "tell that account's owner.".into(),
        _ if found(FindingId::KeyPolicyGap) => {
            "let whoever keeps the key add what its policy lacks. As long as CloudTrail delivers, trailseal does not move the trail off it."
                .into()
        }
        _ if found(FindingId::DeliveryFailing) => "look at the bucket, its policy and the key: until CloudTrail delivers again, logs are missing.".into(),
        _ => "decide whether this is meant.".into(),
    };
    if let (true, Some(doomed)) = (found(FindingId::KeyPendingDeletion), &trail.previous_key_arn) {
        let region = doomed.split(':').nth(3).unwrap_or_default();
        next = format!(
            "keep the key that the older logs need, which is being deleted: `aws kms cancel-key-deletion --region {region} --key-id {doomed}`; nobody can read them without it. Apart from that: {next}"
        );
    }
    let restarts =
        trail.steps.iter().any(|step| step.step == StepName::StartLogging && step.status != StepStatus::Failed);
    if stopped && !restarts {
        next = format!(
            "{next} The trail does not log: start it with `{start}`, or let trailseal do it with RestartLogging=true."
        );
    }
    next
}

/// Source: <https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html>. Whoever made the
/// call chose some of these words, so nothing in them may become a link or a mention; statements and
/// commands stay as they are.
fn chatbot(title: &str, text: &str) -> String {
    let plain = text.replace('<', "‹").replace('>', "›").replace("](", "] (");
    let content = json!({ "textType": "client-markdown", "title": capitalised(title), "description": plain });
    json!({ "version": "1.0", "source": "custom", "content": content }).to_string()
}

/// An id as it stands in the answer.
fn id(value: &impl serde::Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}

fn capitalised(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

fn shorten_ascii(text: &str, limit: usize) -> String {
    let ascii: String = text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    shorten(&ascii, limit.saturating_sub(3)).replace('…', "...")
}
