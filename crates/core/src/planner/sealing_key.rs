//! Which key seals the trails whose bucket is in a Region, and what it needs first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Planner;
use super::left_over::{left_over, perhaps_left_over};
use crate::config::OWNER_TAG;
use crate::finding::{FindingId, Warning, WarningId};
use crate::ids::{KeyArn, Region, shorten};
use crate::key::{Policy, not_revoked, untold_tags, unusable};
use crate::key_policy::MAX_BYTES;
use crate::observation::{
    Candidates, Class, Failure, InUse, KeyFacts, KeyMetadata, KeyState, Made, Reading, TaggedKey,
};
use crate::plan::{Adoption, KeyOwner, KeyPlan, KeyStep, NewKey, PolicyChange, restore_command};
use crate::stray::Stray;

impl Planner<'_> {
    /// The supplied key of that Region; else the key behind the alias; else an unfinished key of ours;
    /// else a new one.
    pub(super) fn sealing_key(&self, region: &Region) -> Result<KeyPlan, Failure> {
        let Some(Candidates { named, tagged, made }) = self.sealing.keys.get(region) else {
            return Err(Failure::transient(format!("the sealing key of `{region}` was not looked for")));
        };
        let reading = named.as_ref().map_err(Clone::clone)?;
        match (self.config.supplied_keys.get(region), reading) {
            (Some(supplied), Reading::Absent) => Err(Failure::terminal(
                format!("key `{supplied}`, supplied for `{region}`, does not exist"),
                "put an existing key into `TRAILSEAL_KEY_ARNS`",
            )),
            // CloudTrail's refusal leaves the trail as it was, so it may be tried.
            (Some(supplied), Reading::Denied(failure)) => Ok(unreadable(supplied, failure)),
            (Some(_), Reading::Known(key)) => self.anothers(key, region, "`TRAILSEAL_KEY_ARNS`"),
            (None, Reading::Denied(failure)) => Err(failure.clone()),
            (None, Reading::Known(key)) => self.behind_the_alias(key, region),
            (None, Reading::Absent) => match (made, self.unfinished(tagged.as_ref())?) {
                (Some(made), _) => self.made(made, region),
                (None, Some(unfinished)) => self.adopted(unfinished, tagged.as_ref()),
                (None, None) => Ok(self.new_key(region, tagged.as_ref())),
            },
        }
    }

    /// Whether that key is the supplied one of its Region, or the one behind the alias.
    pub(super) fn is_sealing_key(&self, key: &KeyArn) -> bool {
        let named = self.sealing.keys.get(key.region()).map(|candidates| &candidates.named);
        matches!(named, Some(Ok(Reading::Known(named))) if named.metadata.arn == *key)
    }

    /// A key that is not ours is used as it is or not at all.
    fn anothers(&self, key: &KeyFacts, region: &Region, named_by: &str) -> Result<KeyPlan, Failure> {
        let because = |failure: Failure| match untold_tags(key) {
            Some(Warning { detail, .. }) => Failure { message: format!("{}; {detail}", failure.message), ..failure },
            None => failure,
        };
        usable(&key.metadata, region, named_by).map_err(because)?;
        let (policy, more) = match Policy::of(key) {
            // Who supplied a key answers for whom its policy lets in.
            Policy::Known(_, document) if self.config.supplied_keys.contains_key(region) => (Some(document), vec![]),
            // One of ours whose tags were not read, since it lacks nothing, may name former readers.
            Policy::Known(_, document) => {
                let warnings = not_revoked(&key.metadata.arn, &document, &self.policy);
                (Some(document), warnings)
            }
            Policy::Unknown(why) => (None, vec![why]),
        };
        Ok(KeyPlan {
            key: Some(key.metadata.arn.clone()),
            steps: vec![],
            warnings: untold_tags(key).into_iter().chain(more).collect(),
            policy,
            owner: KeyOwner::Another,
            fresh: key.metadata.fresh,
        })
    }

    fn behind_the_alias(&self, key: &KeyFacts, region: &Region) -> Result<KeyPlan, Failure> {
        let named_by = format!("`{}`", self.config.key_alias);
        let Some(tags) = key.ours() else {
            let plan = self.anothers(key, region, &named_by)?;
            // Not looked at, since nothing of what trailseal grants is missing.
            let whole = key.tags.is_none() && plan.policy.is_some();
            return Ok(KeyPlan { owner: if whole { KeyOwner::Trailseal } else { plan.owner }, ..plan });
        };
        if let Some(value) = &tags.exempt {
            return usable(&key.metadata, region, &named_by)
                .and_then(|()| self.anothers(key, region, &named_by))
                .map(|plan| KeyPlan { owner: KeyOwner::Exempt, ..plan })
                .map_err(|failure| {
                    let tag = &self.config.exempt_tag;
                    let message = format!(
                        "{}; trailseal created it and leaves it alone, since it bears the tag `{tag}` with the value `{}`",
                        failure.message,
                        shorten(value, 256)
                    );
                    Failure { message, ..failure }
                        .with_remedy(|remedy| format!("take that tag off, so that trailseal mends it, or {remedy}"))
                });
        }
        self.kept(key, region, &named_by, vec![])
    }

    /// A key of ours, with the steps that it needs after `first`.
    fn kept(&self, key: &KeyFacts, region: &Region, named_by: &str, first: Vec<KeyStep>) -> Result<KeyPlan, Failure> {
        let KeyMetadata { arn, state, fresh, .. } = &key.metadata;
        let mut steps = Vec::new();
        let restored = match state {
            KeyState::Disabled => Some(KeyStep::Restore { deleting: false }),
            KeyState::PendingDeletion => Some(KeyStep::Restore { deleting: true }),
            _ => None,
        };
        // Whatever else is wrong with it stays so when it is enabled.
        let state = if restored.is_some() { KeyState::Usable } else { state.clone() };
        usable(&KeyMetadata { state, ..key.metadata.clone() }, region, named_by)?;
        steps.extend(restored);
        steps.extend(first);
        let mut warnings = Vec::new();
        let policy = match Policy::of(key) {
            Policy::Unknown(why) => {
                warnings.push(why);
                None
            }
            Policy::Known(text, document) => {
                warnings.extend(not_revoked(arn, &document, &self.policy));
                match self.policy.extension(&document) {
                    None => Some(document),
                    Some(extension) if !extension.fits() => return Err(too_long(arn, &extension.instruction())),
                    Some(extension) => {
                        let after = extension.document.clone();
                        let unacceptable =
                            self.policy.rejected_statements(&document).iter().map(ToString::to_string).collect();
                        steps.push(KeyStep::Extend(PolicyChange { before: text, extension, unacceptable }));
                        Some(after)
                    }
                }
            }
        };
        let fresh = *fresh || !steps.is_empty();
        Ok(KeyPlan { key: Some(arn.clone()), steps, warnings, policy, owner: KeyOwner::Trailseal, fresh })
    }

    /// The unfinished key to adopt: one that a trail uses before the oldest. Only a key as trailseal makes
    /// them, whose policy grants nothing beyond what trailseal would grant now and which nobody has a grant
    /// for, so that a tag alone confers nothing.
    fn unfinished<'a>(
        &self,
        tagged: Option<&'a Result<Vec<TaggedKey>, Failure>>,
    ) -> Result<Option<&'a TaggedKey>, Failure> {
        let Some(Ok(tagged)) = tagged else {
            return match tagged {
                Some(Err(failure)) if failure.class == Class::Transient => Err(failure.clone()),
                _ => Ok(None),
            };
        };
        let adoptable = tagged.iter().filter(|key| {
            let facts = &key.facts;
            let ours = facts.ours().is_some_and(|tags| tags.exempt.is_none());
            let works = facts.metadata.state == KeyState::Usable && unusable(&facts.metadata).is_empty();
            let only_ours = || match Policy::of(facts) {
                // Without its statement for the role it could not be finished.
                Policy::Known(_, document) => self.policy.covers(&document) && self.policy.role_can_finish(&document),
                Policy::Unknown(_) => false,
            };
            let as_made = facts.metadata.origin.as_deref() == Some("AWS_KMS") && !facts.metadata.multi_region;
            ours && key.aliases.is_empty() && works && as_made && !key.granted && only_ours()
        });
        Ok(adoptable.max_by_key(|key| {
            let metadata = &key.facts.metadata;
            (key.in_use == InUse::Yes, Reverse(metadata.created.unwrap_or(i64::MAX)), Reverse(&metadata.arn))
        }))
    }

    fn adopted(
        &self,
        unfinished: &TaggedKey,
        tagged: Option<&Result<Vec<TaggedKey>, Failure>>,
    ) -> Result<KeyPlan, Failure> {
        let KeyMetadata { arn, fresh, created, .. } = &unfinished.facts.metadata;
        let young = tagged.into_iter().flatten().flatten().filter(|key| key.facts.metadata.fresh).count();
        let created_alone = created.filter(|_| *fresh && young == 1);
        let adoption = Adoption { in_use: unfinished.in_use == InUse::Yes, created_alone };
        let finish = vec![
            KeyStep::Adopt(adoption),
            KeyStep::EnableRotation,
            KeyStep::CreateAlias(self.config.key_alias.clone()),
        ];
        let mut plan = self.kept(&unfinished.facts, arn.region(), "its tag", finish)?;
        plan.warnings.extend(perhaps_left_over(tagged, arn.region(), Some(arn)));
        Ok(plan)
    }

    /// A key that this run created, with what it still needs.
    fn made(&self, made: &Made, region: &Region) -> Result<KeyPlan, Failure> {
        let alias = (!made.aliased).then(|| KeyStep::CreateAlias(self.config.key_alias.clone()));
        if let Some(facts) = &made.facts {
            let plan = self.kept(facts, region, "its tag", alias.into_iter().collect())?;
            return Ok(KeyPlan { fresh: true, ..plan });
        }
        Ok(KeyPlan {
            key: Some(made.key.clone()),
            steps: alias.into_iter().collect(),
            warnings: vec![],
            policy: Some(self.policy.document()),
            owner: KeyOwner::Trailseal,
            fresh: true,
        })
    }

    fn new_key(&self, region: &Region, tagged: Option<&Result<Vec<TaggedKey>, Failure>>) -> KeyPlan {
        let mut tags = self.config.key_tags.clone();
        tags.insert(OWNER_TAG.0.into(), OWNER_TAG.1.into());
        let new = NewKey {
            policy: self.policy.clone(),
            description: "Encrypts the CloudTrail logs of this account; kept by trailseal. Deleting it makes them unreadable for good.".into(),
            tags,
        };
        KeyPlan {
            key: None,
            steps: vec![
                KeyStep::Create(new),
                KeyStep::EnableRotation,
                KeyStep::CreateAlias(self.config.key_alias.clone()),
            ],
            warnings: perhaps_left_over(tagged, region, None),
            policy: Some(self.policy.document()),
            owner: KeyOwner::Trailseal,
            fresh: true,
        }
    }

    /// The keys that the next run adopts, whatever became of this one.
    fn unfinished_arns(&self) -> impl Iterator<Item = &KeyArn> {
        self.sealing.keys.values().filter_map(|it| Some(&self.unfinished(it.tagged.as_ref()).ok()??.facts.metadata.arn))
    }

    /// Keys of ours that were found while one was looked for, and that nothing uses.
    pub(super) fn strays(&self, keys: &BTreeMap<Region, KeyPlan>) -> Vec<Stray> {
        let tagged = self.sealing.keys.values().filter_map(|it| it.tagged.as_ref()?.as_ref().ok()).flatten();
        let planned: Vec<&KeyArn> = keys.values().filter_map(|key| key.key.as_ref()).collect();
        let other = |key: &&TaggedKey| {
            let arn = &key.facts.metadata.arn;
            !planned.contains(&arn) && self.unfinished_arns().all(|next| next != arn)
        };
        left_over(tagged.filter(other))
    }
}

