//! Writes. Takes the steps of a plan in order and decides nothing: whatever contradicts the plan ends
//! the pass, and the flow observes, assesses and plans again.

use std::collections::BTreeMap;

use trailseal_core::config::OWNER_TAG;
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
        let taken = match (step, &key) {
            (KeyStep::Create(new), _) => writer.create_key(region, new).await.map(|created| {
                progress.created.push((created.clone(), Aliased::No));
                key = Some(created.clone());
                Taken::Done(format!("`{created}`"))
            }),
            (KeyStep::EnableRotation, Some(key)) => {
                writer.enable_rotation(key).await.map(|()| Taken::Done("every year".into()))
            }
            (KeyStep::CreateAlias(alias), Some(key)) => {
                let answer = writer.create_alias(alias, key).await;
                if let Some((_, aliased)) = progress.created.last_mut() {
                    *aliased = match &answer {
                        Ok(AliasCreation::Created) => Aliased::Yes,
                        Ok(AliasCreation::AlreadyExists) => Aliased::Open,
                        Err(failure) if failure.left_open => Aliased::Open,
                        Err(_) => Aliased::No,
                    };
                }
                answer.map(|created| match created {
                    AliasCreation::Created => Taken::Done(format!("`{alias}` for `{key}`")),
                    AliasCreation::AlreadyExists => {
                        Taken::Contradicted(format!("`{alias}` exists already in `{region}`"))
                    }
                })
            }
            (KeyStep::EnableRotation | KeyStep::CreateAlias(_), None) => Ok(Taken::Done(String::new())),
        };
        match taken {
            Ok(Taken::Done(detail)) => progress.steps.push(StepReport::new(step.name(), StepStatus::Done, detail)),
            Ok(Taken::Contradicted(why)) => {
                progress.steps.push(StepReport::new(step.name(), StepStatus::NotNeeded, why.clone()));
                return Err(Surprise(why));
            }
            Err(failure) => {
                let mut detail = failure.message.clone();
                if failure.left_open && matches!(step, KeyStep::Create(_)) {
                    let (name, value) = OWNER_TAG;
                    detail = format!(
                        "{detail}; it is not known whether a key was created: look in `{region}` for one with the tag `{name}={value}` and without an alias"
                    );
                }
                progress.steps.push(StepReport::new(step.name(), StepStatus::Failed, detail));
                let (left_open, why) = (failure.left_open, failure.message.clone());
                progress.failure.get_or_insert(failure);
                // A key without rotation still seals, and the alias still is what makes it the only one.
                if !matches!(step, KeyStep::EnableRotation) {
                    if left_open {
                        return Err(Surprise(why));
                    }
                    progress.leave(plan.steps.get(index.saturating_add(1)..).unwrap_or_default(), region);
                    return Ok(None);
                }
            }
        }
    }
    Ok(key)
}

enum Taken {
    Done(String),
    Contradicted(String),
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
