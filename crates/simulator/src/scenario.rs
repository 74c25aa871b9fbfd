//! What one seed decides before the start: the account, the invocations, and the changes by other principals.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

/// The Regions, in the order in which scenarios use them. The function is deployed in the first.
pub(crate) const REGIONS: [&str; 6] =
    ["eu-west-1", "eu-central-1", "us-east-1", "ap-south-1", "sa-east-1", "ca-central-1"];

/// When the last invocation, change or fault begins.
const ACTIVE: Range<u64> = 0..120_000;

/// The greatest number of invocations, besides those that a change starts.
pub(crate) const MAX_INVOCATIONS: usize = 6;

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
    /// `DisableKey` for the key of this trail.
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
    pub(crate) at: Duration,
    pub(crate) input: Input,
    pub(crate) enforce: bool,
    /// `TRAILSEAL_KEY_ARNS` names a key of another team in this Region.
    pub(crate) supplied: Option<usize>,
    /// The time that Lambda gives it.
    pub(crate) timeout: Duration,
    /// The process dies at this await; Lambda starts another one.
    pub(crate) crash: Option<u32>,
}

/// A change by another principal.
#[derive(Debug, Clone)]
pub(crate) struct ChangeSpec {
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

/// Operations that a service control policy may deny for a while.
const DENIABLE: [&str; 14] = [
    "cloudtrail:GetTrailStatus",
    "cloudtrail:ListTags",
    "cloudtrail:UpdateTrail",
    "kms:CreateAlias",
    "kms:CreateKey",
    "kms:DescribeKey",
    "kms:EnableKey",
    "kms:GetKeyPolicy",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "s3:GetBucketPolicy",
    "s3:GetBucketReplication",
    "sns:Publish",
    "tagging:GetResources",
];

impl Scenario {
    /// The scenario of a seed.
    pub fn new(seed: u64) -> Self {
        let rng = &mut Rng::with_seed(seed);
        let regions = rng.usize(1..=REGIONS.len());
        let buckets: Vec<BucketSpec> = (0..rng.usize(1..=4)).map(|_| BucketSpec::new(rng, regions)).collect();
        let trails: Vec<TrailSpec> =
            (0..rng.usize(1..=8)).map(|_| TrailSpec::new(rng, regions, buckets.len())).collect();
        let sealing_keys = (0..rng.usize(0..=3)).map(|_| SealingKeySpec::new(rng, regions)).collect();
        let invocations =
            (0..rng.usize(1..=MAX_INVOCATIONS)).map(|_| InvocationSpec::new(rng, regions, trails.len())).collect();
        let changes = (0..rng.usize(0..=5)).map(|_| ChangeSpec::new(rng, trails.len())).collect();
        let denials = (0..rng.usize(0..=1)).map(|_| Denial::new(rng)).collect();
        Self {
            seed,
            buckets,
            trails,
            sealing_keys,
            invocations,
            changes,
            denials,
            faults: *pick(rng, &[0, 0, 10, 50, 150]),
            latency: Duration::from_millis(*pick(rng, &[1, 50, 400, 3000])),
            lag: Duration::from_millis(*pick(rng, &[0, 0, 500, 2000, 5000])),
            index_lag: Duration::from_secs(*pick(rng, &[0, 5, 120])),
            hold: rng.u8(..10) == 0,
        }
    }

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

impl BucketSpec {
    fn new(rng: &mut Rng, regions: usize) -> Self {
        use BucketKind::{DenyingCloudTrail, Missing, OfAnotherAccount, Plain, WithBucketKey, WithForeignReader};
        let kinds = [
            Plain,
            Plain,
            Plain,
            Plain,
            WithBucketKey,
            WithBucketKey,
            WithForeignReader,
            DenyingCloudTrail,
            OfAnotherAccount,
            Missing,
        ];
        Self { region: rng.usize(..regions), kind: *pick(rng, &kinds) }
    }
}

impl TrailSpec {
    fn new(rng: &mut Rng, regions: usize, buckets: usize) -> Self {
        use TrailKey::{
            Deleted, None, Sealing, Theirs, TheirsDisabled, TheirsPendingDeletion, TheirsWithoutCloudTrail,
        };
        let keys = [
            None,
            None,
            None,
            None,
            None,
            Sealing,
            Sealing,
            Theirs,
            TheirsDisabled,
            TheirsPendingDeletion,
            TheirsWithoutCloudTrail,
            Deleted,
        ];
        Self {
            home_region: rng.usize(..regions),
            bucket: rng.usize(..buckets),
            key: *pick(rng, &keys),
            multi_region: rng.bool(),
            logging: rng.u8(..8) > 0,
            exempt: rng.u8(..12) == 0,
            of_organization: rng.u8(..16) == 0,
        }
    }
}

impl SealingKeySpec {
    fn new(rng: &mut Rng, regions: usize) -> Self {
        use SealingKeyState::{Denying, Disabled, Exempt, PendingDeletion, Untagged, Usable, WithoutCloudTrail};
        let states = [
            Usable,
            Usable,
            Usable,
            Disabled,
            PendingDeletion,
            WithoutCloudTrail,
            WithoutCloudTrail,
            Denying,
            Exempt,
            Untagged,
        ];
        Self {
            region: rng.usize(..regions),
            state: *pick(rng, &states),
            has_alias: rng.u8(..4) > 0,
            rotates: rng.bool(),
        }
    }
}

impl InvocationSpec {
    fn new(rng: &mut Rng, regions: usize, trails: usize) -> Self {
        let trail = rng.usize(..trails);
        let inputs = [
            Input::Sweep,
            Input::Sweep,
            Input::Event(trail),
            Input::Event(trail),
            Input::Request(trail),
            Input::KeyEvent(trail),
        ];
        // Half of them begin within a second of one another.
        let at = if rng.bool() { rng.u64(..1_000) } else { rng.u64(ACTIVE) };
        Self {
            at: Duration::from_millis(at),
            input: *pick(rng, &inputs),
            enforce: rng.u8(..8) > 0,
            supplied: (rng.u8(..10) == 0).then(|| rng.usize(..regions)),
            timeout: Duration::from_secs(*pick(rng, &[15, 60, 180])),
            crash: (rng.u8(..4) == 0).then(|| rng.u32(1..150)),
        }
    }

