//! Keys.

use std::collections::BTreeMap;

use crate::ids::{KeyArn, Region};
use crate::observation::{BucketFacts, Failure, Reading};

/// Who manages a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyManager {
    /// The customer.
    Customer,
    /// AWS: its policy cannot be changed, so CloudTrail cannot use it.
    Aws,
}

/// A key's state, as far as it makes a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// `Enabled`, or `Updating`, in which a key works too.
    /// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html>.
    Usable,
    /// `Disabled`.
    Disabled,
    /// `PendingDeletion` or `PendingReplicaDeletion`.
    PendingDeletion,
    /// `Unavailable`, `PendingImport` or `Creating`, in which a key does not work.
    Unavailable(String),
    /// One that is not known here: nobody can say whether the key works.
    Unknown(String),
}

/// A key as `DescribeKey` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMetadata {
    /// The key's ARN.
    pub arn: KeyArn,
    /// Who manages it.
    pub manager: KeyManager,
    /// Its spec; `SYMMETRIC_DEFAULT` is the one that works.
    pub spec: Option<String>,
    /// Its usage; `ENCRYPT_DECRYPT` is the one that works.
    pub usage: Option<String>,
    /// Where its material comes from; `AWS_KMS` where KMS made it.
    pub origin: Option<String>,
    /// Whether it is a multi-Region key.
    pub multi_region: bool,
    /// Its state.
    pub state: KeyState,
    /// When it was created, in seconds since 1970.
    pub created: Option<i64>,
    /// Whether it is so young that parts of AWS may not know it yet.
    pub fresh: bool,
}

/// A key and its policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// The key.
    pub metadata: KeyMetadata,
    /// The text of its policy.
    pub policy: Reading<String>,
    /// What its tags say; read only where something hangs on it.
    pub tags: Option<Result<KeyTags, Failure>>,
}

impl KeyFacts {
    /// What its tags say, if it is ours. Tags that were not, or could not be read do not make it ours.
    pub fn ours(&self) -> Option<&KeyTags> {
        self.tags.as_ref()?.as_ref().ok().filter(|tags| tags.ours)
    }
}

/// What a key's tags say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyTags {
    /// Whether trailseal created it.
    pub ours: bool,
    /// The value of the exempt tag, if it has it.
    pub exempt: Option<String>,
}

/// The candidates for the sealing key of one Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// The supplied key, or the one behind the alias.
    pub named: Result<Reading<KeyFacts>, Failure>,
    /// Every key there with our tag; looked for only where nothing is supplied and nothing behind the
    /// alias.
    pub tagged: Option<Result<Vec<TaggedKey>, Failure>>,
    /// The key that an earlier pass of this very run created.
    pub made: Option<Made>,
}

/// A key that the tag index says is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedKey {
    /// The key, with the tags that it has now.
    pub facts: KeyFacts,
    /// Its aliases.
    pub aliases: Vec<String>,
    /// Whether grants let somebody in whom its policy does not name. Read only where nobody has named it
    /// yet, so that it may be adopted.
    pub granted: bool,
    /// Whether a trail uses it.
    pub in_use: InUse,
}

/// Whether a trail uses a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InUse {
    /// One does.
    Yes,
    /// None that this account can see.
    No,
    /// Not every trail could be looked at.
    Unknown(Failure),
}

/// What came of looking for keys of ours that nothing uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOver {
    /// Those with our tag that no trail names that could be looked at.
    pub keys: Vec<TaggedKey>,
    /// Those that could not be looked at.
    pub unread: Vec<(KeyArn, Failure)>,
    /// The Regions where none could be looked for.
    pub regions: Vec<(Region, Failure)>,
}

impl LeftOver {
    /// Both together.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.keys.extend(more.keys);
        self.unread.extend(more.unread);
        self.regions.extend(more.regions);
        self
    }
}

/// A key that this run created. KMS may not show its alias yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The key.
    pub key: KeyArn,
    /// Whether it certainly has the alias.
    pub aliased: bool,
    /// The key as KMS shows it, if it does already.
    pub facts: Option<KeyFacts>,
}

/// What giving keys to trails hangs on, beyond the single trail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealingFacts {
    /// The candidates in each Region that was looked at.
    pub keys: BTreeMap<Region, Candidates>,
    /// Each bucket that was looked at, by name.
    pub buckets: BTreeMap<String, Result<BucketFacts, Failure>>,
}
