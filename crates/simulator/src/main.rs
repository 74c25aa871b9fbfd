//! Runs scenarios: `SEED=n` prints the timeline of one, `SEEDS=n` runs that many from `FIRST_SEED` on.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use trailseal_simulator::{Scenario, shrink, simulate};

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// A number in the environment.
fn number(name: &str) -> Result<Option<u64>, String> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().map(Some).map_err(|_| format!("{name} is `{text}`, but must be a whole number"))
        }
        _ => Ok(None),
    }
}

fn run() -> Result<ExitCode, String> {
    let (first, seeds) = (number("FIRST_SEED")?.unwrap_or(0), number("SEEDS")?.unwrap_or(3_000));
    if let Some(seed) = number("SEED")? {
        return Ok(replay(seed));
    }
    let (next, calls, failing) = (AtomicU64::new(first), AtomicUsize::new(0), AtomicU64::new(u64::MAX));
    let begun = Instant::now();
    let end = first.saturating_add(seeds);
    let run_seeds = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || seed > failing.load(Ordering::Relaxed) {
                return;
            }
            let run = simulate(&Scenario::new(seed), false);
            calls.fetch_add(run.calls, Ordering::Relaxed);
            if !run.violations.is_empty() {
                failing.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(run_seeds);
        }
    });
    Ok(match failing.into_inner() {
        u64::MAX => {
            let (calls, seconds) = (calls.into_inner(), begun.elapsed().as_secs());
            println!("{seeds} seeds from {first} on: no violation in {calls} calls ({seconds} s)");
            ExitCode::SUCCESS
        }
        seed => replay(seed),
    })
}

/// Prints a scenario, as small as it gets if it fails.
fn replay(seed: u64) -> ExitCode {
    let mut scenario = Scenario::new(seed);
    if let Some(violation) = simulate(&scenario, false).violations.first() {
        let still_fails = |scenario: &Scenario| {
            simulate(scenario, false).violations.iter().any(|found| found.guarantee == violation.guarantee)
        };
        scenario = shrink(&scenario, still_fails);
    }
    let run = simulate(&scenario, true);
    println!("{scenario:?}\n");
    for line in &run.timeline {
        println!("{line}");
    }
    println!();
    for violation in &run.violations {
        println!("violated: {}: {}", violation.guarantee, violation.detail);
    }
    match run.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => {
            println!("replay with SEED={seed}");
            ExitCode::FAILURE
        }
    }
}
