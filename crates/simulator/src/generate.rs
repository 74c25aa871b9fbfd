//! The scenario of a seed.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use crate::scenario::{
    ATTEMPTS, Action, BucketKind, BucketSpec, ChangeSpec, Denial, Input, InvocationSpec, MAX_INVOCATIONS, REGIONS,
    Scenario, SealingKeySpec, SealingKeyState, TrailKey, TrailSpec,
};

/// When the last invocation, change or fault begins.
const ACTIVE: Range<u64> = 0..120_000;

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
            (0..rng.usize(1..=MAX_INVOCATIONS)).map(|it| InvocationSpec::new(rng, it, regions, trails.len())).collect();
        let changes =
            (0..rng.usize(0..=5)).map(|it| ChangeSpec::new(rng, MAX_INVOCATIONS + it, trails.len())).collect();
        let denials = (0..rng.usize(0..=1)).map(|_| Denial::new(rng)).collect();
        let scenario = Self {
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
            restart: rng.bool(),
        };
        // Longer than the function waits for KMS.
        if rng.u8(..16) == 0 { Self { lag: Duration::from_secs(15), ..scenario } } else { scenario }
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
    fn new(rng: &mut Rng, number: usize, regions: usize, trails: usize) -> Self {
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
            process: number * ATTEMPTS,
            at: Duration::from_millis(at),
            input: *pick(rng, &inputs),
            enforce: rng.u8(..8) > 0,
            supplied: (rng.u8(..10) == 0).then(|| rng.usize(..regions)),
            timeout: Duration::from_secs(*pick(rng, &[15, 60, 180])),
            crash: (rng.u8(..4) == 0).then(|| rng.u32(1..150)),
            key_event: None,
        }
    }
}

impl ChangeSpec {
    fn new(rng: &mut Rng, number: usize, trails: usize) -> Self {
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
            process: number * ATTEMPTS,
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

fn pick<'a, T>(rng: &mut Rng, items: &'a [T]) -> &'a T {
    &items[rng.usize(..items.len())]
}
