//! Sweeps over whole accounts: wall time and memory.

use std::{path::Path, time::Duration};

use fake_aws::lambda::Invocation;
use serde_json::json;

use super::{Measured, Subjects};
use crate::{
    figure::{Figure, megabytes},
    sample::Sample,
    scene::{self, Estate, Scene, answered, outcomes},
};

/// How long a call takes.
const LATENCY: Duration = Duration::from_millis(50);

/// One sweep by a cold process.
struct Sweep {
    invocation: Invocation,
    memory: u64,
    calls: usize,
}

/// Sweeps the default Regions, and all of them; trails that are well, and trails without a key.
pub fn measure(subjects: &Subjects) -> Measured {
    let mut wall = Sample::default();
    let mut calls = 0;
    for _ in 0..subjects.runs.min(5) {
        let sweep = sweep(&subjects.function, 17, Estate::Compliant)?;
        wall.push(sweep.invocation.wall);
        calls = sweep.calls;
    }
    let mut cpu = Sample::default();
    let (mut memory, mut all_calls) = (0, 0);
    for _ in 0..3 {
        let sweep = sweep(&subjects.function, 34, Estate::Compliant)?;
        cpu.push(sweep.invocation.cpu);
        memory = sweep.memory.max(memory);
        all_calls = sweep.calls;
    }
    let unencrypted = sweep(&subjects.function, 17, Estate::Unencrypted)?;
    let everywhere = sweep(&subjects.function, 34, Estate::Unencrypted)?;
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
            format!("{}; of unencrypted ones {}", megabytes(memory), megabytes(everywhere.memory)),
            memory.max(everywhere.memory) <= 24_000_000,
        ),
        Figure::information("CPU of that sweep", format!("{cpu}, {all_calls} calls")),
        Figure::information(
            "Sweep of 17 Regions × 5 unencrypted trails, a write a second in each Region",
            format!("{:.1} s, {} calls", unencrypted.invocation.wall.as_secs_f64(), unencrypted.calls),
        ),
        Figure::information(
            "The same in 34 Regions",
            format!("{:.1} s, {} calls", everywhere.invocation.wall.as_secs_f64(), everywhere.calls),
        ),
    ])
}

fn sweep(binary: &Path, regions: usize, estate: Estate) -> Result<Sweep, String> {
    let scene = Scene::new(scene::estate(regions, estate));
    scene.aws.set_latency(LATENCY);
    let mut function = scene.start(binary)?;
    let (invocation, answer) = answered(&mut function, &json!({ "sweep": {} }))?;
    let trails = 5 * regions as u64;
    let expected = match estate {
        Estate::Compliant => "compliant",
        Estate::Unencrypted => "remediated",
    };
    if outcomes(&answer, expected) != trails {
        return Err(format!("a sweep of {trails} trails answered: {}", answer["summary"]));
    }
    let calls = scene.aws.calls();
    let throttled = calls.iter().filter(|call| call.error.as_deref() == Some("ThrottlingException")).count();
    if throttled > 0 {
        return Err(format!("a sweep was throttled {throttled} times"));
    }
    Ok(Sweep { invocation, memory: function.peak_memory(), calls: calls.len() })
}
