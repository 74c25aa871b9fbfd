//! What was counted in some accounts.

use std::{collections::BTreeMap, time::Duration};

use fake_aws::Call;

use super::{
    day::What,
    rates::{Peaks, is_read},
};
use crate::sample::Sample;

/// The counts of some accounts' day.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The accounts.
    pub accounts: usize,
    /// Their own trails, all of them sealed and logging at the end.
    pub trails: usize,
    /// Invocations, by what started them.
    pub invocations: BTreeMap<What, usize>,
    /// Calls, by service.
    pub calls: BTreeMap<String, usize>,
    /// Those of them that change something, by name. An alert is none.
    pub writes: BTreeMap<String, usize>,
    /// Alerts sent.
    pub alerts: usize,
    /// Invocations that a metric counts beside the sweeps: those that mended a trail because of an event.
    pub remediations: usize,
    /// CPU of each invocation, that before the first poll included.
    pub cpu: Sample,
    /// Wall time of each invocation less its CPU: what it waited.
    pub waited: Sample,
    /// Lines that the function logged.
    pub log_lines: usize,
    /// Their bytes.
    pub log_bytes: usize,
    /// The busiest second of any one of the accounts.
    pub peaks: Peaks,
}

impl Tally {
    /// What one invocation called.
    pub fn add_calls(&mut self, calls: &[Call]) {
        for call in calls {
            *self.calls.entry(call.service.clone()).or_default() += 1;
            if call.service != "sns" && !is_read(call) {
                *self.writes.entry(call.name()).or_default() += 1;
            }
        }
        self.peaks.append(Peaks::of(calls));
    }

    /// Another's counts, too.
    pub fn append(&mut self, other: Self) {
        fn add<K: Ord>(to: &mut BTreeMap<K, usize>, counts: BTreeMap<K, usize>) {
            for (key, count) in counts {
                *to.entry(key).or_default() += count;
            }
        }
        self.accounts += other.accounts;
        self.trails += other.trails;
        add(&mut self.invocations, other.invocations);
        add(&mut self.calls, other.calls);
        add(&mut self.writes, other.writes);
        self.alerts += other.alerts;
        self.remediations += other.remediations;
        self.cpu.append(other.cpu);
        self.waited.append(other.waited);
        self.log_lines += other.log_lines;
        self.log_bytes += other.log_bytes;
        self.peaks.append(other.peaks);
    }

    /// All invocations.
    pub fn invoked(&self) -> usize {
        self.invocations.values().sum()
    }

    /// All calls.
    pub fn called(&self) -> usize {
        self.calls.values().sum()
    }

    /// Calls of one service.
    pub fn calls_of(&self, service: &str) -> usize {
        self.calls.get(service).copied().unwrap_or(0)
    }

    /// All writes.
    pub fn written(&self) -> usize {
        self.writes.values().sum()
    }

    /// Writes of one name.
    pub fn writes_of(&self, name: &str) -> usize {
        self.writes.get(name).copied().unwrap_or(0)
    }

    /// The same counts for so many accounts; the samples and peaks stay as they were measured.
    pub fn scaled_to(&self, accounts: usize) -> Self {
        let one = |count: usize| (count * accounts).checked_div(self.accounts).unwrap_or(0);
        fn all<K: Ord + Clone>(counts: &BTreeMap<K, usize>, one: impl Fn(usize) -> usize) -> BTreeMap<K, usize> {
            counts.iter().map(|(key, count)| (key.clone(), one(*count))).collect()
        }
        Self {
            accounts,
            trails: one(self.trails),
            invocations: all(&self.invocations, one),
            calls: all(&self.calls, one),
            writes: all(&self.writes, one),
            alerts: one(self.alerts),
            remediations: one(self.remediations),
            log_lines: one(self.log_lines),
            log_bytes: one(self.log_bytes),
            ..self.clone()
        }
    }

    /// CPU time and waiting of so many accounts.
    pub fn times_for(&self, accounts: usize) -> [Duration; 2] {
        [&self.cpu, &self.waited].map(|sample| sample.total().mul_f64(accounts as f64 / self.accounts.max(1) as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let mut tally = Tally {
            accounts: 20,
            trails: 12,
            invocations: [(What::Sweep, 20), (What::Echo, 4)].into(),
            calls: [("kms".to_owned(), 30), ("sns".to_owned(), 5)].into(),
            writes: [("kms:CreateKey".to_owned(), 3)].into(),
            alerts: 5,
            log_bytes: 999,
            ..Tally::default()
        };
        tally.cpu.push(Duration::from_millis(10));
        tally
    }

    #[test]
    fn counts_of_two_add_up() {
        let mut both = tally();
        both.append(tally());
        assert_eq!((both.accounts, both.trails, both.alerts, both.log_bytes), (40, 24, 10, 1998));
        assert_eq!((both.invoked(), both.called(), both.written()), (48, 70, 6));
        assert_eq!((both.calls_of("kms"), both.calls_of("s3"), both.writes_of("kms:CreateKey")), (60, 0, 6));
        assert_eq!(both.cpu.total(), Duration::from_millis(20));
    }

    #[test]
    fn a_block_scales_to_a_fleet() {
        let fleet = tally().scaled_to(1000);
        assert_eq!((fleet.accounts, fleet.trails, fleet.alerts, fleet.log_bytes), (1000, 600, 250, 49_950));
        assert_eq!((fleet.invoked(), fleet.called(), fleet.written()), (1200, 1750, 150));
        assert_eq!(tally().times_for(1000), [Duration::from_millis(500), Duration::ZERO]);
    }
}
