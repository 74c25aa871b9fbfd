//! Warnings: information without a required change.

use serde::Serialize;

use super::KeyOwner;
use crate::access::{KeyAccess, LockedOutReader};
use crate::failure::Failure;
use crate::iam::{Decision, MalformedPolicy};
use crate::ids::{KeyArn, Region};
use crate::key_policy::UnrevokedReader;
use crate::observation::{Expiry, ReplicationRule};

/// The stable ID of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WarningId {
    /// A principal outside the account can read the bucket and could not decrypt the log files.
    ReadersLockedOut,
    /// The bucket policy cannot be read, or cannot be evaluated with certainty.
    BucketPolicyUnreadable,
    /// A replication rule of the bucket does not select objects that are encrypted with a KMS key, or its role may be unable
    /// to decrypt them.
    ReplicationWillStop,
    /// The replication configuration of the bucket cannot be read.
    ReplicationUnreadable,
    /// The key's policy does not allow CloudTrail to describe the key, which CloudTrail delivers without.
    DescribeKeyMissing,
    /// The key's policy does not allow CloudTrail to decrypt, which it needs if the bucket uses an S3 Bucket Key.
    BucketKeyNeedsDecrypt,
    /// The key's imported key material expires within 30 days.
    KeyMaterialExpires,
    /// The key's policy cannot be evaluated with certainty.
    KeyPolicyUnclear,
    /// The key, its policy, its tags or its rotation cannot be read, or whether trails use it is unknown.
    KeyUnreadable,
    /// A reader that is no longer configured can still decrypt.
    ReaderNotRevoked,
    /// No trail of the account is logging.
    NoLoggingTrail,
}

/// Trails that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnreadTrails {
    /// Every trail of these Regions.
    Regions(Vec<Region>),
    /// These trails, as AWS lists them.
    Listed(Vec<String>),
}

