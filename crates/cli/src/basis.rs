//! What a plan rests on, as fingerprints, so that a saved plan is applied only to the state that it was made for.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use trailseal::reconcile::AssessedTrails;
use trailseal_core::assess::{AssessedTrail, Assessment, Verdict};
use trailseal_core::config::Config;
use trailseal_core::ids::TrailArn;
use trailseal_core::observation::{
    Candidates, KeptSettings, KeyObservation, Reading, RemediationFacts, TaggedKey, TrailSettings,
};

/// A fingerprint of each thing that was read, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Basis(BTreeMap<String, String>);

impl Basis {
    pub(crate) fn of(config: &Config, trails: &AssessedTrails, facts: &RemediationFacts) -> Self {
        let RemediationFacts { exempt_tags, bucket_regions, candidates, buckets } = facts;
        let settings = [("the settings".to_owned(), fingerprint(config))].into_iter();
        let trails = trails.iter().map(|(arn, trail)| {
            // Warnings, such as the days until key material expires, change no step.
            let state = match trail {
                AssessedTrail::Readable(assessment) => {
                    let Assessment { settings, logging, findings, warnings: _, verdict } = &**assessment;
                    fingerprint(&(settings, logging, findings, verdict))
                }
                other => fingerprint(other),
            };
            (format!("trail `{arn}` or its key"), state)
        });
        let tags = exempt_tags.iter().map(|(arn, tag)| (format!("the exempt tag of trail `{arn}`"), fingerprint(tag)));
        let regions =
            bucket_regions.iter().map(|(arn, region)| (format!("the bucket of trail `{arn}`"), fingerprint(region)));
        let keys = candidates
            .iter()
            .map(|(region, keys)| (format!("the keys in `{region}`"), fingerprint(&without_volatile_fields(keys))));
        let buckets = buckets
            .iter()
            .map(|(name, bucket)| (format!("the policy or the replication of bucket `{name}`"), fingerprint(bucket)));
        Self(settings.chain(trails).chain(tags).chain(regions).chain(keys).chain(buckets).collect())
    }

    /// What is different or new in `now`, by name. If nothing differs, what is missing. A difference can itself cause
    /// missing reads.
    pub(crate) fn changes<'a>(&'a self, now: &'a Self) -> Vec<&'a str> {
        let different = now.0.iter().filter(|(name, state)| self.0.get(*name) != Some(state));
        let gone = self.0.iter().filter(|(name, _)| !now.0.contains_key(*name));
        let names = |items: &mut dyn Iterator<Item = (&'a String, &'a String)>| -> Vec<&'a str> {
            items.map(|(name, _)| name.as_str()).collect()
        };
        let different = names(&mut { different });
        if different.is_empty() { names(&mut { gone }) } else { different }
    }
}

/// What was approved besides the keys, which the run itself changes.
pub(crate) struct Approved {
    trails: BTreeMap<TrailArn, KeptSettings>,
    facts: RemediationFacts,
}

impl Approved {
    pub(crate) fn of(trails: &AssessedTrails, facts: &RemediationFacts) -> Self {
        Self {
            trails: changed_trails(trails).map(|it| (it.arn.clone(), it.kept.clone())).collect(),
            facts: facts.clone(),
        }
    }

    /// Whether a later pass changes only these trails, as they were, with keys in the same Regions.
    pub(crate) fn includes(&self, trails: &AssessedTrails, facts: &RemediationFacts) -> bool {
        let RemediationFacts { exempt_tags: _, bucket_regions, candidates, buckets } = facts;
        changed_trails(trails).all(|trail| self.trails.get(&trail.arn) == Some(&trail.kept))
            && candidates.keys().all(|region| self.facts.candidates.contains_key(region))
            && bucket_regions.iter().all(|(trail, region)| self.facts.bucket_regions.get(trail) == Some(region))
            && buckets.iter().all(|(name, bucket)| self.facts.buckets.get(name) == Some(bucket))
    }
}

/// The trails that a pass may change.
fn changed_trails(trails: &AssessedTrails) -> impl Iterator<Item = &TrailSettings> {
    trails.values().filter_map(|trail| match trail {
        AssessedTrail::Readable(assessment) if matches!(assessment.verdict, Verdict::Remediate { .. }) => {
            Some(&assessment.settings)
        }
        _ => None,
    })
}

/// The candidates without what changes by itself: a key is recent for some minutes.
fn without_volatile_fields(candidates: &Candidates) -> Candidates {
    let mut candidates = candidates.clone();
    let Candidates { named, tagged, created } = &mut candidates;
    let clear = |key: &mut KeyObservation| {
        key.metadata.recent = false;
        key.metadata.expiry = None;
    };
    if let Ok(Reading::Known(key)) = named {
        clear(key);
    }
    tagged.iter_mut().flatten().for_each(|TaggedKey { key, .. }| clear(key));
    created.iter_mut().for_each(clear);
    candidates
}

fn fingerprint(state: &impl Debug) -> String {
    let text = format!("{state:?}");
    // Each failed call has a request ID of its own.
    let mut parts = text.split("request_id: Some(\"");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once('"').map_or(part, |(_, after)| after));
    let stable = rest.fold(first, |text, part| text + part);
    Sha256::digest(stable).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_named_if_nothing_else_changed() {
        let basis =
            |items: &[(&str, &str)]| Basis(items.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        let before = basis(&[("same", "1"), ("other", "1"), ("gone", "1")]);
        let after = basis(&[("same", "1"), ("other", "2"), ("new", "1")]);
        assert_eq!(before.changes(&after), ["new", "other"]);
        assert_eq!(before.changes(&basis(&[("same", "1"), ("other", "1")])), ["gone"]);
        assert_eq!(before.changes(&before), Vec::<&str>::new());
    }

    #[test]
    fn a_request_id_is_no_part_of_a_fingerprint() {
        let state = |id: &str| format!("Failure {{ code: 1, request_id: Some({id:?}), remedy: None }}");
        struct Text(String);
        impl Debug for Text {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        assert_eq!(fingerprint(&Text(state("a"))), fingerprint(&Text(state("b"))));
        assert_ne!(fingerprint(&Text(state("a"))), fingerprint(&Text(state("a") + "x")));
    }
}
