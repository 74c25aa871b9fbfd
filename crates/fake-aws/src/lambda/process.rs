//! The function's process, and what the operating system says of it.

use std::{
    fs, io,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use super::output::Output;

/// A process that ends, at the latest, when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    stdout: Output,
    stderr: Output,
}

impl Process {
    /// Starts `command` with its output captured.
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let (stdout, out) = Output::new()?;
        let (stderr, err) = Output::new()?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?;
        Ok(Self { child, stdout, stderr })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it, if it still runs, and waits until it is gone.
    pub(super) fn stop(&mut self) {
        // An error here means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(super) fn stdout(&self) -> Vec<String> {
        self.stdout.lines()
    }

    pub(super) fn stderr(&self) -> Vec<String> {
        self.stderr.lines()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The CPU time of a process, those of its threads that have ended included. Exact where `/proc/PID/stat` counts
/// ticks of 10 ms.
#[cfg(target_os = "linux")]
pub(super) fn cpu(pid: u32) -> Duration {
    i32::try_from(pid)
        .ok()
        .and_then(|pid| nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(pid)).ok())
        .and_then(|clock| clock.now().ok())
        .map_or(Duration::ZERO, Duration::from)
}

/// Not known here.
#[cfg(not(target_os = "linux"))]
pub(super) fn cpu(_pid: u32) -> Duration {
    Duration::ZERO
}

/// The most memory that a process held at once (`VmHWM`), in bytes.
pub(super) fn peak_memory(pid: u32) -> u64 {
    let kilobytes = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    fs::read_to_string(format!("/proc/{pid}/status")).ok().and_then(kilobytes).unwrap_or(0).saturating_mul(1024)
}
