//! Reads. Facts come in two helpings: those that tell whether a trail is well, and, only for one that
//! is not, those that mending it hangs on.

use std::time::Duration;

use tokio::time::sleep;
use trailseal_core::config::Config;
use trailseal_core::facts::{Failure, KeyFacts, MendingFacts, Reading, TrailFacts, TrailSettings};
use trailseal_core::ids::{FunctionArn, KeyArn, Region};
use trailseal_core::trigger::TrailRef;

use crate::aws::Read;

/// A key that is missing is looked for again after this time: a wrong reading must not move a trail
/// off a key that works.
const SECOND_LOOK: Duration = Duration::from_secs(30);

/// Whether a trail is well: its settings, its status, its key. `None`: there is no such trail.
pub(crate) async fn trail(
    reader: &impl Read,
    trail: &TrailRef,
    home: &FunctionArn,
) -> Result<Option<TrailFacts>, Failure> {
    let (settings, status) = tokio::join!(reader.trail(trail), reader.trail_status(trail));
    let Some(settings) = settings? else { return Ok(None) };
    let Some(status) = status? else { return Ok(None) };
    let mut waited = false;
    let key = match &settings.kms_key_id {
        None => None,
        Some(named) => {
            let mut reading = key(reader, named, &settings.home_region, home).await?;
            if reading == Reading::Absent {
                sleep(SECOND_LOOK).await;
                waited = true;
                reading = key(reader, named, &settings.home_region, home).await?;
            }
            Some(reading)
        }
    };
    Ok(Some(TrailFacts { settings, status, key, waited }))
}

/// What mending a trail hangs on.
pub(crate) async fn mending(reader: &impl Read, trail: &TrailSettings, config: &Config) -> MendingFacts {
    let (bucket_region, exempt) = tokio::join!(
        reader.bucket_region(&trail.kept.bucket, &trail.home_region),
        reader.trail_tag(&trail.arn, &trail.home_region, &config.exempt_tag),
    );
    MendingFacts { bucket_region, exempt }
}

/// The candidate for the sealing key of a Region: the supplied key, or what is behind the alias.
pub(crate) async fn sealing_key(
    reader: &impl Read,
    region: &Region,
    config: &Config,
    home: &FunctionArn,
) -> Result<Reading<KeyFacts>, Failure> {
    let named = config.supplied_keys.get(region).map_or(config.key_alias.as_str(), KeyArn::as_str);
    key(reader, named, region, home).await
}

/// A key and its policy: side by side where its ARN is known, which `GetKeyPolicy` wants.
async fn key(
    reader: &impl Read,
    named: &str,
    region: &Region,
    home: &FunctionArn,
) -> Result<Reading<KeyFacts>, Failure> {
    let arn: Option<KeyArn> = named.parse().ok();
    let region = arn.as_ref().map_or(region, KeyArn::region);
    let (metadata, early) = tokio::join!(reader.key(named, region), async {
        match &arn {
            Some(arn) => Some(policy(reader, arn, home).await),
            None => None,
        }
    });
    let metadata = match metadata? {
        Reading::Known(metadata) => metadata,
        Reading::Absent => return Ok(Reading::Absent),
        Reading::Denied(failure) => return Ok(Reading::Denied(failure)),
    };
    let policy = match early {
        Some(policy) => policy?,
        None => policy(reader, &metadata.arn, home).await?,
    };
    Ok(Reading::Known(KeyFacts { metadata, policy }))
}

/// `GetKeyPolicy` does not work across accounts.
async fn policy(reader: &impl Read, key: &KeyArn, home: &FunctionArn) -> Result<Reading<String>, Failure> {
    if key.account() == home.account() {
        return reader.key_policy(key).await;
    }
    let message = format!(
        "key `{key}` belongs to account `{}`, and KMS tells a key's policy to its own account only",
        key.account()
    );
    Ok(Reading::Denied(Failure::terminal(message, "ask that account's owner")))
}
