//! What can be wrong with a trail, and what somebody should know: stable ids, and words.

use serde::Serialize;

/// The stable id of something wrong with a trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FindingId {
    /// The trail has no key: its files are encrypted with S3's own.
    NoCmk,
    /// AWS manages the key.
    KeyNotCustomerManaged,
    /// The key's spec or usage is not that of a symmetric encryption key.
    KeyNotSymmetric,
    /// Somebody disabled the key.
    KeyDisabled,
    /// The key is being deleted.
    KeyPendingDeletion,
    /// The key is in another state in which it does not work.
    KeyUnavailable,
    /// There is no such key.
    KeyMissing,
    /// The key's policy does not let CloudTrail in; or, for a key of ours, lacks something that
    /// trailseal writes.
    KeyPolicyGap,
    /// The trail was stopped.
    LoggingStopped,
    /// CloudTrail could not write to the bucket when it last tried.
    DeliveryFailing,
}

/// One thing wrong with a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// What.
    pub id: FindingId,
    /// In words, with the names that matter.
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(id: FindingId, detail: impl Into<String>) -> Self {
        Self { id, detail: detail.into() }
    }
}

/// The stable id of something that somebody should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WarningId {
    /// Somebody outside the account may read the bucket and could not decrypt the log files.
    ReadersLockedOut,
    /// The bucket's policy may not be read, or cannot be judged with certainty.
    BucketPolicyUnreadable,
    /// A replication of the bucket does not carry what is encrypted with a KMS key.
    ReplicationWillStop,
    /// The bucket's replication may not be read.
    ReplicationUnreadable,
    /// CloudTrail may not decrypt with the key, which it needs where the bucket uses an S3 Bucket Key.
    BucketKeyNeedsDecrypt,
    /// The key's policy cannot be judged with certainty.
    KeyPolicyUnclear,
    /// The key, or its policy, may not be read.
    KeyUnreadable,
    /// A reader who is not configured any more is still let in.
    ReaderNotRevoked,
    /// No trail of the account logs.
    NoLoggingTrail,
}

/// One thing that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Warning {
    /// What.
    pub id: WarningId,
    /// In words, with the names that matter.
    pub detail: String,
}

impl Warning {
    /// That no trail logs, of all that the account sees.
    /// Source: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html>.
    pub fn no_logging_trail() -> Self {
        let detail = "no trail of this account logs: what happens in it is not recorded, and no event about a trail reaches trailseal until one does";
        Self::new(WarningId::NoLoggingTrail, detail)
    }

    pub(crate) fn new(id: WarningId, detail: impl Into<String>) -> Self {
        Self { id, detail: detail.into() }
    }
}
