//! What one seed decides before the start: the account, the invocations, and the changes by other principals.

use std::time::Duration;

/// The Regions, in the order in which scenarios use them. The function is deployed in the first.
pub(crate) const REGIONS: [&str; 6] =
    ["eu-west-1", "eu-central-1", "us-east-1", "ap-south-1", "sa-east-1", "ca-central-1"];

/// The greatest number of invocations, besides those that a change starts.
pub(crate) const MAX_INVOCATIONS: usize = 6;

/// The attempts of one invocation have consecutive numbers.
pub(crate) const ATTEMPTS: usize = 3;

/// One run, from start to quiescence. Everything that a run does follows from it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Decides what each call meets: its latency, its faults, and the age of what it reads.
    pub seed: u64,
    pub(crate) buckets: Vec<BucketSpec>,
    pub(crate) trails: Vec<TrailSpec>,
    /// Keys of trailseal that exist at the start.
    pub(crate) sealing_keys: Vec<SealingKeySpec>,
    pub(crate) invocations: Vec<InvocationSpec>,
    pub(crate) changes: Vec<ChangeSpec>,
    /// Calls of one operation are denied for a while.
    pub(crate) denials: Vec<Denial>,
    /// How many of 1,000 calls meet a fault until activity ends.
    pub(crate) faults: u32,
    /// The greatest latency of a call.
    pub(crate) latency: Duration,
    /// How old the version of CloudTrail, KMS and S3 can be that a read returns.
    pub(crate) lag: Duration,
    /// The same for the tag index.
    pub(crate) index_lag: Duration,
    /// `TRAILSEAL_READERS_LOCKED_OUT=hold` in every invocation.
    pub(crate) hold: bool,
    /// `TRAILSEAL_RESTART_LOGGING=true` in every invocation.
    pub(crate) restart: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct BucketSpec {
    pub(crate) region: usize,
    pub(crate) kind: BucketKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BucketKind {
    Plain,
    WithBucketKey,
    WithForeignReader,
    DenyingCloudTrail,
    OfAnotherAccount,
    Missing,
}

#[derive(Debug, Clone)]
pub(crate) struct TrailSpec {
    pub(crate) home_region: usize,
    pub(crate) bucket: usize,
    pub(crate) key: TrailKey,
    pub(crate) multi_region: bool,
    pub(crate) logging: bool,
    pub(crate) exempt: bool,
    pub(crate) of_organization: bool,
}

/// The key of a trail at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrailKey {
    None,
    /// The first of trailseal's keys in the bucket's Region, if there is one.
    Sealing,
    /// Another team's.
    Theirs,
    TheirsDisabled,
    TheirsPendingDeletion,
    TheirsWithoutCloudTrail,
    /// An ARN without a key.
    Deleted,
}

#[derive(Debug, Clone)]
pub(crate) struct SealingKeySpec {
    pub(crate) region: usize,
    pub(crate) state: SealingKeyState,
    pub(crate) has_alias: bool,
    pub(crate) rotates: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealingKeyState {
    Usable,
    Disabled,
    PendingDeletion,
    WithoutCloudTrail,
    Denying,
    Exempt,
    /// The alias refers to a key without trailseal's tag.
    Untagged,
}

/// What starts an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Sweep,
    /// An event or a request that names this trail.
    Event(usize),
    Request(usize),
    /// An event about the key of this trail.
    KeyEvent(usize),
}

