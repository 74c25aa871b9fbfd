//! AWS Lambda, as far as a function sees it: the Runtime API on a port of its own, and the function's process under it.
//!
//! [`Function::launch`] starts a binary in the environment that Lambda gives it, and [`Function::invoke`] hands it one
//! event after another, as Lambda does: never two at a time, with a deadline, and with the same words for a function
//! that crashes or hangs. The interface is synchronous; the server lives in a thread of its own.
//!
//! The Runtime API: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

mod launch;
mod output;
mod process;
mod server;

use std::{
    fmt,
    process::ExitStatus,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use tokio::sync::oneshot;

pub use launch::Launch;
use process::Process;
use server::{Heard, Server, Stamp, Work};

/// How long past its deadline a function may still answer before it is stopped.
pub const GRACE: Duration = Duration::from_secs(1);

/// The deadline of [`Function::invoke`].
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a process is looked at while it says nothing.
const PULSE: Duration = Duration::from_millis(20);

/// A Lambda function: a process that polled for work at least once, and the Runtime API that it polls.
///
/// Dropping it ends the process and the server.
#[derive(Debug)]
pub struct Function {
    process: Process,
    server: Server,
    heard: Receiver<Heard>,
    /// The poll that waits for the next event; none once the process is gone.
    poll: Option<oneshot::Sender<Work>>,
    function_arn: String,
    first_poll: Duration,
    init_cpu: Duration,
    invocations: u64,
}

/// What became of one event.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The function's answer, or its error in Lambda's words.
    pub outcome: Result<Value, FunctionError>,
    /// The lines that it wrote to standard output meanwhile.
    pub logs: Vec<String>,
    /// From handing out the event to the answer.
    pub wall: Duration,
    /// The process's CPU time over the same span.
    pub cpu: Duration,
}

/// An error that a function answered with, or that Lambda reports for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error_type}: {error_message}")]
pub struct FunctionError {
    /// Lambda's `errorType`: the function's own, or `Runtime.ExitError` for one that crashed, `Sandbox.Timedout` for
    /// one that hung.
    pub error_type: String,
    /// Lambda's `errorMessage`.
    pub error_message: String,
}

/// A function that ended, or hung, before its first poll.
#[derive(Debug)]
pub struct Crash {
    /// How it ended; none if it could not be started or had to be stopped.
    pub status: Option<ExitStatus>,
    /// The error that it told the Runtime API about, if it did.
    pub init_error: Option<FunctionError>,
    /// What it wrote to standard output.
    pub stdout: Vec<String>,
    /// What it wrote to standard error, and why it could not be started.
    pub stderr: Vec<String>,
}

impl fmt::Display for Crash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(out, "the function ended before its first poll ({status})")?,
            None => write!(out, "the function never polled for work")?,
        }
        for line in self.stdout.iter().chain(&self.stderr) {
            write!(out, "\n  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Crash {}

impl Function {
    /// Hands the function one event and waits for what becomes of it. The payload need not be JSON.
    pub fn invoke(&mut self, payload: &[u8]) -> Invocation {
        self.invoke_within(payload, DEADLINE)
    }

    /// The same with a deadline of its own. A function that has not answered [`GRACE`] past it is stopped.
    pub fn invoke_within(&mut self, payload: &[u8], deadline: Duration) -> Invocation {
        let printed = self.stdout().len();
        self.invocations = self.invocations.saturating_add(1);
        let request_id = format!("00000000-0000-4000-8000-{:012}", self.invocations);
        let work = Work {
            request_id: request_id.clone(),
            deadline_ms: epoch_ms(SystemTime::now().checked_add(deadline)),
            function_arn: self.function_arn.clone(),
            payload: payload.to_vec(),
        };
        let start = Stamp::of(self.process.pid());
        let handed_over = self.poll.take().is_some_and(|poll| poll.send(work).is_ok());
        let (outcome, end) = if handed_over {
            self.await_answer(&request_id, start, deadline)
        } else {
            (Err(self.exit_error(&request_id)), start)
        };
        Invocation {
            outcome,
            logs: self.stdout().into_iter().skip(printed).collect(),
            wall: end.at.saturating_duration_since(start.at),
            cpu: end.cpu.saturating_sub(start.cpu),
        }
    }

    /// Waits for the answer, and then for the next poll, by which all that the function wrote is there to be read.
    fn await_answer(
        &mut self,
        request_id: &str,
        start: Stamp,
        deadline: Duration,
    ) -> (Result<Value, FunctionError>, Stamp) {
        let patience = deadline.saturating_add(GRACE);
        let mut answer = None;
        loop {
            match self.heard.recv_timeout(PULSE) {
                Ok(Heard::Answer { outcome, stamp }) => answer = Some((outcome, stamp)),
                Ok(Heard::Poll { work, .. }) => {
                    self.poll = Some(work);
                    let ignored = || FunctionError {
                        error_type: "Runtime.NoResponse".into(),
                        error_message: format!("RequestId: {request_id} Error: polled again without an answer"),
                    };
                    return answer.unwrap_or_else(|| (Err(ignored()), Stamp::of(self.process.pid())));
                }
                Ok(Heard::InitError { .. }) => {}
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                    if self.process.ended().is_some() {
                        let late = self.heard.try_iter().find_map(|heard| match heard {
                            Heard::Answer { outcome, stamp } => Some((outcome, stamp)),
                            Heard::Poll { .. } | Heard::InitError { .. } => None,
                        });
                        let end = Stamp { at: Instant::now(), cpu: start.cpu };
                        return answer.or(late).unwrap_or_else(|| (Err(self.exit_error(request_id)), end));
                    }
                    if start.at.elapsed() > patience {
                        let end = Stamp::of(self.process.pid());
                        self.process.stop();
                        let error = FunctionError {
                            error_type: "Sandbox.Timedout".into(),
                            error_message: format!(
                                "RequestId: {request_id} Error: Task timed out after {:.2} seconds",
                                deadline.as_secs_f64()
                            ),
                        };
                        return answer.unwrap_or((Err(error), end));
                    }
                }
            }
        }
    }

    fn exit_error(&mut self, request_id: &str) -> FunctionError {
        let how = self.process.ended().map_or_else(|| "no exit status".to_owned(), |status| status.to_string());
        FunctionError {
            error_type: "Runtime.ExitError".into(),
            error_message: format!("RequestId: {request_id} Error: Runtime exited with error: {how}"),
        }
    }

    /// The lines written to standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.process.stdout()
    }

    /// The lines written to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.process.stderr()
    }

    /// The CPU time of all its threads so far, to the nanosecond; zero once it is gone, and where there is no `/proc`.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        process::cpu(self.process.pid())
    }

    /// The most memory that it ever held at once, in bytes; zero once it is gone, and where there is no `/proc`.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        process::peak_memory(self.process.pid())
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// From the start of the process to its first poll.
    #[must_use]
    pub fn first_poll(&self) -> Duration {
        self.first_poll
    }

    /// The CPU time that it had used at its first poll.
    #[must_use]
    pub fn init_cpu(&self) -> Duration {
        self.init_cpu
    }

    /// Where its Runtime API listens, as `host:port`.
    #[must_use]
    pub fn runtime_api(&self) -> String {
        self.server.address().to_string()
    }
}

fn epoch_ms(time: Option<SystemTime>) -> u128 {
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_millis())
}
