//! The steps of a sealing key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use trailseal_core::iam::document::Document;
use trailseal_core::ids::{KeyArn, Region};
use trailseal_core::key_policy::same;
use trailseal_core::observation::{Failure, KeyState, Reading};
use trailseal_core::plan::{KeyPlan, KeyStep, PolicyChange, StepName};
use trailseal_core::progress::{Aliased, KeyProgress, MadeKey, PerhapsCreated, StepReport, StepStatus};

use super::Surprise;
use crate::aws::{AliasCreation, Read, Write};
use crate::observe::text;

/// How often, and how long apart, a key is read until it shows what was written: KMS is eventually
/// consistent. Source: <https://docs.aws.amazon.com/kms/latest/developerguide/accessing-kms.html>.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Takes the steps of one sealing key. `None`: there is no key to use, and `progress` says why.
pub(super) async fn seal_region(
    reader: &impl Read,
    writer: &impl Write,
    region: &Region,
    plan: &KeyPlan,
    progress: &mut KeyProgress,
) -> Result<Option<KeyArn>, Surprise> {
    let mut key = plan.key.clone();
    for (index, step) in plan.steps.iter().enumerate() {
        let sent = now();
        let (status, detail, halt) = match take(reader, writer, region, step, &mut key, progress).await {
            Ok(Taken::Done(detail)) => {
                progress.mended |= step.mends();
                (StepStatus::Done, detail, None)
            }
            Ok(Taken::Contradicted(why)) => (StepStatus::NotNeeded, why.clone(), Some(Halt::LookAgain(why))),
            Err(failure) => {
                let failure = step.failed(failure, region, key.as_ref());
                if failure.outcome_unknown && step.name() == StepName::CreateKey {
                    progress.perhaps_created = Some(PerhapsCreated { what: failure.message.clone(), sent });
                }
                let (detail, outcome_unknown) = (failure.message.clone(), failure.outcome_unknown);
                let halt = match (step.essential(), outcome_unknown) {
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
                progress.leave(plan, index.saturating_add(1), region);
                return Ok(None);
            }
        }
    }
    Ok(key)
}

/// Seconds since 1970; a second earlier, since KMS's clock is another.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX).saturating_sub(1)
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
async fn take(
    reader: &impl Read,
    writer: &impl Write,
    region: &Region,
    step: &KeyStep,
    key: &mut Option<KeyArn>,
    progress: &mut KeyProgress,
) -> Result<Taken, Failure> {
    let key = match (step, key) {
        (KeyStep::Create(new), key) => {
            let created = writer.create_key(region, new).await?;
            progress.made.push(MadeKey { key: created.clone(), aliased: Aliased::NotYet, in_use: false });
            return Ok(Taken::Done(format!("`{}`", key.insert(created))));
        }
        (_, Some(key)) => &*key,
        (_, None) => {
            return Err(Failure::transient(format!("there is no key yet in `{region}` on which to take a step")));
        }
    };
    match step {
        KeyStep::Create(_) => {}
        KeyStep::Adopt(adoption) => progress.adopted(key, adoption),
        KeyStep::Restore { deleting } => return restore(reader, writer, key, *deleting, progress).await,
        KeyStep::Extend(change) => return extend(reader, writer, key, change).await,
        KeyStep::EnableRotation => {
            writer.enable_rotation(key).await?;
            return Ok(Taken::Done("every year".into()));
        }
        KeyStep::CreateAlias(alias) => {
            let answer = writer.create_alias(alias, key).await;
            let aliased = match &answer {
                Ok(AliasCreation::Created) => Aliased::Yes,
                Ok(AliasCreation::AlreadyExists) => Aliased::Open,
                Err(failure) if failure.outcome_unknown => Aliased::Open,
                Err(_) => Aliased::NotYet,
            };
            progress.aliased(key, aliased);
            return Ok(match answer? {
                AliasCreation::Created => Taken::Done(format!("`{alias}` for `{key}`")),
                AliasCreation::AlreadyExists => Taken::Contradicted(format!("`{alias}` exists already in `{region}`")),
            });
        }
    }
    Ok(Taken::Done(step.detail(region, Some(key))))
}

/// Makes a key work again, and looks whether it does.
async fn restore(
    reader: &impl Read,
    writer: &impl Write,
    key: &KeyArn,
    deleting: bool,
    progress: &KeyProgress,
) -> Result<Taken, Failure> {
    let restored = async {
        if deleting {
            writer.cancel_key_deletion(key).await?;
        }
        writer.enable_key(key).await.map_err(|failure| match deleting {
            true => Failure { message: format!("{}; its deletion is cancelled", failure.message), ..failure },
            false => failure,
        })
    };
    match restored.await {
        Ok(()) => {}
        // The key is in another state than it was read in. If it was so before, looking again did not help.
        Err(failure)
            if failure.is("KMSInvalidStateException") && !progress.contradicted_before(StepName::RestoreKey) =>
        {
            reader.wait(PAUSE).await?;
            return Ok(Taken::Contradicted(failure.message));
        }
        Err(failure) => return Err(failure),
    }
    let done = if deleting { "its deletion is cancelled, and it is enabled" } else { "it is enabled" };
    for _ in 0..LOOKS {
        match reader.key_metadata(key.as_str(), key.region()).await {
            Ok(Reading::Known(now)) if now.state == KeyState::Usable => {
                return Ok(Taken::Done(format!("`{key}`: {done}")));
            }
            Ok(Reading::Known(_) | Reading::Absent) => {}
            // What was done has to be told, and the next look does not see that it was needed.
            Ok(Reading::Denied(failure)) | Err(failure) => {
                return Ok(Taken::Done(format!("`{key}`: {done}, says KMS; {}", failure.message)));
            }
        }
        reader.wait(PAUSE).await?;
    }
    Ok(Taken::Contradicted(format!("key `{key}` was enabled and does not show it")))
}

/// Puts a key's longer policy, which replaces the whole: only onto the policy that it was made from, and
/// read again afterwards, since KMS knows no condition for that.
async fn extend(
    reader: &impl Read,
    writer: &impl Write,
    key: &KeyArn,
    change: &PolicyChange,
) -> Result<Taken, Failure> {
    let overtaken = || Ok(Taken::Contradicted(format!("somebody else changed the policy of key `{key}` meanwhile")));
    match reader.key_policy(key).await.map(text)? {
        Reading::Known(now) if same(&now, &change.before) => {}
        Reading::Denied(failure) => return Err(failure),
        Reading::Known(_) | Reading::Absent => return overtaken(),
    }
    let policy = Document::parse(&change.extension.text)
        .map_err(|error| Failure::terminal(error.to_string(), "report this as a bug"))?;
    let sent = writer.put_key_policy(key, &policy).await;
    let unanswered = match sent {
        Ok(()) => None,
        Err(failure) if failure.outcome_unknown => Some(failure),
        Err(failure) => return Err(failure),
    };
    for _ in 0..LOOKS {
        match reader.key_policy(key).await.map(text)? {
            Reading::Known(now) if same(&now, &change.extension.text) => {
                return Ok(Taken::Done(format!("{} in the policy of `{key}`", change.extension.words())));
            }
            // Not shown yet.
            Reading::Known(now) if same(&now, &change.before) => reader.wait(PAUSE).await?,
            Reading::Absent => reader.wait(PAUSE).await?,
            Reading::Denied(failure) => {
                let message = format!("the policy of key `{key}` was put and cannot be read back: {}", failure.message);
                return Err(Failure { message, ..failure });
            }
            Reading::Known(now) if change.extension.stands_in(&now) => {
                let gained = change.extension.words();
                return Ok(Taken::Done(format!(
                    "{gained} in the policy of `{key}`, which somebody else changed since"
                )));
            }
            Reading::Known(_) => return overtaken(),
        }
    }
    let message = format!("the policy of key `{key}` was put and does not show what it gained");
    Err(unanswered.unwrap_or_else(|| Failure::transient(message)))
}
