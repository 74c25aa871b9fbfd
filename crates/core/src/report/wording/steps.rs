//! Steps, with what became of them, and strays in words.

use super::{changed_statements, instruction, joined};
use crate::failure::Failure;
use crate::ids::{AccountId, KeyArn, Region, TrailArn};
use crate::journal::{Contradiction, Effect, Entry, StepResult};
use crate::plan::strays::{Stray, StrayCause};
use crate::plan::{KeyStep, Step, Subject};

/// A step and what became of it, in words.
pub(in crate::report) fn detail(entry: &Entry) -> String {
    match &entry.result {
        StepResult::NotPerformed => planned(entry),
        StepResult::Failed(failure) if failure.not_sent => planned(entry),
        StepResult::Done(effect) => done(entry, effect),
        StepResult::Contradicted(contradiction) => contradicted(entry, contradiction),
        StepResult::Failed(failure) | StepResult::Unconfirmed { failure, .. } => {
            super::step_failure(entry, failure).message
        }
        StepResult::CreatedKeyFound(failure) => {
            let key = entry.key.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{}; a later read shows that it created key `{key}`", failure.message)
        }
        StepResult::OtherKey(named) => super::other_key(entry, named).message,
    }
}

fn planned(entry: &Entry) -> String {
    let region = region(entry);
    let key = entry.key.as_ref().map_or("the new key".into(), |key| format!("`{key}`"));
    match &entry.step {
        Step::Key(KeyStep::Create(_)) => format!("a symmetric key in `{region}`, $1 a month"),
        Step::Key(KeyStep::Adopt(adoption)) if adoption.in_use => {
            format!("{key}, which a trail already uses but which no longer has the alias")
        }
        Step::Key(KeyStep::Adopt(_)) => format!("{key}, which an earlier run created but did not finish"),
        Step::Key(KeyStep::Restore { pending_deletion: true, .. }) => {
            format!("cancel the deletion of {key} and enable it")
        }
        Step::Key(KeyStep::Restore { pending_deletion: false, .. }) => format!("enable {key}"),
        Step::Key(KeyStep::Extend(change)) => {
            let rejected: Vec<String> = change.rejected.iter().map(ToString::to_string).collect();
            let rejected = match rejected.as_slice() {
                [] => String::new(),
                rejected => format!("; KMS rejects the policy until this is fixed: {}", rejected.join("; ")),
            };
            format!("change the policy of {key}: {}{rejected}", instruction(&change.extension))
        }
        // The cost of a new key includes that of its rotation.
        Step::Key(KeyStep::EnableRotation) if entry.key.is_some() => {
            format!("yearly rotation of {key}; each of the first two rotations adds $1 a month")
        }
        Step::Key(KeyStep::EnableRotation) => format!("yearly rotation of {key}"),
        Step::Key(KeyStep::CreateAlias(alias)) => format!("`{alias}` in `{region}` for {key}"),
        Step::Update(update) => {
            let given =
                entry.key.as_ref().map_or(format!("`KmsKeyId` = the new key in `{}`", update.bucket_region), assigned);
            let named = joined(update.account_readers.iter().map(|reader| format!("`{reader}`")));
            let named = if named.is_empty() { named } else { format!("; the bucket policy names {named}") };
            let readers = format!("; readers in this account need `kms:Decrypt` in their IAM policies{named}");
            let readers = readers.as_str();
            let control = "; in a member account, AWS Control Tower denies this change of its trail";
            let notes = [(update.account_readers_need_permission, readers), (update.is_control_towers(), control)];
            notes.into_iter().filter(|(applies, _)| *applies).fold(given, |given, (_, note)| given + note)
        }
        Step::Restart => "start logging again".into(),
    }
}

