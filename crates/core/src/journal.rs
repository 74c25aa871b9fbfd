//! What became of each step: an append-only record across the passes of a run. Nothing in it is edited. A write whose
//! outcome is unknown gets a second entry when a later observation shows the outcome ([`crate::pending`]).

mod entry;

use std::collections::BTreeMap;

pub use entry::{Contradiction, Effect, Entry, StepResult, StepStatus};

use crate::failure::Class;
use crate::ids::{KeyArn, Region, TrailArn};
use crate::plan::strays::{Stray, StrayCause};
use crate::plan::{Disposition, KeyPlan, KeyStep, Obstacle, Plan, Step, StepName, Subject, TrailPlan};

/// A key created or adopted by this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedKey {
    /// The key.
    pub key: KeyArn,
    /// Whether it has the alias.
    pub alias: AliasState,
    /// Whether a trail used it before, so that it is no stray, whichever key has the alias.
    pub in_use: bool,
}

/// Whether a key that this run created or adopted has the alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AliasState {
    /// It has the alias.
    Created,
    /// No key has it as far as is known.
    NotCreated,
    /// Another key has it.
    Lost,
    /// There was no clear response, or the alias existed already.
    Unknown,
}

/// The record of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    plans: Vec<Plan>,
    entries: Vec<Entry>,
    abandoned: BTreeMap<TrailArn, Contradiction>,
}

impl Journal {
    /// Records the plan of a new pass.
    pub fn begin_pass(&mut self, plan: Plan) {
        self.plans.push(plan);
    }

    /// The number of the current pass, counted from 1.
    pub fn pass(&self) -> usize {
        self.plans.len()
    }

