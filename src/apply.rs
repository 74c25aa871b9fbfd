//! Writes. Takes the steps of a plan in order and decides nothing: whatever contradicts the plan ends
//! the pass, and the flow observes, assesses and plans again.

use std::collections::BTreeMap;

use trailseal_core::facts::{Failure, TrailSettings, UpdatedTrail};
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::plan::{KeyPlan, KeyStep, Plan, StepName, TrailPlan, TrailStep};
use trailseal_core::progress::{Aliased, KeyProgress, Progress, StepReport, StepStatus, TrailProgress, given};
use trailseal_core::trigger::TrailRef;

use crate::aws::{AliasCreation, Read, Write};

/// What contradicted the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) struct Surprise(pub(crate) String);

/// Applies a plan. `stale` says that time passed or something was written since the facts were read.
pub(crate) async fn apply(
    reader: &impl Read,
    writer: &impl Write,
    plan: &Plan,
    stale: bool,
    progress: &mut Progress,
) -> Result<(), Surprise> {
    let mut keys = BTreeMap::new();
    for (region, key) in &plan.keys {
        let arn = seal_region(writer, region, key, progress.key(region)).await?;
        keys.extend(arn.map(|arn| (region, arn)));
    }
    let stale = stale || plan.keys.values().any(|key| !key.steps.is_empty());
    for (arn, trail) in &plan.trails {
        let mut applier = Applier { reader, writer, plan, keys: &keys, stale };
        applier.trail(arn, trail, progress).await?;
    }
    Ok(())
}

/// Takes the steps of one sealing key. `None`: there is no key to use, and `progress` says why.
async fn seal_region(
    writer: &impl Write,
    region: &Region,
    plan: &KeyPlan,
    progress: &mut KeyProgress,
) -> Result<Option<KeyArn>, Surprise> {
    let mut key = plan.key.clone();
    for (index, step) in plan.steps.iter().enumerate() {
        let (status, detail, halt) = match key_step(writer, region, step, &mut key, progress).await {
            Ok(Taken::Done(detail)) => (StepStatus::Done, detail, None),
            Ok(Taken::Contradicted(why)) => (StepStatus::NotNeeded, why.clone(), Some(Halt::LookAgain(why))),
            Err(failure) => {
                let failure = step.failed(failure, region, key.as_ref());
                let (detail, left_open) = (failure.message.clone(), failure.left_open);
                let halt = match (step.essential(), left_open) {
                    (false, _) => None,
                    (true, true) => Some(Halt::LookAgain(detail.clone())),
                    (true, false) => Some(Halt::NoKey),
                };
                // What keeps the trail from being sealed says more than what does not.
                if step.essential() || progress.failure.is_none() {
                    progress.failure = Some(failure);
                }
                (StepStatus::Failed, detail, halt)
            }
        };
        progress.steps.push(StepReport::new(step.name(), status, detail));
        match halt {
            None => {}
            Some(Halt::LookAgain(why)) => return Err(Surprise(why)),
            Some(Halt::NoKey) => {
                progress.leave(plan.steps.get(index.saturating_add(1)..).unwrap_or_default(), region);
                return Ok(None);
            }
        }
    }
    Ok(key)
}

enum Taken {
    Done(String),
    Contradicted(String),
}

enum Halt {
    LookAgain(String),
    NoKey,
}

/// Takes one step; `key` is the key so far, which a step may create.
async fn key_step(
    writer: &impl Write,
    region: &Region,
    step: &KeyStep,
    key: &mut Option<KeyArn>,
    progress: &mut KeyProgress,
) -> Result<Taken, Failure> {
    match (step, key) {
        (KeyStep::Create(new), key) => {
            let created = writer.create_key(region, new).await?;
            progress.created.push((created.clone(), Aliased::No));
            Ok(Taken::Done(format!("`{}`", key.insert(created))))
        }
        (KeyStep::EnableRotation, Some(key)) => {
            writer.enable_rotation(key).await?;
            Ok(Taken::Done("every year".into()))
        }
        (KeyStep::CreateAlias(alias), Some(key)) => {
            let answer = writer.create_alias(alias, key).await;
            progress.aliased(match &answer {
                Ok(AliasCreation::Created) => Aliased::Yes,
                Ok(AliasCreation::AlreadyExists) => Aliased::Open,
                Err(failure) if failure.left_open => Aliased::Open,
                Err(_) => Aliased::No,
            });
            Ok(match answer? {
                AliasCreation::Created => Taken::Done(format!("`{alias}` for `{key}`")),
                AliasCreation::AlreadyExists => Taken::Contradicted(format!("`{alias}` exists already in `{region}`")),
            })
        }
        (KeyStep::EnableRotation | KeyStep::CreateAlias(_), None) => {
            Err(Failure::transient(format!("there is no key yet in `{region}` on which to take a step")))
        }
    }
}

