//! HTTP: connections, the record of calls, hooks, and dispatch to the operations.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::handle::{Shared, lock};
use crate::request::Request;
use crate::response::{ApiError, Protocol, Response};
use crate::tls::Identity;
use crate::{Call, Fault, World, authorization, cloudtrail, kms, s3, sns, sts, tagging};

/// Serves on its own runtime until it is stopped.
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
        // Otherwise a response in two segments waits for the peer's delayed acknowledgment.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let acceptor = identity.as_ref().map(|identity| identity.acceptor.clone());
        tokio::spawn(async move {
            let Some(acceptor) = acceptor else {
                return serve_connection(stream, connection, shared).await;
            };
            // A failed handshake is the client's concern.
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_connection(stream, connection, shared).await;
            }
        });
        connection += 1;
    }
}

async fn serve_connection<S>(stream: S, connection: u64, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { handle(request, connection, &shared).await }
    });
    // An error means that either side closed the connection.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The connection closes without a response.
#[derive(Debug)]
struct ConnectionClosed;

impl std::fmt::Display for ConnectionClosed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is closed")
    }
}

impl std::error::Error for ConnectionClosed {}

async fn handle(
    request: hyper::Request<Incoming>,
    connection: u64,
    shared: &Shared,
) -> Result<hyper::Response<Full<Bytes>>, ConnectionClosed> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| ConnectionClosed)?.to_bytes();
    let response = respond(&parts, &body, connection, shared).await.ok_or(ConnectionClosed)?;
    Ok(response.map(Full::new))
}

/// Answers a request. `None`: the connection is closed without a response.
pub(crate) async fn respond(
    parts: &Parts,
    body: &Bytes,
    connection: u64,
    shared: &Shared,
) -> Option<hyper::Response<Bytes>> {
    let request = Request::read(parts, body);
    let (call, era) = arrive(shared, &request, connection, body.len());

    let latency = *lock(&shared.latency);
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }

    let reply = match process(shared, &request, &call) {
        Delivery::Now(reply) => Some(reply),
        Delivery::After(wait, reply) => {
            tokio::time::sleep(wait).await;
            reply
        }
    };
    depart(shared, &call, era, reply.as_ref());
    Some(response(reply?, call.number))
}

/// When the response is sent. After a wait, there may be none.
enum Delivery {
    Now(Response),
    After(std::time::Duration, Option<Response>),
}

/// Runs the hooks and the operation with the world locked.
fn process(shared: &Shared, request: &Request, call: &Call) -> Delivery {
    let mut world = lock(&shared.world);
    if let Some(fault) = first_fault(&shared.before, call, &mut world) {
        return inject(fault, request.protocol, None);
    }
    let reply = perform(shared, request, &mut world);
    let mut answered = call.clone();
    answered.status = reply.status;
    answered.error.clone_from(&reply.error);
    match first_fault(&shared.after, &answered, &mut world) {
        Some(fault) => inject(fault, request.protocol, Some(reply)),
        None => Delivery::Now(reply),
    }
}

fn first_fault(hooks: &std::sync::Mutex<Vec<crate::handle::Hook>>, call: &Call, world: &mut World) -> Option<Fault> {
    // Every hook observes every call, even after another one returned a fault.
    let faults: Vec<Fault> = lock(hooks).iter_mut().filter_map(|hook| hook(call, world)).collect();
    faults.into_iter().next()
}

fn inject(fault: Fault, protocol: Protocol, response: Option<Response>) -> Delivery {
    match fault {
        Fault::Error { status, code, message } => {
            let error = ApiError::with_status(status, &code, message);
            Delivery::Now(Response::error(&error, protocol))
        }
        Fault::Raw { status, body } => Delivery::Now(Response { status, headers: Vec::new(), body, error: None }),
        Fault::Drop => Delivery::After(std::time::Duration::ZERO, None),
        Fault::Hang(wait) => Delivery::After(wait, response),
    }
}

/// Authorizes and runs the operation.
fn perform(shared: &Shared, request: &Request, world: &mut World) -> Response {
    let Request { protocol, service, operation, region, input, .. } = request;
    let failed = |error: ApiError| Response::error(&error, *protocol);
    let name = format!("{service}:{operation}");
    if world.denied.contains(&name) {
        return failed(denied(*protocol, &world.caller_role_arn, &name));
    }
    let (records, unauthorized) = authorization::authorize(world, request);
    lock(&shared.authorizations).extend(records);
    if let Some(error) = unauthorized {
        let mut reply = failed(error);
        reply.headers.extend(s3::region_header(world, service, input));
        return reply;
    }
    if service == "cloudtrail" && world.rate_limits && !lock(&shared.limits).admit(region, operation, Instant::now()) {
        return failed(ApiError::new("ThrottlingException", "Rate exceeded"));
    }
    let outcome = match service.as_str() {
        "cloudtrail" => cloudtrail::perform(world, region, operation, input),
        "kms" => kms::perform(world, region, operation, input),
        "tagging" => tagging::perform(world, region, operation, input),
        "s3" => return s3::perform(world, region, operation, input, *protocol),
        "sns" => return sns::perform(world, region, operation, input),
        "sts" => return sts::perform(world, operation),
        _ => Err(unknown_operation(operation)),
    };
    match outcome {
        Ok(body) => Response::json(&body),
        Err(error) => failed(error),
    }
}

/// The error for an operation that the fake does not implement.
pub(crate) fn unknown_operation(operation: &str) -> ApiError {
    ApiError::new("UnknownOperationException", format!("the fake does not implement `{operation}`"))
}

/// The protocol's error for access denied by IAM.
pub(crate) fn denied(protocol: Protocol, caller: &str, name: &str) -> ApiError {
    let message = format!("User: {caller} is not authorized to perform: {name}");
    match protocol {
        Protocol::Json => ApiError::new("AccessDeniedException", message),
        Protocol::Rest { .. } => ApiError::with_status(403, "AccessDenied", "Access Denied"),
        Protocol::Query => ApiError::with_status(403, "AuthorizationError", message),
    }
}

/// Records the arrival. Also returns the current era.
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
fn depart(shared: &Shared, call: &Call, era: u64, reply: Option<&Response>) {
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

fn response(reply: Response, number: usize) -> hyper::Response<Bytes> {
    let request_id = format!("00000000-0000-4000-a000-{number:012x}");
    let mut builder = hyper::Response::builder()
        .status(reply.status)
        .header("x-amzn-requestid", &request_id)
        .header("x-amz-request-id", &request_id);
    for (name, value) in reply.headers {
        builder = builder.header(name, value);
    }
    builder.body(Bytes::from(reply.body)).expect("a response made of valid parts")
}
