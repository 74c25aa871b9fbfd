use super::steps::{stray_caution, stray_command};
use crate::config::{Config, Mode};
use crate::finding::{FindingId, KeyOwner};
use crate::ids::KeyArn;
use crate::journal::StepStatus;
use crate::plan::StepName;
use crate::plan::strays::Stray;
use crate::report::answer::{Outcome, TrailReport};
use crate::trigger::Origin;

/// What became of a trail, in one line.
pub(in crate::report) fn headline(trail: &TrailReport, mode: Mode) -> String {
    let name = trail.name();
    let update = trail.steps.iter().rfind(|step| step.step == StepName::UpdateTrail);
    let is_updated = update.is_some_and(|step| step.status == StepStatus::Done);
    let is_sealed = is_updated || (mode == Mode::DryRun && update.is_some());
    match trail.outcome {
        Outcome::Planned if is_sealed => {
            format!("trail {name} would be encrypted with a customer managed key (dry-run)")
        }
        Outcome::Planned => format!("trail {name} would be remediated (dry-run)"),
        Outcome::Remediated if is_sealed => format!("trail {name} is now encrypted with a customer managed key"),
        Outcome::Remediated => format!("trail {name} was remediated"),
        Outcome::Failed if mode == Mode::DryRun => format!("trail {name} could not be remediated (dry-run)"),
        Outcome::Failed if is_updated => format!("trail {name} is encrypted, but another problem needs attention"),
        Outcome::Failed => format!("trail {name} could not be remediated"),
        Outcome::OutOfScope => format!("trail {name} is not encrypted and belongs to another account"),
        outcome => format!("trail {name} is {}", outcome.as_str()),
    }
}

/// What became of the trails of a sweep, in one line.
pub(in crate::report) fn digest_headline(unlisted: bool, told: &[&TrailReport], all: usize) -> String {
    if unlisted {
        return "the trails could not be listed".into();
    }
    let outcomes = [Outcome::Failed, Outcome::Planned, Outcome::Remediated, Outcome::Noted].into_iter();
    let counts = outcomes.filter_map(|outcome| {
        let count = told.iter().filter(|trail| trail.outcome == outcome).count();
        (count > 0).then(|| format!("{count} {}", outcome.as_str()))
    });
    match counts.collect::<Vec<_>>().as_slice() {
        [] => "this account needs attention".into(),
        counts => format!("{} of {all} trails", counts.join(", ")),
    }
}

/// What started the invocation.
pub(in crate::report) fn caused_by(origin: &Origin) -> String {
    if origin.kind == "request" {
        return "Caused by: a request to the function".into();
    }
    let actor = origin.actor.as_deref().unwrap_or("an unknown caller");
    let with = origin.user_agent.as_ref().map(|agent| format!(" with {agent}")).unwrap_or_default();
    let region = origin.region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
    let event = origin.event_id.as_ref().map(|event| format!(", event {event}")).unwrap_or_default();
    format!("Caused by: {actor}{with} ({}{region}{event})", origin.kind)
}

/// What a new key costs.
pub(in crate::report) fn cost() -> String {
    "Cost: a new KMS key is $1 a month, however many trails use it, and $1 more after each of its first two yearly rotations.".into()
}

/// Which readers may lose access to new log files.
pub(in crate::report) fn access_consequences(owner: Option<KeyOwner>, config: &Config) -> String {
    let existing = "Existing files do not change.";
    if !matches!(owner, None | Some(KeyOwner::Trailseal)) {
        return format!(
            "Who may lose access: a principal that reads new log files needs kms:Decrypt on the key. trailseal does not edit this key's policy, so LogReaders has no effect on it. {existing}"
        );
    }
    let readers = &config.log_readers;
    let own = match readers.own_account {
        true => "Principals of this account that can read the bucket can decrypt, too.",
        false => "Principals of this account need kms:Decrypt on the key in their own policies.",
    };
    let principals = readers.principals.iter().map(ToString::to_string);
    let accounts = readers.accounts.iter().map(ToString::to_string);
    let organizations = readers.organizations.iter().map(ToString::to_string);
    let named: Vec<String> = principals.chain(accounts).chain(organizations).collect();
    let named = match named.as_slice() {
        [] => "A key that trailseal creates allows no reader outside this account (LogReaders is empty).".into(),
        named => format!("A key that trailseal creates allows: {}.", named.join(", ")),
    };
    format!(
        "Who may lose access: a principal that reads new log files, such as the role of a replication, needs kms:Decrypt on the key. {own} {named} {existing}"
    )
}

/// What the reader of an alert does next.
pub(in crate::report) fn next_action(trail: &TrailReport, config: &Config) -> String {
    let mut next = match trail.outcome {
        Outcome::Failed => {
            let remedy = trail.error.as_ref().and_then(|error| error.remedy.clone());
            remedy.unwrap_or_else(|| "read the message above".into())
        }
        Outcome::Planned => format!(
            "to apply this, deploy trailseal with Mode=enforce; to exempt this trail, tag it `{}` with the reason as the value.",
            config.exempt_tag
        ),
        Outcome::Remediated => {
            "nothing, unless a reader of these logs is missing above. New files are encrypted within about 5 minutes."
                .into()
        }
        Outcome::OutOfScope => "notify the owner of that account.".into(),
        _ if trail.has(FindingId::KeyPolicyGap) => {
            "have the owner of the key add what its policy lacks. While CloudTrail delivers, trailseal does not move the trail to another key."
                .into()
        }
        _ if trail.has(FindingId::DeliveryFailing) => {
            "check the bucket, its policy and the key: log files are missing until CloudTrail delivers again.".into()
        }
        _ => "confirm that this is intentional.".into(),
    };
    let previous = trail.previous_key_arn.as_ref().and_then(|key| key.parse::<KeyArn>().ok());
    if let (true, Some(key)) = (trail.has(FindingId::KeyPendingDeletion), previous) {
        next = format!(
            "cancel the deletion of the key that older log files need: `aws kms cancel-key-deletion --region {} --key-id {key}`; they cannot be read without it. Then: {next}",
            key.region()
        );
    }
    let restarts =
        trail.steps.iter().any(|step| step.step == StepName::StartLogging && step.status != StepStatus::Failed);
    if let (true, false, Ok(arn)) = (trail.has(FindingId::LoggingStopped), restarts, &trail.trail) {
        next = format!(
            "{next} The trail is not logging: start it with `aws cloudtrail start-logging --region {} --name {arn}`, or let trailseal start it with RestartLogging=true.",
            arn.region()
        );
    }
    next
}

/// A stray, and the command that removes it.
pub(in crate::report) fn stray_notice(stray: &Stray) -> String {
    let used = if stray.is_certain() { "is not used" } else { "may not be used" };
    let caution = stray_caution(stray).map(|caution| format!("Before you remove it: {caution}. ")).unwrap_or_default();
    format!("A key that trailseal created {used}: {}. {caution}Remove it with: {}", stray.key, stray_command(stray))
}

/// The text with its first letter in upper case.
pub(in crate::report) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}
