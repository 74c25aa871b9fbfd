//! What the function is run in: an account on the fake, reached over TLS, and the function's configuration.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use fake_aws::{
    Bucket, FakeAws, Key, Trail, World,
    lambda::{Function, Invocation, Launch},
};
use serde_json::{Value, json};

/// The account.
const ACCOUNT: &str = "123456789012";
/// The Region of all but the sweeps.
pub const REGION: &str = "eu-west-1";
/// The trail of all but the sweeps.
pub const TRAIL: &str = "audit";
/// Where systems keep their trust roots.
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

/// A fake AWS over TLS, and the trust roots to reach it with.
pub struct Scene {
    /// The fake.
    pub aws: FakeAws,
    roots: PathBuf,
}

impl Scene {
    /// Starts a fake with this world.
    pub fn new(world: World) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let aws = FakeAws::start_tls(world);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let roots = env::temp_dir().join(format!("trailseal-bench-{}-{number}.pem", process::id()));
        // As many roots as the system has, so that loading them costs what it costs in production.
        let system = SYSTEM_ROOTS.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let bundle = system + "\n" + aws.ca_pem().expect("a fake over TLS has a certificate authority");
        fs::write(&roots, bundle).expect("the temporary directory can be written to");
        Self { aws, roots }
    }

    /// One trail in that state.
    pub fn one_trail(state: State) -> Self {
        Self::new(one_trail(state))
    }

    /// The function in enforce mode, alerts on, ready to be started.
    pub fn launch(&self, binary: &Path) -> Launch {
        Function::launch(binary)
            .env("AWS_ENDPOINT_URL", self.aws.url())
            .env("SSL_CERT_FILE", self.roots.display().to_string())
            .env("TRAILSEAL_MODE", "enforce")
            .env("TRAILSEAL_ROLE_ARN", self.aws.world().caller_role_arn.clone())
            .env("TRAILSEAL_ALERT_TOPIC_ARN", format!("arn:aws:sns:{REGION}:{ACCOUNT}:alerts"))
    }

    /// Starts the function.
    pub fn start(&self, binary: &Path) -> Result<Function, String> {
        self.launch(binary).start().map_err(|crash| crash.to_string())
    }

    /// Whether the one trail is encrypted now.
    pub fn is_sealed(&self) -> bool {
        let world = self.aws.world();
        let arn = world.trail_arn(REGION, TRAIL);
        world.trails.get(&arn).is_some_and(|trail| trail.kms_key_id.is_some())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // What stays behind is a certificate in the temporary directory.
        let _ = fs::remove_file(&self.roots);
    }
}

/// How many trust roots the machine itself has.
pub fn system_roots() -> usize {
    let system = SYSTEM_ROOTS.iter().find_map(|path| fs::read_to_string(path).ok());
    system.map_or(0, |bundle| bundle.matches("BEGIN CERTIFICATE").count())
}

/// Invokes with an event, and takes anything but an answer for trouble.
pub fn answered(function: &mut Function, event: &Value) -> Result<(Invocation, Value), String> {
    let invocation = function.invoke_within(event.to_string().as_bytes(), Duration::from_secs(60));
    let answer = invocation.outcome.clone().map_err(|error| {
        let lines = [function.stdout(), function.stderr()].concat();
        format!("the function failed: {error}\n{}", lines.join("\n"))
    })?;
    Ok((invocation, answer))
}

/// How often this outcome is in the answer's summary.
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

/// The state of the trails of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estate {
    /// Encrypted with a key that CloudTrail can use.
    Compliant,
    /// Unencrypted; the key behind the alias is ready.
    Unencrypted,
}

/// So many Regions with five trails each, CloudTrail's own limit, and its request rates.
pub fn estate(regions: usize, estate: Estate) -> World {
    let mut world = World::new(ACCOUNT).topic("alerts", REGION);
    world.rate_limits = true;
    for region in REGIONS.iter().take(regions) {
        let bucket = format!("audit-logs-{region}");
        world.add_bucket(Bucket::new(&bucket, region).policy(&bucket_policy(&bucket)));
        let key = sealing_key(&mut world, region);
        for number in 1..=5 {
            let trail = Trail::new(&format!("audit-{number}"), region, &bucket);
            world.add_trail(match estate {
                Estate::Compliant => trail.encrypted_with(&key),
                Estate::Unencrypted => trail,
            });
        }
    }
    world
}

/// A key as the function would have created it, behind its alias.
fn sealing_key(world: &mut World, region: &str) -> String {
    let mut key = Key::new(region).policy(&world.cloudtrail_key_policy()).tag("managed-by", "trailseal");
    key.rotation_days = Some(365);
    let arn = world.key(key);
    world.alias(region, "alias/trailseal", &arn);
    arn
}

/// The policy that CloudTrail's console gives a bucket.
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

/// What EventBridge hands over after somebody changed the trail in the console.
pub fn update_event() -> Value {
    let arn = format!("arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/{TRAIL}");
    json!({
        "version": "0",
        "id": "6f87d04b-9f74-4f04-a780-7acf4b0a9b38",
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.cloudtrail",
        "account": ACCOUNT,
        "time": "2026-11-20T10:23:00Z",
        "region": REGION,
        "resources": [],
        "detail": {
            "eventVersion": "1.11",
            "userIdentity": {
                "type": "AssumedRole",
                "principalId": "AROAEXAMPLEID:alice",
                "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/admin/alice"),
                "accountId": ACCOUNT,
                "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
                "sessionContext": {
                    "sessionIssuer": {
                        "type": "Role",
                        "principalId": "AROAEXAMPLEID",
                        "arn": format!("arn:aws:iam::{ACCOUNT}:role/admin"),
                        "accountId": ACCOUNT,
                        "userName": "admin"
                    },
                    "attributes": { "creationDate": "2026-11-20T10:00:00Z", "mfaAuthenticated": "true" }
                }
            },
            "eventTime": "2026-11-20T10:22:58Z",
            "eventSource": "cloudtrail.amazonaws.com",
            "eventName": "UpdateTrail",
            "awsRegion": REGION,
            "sourceIPAddress": "198.51.100.7",
            "userAgent": "AWS Internal",
            "requestParameters": { "name": arn, "kmsKeyId": "", "snsTopicName": "" },
            "responseElements": {
                "name": TRAIL,
                "s3BucketName": "audit-logs",
                "includeGlobalServiceEvents": true,
                "isMultiRegionTrail": true,
                "trailARN": arn,
                "logFileValidationEnabled": true,
                "isOrganizationTrail": false
            },
            "requestID": "c9a0bd2c-8e5a-4d5b-8f0a-2f3c5f1f0a11",
            "eventID": "0d2f1b0e-7c1f-4e7f-9a53-1c6a6c1a2b3c",
            "readOnly": false,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": ACCOUNT,
            "eventCategory": "Management",
            "sessionCredentialFromConsole": "true"
        }
    })
}

/// The Regions of the `aws` partition, those open by default first.
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
