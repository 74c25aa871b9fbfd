//! AWS between the function and the fake: latency, faults, and reads of older versions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use fake_aws::{Call, FakeAws, Fault, World};
use fastrand::Rng;
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::Run;
use crate::history::History;
use crate::invariants::{Invariants, ServedCall};
use crate::scenario::{REGIONS, Scenario};

/// When a simulation starts, in seconds since 1970.
const START: u64 = 1_790_000_000;

/// AWS, as the processes of a run reach it.
#[derive(Clone)]
pub(crate) struct Cloud {
    aws: Arc<FakeAws>,
    state: Arc<Mutex<State>>,
    /// Its seed and the call's number decide each call's latency and faults.
    scenario: Arc<Scenario>,
}

/// What the simulator knows about AWS, besides the fake's current state.
pub(crate) struct State {
    started: Instant,
    /// The number of calls of each process.
    calls: BTreeMap<usize, u64>,
    /// What the call meets that the fake performs at this moment.
    current: Option<Conditions>,
    pub(crate) history: History,
    pub(crate) invariants: Invariants,
    /// Whether faults, denials and lag have ended.
    pub(crate) is_quiet: bool,
}

/// What a call meets.
#[derive(Debug)]
struct Conditions {
    process: usize,
    fault: Option<SimulatedFault>,
    /// How old the state is that it reads.
    age: Duration,
    index_age: Duration,
    denied: Option<&'static str>,
    /// The state before the call, if it is a write.
    before: Option<World>,
    /// The current state, while an older one is read.
    hidden: Option<World>,
    sent_at: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum SimulatedFault {
    /// The call has no effect.
    Refused(Fault),
    /// The call takes effect, and the caller gets this response.
    AfterEffect(Fault),
    /// The call takes effect, and the caller gets no response.
    Lost,
    /// The request does not arrive.
    Undelivered,
    /// The response comes late.
    Slow(Duration),
}

impl SimulatedFault {
    fn new(rng: &mut Rng) -> Self {
        match rng.u8(..10) {
            0..=2 => Self::Refused(Fault::throttled()),
            3 => Self::Refused(Fault::error(400, "ConflictException", "The resource is being modified")),
            4 => Self::Refused(Fault::internal()),
            5 => Self::AfterEffect(Fault::internal()),
            6 => Self::Lost,
            7 => Self::Undelivered,
            8 => Self::Slow(Duration::from_secs(rng.u64(3..20))),
            _ => Self::AfterEffect(Fault::throttled()),
        }
    }
}

impl Cloud {
    pub(crate) fn new(scenario: Scenario, world: World, records: bool) -> Self {
        let started = Instant::now();
        let state = Arc::new(Mutex::new(State {
            started,
            calls: BTreeMap::new(),
            current: None,
            history: History::new(started, world.clone(), records),
            invariants: Invariants::new(&scenario),
            is_quiet: false,
        }));
        let aws = Arc::new(FakeAws::without_server(world));
        let hook = Arc::clone(&state);
        aws.before(move |call, world| lock(&hook).before(call, world));
        let hook = Arc::clone(&state);
        aws.after(move |call, world| lock(&hook).after(call, world));
        Self { aws, state, scenario: Arc::new(scenario) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Changes the account without a call.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.aws.world();
        let result = change(&mut world);
        lock(&self.state).history.push(&world);
        result
    }

    /// What the run showed.
    pub(crate) fn into_run(self) -> Run {
        let mut state = lock(&self.state);
        let violations = std::mem::take(&mut state.invariants.violations);
        Run { violations, timeline: state.history.take_lines(), calls: self.aws.calls().len() }
    }

    pub(crate) fn world(&self) -> World {
        self.aws.snapshot()
    }

    /// The configuration of a process's clients.
    pub(crate) fn sdk(&self, process: usize) -> SdkConfig {
        let connection = SharedHttpConnector::new(Connection { cloud: self.clone(), process });
        let credentials = Credentials::from_keys("AKIDEXAMPLE", "secret", None);
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGIONS[0]))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connection.clone()))
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(Clock(lock(&self.state).started))
            .build()
    }

    /// Sends a request. What happens to it does not depend on whether the caller waits for the response.
    async fn send(self, process: usize, request: http::Request<Bytes>) -> Option<http::Response<Bytes>> {
        let (response, received) = oneshot::channel();
        let (number, is_quiet) = lock(&self.state).number(process);
        let mut rng =
            Rng::with_seed(self.scenario.seed ^ (number << 16) ^ (process as u64).wrapping_add(1).rotate_right(8));
        let mut latency = || Duration::from_micros(rng.u64(100..=self.scenario.latency.as_micros() as u64 + 100));
        let (to, from) = (latency(), latency());
        let conditions = self.conditions(process, &mut rng, is_quiet);
        tokio::spawn(async move {
            sleep(to).await;
            let fault = conditions.fault.clone();
            if fault == Some(SimulatedFault::Undelivered) {
                return;
            }
            lock(&self.state).current = Some(conditions);
            let answered = self.aws.respond(request).await;
            lock(&self.state).current = None;
            sleep(from).await;
            match fault {
                Some(SimulatedFault::Lost) => return,
                Some(SimulatedFault::Slow(time)) => sleep(time).await,
                _ => {}
            }
            // The caller may have given up.
            let _ = response.send(answered);
        });
        received.await.ok().flatten()
    }

    fn conditions(&self, process: usize, rng: &mut Rng, is_quiet: bool) -> Conditions {
        let Scenario { faults, lag, index_lag, denials, .. } = &*self.scenario;
        let mut age = |lag: &Duration| match rng.bool() && !is_quiet {
            true => Duration::from_millis(rng.u64(0..=lag.as_millis() as u64)),
            false => Duration::ZERO,
        };
        let (age, index_age) = (age(lag), age(index_lag));
        let meets_fault = rng.u32(..1000) < *faults && !is_quiet;
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(lock(&self.state).started);
        let denied = denials.iter().find(|denial| denial.from <= elapsed && elapsed < denial.until && !is_quiet);
        Conditions {
            process,
            fault: meets_fault.then(|| SimulatedFault::new(rng)),
            age,
            index_age,
            denied: denied.map(|denial| denial.operation),
            before: None,
            hidden: None,
            sent_at: now,
        }
    }
}