/// A supplied key that may not be read.
fn unreadable(key: &KeyArn, failure: &Failure) -> KeyPlan {
    let detail = format!("the supplied key `{key}` may not be read, so it was not judged: {}", failure.message);
    KeyPlan {
        key: Some(key.clone()),
        steps: vec![],
        warnings: vec![Warning::new(WarningId::KeyUnreadable, detail)],
        policy: None,
        owner: KeyOwner::Another,
        fresh: false,
    }
}

/// Whether CloudTrail can work with a key, whatever its policy says; else what to do about it.
fn usable(key: &KeyMetadata, region: &Region, named_by: &str) -> Result<(), Failure> {
    let arn = &key.arn;
    if let KeyState::Unknown(state) = &key.state {
        let message = format!(
            "the sealing key `{arn}` of `{region}`, named by {named_by}, is in state `{state}`, which is not known here"
        );
        return Err(Failure::terminal(message, "look at the key; a newer version of trailseal may know that state"));
    }
    let problems = unusable(key);
    let Some(first) = problems.first() else { return Ok(()) };
    let details: Vec<&str> = problems.iter().map(|problem| problem.detail.as_str()).collect();
    let remedy = match first.id {
        FindingId::KeyDisabled => format!("enable it: {}", restore_command(arn, false)),
        FindingId::KeyPendingDeletion => {
            format!("keep it: {}; without it every log that it encrypted is lost", restore_command(arn, true))
        }
        _ => format!("let {named_by} name a symmetric, customer-managed, enabled key in `{region}`"),
    };
    let message = format!("the sealing key of `{region}`, named by {named_by}, cannot be used: {}", details.join("; "));
    Err(Failure::terminal(message, remedy))
}

fn too_long(key: &KeyArn, adding: &str) -> Failure {
    Failure::terminal(
        format!("the policy of key `{key}` cannot gain what it lacks: it would be longer than KMS's {MAX_BYTES} bytes"),
        format!("take out of it what nobody needs any more; then {adding}"),
    )
}
