//! The account of a scenario, and what other principals change in it.

use fake_aws::{Bucket, Key, KeyState, Trail, World};
use serde_json::{Value, json};
use trailseal_core::config::Config;
use trailseal_core::ids::FunctionArn;
use trailseal_core::key_policy::KeyPolicy;

use crate::scenario::{Action, BucketKind, REGIONS, Scenario, SealingKeySpec, SealingKeyState, TrailKey, TrailSpec};

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const ALIAS: &str = "alias/trailseal";
pub(crate) const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alerts";
const ROLE: &str = "arn:aws:iam::123456789012:role/trailseal";
const OTHER_ACCOUNT: &str = "210987654321";

/// The function's ARN.
pub(crate) fn function_arn() -> FunctionArn {
    let arn = format!("arn:aws:lambda:{}:{ACCOUNT}:function:trailseal", REGIONS[0]);
    arn.parse().expect("a valid ARN")
}

/// The function's configuration.
pub(crate) fn config(enforce: bool, hold: bool, restart: bool, supplied: Option<&str>) -> Config {
    let variable = |name: &str| match name {
        "TRAILSEAL_MODE" => Some(if enforce { "enforce" } else { "dry-run" }.to_owned()),
        "TRAILSEAL_ROLE_ARN" => Some(ROLE.to_owned()),
        "TRAILSEAL_ALERT_TOPIC_ARN" => Some(TOPIC.to_owned()),
        "TRAILSEAL_READERS_LOCKED_OUT" => hold.then(|| "hold".to_owned()),
        "TRAILSEAL_RESTART_LOGGING" => Some(restart.to_string()),
        "TRAILSEAL_KEY_ARNS" => supplied.map(str::to_owned),
        _ => None,
    };
    Config::parse(variable).expect("a valid configuration")
}

pub(crate) fn trail_arn(scenario: &Scenario, trail: usize) -> String {
    let TrailSpec { home_region, of_organization, .. } = scenario.trails[trail];
    let owner = if of_organization { OTHER_ACCOUNT } else { ACCOUNT };
    format!("arn:aws:cloudtrail:{}:{owner}:trail/trail-{trail}", REGIONS[home_region])
}

/// The key of another team in a Region, which exists in every Region that a bucket uses.
pub(crate) fn other_key(world: &World, region: &str) -> Option<String> {
    let keys = world.customer_keys(region);
    keys.into_iter().find(|(_, key)| key.tags.contains_key("team") && key.is_usable()).map(|(arn, _)| arn.to_owned())
}

/// The account at the start.
pub(crate) fn account(scenario: &Scenario) -> World {
    let mut world = World::new(ACCOUNT).topic("alerts", REGIONS[0]);
    world.caller_iam_allows_put_key_policy = true;
    for region in REGIONS {
        let policy = world.cloudtrail_key_policy();
        world.key(Key::new(region).policy(&policy).tag("team", "another"));
    }
    for (index, bucket) in scenario.buckets.iter().enumerate() {
        let new = Bucket::new(&bucket_name(index), REGIONS[bucket.region]);
        match bucket.kind {
            BucketKind::Plain => world.add_bucket(new),
            BucketKind::WithBucketKey => world.add_bucket(new.with_bucket_key()),
            BucketKind::WithForeignReader => {
                let policy = world.bucket_policy(&new.name, &[reader(&new.name)]);
                world.add_bucket(new.policy(&policy));
            }
            BucketKind::DenyingCloudTrail => world.add_bucket(Bucket { denies_cloudtrail: true, ..new }),
            BucketKind::OfAnotherAccount => world.add_bucket(new.of_account(OTHER_ACCOUNT)),
            BucketKind::Missing => {}
        }
    }
    for key in &scenario.sealing_keys {
        add_sealing_key(&mut world, key);
    }
    for index in 0..scenario.trails.len() {
        add_trail(&mut world, scenario, index, true);
    }
    world
}

fn bucket_name(index: usize) -> String {
    format!("bucket-{index}")
}

/// A statement that lets another account read the logs.
fn reader(bucket: &str) -> Value {
    json!({
        "Sid": "Analysis",
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:aws:iam::{OTHER_ACCOUNT}:root") },
        "Action": "s3:GetObject",
        "Resource": format!("arn:aws:s3:::{bucket}/*"),
    })
}

fn deny_cloudtrail() -> Value {
    json!({
        "Sid": "NoCloudTrail",
        "Effect": "Deny",
        "Principal": { "Service": "cloudtrail.amazonaws.com" },
        "Action": "kms:*",
        "Resource": "*",
    })
}

