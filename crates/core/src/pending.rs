//! The writes whose outcome is unknown, and the keys that are not finished. The next observation shows the outcome,
//! which becomes a new entry of the journal. Until then, `CreateKey`, `PutKeyPolicy` and `CancelKeyDeletion` are not sent
//! again, because a second one could have another effect. Other calls can be repeated.

use std::collections::{BTreeMap, BTreeSet};

use crate::assess::AssessedTrail;
use crate::failure::Failure;
use crate::ids::{KeyArn, Region, TrailArn};
use crate::journal::{AliasState, Contradiction, CreatedKey, Effect, Entry, Journal, StepResult};
use crate::observation::{Reading, RemediationFacts};
use crate::plan::{KeyStep, Plan, Step, StepName, Subject, TrailUpdate, UnfinishedKey};

/// What the earlier passes of a run left to resolve.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    pass: usize,
    /// The keys that an earlier pass created or adopted and that no other key has replaced.
    pub unfinished: BTreeMap<Region, UnfinishedKey>,
    aliases: BTreeMap<Region, (CreatedKey, Step)>,
    creates: BTreeMap<Region, UnconfirmedCreate>,
    updates: BTreeMap<TrailArn, (KeyArn, TrailUpdate)>,
}

/// A `CreateKey` without a response.
#[derive(Debug, Clone, PartialEq, Eq)]
struct UnconfirmedCreate {
    entry: Entry,
    failure: Failure,
    sent_at: i64,
    /// The keys that the tag index returned before.
    indexed: BTreeSet<KeyArn>,
}

impl Pending {
    /// What the run so far left to resolve.
    pub fn of(journal: &Journal) -> Self {
        let mut pending = Self { pass: journal.pass().saturating_add(1), ..Self::default() };
        for region in journal.key_regions() {
            let subject = Subject::Key(region.clone());
            let created_keys = journal.created_keys(region);
            if let Some(CreatedKey { key, alias, .. }) =
                created_keys.last().filter(|created| created.alias != AliasState::Lost)
            {
                let unfinished = UnfinishedKey { key: key.clone(), has_alias: *alias == AliasState::Created };
                pending.unfinished.insert(region.clone(), unfinished);
            }
            if let Some(created) = created_keys.into_iter().find(|created| created.alias == AliasState::Unknown)
                && let Some(entry) =
                    journal.entries_of(subject.clone()).rfind(|entry| entry.step.name() == StepName::CreateAlias)
            {
                pending.aliases.insert(region.clone(), (created, entry.step.clone()));
            }
            for entry in journal.steps(subject) {
                if let (Step::Key(KeyStep::Create(_)), StepResult::Unconfirmed { failure, sent_at }) =
                    (&entry.step, &entry.result)
                {
                    let plans = journal.plans().iter().filter_map(|plan| plan.keys.get(region));
                    let create = UnconfirmedCreate {
                        entry: entry.clone(),
                        failure: failure.clone(),
                        sent_at: *sent_at,
                        indexed: plans.flat_map(|plan| plan.indexed.iter().cloned()).collect(),
                    };
                    pending.creates.insert(region.clone(), create);
                }
            }
        }
        // A read that follows may be of the state before the update, so each later pass resolves it.
        for arn in journal.plans().last().iter().flat_map(|plan| plan.trails.keys()) {
            let last = journal.steps(Subject::Trail(arn.clone())).into_iter().next_back();
            if let Some(Entry { step: Step::Update(update), key: Some(key), result, .. }) = last
                && matches!(result, StepResult::Unconfirmed { .. })
            {
                pending.updates.insert(arn.clone(), (key.clone(), update.clone()));
            }
        }
        pending
    }

    /// The Regions in which it is unknown which key has the alias.
    pub fn alias_regions(&self) -> impl Iterator<Item = &Region> {
        self.aliases.keys()
    }

    /// Whether the tag index is expected to return another key than these: an unconfirmed `CreateKey` may have created
    /// one.
    pub fn expects_key(&self, region: &Region, indexed: &[KeyArn]) -> bool {
        let is_known = |create: &UnconfirmedCreate| indexed.iter().all(|key| create.indexed.contains(key));
        self.creates.get(region).is_some_and(is_known)
    }

    /// What the observation, and the plan made from it, show about the outcomes.
    pub fn resolve(
        &self,
        trails: &BTreeMap<TrailArn, AssessedTrail>,
        facts: &RemediationFacts,
        plan: &Plan,
    ) -> Vec<Entry> {
        let updates = self.updates.iter().filter_map(|(arn, (key, update))| {
            let AssessedTrail::Readable(now) = trails.get(arn)? else { return None };
            let has_key = now.settings.kms_key_id.as_deref() == Some(key.as_str());
            let changes = update.observed.kept.changes(&now.settings.kept);
            let effect = StepResult::Done(Effect::ReadBack(changes));
            let step = Step::Update(update.clone());
            has_key.then(|| self.resolution(Subject::Trail(arn.clone()), step, key, effect))
        });
        let aliases = self.aliases.iter().filter_map(|(region, (created, step))| {
            let Ok(Reading::Known(holder)) = &facts.candidates.get(region)?.named else { return None };
            let holder = holder.metadata.arn.clone();
            let result = if holder == created.key {
                StepResult::Done(Effect::ReadBack(vec![]))
            } else {
                StepResult::Contradicted(Contradiction::AliasTaken { holder, in_use: created.in_use })
            };
            Some(self.resolution(Subject::Key(region.clone()), step.clone(), &created.key, result))
        });
        // The only key that was created since the request was sent is what the unconfirmed request created.
        let creates = self.creates.iter().filter_map(|(region, create)| {
            let planned = plan.keys.get(region)?;
            let is_created_by_it = planned.steps.iter().any(|step| match step {
                KeyStep::Adopt(adoption) => {
                    adoption.created_at_if_only_recent.is_some_and(|created| created >= create.sent_at)
                }
                _ => false,
            });
            let key = planned.key.as_ref().filter(|_| is_created_by_it)?;
            let result = StepResult::CreatedKeyFound(create.failure.clone());
            Some(self.resolution(create.entry.subject.clone(), create.entry.step.clone(), key, result))
        });
        updates.chain(aliases).chain(creates).collect()
    }

    fn resolution(&self, subject: Subject, step: Step, key: &KeyArn, result: StepResult) -> Entry {
        Entry { pass: self.pass, subject, step, key: Some(key.clone()), result, resolves: true }
    }
}
