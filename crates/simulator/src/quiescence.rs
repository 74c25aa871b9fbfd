//! What must hold once nothing disturbs a run any longer.

use std::collections::BTreeSet;

use fake_aws::{Key, KeyState, Trail, World};
use trailseal_core::report::{Answer, Outcome};

use crate::account::{
    ACCOUNT, ALIAS, is_maintained, is_out_of_scope, region_of, sealing_policy, statements, trail_arn, with_statements,
};
use crate::cloud::Cloud;
use crate::history::short;
use crate::lambda::run;
use crate::scenario::{InvocationSpec, REGIONS, Scenario};

/// The numbers of the last sweeps.
const FIRST_PROCESS: usize = 1000;
/// Sweeps until one has nothing to do. A key that a sweep creates can show another sweep that it is a stray.
const SWEEPS: usize = 3;

/// How long a key counts as recent, in seconds.
const RECENT: u64 = 180;

/// Sweeps until nothing changes, and checks the account.
pub(crate) async fn check(cloud: &Cloud) {
    let mut last = None;
    for process in FIRST_PROCESS..FIRST_PROCESS + SWEEPS {
        last = run(cloud, &InvocationSpec::sweep(process)).await;
        if cloud.state().invariants.writes(process) == 0 {
            break;
        }
        if process + 1 == FIRST_PROCESS + SWEEPS {
            cloud.state().invariants.violate("a further run makes no write", format!("process {process}"));
        }
    }
    let Some(answer) = last else { return };
    let world = cloud.world();
    let mut state = cloud.state();
    for trail in 0..cloud.scenario().trails.len() {
        if let Err(problem) = check_trail(&world, cloud.scenario(), trail, &answer) {
            state.invariants.violate("every trail that can be sealed is sealed", problem);
        }
        let arn = trail_arn(cloud.scenario(), trail);
        let is_stopped = |trail: &Trail| !trail.logging && !is_out_of_scope(trail);
        if cloud.scenario().restart && world.trails.get(&arn).is_some_and(is_stopped) {
            state.invariants.violate("every stopped trail is started again", short(&arn).to_owned());
        }
    }
    for problem in unreported_strays(&world, &answer) {
        state.invariants.violate("every stray is reported", problem);
    }
}

/// Whether a trail is encrypted with a usable key, or cannot be.
fn check_trail(world: &World, scenario: &Scenario, trail: usize, answer: &Answer) -> Result<(), String> {
    let arn = trail_arn(scenario, trail);
    let Some(trail) = world.trails.get(&arn) else { return Ok(()) };
    let is_sealed = trail.kms_key_id.is_some() && world.check_delivery(&arn).is_ok();
    if is_sealed || is_out_of_scope(trail) || scenario.hold {
        return Ok(());
    }
    // The owner of a key that trailseal does not maintain must fix it.
    let report = answer.trails.iter().find(|report| report.trail.as_ref().is_ok_and(|trail| trail.as_str() == arn));
    let key = trail.kms_key_id.as_ref().and_then(|key| world.keys.get(key));
    if key.is_some_and(|key| !is_maintained(key)) && report.is_some_and(|report| report.outcome == Outcome::Noted) {
        return Ok(());
    }
    let Some(bucket) = world.buckets.get(&trail.bucket) else { return Ok(()) };
    // The sealing key as trailseal could make it. That of another owner is used as it is.
    let mut sealed = world.clone();
    let arn_of_key = match world.alias_target(&bucket.region, ALIAS) {
        Some(arn) => {
            if let Some(key) = sealed.keys.get_mut(arn).filter(|key| is_maintained(key)) {
                key.state = KeyState::Enabled;
                key.policy = with_statements(&[statements(&key.policy), statements(&sealing_policy())].concat());
            }
            arn.to_owned()
        }
        None => sealed.key(Key::new(&bucket.region).policy(&sealing_policy())),
    };
    if let Some(trail) = sealed.trails.get_mut(&arn) {
        trail.kms_key_id = Some(arn_of_key);
    }
    match sealed.check_delivery(&arn) {
        // CloudTrail would refuse it.
        Err(_) => Ok(()),
        Ok(()) => Err(format!(
            "{} has {:?}: {:?}",
            short(&arn),
            trail.kms_key_id.as_deref().map(short),
            world.check_delivery(&arn)
        )),
    }
}

/// Keys of trailseal that nothing uses and that the answer of a sweep does not name, in the Regions that a sweep scans. A
/// recent key may be another run's.
fn unreported_strays(world: &World, answer: &Answer) -> Vec<String> {
    let used: BTreeSet<&str> = world.trails.values().filter_map(|trail| trail.kms_key_id.as_deref()).collect();
    let named: BTreeSet<&str> = world.aliases.values().map(|alias| alias.target.as_str()).collect();
    let reported: BTreeSet<&str> = answer.strays.iter().map(|stray| stray.key.as_str()).collect();
    let mut regions: BTreeSet<String> = BTreeSet::from([REGIONS[0].to_owned()]);
    for trail in world.trails.values().filter(|trail| trail.owner == ACCOUNT) {
        regions.insert(trail.home_region.clone());
        regions.extend(trail.kms_key_id.as_deref().map(|key| region_of(key).to_owned()));
    }
    let strays = world.keys.iter().filter(|(arn, key)| {
        is_maintained(key)
            && regions.contains(&key.region)
            && key.created + RECENT < world.now
            && key.state != KeyState::PendingDeletion
            && [&used, &named, &reported].iter().all(|known| !known.contains(arn.as_str()))
    });
    strays.map(|(arn, _)| short(arn).to_owned()).collect()
}
