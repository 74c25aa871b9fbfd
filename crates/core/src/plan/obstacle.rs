//! Why a trail cannot be read or remediated.

use crate::access::{KeyAccess, LockedOutReader};
use crate::failure::{Class, Failure};
use crate::finding::{Finding, KeyOwner};
use crate::iam::{Reason, StatementId};
use crate::ids::{KeyAlias, KeyArn, Region, TrailArn};
use crate::key_policy::{Extension, KeyAdministrator};

/// Where a sealing key's name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// `KeyArns` (`TRAILSEAL_KEY_ARNS`).
    Supplied,
    /// The alias.
    Alias(KeyAlias),
    /// trailseal's tag.
    Tag,
}

/// Why a trail cannot be read or remediated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// A read failed.
    ReadFailed(Failure),
    /// A fact is missing that the plan needs.
    NotRead(TrailArn),
    /// Two reads of this key contradict each other.
    Inconsistent(KeyArn),
    /// The supplied key does not exist.
    SuppliedKeyMissing {
        /// The key.
        key: KeyArn,
        /// The Region that it was supplied for.
        region: Region,
    },
    /// The sealing key cannot be used.
    SealingKeyUnusable(UnusableKey),
    /// The policy of the sealing key does not allow CloudTrail to use it for the trail.
    SealingKeyDenied {
        /// The key.
        key: KeyArn,
        /// The trail.
        trail: TrailArn,
        /// What the policy decides.
        access: KeyAccess,
        /// Who may edit the policy.
        owner: KeyOwner,
        /// Who may change the policy, as far as it decides.
        administrator: KeyAdministrator,
        /// The missing statements, as JSON; none if none would help.
        statements: Option<String>,
    },
    /// The policy of the sealing key cannot gain what it lacks.
    PolicyTooLong {
        /// The key.
        key: KeyArn,
        /// What its policy lacks.
        extension: Extension,
    },
    /// The bucket policy denies CloudTrail to write with the sealing key.
    BucketDenied {
        /// The bucket.
        bucket: String,
        /// The trail.
        trail: TrailArn,
        /// The key; `None` for a key to create.
        key: Option<KeyArn>,
        /// A pattern of the keys that would do, for a key to create.
        placeholder: KeyArn,
        /// The call that is denied.
        call: &'static str,
        /// The statement that denies it.
        statement: StatementId,
        /// Whether the statement tests how files are encrypted; otherwise it denies today's files, too.
        tests_encryption: bool,
    },
    /// No statement of the bucket policy allows CloudTrail to deliver.
    BucketNotAllowed {
        /// The bucket.
        bucket: String,
        /// The trail.
        trail: TrailArn,
        /// The call that no statement allows, with what the nearest statement requires. `None`: the bucket has no
        /// policy.
        unmet: Option<(&'static str, Vec<Reason>)>,
        /// The statements that allow it, as JSON.
        statements: String,
    },
    /// The key would lock out the account that owns the bucket, and `ReadersLockedOut` is `hold`.
    BucketOwnerHeld {
        /// The bucket.
        bucket: String,
        /// The trail.
        trail: TrailArn,
        /// The key; none if it would be created.
        key: Option<KeyArn>,
        /// The key's Region.
        region: Region,
        /// Who may edit the key policy.
        owner: KeyOwner,
    },
    /// Readers would be locked out, and `ReadersLockedOut` is `hold`.
    ReadersHeld {
        /// The bucket.
        bucket: String,
        /// The trail.
        trail: TrailArn,
        /// The key; `None` for a key to create in the Region of the bucket.
        key: Option<KeyArn>,
        /// The Region of the bucket.
        region: Region,
        /// The readers.
        readers: Vec<LockedOutReader>,
        /// Who may edit the key policy.
        owner: KeyOwner,
    },
}

/// A sealing key that CloudTrail cannot use, whatever its policy allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableKey {
    /// The key.
    pub key: KeyArn,
    /// Where its name comes from.
    pub source: KeySource,
    /// What is wrong with it; empty if its state is unknown.
    pub findings: Vec<Finding>,
    /// Who may enable it.
    pub administrator: KeyAdministrator,
    /// Its state, if trailseal does not know it.
    pub unknown_state: Option<String>,
    /// The value of its exempt tag, if trailseal leaves the key alone because of it.
    pub exempt: Option<String>,
    /// Why its tags cannot be read, if they would make a difference.
    pub unreadable_tags: Option<Failure>,
}

impl Obstacle {
    /// Whether a retry can help.
    pub fn class(&self) -> Class {
        match self {
            Self::ReadFailed(failure) => failure.class,
            Self::NotRead(_) | Self::Inconsistent(_) => Class::Transient,
            _ => Class::Terminal,
        }
    }
}

impl From<Failure> for Obstacle {
    fn from(failure: Failure) -> Self {
        Self::ReadFailed(failure)
    }
}