fn with_statement(policy: &str, statement: Value) -> String {
    let mut statements = statements(policy);
    statements.push(statement);
    with_statements(&statements)
}

fn add_sealing_key(world: &mut World, spec: &SealingKeySpec) {
    use SealingKeyState::{Denying, Disabled, Exempt, PendingDeletion, Untagged, WithoutCloudTrail};
    let region = REGIONS[spec.region];
    let policy = match spec.state {
        WithoutCloudTrail => world.default_key_policy(ACCOUNT),
        Denying => with_statement(&sealing_policy(), deny_cloudtrail()),
        _ => sealing_policy(),
    };
    let mut key = Key { rotation_days: spec.rotates.then_some(365), ..Key::new(region) }.policy(&policy);
    if spec.state != Untagged {
        key = key.tag("managed-by", "trailseal");
    }
    if spec.state == Exempt {
        key = key.tag("trailseal:exempt", "approved");
    }
    key.state = match spec.state {
        Disabled => KeyState::Disabled,
        PendingDeletion => KeyState::PendingDeletion,
        _ => KeyState::Enabled,
    };
    let arn = world.key(key);
    if spec.has_alias && world.alias_target(region, ALIAS).is_none() {
        world.alias(region, ALIAS, &arn);
    }
}

fn add_trail(world: &mut World, scenario: &Scenario, index: usize, at_start: bool) {
    let spec = &scenario.trails[index];
    let region = REGIONS[scenario.buckets[spec.bucket].region];
    let key = if at_start { trail_key(world, spec.key, region) } else { None };
    let mut trail = Trail::new(&format!("trail-{index}"), REGIONS[spec.home_region], &bucket_name(spec.bucket));
    trail.kms_key_id = key;
    trail.multi_region = spec.multi_region || spec.of_organization;
    trail.logging = spec.logging;
    if spec.exempt {
        trail = trail.tag("trailseal:exempt", "approved");
    }
    if spec.of_organization {
        trail = trail.organization(OTHER_ACCOUNT);
    }
    world.add_trail(trail);
}

fn trail_key(world: &mut World, key: TrailKey, region: &str) -> Option<String> {
    let theirs = |policy: &str, state| Key { state, ..Key::new(region).policy(policy).tag("team", "another") };
    let policy = world.cloudtrail_key_policy();
    Some(match key {
        TrailKey::None => return None,
        TrailKey::Sealing => {
            let keys = world.customer_keys(region);
            keys.into_iter().find(|(_, key)| is_ours(key)).map(|(arn, _)| arn.to_owned())?
        }
        TrailKey::Theirs => world.key(theirs(&policy, KeyState::Enabled)),
        TrailKey::TheirsDisabled => world.key(theirs(&policy, KeyState::Disabled)),
        TrailKey::TheirsPendingDeletion => world.key(theirs(&policy, KeyState::PendingDeletion)),
        TrailKey::TheirsWithoutCloudTrail => {
            let policy = world.default_key_policy(ACCOUNT);
            world.key(theirs(&policy, KeyState::Enabled))
        }
        TrailKey::Deleted => format!("arn:aws:kms:{region}:{ACCOUNT}:key/ffffffff-0000-4000-8000-000000000000"),
    })
}

/// The policy that trailseal writes.
pub(crate) fn sealing_policy() -> String {
    KeyPolicy::new(&config(true, false, false, None), &function_arn()).text()
}

/// The statements of a policy.
pub(crate) fn statements(policy: &str) -> Vec<Value> {
    let policy: Value = serde_json::from_str(policy).unwrap_or_default();
    policy["Statement"].as_array().cloned().unwrap_or_default()
}

