//! A scene: an AWS, and the real function's process in it. Every answer is held against its schema.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use fake_aws::lambda::{Function, FunctionError, Invocation, Launch};
use fake_aws::{Call, FakeAws, Key, Trail, World};
use serde_json::{Value, json};

use crate::role;

pub const ACCOUNT: &str = "123456789012";
pub const ROLE: &str = "arn:aws:iam::123456789012:role/trailseal";
pub const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alerts";
pub const AUDIT: &str = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
pub const ALIAS: &str = "alias/trailseal";

/// The binary under test: the release binary that `make test` names, else the one that cargo built.
pub fn binary() -> PathBuf {
    std::env::var_os("TRAILSEAL_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_trailseal").into(), PathBuf::from)
}

pub fn event(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("events").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn answer_schema() -> Value {
    let generator = schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator();
    json!(generator.into_root_schema_for::<trailseal_core::report::Answer>())
}

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| jsonschema::validator_for(&answer_schema()).unwrap());

/// An account with one unencrypted trail, `audit`, whose home is eu-west-1 and whose bucket is in
/// eu-central-1, and a topic for alerts.
pub fn account() -> World {
    World::new(ACCOUNT)
        .bucket("audit-logs", "eu-central-1")
        .trail(Trail::new("audit", "eu-west-1", "audit-logs").multi_region())
        .topic("alerts", "eu-west-1")
}

/// The policy that trailseal writes when nothing but the role is configured.
pub fn sealing_policy() -> String {
    let trails = format!("arn:aws:cloudtrail:*:{ACCOUNT}:trail/*");
    let cloudtrail = json!({ "Service": "cloudtrail.amazonaws.com" });
    let by_trails = json!({ "ArnLike": { "aws:SourceArn": trails } });
    json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Sid": "AccountAdministersThroughIam", "Effect": "Allow", "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
              "Action": "kms:*", "Resource": "*" },
            { "Sid": "TrailsealFinishesCreation", "Effect": "Allow", "Principal": { "AWS": ROLE },
              "Action": ["kms:PutKeyPolicy", "kms:EnableKeyRotation", "kms:CreateAlias"], "Resource": "*" },
            { "Sid": "CloudTrailEncrypts", "Effect": "Allow", "Principal": cloudtrail, "Action": "kms:GenerateDataKey*", "Resource": "*",
              "Condition": { "ArnLike": { "aws:SourceArn": trails }, "StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": trails } } },
            { "Sid": "CloudTrailDescribes", "Effect": "Allow", "Principal": cloudtrail, "Action": "kms:DescribeKey", "Resource": "*", "Condition": by_trails },
            { "Sid": "CloudTrailDecryptsForBucketKeys", "Effect": "Allow", "Principal": cloudtrail, "Action": "kms:Decrypt", "Resource": "*", "Condition": by_trails },
        ]
    })
    .to_string()
}

/// The time of this machine, by which the function knows a young key.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Adds a sealing key in that Region, behind the alias.
pub fn with_sealing_key(world: &mut World, region: &str) -> String {
    let key = world.key(Key::new(region).policy(&sealing_policy()).tag("managed-by", "trailseal"));
    world.alias(region, ALIAS, &key);
    key
}

/// The account with the trail sealed by a key of ours.
pub fn sealed() -> (World, String) {
    let mut world = account();
    let key = with_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key));
    (world, key)
}

pub struct Scene {
    pub aws: FakeAws,
    pub function: Function,
}

/// A scene about to start: enforcing, alerting, with whatever variables are set on top, and with the rights
/// of the deployed function's role.
pub struct Setting {
    aws: FakeAws,
    launch: Launch,
    function_arn: String,
    variables: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
}

impl Setting {
    pub fn new(world: World) -> Self {
        let aws = FakeAws::start(world);
        let launch = Function::launch(&binary()).env("AWS_ENDPOINT_URL", aws.url());
        Self { aws, launch, function_arn: String::new(), variables: BTreeMap::new(), parameters: BTreeMap::new() }
            .function_arn(role::FUNCTION)
            .with("TRAILSEAL_MODE", "enforce")
            .with("TRAILSEAL_ROLE_ARN", ROLE)
            .with("TRAILSEAL_ALERT_TOPIC_ARN", TOPIC)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a parameter of the template that is no variable of the function's.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn dry_run(self) -> Self {
        self.with("TRAILSEAL_MODE", "dry-run")
    }

    pub fn function_arn(mut self, arn: &str) -> Self {
        arn.clone_into(&mut self.function_arn);
        self
    }

