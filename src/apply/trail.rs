//! The steps of a trail.

use std::sync::atomic::Ordering;

use tokio::time::Instant;
use trailseal_core::failure::Failure;
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::journal::{Contradiction, Effect, Entry, StepResult};
use trailseal_core::plan::{KeyPlan, Step, Subject, TrailPlan, TrailUpdate};
use trailseal_core::trigger::TrailRef;

use super::{Executor, FRESHNESS, TaskResult, logged};
use crate::aws::{KeyVisibility, Read, Write};

impl<R: Read, W: Write> Executor<'_, R, W> {
    pub(super) async fn start_logging(
        &self,
        logging_writer: &impl Write,
        trail: &TrailArn,
        home_region: &Region,
    ) -> TaskResult {
        self.has_written.store(true, Ordering::Relaxed);
        let result = match logging_writer.start_logging(trail, home_region).await {
            Ok(()) => StepResult::Done(Effect::Applied),
            Err(failure) if is_gone(&failure) => return (vec![], Some(Contradiction::TrailGone(failure))),
            // A later run finds the trail logging and would not report that this one started it.
            Err(failure) => match self.reader.trail_status(&TrailRef::Arn(trail.clone())).await {
                Ok(Some(status)) if status.logging && !failure.not_sent => StepResult::Done(Effect::ReadBack(vec![])),
                _ => StepResult::Failed(failure),
            },
        };
        (vec![self.trail_entry(trail, Step::Restart, None, result)], None)
    }

    /// Assigns the key to the trail, unless the trail is not as it was read.
    pub(super) async fn update_trail(&self, update: &TrailUpdate, key: &KeyArn, plan: &KeyPlan) -> TaskResult {
        let observed = &update.observed;
        let arn = &observed.arn;
        let unchanged = || async {
            // The write follows this check, so the check records it.
            let is_first_write = !self.has_written.swap(true, Ordering::Relaxed);
            let is_fresh = Instant::now().saturating_duration_since(self.observed_at) < FRESHNESS;
            if is_first_write && is_fresh {
                return Ok(true);
            }
            Ok(self.reader.trail(&TrailRef::Arn(arn.clone())).await?.as_ref() == Some(observed))
        };
        // One response of KMS with the change is no proof that CloudTrail sees it.
        let visibility = match update.access_verified {
            _ if plan.settling || self.journal.has_changed_key(key) => KeyVisibility::Settling,
            true => KeyVisibility::Verified,
            false => KeyVisibility::Unverified,
        };
        let updated = self.writer.update_trail(arn, &observed.home_region, key, visibility, unchanged).await;
        let (result, contradiction) = match updated {
            Ok(Some(updated)) if updated.kms_key_id == key.as_str() => {
                (StepResult::Done(Effect::Updated(observed.kept.changes(&updated.kept))), None)
            }
            Ok(Some(updated)) => (StepResult::OtherKey(updated.kms_key_id), None),
            Ok(None) => return (vec![], Some(Contradiction::TrailChanged(arn.clone()))),
            Err(failure) if is_gone(&failure) => return (vec![], Some(Contradiction::TrailGone(failure))),
            Err(failure) if failure.not_sent => (StepResult::Failed(failure), None),
            // An error does not prove that the call had no effect.
            Err(failure) => match self.reader.trail(&TrailRef::Arn(arn.clone())).await {
                Ok(Some(now)) if now.kms_key_id.as_deref() == Some(key.as_str()) => {
                    (StepResult::Done(Effect::ReadBack(observed.kept.changes(&now.kept))), None)
                }
                _ if failure.outcome_unknown => {
                    let contradiction = Contradiction::OutcomeUnknown(failure.clone());
                    (StepResult::Unconfirmed { failure, sent_at: self.now() }, Some(contradiction))
                }
                _ => (StepResult::Failed(failure), None),
            },
        };
        let step = Step::Update(update.clone());
        (vec![self.trail_entry(arn, step, Some(key.clone()), result)], contradiction)
    }

    /// Reads a trail once more whose key was repaired, or whose logging was started: without an update, no response shows
    /// that it still has its key.
    pub(super) async fn verify(&self, trail: &TrailArn, plan: &TrailPlan) -> Option<Contradiction> {
        match self.reader.trail(&TrailRef::Arn(trail.clone())).await {
            Ok(Some(now)) if now.kms_key_id == plan.current_key => None,
            Ok(_) => Some(Contradiction::TrailChanged(trail.clone())),
            // The next pass reads it again, and reports what persists.
            Err(failure) => Some(Contradiction::OutcomeUnknown(failure)),
        }
    }

    fn trail_entry(&self, trail: &TrailArn, step: Step, key: Option<KeyArn>, result: StepResult) -> Entry {
        logged(Entry::new(self.journal.pass(), Subject::Trail(trail.clone()), step, key, result))
    }
}

fn is_gone(failure: &Failure) -> bool {
    failure.is("TrailNotFoundException")
}
