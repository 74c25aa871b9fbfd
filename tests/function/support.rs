//! A scenario: a fake AWS and the function's process. Every answer is validated against the answer's JSON Schema.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use fake_aws::lambda::{Function, FunctionError, Invocation, Launch};
use fake_aws::{Call, FakeAws, Fault, Key, Trail, World};
use serde_json::{Value, json};

use crate::role;

pub const ACCOUNT: &str = "123456789012";
pub const ROLE: &str = "arn:aws:iam::123456789012:role/trailseal";
pub const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alerts";
pub const AUDIT: &str = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit";
pub const ALIAS: &str = "alias/trailseal";

/// The binary under test: `TRAILSEAL_BINARY`, or the one that cargo built.
pub fn binary() -> PathBuf {
    std::env::var_os("TRAILSEAL_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_trailseal-lambda").into(), PathBuf::from)
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

/// An account with an alert topic and one unencrypted trail, `audit`: home Region eu-west-1, bucket in
/// eu-central-1.
pub fn account() -> World {
    World::new(ACCOUNT)
        .bucket("audit-logs", "eu-central-1")
        .trail(Trail::new("audit", "eu-west-1", "audit-logs").multi_region())
        .topic("alerts", "eu-west-1")
}

/// The policy that trailseal writes if only the role is configured.
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

/// The current time, which the function compares with a key's creation date.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Adds a trailseal key behind the alias in that Region.
pub fn add_sealing_key(world: &mut World, region: &str) -> String {
    let key = Key { rotation_days: Some(365), ..Key::new(region) };
    let key = world.key(key.policy(&sealing_policy()).tag("managed-by", "trailseal"));
    world.alias(region, ALIAS, &key);
    key
}

/// The account, with its trail on a trailseal key behind the alias.
pub fn sealed_account() -> (World, String) {
    let mut world = account();
    let key = add_sealing_key(&mut world, "eu-central-1");
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key));
    (world, key)
}

pub struct Scenario {
    pub aws: FakeAws,
    pub function: Function,
}

/// A scenario in enforce mode with alerts. The caller has the policies that `template.yaml` gives the role.
pub struct ScenarioBuilder {
    aws: FakeAws,
    launch: Launch,
    function_arn: String,
    variables: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
}

impl ScenarioBuilder {
    fn new(world: World) -> Self {
        let aws = FakeAws::start(world);
        let launch = Function::launch(&binary()).env("AWS_ENDPOINT_URL", aws.url());
        Self { aws, launch, function_arn: String::new(), variables: BTreeMap::new(), parameters: BTreeMap::new() }
            .function_arn(role::FUNCTION)
            .env("TRAILSEAL_MODE", "enforce")
            .env("TRAILSEAL_ROLE_ARN", ROLE)
            .env("TRAILSEAL_ALERT_TOPIC_ARN", TOPIC)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets a template parameter that has no environment variable.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn dry_run(self) -> Self {
        self.env("TRAILSEAL_MODE", "dry-run")
    }

    pub fn function_arn(mut self, arn: &str) -> Self {
        arn.clone_into(&mut self.function_arn);
        self
    }

    pub fn start(self) -> Scenario {
        let policies = role::policies(&self.function_arn, &self.variables, &self.parameters);
        let mut world = self.aws.world();
        world.caller_policies = Some(policies);
        world.caller_function_arn = Some(self.function_arn.clone());
        drop(world);
        let launch = self.launch.function_arn(self.function_arn).envs(self.variables);
        Scenario { aws: self.aws, function: launch.start().unwrap() }
    }
}

/// Every scenario fails if the role lacked a permission, even if the function handled the denial.
impl Drop for Scenario {
    fn drop(&mut self) {
        let authorizations = self.aws.authorizations();
        let missing = role::missing(&authorizations);
        assert!(missing.is_empty() || std::thread::panicking(), "the role lacks {missing:?}");
    }
}

impl Scenario {
    pub fn builder(world: World) -> ScenarioBuilder {
        ScenarioBuilder::new(world)
    }

    pub fn enforce(world: World) -> Self {
        Self::builder(world).start()
    }

    /// Invokes the function and returns its answer, which is also its log line.
    pub fn invoke(&mut self, input: &Value) -> Value {
        let invocation = self.function.invoke(input.to_string().as_bytes());
        let answer = invocation.outcome.clone().unwrap_or_else(|error| panic!("{error}\n{:#?}", invocation.logs));
        check(&answer, &invocation);
        answer
    }

