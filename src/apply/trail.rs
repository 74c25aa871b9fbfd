//! The steps of a trail.

use std::time::Duration;

use tokio::time::Instant;
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::observation::{Class, Failure, TrailSettings, UpdatedTrail};
use trailseal_core::plan::StepName;
use trailseal_core::progress::{StepReport, StepStatus, TrailProgress, Unanswered, given};
use trailseal_core::trigger::TrailRef;

use super::{Surprise, Turn};
use crate::aws::{Read, Write};

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

pub(super) async fn start_logging(
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
            let status = if failure.not_sent { StepStatus::Planned } else { StepStatus::Failed };
            done.not_restarted = Some(failure);
            (status, detail)
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

/// Source: <https://docs.aws.amazon.com/controltower/latest/controlreference/mandatory-controls.html>.
const CONTROL_TOWER: &str = "this is AWS Control Tower's own trail, and its mandatory control keeps everybody else from changing it: give it a key in the settings of the landing zone (KMS encryption), or tag the trail to be left alone";

/// One `update-trail`.
pub(super) struct Update<'a> {
    /// The trail as it was read.
    pub(super) observed: &'a TrailSettings,
    /// The key that it gets.
    pub(super) key: &'a KeyArn,
    /// Whether parts of AWS may not know the key, or its policy, yet.
    pub(super) fresh: bool,
    /// What to do if CloudTrail refuses the key.
    pub(super) if_refused: &'a str,
}

impl Update<'_> {
    /// Sends it, again and again while what refuses it passes, each time when it is its turn: in between, the
    /// others of its Region have theirs. Never for a trail that is not as it was read, which is certain until
    /// `fresh_until` at most.
    pub(super) async fn send(
        &self,
        reader: &impl Read,
        writer: &impl Write,
        turn: &Turn,
        mut fresh_until: Option<Instant>,
        done: &mut TrailProgress,
    ) -> Result<(), Surprise> {
        let Self { observed, key, fresh, .. } = self;
        let mut pauses = PAUSES.iter();
        loop {
            let mut changed = turn.lock().await;
            if std::mem::replace(&mut *changed, true) || fresh_until.is_none_or(|until| Instant::now() >= until) {
                match reader.trail(&TrailRef::Arn(observed.arn.clone())).await {
                    Ok(Some(now)) if now == **observed => {}
                    Ok(_) => return Err(Surprise(format!("trail `{}` was changed meanwhile", observed.arn))),
                    Err(failure) => return self.not_sent(failure, done),
                }
            }
            let failure = match writer.update_trail(&observed.arn, &observed.home_region, key, *fresh).await {
                Ok(updated) => {
                    self.answered(&updated, done);
                    return Ok(());
                }
                Err(failure) if is_gone(&failure) => return Err(gone(failure, done)),
                Err(failure) if failure.not_sent => return self.not_sent(failure, done),
                Err(failure) => failure,
            };
            if failure.left_open {
                done.unanswered = Some(Unanswered { key: (*key).clone(), observed: (*observed).clone() });
            }
            drop(changed);
            let pause = pauses.next().filter(|_| failure.class == Class::Transient);
            match pause {
                Some(pause) if reader.wait(*pause).await.is_ok() => fresh_until = None,
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

    /// The trail could not be read again, or its turn did not come in time, so nothing more is sent.
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
            failure.remedy = Some(self.if_refused.to_owned());
        }
        if failure.is("AccessDeniedException") && self.observed.arn.name().as_str().starts_with("aws-controltower-") {
            failure.remedy = Some(CONTROL_TOWER.into());
        }
        let message = failure.message.clone();
        let left_open = failure.left_open;
        self.report(StepStatus::Failed, message.clone(), done);
        done.failure = Some(failure);
        if left_open { Err(Surprise(message)) } else { Ok(()) }
    }
}
