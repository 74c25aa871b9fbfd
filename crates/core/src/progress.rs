//! What became of a plan, kept across passes: a pass that was surprised ends, and the next one finds
//! out how what was left open turned out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::finding::Finding;
use crate::ids::{KeyArn, Region, TrailArn};
use crate::key_policy::KeyPolicy;
use crate::observation::{Class, Failure, KeptSettings, Made, Reading, SealingFacts, TrailSettings};
use crate::plan::{Adoption, Fate, KeyPlan, KeyStep, Plan, StepName, TrailStep};
use crate::planner::Judged;
use crate::stray::Stray;

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    /// It was not taken: dry-run, or something before it failed.
    Planned,
    /// It was taken.
    Done,
    /// Somebody else took it, or it stands under another trail of this run.
    NotNeeded,
    /// It was tried.
    Failed,
}

/// One step and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepReport {
    /// Which.
    pub step: StepName,
    /// What became of it.
    pub status: StepStatus,
    /// In words, with the names that matter.
    pub detail: String,
}

impl StepReport {
    /// One step and what became of it.
    pub fn new(step: StepName, status: StepStatus, detail: impl Into<String>) -> Self {
        Self { step, status, detail: detail.into() }
    }
}

/// How the sealing key of one Region came along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyProgress {
    /// The trail under which reports list the steps.
    pub reported_under: Option<TrailArn>,
    /// The steps so far, of every pass.
    pub steps: Vec<StepReport>,
    /// The policy of the key that was created, or would be.
    pub new_policy: Option<KeyPolicy>,
    /// The keys that this run created or adopted.
    pub made: Vec<MadeKey>,
    /// Whether a key that trails may use already works again, or has what its policy lacked.
    pub mended: bool,
    /// Of a `CreateKey` that may have created a key all the same: what came of it.
    pub perhaps_created: Option<PerhapsCreated>,
    /// The keys that the tag index showed so far.
    pub indexed: BTreeSet<KeyArn>,
    /// Why this pass has no key to use.
    pub failure: Option<Failure>,
    /// What failed and no later pass makes good: the key is used all the same.
    pub lasting: Option<Failure>,
}

/// A `CreateKey` that nobody answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerhapsCreated {
    /// What came of it.
    pub what: String,
    /// When it was sent, in seconds since 1970.
    pub sent: i64,
}

/// A key that this run created or adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeKey {
    /// Which.
    pub key: KeyArn,
    /// Whether it has the alias.
    pub aliased: Aliased,
    /// Whether a trail used it before, so that it is no stray, whoever has the alias.
    pub in_use: bool,
}

/// Whether a key that this run created or adopted has the alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aliased {
    /// It has.
    Yes,
    /// It has not: it was not asked for, or refused.
    NotYet,
    /// It has not: another key has it.
    Lost,
    /// Nobody knows: there was no clear answer, or the alias was there already.
    Open,
}

/// How one trail came along.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrailProgress {
    /// The findings of the first pass, which is the one that says why anything was done.
    pub findings: Vec<Finding>,
    /// The key that the trail named in the first pass.
    pub previous_key: Option<String>,
    /// The Region of its sealing key.
    pub sealing_region: Option<Region>,
    /// The steps so far, of every pass.
    pub steps: Vec<StepReport>,
    /// The key that the trail was given, as CloudTrail confirmed.
    pub sealed: Option<KeyArn>,
    /// Whether it was started again.
    pub restarted: bool,
    /// Why this pass did not start it again.
    pub not_restarted: Option<Failure>,
    /// The key that CloudTrail named instead of the one that was sent.
    pub other_key: Option<String>,
    /// What was sent without a clear answer.
    pub unanswered: Option<Unanswered>,
    /// Why this pass did not mend the trail.
    pub failure: Option<Failure>,
    /// What went wrong beside the mending, and no later pass makes good.
    pub lasting: Option<Failure>,
}

/// An `UpdateTrail` that nobody answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// The key that was sent.
    pub key: KeyArn,
    /// The trail as it was read before.
    pub observed: TrailSettings,
}

