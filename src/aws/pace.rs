//! CloudTrail's request rates, kept to rather than met: 10 reads and 1 write a second in each Region.
//! Source: <https://docs.aws.amazon.com/general/latest/gr/ct.html>.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use trailseal_core::ids::Region;

/// A second as CloudTrail counts it, and a little for the way there.
const WINDOW: Duration = Duration::from_millis(1050);

/// What a call counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It reads from CloudTrail.
    Read,
    /// It writes to CloudTrail.
    Write,
    /// It asks another service, whose rates no sweep comes near to.
    Other,
}

impl Kind {
    fn most(self) -> usize {
        match self {
            Self::Read => 10,
            Self::Write => 1,
            Self::Other => usize::MAX,
        }
    }
}

/// When the latest calls were sent, by Region and kind.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<BTreeMap<(Region, Kind), VecDeque<Instant>>>);

impl Pace {
    /// Takes a turn; or says when there may be one.
    pub(super) fn taken_until(&self, region: &Region, kind: Kind) -> Option<Instant> {
        if kind == Kind::Other {
            return None;
        }
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sent.entry((region.clone(), kind)).or_default();
        let now = Instant::now();
        while sent.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            sent.pop_front();
        }
        if sent.len() >= kind.most() {
            return sent.front().and_then(|at| at.checked_add(WINDOW));
        }
        sent.push_back(now);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn turn(pace: &Pace, region: &Region, kind: Kind) {
        while let Some(until) = pace.taken_until(region, kind) {
            tokio::time::sleep_until(until).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_eleventh_read_and_the_second_write_of_a_region_wait_for_the_next_second() {
        let (pace, start) = (Pace::default(), Instant::now());
        let (here, there): (Region, Region) = ("eu-west-1".parse().unwrap(), "us-east-1".parse().unwrap());
        for _ in 0..10 {
            turn(&pace, &here, Kind::Read).await;
        }
        turn(&pace, &there, Kind::Read).await;
        turn(&pace, &here, Kind::Write).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        turn(&pace, &here, Kind::Read).await;
        assert_eq!(start.elapsed(), WINDOW);
        turn(&pace, &here, Kind::Write).await;
        turn(&pace, &here, Kind::Write).await;
        assert_eq!(start.elapsed(), WINDOW * 2);
    }
}