    /// The plans, the earliest first.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// Records what became of steps.
    pub fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries);
    }

    /// Records that no step of the current plan is performed: dry-run mode.
    pub fn record_planned(&mut self) {
        let Some(plan) = self.plans.last() else { return };
        let not_performed =
            |(subject, step, key)| Entry::new(self.pass(), subject, step, key, StepResult::NotPerformed);
        let entries: Vec<Entry> = plan.steps().map(not_performed).collect();
        self.entries.extend(entries);
    }

    /// Ends a run whose last pass was contradicted: records the steps that were not performed, and why.
    pub fn abandon(&mut self, contradictions: BTreeMap<TrailArn, Contradiction>) {
        let Some(plan) = self.plans.last() else { return };
        let is_contradicted = |subject: &Subject| match subject {
            Subject::Trail(trail) => contradictions.contains_key(trail),
            Subject::Key(region) => plan.trails_of(region).any(|(trail, _)| contradictions.contains_key(trail)),
        };
        let is_recorded = |subject: &Subject, step: &Step| {
            self.entries_of(subject.clone()).any(|entry| entry.step.name() == step.name())
        };
        let rest = plan.steps().filter(|(subject, step, _)| is_contradicted(subject) && !is_recorded(subject, step));
        let not_performed =
            |(subject, step, key)| Entry::new(self.pass(), subject, step, key, StepResult::NotPerformed);
        let entries: Vec<Entry> = rest.map(not_performed).collect();
        self.entries.extend(entries);
        self.abandoned = contradictions;
    }

    /// The plan that a trail was in last, with the number of its pass.
    pub fn last_plan(&self, trail: &TrailArn) -> Option<(usize, &TrailPlan)> {
        let plans = self.plans.iter().enumerate().rev();
        plans.filter_map(|(index, plan)| Some((index.saturating_add(1), plan.trails.get(trail)?))).next()
    }

    /// The last plan of every trail, in the order of their ARNs.
    pub fn last_plans(&self) -> BTreeMap<&TrailArn, &TrailPlan> {
        self.plans.iter().flat_map(|plan| &plan.trails).collect()
    }

    /// The plan that a trail was in first, which contains the reason for whatever was done.
    pub fn first_plan(&self, trail: &TrailArn) -> Option<&TrailPlan> {
        self.plans.iter().find_map(|plan| plan.trails.get(trail))
    }

    /// The Region of a trail's sealing key, in the last plan that assigns one.
    pub fn sealing_region(&self, trail: &TrailArn) -> Option<&Region> {
        self.plans.iter().rev().find_map(|plan| plan.trails.get(trail)?.sealing_region.as_ref())
    }

    /// The last plan for the sealing key of a Region.
    pub fn key_plan(&self, region: &Region) -> Option<&KeyPlan> {
        self.plans.iter().rev().find_map(|plan| plan.keys.get(region))
    }

    /// The trail under which reports list the steps of a key.
    pub fn reporting_trail(&self, region: &Region) -> Option<&TrailArn> {
        self.plans.iter().find_map(|plan| plan.trails_of(region).next()).map(|(arn, _)| arn)
    }

    /// Every sealing key's Region, in order.
    pub fn key_regions(&self) -> impl Iterator<Item = &Region> {
        let mut regions: Vec<&Region> = self.plans.iter().flat_map(|plan| plan.keys.keys()).collect();
        regions.sort();
        regions.dedup();
        regions.into_iter()
    }

    /// The Regions whose candidates for the sealing key were read, also if no plan uses one.
    pub fn candidate_regions(&self) -> impl Iterator<Item = &Region> {
        self.plans.iter().flat_map(|plan| &plan.candidate_regions)
    }

    /// Every entry about a subject.
    pub fn entries_of(&self, subject: Subject) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.subject == subject)
    }

    /// The entries about a subject as reports list them: a resolution takes the place of what it resolves.
    pub fn steps(&self, subject: Subject) -> Vec<&Entry> {
        let mut steps: Vec<&Entry> = Vec::new();
        for entry in self.entries_of(subject) {
            let same_step = |known: &&mut &Entry| entry.resolves && known.step.name() == entry.step.name();
            match steps.iter_mut().rfind(same_step) {
                Some(resolved) => *resolved = entry,
                None => steps.push(entry),
            }
        }
        steps
    }

    /// Whether a step failed before in this run.
    pub fn has_failed(&self, subject: Subject, step: StepName) -> bool {
        self.entries_of(subject).any(|entry| entry.step.name() == step && entry.status() == StepStatus::Failed)
    }

    /// Whether the state of AWS contradicted a step before in this run.
    pub fn was_contradicted(&self, subject: Subject, step: StepName) -> bool {
        self.entries_of(subject).any(|entry| entry.step.name() == step && entry.status() == StepStatus::NotNeeded)
    }

    /// The entry with which an essential step of a key failed in this pass.
    pub fn key_failure(&self, region: &Region, pass: usize) -> Option<&Entry> {
        let subject = Subject::Key(region.clone());
        let is_essential = |entry: &&Entry| !matches!(&entry.step, Step::Key(step) if !step.is_essential());
        let failed = self.entries_of(subject).filter(|entry| entry.pass == pass && !entry.resolves);
        failed.filter(is_essential).rfind(|entry| entry.failure().is_some())
    }

    /// Why the run ended before the trail was remediated, if the state of AWS kept contradicting the plan.
    pub fn abandoned(&self, trail: &TrailArn) -> Option<&Contradiction> {
        let (pass, plan) = self.last_plan(trail)?;
        let was_planned = plan.sealing_region.is_some() || plan.restart.is_some() || plan.update.is_some();
        let is_assigned = self.assignment(trail).is_some_and(|entry| entry.pass == pass && !entry.resolves);
        self.abandoned.get(trail).filter(|_| was_planned && !is_assigned)
    }

    /// The key that the trail was given, as CloudTrail confirmed.
    pub fn assigned_key(&self, trail: &TrailArn) -> Option<&KeyArn> {
        self.assignment(trail)?.key.as_ref()
    }

    fn assignment(&self, trail: &TrailArn) -> Option<&Entry> {
        let is_done =
            |entry: &&Entry| entry.step.name() == StepName::UpdateTrail && matches!(entry.result, StepResult::Done(_));
        self.entries_of(Subject::Trail(trail.clone())).rfind(is_done)
    }

    /// Whether logging was started again.
    pub fn is_restarted(&self, trail: &TrailArn) -> bool {
        let mut entries = self.entries_of(Subject::Trail(trail.clone()));
        entries.any(|entry| entry.step == Step::Restart && entry.status() == StepStatus::Done)
    }

    /// The entry of the last repair of a key that trails may use already.
    pub fn last_repair(&self, region: &Region) -> Option<&Entry> {
        let is_repair = |entry: &Entry| matches!(&entry.step, Step::Key(step) if step.is_repair());
        let mut entries = self.entries_of(Subject::Key(region.clone()));
        entries.rfind(|entry| is_repair(entry) && entry.status() == StepStatus::Done)
    }

    /// Whether an earlier pass changed the key, or tried to, so that parts of AWS may not know its state yet.
    pub fn has_changed_key(&self, key: &KeyArn) -> bool {
        let is_change = |entry: &Entry| matches!(&entry.step, Step::Key(step) if step.is_repair() || matches!(step, KeyStep::Create(_)));
        let mut entries = self.entries_of(Subject::Key(key.region().clone()));
        entries
            .any(|entry| entry.key.as_ref() == Some(key) && is_change(entry) && entry.status() != StepStatus::Planned)
    }

    /// The entry that enabled rotation on a key that trails may use already.
    pub fn enabled_rotation(&self, region: &Region) -> Option<&Entry> {
        let mut entries = self.entries_of(Subject::Key(region.clone()));
        entries.rfind(|entry| {
            let is_done = entry.step.name() == StepName::EnableRotation && entry.status() == StepStatus::Done;
            is_done && !self.is_on_new_key(entry)
        })
    }

    /// Whether a step is on a key that no trail used before this run created or adopted it.
    pub fn is_on_new_key(&self, entry: &Entry) -> bool {
        match (&entry.subject, &entry.key) {
            (Subject::Trail(_), _) => false,
            (Subject::Key(_), None) => true,
            (Subject::Key(region), Some(key)) => {
                self.created_keys(region).iter().any(|created| created.key == *key && !created.in_use)
            }
        }
    }

    /// The keys of a Region created or adopted by this run.
    pub fn created_keys(&self, region: &Region) -> Vec<CreatedKey> {
        let mut keys: Vec<CreatedKey> = Vec::new();
        for entry in self.entries_of(Subject::Key(region.clone())) {
            let Some(key) = &entry.key else { continue };
            let in_use = match (&entry.step, &entry.result) {
                (Step::Key(KeyStep::Create(_)), StepResult::Done(_)) => Some(false),
                (Step::Key(KeyStep::Adopt(adoption)), StepResult::Done(_)) => Some(adoption.in_use),
                _ => None,
            };
            keys.extend(in_use.map(|in_use| CreatedKey { key: key.clone(), alias: AliasState::NotCreated, in_use }));
            if entry.step.name() == StepName::CreateAlias
                && entry.result != StepResult::NotPerformed
                && let Some(created) = keys.iter_mut().rfind(|created| created.key == *key)
            {
                created.alias = match &entry.result {
                    StepResult::Done(_) => AliasState::Created,
                    StepResult::Contradicted(Contradiction::AliasTaken { .. }) => AliasState::Lost,
                    StepResult::Contradicted(_) | StepResult::Unconfirmed { .. } => AliasState::Unknown,
                    StepResult::NotPerformed
                    | StepResult::Failed(_)
                    | StepResult::CreatedKeyFound(_)
                    | StepResult::OtherKey(_) => AliasState::NotCreated,
                };
            }
        }
        keys
    }

    /// Whether the last plan for the key's Region uses it, or this run created or adopted it.
    pub fn uses_key(&self, key: &KeyArn) -> bool {
        self.key_plan(key.region()).and_then(|plan| plan.key.as_ref()) == Some(key)
            || self.created_keys(key.region()).iter().any(|created| created.key == *key)
    }

    /// The strays of this run, and those that it found and does not use.
    pub fn strays(&self) -> Vec<Stray> {
        let created = self.key_regions().flat_map(|region| {
            // A retry finishes what could not be finished yet.
            let uses = |plan: &Plan| plan.keys.contains_key(region) || plan.trails_of(region).next().is_some();
            let last =
                self.plans.iter().rposition(uses).and_then(|last| self.key_failure(region, last.saturating_add(1)));
            let continues = last.and_then(Entry::failure_class) == Some(Class::Transient);
            self.created_keys(region).into_iter().filter_map(move |created| {
                let cause = match created.alias {
                    AliasState::Created => None,
                    AliasState::Lost => Some(StrayCause::AliasLost),
                    AliasState::NotCreated => (!continues).then_some(StrayCause::Unfinished),
                    AliasState::Unknown => Some(StrayCause::AliasUnknown),
                };
                cause.filter(|_| !created.in_use).map(|cause| Stray { key: created.key, cause })
            })
        });
        let mut strays: Vec<Stray> = created.collect();
        for stray in self.plans.iter().flat_map(|plan| &plan.strays) {
            if !strays.contains(stray) && !self.uses_key(&stray.key) {
                strays.push(stray.clone());
            }
        }
        strays
    }

    /// Why the trail could not be planned, if so.
    pub fn obstacle(&self, trail: &TrailArn) -> Option<&Obstacle> {
        match &self.last_plan(trail)?.1.disposition {
            Disposition::Failed(obstacle) => Some(obstacle),
            _ => None,
        }
    }
}
