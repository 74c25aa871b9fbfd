//! Reads. Facts come in two helpings: those that tell whether a trail is well, and, only for one that
//! is not, those that mending it hangs on.

mod sealing;
mod shared;
mod targets;

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use trailseal_core::assess::is_ours;
use trailseal_core::config::Config;
use trailseal_core::ids::{FunctionArn, KeyArn, Region};
use trailseal_core::key::own_key_hangs_on_tags;
use trailseal_core::observation::{
    Class, Failure, KeyFacts, KeyTags, MendingFacts, ParsedPolicy, Reading, TrailFacts, TrailSettings,
};

pub(crate) use sealing::{left_over, regions, sealing};
pub(crate) use shared::Shared;
pub(crate) use targets::{Meant, every_trail, trails_with_key};

use crate::aws::Read;

/// Awaits them all. How many calls are under way at once is limited where they are made (`aws::limits`),
/// so that a look that waits, or hangs, holds up no other.
pub(crate) async fn side_by_side<F: Future>(looks: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    looks.into_iter().collect::<FuturesUnordered<_>>().collect().await
}

/// A key that is missing is looked for again after this time: a wrong reading must not move a trail
/// off a key that works.
const SECOND_LOOK: Duration = Duration::from_secs(30);

/// Whether a trail is well: its settings, its status, its key. `None`: there is no such trail.
pub(crate) async fn trail(
    reader: &impl Read,
    Meant { trail, settings }: &Meant,
    config: &Config,
    home: &FunctionArn,
) -> Result<Option<TrailFacts>, Failure> {
    let (settings, status) = match settings {
        // Its Region would have to answer the status, too.
        Some(Err(failure)) => return Err(failure.clone()),
        Some(Ok(known)) => (Ok(Some(known.clone())), reader.trail_status(trail).await),
        None => tokio::join!(reader.trail(trail), reader.trail_status(trail)),
    };
    let Some(settings) = settings? else { return Ok(None) };
    let Some(status) = status? else { return Ok(None) };
    let (key, waited) = match &settings.kms_key_id {
        Some(named) if is_ours(&settings.arn, config, home) => {
            let (mut reading, waited) = own_key(reader, named, &settings.home_region, home).await?;
            if let Reading::Known(key) = &mut reading
                && own_key_hangs_on_tags(key, &settings.arn, config, home)
            {
                key.tags = Some(tags(reader, &key.metadata.arn, config).await?);
            }
            (Some(reading), waited)
        }
        _ => (None, false),
    };
    Ok(Some(TrailFacts { settings, status, key, waited }))
}

/// The key that a trail names, and whether that took a second look. CloudTrail names it by its ARN; what
/// is named otherwise and not found may be elsewhere, so that it is not certainly missing.
async fn own_key(
    reader: &impl Read,
    named: &str,
    home_region: &Region,
    home: &FunctionArn,
) -> Result<(Reading<KeyFacts>, bool), Failure> {
    let told =
        named.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2)).and_then(|region| region.parse().ok());
    let region = told.as_ref().unwrap_or(home_region);
    let reading = key(reader, named, region, home).await?;
    if reading != Reading::Absent {
        return Ok((reading, false));
    }
    if named.parse::<KeyArn>().is_err() {
        let message =
            format!("the trail names its key as `{named}`, which is no key's ARN and not to be found in `{region}`");
        return Ok((Reading::Denied(Failure::terminal(message, "name the trail's key by its ARN")), false));
    }
    reader.wait(SECOND_LOOK).await?;
    Ok((key(reader, named, region, home).await?, true))
}