fn done(entry: &Entry, effect: &Effect) -> String {
    let key = entry.key.as_ref().map(ToString::to_string).unwrap_or_default();
    let read_back = if matches!(effect, Effect::ReadBack(_)) { " (the call failed; read back)" } else { "" };
    match &entry.step {
        Step::Key(KeyStep::Create(_)) => format!("`{key}`"),
        Step::Key(KeyStep::Adopt(_)) => planned(entry),
        Step::Key(KeyStep::Restore { pending_deletion, .. }) => {
            let done = if *pending_deletion { "its deletion is canceled, and it is enabled" } else { "it is enabled" };
            match effect {
                Effect::Unverified(failure) => {
                    format!("`{key}`: {done}, according to KMS; it was not read back: {}", failure.message)
                }
                _ => format!("`{key}`: {done}{read_back}"),
            }
        }
        Step::Key(KeyStep::Extend(change)) => {
            let since = match effect {
                Effect::AppliedThenChanged => "; another principal has changed the policy since then",
                _ => "",
            };
            format!("{} in the policy of `{key}`{since}{read_back}", changed_statements(&change.extension))
        }
        Step::Key(KeyStep::EnableRotation) => format!("yearly rotation of `{key}`{read_back}"),
        Step::Key(KeyStep::CreateAlias(alias)) => format!("`{alias}` for `{key}`{read_back}"),
        Step::Update(_) => format!("{}{read_back}", entry.key.as_ref().map(assigned).unwrap_or_default()),
        Step::Restart => format!("the trail is logging again{read_back}"),
    }
}

fn contradicted(entry: &Entry, contradiction: &Contradiction) -> String {
    match (contradiction, &entry.step, &entry.key) {
        (Contradiction::AliasExists, Step::Key(KeyStep::CreateAlias(alias)), _) => {
            format!("`{alias}` already exists in `{}`", region(entry))
        }
        (Contradiction::AliasTaken { holder, in_use }, _, Some(own)) => {
            let becomes = if *in_use { "stays in use without the alias" } else { "is a stray" };
            format!("key `{holder}` got the alias first; `{own}` {becomes}")
        }
        _ => reason(contradiction),
    }
}

/// How the state of AWS contradicts the plan, in words.
pub(super) fn reason(contradiction: &Contradiction) -> String {
    match contradiction {
        Contradiction::AliasExists => "the alias already exists".into(),
        Contradiction::AliasTaken { holder, .. } => format!("key `{holder}` has the alias"),
        Contradiction::PolicyChanged(key) => {
            format!("another principal changed the policy of key `{key}` during this run")
        }
        Contradiction::TrailChanged(trail) => format!("another principal changed trail `{trail}` during this run"),
        Contradiction::StateChanged(failure)
        | Contradiction::TrailGone(failure)
        | Contradiction::OutcomeUnknown(failure) => failure.message.clone(),
    }
}

/// What `update-trail` does.
fn assigned(key: &KeyArn) -> String {
    format!("`KmsKeyId` = `{key}`")
}

fn region(entry: &Entry) -> &Region {
    match &entry.subject {
        Subject::Key(region) => region,
        Subject::Trail(trail) => trail.region(),
    }
}

/// A step that is listed under another trail.
pub(in crate::report) fn listed_under(trail: &TrailArn) -> String {
    format!("listed under `{trail}`")
}

/// Another principal gave the trail its key.
pub(in crate::report) fn superseded(key: &str) -> String {
    format!("another principal assigned `{key}`")
}

/// The command that removes a stray. A key that may be in use is only removed if it has no alias.
pub(in crate::report) fn stray_command(stray: &Stray) -> String {
    let key = &stray.key;
    let region = key.region();
    let delete = format!("aws kms schedule-key-deletion --region {region} --key-id {key} --pending-window-in-days 7");
    if stray.cause != StrayCause::AliasUnknown {
        return delete;
    }
    let aliases =
        format!("aws kms list-aliases --region {region} --key-id {key} --query 'Aliases[].AliasName' --output text");
    format!("aliases=$({aliases}) && test -z \"$aliases\" && {delete}")
}

/// What to consider before a stray is removed.
pub(in crate::report) fn stray_caution(stray: &Stray) -> Option<&'static str> {
    match stray.cause {
        StrayCause::Unused => Some(
            "no trail uses this key now, but log files that it encrypted cannot be read without it. Make sure that it still has no alias, because a key with an alias is in use",
        ),
        StrayCause::Unfinished => {
            Some("the next run that needs a key finishes this one, so remove it only if no run follows")
        }
        StrayCause::AliasLost | StrayCause::AliasUnknown => None,
    }
}

/// Why another account's trail is left alone.
pub(in crate::report) fn out_of_scope(owner: &AccountId, unreadable: Option<&Failure>) -> String {
    let unreadable = unreadable.map(|failure| format!("; it cannot be read from this account: {}", failure.message));
    format!("the trail belongs to account `{owner}`, which must fix it{}", unreadable.unwrap_or_default())
}
