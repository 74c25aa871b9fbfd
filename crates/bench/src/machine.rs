//! Where and when the figures were measured.

use std::{fs, process::Command, thread};

/// The machine and the compiler.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// The processor's cores.
    pub cores: usize,
    /// The kernel.
    pub kernel: String,
    /// The compiler.
    pub rustc: String,
    /// The day, as `2026-11-20`.
    pub date: String,
    /// Whether other programs use the machine during the measurement.
    pub shared: bool,
}

impl Machine {
    /// This machine.
    pub fn describe(shared: bool) -> Self {
        let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
            let line = info.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        Self {
            processor: model.unwrap_or_else(|| "unknown".into()),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: first_line("uname", &["-srm"]),
            rustc: first_line(option_env!("RUSTC").unwrap_or("rustc"), &["--version"]),
            date: first_line("date", &["-u", "+%F"]),
            shared,
        }
    }
}

/// The first line of a command's output.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().map(|output| output.stdout);
    let text = output.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
