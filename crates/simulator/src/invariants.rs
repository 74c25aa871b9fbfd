//! What must hold after every call, and for every answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fake_aws::{Call, Key, Trail, World};
use tokio::time::Instant;
use trailseal_core::report::{Answer, Outcome};

use crate::account::{ALIAS, is_ours, region_of, statements};
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
    /// The alerts of a process: the trail, if an alert is about one, and whether SNS answered.
    published: Vec<(usize, Option<String>, bool)>,
}

impl Invariants {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        // A response can take up to the function's own time-out if there are faults.
        let slow = if scenario.faults > 0 { Duration::from_secs(10) } else { Duration::ZERO };
        Self { lag: scenario.lag, latency: scenario.latency + slow, ..Self::default() }
    }

    pub(crate) fn add_dry_run(&mut self, process: usize) {
        self.dry_runs.insert(process);
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
        let ServedCall { process, call, sent_at, .. } = *served;
        if call.service == "cloudtrail" {
            let class = (process, call.region.clone(), !is_read(call));
            self.cloudtrail_calls.entry(class).or_default().push(sent_at);
        }
        if call.name() == "sns:Publish" && call.status == 200 {
            let trail = call.input["MessageAttributes"]["trail_arn"].as_str().map(str::to_owned);
            self.published.push((process, trail, served.is_answered));
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
        self.check_nothing_else_changed(call, &target, before, world);
        match call.operation.as_str() {
            "UpdateTrail" => self.check_update(served, &target, before, history),
            "StartLogging" => drop(self.repaired.insert((served.process, target))),
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
                if ["PutKeyPolicy", "EnableKey", "CancelKeyDeletion"].contains(&operation) {
                    self.repaired.insert((served.process, target.clone()));
                }
                let since = self.recently();
                if !history.since(since).any(|world| world.keys.get(&target).is_some_and(is_ours)) {
                    self.violate("no key of another owner is written", format!("{operation} on {}", short(&target)));
                }
                if operation == "PutKeyPolicy" {
                    self.check_policy(served, &target, before, world, history);
                }
            }
        }
    }

    /// When a change began that the process may not have observed before its write.
    fn recently(&self) -> Instant {
        let age = self.lag + self.latency * 2 + Duration::from_secs(30);
        Instant::now().checked_sub(age).unwrap_or_else(Instant::now)
    }

    fn check_nothing_else_changed(&mut self, call: &Call, target: &str, before: &World, world: &World) {
        let trails_equal = before.trails.len() == world.trails.len()
            && before.trails.iter().all(|(arn, trail)| {
                let now = world.trails.get(arn);
                match call.operation.as_str() {
                    "UpdateTrail" if arn == target => {
                        now.is_some_and(|now| Trail { kms_key_id: trail.kms_key_id.clone(), ..now.clone() } == *trail)
                    }
                    "StartLogging" if arn == target => now.is_some_and(|now| {
                        Trail { logging: trail.logging, started_at: trail.started_at, ..now.clone() } == *trail
                    }),
                    _ => now == Some(trail),
                }
            });
        if !trails_equal {
            self.violate("no setting but the key changes", call.name());
        }
        let is_other = |arn: &String| arn != target;
        let keys_equal =
            before.keys.iter().filter(|(arn, _)| is_other(arn)).all(|(arn, key)| world.keys.get(arn) == Some(key));
        if !keys_equal || before.buckets != world.buckets {
            self.violate("no other resource changes", call.name());
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
        let current = before.trails.get(trail).and_then(|trail| trail.kms_key_id.clone());
        let key_of = |world: &World| world.trails.get(trail).and_then(|trail| trail.kms_key_id.clone());
        let detail = || {
            let current = current.as_deref().map_or("no key", short);
            format!("process {} gave {} {}, which had {current}", served.process, short(trail), short(key))
        };
        let Some(read) = self.trail_reads.get(&(served.process, trail.to_owned())) else {
            return self.violate("a trail is read before it is changed", detail());
        };
        let age = served.sent_at.saturating_duration_since(read.at);
        if age > FRESHNESS + self.latency {
            let detail = format!("{}; it was read {age:?} before", detail());
            self.violate("a trail is read shortly before it is changed", detail);
        } else if read.value != current && history.unchanged_since(key_of) + self.lag < read.at {
            self.violate("a later change by another principal is not overwritten", detail());
        }
        let was_healthy = |world: &World| {
            key_of(world) == current && world.trails.contains_key(trail) && world.check_delivery(trail).is_ok()
        };
        if current.is_some() && current.as_deref() != Some(key) && history.since(self.recently()).all(was_healthy) {
            self.violate("a healthy key is not replaced", detail());
        }
        let region = region_of(key);
        let is_sealing = |world: &World| world.alias_target(region, ALIAS) == Some(key);
        if before.keys.get(key).is_some_and(is_ours) && !history.since(self.recently()).any(is_sealing) {
            self.violate("at most one key of trailseal is in use per Region", detail());
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
        let sends_alerts = answer.alerts.failed > 0 || self.published.iter().any(|(by, _, _)| *by == process);
        let repaired: Vec<String> =
            self.repaired.iter().filter(|(by, _)| *by == process).map(|(_, resource)| resource.clone()).collect();
        if !repaired.is_empty() && !sends_alerts {
            let detail = format!("process {process} repaired {} without an alert", repaired.join(", "));
            self.violate("every change is alerted", detail);
        }
        for report in &answer.trails {
            let Ok(arn) = &report.trail else { continue };
            let arn = arn.as_str();
            let had = |key: Option<&str>| {
                history
                    .since(begun)
                    .any(|world| world.trails.get(arn).is_some_and(|it| it.kms_key_id.as_deref() == key))
            };
            let outcome = report.outcome;
            if matches!(outcome, Outcome::Compliant | Outcome::Remediated) && !had(report.key_arn.as_deref()) {
                let detail =
                    format!("process {process} answers that {} has {:?}: {outcome:?}", short(arn), report.key_arn);
                self.violate("the answer is true", detail);
            }
            if outcome == Outcome::Gone && history.since(begun).all(|world| world.trails.contains_key(arn)) {
                self.violate("the answer is true", format!("process {process} answers that {} is gone", short(arn)));
            }
            // Without a response, no read shows an update that another principal replaced.
            let now = history.at(Instant::now()).and_then(|world| world.trails.get(arn)?.kms_key_id.clone());
            let update = self.updated.get(&(process, arn.to_owned()));
            let is_updated = update.is_some_and(|(key, is_answered)| *is_answered || now.as_ref() == Some(key));
            // Another principal may have deleted or exempted it since.
            let reports = matches!(outcome, Outcome::Remediated | Outcome::Failed | Outcome::Gone | Outcome::Exempt);
            if is_updated && !reports {
                let detail = format!("process {process} changed {} and answers {outcome:?}", short(arn));
                self.violate("every change is in the answer", detail);
            }
            let alerts = || {
                self.published
                    .iter()
                    .filter(|(by, trail, _)| *by == process && trail.as_deref().is_none_or(|trail| trail == arn))
            };
            let about_trail = alerts().filter(|(_, trail, is_answered)| trail.is_some() && *is_answered).count();
            if is_updated && alerts().next().is_none() && answer.alerts.failed == 0 {
                let detail = format!("process {process} changed {} without an alert", short(arn));
                self.violate("every change is alerted", detail);
            }
            if about_trail > 1 {
                let detail = format!("process {process} sent {about_trail} alerts about {}", short(arn));
                self.violate("a change is alerted once", detail);
            }
        }
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