    /// A sweep that nothing disturbs.
    pub(crate) fn sweep() -> Self {
        let timeout = Duration::from_secs(180);
        Self { at: Duration::ZERO, input: Input::Sweep, enforce: true, supplied: None, timeout, crash: None }
    }
}

impl ChangeSpec {
    fn new(rng: &mut Rng, trails: usize) -> Self {
        let actions = [
            Action::RemoveTrailKey,
            Action::RemoveTrailKey,
            Action::AssignOtherKey,
            Action::AssignOtherKey,
            Action::ChangeTrailSettings,
            Action::StopLogging,
            Action::DeleteTrail,
            Action::RecreateTrail,
            Action::TagTrailExempt,
            Action::DisableSealingKey,
            Action::ScheduleSealingKeyDeletion,
            Action::EnableSealingKey,
            Action::AddKeyStatement,
            Action::AddKeyStatement,
            Action::ReplaceKeyPolicy,
            Action::DenyCloudTrail,
            Action::MoveAlias,
            Action::DeleteAlias,
            Action::UntagSealingKey,
            Action::DisableRotation,
            Action::AddBucketReader,
        ];
        let at = if rng.bool() { rng.u64(..10_000) } else { rng.u64(ACTIVE) };
        Self {
            at: Duration::from_millis(at),
            trail: rng.usize(..trails),
            action: *pick(rng, &actions),
            event_after: (rng.u8(..5) > 0).then(|| Duration::from_millis(rng.u64(500..20_000))),
        }
    }
}

impl Denial {
    fn new(rng: &mut Rng) -> Self {
        let from = Duration::from_millis(rng.u64(ACTIVE));
        Self {
            operation: DENIABLE[rng.usize(..DENIABLE.len())],
            from,
            until: from + Duration::from_millis(rng.u64(1_000..60_000)),
        }
    }
}

pub(crate) fn pick<'a, T>(rng: &mut Rng, items: &'a [T]) -> &'a T {
    &items[rng.usize(..items.len())]
}