/// What became of every plan of this run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// By bucket Region.
    pub keys: BTreeMap<Region, KeyProgress>,
    /// By trail.
    pub trails: BTreeMap<TrailArn, TrailProgress>,
}

impl Progress {
    /// Takes note of a plan before anything of it is applied. What failed in an earlier pass is
    /// tried anew, so it is forgotten.
    pub fn begin(&mut self, plan: &Plan) {
        let concerned = plan.keys.keys().chain(plan.trails.values().filter_map(|trail| trail.sealing_region.as_ref()));
        for region in concerned {
            self.key(region).failure = None;
        }
        for (arn, trail) in &plan.trails {
            let known = self.trails.entry(arn.clone()).or_insert_with(|| TrailProgress {
                findings: trail.findings.clone(),
                previous_key: trail.current_key.clone(),
                ..TrailProgress::default()
            });
            known.not_restarted = None;
            known.failure = match &trail.fate {
                Fate::Failed(failure) => Some(failure.clone()),
                _ => None,
            };
            if let Some(region) = &trail.sealing_region {
                known.sealing_region = Some(region.clone());
                let key = self.keys.entry(region.clone()).or_default();
                key.reported_under.get_or_insert_with(|| arn.clone());
            }
        }
        for (region, key) in &plan.keys {
            let known = self.key(region);
            known.new_policy = known.new_policy.take().or_else(|| key.new_policy().cloned());
        }
    }

    /// Lists every step as planned: what a dry-run reports.
    pub fn plan_only(&mut self, plan: &Plan) {
        for (region, key) in &plan.keys {
            self.key(region).leave(key, 0, region);
        }
        for (arn, trail) in &plan.trails {
            for step in &trail.steps {
                let key = match step {
                    TrailStep::Update { bucket_region, .. } => {
                        plan.keys.get(bucket_region).and_then(|it| it.key.as_ref())
                    }
                    TrailStep::StartLogging { .. } => None,
                };
                self.trail(arn).leave(step, key);
            }
        }
    }

    /// How the sealing key of that Region came along.
    pub fn key(&mut self, region: &Region) -> &mut KeyProgress {
        self.keys.entry(region.clone()).or_default()
    }

    /// How that trail came along.
    pub fn trail(&mut self, arn: &TrailArn) -> &mut TrailProgress {
        self.trails.entry(arn.clone()).or_default()
    }

    /// The Regions in which it is not known who has the alias.
    pub fn open_regions(&self) -> impl Iterator<Item = &Region> {
        self.keys
            .iter()
            .filter(|(_, key)| key.made.iter().any(|made| made.aliased == Aliased::Open))
            .map(|(region, _)| region)
    }

    /// Finds out from fresh facts how what was left open turned out, and puts the keys that this run
    /// created beside what was found.
    pub fn settle(&mut self, trails: &BTreeMap<TrailArn, Judged>, sealing: &mut SealingFacts) {
        for (arn, trail) in &mut self.trails {
            let now = match trails.get(arn) {
                Some(Judged::Seen { settings, .. }) => settings,
                _ => continue,
            };
            if let Some(Unanswered { key, observed }) = trail.unanswered.take()
                && now.kms_key_id.as_deref() == Some(key.as_str())
            {
                let detail = format!("{} (the answer was lost; read back)", given(&key));
                trail.resolve(StepName::UpdateTrail, StepStatus::Done, detail);
                trail.was_sealed(key, &observed, &now.kept);
            }
        }
        for (region, candidates) in &mut sealing.keys {
            let key = self.keys.entry(region.clone()).or_default();
            if let Ok(Reading::Known(holder)) = &candidates.named {
                key.settle(&holder.metadata.arn);
            }
            if let Some(Ok(tagged)) = &candidates.tagged {
                key.indexed.extend(tagged.iter().map(|tagged| tagged.facts.metadata.arn.clone()));
            }
            if let (Some(made), Some(latest)) = (&mut candidates.made, key.latest()) {
                made.aliased = latest.aliased;
            } else {
                candidates.made = key.latest();
            }
        }
    }

