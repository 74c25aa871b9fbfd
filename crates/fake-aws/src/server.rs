//! HTTP: connections, recording, hooks, and the way to the operations.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::answer::{Protocol, Refusal, Reply};
use crate::handle::{Shared, lock};
use crate::request::Request;
use crate::tls::Identity;
use crate::{Call, Fault, World, authority, cloudtrail, kms, s3, sns, tagging};

/// Serves until told to stop, on a runtime of its own.
pub(crate) fn run(
    listener: TcpListener,
    identity: Option<Identity>,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime for the server");
    runtime.block_on(async {
        listener.set_nonblocking(true).expect("a listener that does not block");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a bound listener");
        tokio::select! {
            () = accept(listener, identity, shared) => {}
            _ = stopped => {}
        }
    });
}

async fn accept(listener: tokio::net::TcpListener, identity: Option<Identity>, shared: Arc<Shared>) {
    let mut connection = 0;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // Without it, an answer in two segments waits for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let acceptor = identity.as_ref().map(|identity| identity.acceptor.clone());
        tokio::spawn(async move {
            let Some(acceptor) = acceptor else {
                return converse(stream, connection, shared).await;
            };
            // A client that gives up on the handshake is no concern of ours.
            if let Ok(stream) = acceptor.accept(stream).await {
                converse(stream, connection, shared).await;
            }
        });
        connection += 1;
    }
}

async fn converse<S>(stream: S, connection: u64, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { answer(request, connection, &shared).await }
    });
    // An error here is a connection that either side broke off, on purpose or not.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The connection is to be closed without an answer, or is broken already.
#[derive(Debug)]
struct Hangup;

impl std::fmt::Display for Hangup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection ends here")
    }
}

impl std::error::Error for Hangup {}

async fn answer(
    request: hyper::Request<Incoming>,
    connection: u64,
    shared: &Shared,
) -> Result<hyper::Response<Full<Bytes>>, Hangup> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Hangup)?.to_bytes();
    let request = Request::read(&parts, &body);
    let (call, era) = arrive(shared, &request, connection, body.len());

    let latency = *lock(&shared.latency);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }

    let reply = match decide(shared, &request, &call) {
        Decision::Answer(reply) => Some(reply),
        Decision::Late(wait, reply) => {
            tokio::time::sleep(wait).await;
            reply
        }
    };
    depart(shared, &call, era, reply.as_ref());
    let reply = reply.ok_or(Hangup)?;
    Ok(response(reply, call.number))
}

/// What comes of a call: an answer now, or after a wait an answer or none.
enum Decision {
    Answer(Reply),
    Late(std::time::Duration, Option<Reply>),
}

/// Hooks and operation, in one turn of the world.
fn decide(shared: &Shared, request: &Request, call: &Call) -> Decision {
    let mut world = lock(&shared.world);
    if let Some(fault) = first_fault(&shared.before, call, &mut world) {
        return faulty(fault, request.protocol, None);
    }
    let reply = operate(shared, request, &mut world);
    let mut answered = call.clone();
    answered.status = reply.status;
    answered.error.clone_from(&reply.error);
    match first_fault(&shared.after, &answered, &mut world) {
        Some(fault) => faulty(fault, request.protocol, Some(reply)),
        None => Decision::Answer(reply),
    }
}

fn first_fault(hooks: &std::sync::Mutex<Vec<crate::handle::Hook>>, call: &Call, world: &mut World) -> Option<Fault> {
    // Every hook sees every call, whatever the ones before it returned.
    let faults: Vec<Fault> = lock(hooks).iter_mut().filter_map(|hook| hook(call, world)).collect();
    faults.into_iter().next()
}

fn faulty(fault: Fault, protocol: Protocol, genuine: Option<Reply>) -> Decision {
    match fault {
        Fault::Error { status, code, message } => {
            let refusal = Refusal::with_status(status, &code, message);
            Decision::Answer(Reply::refusal(&refusal, protocol))
        }
        Fault::Raw { status, body } => Decision::Answer(Reply { status, headers: Vec::new(), body, error: None }),
        Fault::Drop => Decision::Late(std::time::Duration::ZERO, None),
        Fault::Hang(wait) => Decision::Late(wait, genuine),
    }
}

