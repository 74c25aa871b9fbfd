//! How often attempts are sent, and how many at once.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Mutex as FairMutex, Notify, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until};
use trailseal_core::ids::Region;

use super::lock;

/// One second as CloudTrail counts it, and a margin for different transit times.
const WINDOW: Duration = Duration::from_millis(1050);

/// The request rate that an operation counts toward, for each Region.
/// Source: <https://docs.aws.amazon.com/general/latest/gr/ct.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rate {
    /// 10 requests per second.
    CloudTrailRead,
    /// 1 request per second.
    CloudTrailWrite,
    /// Another service, whose quotas a sweep does not approach.
    Unlimited,
}

impl Rate {
    fn per_second(self) -> Option<usize> {
        match self {
            Self::CloudTrailRead => Some(10),
            Self::CloudTrailWrite => Some(1),
            Self::Unlimited => None,
        }
    }
}

/// When the latest attempts were sent, at most as many as the rate allows. The waiters are served first in, first out.
type Queue = Arc<FairMutex<VecDeque<Instant>>>;

/// Keeps attempts within their rate. Each Region has one queue per rate.
#[derive(Debug, Default)]
pub(super) struct RateLimiter(Mutex<BTreeMap<(Region, Rate), Queue>>);

/// The head of a queue. The next attempt in the queue waits until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Slot {
    rate: Rate,
    sent: OwnedMutexGuard<VecDeque<Instant>>,
}

impl RateLimiter {
    /// Waits until the rate allows one more attempt. `None`: the rate is unlimited. Nothing is counted before
    /// [`Slot::mark_sent`].
    pub(super) async fn acquire(&self, region: &Region, rate: Rate) -> Option<Slot> {
        let most = rate.per_second()?;
        let queue = Arc::clone(lock(&self.0).entry((region.clone(), rate)).or_default());
        let mut sent = queue.lock_owned().await;
        if sent.len() >= most
            && let Some(free_at) = sent.front().and_then(|oldest| oldest.checked_add(WINDOW))
        {
            sleep_until(free_at).await;
            sent.pop_front();
        }
        Some(Slot { rate, sent })
    }
}

impl Slot {
    /// Counts the attempt that is about to be sent. A write keeps its slot until the response, so that the writes of
    /// a Region never overlap.
    pub(super) fn mark_sent(mut self) -> Option<Self> {
        self.sent.push_back(Instant::now());
        (self.rate == Rate::CloudTrailWrite).then_some(self)
    }
}

/// The most concurrent calls of all Regions together. Each uses a connection and its buffers. `FREE_PER_HELD` keeps four
/// for Regions that hold none, so a sweep of many Regions runs 24.
const MAX_CONCURRENT: usize = 28;

/// A Region that holds `n` permits gets another only if more than `4n` are free.
const FREE_PER_HELD: usize = 4;

/// Limits concurrent calls. A Region's share shrinks as load grows, so that it takes 11 unresponsive Regions to
/// starve another.
#[derive(Debug, Default)]
pub(super) struct ConcurrencyLimiter(Mutex<BTreeMap<Region, Share>>);

/// One Region's share of the permits.
#[derive(Debug, Default)]
struct Share {
    held: usize,
    /// Notified when the Region may get another permit.
    freed: Arc<Notify>,
}

/// Permission for one concurrent call, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit<'a> {
    limiter: &'a ConcurrencyLimiter,
    region: Region,
}

impl Share {
    fn may_grow(&self, free: usize) -> bool {
        self.held.saturating_mul(FREE_PER_HELD) < free
    }
}

impl ConcurrencyLimiter {
    /// Waits for a permit.
    pub(super) async fn acquire(&self, region: &Region) -> Permit<'_> {
        let freed = Arc::clone(&lock(&self.0).entry(region.clone()).or_default().freed);
        loop {
            let mut notified = pin!(freed.notified());
            // Registers before it checks, so that no notification is lost in between.
            notified.as_mut().enable();
            if let Some(permit) = self.try_acquire(region) {
                return permit;
            }
            notified.await;
        }
    }

    fn try_acquire(&self, region: &Region) -> Option<Permit<'_>> {
        let mut shares = lock(&self.0);
        let free = free(&shares);
        let share = shares.entry(region.clone()).or_default();
        if !share.may_grow(free) {
            return None;
        }
        share.held = share.held.saturating_add(1);
        Some(Permit { limiter: self, region: region.clone() })
    }
}