    /// Ends a run that was surprised in its last pass, too: lists what was not done, and why. A failure
    /// that is known already says more.
    pub fn give_up(&mut self, plan: &Plan, surprises: &BTreeMap<TrailArn, String>) {
        let concerned = |region: &Region| {
            let of = |trail: &TrailArn| plan.trails.get(trail).and_then(|trail| trail.sealing_region.as_ref());
            surprises.keys().any(|trail| of(trail) == Some(region))
        };
        for (region, planned) in plan.keys.iter().filter(|(region, _)| concerned(region)) {
            let key = self.key(region);
            let left = planned.steps.iter().filter(|step| key.steps.iter().all(|it| it.step != step.name()));
            let left = left.cloned().collect();
            key.leave(&KeyPlan { steps: left, ..planned.clone() }, 0, region);
        }
        for (arn, surprise) in surprises {
            let Some(planned) = plan.trails.get(arn) else { continue };
            let region = planned.sealing_region.as_ref();
            let key = region.and_then(|region| self.keys.get(region)).and_then(|key| key.failure.clone());
            let trail = self.trail(arn);
            for step in &planned.steps {
                if trail.steps.iter().all(|it| it.step != step.name()) {
                    trail.leave(step, None);
                }
            }
            let expected = !planned.steps.is_empty() || planned.sealing_region.is_some();
            if expected && trail.sealed.is_none() {
                let overtaken = || Failure::transient(format!("what was planned kept being overtaken: {surprise}"));
                trail.failure = trail.failure.take().or(key).or_else(|| Some(overtaken()));
            }
        }
    }

    /// Whether any trail was started again.
    pub fn restarted(&self) -> bool {
        self.trails.values().any(|trail| trail.restarted)
    }

    /// Whether that key is none that this run created or adopted.
    pub(crate) fn made_no(&self, key: &str) -> bool {
        self.keys.values().flat_map(|progress| &progress.made).all(|made| made.key.as_str() != key)
    }

    /// Whether the tag index is to show a key in that Region beside those that it showed: an unanswered
    /// `CreateKey` may have left one.
    pub fn is_expected(&self, region: &Region, shown: &[KeyArn]) -> bool {
        let expects =
            |key: &KeyProgress| key.perhaps_created.is_some() && shown.iter().all(|shown| key.indexed.contains(shown));
        self.keys.get(region).is_some_and(expects)
    }

    /// The key that this run created, or adopted, in that Region.
    pub fn made(&self, region: &Region) -> Option<Made> {
        self.keys.get(region)?.latest()
    }

    /// The keys that this run created and that do not have the alias, as far as is known.
    pub fn strays(&self) -> Vec<Stray> {
        let strays = self.keys.values().flat_map(|key| {
            // What could not be finished yet is finished by the next try.
            let goes_on = key.failure.as_ref().is_some_and(|failure| failure.class == Class::Transient);
            let left_over =
                key.made.iter().filter(move |made| !made.in_use && (!goes_on || made.aliased != Aliased::NotYet));
            left_over.filter_map(|made| Stray::of(&made.key, made.aliased))
        });
        strays.collect()
    }
}

impl KeyProgress {
    /// Notes that a key without an alias was taken. The only one that was created since is what an
    /// unanswered `CreateKey` made.
    pub fn adopted(&mut self, key: &KeyArn, adoption: &Adoption) {
        self.made.push(MadeKey { key: key.clone(), aliased: Aliased::NotYet, in_use: adoption.in_use });
        let since = |perhaps: &PerhapsCreated| adoption.created_alone.is_some_and(|created| created >= perhaps.sent);
        if self.perhaps_created.as_ref().is_some_and(since) {
            self.perhaps_created = None;
            let unanswered = self.steps.iter_mut().rev().find(|it| it.step == StepName::CreateKey);
            if let Some(step) = unanswered {
                step.detail = format!("{}: it was, `{key}`", step.detail);
            }
        }
    }

    /// Notes whether a key that was created or adopted has the alias.
    pub fn aliased(&mut self, key: &KeyArn, now: Aliased) {
        if let Some(made) = self.made.iter_mut().rev().find(|made| made.key == *key) {
            made.aliased = now;
        }
    }

