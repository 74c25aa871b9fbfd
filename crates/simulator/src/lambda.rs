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
use crate::scenario::{ATTEMPTS, Input, InvocationSpec, REGIONS, Scenario};

/// When Lambda repeats a failed invocation.
/// Source: <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>.
const RETRY_DELAYS: [Duration; ATTEMPTS - 1] = [Duration::from_secs(60), Duration::from_secs(120)];

/// Runs an invocation, and again if it fails.
pub(crate) async fn invoke(cloud: Cloud, mut spec: InvocationSpec) {
    sleep(spec.at).await;
    for delay in RETRY_DELAYS.into_iter().map(Some).chain([None]) {
        let answer = run(&cloud, &spec).await;
        match delay {
            Some(delay) if answer.is_none_or(|answer| answer.transient_failure().is_some()) => sleep(delay).await,
            _ => return,
        }
        spec = InvocationSpec { process: spec.process + 1, crash: None, ..spec };
    }
}

/// Runs one process. `None`: it died.
pub(crate) async fn run(cloud: &Cloud, spec: &InvocationSpec) -> Option<Answer> {
    let process = spec.process;
    let who = format!("process {process}");
    let world = cloud.world();
    let supplied = spec.supplied.and_then(|region| other_key(&world, REGIONS[region]));
    let Scenario { hold, restart, .. } = *cloud.scenario();
    let config = config(spec.enforce, hold, restart, supplied.as_deref());
    let context = Context { config, function_arn: function_arn() };
    let trigger = trigger(cloud, spec, &context);
    let only_trail = match spec.input {
        Input::Event(trail) | Input::Request(trail) => Some(trail_arn(cloud.scenario(), trail)),
        Input::Sweep | Input::KeyEvent(_) => None,
    };
    cloud.state().invariants.add_process(process, spec.enforce, only_trail);
    cloud.state().history.record(&who, || format!("starts: {spec:?}"));
    let begun = Instant::now();
    let aws = Aws::new(&cloud.sdk(process));
    let offset = cloud.scenario().seed.wrapping_add(process as u64);
    let work = reconcile(&aws, &context, trigger, Invocation::within(spec.timeout, offset));
    let work = CrashAt { work: Box::pin(work), polls_left: spec.crash };
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

fn trigger(cloud: &Cloud, spec: &InvocationSpec, context: &Context) -> Trigger {
    let scenario = cloud.scenario();
    let trigger = match spec.input {
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
            let (name, key) = spec.key_event.clone().unwrap_or_else(|| {
                let key = world.trails.get(&trail_arn(scenario, trail)).and_then(|trail| trail.kms_key_id.clone());
                ("DisableKey", key.or_else(|| other_key(&world, REGIONS[0])).unwrap_or_default())
            });
            let event = event("kms", name, region_of(&key), json!({ "keyId": key }));
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
