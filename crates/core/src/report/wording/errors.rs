//! Obstacles and failures of steps in words, with what to do about them.

use super::steps::reason;
use super::warnings::{allow_locked_out, allow_readers, locked_out};
use super::{
    control_tower, denied_calls, instruction, joined, list_updates, policy_commands, replace_unmanageable,
    restore_command,
};
use crate::config::{KEY_ARNS, OWNER_TAG, READERS_LOCKED_OUT};
use crate::failure::{Class, Failure};
use crate::finding::{Finding, KeyOwner, Warning};
use crate::ids::{KeyArn, Region, TrailArn};
use crate::journal::{Contradiction, Entry};
use crate::key_policy::{KeyAdministrator, MAX_BYTES};
use crate::observation::SettingChange;
use crate::plan::{KeySource, KeyStep, Obstacle, Step, Subject, UnusableKey};

/// Why a trail cannot be read or remediated.
pub(in crate::report) fn obstacle(obstacle: &Obstacle) -> Failure {
    let (message, remedy) = match obstacle {
        Obstacle::ReadFailed(failure) => return failure.clone(),
        Obstacle::NotRead(trail) => {
            return Failure::transient(format!("trail `{trail}` was not read completely"));
        }
        Obstacle::Inconsistent(key) => {
            return Failure::transient(format!("two reads of key `{key}` contradict each other"));
        }
        Obstacle::SuppliedKeyMissing { key, region } => (
            format!("key `{key}`, which {KEY_ARNS} names for `{region}`, does not exist"),
            format!(
                "set {KEY_ARNS} to an existing key in `{region}`, or remove this key from it so that trailseal uses a key of its own"
            ),
        ),
        Obstacle::SealingKeyUnusable(unusable) => sealing_key_unusable(unusable),
        Obstacle::SealingKeyDenied { key, trail, access, owner, administrator, statements } => {
            let (denied, reasons) = denied_calls(access);
            let replace = (*administrator == KeyAdministrator::NoPrincipal).then(|| replace_unmanageable(key));
            let exclude = access.explicitly_denied().then(|| {
                "exclude `cloudtrail.amazonaws.com` from the statement that denies it, because trailseal does not change that statement".to_owned()
            });
            let add = statements.as_ref().map(|statements| {
                let add = add_statements(key, statements);
                match owner {
                    KeyOwner::Exempt => {
                        format!("remove the exempt tag from the key so that trailseal can extend its policy, or {add}")
                    }
                    KeyOwner::Trailseal | KeyOwner::Another => add,
                }
            });
            (
                format!(
                    "the sealing key `{key}` cannot be used: its policy does not allow CloudTrail to {denied} for trail `{trail}` ({reasons})"
                ),
                replace.unwrap_or_else(|| exclude.into_iter().chain(add).collect::<Vec<_>>().join(". Then ")),
            )
        }
        Obstacle::PolicyTooLong { key, extension } => (
            format!(
                "the policy of key `{key}` cannot be extended: it would exceed the {MAX_BYTES} bytes that KMS accepts"
            ),
            format!(
                "remove at least {} bytes of statements that are no longer needed: {}. The next run then makes these changes: {}",
                extension.document.text().len().saturating_sub(MAX_BYTES),
                policy_commands(key, "remove them"),
                instruction(extension)
            ),
        ),
        Obstacle::BucketNotAllowed { bucket, trail, unmet, statements } => {
            let why = match unmet {
                None => format!("bucket `{bucket}` has no policy, so CloudTrail cannot deliver to it"),
                Some((call, unmet)) => {
                    let nearest: Vec<String> = unmet.iter().map(ToString::to_string).collect();
                    let nearest = if nearest.is_empty() { String::new() } else { format!(" ({})", nearest.join("; ")) };
                    format!(
                        "no statement of the policy of bucket `{bucket}` allows CloudTrail to call `{call}` for trail `{trail}`{nearest}"
                    )
                }
            };
            (
                format!("{why}; CloudTrail would refuse to change the trail"),
                format!(
                    "add these statements to the policy of bucket `{bucket}`: {statements}; until then, trailseal does not change trail `{trail}`"
                ),
            )
        }
        Obstacle::BucketDenied { bucket, trail, call, statement, tests_encryption: false, .. } => (
            format!(
                "the policy of bucket `{bucket}` does not allow CloudTrail to deliver, with any key: {statement} denies `{call}`"
            ),
            format!(
                "exclude `cloudtrail.amazonaws.com` from that statement, for example with the condition `\"Bool\": {{\"aws:PrincipalIsAWSService\": \"false\"}}`; until then, trailseal does not change trail `{trail}`"
            ),
        ),
        Obstacle::BucketDenied { bucket, trail, key, placeholder, statement, .. } => {
            let accepted = match key {
                Some(key) => format!("key `{key}`"),
                None => format!(
                    "any key `arn:{}:kms:{}:{}:key/*`, or set {KEY_ARNS} to a key that the statement accepts",
                    placeholder.partition(),
                    placeholder.region(),
                    placeholder.account()
                ),
            };
            (
                format!(
                    "the policy of bucket `{bucket}` does not allow CloudTrail to write with {}: {statement} denies it",
                    key_or_new(key.as_ref(), placeholder.region())
                ),
                format!(
                    "exclude `cloudtrail.amazonaws.com` from that statement, or accept uploads with `s3:x-amz-server-side-encryption` = `aws:kms` and {accepted}; until then, trailseal does not change trail `{trail}`"
                ),
            )
        }
        Obstacle::BucketOwnerHeld { bucket, trail, key, region, owner } => (
            format!(
                "encrypting trail `{trail}` with {} would lock out the account that owns bucket `{bucket}`; {READERS_LOCKED_OUT} is `hold`, so trailseal does not change the trail",
                key_or_new(key.as_ref(), region)
            ),
            format!("{}, or set {READERS_LOCKED_OUT} to `proceed`", allow_readers(*owner, "that account")),
        ),
        Obstacle::ReadersHeld { bucket, trail, key, region, readers, owner } => (
            format!(
                "encrypting trail `{trail}` with {} would lock out readers of bucket `{bucket}`: {}; {READERS_LOCKED_OUT} is `hold`, so trailseal does not change the trail",
                key_or_new(key.as_ref(), region),
                locked_out(readers)
            ),
            format!(
                "{}, remove them from the bucket policy, or set {READERS_LOCKED_OUT} to `proceed`",
                allow_locked_out(*owner, readers)
            ),
        ),
    };
    Failure::terminal(message, remedy)
}

