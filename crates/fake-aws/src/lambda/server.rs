//! The Runtime API's four routes. The server passes each request to the [`Function`](super::Function), which provides
//! the events.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::Sender,
    },
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{FunctionError, process};

/// The maximum size of a response: 6 MB and 100 bytes.
const MAX_RESPONSE: usize = 6 * 1024 * 1024 + 100;

/// An event for the function.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) request_id: String,
    pub(super) deadline_ms: u128,
    pub(super) function_arn: String,
    pub(super) payload: Vec<u8>,
}

/// A time, and the CPU time that the process had used by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) cpu: Duration,
}

impl Sample {
    pub(super) fn of(pid: u32) -> Self {
        Self { at: Instant::now(), cpu: process::cpu(pid) }
    }
}

/// A call of the function to the Runtime API.
#[derive(Debug)]
pub(super) enum RuntimeCall {
    /// It requests the next event.
    Poll { event: oneshot::Sender<Event>, sample: Sample },
    /// It responds to its event. The sample is taken while it waits for the acknowledgment.
    Response { outcome: Result<Value, FunctionError>, sample: Sample },
    /// It reports that it could not start.
    InitError { error: FunctionError },
}

/// The server, in its own thread until it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    pid: Arc<AtomicU32>,
    _stop: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Context {
    sender: Sender<RuntimeCall>,
    pid: Arc<AtomicU32>,
}

impl Server {
    pub(super) fn start(sender: Sender<RuntimeCall>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let pid = Arc::new(AtomicU32::new(0));
        let routes = routes(Context { sender, pid: Arc::clone(&pid) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("runtime-api".into()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = axum::serve(listener, routes) => {}
                    // Dropping the server drops the sender. Nothing is sent.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, pid, _stop: stop })
    }

    /// Sets the process that the samples measure.
    pub(super) fn watch(&self, pid: u32) {
        self.pid.store(pid, Ordering::Release);
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Context {
    /// The process may call before its ID is set. Meanwhile it waits for its response and uses no CPU time. The ID 0
    /// would mean this process.
    fn sample(&self) -> Sample {
        let at = Instant::now();
        let mut pid = self.pid.load(Ordering::Acquire);
        while pid == 0 {
            thread::yield_now();
            pid = self.pid.load(Ordering::Acquire);
        }
        Sample { at, cpu: process::cpu(pid) }
    }

    fn send(&self, call: RuntimeCall) -> Response {
        // Sending fails after the function is dropped. Then no client reads the response either.
        let _ = self.sender.send(call);
        (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], r#"{"status":"OK"}"#).into_response()
    }
}

fn routes(context: Context) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{request_id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{request_id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(DefaultBodyLimit::disable())
        .with_state(context)
}

async fn next(State(context): State<Context>) -> Response {
    let (event, receiver) = oneshot::channel();
    let sample = context.sample();
    context.send(RuntimeCall::Poll { event, sample });
    let Ok(event) = receiver.await else { return StatusCode::GONE.into_response() };
    let headers = [
        ("lambda-runtime-aws-request-id", event.request_id),
        ("lambda-runtime-deadline-ms", event.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", event.function_arn),
        ("lambda-runtime-trace-id", "Root=1-691eef00-0123456789abcdef01234567;Sampled=0".into()),
        ("content-type", "application/json".into()),
    ];
    (headers, event.payload).into_response()
}

async fn response(State(context): State<Context>, Path(request_id): Path<String>, body: Bytes) -> Response {
    let sample = context.sample();
    let outcome = if body.len() > MAX_RESPONSE {
        Err(FunctionError {
            error_type: "Function.ResponseSizeTooLarge".into(),
            error_message: format!("RequestId: {request_id} Error: a response of {} bytes", body.len()),
        })
    } else {
        serde_json::from_slice(&body).map_err(|error| FunctionError {
            error_type: "Runtime.InvalidResponse".into(),
            error_message: format!("RequestId: {request_id} Error: the response is not JSON: {error}"),
        })
    };
    context.send(RuntimeCall::Response { outcome, sample })
}

async fn error(State(context): State<Context>, body: Bytes) -> Response {
    let sample = context.sample();
    context.send(RuntimeCall::Response { outcome: Err(parse_error(&body)), sample })
}

async fn init_error(State(context): State<Context>, body: Bytes) -> Response {
    context.send(RuntimeCall::InitError { error: parse_error(&body) })
}

/// The error in a request's body.
fn parse_error(body: &[u8]) -> FunctionError {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ErrorBody {
        error_type: String,
        error_message: String,
    }
    match serde_json::from_slice(body) {
        Ok(ErrorBody { error_type, error_message }) => FunctionError { error_type, error_message },
        Err(_) => FunctionError {
            error_type: "Runtime.Unknown".into(),
            error_message: String::from_utf8_lossy(body).into_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_call_before_the_process_id_is_set_waits_for_it() {
        let context = Context { sender: mpsc::channel().0, pid: Arc::default() };
        let pid = Arc::clone(&context.pid);
        let began = Instant::now();
        let setter = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            pid.store(std::process::id(), Ordering::Release);
        });
        let sample = context.sample();
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert!(sample.at.duration_since(began) < Duration::from_millis(20), "the time of the call counts");
        setter.join().unwrap();
    }
}
