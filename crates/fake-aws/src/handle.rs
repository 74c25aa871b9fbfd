//! The handle that tests use.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, Response};
use tokio::sync::oneshot;

use crate::limits::Limits;
use crate::tls::Identity;
use crate::{Authorization, Call, Fault, World, server};

/// Observes a call, and may return a fault that replaces the response.
pub(crate) type Hook = Box<dyn FnMut(&Call, &mut World) -> Option<Fault> + Send>;

/// The state that the server and the handle share.
pub(crate) struct Shared {
    pub(crate) world: Mutex<World>,
    pub(crate) calls: Mutex<Vec<Call>>,
    pub(crate) authorizations: Mutex<Vec<Authorization>>,
    pub(crate) before: Mutex<Vec<Hook>>,
    pub(crate) after: Mutex<Vec<Hook>>,
    pub(crate) latency: Mutex<Duration>,
    pub(crate) limits: Mutex<Limits>,
    /// Counts up with each `clear_calls`, so that a call in flight does not write into the new list.
    pub(crate) era: AtomicU64,
}

impl Shared {
    fn new(world: World) -> Shared {
        Shared {
            world: Mutex::new(world),
            calls: Mutex::default(),
            authorizations: Mutex::default(),
            before: Mutex::default(),
            after: Mutex::default(),
            latency: Mutex::default(),
            limits: Mutex::default(),
            era: AtomicU64::new(0),
        }
    }
}

/// Locks even if a thread panicked with the lock, so that a failed assertion does not cause a second one.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running fake AWS. It serves from its own thread and stops when dropped. Its methods are synchronous, for
/// tests with and without a runtime, except [`FakeAws::respond`].
pub struct FakeAws {
    shared: Arc<Shared>,
    url: String,
    ca_pem: Option<String>,
    server: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl FakeAws {
    /// Serves plain HTTP on a free port of 127.0.0.1.
    pub fn start(world: World) -> FakeAws {
        FakeAws::serve(world, None)
    }

    /// Serves HTTPS with a certificate of its own authority, see [`FakeAws::ca_pem`].
    pub fn start_tls(world: World) -> FakeAws {
        FakeAws::serve(world, Some(Identity::new()))
    }

    /// Answers calls of [`FakeAws::respond`] only, in the caller's own time.
    pub fn without_server(world: World) -> FakeAws {
        FakeAws { shared: Arc::new(Shared::new(world)), url: String::new(), ca_pem: None, server: None }
    }

    /// Answers a request as the server would. `None`: the connection is closed without a response.
    pub async fn respond(&self, request: Request<Bytes>) -> Option<Response<Bytes>> {
        let (parts, body) = request.into_parts();
        server::respond(&parts, &body, 0, &self.shared).await
    }

    fn serve(world: World, identity: Option<Identity>) -> FakeAws {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let scheme = if identity.is_some() { "https" } else { "http" };
        let ca_pem = identity.as_ref().map(|identity| identity.ca_pem.clone());
        let shared = Arc::new(Shared::new(world));
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || server::run(listener, identity, serving, stopped));
        FakeAws { shared, url: format!("{scheme}://127.0.0.1:{port}"), ca_pem, server: Some((stop, thread)) }
    }

    /// The URL for `AWS_ENDPOINT_URL`: `http://127.0.0.1:PORT` or `https://127.0.0.1:PORT`.
    ///
    /// An IP address even for TLS: with a host name, the SDK addresses buckets as `bucket.localhost`, which not
    /// every machine resolves.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The authority's certificate, for `SSL_CERT_FILE`. `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The current state, to read or change. The server waits while the guard is held: drop it before the next
    /// call.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    /// A copy of the current state.
    pub fn snapshot(&self) -> World {
        self.world().clone()
    }

    /// Every call in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// Every call's name in order of arrival, such as `cloudtrail:GetTrail`.
    pub fn names(&self) -> Vec<String> {
        lock(&self.shared.calls).iter().map(Call::name).collect()
    }

    /// The authorization checks of every call since the start, if the caller has policies. Calls that were
    /// answered before the check (by a hook or [`World::denied`]) are missing.
    pub fn authorizations(&self) -> Vec<Authorization> {
        lock(&self.shared.authorizations).clone()
    }

    /// Starts a new list of calls.
    pub fn clear_calls(&self) {
        let mut calls = lock(&self.shared.calls);
        self.shared.era.fetch_add(1, Ordering::SeqCst);
        calls.clear();
    }

    /// Adds a hook that runs before each operation. It may change the world. If it returns a fault, the
    /// operation has no effect. The first fault of several hooks counts. The world is locked while it runs: use
    /// its argument.
    pub fn before(&self, hook: impl FnMut(&Call, &mut World) -> Option<Fault> + Send + 'static) {
        lock(&self.shared.before).push(Box::new(hook));
    }

    /// Adds a hook that runs after each operation succeeded or failed. If it returns a fault, the caller gets
    /// that: the response is lost.
    pub fn after(&self, hook: impl FnMut(&Call, &mut World) -> Option<Fault> + Send + 'static) {
        lock(&self.shared.after).push(Box::new(hook));
    }

    /// Removes all hooks.
    pub fn clear_hooks(&self) {
        lock(&self.shared.before).clear();
        lock(&self.shared.after).clear();
    }

    /// Replaces the account, and clears calls, authorizations and request rates. Hooks and latency stay.
    pub fn replace(&self, world: World) {
        *self.world() = world;
        self.clear_calls();
        lock(&self.shared.authorizations).clear();
        *lock(&self.shared.limits) = Limits::default();
    }

    /// Advances the clock. From one second on, CloudTrail's request rates start again.
    pub fn advance_clock(&self, time: Duration) {
        self.world().now += time.as_secs();
        if time >= Duration::from_secs(1) {
            *lock(&self.shared.limits) = Limits::default();
        }
    }

    /// Sets the minimum duration of each call from now on. Calls wait concurrently.
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.shared.latency) = latency;
    }
}

impl Drop for FakeAws {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.server.take() {
            // The server may have stopped already.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}
