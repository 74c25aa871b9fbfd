//! Findings in words.

use super::{changed_statements, denied_calls, instruction};
use crate::finding::{DeliveryCause, DeliveryError, Finding};
use crate::ids::KeyArn;
use crate::key_policy::KeyAdministrator;

const UNMANAGEABLE: &str = "no principal in the key's account may change that policy";

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
        Finding::KeyUnavailable { key, state, key_store } => {
            let remedy = restoration(key, state, key_store.as_deref());
            format!("key `{key}` is in state `{state}`, in which it cannot be used: {remedy}")
        }
        Finding::KeyMissing(key) => format!(
            "key `{key}` does not exist (confirmed by a second read); the log files that it encrypted can no longer be read"
        ),
        Finding::CloudTrailDenied { key, access, statements, administrator } => {
            let (denied, reasons) = denied_calls(access);
            let remedy = match (administrator, statements) {
                (KeyAdministrator::NoPrincipal, _) => format!("; {UNMANAGEABLE}"),
                (_, Some(statements)) => format!("; it needs these statements: {statements}"),
                (_, None) => String::new(),
            };
            format!("the policy of key `{key}` does not allow CloudTrail to {denied} ({reasons}){remedy}")
        }
        Finding::PolicyIncomplete { key, extension, administrator: KeyAdministrator::NoPrincipal } => {
            format!("the policy of key `{key}` lacks {}; {UNMANAGEABLE}", changed_statements(extension))
        }
        Finding::PolicyIncomplete { key, extension, .. } => {
            format!("the policy of key `{key}` lacks {}: {}", changed_statements(extension), instruction(extension))
        }
        Finding::KeyRotationOff(key) => format!("yearly rotation of key `{key}` is off"),
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

/// How the owner of a key ends a state in which the key cannot be used.
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>.
pub(super) fn restoration(key: &KeyArn, state: &str, key_store: Option<&str>) -> String {
    let region = key.region();
    match (state, key_store) {
        ("Unavailable", Some(store)) => format!(
            "its custom key store `{store}` is disconnected; the owner of the key store must reconnect it: `aws kms connect-custom-key-store --region {region} --custom-key-store-id {store}`"
        ),
        ("Unavailable", None) => "its custom key store is disconnected; the owner of the key store must reconnect it with `aws kms connect-custom-key-store`".into(),
        ("PendingImport", _) => "its imported key material expired, was deleted, or was never imported; the owner of the key must import the same key material again with `aws kms get-parameters-for-import` and `aws kms import-key-material`".into(),
        ("Creating", _) => "KMS is still creating the key; wait until the key is `Enabled`".into(),
        _ => "the owner of the key must make the key usable again".into(),
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
