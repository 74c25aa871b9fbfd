//! Writes. Takes the steps of a plan in order and decides nothing: whatever contradicts the plan ends
//! the pass, and the flow observes, assesses and plans again.

use std::collections::BTreeMap;
use std::time::Duration;

use trailseal_core::facts::{Class, Failure, TrailSettings, UpdatedTrail};
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::plan::{KeyPlan, KeyStep, Plan, StepName, TrailStep};
use trailseal_core::progress::{
    Aliased, KeyProgress, Progress, StepReport, StepStatus, TrailProgress, Unanswered, given,
};
use trailseal_core::trigger::TrailRef;

use crate::aws::{AliasCreation, Read, Write};

/// What contradicted the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) struct Surprise(pub(crate) String);

/// How long is waited before `UpdateTrail` is sent again. Not left to the SDK, which cannot look in
/// between whether somebody else gave the trail a key meanwhile.
const PAUSES: [Duration; 9] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(8),
    Duration::from_secs(8),
    Duration::from_secs(8),
    Duration::from_secs(8),
];

/// Applies a plan. `stale` says that time passed or something was written since the facts were read.
pub(crate) async fn apply(
    reader: &impl Read,
    writer: &impl Write,
    plan: &Plan,
    mut stale: bool,
    progress: &mut Progress,
) -> Result<(), Surprise> {
    let mut keys = BTreeMap::new();
    for (region, key) in &plan.keys {
        stale |= !key.steps.is_empty();
        let arn = seal_region(writer, region, key, progress.key(region)).await?;
        keys.extend(arn.map(|arn| (region, arn)));
    }
    for (arn, trail) in &plan.trails {
        let done = progress.trail(arn);
        for step in &trail.steps {
            match step {
                TrailStep::StartLogging { home_region } => start_logging(writer, arn, home_region, done).await?,
                TrailStep::Update { bucket_region, observed } => {
                    match (keys.get(bucket_region), plan.keys.get(bucket_region)) {
                        (Some(key), Some(plan)) => {
                            Update { observed, key, plan }.send(reader, writer, stale, done).await?
                        }
                        _ => done.leave(step, None),
                    }
                }
            }
            stale = true;
        }
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
                if failure.left_open && step.name() == StepName::CreateKey {
                    progress.perhaps_created = Some(failure.message.clone());
                }
                let (detail, left_open) = (failure.message.clone(), failure.left_open);
                let halt = match (step.essential(), left_open) {
                    (false, _) => None,
                    (true, true) if !progress.failed_before(step.name()) => Some(Halt::LookAgain(detail.clone())),
                    (true, _) => Some(Halt::NoKey),
                };
                if step.essential() {
                    progress.failure = Some(failure);
                } else {
                    progress.lasting = Some(failure);
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
            progress.created.push((created.clone(), Aliased::NotYet));
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
                Err(_) => Aliased::NotYet,
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

async fn start_logging(
    writer: &impl Write,
    arn: &TrailArn,
    home_region: &Region,
    done: &mut TrailProgress,
) -> Result<(), Surprise> {
    let (status, detail) = match writer.start_logging(arn, home_region).await {
        Ok(()) => {
            done.restarted = true;
            (StepStatus::Done, "it logs again".into())
        }
        Err(failure) if is_gone(&failure) => return Err(gone(failure, done)),
        Err(failure) => {
            let detail = failure.message.clone();
            done.not_restarted = Some(failure);
            (StepStatus::Failed, detail)
        }
    };
    done.steps.push(StepReport::new(StepName::StartLogging, status, detail));
    Ok(())
}

/// The next pass does not see the trail any more; if it does, this is the failure.
fn gone(failure: Failure, done: &mut TrailProgress) -> Surprise {
    let why = failure.message.clone();
    done.failure = Some(failure);
    Surprise(why)
}

fn is_gone(failure: &Failure) -> bool {
    failure.is("TrailNotFoundException")
}

/// One `update-trail`.
struct Update<'a> {
    /// The trail as it was read.
    observed: &'a TrailSettings,
    /// The key that it gets.
    key: &'a KeyArn,
    /// What was planned for that key.
    plan: &'a KeyPlan,
}

impl Update<'_> {
    /// Sends it, again and again while what refuses it passes; never for a trail that is not as it was
    /// read, which `stale` says is not certain.
    async fn send(
        &self,
        reader: &impl Read,
        writer: &impl Write,
        mut stale: bool,
        done: &mut TrailProgress,
    ) -> Result<(), Surprise> {
        let Self { observed, key, plan } = self;
        let mut pauses = PAUSES.iter();
        loop {
            if stale {
                match reader.trail(&TrailRef::Arn(observed.arn.clone())).await {
                    Ok(Some(now)) if now == **observed => {}
                    Ok(_) => return Err(Surprise(format!("trail `{}` was changed meanwhile", observed.arn))),
                    Err(failure) => return self.not_sent(failure, done),
                }
            }
            let failure = match writer.update_trail(&observed.arn, &observed.home_region, key, plan.fresh).await {
                Ok(updated) => {
                    self.answered(&updated, done);
                    return Ok(());
                }
                Err(failure) if is_gone(&failure) => return Err(gone(failure, done)),
                Err(failure) => failure,
            };
            if failure.left_open {
                done.unanswered = Some(Unanswered { key: (*key).clone(), observed: (*observed).clone() });
            }
            let pause = pauses.next().filter(|_| failure.class == Class::Transient);
            match pause {
                Some(pause) if reader.wait(*pause).await.is_ok() => stale = true,
                _ => return self.refused(failure, done),
            }
        }
    }

    fn report(&self, status: StepStatus, detail: String, done: &mut TrailProgress) {
        done.steps.push(StepReport::new(StepName::UpdateTrail, status, detail));
    }

    /// Compares the answer with the trail as it was read before.
    fn answered(&self, updated: &UpdatedTrail, done: &mut TrailProgress) {
        let Self { observed, key, .. } = self;
        done.unanswered = None;
        if updated.kms_key_id.as_deref() == Some(key.as_str()) {
            self.report(StepStatus::Done, given(key), done);
            done.was_sealed((*key).clone(), observed, &updated.kept);
            return;
        }
        let named = updated.kms_key_id.as_deref().unwrap_or("no key");
        let message = format!("CloudTrail accepted key `{key}` for trail `{}` and then named `{named}`", observed.arn);
        done.other_key.clone_from(&updated.kms_key_id);
        self.report(StepStatus::Failed, message.clone(), done);
        done.failure = Some(Failure::terminal(message, "look who else changes this trail"));
    }

    /// The trail could not be read again, so nothing more is sent.
    fn not_sent(&self, failure: Failure, done: &mut TrailProgress) -> Result<(), Surprise> {
        if done.unanswered.is_some() {
            let detail = format!("it is not known whether the trail has `{}`: {}", self.key, failure.message);
            self.report(StepStatus::Failed, detail, done);
        } else {
            self.report(StepStatus::Planned, given(self.key), done);
        }
        done.failure = Some(failure);
        Ok(())
    }

    fn refused(&self, mut failure: Failure, done: &mut TrailProgress) -> Result<(), Surprise> {
        if failure.is("InsufficientEncryptionPolicyException") {
            failure.remedy = Some(self.plan.if_refused.clone());
        }
        let message = failure.message.clone();
        let left_open = failure.left_open;
        self.report(StepStatus::Failed, message.clone(), done);
        done.failure = Some(failure);
        if left_open { Err(Surprise(message)) } else { Ok(()) }
    }
}