/// A policy with these statements.
pub(crate) fn with_statements(statements: &[Value]) -> String {
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// The Region in an ARN.
pub(crate) fn region_of(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

/// Whether a key has trailseal's tag.
pub(crate) fn is_ours(key: &Key) -> bool {
    key.tags.get("managed-by").is_some_and(|value| value == "trailseal")
}

/// Whether trailseal may change a key.
pub(crate) fn is_maintained(key: &Key) -> bool {
    is_ours(key) && !key.tags.contains_key("trailseal:exempt")
}

/// Whether trailseal must not change a trail.
pub(crate) fn is_out_of_scope(trail: &Trail) -> bool {
    trail.owner != ACCOUNT || trail.tags.contains_key("trailseal:exempt")
}

impl Action {
    /// Performs it. Returns what was done, and the API call whose event EventBridge delivers.
    pub(crate) fn perform(
        self,
        trail: usize,
        world: &mut World,
        scenario: &Scenario,
    ) -> Option<(String, &'static str)> {
        match self {
            Self::RemoveTrailKey => on_trail(world, scenario, trail, "UpdateTrail", |trail| trail.kms_key_id = None),
            Self::AssignOtherKey => {
                let key = other_key(world, bucket_region(scenario, trail))?;
                on_trail(world, scenario, trail, "UpdateTrail", |trail| trail.kms_key_id = Some(key))
            }
            Self::ChangeTrailSettings => on_trail(world, scenario, trail, "UpdateTrail", |trail| {
                trail.log_file_validation = !trail.log_file_validation;
            }),
            Self::StopLogging => on_trail(world, scenario, trail, "StopLogging", |trail| trail.logging = false),
            Self::DeleteTrail => {
                let arn = trail_arn(scenario, trail);
                world.trails.remove(&arn).map(|_| (arn, "DeleteTrail"))
            }
            Self::RecreateTrail => {
                let arn = trail_arn(scenario, trail);
                world.trails.remove(&arn);
                add_trail(world, scenario, trail, false);
                Some((arn, "CreateTrail"))
            }
            Self::TagTrailExempt => on_trail(world, scenario, trail, "AddTags", |trail| {
                trail.tags.insert("trailseal:exempt".into(), "approved".into());
            }),
            Self::DisableSealingKey => on_sealing_key(world, scenario, trail, "DisableKey", |key| {
                if key.state == KeyState::Enabled {
                    key.state = KeyState::Disabled;
                }
            }),
            Self::ScheduleSealingKeyDeletion => on_sealing_key(world, scenario, trail, "ScheduleKeyDeletion", |key| {
                key.state = KeyState::PendingDeletion
            }),
            Self::EnableSealingKey => on_sealing_key(world, scenario, trail, "EnableKey", |key| {
                if key.state == KeyState::Disabled {
                    key.state = KeyState::Enabled;
                }
            }),
            Self::AddKeyStatement => on_sealing_key(world, scenario, trail, "PutKeyPolicy", |key| {
                let statement = json!({
                    "Sid": format!("Audit{}", key.policy.len()),
                    "Effect": "Allow",
                    "Principal": { "AWS": format!("arn:aws:iam::{OTHER_ACCOUNT}:root") },
                    "Action": "kms:Decrypt",
                    "Resource": "*",
                });
                key.policy = with_statement(&key.policy, statement);
            }),
            Self::ReplaceKeyPolicy => {
                let default = world.default_key_policy(ACCOUNT);
                on_sealing_key(world, scenario, trail, "PutKeyPolicy", |key| key.policy = default)
            }
            Self::DenyCloudTrail => on_sealing_key(world, scenario, trail, "PutKeyPolicy", |key| {
                key.policy = with_statement(&key.policy, deny_cloudtrail());
            }),
            Self::MoveAlias => {
                let region = bucket_region(scenario, trail);
                let key = other_key(world, region)?;
                world.alias(region, ALIAS, &key);
                Some((key, "UpdateAlias"))
            }
            Self::DeleteAlias => {
                let region = bucket_region(scenario, trail);
                let key = world.alias_target(region, ALIAS)?.to_owned();
                world.aliases.retain(|_, alias| alias.target != key);
                Some((key, "DeleteAlias"))
            }
            Self::UntagSealingKey => on_sealing_key(world, scenario, trail, "UntagResource", |key| {
                key.tags.remove("managed-by");
            }),
            Self::DisableRotation => {
                on_sealing_key(world, scenario, trail, "DisableKeyRotation", |key| key.rotation_days = None)
            }
            Self::AddBucketReader => {
                let name = bucket_name(scenario.trails[trail].bucket);
                let bucket = world.buckets.get_mut(&name)?;
                let policy = bucket.policy.as_ref()?;
                bucket.policy = Some(with_statement(policy, reader(&name)));
                Some((name, "PutBucketPolicy"))
            }
        }
    }
}

fn bucket_region(scenario: &Scenario, trail: usize) -> &'static str {
    REGIONS[scenario.buckets[scenario.trails[trail].bucket].region]
}

fn on_trail(
    world: &mut World,
    scenario: &Scenario,
    trail: usize,
    event: &'static str,
    change: impl FnOnce(&mut Trail),
) -> Option<(String, &'static str)> {
    let arn = trail_arn(scenario, trail);
    change(world.trails.get_mut(&arn)?);
    Some((arn, event))
}

fn on_sealing_key(
    world: &mut World,
    scenario: &Scenario,
    trail: usize,
    event: &'static str,
    change: impl FnOnce(&mut Key),
) -> Option<(String, &'static str)> {
    let key = world.alias_target(bucket_region(scenario, trail), ALIAS)?.to_owned();
    change(world.keys.get_mut(&key)?);
    Some((key, event))
}
