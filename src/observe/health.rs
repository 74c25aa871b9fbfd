//! The health of trails: settings, status and key.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::join;
use tokio::time::Instant;
use trailseal_core::context::Context;
use trailseal_core::failure::Failure;
use trailseal_core::ids::{KeyArn, Region, TrailArn};
use trailseal_core::observation::{KeyObservation, Reading, TrailFacts, TrailObservation, TrailSettings};

use super::shared::SharedKeys;
use super::{Targets, TrailTarget, join_unordered};
use crate::aws::Read;

/// A missing key is read again after this time: a wrong reading must not move a trail off a working key.
const CONFIRMATION: Duration = Duration::from_secs(30);

/// The `tracing` target of the events that say how many trails of a Region are still to be read: its fields are `region` and
/// `remaining`.
pub const READ_TARGET: &str = "trailseal::read";

/// Reads the health of each trail. The map's key is the trail's ARN, also for a trail that was named otherwise.
pub(crate) async fn observe_health(
    reader: &impl Read,
    targets: &Targets,
    context: &Context,
) -> BTreeMap<TrailArn, TrailObservation> {
    let keys = SharedKeys::new(reader, context, targets.rotation);
    let remaining = Remaining::new(targets, context);
    let read = join_unordered(targets.trails.iter().map(async |target| {
        let read = read_trail(reader, &keys, target, context).await;
        let arn = target.arn(context);
        remaining.record_read(arn.region());
        match read {
            Ok(Some(facts)) => (facts.settings.arn.clone(), TrailObservation::Readable(Box::new(facts))),
            Ok(None) => (arn, TrailObservation::Gone),
            Err(failure) => (arn, TrailObservation::Unreadable(failure)),
        }
    }));
    read.await.into_iter().collect()
}

/// How many trails of each Region are still to be read.
struct Remaining(BTreeMap<Region, AtomicU64>);

impl Remaining {
    fn new(targets: &Targets, context: &Context) -> Self {
        let mut regions: BTreeMap<Region, AtomicU64> = BTreeMap::new();
        for target in &targets.trails {
            regions.entry(target.arn(context).region().clone()).or_default().fetch_add(1, Ordering::Relaxed);
        }
        for (region, trails) in &regions {
            report(region, trails.load(Ordering::Relaxed));
        }
        Self(regions)
    }

    fn record_read(&self, region: &Region) {
        if let Some(trails) = self.0.get(region) {
            report(region, trails.fetch_sub(1, Ordering::Relaxed).saturating_sub(1));
        }
    }
}

fn report(region: &Region, remaining: u64) {
    tracing::info!(target: READ_TARGET, region = region.as_str(), remaining);
}

async fn read_trail<R: Read>(
    reader: &R,
    keys: &SharedKeys<'_, R>,
    TrailTarget { trail, settings }: &TrailTarget,
    context: &Context,
) -> Result<Option<TrailFacts>, Failure> {
    let (settings, status) = match settings {
        // `DescribeTrails` failed in this Region; do not call that Region again.
        Some(Err(failure)) => return Err(failure.clone()),
        Some(Ok(known)) => (Ok(Some(known.clone())), reader.trail_status(trail).await),
        None => join!(reader.trail(trail), reader.trail_status(trail)),
    };
    // A trail that does not exist is gone, whatever its status returns.
    let Some(settings) = settings? else { return Ok(None) };
    let Some(status) = status? else { return Ok(None) };
    let key = match &settings.kms_key_id {
        Some(name) if context.owns_trail(&settings.arn) => Some(trail_key(reader, keys, name, &settings).await?),
        _ => None,
    };
    Ok(Some(TrailFacts { settings, status, key }))
}

/// The key that a trail names. Only a key that is named by its ARN is certainly missing, and read a second time.
async fn trail_key<R: Read>(
    reader: &R,
    keys: &SharedKeys<'_, R>,
    name: &str,
    settings: &TrailSettings,
) -> Result<Reading<KeyObservation>, Failure> {
    let arn: Option<KeyArn> = name.parse().ok();
    let region = region_in(name).unwrap_or_else(|| settings.home_region.clone());
    let reading = keys.key(name, &region, None).await?;
    if reading != Reading::Absent || arn.is_none() {
        return Ok(reading);
    }
    let first_read = Instant::now();
    reader.wait(CONFIRMATION).await?;
    keys.key(name, &region, Some(first_read)).await
}

/// The Region in an ARN of any kind, such as an alias's.
fn region_in(name: &str) -> Option<Region> {
    name.strip_prefix("arn:")?.split(':').nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use trailseal_core::config::Config;
    use trailseal_core::trigger::TrailRef;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_trails_still_to_be_read_are_counted_for_each_region() {
        let function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap();
        let context = Context { config: Config::parse(|_| None).unwrap(), function_arn };
        let target = |region: &str, name: &str| {
            TrailTarget::new(TrailRef::Arn(
                format!("arn:aws:cloudtrail:{region}:123456789012:trail/{name}").parse().unwrap(),
            ))
        };
        let trails = vec![target("eu-west-1", "one"), target("eu-west-1", "two"), target("us-east-1", "one")];
        let (malformed, regions) = (Vec::new(), BTreeMap::new());
        let targets = Targets { trails, malformed, regions, rotation: false, read_since: Instant::now() };
        let (log, region) = (Log::default(), "eu-west-1".parse().unwrap());
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone());
        tracing::subscriber::with_default(subscriber.finish(), || {
            let remaining = Remaining::new(&targets, &context);
            remaining.record_read(&region);
            remaining.record_read(&region);
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(lines.iter().all(|line| line["target"] == READ_TARGET), "{log}");
        let counts: Vec<_> = lines.iter().map(|line| (&line["region"], &line["remaining"])).collect();
        let (ireland, virginia) = (json!("eu-west-1"), json!("us-east-1"));
        let [two, one, none] = [json!(2), json!(1), json!(0)];
        assert_eq!(counts, [(&ireland, &two), (&virginia, &one), (&ireland, &one), (&ireland, &none)]);
    }
}