/// Information without a required change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// See [`WarningId::ReadersLockedOut`].
    ReadersLockedOut {
        /// The bucket.
        bucket: String,
        /// The readers.
        readers: Vec<LockedOutReader>,
        /// Who may edit the key policy.
        owner: KeyOwner,
    },
    /// See [`WarningId::ReadersLockedOut`]: the bucket is another account's, and the key lets no other account decrypt.
    BucketOwnerLockedOut {
        /// The bucket.
        bucket: String,
        /// Who may edit the key policy.
        owner: KeyOwner,
    },
    /// See [`WarningId::BucketPolicyUnreadable`]: access was denied, and the bucket is not known to be another account's.
    BucketPolicyDenied {
        /// The bucket.
        bucket: String,
        /// The failed read.
        failure: Failure,
        /// Why the owner of the bucket is unknown, if it is.
        owner: Option<Failure>,
    },
    /// See [`WarningId::BucketPolicyUnreadable`]: the bucket is another account's.
    BucketPolicyForeign {
        /// The bucket.
        bucket: String,
        /// Who may edit the key policy, if the policy may let that account decrypt.
        owner: Option<KeyOwner>,
    },
    /// See [`WarningId::BucketPolicyUnreadable`]: it is not a policy.
    BucketPolicyMalformed {
        /// The bucket.
        bucket: String,
        /// Why.
        error: MalformedPolicy,
    },
    /// See [`WarningId::BucketPolicyUnreadable`]: whether CloudTrail can write is unknown.
    BucketPolicyUnclear {
        /// The bucket.
        bucket: String,
        /// Why.
        decision: Decision,
    },
    /// See [`WarningId::ReplicationWillStop`].
    ReplicationWillStop {
        /// The bucket.
        bucket: String,
        /// The rule.
        rule: ReplicationRule,
    },
    /// See [`WarningId::ReplicationWillStop`]: the role of the rule may be unable to decrypt.
    ReplicationNeedsDecrypt {
        /// The bucket.
        bucket: String,
        /// The rule.
        rule: ReplicationRule,
        /// The key; none if it is created.
        key: Option<KeyArn>,
        /// The Region of the key.
        region: Region,
        /// Who may edit the key policy.
        owner: KeyOwner,
    },
    /// See [`WarningId::ReplicationUnreadable`].
    ReplicationUnreadable {
        /// The bucket.
        bucket: String,
        /// The failed read.
        failure: Failure,
    },
    /// See [`WarningId::DescribeKeyMissing`].
    DescribeKeyMissing {
        /// The key.
        key: KeyArn,
        /// What its policy decides.
        decision: Decision,
    },
    /// See [`WarningId::BucketKeyNeedsDecrypt`].
    BucketKeyNeedsDecrypt {
        /// The key.
        key: KeyArn,
        /// What its policy decides.
        decision: Decision,
    },
    /// See [`WarningId::KeyMaterialExpires`].
    KeyMaterialExpires {
        /// The key.
        key: KeyArn,
        /// When.
        expiry: Expiry,
    },
    /// See [`WarningId::KeyPolicyUnclear`]: whether CloudTrail can use the key is unknown.
    KeyPolicyUnclear {
        /// The key.
        key: KeyArn,
        /// What its policy decides.
        access: KeyAccess,
    },
    /// See [`WarningId::KeyPolicyUnclear`]: it is not a policy.
    KeyPolicyMalformed {
        /// The key.
        key: KeyArn,
        /// Why.
        error: MalformedPolicy,
    },
    /// See [`WarningId::KeyPolicyUnclear`]: KMS returned no policy.
    KeyPolicyMissing(KeyArn),
    /// See [`WarningId::KeyUnreadable`]: the key, as the trail or the configuration names it.
    KeyDenied {
        /// The key.
        key: String,
        /// The failed read.
        failure: Failure,
    },
    /// See [`WarningId::KeyUnreadable`]: a name that is not an ARN, and was not found.
    KeyNameUnresolved {
        /// The key, as the trail names it.
        key: String,
        /// Where it was read.
        region: Region,
    },
    /// See [`WarningId::KeyUnreadable`]: the key policy.
    KeyPolicyDenied {
        /// The key.
        key: KeyArn,
        /// The failed read; none for another account's key, whose policy KMS returns to that account only.
        failure: Option<Failure>,
    },
    /// See [`WarningId::KeyUnreadable`]: the key's tags.
    KeyTagsDenied {
        /// The key.
        key: KeyArn,
        /// The failed read.
        failure: Failure,
    },
    /// See [`WarningId::KeyUnreadable`]: whether the key rotates.
    KeyRotationDenied {
        /// The key.
        key: KeyArn,
        /// The failed read.
        failure: Failure,
    },
    /// See [`WarningId::KeyUnreadable`]: a state that trailseal does not know.
    KeyStateUnknown {
        /// The key.
        key: KeyArn,
        /// Its state.
        state: String,
    },
    /// See [`WarningId::KeyUnreadable`]: whether a key is a stray is unknown.
    StrayUnknown {
        /// The key.
        key: KeyArn,
        /// The failed read.
        failure: Failure,
        /// Whether a complete scan found no trail that uses it.
        unused: bool,
    },
    /// See [`WarningId::KeyUnreadable`]: whether these Regions contain strays is unknown.
    StraysUnknown {
        /// The Regions.
        regions: Vec<Region>,
        /// The failed read.
        failure: Failure,
    },
    /// See [`WarningId::KeyUnreadable`]: whether these trails use a key is unknown.
    KeyUseUnknown {
        /// The key.
        key: KeyArn,
        /// The trails.
        trails: UnreadTrails,
        /// The failed read.
        failure: Failure,
    },
    /// See [`WarningId::KeyUnreadable`]: whether this Region contains an unfinished key is unknown.
    UnfinishedKeyUnknown {
        /// The Region.
        region: Region,
        /// The failed read.
        failure: Failure,
    },
    /// See [`WarningId::ReaderNotRevoked`].
    ReaderNotRevoked {
        /// The key.
        key: KeyArn,
        /// The reader and the statement.
        reader: UnrevokedReader,
    },
    /// See [`WarningId::NoLoggingTrail`].
    /// Source: <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail.html>.
    NoLoggingTrail,
}

