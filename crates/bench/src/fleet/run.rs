//! Plays the day of accounts, each invocation a process of its own, and checks what comes of it.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    account::{Account, BLOCK, Day, trouble},
    day::{Happening, What, echoes, happenings},
    tally::Tally,
};
use crate::scene::{Scene, answered, outcomes};

/// What passes between two events: long enough for Lambda to have ended the process.
const PAUSE: Duration = Duration::from_secs(3600);

/// Locks, whatever became of the other worker: that is told where it is waited for.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A day to be played.
#[derive(Clone, Copy, Debug)]
pub struct Play<'a> {
    /// The function.
    pub binary: &'a Path,
    /// Which day.
    pub day: Day,
    /// How many accounts there are.
    pub accounts: usize,
    /// How long a call takes.
    pub latency: Duration,
    /// When no further block is begun, except the first.
    pub until: Instant,
    /// How many accounts' days are played at once.
    pub at_once: usize,
}

/// The accounts whose day is still to be played.
struct Ahead {
    next: usize,
    end: usize,
}

impl Ahead {
    /// The next one. A block that was begun is played to its end, since only a whole one tells of others.
    fn next(&mut self, late: bool) -> Option<Account> {
        if late && self.next > 0 && self.next.is_multiple_of(BLOCK) {
            self.end = self.next;
        }
        let account = (self.next < self.end).then_some(Account { number: self.next })?;
        self.next += 1;
        Some(account)
    }
}

impl Play<'_> {
    /// Plays as many blocks as the time allows, in order.
    pub fn run(self) -> Result<Tally, String> {
        let ahead = Mutex::new(Ahead { next: 0, end: self.accounts });
        let whole = Mutex::new(Tally::default());
        let work = || {
            let scene = Scene::new(Account { number: 0 }.world(self.day));
            scene.aws.set_latency(self.latency);
            while let Some(account) = locked(&ahead).next(Instant::now() >= self.until) {
                match self.account(&scene, account) {
                    Ok(tally) => locked(&whole).append(tally),
                    Err(trouble) => {
                        locked(&ahead).end = 0;
                        return Err(trouble);
                    }
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.at_once).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a day could not be played")?)
        })?;
        Ok(std::mem::take(&mut *locked(&whole)))
    }

    /// The day of one account.
    fn account(self, scene: &Scene, account: Account) -> Result<Tally, String> {
        scene.aws.replace(account.world(self.day));
        let mut tally = Tally { accounts: 1, ..Tally::default() };
        let mut ahead = VecDeque::from(happenings(account, self.day));
        while let Some(happening) = ahead.pop_front() {
            happening.change.apply(account, &mut scene.aws.world());
            for _ in 0..happening.deliveries {
                let echoes = self
                    .invocation(scene, account, &happening, &mut tally)
                    .map_err(|trouble| format!("account {}, {:?}: {trouble}", account.number, happening.what))?;
                echoes.into_iter().rev().for_each(|echo| ahead.push_front(echo));
            }
        }
        let world = scene.aws.world();
        if let Some(trouble) = trouble(&world) {
            return Err(format!("account {} at the end of the day: {trouble}", account.number));
        }
        tally.trails = world.trails.values().filter(|trail| trail.owner == world.account).count();
        tally.alerts = world.published.len();
        Ok(tally)
    }

    /// One invocation; returns the events that it causes.
    fn invocation(
        self,
        scene: &Scene,
        account: Account,
        happening: &Happening,
        tally: &mut Tally,
    ) -> Result<Vec<Happening>, String> {
        scene.aws.advance_clock(PAUSE);
        scene.aws.clear_calls();
        let mut function = scene.start(self.binary)?;
        let (invocation, answer) = answered(&mut function, &happening.payload)?;
        if let Some(difference) = happening.expected.differs(&answer) {
            return Err(difference);
        }
        let calls = scene.aws.calls();
        let throttled = |call: &&fake_aws::Call| call.error.as_deref() == Some("ThrottlingException");
        if let Some(call) = calls.iter().find(throttled) {
            return Err(format!("`{}` was throttled in {}", call.name(), call.region));
        }
        *tally.invocations.entry(happening.what).or_default() += 1;
        tally.remediations += usize::from(happening.what != What::Sweep && outcomes(&answer, "remediated") > 0);
        tally.add_calls(&calls);
        tally.cpu.push(function.init_cpu() + invocation.cpu);
        tally.waited.push(invocation.wall.saturating_sub(invocation.cpu));
        for line in function.stdout() {
            tally.log_lines += 1;
            tally.log_bytes += line.len();
        }
        Ok(echoes(account, &calls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_was_begun_is_played_to_its_end() {
        let mut ahead = Ahead { next: 0, end: 1000 };
        let late = |ahead: &mut Ahead| ahead.next(true).map(|account| account.number);
        // The first block is played however late it is.
        assert!((0..BLOCK).all(|number| late(&mut ahead) == Some(number)));
        assert_eq!(late(&mut ahead), None);

        let mut ahead = Ahead { next: 0, end: 1000 };
        assert!((0..=BLOCK).all(|number| ahead.next(false) == Some(Account { number })));
        assert!((BLOCK + 1..2 * BLOCK).all(|number| late(&mut ahead) == Some(number)));
        assert_eq!(late(&mut ahead), None);
        assert_eq!(ahead.next(false), None);
    }

    #[test]
    fn a_fleet_has_an_end() {
        let mut ahead = Ahead { next: 0, end: 3 };
        assert!((0..3).all(|number| ahead.next(false) == Some(Account { number })));
        assert_eq!(ahead.next(false), None);
    }
}
