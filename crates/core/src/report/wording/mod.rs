//! The sentences of reports: findings, warnings, steps, errors, alerts. No code reads them. These are elsewhere:
//!
//! - The errors of AWS calls, next to their codes in the function's error table.
//! - The reasons of the policy evaluator, in [`crate::iam`].
//! - Why an input is invalid or ignored, in [`crate::trigger`].
//! - The labels of a message's lines, such as `Finding:`, in the layout of the message.

mod alerts;
mod errors;
mod findings;
mod key_policies;
mod steps;
mod warnings;

pub(super) use alerts::{
    DRY_RUN, access_consequences, capitalized, caused_by, cost, digest_headline, failure_notice, headline,
    key_headline, next_action, omitted_trails, steps_heading, stray_notice,
};
pub(super) use errors::{abandoned, not_remediated_yet, obstacle, other_key, setting_changes, step_failure};
pub(super) use findings::finding;
use key_policies::{changed_statements, instruction};
pub(super) use steps::{detail, listed_under, out_of_scope, stray_caution, stray_command, superseded};
pub(super) use warnings::warning;

use crate::failure::Failure;
use crate::ids::KeyArn;

/// `one; two; three`.
fn joined(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().collect::<Vec<_>>().join("; ")
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

/// The commands that edit a key policy, with the edit in between.
fn policy_commands(key: &KeyArn, edit: &str) -> String {
    let region = key.region();
    format!(
        "`aws kms get-key-policy --region {region} --key-id {key} --policy-name default --query Policy --output text > policy.json`, {edit} in that file, then `aws kms put-key-policy --region {region} --key-id {key} --policy-name default --policy file://policy.json`"
    )
}
