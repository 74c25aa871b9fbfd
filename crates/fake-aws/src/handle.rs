//! The handle that tests hold.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::limits::Limits;
use crate::tls::Identity;
use crate::{Authorization, Call, Fault, World, server};

/// Looks at a call and may decide what happens instead of the genuine answer.
pub(crate) type Hook = Box<dyn FnMut(&Call, &mut World) -> Option<Fault> + Send>;

/// What the server and the handle share.
pub(crate) struct Shared {
    pub(crate) world: Mutex<World>,
    pub(crate) calls: Mutex<Vec<Call>>,
    pub(crate) authorizations: Mutex<Vec<Authorization>>,
    pub(crate) before: Mutex<Vec<Hook>>,
    pub(crate) after: Mutex<Vec<Hook>>,
    pub(crate) latency: Mutex<Duration>,
    pub(crate) limits: Mutex<Limits>,
    /// Counts up with each `forget_calls`, so that a call under way does not write into the new list.
    pub(crate) era: AtomicU64,
}

/// Locks, whatever became of who held it before: a failed assertion must not hide behind another.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running fake AWS. It serves from a thread of its own and stops when dropped, so its methods
/// are plain functions, for tests with and without a runtime.
pub struct FakeAws {
    shared: Arc<Shared>,
    url: String,
    ca_pem: Option<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeAws {
    /// Serves plain HTTP on a free port of 127.0.0.1.
    pub fn start(world: World) -> FakeAws {
        FakeAws::serve(world, None)
    }

    /// Serves HTTPS with a certificate of a certificate authority of its own, see [`FakeAws::ca_pem`].
    pub fn start_tls(world: World) -> FakeAws {
        FakeAws::serve(world, Some(Identity::new()))
    }

    fn serve(world: World, identity: Option<Identity>) -> FakeAws {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let scheme = if identity.is_some() { "https" } else { "http" };
        let ca_pem = identity.as_ref().map(|identity| identity.ca_pem.clone());
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            calls: Mutex::default(),
            authorizations: Mutex::default(),
            before: Mutex::default(),
            after: Mutex::default(),
            latency: Mutex::default(),
            limits: Mutex::default(),
            era: AtomicU64::new(0),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || server::run(listener, identity, serving, stopped));
        FakeAws { shared, url: format!("{scheme}://127.0.0.1:{port}"), ca_pem, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens, for `AWS_ENDPOINT_URL`: `http://127.0.0.1:PORT`, or `https://127.0.0.1:PORT`.
    ///
    /// An IP address even for TLS: with a host name the SDK asks S3 at `bucket.localhost`, which not every machine resolves.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The authority's certificate, for `SSL_CERT_FILE`; none without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The present state, to look at or to alter. The server waits while it is held, so let go of it before the next call.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    /// A copy of the present state.
    pub fn snapshot(&self) -> World {
        self.world().clone()
    }

    /// Every call in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// Every call's name in order of arrival, like `cloudtrail:GetTrail`.
    pub fn names(&self) -> Vec<String> {
        lock(&self.shared.calls).iter().map(Call::name).collect()
    }

    /// What every call since the start was judged by, if the caller has policies of its own. A call that was
    /// answered before it came to that (by a hook, by [`World::denied`]) is not there.
    pub fn authorizations(&self) -> Vec<Authorization> {
        lock(&self.shared.authorizations).clone()
    }

    /// Starts a new list of calls.
    pub fn forget_calls(&self) {
        let mut calls = lock(&self.shared.calls);
        self.shared.era.fetch_add(1, Ordering::SeqCst);
        calls.clear();
    }

    /// Adds a hook that runs before each operation. It may alter the world; if it returns a fault,
    /// the operation has no effect. The first fault of several hooks counts. It runs with the world
    /// locked: use the one that it is given.
    pub fn before(&self, hook: impl FnMut(&Call, &mut World) -> Option<Fault> + Send + 'static) {
        lock(&self.shared.before).push(Box::new(hook));
    }

    /// Adds a hook that runs after each operation took effect (or was refused). If it returns a
    /// fault, that is what the caller gets: the answer was lost.
    pub fn after(&self, hook: impl FnMut(&Call, &mut World) -> Option<Fault> + Send + 'static) {
        lock(&self.shared.after).push(Box::new(hook));
    }

    /// Removes all hooks.
    pub fn forget_hooks(&self) {
        lock(&self.shared.before).clear();
        lock(&self.shared.after).clear();
    }

    /// Puts another account in the place of this one, with no call, authorization or request rate
    /// remembered. Hooks and latency stay.
    pub fn replace(&self, world: World) {
        *self.world() = world;
        self.forget_calls();
        lock(&self.shared.authorizations).clear();
        *lock(&self.shared.limits) = Limits::default();
    }

    /// Lets time pass, a second at least, in which nobody calls: the clock moves on, and CloudTrail's
    /// request rates begin anew.
    pub fn let_pass(&self, time: Duration) {
        self.world().now += time.as_secs();
        if time >= Duration::from_secs(1) {
            *lock(&self.shared.limits) = Limits::default();
        }
    }

    /// How long each call takes from now on, at least. Calls wait side by side, not in a row.
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.shared.latency) = latency;
    }
}

impl Drop for FakeAws {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The server may be gone already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
