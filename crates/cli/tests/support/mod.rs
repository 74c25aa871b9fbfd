//! What the tests of commands that call AWS share.
#![expect(clippy::unwrap_used, reason = "tests may")]

use std::io::Write as _;
use std::process::{Command, Output};

use fake_aws::{FakeAws, Key, KeyState, Trail, World};

pub(crate) const ACCOUNT: &str = "123456789012";

/// An account whose administrator runs the command.
pub(crate) fn account() -> World {
    let world = World::new(ACCOUNT).bucket("audit-logs", "eu-central-1").bucket("app-logs", "us-east-1");
    World { caller_iam_allows_put_key_policy: true, ..world }
}

/// An account with one unencrypted trail.
pub(crate) fn one_trail() -> World {
    let mut world = account();
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").multi_region());
    world
}

/// An unencrypted trail, one whose key is disabled, and a healthy one.
pub(crate) fn three_trails() -> World {
    let mut world = account();
    let policy = world.cloudtrail_key_policy();
    let disabled = world.key(Key::new("us-east-1").policy(&policy).state(KeyState::Disabled));
    let healthy = world.key(Key::new("eu-central-1").policy(&policy));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").multi_region());
    world.add_trail(Trail::new("app", "us-east-1", "app-logs").encrypted_with(&disabled));
    world.add_trail(Trail::new("security", "eu-west-1", "audit-logs").encrypted_with(&healthy));
    world
}

pub(crate) fn healthy() -> World {
    let mut world = account();
    let policy = world.cloudtrail_key_policy();
    let key = world.key(Key::new("eu-central-1").policy(&policy));
    world.add_trail(Trail::new("audit", "eu-west-1", "audit-logs").encrypted_with(&key));
    world
}

/// The command without any variable of the environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trailseal"));
    command.args(arguments).env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

pub(crate) fn with_credentials(aws: &FakeAws, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    let variables = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_REGION", "eu-west-1")];
    command.env("AWS_ENDPOINT_URL", aws.url()).envs(variables);
    command
}

pub(crate) fn run(aws: &FakeAws, arguments: &[&str]) -> Output {
    with_credentials(aws, arguments).output().unwrap()
}

pub(crate) fn code_and_text(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// The error of a command that prints nothing else.
pub(crate) fn error(output: &Output) -> String {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The path of a file of the tests, written anew.
pub(crate) fn file(name: &str, text: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path.to_str().unwrap().to_owned()
}
