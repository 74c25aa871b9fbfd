//! Findings in words.

use super::{changed_statements, instruction, joined};
use crate::finding::{DeliveryCause, DeliveryError, Finding};

/// A finding in words.
pub(in crate::report) fn finding(finding: &Finding) -> String {
    match finding {
        Finding::NoCmk => "the log files are not encrypted with a KMS key".into(),
        Finding::KeyNotCustomerManaged(key) => {
            format!("key `{key}` is managed by AWS; its policy cannot allow CloudTrail to use it")
        }
        Finding::KeyNotSymmetric { key, found } => {
            format!("key `{key}` is `{found}`; CloudTrail requires a symmetric encryption key")
        }
        Finding::KeyDisabled(key) => format!("key `{key}` is disabled"),
        Finding::KeyPendingDeletion(key) => format!("key `{key}` is pending deletion"),
        Finding::KeyUnavailable { key, state } => {
            format!("key `{key}` is in state `{state}`, in which it cannot be used")
        }
        Finding::KeyMissing(key) => format!(
            "key `{key}` does not exist, as a second read confirmed; the log files that it encrypted cannot be read any more"
        ),
        Finding::CloudTrailDenied { key, access, statements } => {
            let denied = joined(access.denied().into_iter().map(|(call, decision)| format!("`{call}`: {decision}")));
            let remedy = statements.as_ref().map(|statements| format!("; it needs these statements: {statements}"));
            format!(
                "the policy of key `{key}` does not allow CloudTrail to encrypt ({denied}){}",
                remedy.unwrap_or_default()
            )
        }
        Finding::PolicyIncomplete { key, extension } => {
            format!("the policy of key `{key}` lacks {}: {}", changed_statements(extension), instruction(extension))
        }
        Finding::LoggingStopped => "logging was stopped".into(),
        Finding::DeliveryFailing(errors) => {
            let errors: Vec<String> = errors.iter().map(delivery_error).collect();
            format!(
                "the last delivery failed: S3 returned {}. CloudTrail retries for 30 days and reports the error until a delivery succeeds, usually within 5 minutes",
                errors.join(" and ")
            )
        }
    }
}

fn delivery_error(error: &DeliveryError) -> String {
    let cause = match error.cause() {
        DeliveryCause::Key => "the key's state or policy is the cause",
        DeliveryCause::KeyOrBucket => "the bucket policy or the key policy does not allow CloudTrail",
        DeliveryCause::BucketMissing => "the bucket does not exist; the key is not the cause",
        DeliveryCause::Other => "the error does not point to the key",
    };
    format!("`{}` for {} files ({cause})", error.code, error.files)
}
