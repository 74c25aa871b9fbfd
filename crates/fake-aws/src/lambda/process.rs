//! The function's process, and the operating system's measurements of it.

use std::{
    fs, io,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use super::output::Output;

/// A process. Dropping it stops the process.
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

    /// Its exit status, if it exited.
    pub(super) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it if it still runs, and waits for its exit.
    pub(super) fn stop(&mut self) {
        // An error means that it exited already.
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

/// The CPU time of a process, including its finished threads. Precise to the nanosecond, unlike `/proc/PID/stat`,
/// which counts in ticks of 10 ms.
#[cfg(target_os = "linux")]
pub(super) fn cpu(pid: u32) -> Duration {
    i32::try_from(pid)
        .ok()
        .and_then(|pid| nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(pid)).ok())
        .and_then(|clock| clock.now().ok())
        .map_or(Duration::ZERO, Duration::from)
}

/// Only implemented on Linux.
#[cfg(not(target_os = "linux"))]
pub(super) fn cpu(_pid: u32) -> Duration {
    Duration::ZERO
}

/// The peak memory of a process (`VmHWM`), in bytes.
pub(super) fn peak_memory(pid: u32) -> u64 {
    let kilobytes = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    fs::read_to_string(format!("/proc/{pid}/status")).ok().and_then(kilobytes).unwrap_or(0).saturating_mul(1024)
}
