//! What is reported about the account: a sweep's malformed trails and strays, and warnings that are not about a single
//! trail.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::finding::{UnreadTrails, Warning};
use crate::ids::{KeyArn, Region};
use crate::journal::Journal;
use crate::observation::{MalformedTrail, StrayScan};
use crate::plan::strays::{Stray, find_strays, is_unclaimed, unknown_reason};

/// Everything that a report contains besides the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountReport {
    /// Entries of the list of trails whose ARN is malformed.
    pub malformed: Vec<MalformedTrail>,
    /// Warnings that are not about a single trail.
    pub warnings: Vec<Warning>,
    /// The strays that the scan found.
    pub strays: Vec<Stray>,
}

impl AccountReport {
    /// The report of a sweep.
    pub fn new(malformed: Vec<MalformedTrail>, scan: &StrayScan, journal: &Journal) -> Self {
        let mut warnings = stray_warnings(scan, journal);
        let trails = journal.plans().first().into_iter().flat_map(|plan| &plan.trails);
        let none_logs = trails.clone().all(|(_, trail)| trail.logging == Some(false));
        let none_restarted = trails.clone().all(|(arn, _)| !journal.is_restarted(arn));
        if none_logs && none_restarted && malformed.is_empty() {
            warnings.push(Warning::NoLoggingTrail);
        }
        Self { malformed, warnings, strays: find_strays(&scan.keys) }
    }

    /// The report of an event about a key: the trails that may use the key and could not be read. A transient failure is
    /// a trail's own, because the invocation is retried.
    pub fn of_key(key: &KeyArn, malformed: &[MalformedTrail], regions: &BTreeMap<Region, Result<(), Failure>>) -> Self {
        let warning = |trails, failure: &Failure| {
            let (key, failure) = (key.clone(), failure.clone());
            Warning::KeyUseUnknown { key, trails, failure }
        };
        let unread = regions.iter().filter_map(|(region, read)| Some((region, read.as_ref().err()?)));
        let mut warnings: Vec<Warning> = by_cause(unread)
            .into_iter()
            .map(|(regions, failure)| warning(UnreadTrails::Regions(regions), failure))
            .collect();
        if let Some(first) = malformed.first() {
            let names = malformed.iter().map(|trail| trail.name.clone()).collect();
            warnings.push(warning(UnreadTrails::Listed(names), &first.failure));
        }
        Self { warnings, ..Self::default() }
    }
}

/// The Regions with a failure that no retry resolves, with the same cause together.
fn by_cause<'a>(unread: impl Iterator<Item = (&'a Region, &'a Failure)>) -> Vec<(Vec<Region>, &'a Failure)> {
    let mut causes: BTreeMap<_, (Vec<Region>, &Failure)> = BTreeMap::new();
    for (region, failure) in unread.filter(|(_, failure)| !failure.is_transient()) {
        let (regions, _) = causes.entry((&failure.code, &failure.remedy)).or_insert_with(|| (vec![], failure));
        regions.push(region.clone());
    }
    causes.into_values().collect()
}

/// What is unknown about strays. Not about keys that this run uses or reports under a trail, nor because of a transient
/// failure, which the next sweep resolves.
fn stray_warnings(scan: &StrayScan, journal: &Journal) -> Vec<Warning> {
    let plans = journal.last_plans().into_values();
    let reported: Vec<&str> = plans.flat_map(|plan| &plan.warnings).filter_map(Warning::unreadable_key).collect();
    let is_new = |key: &KeyArn| !reported.contains(&key.as_str()) && !journal.uses_key(key);
    // A trail that cannot be read is reported in any case, and so is what follows from it.
    let unknown = scan
        .keys
        .iter()
        .filter(|tagged| is_unclaimed(tagged))
        .filter_map(|tagged| Some((&tagged.key.metadata.arn, unknown_reason(&tagged.key, &tagged.usage)?)));
    let unreadable = scan.unreadable_keys.iter().filter(|(_, failure)| !failure.is_transient());
    let keys = unknown.chain(unreadable.map(|(key, failure)| (key, failure))).filter(|(key, _)| is_new(key));
    let keys =
        keys.map(|(key, failure)| Warning::StrayUnknown { key: key.clone(), failure: failure.clone(), unused: true });
    let regions = by_cause(scan.unreadable_regions.iter())
        .into_iter()
        .map(|(regions, failure)| Warning::StraysUnknown { regions, failure: failure.clone() });
    keys.chain(regions).collect()
}