fn sealing_key_unusable(unusable: &UnusableKey) -> (String, String) {
    let UnusableKey { key, source, findings, administrator, unknown_state, exempt, unreadable_tags } = unusable;
    let (source, replace) = match source {
        KeySource::Supplied => (format!("set in {KEY_ARNS}"), format!("set {KEY_ARNS} to")),
        KeySource::Alias(alias) => (format!("associated with `{alias}`"), format!("associate `{alias}` with")),
        KeySource::Tag => ("found by its tag".to_owned(), format!("set {KEY_ARNS} to")),
    };
    let region = key.region();
    let (defects, mut remedy) = match (unknown_state, findings.first()) {
        (Some(state), _) => (
            format!("key `{key}` is in state `{state}`, which trailseal does not support"),
            format!(
                "{replace} another key in `{region}`, or update trailseal, because a newer version may support that state"
            ),
        ),
        (None, first) => {
            let remedy = match first {
                Some(Finding::KeyDisabled(_) | Finding::KeyPendingDeletion(_))
                    if *administrator == KeyAdministrator::NoPrincipal =>
                {
                    replace_unmanageable(key)
                }
                Some(Finding::KeyDisabled(_)) => format!("enable the key: {}", restore_command(key, false)),
                Some(Finding::KeyPendingDeletion(_)) => format!(
                    "cancel the key's deletion: {}; without the key, the log files that it encrypted are lost",
                    restore_command(key, true)
                ),
                Some(Finding::KeyUnavailable { .. }) => format!(
                    "make the key usable again, as the message above describes, or {replace} another key in `{region}`"
                ),
                _ => format!("{replace} an enabled, symmetric, customer managed key in `{region}`"),
            };
            (joined(findings.iter().map(super::finding)), remedy)
        }
    };
    let mut message = format!("the sealing key of `{region}`, {source}, cannot be used: {defects}");
    if let Some(failure) = unreadable_tags {
        message = format!(
            "{message}; the tags of the key cannot be read, so trailseal does not change it: {}",
            failure.message
        );
    }
    if let Some(value) = exempt.as_ref().filter(|_| *administrator != KeyAdministrator::NoPrincipal) {
        message =
            format!("{message}; trailseal created the key and does not change it because of its exempt tag, `{value}`");
        remedy = format!("remove the exempt tag so that trailseal can repair the key, or {remedy}");
    }
    (message, remedy)
}

