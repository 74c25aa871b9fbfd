//! What only alerts contain: headlines, headings, notices, consequences and the next action.

use super::steps::{stray_caution, stray_command};
use super::{id, with_remedy};
use crate::config::{Config, LOG_READERS, Mode};
use crate::failure::Failure;
use crate::finding::KeyOwner;
use crate::journal::StepStatus;
use crate::plan::StepName;
use crate::plan::strays::Stray;
use crate::report::answer::{Answer, Outcome, TrailReport};
use crate::trigger::{Origin, REQUEST};

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
        Outcome::Failed if is_updated => format!("trail {name} is encrypted, but something else failed"),
        Outcome::Failed if trail.is_unclear() => format!("it is unknown whether trail {name} was remediated"),
        Outcome::Failed => format!("trail {name} could not be remediated"),
        Outcome::OutOfScope => format!("trail {name} is not encrypted and belongs to another account"),
        Outcome::Gone if trail.is_superseded() => format!("trail {name} was deleted while trailseal prepared its key"),
        Outcome::Exempt if trail.is_superseded() => {
            format!("trail {name} was exempted while trailseal prepared its key")
        }
        Outcome::Compliant if trail.is_superseded() && trail.is_unclear() => {
            format!("trail {name} is compliant, but the outcome of a change is unknown")
        }
        Outcome::Compliant if trail.is_superseded() => {
            format!("another principal encrypted trail {name} while trailseal prepared its key")
        }
        Outcome::Noted | Outcome::Compliant | Outcome::Gone | Outcome::Exempt => {
            let mut ids: Vec<String> = trail.findings.iter().map(|finding| id(&finding.id())).collect();
            ids.dedup();
            match ids.as_slice() {
                [] => format!("trail {name} needs your attention"),
                ids => format!("trail {name} needs your attention: {}", ids.join(", ")),
            }
        }
    }
}

/// What became of the trails of a sweep, in one line.
pub(in crate::report) fn digest_headline(unlisted: bool, reported: &[&TrailReport], all: usize) -> String {
    if unlisted {
        return "the trails could not be listed".into();
    }
    let outcomes = [Outcome::Failed, Outcome::Planned, Outcome::Remediated, Outcome::Noted].into_iter();
    let counts = outcomes.filter_map(|outcome| {
        let count = reported.iter().filter(|trail| trail.outcome == outcome).count();
        (count > 0).then(|| format!("{count} {}", outcome.as_str()))
    });
    match counts.collect::<Vec<_>>().as_slice() {
        [] => "this account needs your attention".into(),
        counts => format!("{} of {all} {}", counts.join(", "), if all == 1 { "trail" } else { "trails" }),
    }
}

/// The outcomes of a run, in one line.
pub fn summary(answer: &Answer) -> String {
    let trails = &answer.trails;
    let outcomes = [
        Outcome::Failed,
        Outcome::Planned,
        Outcome::Remediated,
        Outcome::Noted,
        Outcome::OutOfScope,
        Outcome::Exempt,
        Outcome::Gone,
        Outcome::Compliant,
    ];
    let counts = outcomes.into_iter().filter_map(|outcome| {
        let count = trails.iter().filter(|trail| trail.outcome == outcome).count();
        (count > 0).then(|| format!("{count} {}", outcome.as_str()))
    });
    match counts.collect::<Vec<_>>().as_slice() {
        [] => "No trails were found.".into(),
        counts => {
            let (all, plural) = (trails.len(), if trails.len() == 1 { "" } else { "s" });
            let unchanged = if answer.mode == Mode::DryRun.as_str() { " Nothing was changed." } else { "" };
            format!("{all} trail{plural}: {}.{unchanged}", counts.join(", "))
        }
    }
}

/// What became of keys that may be strays, in one line.
pub(in crate::report) fn key_headline(strays: &[Stray]) -> &'static str {
    match strays.iter().any(Stray::is_certain) {
        true => "a KMS key is unused",
        false => "a KMS key needs your attention",
    }
}

/// Follows the headline in dry-run mode.
pub(in crate::report) const DRY_RUN: &str = "This was a dry run. Nothing was changed.";

/// The heading of the policy of new keys.
pub(in crate::report) const NEW_KEY_POLICY: &str = "Policy of each new key";

