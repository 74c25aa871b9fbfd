//! The first remediation of a cold process, over TLS: CPU time, wall time, memory.

use std::{path::Path, time::Duration};

use super::{Measured, Subjects};
use crate::{
    event::update_event,
    figure::{Figure, megabytes},
    sample::Sample,
    scene::{Scene, State, answered, outcomes},
};

/// How long a call takes in the run that makes rounds visible.
const LATENCY: Duration = Duration::from_millis(20);

/// What several cold processes needed.
#[derive(Default)]
struct Cost {
    cpu: Sample,
    wall: Sample,
    memory: u64,
}

/// Measures the function, with the yardstick that makes the same calls run in turn.
pub fn measure(subjects: &Subjects) -> Measured {
    let (mut existing, mut new, mut slow) = (Cost::default(), Cost::default(), Cost::default());
    let (mut bare, mut bare_new, mut bare_slow) = (Cost::default(), Cost::default(), Cost::default());
    let mut stock = Cost::default();
    let none = Duration::ZERO;
    for _ in 0..subjects.runs {
        by_bare(&subjects.bare, State::KeyExists, none, &mut bare)?;
        by_function(&subjects.function, State::KeyExists, none, &mut existing)?;
        by_bare(&subjects.bare, State::NoKey, none, &mut bare_new)?;
        by_function(&subjects.function, State::NoKey, none, &mut new)?;
        if let Some(binary) = &subjects.stock {
            by_bare(binary, State::KeyExists, none, &mut stock)?;
        }
    }
    for _ in 0..subjects.runs.min(5) {
        by_function(&subjects.function, State::KeyExists, LATENCY, &mut slow)?;
        by_bare(&subjects.bare, State::KeyExists, LATENCY, &mut bare_slow)?;
    }

    let mut figures = vec![Figure::judged(
        "CPU from event to answer, first remediation of a cold process",
        "≤ 8 ms",
        existing.cpu.to_string(),
        existing.cpu.median() <= 8.0,
    )];
    let mut tell = |name: &str, measured: String| figures.push(Figure::information(name, measured));
    tell("The same calls one after another in bare", bare.cpu.to_string());
    if subjects.stock.is_some() {
        tell("The same in a stock build of bare", stock.cpu.to_string());
    }
    tell("CPU, when the key has to be created too", format!("{}, bare {}", new.cpu, bare_new.cpu));
    tell("Wall time from event to answer", format!("{}, bare {}", existing.wall, bare.wall));
    tell("Wall time, when a call takes 20 ms", format!("{}, bare {}", slow.wall, bare_slow.wall));
    let memory = existing.memory.max(new.memory);
    let bare_memory = megabytes(bare.memory.max(bare_new.memory));
    figures.push(Figure::judged(
        "Peak memory, one trail",
        "≤ 16 MB",
        format!("{}, bare {bare_memory}", megabytes(memory)),
        memory <= 16_000_000,
    ));
    Ok(figures)
}

fn by_function(binary: &Path, state: State, latency: Duration, cost: &mut Cost) -> Result<(), String> {
    let scene = Scene::one_trail(state);
    scene.aws.set_latency(latency);
    let mut function = scene.start(binary)?;
    let (invocation, answer) = answered(&mut function, &update_event())?;
    let alerts = scene.aws.world().published.len();
    if outcomes(&answer, "remediated") != 1 || !scene.is_sealed() || alerts != 1 {
        return Err(format!("not remediated and told: {answer}"));
    }
    cost.add(invocation.cpu, invocation.wall, function.peak_memory());
    Ok(())
}

fn by_bare(binary: &Path, state: State, latency: Duration, cost: &mut Cost) -> Result<(), String> {
    let scene = Scene::one_trail(state);
    scene.aws.set_latency(latency);
    let mut launch = scene.launch(binary);
    {
        let mut world = scene.aws.world();
        // Its key policy leaves the key's administration to IAM.
        world.caller_iam_allows_put_key_policy = true;
        launch = launch.env("BARE_KEY_POLICY", world.cloudtrail_key_policy());
    }
    let calls = if state == State::NoKey { "new-key" } else { "existing-key" };
    let mut function = launch.env("BARE_CALLS", calls).start().map_err(|crash| crash.to_string())?;
    let (invocation, answer) = answered(&mut function, &update_event())?;
    if !scene.is_sealed() {
        return Err(format!("bare did not encrypt the trail: {answer}"));
    }
    cost.add(invocation.cpu, invocation.wall, function.peak_memory());
    Ok(())
}

impl Cost {
    fn add(&mut self, cpu: Duration, wall: Duration, memory: u64) {
        self.cpu.push(cpu);
        self.wall.push(wall);
        self.memory = self.memory.max(memory);
    }
}
