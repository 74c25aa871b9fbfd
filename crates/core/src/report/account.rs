//! What a sweep reports about the account: malformed trails, strays and warnings that are not about a single trail.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::finding::Warning;
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
    let mut causes: BTreeMap<_, (Vec<Region>, &Failure)> = BTreeMap::new();
    for (region, failure) in scan.unreadable_regions.iter().filter(|(_, failure)| !failure.is_transient()) {
        let (regions, _) = causes.entry((&failure.code, &failure.remedy)).or_insert_with(|| (vec![], failure));
        regions.push(region.clone());
    }
    let regions =
        causes.into_values().map(|(regions, failure)| Warning::StraysUnknown { regions, failure: failure.clone() });
    keys.chain(regions).collect()
}