/// The key, or the key that a step creates.
fn key_or_new(key: Option<&KeyArn>, region: &Region) -> String {
    key.map_or_else(|| format!("the key that trailseal would create in `{region}`"), |key| format!("key `{key}`"))
}

fn add_statements(key: &KeyArn, statements: &str) -> String {
    format!("add these statements to the policy of key `{key}`: {statements}")
}

/// A step's failure, with what only the step can add.
pub(in crate::report) fn step_failure(entry: &Entry, failure: &Failure) -> Failure {
    let failure = Failure { class: entry.failure_class().unwrap_or(failure.class), ..failure.clone() };
    let is_terminal = failure.class == Class::Terminal;
    // Only then is a policy the cause, and another principal may be allowed what the function's role is not.
    let is_denied = is_terminal && failure.is("AccessDeniedException");
    match (&entry.step, &entry.key) {
        (Step::Key(KeyStep::Create(_)), _) if failure.outcome_unknown => {
            let Subject::Key(region) = &entry.subject else { return failure };
            let (tag, value) = OWNER_TAG;
            let message = format!(
                "{}; it is unknown whether a key was created. The next sweep finishes or reports it. To check now, list the keys with trailseal's tag, of which a new one has no alias: `aws resourcegroupstaggingapi get-resources --region {region} --resource-type-filters kms:key --tag-filters Key={tag},Values={value}`",
                failure.message
            );
            Failure { message, ..failure }
        }
        (Step::Key(KeyStep::EnableRotation), Some(key)) => {
            let command = format!("aws kms enable-key-rotation --region {} --key-id {key}", key.region());
            Failure { remedy: Some(format!("enable rotation: `{command}`")), ..failure }
        }
        (Step::Key(KeyStep::Restore { pending_deletion, administrator }), Some(key)) if is_terminal => {
            let administrator = if is_denied { *administrator } else { KeyAdministrator::Account };
            by_administrator(failure, administrator, &restore_command(key, *pending_deletion))
        }
        (Step::Key(KeyStep::Extend(change)), Some(key)) if is_terminal => {
            let commands = || policy_commands(key, &instruction(&change.extension));
            let failure = match is_denied {
                true => by_administrator(failure, change.administrator, &commands()),
                false => failure,
            };
            let rejected: Vec<String> = change.rejected.iter().map(ToString::to_string).collect();
            match (rejected.as_slice(), &failure.remedy) {
                ([], _) | (_, None) => failure,
                (rejected, Some(remedy)) => {
                    let first = format!("first fix what KMS rejects in this policy: {}", rejected.join("; "));
                    Failure { remedy: Some(format!("{first}; then {remedy}")), ..failure }
                }
            }
        }
        (Step::Update(update), Some(key)) if failure.is("InsufficientEncryptionPolicyException") => {
            let bucket = "check that the bucket policy allows CloudTrail to write with this key";
            let remedy = match update.access_verified {
                true => format!("the policy of key `{key}` allows CloudTrail to use it, so {bucket}"),
                false => format!("{}; then {bucket}", add_statements(key, &update.statements)),
            };
            Failure { remedy: Some(remedy), ..failure }
        }
        (Step::Update(update), _) if failure.is("AccessDeniedException") && update.is_control_towers() => {
            Failure { remedy: Some(format!("{}, or exempt the trail with its tag", control_tower())), ..failure }
        }
        (Step::Update(_), Some(key)) if failure.outcome_unknown => {
            Failure { message: format!("it is unknown whether the trail has `{key}`: {}", failure.message), ..failure }
        }
        _ => failure,
    }
}

