//! The states that the account was in, and what happened, for a person to read.

use fake_aws::{Call, Fault, World};
use serde_json::Value;
use tokio::time::Instant;

/// Every state of the account with its time, and the timeline of a run.
pub(crate) struct History {
    started: Instant,
    versions: Vec<(Instant, World)>,
    /// `None`: the run is not to be printed.
    lines: Option<Vec<String>>,
}

impl History {
    pub(crate) fn new(started: Instant, world: World, records: bool) -> Self {
        Self { started, versions: vec![(started, world)], lines: records.then(Vec::new) }
    }

    /// Adds the current state.
    pub(crate) fn push(&mut self, world: &World) {
        let mut world = world.clone();
        world.published.clear();
        self.versions.push((Instant::now(), world));
    }

    /// The state at a time.
    pub(crate) fn at(&self, time: Instant) -> Option<&World> {
        let index = self.versions.partition_point(|(since, _)| *since <= time);
        self.versions.get(index.checked_sub(1)?).map(|(_, world)| world)
    }

    /// The states since a time, the one at that time first.
    pub(crate) fn since(&self, time: Instant) -> impl Iterator<Item = &World> {
        let index = self.versions.partition_point(|(since, _)| *since <= time);
        self.versions.iter().skip(index.saturating_sub(1)).map(|(_, world)| world)
    }

    /// When the current value of something began.
    pub(crate) fn unchanged_since<T: PartialEq>(&self, value: impl Fn(&World) -> T) -> Instant {
        let mut versions = self.versions.iter().rev();
        let Some((mut since, latest)) = versions.next().map(|(since, world)| (*since, value(world))) else {
            return self.started;
        };
        for (at, world) in versions {
            if value(world) != latest {
                break;
            }
            since = *at;
        }
        since
    }

    /// Adds a line to the timeline.
    pub(crate) fn record(&mut self, who: &str, what: impl FnOnce() -> String) {
        let time = self.started.elapsed();
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>9.3} s  {who:<14} {}", time.as_secs_f64(), what()));
        }
    }

    pub(crate) fn record_call(&mut self, process: usize, call: &Call, what: &str, fault: &Fault) {
        self.record(&format!("process {process}"), || format!("{} → {what}: {fault:?}", summary(call)));
    }

    pub(crate) fn record_answer(&mut self, process: usize, call: &Call, fault: Option<String>) {
        self.record(&format!("process {process}"), || {
            let error = call.error.clone().unwrap_or_else(|| call.status.to_string());
            let fault = fault.map(|fault| format!(", but {fault}")).unwrap_or_default();
            format!("{} → {error}{fault}", summary(call))
        });
    }

    /// The timeline.
    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        self.lines.take().unwrap_or_default()
    }
}

/// A call with the names in its input.
fn summary(call: &Call) -> String {
    let mut text = format!("{} in {}", call.name(), call.region);
    for field in ["Name", "KmsKeyId", "KeyId", "AliasName", "TargetKeyId", "Bucket", "ResourceIdList", "Subject"] {
        match &call.input[field] {
            Value::String(value) => text.push_str(&format!(" {field}={}", short(value))),
            Value::Array(values) => {
                let values: Vec<&str> = values.iter().filter_map(Value::as_str).map(short).collect();
                text.push_str(&format!(" {field}={}", values.join(",")));
            }
            _ => {}
        }
    }
    text
}

/// The part of an ARN that tells resources apart.
pub(crate) fn short(name: &str) -> &str {
    if name.starts_with("arn:") { name.splitn(4, ':').nth(3).unwrap_or(name) } else { name }
}
