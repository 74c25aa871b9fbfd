//! The steps of a trail.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::observation::{Failure, TrailSettings, UpdatedTrail};
use trailseal_core::plan::StepName;
use trailseal_core::progress::{StepReport, StepStatus, TrailProgress, Unanswered, given};
use trailseal_core::trigger::TrailRef;

use super::{Surprise, Turn};
use crate::aws::{Read, Write};

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
    /// Sends it unless the trail changed since it was read, which is certain until `fresh_until` at most, and only while
    /// no other trail of the Region was changed.
    pub(super) async fn send(
        &self,
        reader: &impl Read,
        writer: &impl Write,
        turn: &Turn,
        fresh_until: Option<Instant>,
        done: &mut TrailProgress,
    ) -> Result<(), Surprise> {
        let Self { observed, key, fresh, .. } = self;
        let trail = TrailRef::Arn(observed.arn.clone());
        let sent = AtomicBool::new(false);
        let unchanged = || async {
            let waited = sent.swap(true, Ordering::Relaxed) | turn.swap(true, Ordering::Relaxed);
            if !waited && fresh_until.is_some_and(|until| Instant::now() < until) {
                return Ok(true);
            }
            Ok(reader.trail(&trail).await?.as_ref() == Some(observed))
        };
        let failure = match writer.update_trail(&observed.arn, &observed.home_region, key, *fresh, unchanged).await {
            Ok(Some(updated)) => {
                self.answered(&updated, done);
                return Ok(());
            }
            Ok(None) => return Err(Surprise(format!("trail `{}` was changed meanwhile", observed.arn))),
            Err(failure) => failure,
        };
        if failure.outcome_unknown {
            done.unanswered = Some(Unanswered { key: (*key).clone(), observed: (*observed).clone() });
        }
        match failure {
            failure if is_gone(&failure) => Err(gone(failure, done)),
            failure if failure.not_sent => self.not_sent(failure, done),
            failure => self.refused(failure, done),
        }
    }

    fn report(&self, status: StepStatus, detail: String, done: &mut TrailProgress) {
        done.steps.push(StepReport::new(StepName::UpdateTrail, status, detail));
    }

    /// Compares the answer with the trail as it was read before.
    fn answered(&self, updated: &UpdatedTrail, done: &mut TrailProgress) {
        let Self { observed, key, .. } = self;
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

    /// The trail could not be read again, or its turn did not come in time.
    fn not_sent(&self, failure: Failure, done: &mut TrailProgress) -> Result<(), Surprise> {
        self.report(StepStatus::Planned, given(self.key), done);
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
        let outcome_unknown = failure.outcome_unknown;
        let detail = match outcome_unknown {
            true => format!("it is not known whether the trail has `{}`: {message}", self.key),
            false => message.clone(),
        };
        self.report(StepStatus::Failed, detail, done);
        done.failure = Some(failure);
        if outcome_unknown { Err(Surprise(message)) } else { Ok(()) }
    }
}