struct Applier<'a, R, W> {
    reader: &'a R,
    writer: &'a W,
    plan: &'a Plan,
    keys: &'a BTreeMap<&'a Region, KeyArn>,
    stale: bool,
}

impl<R: Read, W: Write> Applier<'_, R, W> {
    async fn trail(&mut self, arn: &TrailArn, trail: &TrailPlan, progress: &mut Progress) -> Result<(), Surprise> {
        for step in &trail.steps {
            match step {
                TrailStep::Update { bucket_region, observed } => {
                    let done = progress.trail(arn);
                    match (self.keys.get(bucket_region), self.plan.keys.get(bucket_region)) {
                        (Some(key), Some(plan)) => self.update(observed, key, plan, done).await?,
                        _ => done.leave(step, None),
                    }
                }
                TrailStep::StartLogging { home_region } => {
                    let answer = self.writer.start_logging(arn, home_region).await;
                    let done = progress.trail(arn);
                    done.steps.push(match &answer {
                        Ok(()) => StepReport::new(step.name(), StepStatus::Done, "it logs again"),
                        Err(failure) => StepReport::new(step.name(), StepStatus::Failed, failure.message.clone()),
                    });
                    done.failure = done.failure.take().or(answer.err());
                }
            }
        }
        Ok(())
    }

    async fn update(
        &self,
        observed: &TrailSettings,
        key: &KeyArn,
        plan: &KeyPlan,
        done: &mut TrailProgress,
    ) -> Result<(), Surprise> {
        let report = |status, detail: String| StepReport::new(StepName::UpdateTrail, status, detail);
        if self.stale {
            match self.reader.trail(&TrailRef::Arn(observed.arn.clone())).await {
                Ok(Some(now)) if now == *observed => {}
                Ok(_) => return Err(Surprise(format!("trail `{}` was changed meanwhile", observed.arn))),
                Err(failure) => {
                    done.steps.push(report(StepStatus::Planned, given(key)));
                    done.failure = Some(failure);
                    return Ok(());
                }
            }
        }
        match self.writer.update_trail(&observed.arn, &observed.home_region, key, plan.fresh).await {
            Ok(updated) => {
                let (status, failure) = verify(observed, key, &updated);
                let detail = failure.as_ref().map_or_else(|| given(key), |failure| failure.message.clone());
                done.steps.push(report(status, detail));
                done.sealed = (status == StepStatus::Done).then(|| key.clone());
                done.failure = done.failure.take().or(failure);
                Ok(())
            }
            Err(failure) if failure.code.as_deref() == Some("TrailNotFoundException") => Err(Surprise(failure.message)),
            Err(failure) if failure.left_open => {
                done.steps.push(report(StepStatus::Failed, failure.message.clone()));
                done.unanswered = Some(key.clone());
                let why = failure.message.clone();
                done.failure = Some(failure);
                Err(Surprise(why))
            }
            Err(mut failure) => {
                if failure.code.as_deref() == Some("InsufficientEncryptionPolicyException") {
                    failure.remedy = Some(plan.if_refused.clone());
                }
                done.steps.push(report(StepStatus::Failed, failure.message.clone()));
                done.failure = Some(failure);
                Ok(())
            }
        }
    }
}

/// Compares the answer with the trail as it was read before.
fn verify(observed: &TrailSettings, key: &KeyArn, updated: &UpdatedTrail) -> (StepStatus, Option<Failure>) {
    if updated.kms_key_id.as_deref() != Some(key.as_str()) {
        let now = updated.kms_key_id.as_deref().unwrap_or("no key");
        let message = format!("CloudTrail accepted key `{key}` for trail `{}` and then named `{now}`", observed.arn);
        return (StepStatus::Failed, Some(Failure::terminal(message, "look who else changes this trail")));
    }
    let changes = observed.kept.changes(&updated.kept);
    if changes.is_empty() {
        return (StepStatus::Done, None);
    }
    let message = format!(
        "trail `{}` got its key, but other settings are not as they were read before: {}",
        observed.arn,
        changes.join(", ")
    );
    let remedy = "look who changed them at the same time; trailseal sends the trail's ARN and its key, nothing else";
    (StepStatus::Done, Some(Failure::terminal(message, remedy)))
}
