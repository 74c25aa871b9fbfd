//! `trailseal apply` against the fake AWS.
#![expect(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use fake_aws::{Call, FakeAws, Fault, Trail, World};
use serde_json::Value;
use support::{code_and_text, command, error, file, healthy, one_trail, run, three_trails, with_credentials};

fn saved_plan(aws: &FakeAws, name: &str) -> String {
    let path = file(name, "");
    assert_eq!(run(aws, &["plan", "--out", &path]).status.code(), Some(2));
    path
}

/// The error of a command that shows a plan first.
fn refusal(output: &Output) -> String {
    let (code, text) = code_and_text(output);
    assert_eq!(code, 1, "{text}");
    text.split_once("error: ").unwrap().1.to_owned()
}

fn writes(aws: &FakeAws) -> Vec<String> {
    let verbs = ["Create", "Update", "Put", "Enable", "Start", "Cancel", "Publish"];
    let names = aws.names().into_iter();
    names.filter(|name| verbs.iter().any(|verb| name.contains(&format!(":{verb}")))).collect()
}

#[test]
fn a_plan_is_shown_applied_step_by_step_and_verified() {
    let aws = FakeAws::start(one_trail());
    let (code, text) = code_and_text(&run(&aws, &["apply", "--yes"]));
    assert_eq!(code, 0, "{text}");
    insta::assert_snapshot!(text);
    let steps = ["kms:CreateKey", "kms:EnableKeyRotation", "kms:CreateAlias", "cloudtrail:UpdateTrail"];
    assert_eq!(writes(&aws), steps);
    assert_eq!(run(&aws, &["plan"]).status.code(), Some(0), "nothing remains");
}

#[test]
fn several_trails_are_fixed_in_one_run() {
    let aws = FakeAws::start(three_trails());
    let output = run(&aws, &["apply", "--yes", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((answer["mode"].as_str(), answer["summary"]["remediated"].as_u64()), (Some("enforce"), Some(2)));
    assert_eq!(run(&aws, &["plan"]).status.code(), Some(0), "nothing remains");
}

#[test]
fn a_compliant_account_is_not_asked_about() {
    let aws = FakeAws::start(healthy());
    let (code, text) = code_and_text(&run(&aws, &["apply"]));
    assert_eq!((code, text.lines().last()), (0, Some("1 trail: 1 compliant. Nothing was changed.")), "{text}");
}

#[test]
fn without_a_terminal_nothing_is_applied_unless_told() {
    let aws = FakeAws::start(one_trail());
    let before = aws.snapshot();
    let text = refusal(&run(&aws, &["apply"]));
    assert_eq!(
        text,
        "cannot ask for confirmation: standard input is not a terminal\n  hint: review the plan, then specify --yes\n"
    );
    assert_eq!(aws.snapshot(), before, "nothing changed");
}

#[test]
fn a_saved_plan_is_applied_as_it_was_made() {
    let aws = FakeAws::start(three_trails());
    let path = file("selected plan.json", "");
    let arguments = ["plan", "--trail", "audit", "--out", &path];
    let planned = with_credentials(&aws, &arguments).env("TRAILSEAL_KEY_ALIAS", "alias/own").output().unwrap();
    assert_eq!(planned.status.code(), Some(2));
    let (code, text) = code_and_text(&run(&aws, &["apply", &path, "--yes"]));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("create-alias (done): `alias/own`") && text.contains("1 trail: 1 remediated."), "{text}");
    let text = refusal(&run(&aws, &["apply", &path, "--yes"]));
    assert!(text.contains("plan was made: trail `arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit`"), "{text}");
}

#[test]
fn a_saved_plan_is_refused_after_a_change() {
    type Change = fn(&mut World);
    let cases: [(&str, Change, &str); 4] = [
        (
            "bucket.json",
            |world| world.buckets.get_mut("audit-logs").unwrap().policy = Some(POLICY.to_owned()),
            "the policy or the replication of bucket `audit-logs`",
        ),
        (
            "trail.json",
            |world| world.trails.values_mut().for_each(|trail| trail.log_file_validation = !trail.log_file_validation),
            "trail `arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit` or its key",
        ),
        (
            "new.json",
            |world| drop(world.add_trail(Trail::new("new", "us-east-1", "app-logs"))),
            "the keys in `us-east-1`",
        ),
        (
            "gone.json",
            |world| world.trails.clear(),
            "trail `arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit` or its key",
        ),
    ];
    for (name, change, what) in cases {
        let aws = FakeAws::start(one_trail());
        let path = saved_plan(&aws, name);
        change(&mut aws.world());
        aws.clear_calls();
        let text = refusal(&run(&aws, &["apply", &path, "--yes"]));
        assert!(
            text.starts_with("nothing was changed, because the following changed after the plan was made: "),
            "{text}"
        );
        assert!(text.contains(what) && text.ends_with("\n  hint: create and review a new plan\n"), "{text}");
        assert_eq!(writes(&aws), Vec::<String>::new(), "{name}");
    }
}

/// Lets CloudTrail write, in one statement.
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},
    "Action":["s3:GetBucketAcl","s3:PutObject"],"Resource":["arn:aws:s3:::audit-logs","arn:aws:s3:::audit-logs/*"]}]}"#;