    /// Invokes the function with an event file.
    pub fn invoke_event(&mut self, name: &str) -> Value {
        self.invoke(&event(name))
    }

    /// Invokes the function with an event file and expects an error.
    pub fn expect_failure(&mut self, name: &str) -> (FunctionError, Invocation) {
        self.expect_failure_within(name, Duration::from_secs(60))
    }

    pub fn expect_failure_within(&mut self, name: &str, deadline: Duration) -> (FunctionError, Invocation) {
        let invocation = self.function.invoke_within(event(name).to_string().as_bytes(), deadline);
        match &invocation.outcome {
            Ok(answer) => panic!("it answered {answer:#}"),
            Err(error) => (error.clone(), invocation),
        }
    }

    /// The names of the calls since the last read of them.
    pub fn take_calls(&self) -> Vec<String> {
        let names = self.aws.names();
        self.aws.clear_calls();
        names
    }

    /// The current state of the trail `audit`.
    pub fn audit(&self) -> Trail {
        self.aws.world().trails[AUDIT].clone()
    }

    /// The alert, if exactly one was sent.
    pub fn only_alert(&self) -> fake_aws::Published {
        let world = self.aws.world();
        assert_eq!(world.published.len(), 1, "{:#?}", world.published);
        world.published[0].clone()
    }

    /// The same event again changes nothing and sends no alert.
    pub fn assert_converged(&mut self, name: &str) {
        let before = self.aws.snapshot();
        let answer = self.invoke_event(name);
        assert_eq!(answer["summary"], json!({ "compliant": 1 }), "{answer:#}");
        assert_eq!(answer["alerts"], json!({ "sent": 0, "failed": 0 }));
        assert_eq!(self.aws.snapshot(), before);
    }
}

/// The answers among the log lines.
pub fn logged_answers(invocation: &Invocation) -> Vec<Value> {
    let lines = invocation.logs.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("schema").is_some()).collect()
}

fn check(answer: &Value, invocation: &Invocation) {
    let problems: Vec<String> =
        SCHEMA.iter_errors(answer).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?}\n{answer:#}");
    let lines = logged_answers(invocation);
    assert_eq!(lines.len(), 1, "{:#?}", invocation.logs);
    let mut line = lines[0].clone();
    let failed =
        answer["summary"].get("failed").is_some() || answer["alerts"]["failed"] != 0 || !answer["error"].is_null();
    assert_eq!(line["level"], if failed { "ERROR" } else { "INFO" });
    line.as_object_mut().unwrap().remove("level");
    line.as_object_mut().unwrap().remove("requestId");
    assert_eq!(&line, answer);
    assert_request_id(invocation);
}

/// Each line of an invocation's log has the ID of its request.
pub fn assert_request_id(invocation: &Invocation) {
    for line in &invocation.logs {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["requestId"], invocation.request_id, "{line}");
    }
}

/// The first trail's last step of that name.
pub fn step<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let steps = answer["trails"][0]["steps"].as_array().unwrap();
    steps.iter().rev().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no step {name} in {answer:#}"))
}

/// The first trail's steps, as `name status`.
pub fn steps(answer: &Value) -> Vec<String> {
    let steps = answer["trails"][0]["steps"].as_array().unwrap();
    let text = |step: &Value, field: &str| step[field].as_str().unwrap().to_owned();
    steps.iter().map(|it| format!("{} {}", text(it, "step"), text(it, "status"))).collect()
}

/// The ids of the first trail's findings.
pub fn findings(answer: &Value) -> Vec<&str> {
    answer["trails"][0]["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap()).collect()
}

/// The names of the calls that write.
pub fn writes(calls: &[Call]) -> Vec<String> {
    let is_read = |call: &Call| ["Get", "List", "Describe", "Head"].iter().any(|read| call.operation.starts_with(read));
    calls.iter().filter(|call| !is_read(call)).map(Call::name).collect()
}

/// Injects `fault` into the first `times` calls of an operation.
pub fn inject(scenario: &Scenario, operation: &'static str, mut times: usize, fault: Fault) {
    scenario.aws.before(move |call, _| {
        if call.operation != operation || times == 0 {
            return None;
        }
        times -= 1;
        Some(fault.clone())
    });
}

/// How often an operation was called.
pub fn count_calls(scenario: &Scenario, operation: &str) -> usize {
    scenario.aws.calls().iter().filter(|call| call.operation == operation).count()
}
