//! What must hold after every call, and for every answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fake_aws::{Call, Key, World};
use tokio::time::Instant;
use trailseal_core::journal::StepStatus;
use trailseal_core::plan::StepName;
use trailseal_core::report::{Answer, Outcome, StepReport};

use crate::account::{ALIAS, is_maintained, is_ours, is_out_of_scope, region_of, statements};
use crate::cloud::is_read;
use crate::history::{History, short};
use crate::scenario::Scenario;

/// How old a read may be when what it returned is changed.
const FRESHNESS: Duration = Duration::from_secs(2);

/// A guarantee that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The guarantee, as a sentence.
    pub guarantee: &'static str,
    /// What happened instead.
    pub detail: String,
}

/// A call that the fake performed.
pub(crate) struct ServedCall<'a> {
    pub(crate) process: usize,
    pub(crate) call: &'a Call,
    pub(crate) sent_at: Instant,
    /// Whether the process gets this response.
    pub(crate) is_answered: bool,
    /// The state before a write.
    pub(crate) before: Option<&'a World>,
    /// The older state that a read was answered from.
    pub(crate) served: Option<&'a World>,
}

/// What a process knows about a resource.
struct LastRead {
    at: Instant,
    value: Option<String>,
}

/// The guarantees, and what is needed to check them.
#[derive(Default)]
pub(crate) struct Invariants {
    pub(crate) violations: Vec<Violation>,
    /// How long AWS may return an older state.
    lag: Duration,
    latency: Duration,
    dry_runs: BTreeSet<usize>,
    /// The trail of a process that an event or a request names.
    only_trails: BTreeMap<usize, String>,
    /// By process and trail.
    trail_reads: BTreeMap<(usize, String), LastRead>,
    /// By process and key.
    policy_reads: BTreeMap<(usize, String), Instant>,
    /// By process, Region, and whether they are writes.
    cloudtrail_calls: BTreeMap<(usize, String, bool), Vec<Instant>>,
    writes: BTreeMap<usize, usize>,
    /// The trails that a process gave a key: the key, and whether the process got the response.
    updated: BTreeMap<(usize, String), (String, bool)>,
    /// The keys that a process repaired, and the trails whose logging it started.
    repaired: BTreeSet<(usize, String)>,
    /// How many keys a process created in a Region.
    created: BTreeMap<(usize, String), usize>,
    published: Vec<Publication>,
    answers: BTreeMap<usize, Answer>,
}

/// An alert.
struct Publication {
    process: usize,
    /// `None`: a digest.
    trail: Option<String>,
    text: String,
    is_answered: bool,
}

