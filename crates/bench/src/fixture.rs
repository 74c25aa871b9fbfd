//! What the function runs against: an account in the fake AWS, over TLS, and the function's configuration.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use fake_aws::{
    Bucket, FakeAws, Key, Trail, World,
    lambda::{Function, Invocation, Launch},
};
use serde_json::{Value, json};

/// The account.
pub const ACCOUNT: &str = "123456789012";
/// The function's Region.
pub const REGION: &str = "eu-west-1";
/// The trail, except in sweeps.
pub const TRAIL: &str = "audit";
/// Where operating systems keep their trust roots.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The state of the one trail when the event arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Encrypted with a key that CloudTrail can use.
    Compliant,
    /// Unencrypted; the key behind the alias is ready.
    KeyExists,
    /// Unencrypted, and there is no key yet.
    NoKey,
}

/// A fake AWS over TLS, and a file of trust roots that contains its certificate authority.
pub struct Fixture {
    /// The fake.
    pub aws: FakeAws,
    roots: PathBuf,
}

impl Fixture {
    /// Starts a fake AWS in this state.
    pub fn new(world: World) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let aws = FakeAws::start_tls(world);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let roots = env::temp_dir().join(format!("trailseal-bench-{}-{number}.pem", process::id()));
        // Includes the system's roots, so that loading them takes as long as in production.
        let system = SYSTEM_ROOTS.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let bundle = system + "\n" + aws.ca_pem().expect("a fake over TLS has a certificate authority");
        fs::write(&roots, bundle).expect("the temporary directory can be written to");
        Self { aws, roots }
    }

    /// One trail in that state.
    pub fn one_trail(state: State) -> Self {
        Self::new(one_trail(state))
    }

    /// The function in enforce mode with alerts, not started yet.
    pub fn launch(&self, binary: &Path) -> Launch {
        let world = self.aws.world();
        let account = &world.account;
        Function::launch(binary)
            .function_arn(format!("arn:aws:lambda:{REGION}:{account}:function:trailseal"))
            .env("AWS_ENDPOINT_URL", self.aws.url())
            .env("SSL_CERT_FILE", self.roots.display().to_string())
            .env("TRAILSEAL_MODE", "enforce")
            .env("TRAILSEAL_ROLE_ARN", &world.caller_role_arn)
            .env("TRAILSEAL_ALERT_TOPIC_ARN", format!("arn:aws:sns:{REGION}:{account}:alerts"))
    }

    /// The command line with the account's credentials, not started yet.
    pub fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.env_clear().env("AWS_ENDPOINT_URL", self.aws.url()).env("SSL_CERT_FILE", &self.roots);
        command.env("AWS_REGION", REGION).env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "x");
        command
    }

    /// Starts the function.
    pub fn start(&self, binary: &Path) -> Result<Function, String> {
        self.launch(binary).start().map_err(|crash| crash.to_string())
    }

    /// Whether the one trail is encrypted.
    pub fn is_encrypted(&self) -> bool {
        let world = self.aws.world();
        let arn = world.trail_arn(REGION, TRAIL);
        world.trails.get(&arn).is_some_and(|trail| trail.kms_key_id.is_some())
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // A failure leaves only a certificate in the temporary directory.
        let _ = fs::remove_file(&self.roots);
    }
}

/// How many trust roots the machine itself has.
pub fn system_roots() -> usize {
    let system = SYSTEM_ROOTS.iter().find_map(|path| fs::read_to_string(path).ok());
    system.map_or(0, |bundle| bundle.matches("BEGIN CERTIFICATE").count())
}

/// Invokes the function. Any outcome but an answer is an error.
pub fn invoke(function: &mut Function, event: &Value) -> Result<(Invocation, Value), String> {
    let invocation = function.invoke_within(event.to_string().as_bytes(), Duration::from_secs(60));
    let answer = invocation.outcome.clone().map_err(|error| {
        let lines = [function.stdout(), function.stderr()].concat();
        format!("the function failed: {error}\n{}", lines.join("\n"))
    })?;
    Ok((invocation, answer))
}

/// The number of trails with this outcome, from the answer's summary.
pub fn outcomes(answer: &Value, outcome: &str) -> u64 {
    answer["summary"][outcome].as_u64().unwrap_or(0)
}

fn one_trail(state: State) -> World {
    let mut world = World::new(ACCOUNT).topic("alerts", REGION);
    world.add_bucket(Bucket::new("audit-logs", REGION).policy(&bucket_policy("audit-logs")));
    let mut trail = Trail::new(TRAIL, REGION, "audit-logs").multi_region();
    if state != State::NoKey {
        let key = sealing_key(&mut world, REGION);
        if state == State::Compliant {
            trail = trail.encrypted_with(&key);
        }
    }
    world.add_trail(trail);
    world
}

/// The state of the trails in a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweptTrails {
    /// Encrypted with a key that CloudTrail can use.
    Compliant,
    /// Unencrypted; the key behind the alias is ready.
    Unencrypted,
}

/// An account with five trails in each Region, which is CloudTrail's quota, and CloudTrail's request rates.
pub fn many_trails(regions: usize, state: SweptTrails) -> World {
    let mut world = World::new(ACCOUNT).topic("alerts", REGION);
    world.rate_limits = true;
    for region in REGIONS.iter().take(regions) {
        let bucket = format!("audit-logs-{region}");
        world.add_bucket(Bucket::new(&bucket, region).policy(&bucket_policy(&bucket)));
        let key = sealing_key(&mut world, region);
        for number in 1..=5 {
            let trail = Trail::new(&format!("audit-{number}"), region, &bucket);
            world.add_trail(match state {
                SweptTrails::Compliant => trail.encrypted_with(&key),
                SweptTrails::Unencrypted => trail,
            });
        }
    }
    world
}

/// A key as the function creates it, with its alias.
fn sealing_key(world: &mut World, region: &str) -> String {
    let key = Key { rotation_days: Some(365), ..Key::new(region) };
    let mut key = key.policy(&world.cloudtrail_key_policy()).tag("managed-by", "trailseal");
    key.rotation_days = Some(365);
    let arn = world.key(key);
    world.alias(region, "alias/trailseal", &arn);
    arn
}

/// The bucket policy that CloudTrail's console writes.
fn bucket_policy(bucket: &str) -> String {
    let trails = format!("arn:aws:cloudtrail:*:{ACCOUNT}:trail/*");
    let cloudtrail = json!({ "Service": "cloudtrail.amazonaws.com" });
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AWSCloudTrailAclCheck20150319",
                "Effect": "Allow",
                "Principal": cloudtrail,
                "Action": "s3:GetBucketAcl",
                "Resource": format!("arn:aws:s3:::{bucket}"),
                "Condition": { "StringLike": { "AWS:SourceArn": trails } }
            },
            {
                "Sid": "AWSCloudTrailWrite20150319",
                "Effect": "Allow",
                "Principal": cloudtrail,
                "Action": "s3:PutObject",
                "Resource": format!("arn:aws:s3:::{bucket}/AWSLogs/{ACCOUNT}/*"),
                "Condition": {
                    "StringEquals": { "s3:x-amz-acl": "bucket-owner-full-control" },
                    "StringLike": { "AWS:SourceArn": trails }
                }
            }
        ]
    })
    .to_string()
}

/// The Regions of the `aws` partition, those enabled by default first.
const REGIONS: [&str; 34] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ap-south-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "sa-east-1",
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-south-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-west-1",
    "eu-central-2",
    "eu-south-1",
    "eu-south-2",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
];
