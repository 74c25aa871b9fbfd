//! AWS Lambda as a function observes it: the Runtime API on its own port, and the function's process.
//!
//! [`Function::launch`] starts a binary in Lambda's environment, and [`Function::invoke`] invokes it as Lambda does:
//! one event at a time, with a deadline, and with Lambda's errors for a function that crashes or hangs. The interface
//! is synchronous; the server runs in its own thread.
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
use server::{Event, RuntimeCall, Sample, Server};

/// The time after its deadline at which a function is stopped.
pub const GRACE: Duration = Duration::from_secs(1);

/// The deadline of [`Function::invoke`].
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a silent process is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A Lambda function: a process that polled for event at least once, and the Runtime API that it polls.
///
/// Dropping it stops the process and the server.
#[derive(Debug)]
pub struct Function {
    process: Process,
    server: Server,
    calls: Receiver<RuntimeCall>,
    /// The poll that waits for the next event. `None` after the process exits.
    poll: Option<oneshot::Sender<Event>>,
    function_arn: String,
    first_poll: Duration,
    init_cpu: Duration,
    invocations: u64,
}

/// The result of one invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The ID of the request.
    pub request_id: String,
    /// The function's response, or the error that Lambda reports.
    pub outcome: Result<Value, FunctionError>,
    /// The lines that it wrote to standard output during the invocation.
    pub logs: Vec<String>,
    /// The time from the event to the response.
    pub wall: Duration,
    /// The process's CPU time in the same period.
    pub cpu: Duration,
}

/// An error that a function returned, or that Lambda reports for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error_type}: {error_message}")]
pub struct FunctionError {
    /// Lambda's `errorType`: the function's own, or `Runtime.ExitError` for one that crashed, `Sandbox.Timedout` for
    /// one that hung.
    pub error_type: String,
    /// Lambda's `errorMessage`.
    pub error_message: String,
}

/// A function that exited, or hung, before its first poll.
#[derive(Debug)]
pub struct Crash {
    /// Its exit status. `None` if it could not be started or was stopped.
    pub status: Option<ExitStatus>,
    /// The error that it reported to the Runtime API, if any.
    pub init_error: Option<FunctionError>,
    /// Its standard output.
    pub stdout: Vec<String>,
    /// Its standard error, and why it could not be started.
    pub stderr: Vec<String>,
}

impl fmt::Display for Crash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(out, "the function exited before its first poll ({status})")?,
            None => write!(out, "the function never polled for event")?,
        }
        for line in self.stdout.iter().chain(&self.stderr) {
            write!(out, "\n  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Crash {}

impl Function {
    /// Invokes the function with one event and waits for the result. The payload need not be JSON.
    pub fn invoke(&mut self, payload: &[u8]) -> Invocation {
        self.invoke_within(payload, DEADLINE)
    }

    /// Invokes the function with this deadline. It is stopped if it has not responded [`GRACE`] after it.
    pub fn invoke_within(&mut self, payload: &[u8], deadline: Duration) -> Invocation {
        let written = self.stdout().len();
        self.invocations = self.invocations.saturating_add(1);
        let request_id = format!("00000000-0000-4000-8000-{:012}", self.invocations);
        let event = Event {
            request_id: request_id.clone(),
            deadline_ms: epoch_ms(SystemTime::now().checked_add(deadline)),
            function_arn: self.function_arn.clone(),
            payload: payload.to_vec(),
        };
        let start = Sample::of(self.process.pid());
        let delivered = self.poll.take().is_some_and(|poll| poll.send(event).is_ok());
        let (outcome, end) = if delivered {
            self.await_response(&request_id, start, deadline)
        } else {
            (Err(self.exit_error(&request_id)), start)
        };
        Invocation {
            request_id,
            outcome,
            logs: self.stdout().into_iter().skip(written).collect(),
            wall: end.at.saturating_duration_since(start.at),
            cpu: end.cpu.saturating_sub(start.cpu),
        }
    }

    /// Waits for the response, then for the next poll, after which the function's output is complete.
    fn await_response(
        &mut self,
        request_id: &str,
        start: Sample,
        deadline: Duration,
    ) -> (Result<Value, FunctionError>, Sample) {
        let limit = deadline.saturating_add(GRACE);
        let mut response = None;
        loop {
            match self.calls.recv_timeout(POLL_INTERVAL) {
                Ok(RuntimeCall::Response { outcome, sample }) => response = Some((outcome, sample)),
                Ok(RuntimeCall::Poll { event, .. }) => {
                    self.poll = Some(event);
                    let no_response = || FunctionError {
                        error_type: "Runtime.NoResponse".into(),
                        error_message: format!("RequestId: {request_id} Error: polled again without a response"),
                    };
                    return response.unwrap_or_else(|| (Err(no_response()), Sample::of(self.process.pid())));
                }
                Ok(RuntimeCall::InitError { .. }) => {}
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                    if self.process.exit_status().is_some() {
                        let late = self.calls.try_iter().find_map(|call| match call {
                            RuntimeCall::Response { outcome, sample } => Some((outcome, sample)),
                            RuntimeCall::Poll { .. } | RuntimeCall::InitError { .. } => None,
                        });
                        let end = Sample { at: Instant::now(), cpu: start.cpu };
                        return response.or(late).unwrap_or_else(|| (Err(self.exit_error(request_id)), end));
                    }
                    if start.at.elapsed() > limit {
                        let end = Sample::of(self.process.pid());
                        self.process.stop();
                        let error = FunctionError {
                            error_type: "Sandbox.Timedout".into(),
                            error_message: format!(
                                "RequestId: {request_id} Error: Task timed out after {:.2} seconds",
                                deadline.as_secs_f64()
                            ),
                        };
                        return response.unwrap_or((Err(error), end));
                    }
                }
            }
        }
    }

    fn exit_error(&mut self, request_id: &str) -> FunctionError {
        let status =
            self.process.exit_status().map_or_else(|| "no exit status".to_owned(), |status| status.to_string());
        FunctionError {
            error_type: "Runtime.ExitError".into(),
            error_message: format!("RequestId: {request_id} Error: Runtime exited with error: {status}"),
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

    /// The CPU time of all its threads so far, in nanoseconds. Zero after it exits, and without `/proc`.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        process::cpu(self.process.pid())
    }

    /// Its peak memory, in bytes. Zero after it exits, and without `/proc`.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        process::peak_memory(self.process.pid())
    }

    /// The process's ID.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The time from the start of the process to its first poll.
    #[must_use]
    pub fn first_poll(&self) -> Duration {
        self.first_poll
    }

    /// Its CPU time up to its first poll.
    #[must_use]
    pub fn init_cpu(&self) -> Duration {
        self.init_cpu
    }

    /// The address of its Runtime API, as `host:port`.
    #[must_use]
    pub fn runtime_api(&self) -> String {
        self.server.address().to_string()
    }
}

fn epoch_ms(time: Option<SystemTime>) -> u128 {
    time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_millis())
}
