//! Strays: trailseal's keys that no trail uses.

use crate::failure::Failure;
use crate::finding::Warning;
use crate::ids::{KeyArn, Region};
use crate::observation::{KeyMetadata, KeyObservation, KeyState, KeyUse, TaggedKey};

/// A stray key: trailseal created it, it does not have the alias, and no trail uses it as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The key.
    pub key: KeyArn,
    /// How it became one.
    pub cause: StrayCause,
}

/// How a key became a stray.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrayCause {
    /// No trail uses it now. Older log files may need it.
    Unused,
    /// This run created it, and another key has the alias.
    AliasLost,
    /// This run created it and could not finish it. A later run may.
    Unfinished,
    /// This run created it, and whether it has the alias is unknown.
    AliasUnknown,
}

impl Stray {
    /// Whether the key is certainly a stray.
    pub fn is_certain(&self) -> bool {
        matches!(self.cause, StrayCause::Unused | StrayCause::AliasLost)
    }
}

/// The strays among these keys. A recent key may be another run's, about to be finished. A key with any alias belongs to
/// the principal that named it.
pub fn find_strays<'a>(tagged: impl IntoIterator<Item = &'a TaggedKey>) -> Vec<Stray> {
    let is_stray = |it: &&TaggedKey| is_unclaimed(it) && it.key.is_maintained() && it.usage == KeyUse::Unused;
    let strays = tagged.into_iter().filter(is_stray);
    strays.map(|it| Stray { key: it.key.metadata.arn.clone(), cause: StrayCause::Unused }).collect()
}

/// Whether a key is neither recent, nor pending deletion, nor named by an alias.
pub(crate) fn is_unclaimed(tagged: &TaggedKey) -> bool {
    let KeyMetadata { state, recent, .. } = &tagged.key.metadata;
    *state != KeyState::PendingDeletion && !recent && tagged.aliases.is_empty()
}

/// Why it is unknown whether a key is a stray, if it is unknown.
pub(crate) fn unknown_reason<'a>(key: &'a KeyObservation, usage: &'a KeyUse) -> Option<&'a Failure> {
    match (&key.tags, usage) {
        (_, KeyUse::Used) => None,
        (Err(failure), _) => Some(failure),
        (Ok(_), KeyUse::Unknown(failure)) if key.is_maintained() => Some(failure),
        _ => None,
    }
}

/// What is unknown about strays among the candidates of a Region, except for the adopted key.
pub(super) fn candidate_warnings(
    tagged: &Result<Vec<TaggedKey>, Failure>,
    region: &Region,
    adopted: Option<&KeyArn>,
) -> Vec<Warning> {
    let keys = match tagged {
        Err(failure) => {
            return vec![Warning::UnfinishedKeyUnknown { region: region.clone(), failure: failure.clone() }];
        }
        Ok(keys) => keys,
    };
    let unknown = keys.iter().filter_map(|TaggedKey { key, aliases, usage, has_grants: _ }| {
        let KeyMetadata { arn, state, .. } = &key.metadata;
        let failure = unknown_reason(key, usage)?.clone();
        let claimed = !aliases.is_empty() || *state == KeyState::PendingDeletion || adopted == Some(arn);
        (!claimed).then(|| Warning::StrayUnknown { key: arn.clone(), failure, unused: false })
    });
    unknown.collect()
}
