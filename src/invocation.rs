//! Deadlines of one invocation, and a number that varies between invocations.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::aws::Deadline;

/// The part of the reserved time that is left for the answer, after the alerts.
const ANSWER_SHARE: f64 = 0.2;

/// The deadlines of one invocation, and its start offset.
#[derive(Debug, Clone, Copy)]
pub struct Invocation {
    /// When reads and writes end.
    pub(crate) work_until: Instant,
    /// When alerts end.
    pub(crate) alerts_until: Instant,
    /// Varies which trail goes first, so that none is always last when time runs out. Derived from the request ID,
    /// because a daily sweep always starts at the same time.
    pub(crate) start_offset: u64,
}

impl Invocation {
    /// Reserves time for alerts and the answer: a tenth of the remaining time, from 0.5 to 5 seconds.
    pub fn new(context: &lambda_runtime::Context) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let remaining = Duration::from_millis(context.deadline).saturating_sub(now);
        let mut hasher = DefaultHasher::new();
        context.request_id.hash(&mut hasher);
        Self::within(remaining, hasher.finish())
    }

    /// The deadlines of work that begins now and takes at most this time.
    pub fn within(remaining: Duration, start_offset: u64) -> Self {
        let reserve = remaining.mul_f64(0.1).clamp(Duration::from_millis(500), Duration::from_secs(5));
        let after = |duration: Duration| Instant::now().checked_add(duration).unwrap_or_else(Instant::now);
        Self {
            work_until: after(remaining.saturating_sub(reserve)),
            alerts_until: after(remaining.saturating_sub(reserve.mul_f64(ANSWER_SHARE))),
            start_offset,
        }
    }

    /// When a stage ends. A single trail may take all the remaining time.
    pub(crate) fn stage_deadline(&self, only_one_trail: bool) -> Deadline {
        if only_one_trail { self.work_until.into() } else { self.shared_stage_deadline() }
    }

    /// When a stage of several trails ends. A trail that does not respond must leave time for the others, so each stage
    /// gets a third of the remaining time.
    pub(crate) fn shared_stage_deadline(&self) -> Deadline {
        let remaining = self.work_until.saturating_duration_since(Instant::now());
        let third = remaining.checked_div(3).unwrap_or(remaining);
        Deadline::share(Instant::now().checked_add(third).unwrap_or(self.work_until))
    }
}
