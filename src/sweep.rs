//! What only a sweep does: it scans for strays.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use tokio::join;

use trailseal_core::context::Context;
use trailseal_core::ids::{KeyArn, Region};
use trailseal_core::journal::Journal;
use trailseal_core::observation::{KeyUse, StrayScan, TaggedKey};
use trailseal_core::report::AccountReport;

use crate::aws::{Aws, Read};
use crate::invocation::Invocation;
use crate::observe::{Targets, TrailTarget, is_named, join_unordered, tagged_key};

/// Scans for strays while the trails are reconciled; afterwards in the Regions that only the plans contain: those of
/// buckets whose trails have no key yet.
pub(crate) async fn reconcile_and_scan(
    passes: impl Future<Output = Journal>,
    aws: &Aws,
    context: &Context,
    targets: Targets,
    invocation: Invocation,
) -> (Journal, AccountReport) {
    let regions = regions(&targets, context);
    let reader = aws.reader(invocation.shared_stage_deadline());
    let (journal, mut scan) = join!(passes, scan_tagged_keys(&reader, &targets, &regions, context));
    let rest = journal.candidate_regions().filter(|region| !regions.contains(*region)).cloned().collect();
    let reader = aws.reader(invocation.work_until);
    scan.merge(scan_tagged_keys(&reader, &targets, &rest, context).await);
    let report = AccountReport::new(targets.malformed, &scan, &journal);
    (journal, report)
}

/// The Regions of this account's trails and their keys, as far as their settings contain them.
fn regions(targets: &Targets, context: &Context) -> BTreeSet<Region> {
    let mut regions = BTreeSet::from([context.function_arn.region().clone()]);
    let readable = targets.trails.iter().filter_map(|target| target.settings.as_ref()?.as_ref().ok());
    for settings in readable.filter(|settings| context.owns_trail(&settings.arn)) {
        regions.insert(settings.home_region.clone());
        let key = settings.kms_key_id.as_ref().and_then(|name| name.parse::<KeyArn>().ok());
        regions.extend(key.map(|key| key.region().clone()));
    }
    regions
}

/// The keys with trailseal's tag in these Regions that none of these trails uses.
async fn scan_tagged_keys(
    reader: &impl Read,
    targets: &Targets,
    regions: &BTreeSet<Region>,
    context: &Context,
) -> StrayScan {
    if regions.is_empty() {
        return StrayScan::default();
    }
    // trailseal's keys allow this account's trails: another account's trail that cannot be read uses none of them.
    let counts =
        |target: &TrailTarget| matches!(target.settings, Some(Ok(_))) || context.owns_trail(&target.arn(context));
    let (used, unreadable) = targets.used_keys(reader, counts).await;
    let in_region = async |region: &Region| {
        let mut scan = StrayScan::default();
        let arns = match reader.tagged_keys(region).await {
            Ok(arns) => arns,
            Err(failure) => {
                scan.unreadable_regions.insert(region.clone(), failure);
                return scan;
            }
        };
        // A supplied key is its owner's, whatever its tags are, and trails of other accounts may use it.
        for arn in arns.into_iter().filter(|arn| !is_named(&used, arn) && !context.is_supplied_key(arn)) {
            match tagged_key(reader, &arn, context).await {
                Ok(None) => {}
                Ok(Some(key)) => {
                    let usage = unreadable.clone().map_or(KeyUse::Unused, KeyUse::Unknown);
                    scan.keys.push(TaggedKey { usage, ..key });
                }
                Err(failure) => scan.unreadable_keys.push((arn, failure)),
            }
        }
        scan
    };
    let scans = join_unordered(regions.iter().map(async |region| (region, in_region(region).await))).await;
    // In the order of the Regions, not of the responses.
    let scans: BTreeMap<&Region, StrayScan> = scans.into_iter().collect();
    let mut all = StrayScan::default();
    scans.into_values().for_each(|scan| all.merge(scan));
    all
}
