//! Runs trailseal's reconciliation against a fake AWS, in one thread and in simulated time. One seed decides the account,
//! the invocations, the changes by other principals, and what each call meets: its latency, faults, and reads of older
//! states. [`simulate`] returns what did not hold; [`shrink`] makes a failing scenario smaller.
//!
//! The function's own code runs up to the HTTP connector of the AWS SDK: requests, retries, rates and error
//! classification are the product's. Nothing is sent over a network.

mod account;
mod cloud;
mod generate;
mod history;
mod invariants;
mod lambda;
mod quiescence;
mod scenario;

use std::time::Duration;

use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use cloud::Cloud;
pub use invariants::Violation;
pub use scenario::Scenario;
use scenario::{ChangeSpec, Input, InvocationSpec};

/// What a run showed.
#[derive(Debug, Default)]
pub struct Run {
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// What happened, if the run was recorded.
    pub timeline: Vec<String>,
    /// How many calls reached AWS.
    pub calls: usize,
}

/// Runs a scenario. `records`: whether to record the timeline.
pub fn simulate(scenario: &Scenario, records: bool) -> Run {
    // The jitter of retries.
    fastrand::seed(scenario.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    LocalSet::new().block_on(&runtime.expect("a runtime in this thread"), run(scenario, records))
}

async fn run(scenario: &Scenario, records: bool) -> Run {
    let cloud = Cloud::new(scenario.clone(), account::account(scenario), records);
    let invocations = scenario.invocations.iter().cloned().map(|spec| spawn_local(lambda::invoke(cloud.clone(), spec)));
    let changes = scenario.changes.iter().cloned().map(|spec| spawn_local(change(cloud.clone(), spec)));
    let tasks: Vec<_> = invocations.chain(changes).collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
    cloud.state().is_quiet = true;
    // Until late requests took effect and every read returns the current state.
    sleep(scenario.lag + scenario.index_lag + Duration::from_secs(200)).await;
    quiescence::check(&cloud).await;
    cloud.state().invariants.check_rates();
    cloud.into_run()
}

/// A change by another principal, and the invocation that its event starts.
async fn change(cloud: Cloud, spec: ChangeSpec) {
    sleep(spec.at).await;
    let changed = cloud.change(|world| spec.action.perform(spec.trail, world, cloud.scenario()));
    let Some((resource, event)) = changed else { return };
    cloud
        .state()
        .history
        .record("a principal", || format!("{:?} on {}: {event}", spec.action, history::short(&resource)));
    let (input, key_event) = match event {
        "CreateTrail" | "UpdateTrail" | "StopLogging" => (Input::Event(spec.trail), None),
        "DisableKey" | "DisableKeyRotation" | "PutKeyPolicy" | "ScheduleKeyDeletion" => {
            (Input::KeyEvent(spec.trail), Some((event, resource)))
        }
        _ => return,
    };
    if let Some(at) = spec.event_after {
        let sweep = InvocationSpec::sweep(spec.process);
        lambda::invoke(cloud, InvocationSpec { at, input, key_event, ..sweep }).await;
    }
}

/// Removes from a scenario what a failure does not need.
pub fn shrink(scenario: &Scenario, still_fails: impl Fn(&Scenario) -> bool) -> Scenario {
    let mut smallest = scenario.clone();
    while let Some(simpler) = smallest.simplifications().into_iter().find(&still_fails) {
        smallest = simpler;
    }
    smallest
}