/// The failure, with what an administrator of the key can do instead, unless the function's role is the only one.
fn by_administrator(failure: Failure, administrator: KeyAdministrator, command: &str) -> Failure {
    let remedy = match failure.remedy.as_deref() {
        Some(_) if administrator == KeyAdministrator::Role => return failure,
        None | Some("") => format!("ask an administrator to do the following: {command}"),
        Some(remedy) => format!("{remedy}; or ask an administrator to do the following: {command}"),
    };
    Failure { remedy: Some(remedy), ..failure }
}

/// The key was repaired, and could not be read afterwards.
pub(in crate::report) fn unverified_repair(key: &KeyArn, failure: &Failure) -> Failure {
    let message =
        format!("key `{key}` was repaired, but it is unknown whether CloudTrail can use it: {}", failure.message);
    Failure { message, ..failure.clone() }
}

/// The key was repaired, and this warning says why it is unknown whether CloudTrail can use it.
pub(in crate::report) fn unknown_access(key: &KeyArn, warning: &Warning) -> Failure {
    if let Some(failure) = warning.failed_key_read() {
        return unverified_repair(key, failure);
    }
    let message = format!("key `{key}` was repaired, but {}", super::warning(warning));
    let remedy = format!(
        "check that the policy of key `{key}` allows CloudTrail to use it, and that `aws cloudtrail get-trail-status` returns no `LatestDeliveryError`"
    );
    Failure::terminal(message, remedy)
}

/// CloudTrail accepted the key and then returned another.
pub(in crate::report) fn other_key(entry: &Entry, named: &str) -> Failure {
    let key = entry.key.as_ref().map(ToString::to_string).unwrap_or_default();
    let (trail, region) = match &entry.subject {
        Subject::Trail(trail) => (trail.to_string(), trail.region()),
        Subject::Key(region) => (region.to_string(), region),
    };
    let message = format!("CloudTrail accepted key `{key}` for trail `{trail}`, but returned key `{named}`");
    Failure::terminal(message, format!("find out which other principal changes this trail: {}", list_updates(region)))
}

/// Other settings of a trail changed.
pub(in crate::report) fn setting_changes(trail: &TrailArn, changes: &[SettingChange]) -> Failure {
    let value = |value: &Option<String>| {
        value.as_ref().map_or("not set".to_owned(), |value| match value.as_str() {
            "true" | "false" => value.clone(),
            value => format!("`{value}`"),
        })
    };
    let change =
        |change: &SettingChange| format!("{}: {} → {}", change.name, value(&change.before), value(&change.after));
    let changes: Vec<String> = changes.iter().map(change).collect();
    Failure::terminal(
        format!(
            "trail `{trail}` was assigned the key, but other settings changed during the update: {}",
            changes.join(", ")
        ),
        format!(
            "trailseal sends only the trail's ARN and its key, so find out which other principal changed these settings, and restore them if the change is wrong: {}",
            list_updates(trail.region())
        ),
    )
}

/// A trail whose failure a retry can resolve.
pub(in crate::report) fn not_remediated_yet(trail: &str, failure: &Failure) -> String {
    format!("trail `{trail}` is not remediated yet: {}", failure.message)
}

/// The state of AWS kept contradicting the plan.
pub(in crate::report) fn abandoned(contradiction: &Contradiction) -> Failure {
    match contradiction {
        Contradiction::TrailGone(failure) | Contradiction::OutcomeUnknown(failure) => failure.clone(),
        other => Failure::transient(format!("the state of AWS kept changing: {}", reason(other))),
    }
}