impl State {
    /// The number of the process's next call, and whether nothing disturbs it.
    fn number(&mut self, process: usize) -> (u64, bool) {
        let number = self.calls.entry(process).or_default();
        *number += 1;
        (*number, self.is_quiet)
    }

    /// Before the fake performs a call: a fault, or the state that the call reads.
    fn before(&mut self, call: &Call, world: &mut World) -> Option<Fault> {
        world.now = START + self.started.elapsed().as_secs();
        let mut current = self.current.take()?;
        self.invariants.count_call(current.process, call, current.sent_at);
        let name = call.name();
        let is_write = !is_read(call);
        let refusal = match &current.fault {
            _ if current.denied == Some(name.as_str()) => Some(Fault::access_denied()),
            Some(SimulatedFault::Refused(fault)) => Some(fault.clone()),
            _ => None,
        };
        if let Some(fault) = refusal {
            self.history.record_call(current.process, call, "refused", &fault);
            return Some(fault);
        }
        let age = if call.service == "tagging" { current.index_age } else { current.age };
        let seen = (!age.is_zero()).then(|| Instant::now().checked_sub(age).unwrap_or(self.started));
        let seen = seen.and_then(|time| self.history.at(time));
        match (call.service.as_str(), call.operation.as_str()) {
            ("sns" | "sts", _) => {}
            _ if !is_write => {
                if let Some(seen) = seen {
                    current.hidden = Some(std::mem::replace(world, seen.clone()));
                    world.published.clear();
                }
            }
            // CloudTrail checks the key as it sees it.
            ("cloudtrail", _) => {
                current.before = Some(world.clone());
                if let Some(seen) = seen {
                    world.keys.clone_from(&seen.keys);
                }
            }
            // KMS may not know a new key yet.
            _ => {
                let key = call.input["KeyId"].as_str().or_else(|| call.input["TargetKeyId"].as_str());
                if let (Some(key), Some(seen)) = (key, seen)
                    && !seen.keys.contains_key(key)
                {
                    let fault = Fault::error(400, "NotFoundException", "Key does not exist");
                    self.history.record_call(current.process, call, "not visible", &fault);
                    return Some(fault);
                }
                current.before = Some(world.clone());
            }
        }
        self.current = Some(current);
        None
    }

    /// After the fake performed a call: the current state is restored, and the invariants are checked.
    fn after(&mut self, call: &Call, world: &mut World) -> Option<Fault> {
        let Conditions { process, fault, before, hidden, sent_at, .. } = self.current.take()?;
        let served = hidden.map(|current| std::mem::replace(world, current));
        if let (Some(before), "cloudtrail") = (&before, call.service.as_str()) {
            world.keys.clone_from(&before.keys);
        }
        let answered = match &fault {
            Some(SimulatedFault::AfterEffect(fault)) => Some(fault.clone()),
            _ => None,
        };
        self.history.record_answer(process, call, fault.as_ref().map(|fault| format!("{fault:?}")));
        let is_answered = fault.is_none();
        let served =
            ServedCall { process, call, sent_at, is_answered, before: before.as_ref(), served: served.as_ref() };
        self.invariants.check_call(&served, world, &self.history);
        if before.is_some_and(|before| before != *world) {
            self.history.push(world);
        }
        answered
    }
}

/// Whether an operation only reads.
pub(crate) fn is_read(call: &Call) -> bool {
    ["Get", "List", "Describe", "Head"].iter().any(|read| call.operation.starts_with(read))
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection of one process.
struct Connection {
    cloud: Cloud,
    process: usize,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the connection of process {}", self.process)
    }
}

impl HttpConnector for Connection {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (cloud, process) = (self.cloud.clone(), self.process);
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            // The SDK measures the throughput of the body.
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(ConnectorError::user)?;
            let request = http::Request::from_parts(parts, body.to_bytes());
            let closed = || ConnectorError::io("the connection is closed".into());
            let response = cloud.send(process, request).await.ok_or_else(closed)?;
            let response = response.map(SdkBody::from);
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The time of day of a simulation.
#[derive(Debug)]
struct Clock(Instant);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START) + self.0.elapsed()
    }
}
