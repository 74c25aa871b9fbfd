//! The candidates for the sealing key of a Region.

use tokio::join;
use trailseal_core::context::Context;
use trailseal_core::failure::Failure;
use trailseal_core::ids::{KeyArn, Region};
use trailseal_core::observation::{Candidates, KeyUse, Reading, TaggedKey};
use trailseal_core::pending::Pending;

use super::shared::{read_key, read_rotation, repeat_while};
use super::{is_named, keys_used_in_account};
use crate::aws::Read;

/// Reads the supplied key, or the key behind the alias; if neither exists, the key that this run created; if it created
/// none, the keys with trailseal's tag. With `rotation`, also whether the supplied or aliased key rotates.
pub(super) async fn candidates(
    reader: &impl Read,
    region: &Region,
    pending: &Pending,
    context: &Context,
    rotation: bool,
) -> Candidates {
    let supplied = context.config.supplied_keys.get(region);
    let name = supplied.map_or(context.config.key_alias.as_str(), KeyArn::as_str);
    // The alias exists, or was created a moment ago: KMS returns it soon.
    let alias_exists = pending.alias_regions().any(|pending| pending == region);
    let named = repeat_while(
        reader,
        |named| alias_exists && *named == Reading::Absent,
        || read_key(reader, name, region, context),
    )
    .await;
    let named = match named {
        Ok(Reading::Known(key)) if rotation => read_rotation(reader, key).await.map(Reading::Known),
        named => named,
    };
    let mut candidates = Candidates { named, tagged: Ok(vec![]), created: None };
    if supplied.is_some() || !matches!(candidates.named, Ok(Reading::Absent)) {
        return candidates;
    }
    match pending.unfinished.get(region) {
        // KMS may not return it yet, which is no obstacle.
        Some(own) => {
            if let Ok(Reading::Known(own)) = read_key(reader, own.key.as_str(), region, context).await {
                candidates.created = Some(own);
            }
        }
        None => candidates.tagged = tagged_keys(reader, region, pending, context).await,
    }
    candidates
}

/// The keys of a Region with trailseal's tag. The tag index lags behind: a key that may have been created a moment ago is
/// waited for. If it appears later still, the next run finds and reports it.
async fn tagged_keys(
    reader: &impl Read,
    region: &Region,
    pending: &Pending,
    context: &Context,
) -> Result<Vec<TaggedKey>, Failure> {
    let is_incomplete = |arns: &Vec<KeyArn>| pending.expects_key(region, arns);
    let arns = repeat_while(reader, is_incomplete, || reader.tagged_keys(region)).await?;
    let mut keys = Vec::new();
    for arn in arns {
        keys.extend(tagged_key(reader, &arn, context).await?);
    }
    for tagged in keys.iter_mut().filter(|tagged| tagged.aliases.is_empty()) {
        tagged.has_grants = reader.key_has_grants(&tagged.key.metadata.arn).await?;
    }
    // The trails are read only if one of them may use one of the keys.
    if keys.iter().any(|tagged| tagged.aliases.is_empty()) {
        let (used, unreadable) = keys_used_in_account(reader, context).await;
        if let Some(failure) = unreadable.as_ref().filter(|failure| failure.is_transient()) {
            return Err(failure.clone());
        }
        for tagged in &mut keys {
            tagged.usage = match &unreadable {
                _ if is_named(&used, &tagged.key.metadata.arn) => KeyUse::Used,
                Some(failure) => KeyUse::Unknown(failure.clone()),
                None => KeyUse::Unused,
            };
        }
    }
    Ok(keys)
}

/// A key that the tag index returns. `None`: it no longer exists.
pub(crate) async fn tagged_key(
    reader: &impl Read,
    arn: &KeyArn,
    context: &Context,
) -> Result<Option<TaggedKey>, Failure> {
    let (key, aliases) = join!(read_key(reader, arn.as_str(), arn.region(), context), reader.key_aliases(arn));
    match key? {
        Reading::Known(key) => Ok(Some(TaggedKey { key, aliases: aliases?, has_grants: false, usage: KeyUse::Unused })),
        Reading::Absent => Ok(None),
        Reading::Denied(failure) => Err(failure),
    }
}
