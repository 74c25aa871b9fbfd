//! Everything that was read from AWS: immutable values, without judgment. Policies arrive parsed. "Does not exist" and
//! "not allowed to read" are different facts everywhere. What the facts mean belongs in [`crate::assess`] and
//! [`crate::plan`].

mod bucket;
mod key;
mod trail;

pub use bucket::{BucketObservation, BucketOwner, ReplicationRule};
pub use key::{
    Candidates, Expiry, KeyManager, KeyMetadata, KeyObservation, KeyState, KeyTags, KeyUse, StrayScan, TaggedKey,
};
pub use trail::{
    KeptSettings, ListedTrails, MalformedTrail, RemediationFacts, SettingChange, TrailFacts, TrailObservation,
    TrailSettings, TrailStatus, UpdatedTrail,
};

use crate::failure::Failure;
use crate::iam::{Document, MalformedPolicy};

/// The result of a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading<T> {
    /// It exists.
    Known(T),
    /// It does not exist.
    Absent,
    /// It cannot be read: access was denied, or the response does not contain it.
    Denied(Failure),
}

/// A policy document, parsed where it was read.
pub type ParsedPolicy = Result<Document, MalformedPolicy>;