impl Input {
    fn trail(self) -> Option<usize> {
        match self {
            Self::Sweep => None,
            Self::Event(trail) | Self::Request(trail) | Self::KeyEvent(trail) => Some(trail),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct InvocationSpec {
    /// The number of its first process. It stays the same when the scenario shrinks, because the number decides what calls
    /// meet.
    pub(crate) process: usize,
    pub(crate) at: Duration,
    pub(crate) input: Input,
    pub(crate) enforce: bool,
    /// `TRAILSEAL_KEY_ARNS` names a key of another team in this Region.
    pub(crate) supplied: Option<usize>,
    /// The time that Lambda gives it.
    pub(crate) timeout: Duration,
    /// The process dies at this await; Lambda starts another one.
    pub(crate) crash: Option<u32>,
    /// The name of a key event, and its key. `None`: `DisableKey`, and the key that the trail has then.
    pub(crate) key_event: Option<(&'static str, String)>,
}

impl InvocationSpec {
    /// A sweep that nothing disturbs.
    pub(crate) fn sweep(process: usize) -> Self {
        let (at, timeout) = (Duration::ZERO, Duration::from_secs(180));
        Self { process, at, input: Input::Sweep, enforce: true, supplied: None, timeout, crash: None, key_event: None }
    }
}

/// A change by another principal.
#[derive(Debug, Clone)]
pub(crate) struct ChangeSpec {
    /// The number of the first process that its event starts.
    pub(crate) process: usize,
    pub(crate) at: Duration,
    pub(crate) trail: usize,
    pub(crate) action: Action,
    /// How much later EventBridge delivers the event, if at all.
    pub(crate) event_after: Option<Duration>,
}

/// What another principal does to a trail, to its bucket, or to the sealing key: the key behind the alias in the bucket's
/// Region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    RemoveTrailKey,
    AssignOtherKey,
    ChangeTrailSettings,
    StopLogging,
    DeleteTrail,
    RecreateTrail,
    TagTrailExempt,
    DisableSealingKey,
    ScheduleSealingKeyDeletion,
    EnableSealingKey,
    AddKeyStatement,
    ReplaceKeyPolicy,
    DenyCloudTrail,
    MoveAlias,
    DeleteAlias,
    UntagSealingKey,
    DisableRotation,
    AddBucketReader,
}

#[derive(Debug, Clone)]
pub(crate) struct Denial {
    pub(crate) operation: &'static str,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

impl Scenario {
    /// The number of trails, of invocations, and of changes by other principals.
    pub fn elements(&self) -> (usize, usize, usize) {
        (self.trails.len(), self.invocations.len(), self.changes.len())
    }

    /// The same scenario without one of its elements, for each element.
    pub(crate) fn simplifications(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut scenario = self.clone();
            change(&mut scenario);
            simpler.push(scenario);
        };
        for index in 0..self.invocations.len() {
            add(&|it| {
                it.invocations.remove(index);
            });
        }
        for index in 0..self.changes.len() {
            add(&|it| {
                it.changes.remove(index);
            });
        }
        for index in 0..self.denials.len() {
            add(&|it| {
                it.denials.remove(index);
            });
        }
        for index in 0..self.sealing_keys.len() {
            add(&|it| {
                it.sealing_keys.remove(index);
            });
        }
        // Trails are named by their number, so only the last can go.
        let last = self.trails.len().saturating_sub(1);
        let is_named = self.invocations.iter().any(|it| it.input.trail() == Some(last))
            || self.changes.iter().any(|it| it.trail == last);
        if last > 0 && !is_named {
            add(&|it| {
                it.trails.pop();
            });
        }
        for index in 0..self.invocations.len() {
            if self.invocations[index].crash.is_some() {
                add(&|it| it.invocations[index].crash = None);
            }
            if self.invocations[index].supplied.is_some() {
                add(&|it| it.invocations[index].supplied = None);
            }
        }
        for index in 0..self.changes.len() {
            if self.changes[index].event_after.is_some() {
                add(&|it| it.changes[index].event_after = None);
            }
        }
        if self.restart {
            add(&|it| it.restart = false);
        }
        if self.faults > 0 {
            add(&|it| it.faults = 0);
        }
        if !self.lag.is_zero() {
            add(&|it| it.lag = Duration::ZERO);
        }
        if !self.index_lag.is_zero() {
            add(&|it| it.index_lag = Duration::ZERO);
        }
        if self.latency > Duration::from_millis(1) {
            add(&|it| it.latency = Duration::from_millis(1));
        }
        simpler
    }
}
