//! How many calls are under way at once: each has a connection of its own, and its memory.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use trailseal_core::ids::Region;

/// The most calls at once, of all Regions together.
const MOST: usize = 20;

/// How many times as many as it has a Region must leave free to get one more.
const LEFT_FREE: usize = 4;

/// The places of the calls under way. The more of them are taken, the fewer may be one Region's: it takes ten
/// Regions that do not answer to keep another from its turn.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<BTreeMap<Region, Held>>);

/// What one Region has of them.
#[derive(Debug, Default)]
struct Held {
    places: usize,
    /// Told when there may be another one.
    freed: Arc<Notify>,
}

/// One of the places, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Place<'a> {
    of: &'a Places,
    region: Region,
}

impl Held {
    fn may_take_one(&self, free: usize) -> bool {
        self.places.saturating_mul(LEFT_FREE) < free
    }
}

impl Places {
    /// Waits for a place.
    pub(super) async fn take(&self, region: &Region) -> Place<'_> {
        let freed = Arc::clone(&self.held().entry(region.clone()).or_default().freed);
        loop {
            let mut told = pin!(freed.notified());
            // Listens before it looks, so that it misses nothing in between.
            told.as_mut().enable();
            if let Some(place) = self.taken(region) {
                return place;
            }
            told.await;
        }
    }

    fn taken(&self, region: &Region) -> Option<Place<'_>> {
        let mut all = self.held();
        let free = free(&all);
        let held = all.entry(region.clone()).or_default();
        if !held.may_take_one(free) {
            return None;
        }
        held.places = held.places.saturating_add(1);
        Some(Place { of: self, region: region.clone() })
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Region, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn free(all: &BTreeMap<Region, Held>) -> usize {
    all.values().fold(MOST, |free, held| free.saturating_sub(held.places))
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.of.held();
        if let Some(held) = all.get_mut(&self.region) {
            held.places = held.places.saturating_sub(1);
        }
        let free = free(&all);
        // One each: who is told of a place that is gone again waits for the next.
        all.values().filter(|held| held.may_take_one(free)).for_each(|held| held.freed.notify_one());
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

    #[test]
    fn no_region_takes_the_places_of_the_others_and_all_together_no_more_than_there_are() {
        let places = Places::default();
        let take_all = |number: usize| -> Vec<Place<'_>> {
            let region = region(number);
            std::iter::from_fn(|| now(places.take(&region))).collect()
        };
        let taken: Vec<Vec<Place<'_>>> = (1..=20).map(take_all).collect();
        let counts: Vec<usize> = taken.iter().map(Vec::len).take_while(|taken| *taken > 0).collect();
        assert_eq!(counts, [4, 4, 3, 2, 2, 1, 1, 1, 1, 1]);
        assert_eq!(counts.iter().sum::<usize>(), MOST);
    }

    #[tokio::test]
    async fn who_waits_has_the_place_that_becomes_free_and_who_gives_up_waiting_keeps_none() {
        let (places, here) = (Places::default(), region(1));
        let mut taken: Vec<_> = std::iter::from_fn(|| now(places.take(&here))).collect();
        assert_eq!(taken.len(), 4);
        {
            let mut given_up = Box::pin(places.take(&here));
            assert!(now(given_up.as_mut()).is_none());
            let mut next = Box::pin(places.take(&here));
            assert!(now(next.as_mut()).is_none());
            taken.pop();
            drop(given_up);
            taken.push(next.await);
        }
        assert!(now(places.take(&here)).is_none());
        taken.clear();
        assert_eq!(free(&places.held()), MOST);
    }
}
