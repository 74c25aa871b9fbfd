//! CloudTrail's request rates.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// When the calls of the last second were admitted, by Region and kind.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    passed: BTreeMap<(String, bool), VecDeque<Instant>>,
}

impl Limits {
    /// Admits a call, unless the Region had 1 write or 10 reads within the last second.
    pub(crate) fn admit(&mut self, region: &str, operation: &str, now: Instant) -> bool {
        let reads = ["Get", "Describe", "List"].iter().any(|verb| operation.starts_with(verb));
        let most = if reads { 10 } else { 1 };
        let passed = self.passed.entry((region.to_owned(), reads)).or_default();
        while passed.front().is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(1)) {
            passed.pop_front();
        }
        let admitted = passed.len() < most;
        if admitted {
            passed.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_one_write_and_ten_reads_a_second() {
        let mut limits = Limits::default();
        let now = Instant::now();
        assert!(limits.admit("eu-west-1", "UpdateTrail", now));
        assert!(!limits.admit("eu-west-1", "StartLogging", now));
        assert!(limits.admit("eu-west-2", "UpdateTrail", now));
        assert!(limits.admit("eu-west-1", "UpdateTrail", now + Duration::from_secs(1)));
        let reads = (0..11).filter(|_| limits.admit("eu-west-1", "GetTrail", now)).count();
        assert_eq!(reads, 10);
    }
}