/// What mending a trail hangs on; with `seal`, what giving it a key hangs on, too.
pub(crate) async fn mending(reader: &impl Read, trail: &TrailSettings, config: &Config, seal: bool) -> MendingFacts {
    let (bucket_region, exempt) = tokio::join!(
        async {
            match seal {
                true => Some(reader.bucket_region(&trail.kept.bucket, &trail.home_region).await),
                false => None,
            }
        },
        reader.trail_tag(&trail.arn, &trail.home_region, &config.exempt_tag),
    );
    MendingFacts { bucket_region, exempt }
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
    let (metadata, early) = tokio::join!(reader.key_metadata(named, region), async {
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
    Ok(Reading::Known(KeyFacts { metadata, policy, tags: None }))
}

/// What a key's tags say, or why they may not be read; fails only with what passes.
async fn tags(reader: &impl Read, key: &KeyArn, config: &Config) -> Result<Result<KeyTags, Failure>, Failure> {
    match reader.key_tags(key, &config.exempt_tag).await {
        Err(failure) if failure.class == Class::Transient => Err(failure),
        told => Ok(told),
    }
}

/// `GetKeyPolicy` does not work across accounts.
async fn policy(reader: &impl Read, key: &KeyArn, home: &FunctionArn) -> Result<Reading<String>, Failure> {
    if key.account() == home.account() {
        return reader.key_policy(key).await.map(text);
    }
    let message = format!(
        "key `{key}` belongs to account `{}`, and KMS tells a key's policy to its own account only",
        key.account()
    );
    Ok(Reading::Denied(Failure::terminal(message, "ask that account's owner")))
}

/// The text of a policy, until facts hold it parsed.
pub(crate) fn text(policy: Reading<ParsedPolicy>) -> Reading<String> {
    match policy {
        Reading::Known(policy) => Reading::Known(policy.map_or_else(|_| "no policy document".into(), |it| it.text())),
        Reading::Absent => Reading::Absent,
        Reading::Denied(failure) => Reading::Denied(failure),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use trailseal_core::ids::TrailArn;
    use trailseal_core::observation::{
        KeptSettings, KeyManager, KeyMetadata, KeyState, KeyTags, ListedTrails, ReplicationRule, TrailStatus,
    };
    use trailseal_core::trigger::TrailRef;

    use super::*;
    use crate::aws::{BucketReads, KeyReads, TagReads, TrailReads};

    const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1";

    /// A trail whose key is read as scripted; remembers how long it was waited.
    struct Scripted {
        readings: Mutex<VecDeque<Reading<KeyMetadata>>>,
        waited: Mutex<Vec<Duration>>,
    }

    fn there() -> Reading<KeyMetadata> {
        Reading::Known(KeyMetadata {
            arn: KEY.parse().unwrap(),
            manager: KeyManager::Customer,
            spec: None,
            usage: None,
            origin: None,
            multi_region: false,
            state: KeyState::Usable,
            created: None,
            fresh: false,
        })
    }

    impl TrailReads for Scripted {
        async fn trail(&self, trail: &TrailRef) -> Result<Option<TrailSettings>, Failure> {
            let TrailRef::Arn(arn) = trail else { return Ok(None) };
            Ok(Some(TrailSettings {
                arn: arn.clone(),
                home_region: arn.region().clone(),
                kms_key_id: Some(KEY.into()),
                kept: KeptSettings::default(),
            }))
        }
        async fn trail_status(&self, _: &TrailRef) -> Result<Option<TrailStatus>, Failure> {
            Ok(Some(TrailStatus::default()))
        }
        async fn trail_tag(&self, _: &TrailArn, _: &Region, _: &str) -> Result<Option<String>, Failure> {
            Ok(None)
        }
        async fn describe_trails(&self, _: &Region) -> Result<Vec<TrailSettings>, Failure> {
            Ok(vec![])
        }
        async fn list_trails(&self, _: &Region) -> Result<ListedTrails, Failure> {
            Ok(ListedTrails::default())
        }
    }

    impl BucketReads for Scripted {
        async fn bucket_region(&self, _: &str, region: &Region) -> Result<Region, Failure> {
            Ok(region.clone())
        }
        async fn bucket_policy(&self, _: &str, _: &Region) -> Result<Reading<ParsedPolicy>, Failure> {
            Ok(Reading::Absent)
        }
        async fn bucket_replication(&self, _: &str, _: &Region) -> Result<Reading<Vec<ReplicationRule>>, Failure> {
            Ok(Reading::Absent)
        }
    }

    impl KeyReads for Scripted {
        async fn key_metadata(&self, _: &str, _: &Region) -> Result<Reading<KeyMetadata>, Failure> {
            Ok(self.readings.lock().unwrap().pop_front().unwrap())
        }
        async fn key_policy(&self, _: &KeyArn) -> Result<Reading<ParsedPolicy>, Failure> {
            Ok(Reading::Absent)
        }
        async fn key_tags(&self, _: &KeyArn, _: &str) -> Result<KeyTags, Failure> {
            Ok(KeyTags::default())
        }
        async fn key_aliases(&self, _: &KeyArn) -> Result<Vec<String>, Failure> {
            Ok(Vec::new())
        }
        async fn key_has_grants(&self, _: &KeyArn) -> Result<bool, Failure> {
            Ok(false)
        }
    }

    impl TagReads for Scripted {
        async fn tagged_keys(&self, _: &Region) -> Result<Vec<KeyArn>, Failure> {
            Ok(Vec::new())
        }
    }

    impl Read for Scripted {
        async fn wait(&self, time: Duration) -> Result<(), Failure> {
            self.waited.lock().unwrap().push(time);
            Ok(())
        }
    }

    async fn look(readings: [Reading<KeyMetadata>; 2]) -> (TrailFacts, Vec<Duration>) {
        let reader = Scripted { readings: Mutex::new(readings.into()), waited: Mutex::default() };
        let arn = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap();
        let home = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap();
        let config = Config::parse(|_| None).unwrap();
        let facts = trail(&reader, &Meant::named(TrailRef::Arn(arn)), &config, &home).await.unwrap().unwrap();
        (facts, reader.waited.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_key_that_is_missing_is_looked_for_again_half_a_minute_later() {
        let (facts, waited) = look([Reading::Absent, Reading::Absent]).await;
        assert_eq!(waited, [Duration::from_secs(30)]);
        assert_eq!((facts.key, facts.waited), (Some(Reading::Absent), true));
    }

    #[tokio::test]
    async fn what_is_no_arn_and_not_found_is_not_certainly_missing() {
        for named in ["1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:eu-central-1:123456789012:alias/audit"] {
            let reader = Scripted { readings: Mutex::new([Reading::Absent].into()), waited: Mutex::default() };
            let region = "eu-west-1".parse().unwrap();
            let home = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap();
            let (reading, waited) = own_key(&reader, named, &region, &home).await.unwrap();
            assert!(matches!(reading, Reading::Denied(_)) && !waited, "{reading:?}");
        }
    }

    #[tokio::test]
    async fn a_key_that_was_only_missing_for_a_moment_is_there() {
        let (facts, _) = look([Reading::Absent, there()]).await;
        assert!(matches!(facts.key, Some(Reading::Known(_))));
    }
}
