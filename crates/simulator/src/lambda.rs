//! Lambda and EventBridge: invocations, their retries, and the end of a process at any await.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use trailseal::Invocation;
use trailseal::aws::Aws;
use trailseal::reconcile::reconcile;
use trailseal_core::context::Context;
use trailseal_core::report::Answer;
use trailseal_core::trigger::{Event, Target, Trigger};

use crate::account::{ACCOUNT, config, function_arn, other_key, region_of, trail_arn};
use crate::cloud::Cloud;
use crate::scenario::{Input, InvocationSpec, REGIONS, Scenario};

/// When Lambda repeats a failed invocation.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// The attempts of one invocation have consecutive numbers.
pub(crate) const ATTEMPTS: usize = RETRY_DELAYS.len() + 1;

/// Runs an invocation, and again if it fails.
pub(crate) async fn invoke(cloud: Cloud, number: usize, spec: InvocationSpec) {
    sleep(spec.at).await;
    for attempt in 0..ATTEMPTS {
        let crash = spec.crash.filter(|_| attempt == 0);
        let answer = run(&cloud, number + attempt, &spec, crash).await;
        let is_done = answer.is_some_and(|answer| {
            let is_sweep = matches!(spec.input, Input::Sweep) && answer.error.is_none();
            is_sweep || answer.transient_failure().is_none()
        });
        match RETRY_DELAYS.get(attempt) {
            Some(delay) if !is_done => sleep(*delay).await,
            _ => return,
        }
    }
}

/// Runs one process. `None`: it died.
pub(crate) async fn run(cloud: &Cloud, process: usize, spec: &InvocationSpec, crash: Option<u32>) -> Option<Answer> {
    let who = format!("process {process}");
    let world = cloud.world();
    let supplied = spec.supplied.and_then(|region| other_key(&world, REGIONS[region]));
    let Scenario { hold, restart, .. } = *cloud.scenario();
    let config = config(spec.enforce, hold, restart, supplied.as_deref());
    let context = Context { config, function_arn: function_arn() };
    let trigger = trigger(cloud, spec.input, &context);
    if !spec.enforce {
        cloud.state().invariants.add_dry_run(process);
    }
    cloud.state().history.record(&who, || format!("starts: {spec:?}"));
    let begun = Instant::now();
    let aws = Aws::new(&cloud.sdk(process));
    let offset = cloud.scenario().seed.wrapping_add(process as u64);
    let work = reconcile(&aws, &context, trigger, Invocation::within(spec.timeout, offset));
    let work = CrashAt { work: Box::pin(work), polls_left: crash };
    let ended = timeout(spec.timeout, work).await;
    let mut state = cloud.state();
    let state = &mut *state;
    match ended {
        Err(_) => {
            state.invariants.violate("the invocation ends before its deadline", format!("process {process}"));
            None
        }
        Ok(None) => {
            state.history.record(&who, || "dies".into());
            None
        }
        Ok(Some(answer)) => {
            state.history.record(&who, || format!("answers {}", summary(&answer)));
            state.invariants.check_answer(process, &answer, begun, &state.history);
            Some(answer)
        }
    }
}

/// An answer in one line.
fn summary(answer: &Answer) -> Value {
    let trails = answer.trails.iter().map(|trail| {
        let name = trail.trail.as_ref().map_or_else(String::as_str, |arn| arn.as_str());
        let error = trail.error.as_ref().map(|error| &error.message);
        (
            name.to_owned(),
            json!([trail.outcome, trail.key_arn, error, trail.findings.iter().map(|it| it.id()).collect::<Vec<_>>()]),
        )
    });
    let trails: serde_json::Map<String, Value> = trails.collect();
    let error = answer.error.as_ref().map(|error| &error.message);
    json!({ "trails": trails, "error": error, "alerts": answer.alerts, "strays": answer.strays.len(), "ignored": answer.ignored })
}

fn trigger(cloud: &Cloud, input: Input, context: &Context) -> Trigger {
    let scenario = cloud.scenario();
    let trigger = match input {
        Input::Sweep => Trigger::from_request(&json!({ "sweep": {} }), &context.function_arn),
        Input::Request(trail) => {
            Trigger::from_request(&json!({ "trail": trail_arn(scenario, trail) }), &context.function_arn)
        }
        Input::Event(trail) => {
            let arn = trail_arn(scenario, trail);
            let region = REGIONS[scenario.trails[trail].home_region];
            let event = event("cloudtrail", "UpdateTrail", region, json!({ "name": arn }));
            Trigger::from_event(&event, &context.function_arn)
        }
        Input::KeyEvent(trail) => {
            let world = cloud.world();
            let key = world.trails.get(&trail_arn(scenario, trail)).and_then(|trail| trail.kms_key_id.clone());
            let key = key.or_else(|| other_key(&world, REGIONS[0])).unwrap_or_default();
            let region = region_of(&key).to_owned();
            let event = event("kms", "DisableKey", &region, json!({ "keyId": key }));
            Trigger::from_event(&event, &context.function_arn)
        }
    };
    trigger.unwrap_or_else(|error| Trigger { origin: Default::default(), target: Target::Ignored(error.to_string()) })
}

/// A CloudTrail event as EventBridge delivers it.
fn event(service: &str, name: &str, region: &str, parameters: Value) -> Event {
    Event {
        detail_type: "AWS API Call via CloudTrail".into(),
        source: format!("aws.{service}"),
        id: None,
        account: Some(ACCOUNT.into()),
        region: Some(region.into()),
        detail: json!({
            "eventSource": format!("{service}.amazonaws.com"),
            "eventName": name,
            "awsRegion": region,
            "requestParameters": parameters,
            "recipientAccountId": ACCOUNT,
        }),
    }
}

/// Work that ends at an await, as a process does that is killed.
struct CrashAt<F> {
    work: Pin<Box<F>>,
    polls_left: Option<u32>,
}

impl<F: Future> Future for CrashAt<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match &mut self.polls_left {
            Some(0) => return Poll::Ready(None),
            Some(left) => *left -= 1,
            None => {}
        }
        self.work.as_mut().poll(context).map(Some)
    }
}
