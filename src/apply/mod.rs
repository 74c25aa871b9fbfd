//! Writes. Takes the steps of a plan in order and decides nothing: whatever contradicts the plan ends
//! the pass, and the flow observes, assesses and plans again.

mod key;
mod trail;

use std::collections::BTreeMap;

use trailseal_core::plan::{Plan, TrailStep};
use trailseal_core::progress::Progress;

use crate::aws::{Read, Write};

/// What contradicted the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub(crate) struct Surprise(pub(crate) String);

/// Applies a plan. `stale` says that time passed or something was written since the facts were read.
pub(crate) async fn apply(
    reader: &impl Read,
    writer: &impl Write,
    plan: &Plan,
    mut stale: bool,
    progress: &mut Progress,
) -> Result<(), Surprise> {
    // Logging first: it must not hang on how long sealing takes, nor on whether it is possible.
    for (arn, trail) in &plan.trails {
        for step in &trail.steps {
            if let TrailStep::StartLogging { home_region } = step {
                trail::start_logging(writer, arn, home_region, progress.trail(arn)).await?;
                stale = true;
            }
        }
    }
    let mut keys = BTreeMap::new();
    for (region, key) in &plan.keys {
        stale |= !key.steps.is_empty();
        let arn = key::seal_region(reader, writer, region, key, progress.key(region)).await?;
        keys.extend(arn.map(|arn| (region, arn)));
    }
    for (arn, trail) in &plan.trails {
        let done = progress.trail(arn);
        for step in &trail.steps {
            let TrailStep::Update { bucket_region, observed, if_refused, .. } = step else { continue };
            match (keys.get(bucket_region), plan.keys.get(bucket_region)) {
                (Some(key), Some(plan)) => {
                    let update = trail::Update { observed, key, fresh: plan.fresh, if_refused };
                    update.send(reader, writer, stale, done).await?;
                }
                _ => done.leave(step, None),
            }
            stale = true;
        }
    }
    Ok(())
}
