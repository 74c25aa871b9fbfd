//! Which key encrypts the trails whose bucket is in a Region, and what that key needs first.

use std::cmp::Reverse;

use super::Planner;
use super::obstacle::{KeySource, Obstacle, UnusableKey};
use super::strays::candidate_warnings;
use super::types::{Adoption, KeyPlan, KeyStep, NewKey, PolicyChange, UnfinishedKey};
use crate::assess::{expiry_warning, may_be_trailseals, readable_policy, unrevoked_readers, unusable};
use crate::config::OWNER_TAG;
use crate::finding::{KeyOwner, Warning};
use crate::ids::{KeyArn, Region, TrailArn};
use crate::key_policy::KeyAdministrator;
use crate::observation::{Candidates, KeyMetadata, KeyObservation, KeyState, KeyUse, Reading, TaggedKey};

const DESCRIPTION: &str =
    "Encrypts the CloudTrail logs of this account; maintained by trailseal. Without this key, the logs cannot be read.";

impl Planner<'_> {
    /// The supplied key of the Region; else the key behind the alias; else an unfinished key that trailseal created;
    /// else a new key.
    pub(super) fn sealing_key(&self, region: &Region, trail: &TrailArn) -> Result<KeyPlan, Obstacle> {
        let Some(candidates) = self.facts.candidates.get(region) else {
            return Err(Obstacle::NotRead(trail.clone()));
        };
        let reading = candidates.named.as_ref().map_err(|failure| Obstacle::ReadFailed(failure.clone()))?;
        match (self.context.config.supplied_keys.get(region), reading) {
            (Some(supplied), Reading::Absent) => {
                Err(Obstacle::SuppliedKeyMissing { key: supplied.clone(), region: region.clone() })
            }
            // CloudTrail's refusal leaves the trail unchanged, so the key can be tried.
            (Some(supplied), Reading::Denied(failure)) => {
                let warning = Warning::KeyDenied { key: supplied.to_string(), failure: failure.clone() };
                Ok(KeyPlan { warnings: vec![warning], ..KeyPlan::unchanged(supplied, KeyOwner::Another) })
            }
            (Some(_), Reading::Known(key)) => self.unmaintained(key, KeySource::Supplied, KeyOwner::Another),
            (None, Reading::Denied(failure)) => Err(Obstacle::ReadFailed(failure.clone())),
            (None, Reading::Known(key)) => self.behind_alias(key),
            (None, Reading::Absent) => match (self.unfinished.get(region), &candidates.tagged) {
                (Some(unfinished), _) => self.finish_key(unfinished, candidates.created.as_ref()),
                // Without a code, AWS did not refuse the call: a malformed response may hide an unfinished key.
                (None, Err(failure)) if failure.is_transient() || failure.code.is_none() => {
                    Err(Obstacle::ReadFailed(failure.clone()))
                }
                (None, _) => match self.adoptable_key(candidates) {
                    Some(adoptable) => self.adopt(adoptable, candidates),
                    None => Ok(self.new_key(region, candidates)),
                },
            },
        }
    }

    /// Whether this is the supplied key of its Region, or the key behind the alias.
    pub(super) fn is_sealing_key(&self, key: &KeyArn) -> bool {
        let named = self.facts.candidates.get(key.region()).map(|candidates| &candidates.named);
        matches!(named, Some(Ok(Reading::Known(named))) if named.metadata.arn == *key)
    }

    fn behind_alias(&self, key: &KeyObservation) -> Result<KeyPlan, Obstacle> {
        let source = KeySource::Alias(self.context.config.key_alias.clone());
        match key.trailseal_tags() {
            None => self.unmaintained(key, source, KeyOwner::Another),
            Some(tags) if tags.exempt.is_some() => self.unmaintained(key, source, KeyOwner::Exempt),
            Some(_) => self.maintained(key, source, vec![]),
        }
    }

    /// A key that trailseal does not change: it is used as it is, or not at all.
    fn unmaintained(&self, key: &KeyObservation, source: KeySource, owner: KeyOwner) -> Result<KeyPlan, Obstacle> {
        let arn = &key.metadata.arn;
        let is_supplied = source == KeySource::Supplied;
        let policy = readable_policy(key);
        let repairable = matches!(key.metadata.state, KeyState::Disabled | KeyState::PendingDeletion);
        let incomplete = policy.as_ref().is_ok_and(|document| self.policy.extension(document).is_some());
        // Unreadable tags matter only if trailseal would repair the key.
        let tags_matter = may_be_trailseals(&key.metadata, self.context) && (repairable || incomplete);
        let unreadable_tags = key.tags.as_ref().err().filter(|_| tags_matter).cloned();
        let exempt = key.trailseal_tags().and_then(|tags| tags.exempt.clone()).filter(|_| owner == KeyOwner::Exempt);
        if let Some(unusable) = unusable_key(&key.metadata, &source) {
            let administrator = self.restorer(key);
            return Err(Obstacle::SealingKeyUnusable(UnusableKey {
                exempt,
                unreadable_tags,
                administrator,
                ..unusable
            }));
        }
        let mut warnings: Vec<Warning> =
            unreadable_tags.map(|failure| Warning::KeyTagsDenied { key: arn.clone(), failure }).into_iter().collect();
        warnings.extend(expiry_warning(&key.metadata));
        let policy = match policy {
            Ok(document) => {
                // The principal that supplied a key is responsible for its readers.
                if !is_supplied {
                    warnings.extend(unrevoked_readers(arn, document, &self.policy));
                }
                Some(document.clone())
            }
            Err(warning) => {
                warnings.push(warning);
                None
            }
        };
        Ok(KeyPlan { warnings, policy, settling: key.metadata.recent, ..KeyPlan::unchanged(arn, owner) })
    }

    /// A key that trailseal maintains, with the steps that it needs before and after `finish`.
    fn maintained(&self, key: &KeyObservation, source: KeySource, finish: Vec<KeyStep>) -> Result<KeyPlan, Obstacle> {
        let KeyMetadata { arn, state, recent, .. } = &key.metadata;
        let pending_deletion = *state == KeyState::PendingDeletion;
        let restorer = self.restorer(key);
        let restore = match state {
            KeyState::Disabled | KeyState::PendingDeletion if restorer != KeyAdministrator::NoPrincipal => {
                Some(KeyStep::Restore { pending_deletion, administrator: restorer })
            }
            _ => None,
        };
        // Every other defect remains after the key is enabled.
        let state = if restore.is_some() { KeyState::Usable } else { state.clone() };
        if let Some(unusable) = unusable_key(&KeyMetadata { state, ..key.metadata.clone() }, &source) {
            return Err(Obstacle::SealingKeyUnusable(UnusableKey { administrator: restorer, ..unusable }));
        }
        let mut steps: Vec<KeyStep> = restore.into_iter().chain(finish).collect();
        let mut warnings = Vec::new();
        let policy = match readable_policy(key) {
            Err(warning) => {
                warnings.push(warning);
                None
            }
            Ok(document) => {
                warnings.extend(unrevoked_readers(arn, document, &self.policy));
                let administrator = self.policy.administrator(document);
                match self.policy.extension(document) {
                    None => Some(document.clone()),
                    // It is used as it is, if CloudTrail can use it.
                    Some(_) if administrator == KeyAdministrator::NoPrincipal => Some(document.clone()),
                    Some(extension) if !extension.fits() => {
                        return Err(Obstacle::PolicyTooLong { key: arn.clone(), extension });
                    }
                    Some(extension) => {
                        let after = extension.document.clone();
                        let rejected = self.policy.rejected_statements(document);
                        let before = document.clone();
                        steps.push(KeyStep::Extend(PolicyChange { before, extension, rejected, administrator }));
                        Some(after)
                    }
                }
            }
        };
        let settling = *recent || !steps.is_empty();
        // The last step, because the policy allows it to the role, and a new or adopted key has the step already.
        if key.is_rotation_off() && !steps.contains(&KeyStep::EnableRotation) {
            steps.push(KeyStep::EnableRotation);
        }
        Ok(KeyPlan { steps, warnings, policy, settling, ..KeyPlan::unchanged(arn, KeyOwner::Trailseal) })
    }

    /// Who may enable a key.
    fn restorer(&self, key: &KeyObservation) -> KeyAdministrator {
        let pending_deletion = key.metadata.state == KeyState::PendingDeletion;
        readable_policy(key)
            .map_or(KeyAdministrator::Account, |document| self.policy.restorer(document, pending_deletion))
    }

    /// The unfinished key that this run, or the next one, adopts. Prefers a key in use, then the oldest. Only a key as
    /// trailseal creates them, without grants, and whose policy allows nothing that trailseal would not allow now, so
    /// that a tag alone confers nothing.
    pub(super) fn adoptable_key<'a>(&self, candidates: &'a Candidates) -> Option<&'a TaggedKey> {
        let is_adoptable = |tagged: &&TaggedKey| {
            let KeyObservation { metadata, .. } = &tagged.key;
            let is_usable = metadata.state == KeyState::Usable && unusable(metadata).is_empty();
            let is_as_created = metadata.origin.as_deref() == Some("AWS_KMS") && !metadata.multi_region;
            // Without its statement for the role, trailseal could not finish the key.
            let allows_nothing_else = || {
                readable_policy(&tagged.key)
                    .is_ok_and(|document| self.policy.covers(document) && self.policy.role_can_finish(document))
            };
            tagged.key.is_maintained()
                && tagged.aliases.is_empty()
                && is_usable
                && is_as_created
                && !tagged.has_grants
                && allows_nothing_else()
        };
        candidates.tagged.as_ref().ok()?.iter().filter(is_adoptable).max_by_key(|tagged| {
            let metadata = &tagged.key.metadata;
            let age = (Reverse(metadata.created.unwrap_or(i64::MAX)), Reverse(&metadata.arn));
            (tagged.usage == KeyUse::Used, age)
        })
    }

    fn adopt(&self, tagged: &TaggedKey, candidates: &Candidates) -> Result<KeyPlan, Obstacle> {
        let KeyMetadata { arn, recent, created, .. } = &tagged.key.metadata;
        let recent_keys = candidates.tagged.iter().flatten().filter(|it| it.key.metadata.recent).count();
        let created_at_if_only_recent = created.filter(|_| *recent && recent_keys == 1);
        let finish = vec![
            KeyStep::Adopt(Adoption { in_use: tagged.usage == KeyUse::Used, created_at_if_only_recent }),
            KeyStep::EnableRotation,
            KeyStep::CreateAlias(self.context.config.key_alias.clone()),
        ];
        let mut plan = self.maintained(&tagged.key, KeySource::Tag, finish)?;
        plan.warnings.extend(candidate_warnings(&candidates.tagged, arn.region(), Some(arn)));
        Ok(plan.with_index(candidates))
    }

    /// What a key of an earlier pass still needs.
    fn finish_key(&self, unfinished: &UnfinishedKey, created: Option<&KeyObservation>) -> Result<KeyPlan, Obstacle> {
        let alias = KeyStep::CreateAlias(self.context.config.key_alias.clone());
        let steps: Vec<KeyStep> = (!unfinished.has_alias).then_some(alias).into_iter().collect();
        let plan = match created {
            Some(key) => self.maintained(key, KeySource::Tag, steps)?,
            None => KeyPlan {
                steps,
                policy: Some(self.policy.document()),
                ..KeyPlan::unchanged(&unfinished.key, KeyOwner::Trailseal)
            },
        };
        Ok(KeyPlan { settling: true, ..plan })
    }

    fn new_key(&self, region: &Region, candidates: &Candidates) -> KeyPlan {
        let mut tags = self.context.config.key_tags.clone();
        tags.insert(OWNER_TAG.0.into(), OWNER_TAG.1.into());
        let new = NewKey { policy: self.policy.clone(), description: DESCRIPTION, tags };
        let plan = KeyPlan {
            key: None,
            steps: vec![
                KeyStep::Create(new),
                KeyStep::EnableRotation,
                KeyStep::CreateAlias(self.context.config.key_alias.clone()),
            ],
            warnings: candidate_warnings(&candidates.tagged, region, None),
            policy: Some(self.policy.document()),
            owner: KeyOwner::Trailseal,
            settling: true,
            indexed: Default::default(),
        };
        plan.with_index(candidates)
    }
}

impl KeyPlan {
    /// A key that needs nothing.
    fn unchanged(key: &KeyArn, owner: KeyOwner) -> Self {
        Self {
            key: Some(key.clone()),
            steps: vec![],
            warnings: vec![],
            policy: None,
            owner,
            settling: false,
            indexed: Default::default(),
        }
    }

    fn with_index(self, candidates: &Candidates) -> Self {
        let indexed = candidates.tagged.iter().flatten().map(|tagged| tagged.key.metadata.arn.clone()).collect();
        Self { indexed, ..self }
    }
}

/// Why CloudTrail cannot use this sealing key, whatever its policy allows.
fn unusable_key(key: &KeyMetadata, source: &KeySource) -> Option<UnusableKey> {
    let unknown_state = match &key.state {
        KeyState::Unknown(state) => Some(state.clone()),
        _ => None,
    };
    let findings = unusable(key);
    if findings.is_empty() && unknown_state.is_none() {
        return None;
    }
    Some(UnusableKey {
        key: key.arn.clone(),
        source: source.clone(),
        findings,
        unknown_state,
        administrator: KeyAdministrator::Account,
        exempt: None,
        unreadable_tags: None,
    })
}
