//! Findings (defects of a trail) and warnings (information for the reader of a report): typed, with stable IDs.
//! The words are in [`crate::report`].

mod warning;

pub use warning::{UnreadTrails, Warning, WarningId};

use serde::Serialize;

use crate::access::KeyAccess;
use crate::ids::KeyArn;
use crate::key_policy::{Extension, KeyAdministrator};

/// The stable ID of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FindingId {
    /// The trail has no KMS key: its files are encrypted with SSE-S3.
    NoCmk,
    /// AWS manages the key.
    KeyNotCustomerManaged,
    /// The key's spec or usage is not that of a symmetric encryption key.
    KeyNotSymmetric,
    /// The key is disabled.
    KeyDisabled,
    /// The key is pending deletion.
    KeyPendingDeletion,
    /// The key is in another state in which it cannot be used.
    KeyUnavailable,
    /// The key does not exist.
    KeyMissing,
    /// The key's policy does not allow CloudTrail to use the key; or the policy of trailseal's key lacks a statement.
    KeyPolicyGap,
    /// The yearly rotation of trailseal's key is off.
    KeyRotationOff,
    /// The trail was stopped.
    LoggingStopped,
    /// The last delivery to the bucket failed.
    DeliveryFailing,
}

/// A defect of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// See [`FindingId::NoCmk`].
    NoCmk,
    /// See [`FindingId::KeyNotCustomerManaged`].
    KeyNotCustomerManaged(KeyArn),
    /// See [`FindingId::KeyNotSymmetric`].
    KeyNotSymmetric {
        /// The key.
        key: KeyArn,
        /// Its spec or usage.
        found: String,
    },
    /// See [`FindingId::KeyDisabled`].
    KeyDisabled(KeyArn),
    /// See [`FindingId::KeyPendingDeletion`].
    KeyPendingDeletion(KeyArn),
    /// See [`FindingId::KeyUnavailable`].
    KeyUnavailable {
        /// The key.
        key: KeyArn,
        /// Its state, as KMS names it.
        state: String,
        /// The custom key store that holds its key material, if one does.
        key_store: Option<String>,
    },
    /// See [`FindingId::KeyMissing`]; the key as the trail names it.
    KeyMissing(String),
    /// See [`FindingId::KeyPolicyGap`]: the policy denies CloudTrail a call.
    CloudTrailDenied {
        /// The key.
        key: KeyArn,
        /// What the policy decides for CloudTrail.
        access: KeyAccess,
        /// The missing statements, which the key's owner must add, as JSON; none if trailseal adds them or none would help.
        statements: Option<String>,
        /// Who may change the policy.
        administrator: KeyAdministrator,
    },
    /// See [`FindingId::KeyPolicyGap`]: the policy of trailseal's key lacks statements.
    PolicyIncomplete {
        /// The key.
        key: KeyArn,
        /// What its policy lacks.
        extension: Extension,
        /// Who may change the policy.
        administrator: KeyAdministrator,
    },
    /// See [`FindingId::KeyRotationOff`].
    KeyRotationOff(KeyArn),
    /// See [`FindingId::LoggingStopped`].
    LoggingStopped,
    /// See [`FindingId::DeliveryFailing`].
    DeliveryFailing(Vec<DeliveryError>),
}

/// The error of the last delivery of one kind of file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryError {
    /// `log` or `digest`.
    pub files: &'static str,
    /// The error code from S3.
    pub code: String,
}

/// What an error code of a delivery points to.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryCause {
    /// The key: its state or its policy.
    Key,
    /// The bucket policy or the key policy.
    KeyOrBucket,
    /// The bucket does not exist.
    BucketMissing,
    /// Something else.
    Other,
}

impl DeliveryError {
    /// What the error code points to.
    pub fn cause(&self) -> DeliveryCause {
        let code = self.code.to_ascii_lowercase();
        match code {
            code if code.contains("kms") => DeliveryCause::Key,
            code if code.contains("accessdenied") => DeliveryCause::KeyOrBucket,
            code if code.contains("nosuchbucket") => DeliveryCause::BucketMissing,
            _ => DeliveryCause::Other,
        }
    }

    /// Whether a key can be the cause.
    pub fn may_be_caused_by_key(&self) -> bool {
        matches!(self.cause(), DeliveryCause::Key | DeliveryCause::KeyOrBucket)
    }
}

impl Finding {
    /// The stable ID.
    pub fn id(&self) -> FindingId {
        match self {
            Self::NoCmk => FindingId::NoCmk,
            Self::KeyNotCustomerManaged(_) => FindingId::KeyNotCustomerManaged,
            Self::KeyNotSymmetric { .. } => FindingId::KeyNotSymmetric,
            Self::KeyDisabled(_) => FindingId::KeyDisabled,
            Self::KeyPendingDeletion(_) => FindingId::KeyPendingDeletion,
            Self::KeyUnavailable { .. } => FindingId::KeyUnavailable,
            Self::KeyMissing(_) => FindingId::KeyMissing,
            Self::CloudTrailDenied { .. } | Self::PolicyIncomplete { .. } => FindingId::KeyPolicyGap,
            Self::KeyRotationOff(_) => FindingId::KeyRotationOff,
            Self::LoggingStopped => FindingId::LoggingStopped,
            Self::DeliveryFailing(_) => FindingId::DeliveryFailing,
        }
    }
}

/// Who may edit a sealing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOwner {
    /// trailseal created the key.
    Trailseal,
    /// trailseal created the key, and its exempt tag forbids changes.
    Exempt,
    /// Another principal's key.
    Another,
}