impl Warning {
    /// The stable ID.
    pub fn id(&self) -> WarningId {
        match self {
            Self::ReadersLockedOut { .. } | Self::BucketOwnerLockedOut { .. } => WarningId::ReadersLockedOut,
            Self::BucketPolicyDenied { .. }
            | Self::BucketPolicyForeign { .. }
            | Self::BucketPolicyMalformed { .. }
            | Self::BucketPolicyUnclear { .. } => WarningId::BucketPolicyUnreadable,
            Self::ReplicationWillStop { .. } | Self::ReplicationNeedsDecrypt { .. } => WarningId::ReplicationWillStop,
            Self::ReplicationUnreadable { .. } => WarningId::ReplicationUnreadable,
            Self::DescribeKeyMissing { .. } => WarningId::DescribeKeyMissing,
            Self::BucketKeyNeedsDecrypt { .. } => WarningId::BucketKeyNeedsDecrypt,
            Self::KeyMaterialExpires { .. } => WarningId::KeyMaterialExpires,
            Self::KeyPolicyUnclear { .. } | Self::KeyPolicyMalformed { .. } | Self::KeyPolicyMissing(_) => {
                WarningId::KeyPolicyUnclear
            }
            Self::KeyDenied { .. }
            | Self::KeyNameUnresolved { .. }
            | Self::KeyPolicyDenied { .. }
            | Self::KeyTagsDenied { .. }
            | Self::KeyRotationDenied { .. }
            | Self::KeyStateUnknown { .. }
            | Self::StrayUnknown { .. }
            | Self::StraysUnknown { .. }
            | Self::KeyUseUnknown { .. }
            | Self::UnfinishedKeyUnknown { .. } => WarningId::KeyUnreadable,
            Self::ReaderNotRevoked { .. } => WarningId::ReaderNotRevoked,
            Self::NoLoggingTrail => WarningId::NoLoggingTrail,
        }
    }

    /// The key, if it is unknown whether CloudTrail can use it.
    pub fn key_of_unknown_access(&self) -> Option<&str> {
        match self {
            Self::KeyPolicyUnclear { key, .. }
            | Self::KeyPolicyMalformed { key, .. }
            | Self::KeyPolicyMissing(key)
            | Self::KeyPolicyDenied { key, .. }
            | Self::KeyStateUnknown { key, .. } => Some(key.as_str()),
            Self::KeyDenied { key, .. } | Self::KeyNameUnresolved { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The failed read of a key that could not be evaluated, if a read failed.
    pub fn failed_key_read(&self) -> Option<&Failure> {
        match self {
            Self::KeyDenied { failure, .. } => Some(failure),
            Self::KeyPolicyDenied { failure, .. } => failure.as_ref(),
            _ => None,
        }
    }

    /// The key that could not be read, if the warning is about one.
    pub fn unreadable_key(&self) -> Option<&str> {
        match self {
            Self::KeyDenied { key, .. } | Self::KeyNameUnresolved { key, .. } => Some(key),
            Self::KeyPolicyDenied { key, .. }
            | Self::KeyTagsDenied { key, .. }
            | Self::KeyRotationDenied { key, .. }
            | Self::KeyStateUnknown { key, .. }
            | Self::StrayUnknown { key, .. } => Some(key.as_str()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::Document;

    #[test]
    fn a_warning_names_the_key_that_is_unknown() {
        let arn: KeyArn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".parse().unwrap();
        let (key, named) = (|| arn.clone(), "alias/logs".to_owned());
        let failure = || Failure::terminal("denied", "allow it");
        let error = Document::parse("[]").unwrap_err();
        let (policy_denied, region) =
            (|failure| Warning::KeyPolicyDenied { key: key(), failure }, arn.region().clone());
        // The warning; whether CloudTrail's access, and whether the key itself could not be read; the failed read.
        for (warning, access, unreadable, failed) in [
            (Warning::KeyPolicyMalformed { key: key(), error }, Some(arn.as_str()), None, None),
            (Warning::KeyPolicyMissing(key()), Some(arn.as_str()), None, None),
            (policy_denied(None), Some(arn.as_str()), Some(arn.as_str()), None),
            (policy_denied(Some(failure())), Some(arn.as_str()), Some(arn.as_str()), Some(failure())),
            (
                Warning::KeyStateUnknown { key: key(), state: "Melting".to_owned() },
                Some(arn.as_str()),
                Some(arn.as_str()),
                None,
            ),
            (
                Warning::KeyDenied { key: named.clone(), failure: failure() },
                Some(named.as_str()),
                Some(named.as_str()),
                Some(failure()),
            ),
            (
                Warning::KeyNameUnresolved { key: named.clone(), region },
                Some(named.as_str()),
                Some(named.as_str()),
                None,
            ),
            (Warning::KeyTagsDenied { key: key(), failure: failure() }, None, Some(arn.as_str()), None),
            (Warning::KeyRotationDenied { key: key(), failure: failure() }, None, Some(arn.as_str()), None),
            (Warning::StrayUnknown { key: key(), failure: failure(), unused: true }, None, Some(arn.as_str()), None),
            (Warning::NoLoggingTrail, None, None, None),
        ] {
            assert_eq!(warning.key_of_unknown_access(), access, "{warning:?}");
            assert_eq!(warning.unreadable_key(), unreadable, "{warning:?}");
            assert_eq!(warning.failed_key_read(), failed.as_ref(), "{warning:?}");
        }
    }
}