/// The operation itself.
fn operate(shared: &Shared, request: &Request, world: &mut World) -> Reply {
    let Request { protocol, service, operation, region, input, .. } = request;
    let refuse = |refusal: Refusal| Reply::refusal(&refusal, *protocol);
    let name = format!("{service}:{operation}");
    if world.denied.contains(&name) {
        return refuse(denied(*protocol, &world.caller_role_arn, &name));
    }
    let (records, unauthorized) = authority::authorize(world, request);
    lock(&shared.authorizations).extend(records);
    if let Some(refusal) = unauthorized {
        let mut reply = refuse(refusal);
        reply.headers.extend(s3::region_header(world, service, input));
        return reply;
    }
    if service == "cloudtrail" && world.rate_limits && !lock(&shared.limits).admit(region, operation, Instant::now()) {
        return refuse(Refusal::new("ThrottlingException", "Rate exceeded"));
    }
    let outcome = match service.as_str() {
        "cloudtrail" => cloudtrail::perform(world, region, operation, input),
        "kms" => kms::perform(world, region, operation, input),
        "tagging" => tagging::perform(world, region, operation, input),
        "s3" => return s3::perform(world, region, operation, input, *protocol),
        "sns" => return sns::perform(world, region, operation, input),
        _ => Err(unknown_operation(operation)),
    };
    match outcome {
        Ok(body) => Reply::json(&body),
        Err(refusal) => refuse(refusal),
    }
}

/// What AWS says to an operation that it does not know.
pub(crate) fn unknown_operation(operation: &str) -> Refusal {
    Refusal::new("UnknownOperationException", format!("the fake does not know `{operation}`"))
}

/// A refusal by IAM, as each protocol names it.
pub(crate) fn denied(protocol: Protocol, caller: &str, name: &str) -> Refusal {
    let message = format!("User: {caller} is not authorized to perform: {name}");
    match protocol {
        Protocol::Json => Refusal::new("AccessDeniedException", message),
        Protocol::Rest { .. } => Refusal::with_status(403, "AccessDenied", "Access Denied"),
        Protocol::Query => Refusal::with_status(403, "AuthorizationError", message),
    }
}

/// Records the arrival, and says in which list.
fn arrive(shared: &Shared, request: &Request, connection: u64, bytes_in: usize) -> (Call, u64) {
    let now = Instant::now();
    let mut calls = lock(&shared.calls);
    let call = Call {
        number: calls.len(),
        service: request.service.clone(),
        operation: request.operation.clone(),
        region: request.region.clone(),
        input: request.input.clone(),
        attempt: request.attempt,
        status: 0,
        error: None,
        started: now,
        ended: now,
        connection,
        bytes_in,
        bytes_out: 0,
    };
    calls.push(call.clone());
    (call, shared.era.load(Ordering::SeqCst))
}

/// Completes the record.
fn depart(shared: &Shared, call: &Call, era: u64, reply: Option<&Reply>) {
    let mut calls = lock(&shared.calls);
    if shared.era.load(Ordering::SeqCst) != era {
        return;
    }
    if let Some(record) = calls.get_mut(call.number) {
        record.ended = Instant::now();
        if let Some(reply) = reply {
            record.status = reply.status;
            record.error.clone_from(&reply.error);
            record.bytes_out = reply.body.len();
        }
    }
}

fn response(reply: Reply, number: usize) -> hyper::Response<Full<Bytes>> {
    let request_id = format!("00000000-0000-4000-a000-{number:012x}");
    let mut builder = hyper::Response::builder()
        .status(reply.status)
        .header("x-amzn-requestid", &request_id)
        .header("x-amz-request-id", &request_id);
    for (name, value) in reply.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(Bytes::from(reply.body))).expect("an answer made of valid parts")
}