impl Invariants {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        // A response can take up to the function's own time-out if there are faults.
        let slow = if scenario.faults > 0 { Duration::from_secs(10) } else { Duration::ZERO };
        Self { lag: scenario.lag, latency: scenario.latency + slow, ..Self::default() }
    }

    /// Before a process starts.
    pub(crate) fn add_process(&mut self, process: usize, enforce: bool, only_trail: Option<String>) {
        if !enforce {
            self.dry_runs.insert(process);
        }
        self.only_trails.extend(only_trail.map(|trail| (process, trail)));
    }

    /// Before a call is performed, or refused.
    pub(crate) fn count_call(&mut self, process: usize, call: &Call, sent_at: Instant) {
        if call.service == "cloudtrail" {
            let class = (process, call.region.clone(), !is_read(call));
            self.cloudtrail_calls.entry(class).or_default().push(sent_at);
        }
    }

    /// How many writes of a process took effect.
    pub(crate) fn writes(&self, process: usize) -> usize {
        self.writes.get(&process).copied().unwrap_or_default()
    }

    pub(crate) fn violate(&mut self, guarantee: &'static str, detail: String) {
        self.violations.push(Violation { guarantee, detail });
    }

    /// After a call. `world` is the current state.
    pub(crate) fn check_call(&mut self, served: &ServedCall<'_>, world: &World, history: &History) {
        let ServedCall { process, call, .. } = *served;
        if call.name() == "sns:Publish" && call.status == 200 {
            let trail = call.input["MessageAttributes"]["trail_arn"].as_str().map(str::to_owned);
            let text = call.input["Message"].as_str().unwrap_or_default().to_owned();
            self.published.push(Publication { process, trail, text, is_answered: served.is_answered });
        }
        let view = served.served.unwrap_or(world);
        match call.operation.as_str() {
            "GetTrail" | "DescribeTrails" => self.read_trails(served, view),
            "GetKeyPolicy" => {
                let key = call.input["KeyId"].as_str().unwrap_or_default().to_owned();
                self.policy_reads.insert((process, key), Instant::now());
            }
            _ => {}
        }
        if let Some(before) = served.before {
            if self.dry_runs.contains(&process) {
                self.violate("dry-run mode writes nothing", call.name());
            }
            if call.status == 200 {
                *self.writes.entry(process).or_default() += 1;
                self.check_write(served, before, world, history);
                // A request that was in flight when the process answered.
                if let Some(answer) = self.answers.get(&process).cloned() {
                    self.check_reports(process, &answer, world);
                }
            }
        }
    }

    fn read_trails(&mut self, served: &ServedCall<'_>, view: &World) {
        let call = served.call;
        let name = call.input["Name"].as_str();
        for (arn, trail) in &view.trails {
            let is_read = name.map_or(trail.home_region == call.region, |name| name == arn || name == trail.name);
            if is_read {
                let read = LastRead { at: Instant::now(), value: trail.kms_key_id.clone() };
                self.trail_reads.insert((served.process, arn.clone()), read);
            }
        }
    }

    fn check_write(&mut self, served: &ServedCall<'_>, before: &World, world: &World, history: &History) {
        let call = served.call;
        let text = |field: &str| call.input[field].as_str().unwrap_or_default().to_owned();
        let target = match call.operation.as_str() {
            "UpdateTrail" | "StartLogging" => text("Name"),
            "CreateAlias" => text("TargetKeyId"),
            "CreateKey" => String::new(),
            _ => text("KeyId"),
        };
        match call.operation.as_str() {
            "UpdateTrail" => {
                self.check_trail(served.process, &target, history);
                self.check_update(served, &target, before, history);
            }
            "StartLogging" => {
                self.check_trail(served.process, &target, history);
                self.repaired.insert((served.process, target));
            }
            "CreateKey" => {
                let created = self.created.entry((served.process, call.region.clone())).or_default();
                *created += 1;
                if *created > 2 {
                    self.violate(
                        "a process creates at most two keys per Region",
                        format!("process {}", served.process),
                    );
                }
            }
            operation => {
                let is_used =
                    |world: &World| world.trails.values().any(|trail| trail.kms_key_id.as_deref() == Some(&target));
                let recently = self.recently();
                if ["PutKeyPolicy", "EnableKey", "CancelKeyDeletion"].contains(&operation)
                    || (operation == "EnableKeyRotation" && history.since(recently).all(is_used))
                {
                    self.repaired.insert((served.process, target.clone()));
                }
                if !history.since(recently).any(|world| world.keys.get(&target).is_some_and(is_maintained)) {
                    self.violate("no key of another owner is written", format!("{operation} on {}", short(&target)));
                }
                if operation == "PutKeyPolicy" {
                    self.check_policy(served, &target, before, world, history);
                }
            }
        }
    }

    /// A process that writes now may not have observed changes since this time.
    fn recently(&self) -> Instant {
        let age = self.lag + self.latency * 2 + Duration::from_secs(30);
        Instant::now().checked_sub(age).unwrap_or_else(Instant::now)
    }

    /// Whether a process may change a trail.
    fn check_trail(&mut self, process: usize, trail: &str, history: &History) {
        if self.only_trails.get(&process).is_some_and(|only| only != trail) {
            self.violate("an event changes only its trail", format!("process {process} changed {}", short(trail)));
        }
        if history.since(self.recently()).all(|world| world.trails.get(trail).is_some_and(is_out_of_scope)) {
            self.violate("an exempt trail is not changed", format!("process {process} changed {}", short(trail)));
        }
    }

    /// A trail got a key.
    fn check_update(&mut self, served: &ServedCall<'_>, trail: &str, before: &World, history: &History) {
        let call = served.call;
        let key = call.input["KmsKeyId"].as_str().unwrap_or_default();
        let fields: Vec<&str> = call.input.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        if fields.iter().any(|field| !["Name", "KmsKeyId"].contains(field)) {
            self.violate("no setting but the key changes", format!("UpdateTrail with {fields:?}"));
        }
        self.updated.insert((served.process, trail.to_owned()), (key.to_owned(), served.is_answered));
        let detail = |had: Option<&str>| {
            let had = had.map_or("no key", short);
            format!("process {} gave {} {}, which had {had}", served.process, short(trail), short(key))
        };
        let Some(read) = self.trail_reads.get(&(served.process, trail.to_owned())) else {
            return self.violate("a trail is read shortly before it is changed", detail(None));
        };
        let (age, had) = (served.sent_at.saturating_duration_since(read.at), read.value.clone());
        if age > FRESHNESS + self.latency {
            let detail = format!("{}; it was read {age:?} before", detail(had.as_deref()));
            self.violate("a trail is read shortly before it is changed", detail);
        }
        let is_healthy = |world: &World| {
            let mut world = world.clone();
            if let Some(trail) = world.trails.get_mut(trail) {
                trail.kms_key_id.clone_from(&had);
            }
            world.check_delivery(trail).is_ok()
        };
        if had.as_deref().is_some_and(|had| had != key) && history.since(self.recently()).all(is_healthy) {
            self.violate("a healthy key is not replaced", detail(had.as_deref()));
        }
        let region = region_of(key);
        let is_sealing = |world: &World| world.alias_target(region, ALIAS) == Some(key);
        if before.keys.get(key).is_some_and(is_ours) && !history.since(self.recently()).any(is_sealing) {
            self.violate("at most one key of trailseal is in use per Region", detail(None));
        }
    }

    /// A policy was replaced. KMS has no conditional write, so a change right before it can be lost.
    fn check_policy(&mut self, served: &ServedCall<'_>, key: &str, before: &World, world: &World, history: &History) {
        let process = served.process;
        let read = self.policy_reads.get(&(process, key.to_owned())).copied();
        let age = read.map(|read| served.sent_at.saturating_duration_since(read));
        if age.is_none_or(|age| age > FRESHNESS + self.latency) {
            let detail = format!("process {process} replaced the policy of {}, read {age:?} before", short(key));
            self.violate("a policy is read shortly before it is replaced", detail);
        }
        let statements = |key: Option<&Key>| key.map(|key| statements(&key.policy)).unwrap_or_default();
        let now = statements(world.keys.get(key));
        let Some(lost) = statements(before.keys.get(key)).into_iter().find(|statement| !now.contains(statement)) else {
            return;
        };
        let since = history.unchanged_since(|world| world.keys.get(key).map(|key| key.policy.clone()));
        if read.is_none_or(|read| since + self.lag < read) {
            self.violate(
                "no statement of a policy is lost",
                format!("process {process} removed {lost} from {}", short(key)),
            );
        }
    }

    /// An invocation ended with this answer.
    pub(crate) fn check_answer(&mut self, process: usize, answer: &Answer, begun: Instant, history: &History) {
        let begun = begun.checked_sub(self.lag).unwrap_or(begun);
        for report in &answer.trails {
            let Ok(arn) = &report.trail else { continue };
            let trails = || history.since(begun).map(|world| world.trails.get(arn.as_str()));
            let had = |key: Option<&str>| trails().flatten().any(|trail| trail.kms_key_id.as_deref() == key);
            let is_true = match report.outcome {
                Outcome::Compliant | Outcome::Remediated => report.key_arn.is_some() && had(report.key_arn.as_deref()),
                Outcome::Gone => trails().any(|trail| trail.is_none()),
                _ => true,
            };
            if !is_true {
                let detail =
                    format!("process {process}: {arn} is {:?} with {:?}", report.outcome, report.key_arn.as_deref());
                self.violate("the answer is true", detail);
            }
        }
        if let Some(world) = history.at(Instant::now()) {
            self.check_reports(process, answer, world);
        }
        self.answers.insert(process, answer.clone());
    }

    /// Whether the answer and the alerts report what a process changed.
    fn check_reports(&mut self, process: usize, answer: &Answer, world: &World) {
        let mut violations = Vec::new();
        let alerts: Vec<&Publication> = self.published.iter().filter(|it| it.process == process).collect();
        let is_alerted =
            |resource: &str| answer.alerts.failed > 0 || alerts.iter().any(|it| it.text.contains(resource));
        for (_, resource) in self.repaired.iter().filter(|(by, _)| *by == process) {
            if !is_alerted(resource) {
                violations.push(("every change is alerted", format!("process {process} repaired {}", short(resource))));
            }
        }
        for ((_, trail), (key, is_answered)) in self.updated.iter().filter(|((by, _), _)| *by == process) {
            // Without a response, no read shows an update that another principal replaced.
            let has_key = world.trails.get(trail).is_some_and(|trail| trail.kms_key_id.as_ref() == Some(key));
            if !is_answered && !has_key {
                continue;
            }
            let detail = || format!("process {process} gave {} {}", short(trail), short(key));
            let report = answer.trails.iter().find(|it| it.trail.as_ref().is_ok_and(|it| it.as_str() == trail));
            let is_reported = report.is_some_and(|report| {
                // Another principal may have deleted or exempted it since.
                let outcomes = [Outcome::Remediated, Outcome::Failed, Outcome::Gone, Outcome::Exempt];
                let performs = |it: &StepReport| it.step == StepName::UpdateTrail && it.status != StepStatus::Planned;
                outcomes.contains(&report.outcome) && report.steps.iter().any(performs)
            });
            if !is_reported {
                violations.push(("every change is in the answer", detail()));
            }
            if !is_alerted(trail) {
                violations.push(("every change is alerted", detail()));
            }
        }
        let mut trails: Vec<&String> =
            alerts.iter().filter(|it| it.is_answered).filter_map(|it| it.trail.as_ref()).collect();
        trails.sort();
        if let Some([trail, _]) = trails.array_windows().find(|[first, second]| first == second) {
            violations.push(("a change is alerted once", format!("process {process}: {}", short(trail))));
        }
        violations.into_iter().for_each(|(guarantee, detail)| self.violate(guarantee, detail));
    }

    /// At the end of a run.
    pub(crate) fn check_rates(&mut self) {
        for ((process, region, is_write), mut times) in std::mem::take(&mut self.cloudtrail_calls) {
            times.sort();
            let limit = if is_write { 1 } else { 10 };
            let window = Duration::from_secs(1);
            if times.windows(limit + 1).any(|times| times[limit].duration_since(times[0]) < window) {
                let kind = if is_write { "writes" } else { "reads" };
                self.violate("CloudTrail's rates are kept", format!("{kind} of process {process} in {region}"));
            }
        }
    }
}
