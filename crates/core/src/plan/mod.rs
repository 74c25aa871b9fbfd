//! From assessed trails to a plan: which key each trail gets, and what must be done for it. Synchronous functions of
//! values. What is wrong with a trail belongs in [`crate::assess`]; what became of a step in [`crate::journal`].

mod bucket;
mod key;
mod obstacle;
pub mod strays;
mod trail;
mod types;

use std::collections::BTreeMap;

use crate::assess::AssessedTrail;
use crate::context::Context;
use crate::ids::{KeyArn, Region, TrailArn};
use crate::key_policy::KeyPolicy;
use crate::observation::{RemediationFacts, TaggedKey};
pub use obstacle::{KeySource, Obstacle, UnusableKey};
use strays::Stray;
pub use types::{
    Adoption, Disposition, KeyPlan, KeyStep, NewKey, Plan, PolicyChange, Step, StepName, Subject, TrailPlan,
    TrailUpdate, UnfinishedKey,
};

/// Plans for all the trails together. `unfinished` are the keys of earlier passes.
pub fn plan(
    trails: &BTreeMap<TrailArn, AssessedTrail>,
    facts: &RemediationFacts,
    unfinished: &BTreeMap<Region, UnfinishedKey>,
    context: &Context,
) -> Plan {
    let policy = KeyPolicy::new(&context.config, &context.function_arn);
    let planner = Planner { facts, unfinished, context, policy };
    let mut keys = BTreeMap::new();
    let planned = trails.iter().map(|(arn, trail)| {
        let planned = planner.plan_trail(arn, trail, &mut keys);
        (arn.clone(), planned)
    });
    let trails = planned.collect();
    let strays = planner.find_strays(&keys);
    let candidate_regions = facts.candidates.keys().cloned().collect();
    Plan { keys, trails, strays, candidate_regions }
}

struct Planner<'a> {
    facts: &'a RemediationFacts,
    unfinished: &'a BTreeMap<Region, UnfinishedKey>,
    context: &'a Context,
    policy: KeyPolicy,
}

impl Planner<'_> {
    /// The strays among the candidates: not the keys that this plan uses, nor those that the next run adopts.
    fn find_strays(&self, keys: &BTreeMap<Region, KeyPlan>) -> Vec<Stray> {
        let planned: Vec<&KeyArn> = keys.values().filter_map(|key| key.key.as_ref()).collect();
        let next: Vec<&KeyArn> = self
            .facts
            .candidates
            .values()
            .filter_map(|it| self.adoptable_key(it))
            .map(|it| &it.key.metadata.arn)
            .collect();
        let is_other = |tagged: &&TaggedKey| {
            let arn = &tagged.key.metadata.arn;
            !planned.contains(&arn) && !next.contains(&arn)
        };
        strays::find_strays(
            self.facts.candidates.values().filter_map(|it| it.tagged.as_ref().ok()).flatten().filter(is_other),
        )
    }
}
