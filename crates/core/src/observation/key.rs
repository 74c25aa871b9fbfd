//! KMS keys: what was read of a key, of the candidates for a sealing key, and by the scan for strays.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::ids::{KeyArn, Region};
use crate::observation::{ParsedPolicy, Reading};

/// Who manages a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyManager {
    /// The customer.
    Customer,
    /// AWS. The policy cannot be changed, so CloudTrail cannot use the key.
    Aws,
}

/// A key's state, as far as it makes a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// `Enabled`, or `Updating`, in which a key can be used too.
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>.
    Usable,
    /// `Disabled`.
    Disabled,
    /// `PendingDeletion` or `PendingReplicaDeletion`.
    PendingDeletion,
    /// `Unavailable`, `PendingImport` or `Creating`, in which a key cannot be used.
    Unavailable(String),
    /// A state that trailseal does not know.
    Unknown(String),
}

/// A key as `DescribeKey` returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMetadata {
    /// The key's ARN.
    pub arn: KeyArn,
    /// Who manages it.
    pub manager: KeyManager,
    /// Its spec; CloudTrail requires `SYMMETRIC_DEFAULT`.
    pub spec: Option<String>,
    /// Its usage; CloudTrail requires `ENCRYPT_DECRYPT`.
    pub usage: Option<String>,
    /// The source of its key material; `AWS_KMS` if KMS generated it.
    pub origin: Option<String>,
    /// The custom key store that holds its key material, if one does.
    pub key_store: Option<String>,
    /// When its imported key material expires, if it does.
    pub expiry: Option<Expiry>,
    /// Whether it is a multi-Region key.
    pub multi_region: bool,
    /// Whether it is the replica of a multi-Region key, which rotates with its primary key.
    pub replica: bool,
    /// Its state.
    pub state: KeyState,
    /// When it was created, in seconds since 1970.
    pub created: Option<i64>,
    /// Whether it was created so recently that parts of AWS may not know it yet.
    pub recent: bool,
}

/// When imported key material expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The time, such as `2027-01-31T09:30:00Z`.
    pub at: String,
    /// The days that are left, rounded down.
    pub days_left: i64,
}

/// A key, its policy and its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyObservation {
    /// The key.
    pub metadata: KeyMetadata,
    /// Its policy; `None` for another account's key, whose policy KMS returns to that account only.
    pub policy: Option<Reading<ParsedPolicy>>,
    /// Its tags, or why they cannot be read. Not read, and none here, for a supplied key and for another account's key.
    pub tags: Result<KeyTags, Failure>,
    /// Whether its yearly rotation is on, or why that cannot be read; `None` if it was not read.
    pub rotation: Option<Result<bool, Failure>>,
}

impl KeyObservation {
    /// The tags, if they mark the key as trailseal's key. Unreadable tags do not.
    pub fn trailseal_tags(&self) -> Option<&KeyTags> {
        self.tags.as_ref().ok().filter(|tags| tags.managed_by_trailseal)
    }

    /// Whether trailseal created the key and no exempt tag forbids changes.
    pub fn is_maintained(&self) -> bool {
        self.trailseal_tags().is_some_and(|tags| tags.exempt.is_none())
    }

    /// Whether trailseal maintains the key's rotation. KMS rotates a symmetric key whose material it generated; a key that
    /// is pending deletion gets its rotation back when the deletion is canceled.
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html>.
    pub fn has_maintained_rotation(&self) -> bool {
        let KeyMetadata { origin, spec, replica, state, .. } = &self.metadata;
        self.is_maintained()
            && origin.as_deref() == Some("AWS_KMS")
            && spec.as_deref() == Some("SYMMETRIC_DEFAULT")
            && !replica
            && matches!(state, KeyState::Usable | KeyState::Disabled)
    }

    /// Whether trailseal turns the key's rotation on.
    pub fn is_rotation_off(&self) -> bool {
        self.rotation == Some(Ok(false)) && self.has_maintained_rotation()
    }
}

/// What a key's tags mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyTags {
    /// Whether trailseal created it.
    pub managed_by_trailseal: bool,
    /// The value of the exempt tag, if it has one.
    pub exempt: Option<String>,
}

/// The candidates for the sealing key of one Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// The supplied key, or the key behind the alias.
    pub named: Result<Reading<KeyObservation>, Failure>,
    /// The keys with trailseal's tag; read only if no key is supplied, none is behind the alias and this run created none.
    pub tagged: Result<Vec<TaggedKey>, Failure>,
    /// The key that an earlier pass of this run created or adopted, if KMS returns it already.
    pub created: Option<KeyObservation>,
}

/// A key with trailseal's tag, as the tag index returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedKey {
    /// The key, with its current tags.
    pub key: KeyObservation,
    /// Its aliases.
    pub aliases: Vec<String>,
    /// Whether it has grants, which let principals use it that its policy does not name. Read only for a key without an
    /// alias, which may be adopted.
    pub has_grants: bool,
    /// Whether a trail uses it.
    pub usage: KeyUse,
}

/// Whether a trail uses a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyUse {
    /// At least one does.
    Used,
    /// None that this account can see.
    Unused,
    /// Not every trail could be read.
    Unknown(Failure),
}

/// The keys with trailseal's tag that no readable trail uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StrayScan {
    /// The keys.
    pub keys: Vec<TaggedKey>,
    /// The keys that could not be read.
    pub unreadable_keys: Vec<(KeyArn, Failure)>,
    /// The Regions that could not be scanned.
    pub unreadable_regions: BTreeMap<Region, Failure>,
}

impl StrayScan {
    /// Adds the result of another scan.
    pub fn merge(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.unreadable_keys.extend(other.unreadable_keys);
        self.unreadable_regions.extend(other.unreadable_regions);
    }
}