/// The heading of a trail's steps.
pub fn steps_heading(is_dry_run: bool, has_failed: bool) -> &'static str {
    match (is_dry_run, has_failed) {
        (true, _) => "Planned changes",
        (false, true) => "Completed and incomplete steps",
        (false, false) => "Completed steps",
    }
}

/// A step whose error is the error of the trail.
pub(in crate::report) const SEE_ABOVE: &str = "see the error above";

/// The status of a step. In a run that changes trails, a step that is still planned was not performed.
pub(in crate::report) fn step_status(status: StepStatus) -> String {
    match status {
        StepStatus::Planned => "not done".into(),
        status => id(&status),
    }
}

/// Where the findings, warnings and outcome of a trail are explained.
pub(in crate::report) fn explanation(trail: &TrailReport, origin: &Origin) -> String {
    let findings = trail.findings.iter().map(|finding| id(&finding.id()));
    let warnings = trail.warnings.iter().map(|warning| id(&warning.id()));
    let mut ids: Vec<String> = findings.chain(warnings).chain([trail.outcome.as_str().to_owned()]).collect();
    ids.dedup();
    if origin.is_command {
        return format!("Explained by: trailseal explain {}", ids.join(" "));
    }
    let links: Vec<String> = ids.iter().map(|id| format!("#{id}")).collect();
    format!("Explained in docs/findings.md: {}", links.join(", "))
}

/// The trails that do not fit in a message.
pub(in crate::report) fn omitted_trails(count: usize) -> String {
    format!("The function's log contains {count} more {}.", if count == 1 { "trail" } else { "trails" })
}

/// What started the invocation.
pub(in crate::report) fn caused_by(origin: &Origin) -> String {
    if origin.kind == REQUEST {
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
    "Cost: a new KMS key costs $1 a month, however many trails use it, and $1 a month more after each of its first two yearly rotations.".into()
}

/// Which readers may lose access to new log files.
pub(in crate::report) fn access_consequences(trail: &TrailReport, config: &Config) -> String {
    let existing = "Existing log files do not change.";
    let in_account = match trail.account_readers.as_slice() {
        [] => String::new(),
        readers => format!(" The bucket policy names these readers in this account: {}.", readers.join(", ")),
    };
    if !matches!(trail.key_owner, None | Some(KeyOwner::Trailseal)) {
        return format!(
            "Who may lose access: every principal that reads new log files needs kms:Decrypt on the key.{in_account} trailseal does not edit this key's policy, so {LOG_READERS} has no effect on it. {existing}"
        );
    }
    let readers = &config.log_readers;
    let own = match readers.own_account {
        true => "Principals in this account that can read the bucket can also decrypt.",
        false => "Principals in this account need kms:Decrypt on the key in their IAM policies.",
    };
    let principals = readers.principals.iter().map(ToString::to_string);
    let accounts = readers.accounts.iter().map(ToString::to_string);
    let organizations = readers.organizations.iter().map(ToString::to_string);
    let named: Vec<String> = principals.chain(accounts).chain(organizations).collect();
    let named = match named.as_slice() {
        [] => "The policy of a key that trailseal creates allows no readers outside this account.".into(),
        named => format!("The policy of a key that trailseal creates allows these readers: {}.", named.join(", ")),
    };
    format!(
        "Who may lose access: every principal that reads new log files, such as a replication role, needs kms:Decrypt on the key. {own}{in_account} {named} {existing}"
    )
}

/// A stray, and the command that removes it.
pub(in crate::report) fn stray_notice(stray: &Stray) -> String {
    let used = if stray.is_certain() { "is unused" } else { "may be unused" };
    let caution = stray_caution(stray).map(|caution| format!("Before you remove it: {caution}. ")).unwrap_or_default();
    format!("A KMS key that trailseal created {used}: {}. {caution}Remove it with: {}", stray.key, stray_command(stray))
}

/// A failure that is not the error of a single trail.
pub(in crate::report) fn failure_notice(failure: &Failure) -> String {
    format!("{}.", capitalized(&with_remedy(failure)))
}

/// The text with its first letter in upper case.
pub(in crate::report) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_omitted_trail_is_singular() {
        assert_eq!(omitted_trails(1), "The function's log contains 1 more trail.");
        assert_eq!(omitted_trails(2), "The function's log contains 2 more trails.");
    }
}