    /// Whether that step failed before: what two answers left open is not tried a third time.
    pub fn failed_before(&self, step: StepName) -> bool {
        self.steps.iter().any(|it| it.step == step && it.status == StepStatus::Failed)
    }

    /// Whether something contradicted that step before.
    pub fn contradicted_before(&self, step: StepName) -> bool {
        self.steps.iter().any(|it| it.step == step && it.status == StepStatus::NotNeeded)
    }

    /// Lists the steps from that one on as not taken.
    pub fn leave(&mut self, plan: &KeyPlan, from: usize, region: &Region) {
        let key = plan.key.as_ref();
        let report = |step: &KeyStep| StepReport::new(step.name(), StepStatus::Planned, step.detail(region, key));
        self.steps.extend(plan.steps.iter().skip(from).map(report));
    }

    /// The key that was created or adopted last, unless another has the alias.
    fn latest(&self) -> Option<Made> {
        let MadeKey { key, aliased, .. } = self.made.last()?;
        match aliased {
            Aliased::Yes => Some(Made { key: key.clone(), aliased: true, facts: None }),
            Aliased::NotYet | Aliased::Open => Some(Made { key: key.clone(), aliased: false, facts: None }),
            Aliased::Lost => None,
        }
    }

    fn settle(&mut self, holder: &KeyArn) {
        let Some(made) = self.made.iter_mut().find(|made| made.aliased == Aliased::Open) else { return };
        let MadeKey { key: created, aliased, in_use } = made;
        let (now, status, detail) = if holder == created {
            (Aliased::Yes, StepStatus::Done, format!("for `{created}` (the answer was lost; read back)"))
        } else {
            let left_over = if *in_use { "stays in use without it" } else { "is a stray" };
            let detail = format!("key `{holder}` had it first; `{created}` {left_over}");
            (Aliased::Lost, StepStatus::NotNeeded, detail)
        };
        *aliased = now;
        if now == Aliased::Lost {
            self.lasting = None;
        }
        if let Some(step) = self.steps.iter_mut().rev().find(|it| it.step == StepName::CreateAlias) {
            (step.status, step.detail) = (status, detail);
        }
    }
}

impl TrailProgress {
    /// Lists a step that was not taken; `key` is the key that it would give, where there is one.
    pub fn leave(&mut self, step: &TrailStep, key: Option<&KeyArn>) {
        let detail = match step {
            TrailStep::Update { bucket_region, own_readers, .. } => {
                let given = key.map_or(format!("`KmsKeyId` = the new key in `{bucket_region}`"), given);
                let need = if *own_readers {
                    "; readers of this account need `kms:Decrypt` in their own policies"
                } else {
                    ""
                };
                format!("{given}{need}")
            }
            TrailStep::StartLogging { .. } => "start logging again".into(),
        };
        self.steps.push(StepReport::new(step.name(), StepStatus::Planned, detail));
    }

    /// Notes that the trail has the key, and whether everything else is as it was read before.
    pub fn was_sealed(&mut self, key: KeyArn, observed: &TrailSettings, now: &KeptSettings) {
        let changes = observed.kept.changes(now);
        if !changes.is_empty() {
            let message = format!(
                "trail `{}` got its key, but other settings are not as they were read before: {}",
                observed.arn,
                changes.join(", ")
            );
            let remedy =
                "look who changed them at the same time; trailseal sends the trail's ARN and its key, nothing else";
            self.lasting = Some(Failure::terminal(message, remedy));
        }
        self.sealed = Some(key);
    }

    fn resolve(&mut self, name: StepName, status: StepStatus, detail: String) {
        match self.steps.iter_mut().rev().find(|it| it.step == name) {
            Some(step) => (step.status, step.detail) = (status, detail),
            None => self.steps.push(StepReport::new(name, status, detail)),
        }
    }
}

/// What `update-trail` does, in words.
pub fn given(key: &KeyArn) -> String {
    format!("`KmsKeyId` = `{key}`")
}
