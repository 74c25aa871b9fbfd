//! The first remediation of a cold process, over TLS: CPU time, wall time, memory.

use std::{path::Path, time::Duration};

use super::{Binaries, Measured};
use crate::{
    event::update_event,
    figure::{Figure, Row, megabytes},
    fixture::{Fixture, State, invoke, outcomes},
    sample::Sample,
};

/// How long a call takes where the wall time of rounds is measured.
const LATENCY: Duration = Duration::from_millis(20);

/// The cost of several cold processes.
#[derive(Default)]
struct Cost {
    cpu: Sample,
    wall: Sample,
    memory: u64,
}

/// Measures the function and the baseline alternately, so that other load on the machine affects both.
pub fn measure(binaries: &Binaries) -> Measured {
    let (mut existing, mut new, mut slow) = (Cost::default(), Cost::default(), Cost::default());
    let (mut bare, mut bare_new, mut bare_slow) = (Cost::default(), Cost::default(), Cost::default());
    let mut stock = Cost::default();
    let none = Duration::ZERO;
    for _ in 0..binaries.runs {
        by_bare(&binaries.bare, State::KeyExists, none, &mut bare)?;
        by_function(&binaries.function, State::KeyExists, none, &mut existing)?;
        by_bare(&binaries.bare, State::NoKey, none, &mut bare_new)?;
        by_function(&binaries.function, State::NoKey, none, &mut new)?;
        if let Some(binary) = &binaries.stock {
            by_bare(binary, State::KeyExists, none, &mut stock)?;
        }
    }
    for _ in 0..binaries.runs.min(5) {
        by_function(&binaries.function, State::KeyExists, LATENCY, &mut slow)?;
        by_bare(&binaries.bare, State::KeyExists, LATENCY, &mut bare_slow)?;
    }

    let (cpu, ratio) = (existing.cpu.median(), existing.cpu.median() / bare.cpu.median());
    let memory = existing.memory.max(new.memory);
    let bare_memory = megabytes(bare.memory.max(bare_new.memory));
    let mut figures = vec![
        Row::CPU.compared(format!("{}, bare {}: {ratio:.2} ×", existing.cpu, bare.cpu), cpu <= 5.0 && ratio <= 1.0),
        Row::CPU_NEW_KEY.measured(format!("{}, bare {}", new.cpu, bare_new.cpu)),
        Row::WALL.measured(format!("{}, bare {}", existing.wall, bare.wall)),
        Row::WALL_SLOW.measured(format!("{}, bare {}", slow.wall, bare_slow.wall)),
        Row::MEMORY.compared(format!("{}, bare {bare_memory}", megabytes(memory)), memory <= 12_000_000),
    ];
    if binaries.stock.is_some() {
        figures.push(Figure::information("CPU time, stock build of bare", stock.cpu.to_string()));
    }
    Ok(figures)
}

fn by_function(binary: &Path, state: State, latency: Duration, cost: &mut Cost) -> Result<(), String> {
    let fixture = Fixture::one_trail(state);
    fixture.aws.set_latency(latency);
    let mut function = fixture.start(binary)?;
    let (invocation, answer) = invoke(&mut function, &update_event())?;
    let alerts = fixture.aws.world().published.len();
    if outcomes(&answer, "remediated") != 1 || !fixture.is_encrypted() || alerts != 1 {
        return Err(format!("the trail was not remediated, or no alert was sent: {answer}"));
    }
    cost.add(invocation.cpu, invocation.wall, function.peak_memory());
    Ok(())
}

fn by_bare(binary: &Path, state: State, latency: Duration, cost: &mut Cost) -> Result<(), String> {
    let fixture = Fixture::one_trail(state);
    fixture.aws.set_latency(latency);
    let mut launch = fixture.launch(binary);
    {
        let mut world = fixture.aws.world();
        // The baseline's key policy relies on IAM for administering the key.
        world.caller_iam_allows_put_key_policy = true;
        launch = launch.env("BARE_KEY_POLICY", world.cloudtrail_key_policy());
    }
    let calls = if state == State::NoKey { "new-key" } else { "existing-key" };
    let mut function = launch.env("BARE_CALLS", calls).start().map_err(|crash| crash.to_string())?;
    let (invocation, answer) = invoke(&mut function, &update_event())?;
    if !fixture.is_encrypted() {
        return Err(format!("the baseline did not encrypt the trail: {answer}"));
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
