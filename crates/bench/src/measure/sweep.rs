//! Sweeps over whole accounts: wall time and memory.

use std::{path::Path, time::Duration};

use fake_aws::lambda::Invocation;
use serde_json::json;

use super::{Measured, Subjects};
use crate::{
    figure::{Figure, megabytes},
    sample::Sample,
    scene::{Scene, answered, estate, outcomes},
};

/// How long a call takes.
const LATENCY: Duration = Duration::from_millis(50);

/// One sweep by a cold process.
struct Sweep {
    invocation: Invocation,
    memory: u64,
    calls: usize,
}

/// Sweeps the default Regions, and all of them.
pub fn measure(subjects: &Subjects) -> Measured {
    if !available(&subjects.function)? {
        return Ok(vec![Figure::information("Sweep", "not available in this version")]);
    }
    let mut wall = Sample::default();
    let mut calls = 0;
    for _ in 0..subjects.runs.min(5) {
        let sweep = sweep(&subjects.function, 17)?;
        wall.push(sweep.invocation.wall);
        calls = sweep.calls;
    }
    let mut cpu = Sample::default();
    let mut memory = 0;
    for _ in 0..3 {
        let sweep = sweep(&subjects.function, 34)?;
        cpu.push(sweep.invocation.cpu);
        memory = sweep.memory.max(memory);
    }
    Ok(vec![
        Figure::judged(
            "Sweep of 17 Regions × 5 compliant trails, 50 ms a call",
            "≤ 1 s",
            format!("{wall}, {calls} calls"),
            wall.median() <= 1e3,
        ),
        Figure::judged(
            "Peak memory, sweep of 34 Regions × 5 trails",
            "≤ 24 MB",
            megabytes(memory),
            memory <= 24_000_000,
        ),
        Figure::information("CPU of that sweep", cpu.to_string()),
    ])
}

/// Whether the function sweeps at all: it says so if it does not.
fn available(binary: &Path) -> Result<bool, String> {
    let mut function = Scene::new(estate(1)).start(binary)?;
    let (_, answer) = answered(&mut function, &json!({ "sweep": {} }))?;
    Ok(answer["ignored"].is_null())
}

fn sweep(binary: &Path, regions: usize) -> Result<Sweep, String> {
    let scene = Scene::new(estate(regions));
    scene.aws.set_latency(LATENCY);
    let mut function = scene.start(binary)?;
    let (invocation, answer) = answered(&mut function, &json!({ "sweep": {} }))?;
    let trails = 5 * regions as u64;
    if outcomes(&answer, "compliant") != trails {
        return Err(format!("a sweep of {trails} compliant trails answered: {}", answer["summary"]));
    }
    let calls = scene.aws.calls();
    let throttled = calls.iter().filter(|call| call.error.as_deref() == Some("ThrottlingException")).count();
    if throttled > 0 {
        return Err(format!("a sweep was throttled {throttled} times"));
    }
    Ok(Sweep { invocation, memory: function.peak_memory(), calls: calls.len() })
}