fn free(shares: &BTreeMap<Region, Share>) -> usize {
    shares.values().fold(MAX_CONCURRENT, |free, share| free.saturating_sub(share.held))
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut shares = lock(&self.limiter.0);
        if let Some(share) = shares.get_mut(&self.region) {
            share.held = share.held.saturating_sub(1);
        }
        let free = free(&shares);
        // One waiter of each Region. Those that find the permit taken again wait for the next.
        shares.values().filter(|share| share.may_grow(free)).for_each(|share| share.freed.notify_one());
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn region(number: usize) -> Region {
        format!("eu-west-{number}").parse().unwrap()
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    async fn send(rates: &RateLimiter, region: &Region, rate: Rate) {
        drop(rates.acquire(region, rate).await.and_then(Slot::mark_sent));
    }

    #[tokio::test(start_paused = true)]
    async fn the_eleventh_read_and_second_write_wait_a_second() {
        let (rates, start) = (RateLimiter::default(), Instant::now());
        let (here, there) = (region(1), region(2));
        for _ in 0..10 {
            send(&rates, &here, Rate::CloudTrailRead).await;
        }
        send(&rates, &there, Rate::CloudTrailRead).await;
        send(&rates, &here, Rate::CloudTrailWrite).await;
        for _ in 0..100 {
            send(&rates, &here, Rate::Unlimited).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        send(&rates, &here, Rate::CloudTrailRead).await;
        assert_eq!(start.elapsed(), WINDOW);
        send(&rates, &here, Rate::CloudTrailWrite).await;
        send(&rates, &here, Rate::CloudTrailWrite).await;
        assert_eq!(start.elapsed(), WINDOW * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_is_not_used_counts_nothing() {
        let (rates, here) = (RateLimiter::default(), region(1));
        drop(rates.acquire(&here, Rate::CloudTrailWrite).await);
        send(&rates, &here, Rate::CloudTrailWrite).await;
        assert!(now(rates.acquire(&here, Rate::CloudTrailWrite)).is_none(), "canceled while it waits");
        let start = Instant::now();
        send(&rates, &here, Rate::CloudTrailWrite).await;
        assert_eq!(start.elapsed(), WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn writes_are_sent_one_after_another_in_order() {
        let (rates, here) = (RateLimiter::default(), region(1));
        let in_flight = rates.acquire(&here, Rate::CloudTrailWrite).await.and_then(Slot::mark_sent);
        let mut second = Box::pin(rates.acquire(&here, Rate::CloudTrailWrite));
        let mut third = Box::pin(rates.acquire(&here, Rate::CloudTrailWrite));
        assert!(now(second.as_mut()).is_none() && now(third.as_mut()).is_none());
        tokio::time::sleep(WINDOW * 2).await;
        assert!(now(second.as_mut()).is_none(), "the first has no response yet");
        drop(in_flight);
        assert!(now(third.as_mut()).is_none());
        let second = second.await;
        assert!(now(third.as_mut()).is_none());
        drop(second);
        assert!(third.await.is_some());
    }

    #[test]
    fn a_regions_share_shrinks_as_load_grows() {
        let limiter = ConcurrencyLimiter::default();
        let acquire_all = |number: usize| -> Vec<Permit<'_>> {
            let region = region(number);
            std::iter::from_fn(|| now(limiter.acquire(&region))).collect()
        };
        let held: Vec<Vec<Permit<'_>>> = (1..=20).map(acquire_all).collect();
        let counts: Vec<usize> = held.iter().map(Vec::len).take_while(|held| *held > 0).collect();
        assert_eq!(counts, [6, 5, 4, 3, 2, 2, 2, 1, 1, 1, 1]);
        assert_eq!(counts.iter().sum::<usize>(), MAX_CONCURRENT);
    }

    #[tokio::test]
    async fn a_freed_permit_goes_to_a_waiter_that_still_waits() {
        let (limiter, here) = (ConcurrencyLimiter::default(), region(1));
        let mut held: Vec<_> = std::iter::from_fn(|| now(limiter.acquire(&here))).collect();
        assert_eq!(held.len(), 6);
        {
            let mut canceled = Box::pin(limiter.acquire(&here));
            assert!(now(canceled.as_mut()).is_none());
            let mut next = Box::pin(limiter.acquire(&here));
            assert!(now(next.as_mut()).is_none());
            held.pop();
            drop(canceled);
            held.push(next.await);
        }
        assert!(now(limiter.acquire(&here)).is_none());
        held.clear();
        assert_eq!(free(&lock(&limiter.0)), MAX_CONCURRENT);
    }
}
