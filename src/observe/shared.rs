//! The keys of trails, read with their policies and tags: once in a pass, however many trails share them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::join;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use trailseal_core::context::Context;
use trailseal_core::failure::Failure;
use trailseal_core::ids::{KeyArn, Region};
use trailseal_core::observation::{KeyObservation, KeyTags, ParsedPolicy, Reading};

use crate::aws::Read;

/// A read that is in flight or done.
type SharedRead = Arc<OnceCell<Result<Reading<KeyObservation>, Failure>>>;

/// Reads each key once. A second caller awaits the read that is in flight.
pub(super) struct SharedKeys<'a, R> {
    reader: &'a R,
    context: &'a Context,
    rotation: bool,
    /// By Region and name, with the time of the first request.
    reads: Mutex<BTreeMap<(Region, String), (Instant, SharedRead)>>,
}

impl<'a, R: Read> SharedKeys<'a, R> {
    /// With `rotation`, the rotation of the keys is read, too.
    pub(super) fn new(reader: &'a R, context: &'a Context, rotation: bool) -> Self {
        Self { reader, context, rotation, reads: Mutex::default() }
    }

    /// A key by its ARN, ID or alias; with `after`, from a read that began later.
    pub(super) async fn key(
        &self,
        name: &str,
        region: &Region,
        after: Option<Instant>,
    ) -> Result<Reading<KeyObservation>, Failure> {
        let read = {
            let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = reads.entry((region.clone(), name.to_owned()));
            let (began, read) = entry.or_insert_with(|| (Instant::now(), SharedRead::default()));
            if after.is_some_and(|after| *began <= after) {
                (*began, *read) = (Instant::now(), SharedRead::default());
            }
            Arc::clone(read)
        };
        let read_anew = async || match (read_key(self.reader, name, region, self.context).await?, self.rotation) {
            (Reading::Known(key), true) => read_rotation(self.reader, key).await.map(Reading::Known),
            (reading, _) => Ok(reading),
        };
        read.get_or_init(read_anew).await.clone()
    }
}

/// The key with its rotation, if trailseal maintains that.
pub(super) async fn read_rotation(reader: &impl Read, key: KeyObservation) -> Result<KeyObservation, Failure> {
    if !key.has_maintained_rotation() {
        return Ok(key);
    }
    match reader.key_rotation(&key.metadata.arn).await {
        Err(failure) if failure.is_transient() => Err(failure),
        rotation => Ok(KeyObservation { rotation: Some(rotation), ..key }),
    }
}

/// A key with its policy and tags. With an ARN, all are read at once; any other name must be resolved first.
pub(super) async fn read_key(
    reader: &impl Read,
    name: &str,
    region: &Region,
    context: &Context,
) -> Result<Reading<KeyObservation>, Failure> {
    let arn: Option<KeyArn> = name.parse().ok();
    let region = arn.as_ref().map_or(region, KeyArn::region);
    let (metadata, early) = join!(reader.key_metadata(name, region), async {
        match &arn {
            Some(arn) => Some(policy_and_tags(reader, arn, context).await),
            None => None,
        }
    });
    let metadata = match metadata? {
        Reading::Known(metadata) => metadata,
        Reading::Absent => return Ok(Reading::Absent),
        Reading::Denied(failure) => return Ok(Reading::Denied(failure)),
    };
    let (policy, tags) = match early {
        Some(read) => read?,
        None => policy_and_tags(reader, &metadata.arn, context).await?,
    };
    Ok(Reading::Known(KeyObservation { metadata, policy, tags, rotation: None }))
}

type PolicyAndTags = (Option<Reading<ParsedPolicy>>, Result<KeyTags, Failure>);

/// KMS returns neither to another account. The tags of a supplied key do not matter: it is its owner's.
async fn policy_and_tags(reader: &impl Read, key: &KeyArn, context: &Context) -> Result<PolicyAndTags, Failure> {
    if key.account() != context.function_arn.account() {
        return Ok((None, Ok(KeyTags::default())));
    }
    if context.is_supplied_key(key) {
        return Ok((Some(reader.key_policy(key).await?), Ok(KeyTags::default())));
    }
    let (policy, tags) = join!(reader.key_policy(key), reader.key_tags(key, &context.config.exempt_tag));
    match tags {
        Err(failure) if failure.is_transient() => Err(failure),
        tags => Ok((Some(policy?), tags)),
    }
}

/// Awaits a read, and repeats it while it returns too little.
pub(super) async fn repeat_while<T, F: Future<Output = Result<T, Failure>>>(
    reader: &impl Read,
    is_incomplete: impl Fn(&T) -> bool,
    read: impl Fn() -> F,
) -> Result<T, Failure> {
    const REPEATS: usize = 10;
    const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
    let mut value = read().await?;
    for _ in 0..REPEATS {
        if !is_incomplete(&value) {
            break;
        }
        reader.wait(PAUSE).await?;
        value = read().await?;
    }
    Ok(value)
}