#[test]
fn a_saved_plan_is_refused_if_its_settings_were_edited() {
    let aws = FakeAws::start(one_trail());
    let plan = std::fs::read_to_string(saved_plan(&aws, "settings.json")).unwrap();
    let reader = r#""settings": { "TRAILSEAL_LOG_READERS": "210987654321" }"#;
    let path = file("edited settings.json", &plan.replace(r#""settings": {}"#, reader));
    aws.clear_calls();
    let text = refusal(&run(&aws, &["apply", &path, "--yes"]));
    assert!(text.contains("changed after the plan was made: the settings"), "{text}");
    assert_eq!(writes(&aws), Vec::<String>::new());
}

#[test]
fn an_edited_plan_cannot_imitate_other_messages() {
    let aws = FakeAws::start(one_trail());
    let plan = std::fs::read_to_string(saved_plan(&aws, "hostile.json")).unwrap();
    let evil = r"1\u001b[31m\nerror: none";
    let version = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");
    for (part, name) in [(version, "trailseal"), ("\"123456789012\"", "account"), ("\"eu-west-1\"", "region")] {
        let path = file("hostile.json", &plan.replacen(part, &format!("\"{evil}\""), 1));
        let text = error(&run(&aws, &["apply", &path, "--yes", "--color", "always"]));
        assert!(text.lines().count() == 2 && !text.contains("\u{1b}[31m\n"), "{name}: {text}");
    }
}

#[test]
fn a_change_after_the_plan_was_shown_stops_the_run() {
    let aws = FakeAws::start(one_trail());
    // The second time that the bucket policy is read, it is another one.
    let mut reads = 0;
    aws.before(move |call, world| {
        if call.operation == "GetBucketPolicy" {
            reads += 1;
            if reads == 2 {
                world.buckets.get_mut("audit-logs").unwrap().policy = Some(POLICY.to_owned());
            }
        }
        None
    });
    let text = refusal(&run(&aws, &["apply", "--yes"]));
    assert!(text.contains("the policy or the replication of bucket `audit-logs`"), "{text}");
    assert_eq!(writes(&aws), Vec::<String>::new());
}

#[test]
fn a_file_that_is_no_plan_is_one_clear_error() {
    let aws = FakeAws::start(one_trail());
    let plan = std::fs::read_to_string(saved_plan(&aws, "edited.json")).unwrap();
    aws.clear_calls();
    let older = plan.replacen(concat!("\"", env!("CARGO_PKG_VERSION"), "\""), "\"0.0.1\"", 1);
    for (text, message) in [
        ("", "` is not a trailseal plan: "),
        ("{}", "` is not a trailseal plan: "),
        (&older, "was saved by trailseal 0.0.1; this is trailseal "),
    ] {
        let path = file("no plan.json", text);
        let error = error(&run(&aws, &["apply", &path, "--yes"]));
        assert!(error.contains(message) && error.contains("\n  hint: "), "{error}");
    }
    let text = error(&run(&aws, &["apply", "/no/such file", "--yes"]));
    assert!(text.starts_with("error: cannot read the plan `/no/such file`: "), "{text}");
    assert_eq!(aws.names(), Vec::<String>::new());
    let path = file("another account.json", &plan.replace("\"123456789012\"", "\"210987654321\""));
    let text = error(&run(&aws, &["apply", &path, "--yes"]));
    assert!(text.contains("is for account 210987654321, and these credentials are for account 123456789012"), "{text}");
    let text = error(&command(&["apply", &path, "--trail", "audit"]).output().unwrap());
    assert!(text.contains("cannot be used with"), "{text}");
}

#[test]
fn a_step_that_fails_exits_with_three() {
    let aws = FakeAws::start(one_trail());
    aws.before(|call, _| {
        (call.operation == "UpdateTrail").then(|| Fault::Error {
            status: 400,
            code: "InsufficientS3BucketPolicyException".to_owned(),
            message: "denied".to_owned(),
        })
    });
    let (code, text) = code_and_text(&run(&aws, &["apply", "--yes"]));
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("- create-key (done): ") && text.contains("- update-trail (failed): "), "{text}");
}

#[test]
fn an_interrupted_run_says_what_was_done_and_is_finished_later() {
    let aws = FakeAws::start(one_trail());
    aws.before(|call: &Call, _| (call.operation == "UpdateTrail").then_some(Fault::Hang(Duration::from_secs(20))));
    let mut command = with_credentials(&aws, &["apply", "--yes"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !aws.names().iter().any(|name| name == "cloudtrail:UpdateTrail") {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let text = refusal(&child.wait_with_output().unwrap());
    assert!(text.starts_with("interrupted; the steps above that are `done` took effect"), "{text}");
    aws.clear_hooks();
    let (code, text) = code_and_text(&run(&aws, &["apply", "--yes"]));
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("create-key (done)"), "{text}");
}

#[test]
fn an_interrupted_verification_keeps_the_result() {
    let aws = FakeAws::start(one_trail());
    let mut updated = false;
    aws.before(move |call: &Call, _| {
        updated |= call.operation == "UpdateTrail";
        (updated && call.operation == "ListTrails").then_some(Fault::Hang(Duration::from_secs(20)))
    });
    let mut command = with_credentials(&aws, &["apply", "--yes"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while aws.names().iter().filter(|name| *name == "cloudtrail:ListTrails").count() < 3 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let (code, text) = code_and_text(&child.wait_with_output().unwrap());
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("1 trail: 1 remediated.") && text.contains("not verified: interrupted"), "{text}");
}

/// Changes the world once, before the first call of an operation after `UpdateTrail`.
fn once_after_the_update(aws: &FakeAws, operation: &'static str, change: fn(&mut World)) {
    let (mut updated, mut done) = (false, false);
    aws.before(move |call, world| {
        if updated && !done && call.operation == operation {
            done = true;
            change(world);
        }
        updated |= call.operation == "UpdateTrail";
        None
    });
}

#[test]
fn only_trails_that_are_found_again_are_verified() {
    for (name, change, code, message) in [
        (
            "deleted",
            (|world| world.trails.clear()) as fn(&mut World),
            3,
            "The result could not be verified, because these trails were not found again: arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit. ",
        ),
        (
            "stopped",
            |world| world.trails.values_mut().for_each(|trail| trail.logging = false),
            2,
            "Verified: only findings remain that trailseal does not fix.",
        ),
        (
            "removed the key",
            |world| world.trails.values_mut().for_each(|trail| trail.kms_key_id = None),
            3,
            "These trails are not compliant yet: arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit. ",
        ),
    ] {
        let aws = FakeAws::start(one_trail());
        once_after_the_update(&aws, "ListTrails", change);
        let (found, text) = code_and_text(&run(&aws, &["apply", "--yes"]));
        assert!(found == code && text.contains(message), "{name}: {found} {text}");
    }
}

#[test]
fn a_change_during_the_run_does_not_extend_it() {
    type Change = fn(&mut World);
    let cases: [(&str, Change); 2] = [
        ("another bucket, in another Region", |world| {
            "app-logs".clone_into(&mut world.trails.values_mut().next().unwrap().bucket);
        }),
        ("another prefix, and other readers", |world| {
            world.trails.values_mut().next().unwrap().prefix = Some("audit".to_owned());
            world.buckets.get_mut("audit-logs").unwrap().policy = Some(POLICY.to_owned());
        }),
    ];
    for (name, change) in cases {
        let aws = FakeAws::start(one_trail());
        let mut done = false;
        aws.before(move |call, world| {
            if call.operation == "CreateAlias" && !done {
                done = true;
                change(world);
            }
            None
        });
        let (code, text) = code_and_text(&run(&aws, &["apply", "--yes"]));
        assert_eq!(code, 3, "{name}: {text}");
        assert!(text.contains("create-alias (done)") && !text.contains("update-trail (done)"), "{name}: {text}");
        assert!(text.contains("1 trail: 1 failed."), "{name}: {text}");
        assert_eq!(writes(&aws), ["kms:CreateKey", "kms:EnableKeyRotation", "kms:CreateAlias"], "{name}");
    }
}

#[test]
fn quiet_hides_the_steps_and_verbose_shows_the_log() {
    let aws = FakeAws::start(one_trail());
    let (code, text) = code_and_text(&run(&aws, &["apply", "--yes", "--quiet"]));
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("Verified") && !text.contains("create-key (done), eu-central-1"), "{text}");
    let aws = FakeAws::start(one_trail());
    // A change that contradicts the plan.
    aws.before(|call, world| {
        if call.operation == "CreateAlias" {
            world.trails.values_mut().next().unwrap().prefix = Some("audit".to_owned());
        }
        None
    });
    let (_, text) = code_and_text(&run(&aws, &["apply", "--yes", "--verbose"]));
    assert!(text.contains("create-key (done), eu-central-1") && text.contains("starting another pass"), "{text}");
}

#[test]
fn colors_are_for_terminals_unless_they_are_wanted() {
    let aws = FakeAws::start(one_trail());
    let plain = code_and_text(&run(&aws, &["plan"])).1;
    let colored = code_and_text(&run(&aws, &["plan", "--color", "always"])).1;
    let never = code_and_text(&run(&aws, &["plan", "--color", "never"])).1;
    assert!(!plain.contains('\x1b') && plain == never);
    assert!(colored.contains("\x1b[1m\x1b[33mFinding:\x1b[0m no-cmk"), "{colored:?}");
}
