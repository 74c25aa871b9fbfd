//! The sentences of reports: findings, warnings, steps, errors, alerts. No code reads them. These are elsewhere:
//!
//! - The errors of AWS calls, next to their codes in the function's error table.
//! - The reasons of the policy evaluator, in [`crate::iam`].
//! - Why an input is invalid or ignored, in [`crate::trigger`].
//! - The labels of a message's lines, such as `Finding:`, in the layout of the message.

mod actions;
mod alerts;
mod deployments;
mod errors;
mod findings;
mod key_policies;
mod steps;
mod warnings;

pub(super) use actions::next_action;
pub(super) use alerts::{
    DRY_RUN, NEW_KEY_POLICY, SEE_ABOVE, access_consequences, capitalized, caused_by, cost, digest_headline,
    explanation, failure_notice, headline, key_headline, omitted_trails, step_status, stray_notice,
};
pub use alerts::{steps_heading, summary};
pub(super) use errors::{
    abandoned, not_remediated_yet, obstacle, other_key, setting_changes, step_failure, unknown_access,
    unverified_repair,
};
pub(super) use findings::finding;
use key_policies::{changed_statements, denied_calls, instruction};
pub(super) use steps::{detail, listed_under, out_of_scope, stray_caution, stray_command, superseded};
pub(super) use warnings::{unused_key, warning};

use std::fmt::Display;

use serde_json::json;

use crate::config::{KEY_ALIAS, KEY_ARNS};
use crate::failure::Failure;
use crate::ids::{KeyArn, Region};

/// An ID as in the answer.
pub(super) fn id(value: &impl serde::Serialize) -> String {
    json!(value).as_str().unwrap_or_default().to_owned()
}

/// `one; two; three`.
fn joined(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().collect::<Vec<_>>().join("; ")
}

/// `` `one`, `two` ``.
fn quoted<T: Display>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A failure and what to do about it.
pub(super) fn with_remedy(failure: &Failure) -> String {
    match failure.remedy.as_deref() {
        None | Some("") => failure.message.clone(),
        Some(remedy) => format!("{}; {remedy}", failure.message),
    }
}

/// The command that makes a key usable. It continues if the deletion was canceled already.
fn restore_command(key: &KeyArn, pending_deletion: bool) -> String {
    let region = key.region();
    let enable = format!("aws kms enable-key --region {region} --key-id {key}");
    match pending_deletion {
        true => format!("`aws kms cancel-key-deletion --region {region} --key-id {key}; {enable}`"),
        false => format!("`{enable}`"),
    }
}

/// What to do about a trail of AWS Control Tower.
fn control_tower() -> String {
    "AWS Control Tower owns this trail, and in a member account a mandatory control denies `cloudtrail:UpdateTrail` to every role but `AWSControlTowerExecution`: configure KMS encryption in the landing zone settings".into()
}

/// What to do about a sealing key that no principal can administer.
fn replace_unmanageable(key: &KeyArn) -> String {
    format!(
        "{}, or set {KEY_ARNS} to another key, or {KEY_ALIAS} to another alias, for which trailseal creates a key. Keep key `{key}`, because older log files cannot be read without it",
        regain_access(key)
    )
}

/// Who can help with a key that no principal can administer.
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>.
fn regain_access(key: &KeyArn) -> String {
    format!("contact AWS Support to regain access to key `{key}`, which no principal in its account may change")
}

/// The command that lists the updates of the trails in a Region, which CloudTrail keeps for 90 days.
fn list_updates(region: &Region) -> String {
    format!(
        "`aws cloudtrail lookup-events --region {region} --lookup-attributes AttributeKey=EventName,AttributeValue=UpdateTrail --query 'Events[].[EventTime,Username,Resources[0].ResourceName]' --output text`"
    )
}

/// The commands that edit a key policy, with the edit in between.
fn policy_commands(key: &KeyArn, edit: &str) -> String {
    let region = key.region();
    format!(
        "`aws kms get-key-policy --region {region} --key-id {key} --policy-name default --query Policy --output text > policy.json`, {edit} in that file, then `aws kms put-key-policy --region {region} --key-id {key} --policy-name default --policy file://policy.json`"
    )
}