    pub fn start(self) -> Scene {
        let policies = role::policies(&self.function_arn, &self.variables, &self.parameters);
        let mut world = self.aws.world();
        world.caller_policies = Some(policies);
        world.caller_function_arn = Some(self.function_arn.clone());
        drop(world);
        let launch = self.launch.function_arn(self.function_arn).envs(self.variables);
        Scene { aws: self.aws, function: launch.start().unwrap() }
    }
}

/// No scene ends in which the role was refused anything, even if the function made do without.
impl Drop for Scene {
    fn drop(&mut self) {
        let asked = self.aws.authorizations();
        let missing = role::missing(&asked);
        assert!(missing.is_empty() || std::thread::panicking(), "the role lacks {missing:?}");
    }
}

impl Scene {
    pub fn enforcing(world: World) -> Self {
        Setting::new(world).start()
    }

    /// Hands the function an input and returns its answer, which also is its log line.
    pub fn answer(&mut self, input: &Value) -> Value {
        let invocation = self.function.invoke(input.to_string().as_bytes());
        let answer = invocation.outcome.clone().unwrap_or_else(|error| panic!("{error}\n{:#?}", invocation.logs));
        check(&answer, &invocation);
        answer
    }

    /// The same for an event file.
    pub fn event(&mut self, name: &str) -> Value {
        self.answer(&event(name))
    }

    /// Hands the function an event that it fails on.
    pub fn failure(&mut self, name: &str) -> (FunctionError, Invocation) {
        self.failure_within(name, Duration::from_secs(60))
    }

    pub fn failure_within(&mut self, name: &str, deadline: Duration) -> (FunctionError, Invocation) {
        let invocation = self.function.invoke_within(event(name).to_string().as_bytes(), deadline);
        match &invocation.outcome {
            Ok(answer) => panic!("it answered {answer:#}"),
            Err(error) => (error.clone(), invocation),
        }
    }

    /// The calls since the last look, by name.
    pub fn calls(&self) -> Vec<String> {
        let names = self.aws.names();
        self.aws.clear_calls();
        names
    }

    /// The trail `audit` as it is.
    pub fn audit(&self) -> Trail {
        self.aws.world().trails[AUDIT].clone()
    }

    /// The only alert there is.
    pub fn only_alert(&self) -> fake_aws::Published {
        let world = self.aws.world();
        assert_eq!(world.published.len(), 1, "{:#?}", world.published);
        world.published[0].clone()
    }

    /// How a scenario that mends ends: the same event again changes nothing and says nothing.
    pub fn again_nothing_happens(&mut self, name: &str) {
        let before = self.aws.snapshot();
        let answer = self.event(name);
        assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
        assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
        assert_eq!(self.aws.snapshot(), before);
    }
}

/// The answer as the log line has it, without its level.
pub fn logged(invocation: &Invocation) -> Vec<Value> {
    let lines = invocation.logs.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("schema").is_some()).collect()
}

fn check(answer: &Value, invocation: &Invocation) {
    let problems: Vec<String> =
        SCHEMA.iter_errors(answer).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?}\n{answer:#}");
    let lines = logged(invocation);
    assert_eq!(lines.len(), 1, "{:#?}", invocation.logs);
    let mut line = lines[0].clone();
    let failed =
        answer["summary"].get("failed").is_some() || answer["alerts"]["failed"] != 0 || !answer["error"].is_null();
    assert_eq!(line["level"], if failed { "ERROR" } else { "INFO" });
    line.as_object_mut().unwrap().remove("level");
    assert_eq!(&line, answer);
}

/// The step of that name under the first trail.
pub fn step<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let steps = answer["trails"][0]["steps"].as_array().unwrap();
    steps.iter().rev().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no step {name} in {answer:#}"))
}

/// Every step under the first trail, as `name status`.
pub fn steps(answer: &Value) -> Vec<String> {
    let steps = answer["trails"][0]["steps"].as_array().unwrap();
    let text = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
    steps.iter().map(|it| format!("{} {}", text(it, "step"), text(it, "status"))).collect()
}

/// Every finding of the first trail, by id.
pub fn findings(answer: &Value) -> Vec<&str> {
    answer["trails"][0]["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap()).collect()
}

/// The calls that write, by name.
pub fn writes(calls: &[Call]) -> Vec<String> {
    let is_read = |call: &Call| ["Get", "List", "Describe", "Head"].iter().any(|read| call.operation.starts_with(read));
    calls.iter().filter(|call| !is_read(call)).map(Call::name).collect()
}

/// How often an operation was called.
pub fn count(scene: &Scene, operation: &str) -> usize {
    scene.aws.calls().iter().filter(|call| call.operation == operation).count()
}
