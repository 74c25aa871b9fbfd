//! Many events of one account at the same time, as when a deployment writes the policies of all its keys. Each is
//! an invocation of its own, and together they meet the request rates to which each by itself keeps.

use std::{
    fmt,
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use fake_aws::lambda::Function;

use super::{
    account::{Account, Day},
    day::{What, happenings},
};
use crate::scene::Scene;

/// The time-out of the template.
const TIMEOUT: Duration = Duration::from_secs(180);

/// What became of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Burst {
    /// Calls in all.
    pub calls: usize,
    /// Those of them that were throttled, and sent again by the function.
    pub throttled: usize,
    /// From the events to the last answer or error.
    pub last: Duration,
    /// How many events there were.
    pub events: usize,
    /// How many of them failed because calls were refused for too long: Lambda's to try again.
    pub left: usize,
}

/// Hands so many events of keys that no trail uses to so many processes, each of which gets its share of them one
/// after another. With one process, that is a reserved concurrency of 1.
pub fn burst(binary: &Path, latency: Duration, events: usize, at_once: usize) -> Result<Burst, String> {
    let account = Account { number: 0 };
    let scene = Scene::new(account.world(Day::Ordinary));
    scene.aws.set_latency(latency);
    let mut happened = happenings(account, Day::Ordinary);
    happened.retain(|happening| happening.what == What::OtherKey);
    let event = happened.first().ok_or("a day without an event of a key")?;
    let payload = event.payload.to_string();
    let functions = (0..at_once).map(|_| scene.start(binary)).collect::<Result<Vec<_>, _>>()?;
    let (ready, payload) = (&Barrier::new(at_once), payload.as_bytes());
    let began = Instant::now();
    let answered = thread::scope(|scope| {
        let share = |mut function: Function| {
            ready.wait();
            (0..events / at_once).map(|_| function.invoke_within(payload, TIMEOUT)).collect::<Vec<_>>()
        };
        let shares: Vec<_> = functions.into_iter().map(|function| scope.spawn(move || share(function))).collect();
        shares.into_iter().map(|share| share.join().map_err(|_| "an event was lost")).collect::<Result<Vec<_>, _>>()
    })?;
    let last = began.elapsed();
    let mut left = 0;
    for invocation in answered.iter().flatten() {
        match &invocation.outcome {
            Ok(answer) => event.expected.differs(answer).map_or(Ok(()), Err)?,
            Err(error) if error.error_type == "Transient" => left += 1,
            Err(error) => return Err(format!("one of {events} events failed: {error}")),
        }
    }
    let calls = scene.aws.calls();
    Ok(Burst {
        calls: calls.len(),
        throttled: calls.iter().filter(|call| call.error.as_deref() == Some("ThrottlingException")).count(),
        last,
        events,
        left,
    })
}

impl fmt::Display for Burst {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, throttled, last, events, left } = self;
        let last = last.as_secs_f64();
        match left {
            0 => write!(out, "all answered after {last:.1} s")?,
            _ => write!(out, "{} answered and {left} left for Lambda to try again, after {last:.1} s", events - left)?,
        }
        write!(out, "; {throttled} of {calls} calls throttled")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_told() {
        let mut burst = Burst { calls: 178, throttled: 118, last: Duration::from_secs(9), events: 30, left: 0 };
        assert_eq!(burst.to_string(), "all answered after 9.0 s; 118 of 178 calls throttled");
        burst.left = 2;
        let told = "28 answered and 2 left for Lambda to try again, after 9.0 s; 118 of 178 calls throttled";
        assert_eq!(burst.to_string(), told);
    }
}
