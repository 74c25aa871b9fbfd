//! Sweeps of all trails: wall time and memory.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use fake_aws::lambda::Invocation;
use serde_json::{Value, json};

use super::{Binaries, Measured};
use crate::{
    figure::{Row, megabytes},
    fixture::{self, Fixture, SweptTrails, invoke, outcomes},
    sample::Sample,
};

/// How long a call takes.
const LATENCY: Duration = Duration::from_millis(50);

/// One sweep by a cold process.
struct Sweep {
    invocation: Invocation,
    memory: u64,
    calls: usize,
}

/// Sweeps the Regions enabled by default, and all Regions; compliant trails and unencrypted trails.
pub fn measure(binaries: &Binaries) -> Measured {
    let mut wall = Sample::default();
    let mut calls = 0;
    for _ in 0..binaries.runs.min(5) {
        let sweep = sweep(&binaries.function, 17, SweptTrails::Compliant)?;
        wall.push(sweep.invocation.wall);
        calls = sweep.calls;
    }
    let mut cpu = Sample::default();
    let (mut memory, mut all_calls) = (0, 0);
    for _ in 0..3 {
        let sweep = sweep(&binaries.function, 34, SweptTrails::Compliant)?;
        cpu.push(sweep.invocation.cpu);
        memory = sweep.memory.max(memory);
        all_calls = sweep.calls;
    }
    let unencrypted = sweep(&binaries.function, 17, SweptTrails::Unencrypted)?;
    let everywhere = sweep(&binaries.function, 34, SweptTrails::Unencrypted)?;
    let unencrypted_figure =
        |sweep: &Sweep| format!("{:.1} s, {} calls", sweep.invocation.wall.as_secs_f64(), sweep.calls);
    let mut plans = Sample::default();
    for _ in 0..binaries.runs.min(5) {
        plans.push(plan(&binaries.command_line, 17)?);
    }
    Ok(vec![
        Row::SWEEP_MEMORY.compared(
            format!("{}; unencrypted trails {}", megabytes(memory), megabytes(everywhere.memory)),
            memory.max(everywhere.memory) <= 20_000_000,
        ),
        Row::SWEEP_CPU.measured(format!("{cpu}, {all_calls} calls")),
        Row::SWEEP.compared(format!("{wall}, {calls} calls"), wall.median() <= 600.0),
        Row::UNENCRYPTED_SWEEP.measured(unencrypted_figure(&unencrypted)),
        Row::UNENCRYPTED_SWEEP_EVERYWHERE.measured(unencrypted_figure(&everywhere)),
        Row::PLAN.compared(plans.to_string(), plans.median() <= 1000.0),
    ])
}

/// The wall time of a whole process that plans for compliant trails.
fn plan(binary: &Path, regions: usize) -> Result<Duration, String> {
    let fixture = Fixture::new(fixture::many_trails(regions, SweptTrails::Compliant));
    fixture.aws.set_latency(LATENCY);
    let begun = Instant::now();
    let output = fixture.command(binary).args(["plan", "--format", "json"]).output();
    let elapsed = begun.elapsed();
    let output = output.map_err(|error| format!("cannot start `{}`: {error}", binary.display()))?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("`trailseal plan` failed: {}", String::from_utf8_lossy(&output.stderr)))?;
    match outcomes(&answer, "compliant") == 5 * regions as u64 {
        true => Ok(elapsed),
        false => Err(format!("`trailseal plan` answered: {}", answer["summary"])),
    }
}

fn sweep(binary: &Path, regions: usize, state: SweptTrails) -> Result<Sweep, String> {
    let fixture = Fixture::new(fixture::many_trails(regions, state));
    fixture.aws.set_latency(LATENCY);
    let mut function = fixture.start(binary)?;
    let (invocation, answer) = invoke(&mut function, &json!({ "sweep": {} }))?;
    let trails = 5 * regions as u64;
    let expected = match state {
        SweptTrails::Compliant => "compliant",
        SweptTrails::Unencrypted => "remediated",
    };
    if outcomes(&answer, expected) != trails {
        return Err(format!("a sweep of {trails} trails answered: {}", answer["summary"]));
    }
    let calls = fixture.aws.calls();
    let throttled = calls.iter().filter(|call| call.error.as_deref() == Some("ThrottlingException")).count();
    if throttled > 0 {
        return Err(format!("{throttled} calls of a sweep were throttled"));
    }
    Ok(Sweep { invocation, memory: function.peak_memory(), calls: calls.len() })
}
