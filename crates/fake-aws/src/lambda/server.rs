//! The Runtime API's four routes. Each request is told to the [`Function`](super::Function), which hands work out.

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

/// The largest answer that Lambda takes: 6 MB and 100 bytes.
const LARGEST_ANSWER: usize = 6 * 1024 * 1024 + 100;

/// One event on its way to the function.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) request_id: String,
    pub(super) deadline_ms: u128,
    pub(super) function_arn: String,
    pub(super) payload: Vec<u8>,
}

/// When something was heard, and how much CPU time the process had used by then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) at: Instant,
    pub(super) cpu: Duration,
}

impl Stamp {
    pub(super) fn of(pid: u32) -> Self {
        Self { at: Instant::now(), cpu: process::cpu(pid) }
    }
}

/// What the function told the Runtime API.
#[derive(Debug)]
pub(super) enum Heard {
    /// It waits for work.
    Poll { work: oneshot::Sender<Work>, stamp: Stamp },
    /// It answered the event that it had. The stamp was taken while it waited for the receipt.
    Answer { outcome: Result<Value, FunctionError>, stamp: Stamp },
    /// It could not start.
    InitError { error: FunctionError },
}

/// The server, in a thread of its own until it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    pid: Arc<AtomicU32>,
    _stop: oneshot::Sender<()>,
}

#[derive(Clone)]
struct Context {
    tell: Sender<Heard>,
    pid: Arc<AtomicU32>,
}

impl Server {
    pub(super) fn start(tell: Sender<Heard>) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let pid = Arc::new(AtomicU32::new(0));
        let routes = routes(Context { tell, pid: Arc::clone(&pid) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("runtime-api".into()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = axum::serve(listener, routes) => {}
                    // The sender is dropped with the server; nothing is ever sent.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, pid, _stop: stop })
    }

    /// Names the process that the stamps are about.
    pub(super) fn watch(&self, pid: u32) {
        self.pid.store(pid, Ordering::Release);
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Context {
    /// A process may be heard before whoever started it got to name it. It waits for its answer meanwhile, and
    /// uses no CPU; the id 0 would be this process.
    fn stamp(&self) -> Stamp {
        let at = Instant::now();
        let mut pid = self.pid.load(Ordering::Acquire);
        while pid == 0 {
            thread::yield_now();
            pid = self.pid.load(Ordering::Acquire);
        }
        Stamp { at, cpu: process::cpu(pid) }
    }

    fn tell(&self, heard: Heard) -> Response {
        // Nobody listens once the function is dropped, and nobody reads the answer either.
        let _ = self.tell.send(heard);
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
    let (work, coming) = oneshot::channel();
    let stamp = context.stamp();
    context.tell(Heard::Poll { work, stamp });
    let Ok(work) = coming.await else { return StatusCode::GONE.into_response() };
    let headers = [
        ("lambda-runtime-aws-request-id", work.request_id),
        ("lambda-runtime-deadline-ms", work.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", work.function_arn),
        ("lambda-runtime-trace-id", "Root=1-691eef00-0123456789abcdef01234567;Sampled=0".into()),
        ("content-type", "application/json".into()),
    ];
    (headers, work.payload).into_response()
}

async fn response(State(context): State<Context>, Path(request_id): Path<String>, body: Bytes) -> Response {
    let stamp = context.stamp();
    let outcome = if body.len() > LARGEST_ANSWER {
        Err(FunctionError {
            error_type: "Function.ResponseSizeTooLarge".into(),
            error_message: format!("RequestId: {request_id} Error: an answer of {} bytes", body.len()),
        })
    } else {
        serde_json::from_slice(&body).map_err(|error| FunctionError {
            error_type: "Runtime.InvalidResponse".into(),
            error_message: format!("RequestId: {request_id} Error: an answer that is no JSON: {error}"),
        })
    };
    context.tell(Heard::Answer { outcome, stamp })
}

async fn error(State(context): State<Context>, body: Bytes) -> Response {
    let stamp = context.stamp();
    context.tell(Heard::Answer { outcome: Err(told(&body)), stamp })
}

async fn init_error(State(context): State<Context>, body: Bytes) -> Response {
    context.tell(Heard::InitError { error: told(&body) })
}

/// The error in a request's body.
fn told(body: &[u8]) -> FunctionError {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        error_type: String,
        error_message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Told { error_type, error_message }) => FunctionError { error_type, error_message },
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
    fn a_process_that_is_heard_before_it_is_named_is_waited_for() {
        let context = Context { tell: mpsc::channel().0, pid: Arc::default() };
        let pid = Arc::clone(&context.pid);
        let began = Instant::now();
        let naming = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            pid.store(std::process::id(), Ordering::Release);
        });
        let stamp = context.stamp();
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert!(stamp.at.duration_since(began) < Duration::from_millis(20), "it was heard at once");
        naming.join().unwrap();
    }
}
