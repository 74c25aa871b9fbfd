//! Keys of ours that earlier runs left over, or may have.

use std::collections::BTreeMap;

use crate::finding::{Warning, WarningId};
use crate::ids::{KeyArn, Region};
use crate::observation::{Class, Failure, InUse, KeyFacts, KeyMetadata, KeyState, LeftOver, TaggedKey};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::stray::Stray;

/// Keys of ours that nothing uses. A young one may be another run's, about to be finished; one with any
/// alias is somebody's.
pub fn left_over<'a>(tagged: impl IntoIterator<Item = &'a TaggedKey>) -> Vec<Stray> {
    let ours = |key: &TaggedKey| key.facts.ours().is_some_and(|tags| tags.exempt.is_none());
    let unused = tagged.into_iter().filter(|key| is_nobodys(key) && ours(key) && key.in_use == InUse::No);
    unused.map(|key| Stray::unused(&key.facts.metadata.arn)).collect()
}

/// Whether a key is neither young, nor being deleted, nor somebody's by its alias.
fn is_nobodys(key: &TaggedKey) -> bool {
    let KeyMetadata { state, fresh, .. } = &key.facts.metadata;
    *state != KeyState::PendingDeletion && !fresh && key.aliases.is_empty()
}

/// Why it cannot be told whether a key is left over, if that is so.
fn not_told<'a>(key: &'a KeyFacts, in_use: &'a InUse) -> Option<&'a Failure> {
    match (&key.tags, in_use) {
        (_, InUse::Yes) => None,
        (Some(Err(failure)), _) => Some(failure),
        (Some(Ok(tags)), InUse::Unknown(failure)) if tags.ours && tags.exempt.is_none() => Some(failure),
        _ => None,
    }
}

fn unknown(what: &str, Failure { message, remedy, .. }: &Failure) -> Warning {
    let remedy = remedy.as_deref().unwrap_or_default();
    Warning::new(WarningId::KeyUnreadable, format!("{what} is not known: {message}. {remedy}"))
}

/// What a sweep cannot tell of keys that may be left over. Nothing of those that it puts to use or tells of
/// under a trail, nor of what passes: the next sweep looks again.
pub fn doubts(found: &LeftOver, plan: &Plan, progress: &Progress) -> Vec<Warning> {
    let told = |key: &KeyArn| {
        let mut under_trails = plan.trails.values().flat_map(|trail| &trail.warnings);
        under_trails.any(|it| it.id == WarningId::KeyUnreadable && it.detail.contains(key.as_str()))
    };
    let in_use = |key: &KeyArn| {
        plan.keys.values().any(|planned| planned.key.as_ref() == Some(key)) || !progress.made_no(key.as_str())
    };
    let lasts = |failure: &Failure| failure.class == Class::Terminal;
    // A trail that cannot be read is told of in any case, so that what follows from it is, too.
    let seen = found.keys.iter().filter(|key| is_nobodys(key)).filter_map(|key| {
        let failure = not_told(&key.facts, &key.in_use)?;
        Some((&key.facts.metadata.arn, failure))
    });
    let unread = found.unread.iter().filter(|(_, failure)| lasts(failure)).map(|(key, failure)| (key, failure));
    let keys = seen.chain(unread).filter(|(key, _)| !told(key) && !in_use(key)).map(|(key, failure)| {
        let what = format!(
            "no trail that could be read uses key `{key}`, which the tag index says is trailseal's, but do not delete it yet: whether it is left over"
        );
        unknown(&what, failure)
    });
    let mut by_cause: BTreeMap<_, (Vec<String>, &Failure)> = BTreeMap::new();
    for (region, failure) in found.regions.iter().filter(|(_, failure)| lasts(failure)) {
        let (regions, _) = by_cause.entry((&failure.code, &failure.remedy)).or_insert_with(|| (vec![], failure));
        regions.push(format!("`{region}`"));
    }
    let regions = by_cause.values().map(|(regions, failure)| {
        unknown(&format!("whether keys that trailseal created are left over in {}", regions.join(", ")), failure)
    });
    keys.chain(regions).collect()
}

/// What cannot be told of keys that earlier runs may have left over: none of ours is to stay unnoticed.
pub(super) fn perhaps_left_over(
    tagged: Option<&Result<Vec<TaggedKey>, Failure>>,
    region: &Region,
    adopted: Option<&KeyArn>,
) -> Vec<Warning> {
    let keys = match tagged {
        None => return vec![],
        Some(Err(failure)) => {
            return vec![unknown(&format!("whether an earlier run left an unfinished key in `{region}`"), failure)];
        }
        Some(Ok(keys)) => keys,
    };
    let perhaps = keys.iter().filter_map(|TaggedKey { facts, aliases, granted: _, in_use }| {
        let KeyMetadata { arn, state, .. } = &facts.metadata;
        let failure = not_told(facts, in_use)?;
        let theirs = !aliases.is_empty() || *state == KeyState::PendingDeletion || adopted == Some(arn);
        let what = format!("whether key `{arn}`, which the tag index says is trailseal's, is left over");
        (!theirs).then(|| unknown(&what, failure))
    });
    perhaps.collect()
}
