//! The steps of a sealing key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use trailseal_core::failure::Failure;
use trailseal_core::ids::{KeyArn, Region};
use trailseal_core::journal::{Contradiction, Effect, Entry, StepResult};
use trailseal_core::key_policy::policies_equal;
use trailseal_core::observation::{KeyState, Reading};
use trailseal_core::plan::{KeyPlan, KeyStep, NewKey, PolicyChange, Step, StepName, Subject};

use super::{Executor, logged};
use crate::aws::{AliasCreation, Read, Write};

/// How often, and at what interval, a key is read until it shows what was written. KMS is eventually consistent.
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html>.
const REPEATS: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Whether there is a key for the trails.
pub(super) enum KeyResult {
    /// Every essential step of this key was performed.
    Usable(KeyArn),
    /// An essential step failed.
    Unusable,
    /// The state of AWS contradicts the plan.
    Contradicted(Contradiction),
}

impl<R: Read, W: Write> Executor<'_, R, W> {
    /// Performs the steps of one sealing key.
    pub(super) async fn apply_key(&self, region: &Region, plan: &KeyPlan) -> (Vec<Entry>, KeyResult) {
        let mut key = plan.key.clone();
        let mut entries = Vec::new();
        for (index, step) in plan.steps.iter().enumerate() {
            // One second earlier, to allow for clock skew with KMS.
            let sent_at = self.now().saturating_sub(1);
            let result = match self.key_step(region, step, plan, &mut key).await {
                Ok(result) => result,
                Err(failure) if failure.outcome_unknown => StepResult::Unconfirmed { failure, sent_at },
                Err(failure) => StepResult::Failed(failure),
            };
            let subject = Subject::Key(region.clone());
            let end = match &result {
                StepResult::Contradicted(contradiction) => Some(KeyResult::Contradicted(contradiction.clone())),
                // The policy must be evaluated again.
                StepResult::Done(Effect::AppliedThenChanged) => {
                    key.clone().map(|key| KeyResult::Contradicted(Contradiction::PolicyChanged(key)))
                }
                StepResult::Done(_) => None,
                _ if !step.is_essential() => None,
                // An unanswered step ends the pass once; a second time, the key is unusable.
                StepResult::Unconfirmed { failure, .. } if !self.journal.has_failed(subject.clone(), step.name()) => {
                    Some(KeyResult::Contradicted(Contradiction::OutcomeUnknown(failure.clone())))
                }
                _ => Some(KeyResult::Unusable),
            };
            let (pass, step) = (self.journal.pass(), Step::Key(step.clone()));
            entries.push(logged(Entry::new(pass, subject.clone(), step, key.clone(), result)));
            if let Some(end) = end {
                if matches!(end, KeyResult::Unusable) {
                    let rest = plan.steps.iter().skip(index.saturating_add(1)).cloned().map(Step::Key);
                    entries.extend(
                        rest.map(|step| Entry::new(pass, subject.clone(), step, key.clone(), StepResult::NotPerformed)),
                    );
                }
                return (entries, end);
            }
        }
        (entries, key.map_or(KeyResult::Unusable, KeyResult::Usable))
    }

    /// Performs one step on `key`, which a step may create.
    async fn key_step(
        &self,
        region: &Region,
        step: &KeyStep,
        plan: &KeyPlan,
        key: &mut Option<KeyArn>,
    ) -> Result<StepResult, Failure> {
        if !matches!(step, KeyStep::Adopt(_)) {
            self.has_written.store(true, Ordering::Relaxed);
        }
        let applied = Ok(StepResult::Done(Effect::Applied));
        if let KeyStep::Create(new) = step {
            *key = Some(self.create(region, new, plan).await?);
            return applied;
        }
        let missing = || Failure::transient(format!("there is no key in `{region}` for this step"));
        let key = key.as_ref().ok_or_else(missing)?;
        match step {
            KeyStep::Create(_) | KeyStep::Adopt(_) => applied,
            KeyStep::Restore { pending_deletion, .. } => self.restore(key, *pending_deletion).await,
            KeyStep::Extend(change) => self.extend(key, change).await,
            KeyStep::EnableRotation => match self.writer.enable_rotation(key).await {
                Ok(()) => applied,
                Err(failure) => match self.reader.key_rotation(key).await {
                    Ok(true) => Ok(StepResult::Done(Effect::ReadBack(vec![]))),
                    _ => Err(failure),
                },
            },
            KeyStep::CreateAlias(alias) => match self.writer.create_alias(alias, key).await {
                Ok(AliasCreation::Created) => applied,
                Ok(AliasCreation::AlreadyExists) => Ok(StepResult::Contradicted(Contradiction::AliasExists)),
                // The next pass, or the next run, reads the alias.
                Err(failure) if failure.outcome_unknown || failure.not_sent => Err(failure),
                Err(failure) => match self.reader.key_metadata(alias.as_str(), region).await {
                    Ok(Reading::Known(holder)) if holder.arn == *key => Ok(StepResult::Done(Effect::ReadBack(vec![]))),
                    _ => Err(failure),
                },
            },
        }
    }

    /// Creates a key, unless a new key shows that an attempt took effect, whatever it returned. The next pass resolves that.
    async fn create(&self, region: &Region, new: &NewKey, plan: &KeyPlan) -> Result<KeyArn, Failure> {
        let is_first = AtomicBool::new(true);
        let unchanged = async || Ok(is_first.swap(false, Ordering::Relaxed) || !self.has_new_key(region, plan).await?);
        match self.writer.create_key(region, new, unchanged).await {
            Err(failure) if !failure.outcome_unknown && !failure.not_sent => {
                let outcome_unknown = self.has_new_key(region, plan).await.unwrap_or_default();
                Err(Failure { outcome_unknown, ..failure })
            }
            created => created,
        }
    }

    /// Whether the tag index returns a key that it did not return for the plan. A plan creates a key also where AWS denies
    /// this read.
    async fn has_new_key(&self, region: &Region, plan: &KeyPlan) -> Result<bool, Failure> {
        match self.reader.tagged_keys(region).await {
            Ok(keys) => Ok(keys.iter().any(|key| !plan.indexed.contains(key))),
            Err(failure) if failure.is_transient() || failure.code.is_none() => Err(failure),
            Err(_) => Ok(false),
        }
    }

    /// Makes a key usable, and reads whether it is.
    async fn restore(&self, key: &KeyArn, pending_deletion: bool) -> Result<StepResult, Failure> {
        if pending_deletion && let Err(failure) = self.writer.cancel_key_deletion(key).await {
            return self.read_failed_restore(key, failure).await;
        }
        let failure = match self.writer.enable_key(key).await {
            Ok(()) => return Ok(self.read_restored(key).await),
            Err(failure) => failure,
        };
        let result = self.read_failed_restore(key, failure).await;
        if !pending_deletion {
            return result;
        }
        // The cancellation took effect, and a later run would not report it.
        let canceled = |failure: Failure| Failure {
            message: format!("{}; its deletion is canceled", failure.message),
            not_sent: false,
            ..failure
        };
        match result {
            Err(failure) if failure.outcome_unknown => Err(canceled(failure)),
            Err(failure) => Ok(StepResult::Failed(Failure { outcome_unknown: true, ..canceled(failure) })),
            Ok(StepResult::Contradicted(Contradiction::StateChanged(failure))) => {
                let failure = Failure { outcome_unknown: true, ..failure };
                Ok(StepResult::Contradicted(Contradiction::StateChanged(failure)))
            }
            result => result,
        }
    }

    /// Whether a key that KMS accepted to enable is usable.
    async fn read_restored(&self, key: &KeyArn) -> StepResult {
        for _ in 0..REPEATS {
            match self.reader.key_metadata(key.as_str(), key.region()).await {
                Ok(Reading::Known(current)) if current.state == KeyState::Usable => {
                    return StepResult::Done(Effect::Applied);
                }
                Ok(Reading::Known(_) | Reading::Absent) => {}
                // The next observation does not show that this was needed, so it must be reported here.
                Ok(Reading::Denied(failure)) | Err(failure) => return StepResult::Done(Effect::Unverified(failure)),
            }
            if self.reader.wait(PAUSE).await.is_err() {
                break;
            }
        }
        let invisible = Failure::transient(format!("KMS does not return key `{key}` as enabled yet"));
        StepResult::Done(Effect::Unverified(invisible))
    }

    /// What became of a key if a call that restores it failed.
    async fn read_failed_restore(&self, key: &KeyArn, failure: Failure) -> Result<StepResult, Failure> {
        let subject = Subject::Key(key.region().clone());
        let was_contradicted = self.journal.was_contradicted(subject, StepName::RestoreKey);
        // The key is not in the state that was read. If that happened before, reading again does not help.
        if failure.is("KMSInvalidStateException") && !was_contradicted {
            self.reader.wait(PAUSE).await?;
            return Ok(StepResult::Contradicted(Contradiction::StateChanged(failure)));
        }
        if failure.outcome_unknown || failure.not_sent {
            return Err(failure);
        }
        // A later run finds the key enabled and would not report that this one enabled it.
        match self.reader.key_metadata(key.as_str(), key.region()).await {
            Ok(Reading::Known(current)) if current.state == KeyState::Usable => {
                Ok(StepResult::Done(Effect::ReadBack(vec![])))
            }
            // The deletion is canceled, whatever the call returned.
            Ok(Reading::Known(current))
                if current.state == KeyState::Disabled
                    && failure.operation == Some("kms:CancelKeyDeletion")
                    && !was_contradicted =>
            {
                Ok(StepResult::Contradicted(Contradiction::StateChanged(failure)))
            }
            _ => Err(failure),
        }
    }

    /// Replaces a key policy by the longer one, only if it is still the policy that was read. KMS has no conditional
    /// write, so it is read before every attempt, and again afterwards.
    async fn extend(&self, key: &KeyArn, change: &PolicyChange) -> Result<StepResult, Failure> {
        let extended = &change.extension.document;
        let unchanged = async || match self.reader.key_policy(key).await? {
            Reading::Known(Ok(current)) => Ok(policies_equal(&current, &change.before)),
            Reading::Denied(failure) => Err(failure),
            Reading::Known(Err(_)) | Reading::Absent => Ok(false),
        };
        let failed = match self.writer.put_key_policy(key, extended, !change.rejected.is_empty(), unchanged).await {
            Ok(Some(())) => None,
            Ok(None) => return Ok(StepResult::Contradicted(Contradiction::PolicyChanged(key.clone()))),
            Err(failure) if failure.not_sent => return Err(failure),
            Err(failure) => Some(failure),
        };
        for _ in 0..REPEATS {
            let current = match (self.reader.key_policy(key).await, &failed) {
                (Ok(Reading::Known(Ok(current))), _) if policies_equal(&current, extended) => {
                    let effect = if failed.is_some() { Effect::ReadBack(vec![]) } else { Effect::Applied };
                    return Ok(StepResult::Done(effect));
                }
                // An error that normally means that the call had no effect is final.
                (_, Some(failure)) if !failure.outcome_unknown => return Err(failure.clone()),
                // The write may have taken effect, whatever became of this read.
                (current, _) => current.map_err(|failure| Failure { outcome_unknown: true, ..failure })?,
            };
            match current {
                // KMS does not return it yet.
                Reading::Known(Ok(current)) if policies_equal(&current, &change.before) => {}
                Reading::Absent => {}
                Reading::Denied(failure) => {
                    let message = format!("the new policy of key `{key}` cannot be read back: {}", failure.message);
                    return Ok(StepResult::Failed(Failure { message, outcome_unknown: true, ..failure }));
                }
                Reading::Known(Ok(current)) if change.extension.is_applied_to(&current) => {
                    return Ok(StepResult::Done(Effect::AppliedThenChanged));
                }
                // Without a response, the next pass decides.
                Reading::Known(_) => match failed {
                    Some(failure) => return Err(failure),
                    None => return Ok(StepResult::Done(Effect::AppliedThenChanged)),
                },
            }
            if self.reader.wait(PAUSE).await.is_err() {
                break;
            }
        }
        match failed {
            Some(failure) => Err(failure),
            // KMS accepted it. It may appear later, or another principal wrote the old policy again.
            None => {
                let invisible = Failure::transient(format!("KMS does not return the new policy of key `{key}`"));
                Ok(StepResult::Failed(Failure { outcome_unknown: true, ..invisible }))
            }
        }
    }
}
