//! `trailseal plan` against the fake AWS.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use fake_aws::{FakeAws, Fault, IdentityPolicy, World};
use serde_json::{Value, json};
use support::{ACCOUNT, code_and_text, command, error, file, healthy, one_trail, run, three_trails, with_credentials};

fn plan(aws: &FakeAws, arguments: &[&str]) -> Output {
    run(aws, &[&["plan"], arguments].concat())
}

#[test]
fn the_plan_of_an_account_names_every_trail() {
    let aws = FakeAws::start(three_trails());
    let before = aws.snapshot();
    let (code, text) = code_and_text(&plan(&aws, &[]));
    assert_eq!(code, 2, "{text}");
    assert_eq!(aws.snapshot(), before, "nothing changed");
    insta::assert_snapshot!(text);
    let operations: BTreeSet<String> = aws.names().into_iter().collect();
    let writes = ["Create", "Update", "Put", "Enable", "Start", "Cancel", "Publish"];
    let is_write = |name: &&String| writes.iter().any(|verb| name.contains(&format!(":{verb}")));
    assert_eq!(operations.iter().find(is_write), None);
}

#[test]
fn a_compliant_account_exits_with_zero() {
    let aws = FakeAws::start(healthy());
    let expected = "Trail: arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit: compliant\n\n1 trail: 1 compliant. Nothing was changed.\n";
    assert_eq!(code_and_text(&plan(&aws, &[])), (0, expected.to_owned()));
    let (code, text) = code_and_text(&plan(&FakeAws::start(World::new(ACCOUNT)), &[]));
    assert_eq!((code, text.lines().last()), (0, Some("No trails were found.")), "{text}");
}

#[test]
fn json_is_the_answer_of_a_dry_run() {
    let aws = FakeAws::start(three_trails());
    let output = plan(&aws, &["--format", "json"]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(2), 0));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["mode"], "dry-run");
    assert_eq!(answer["trigger"]["kind"], "sweep");
    assert_eq!(answer["summary"], json!({ "compliant": 1, "planned": 2 }));
}

#[test]
fn trails_are_selected_by_name_and_by_arn() {
    let aws = FakeAws::start(three_trails());
    let app = "arn:aws:cloudtrail:us-east-1:123456789012:trail/app";
    let output = plan(&aws, &["--trail", "security", "--trail", app, "--format", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let trails: Vec<&str> =
        answer["trails"].as_array().unwrap().iter().map(|it| it["trail_arn"].as_str().unwrap()).collect();
    assert_eq!(trails, ["arn:aws:cloudtrail:eu-west-1:123456789012:trail/security", app]);
    assert!(!aws.names().iter().any(|name| name == "cloudtrail:ListTrails"));
    for command in ["plan", "apply"] {
        let text = error(&run(&aws, &[command, "--trail", "audti"]));
        assert!(
            text.starts_with("error: trail `arn:aws:cloudtrail:eu-west-1:123456789012:trail/audti` does not exist\n")
        );
    }
    let text = error(&plan(&aws, &["--trail", "a trail"]));
    assert!(text.starts_with("error: invalid --trail: `a trail` is not a trail name"), "{text}");
}

#[test]
fn settings_come_from_a_file_with_any_line_ending() {
    let aws = FakeAws::start(three_trails());
    let file = file(
        "a file.env",
        "\u{feff}# settings\r\n\r\nTRAILSEAL_MODE=enforce\r\nTRAILSEAL_KEY_ALIAS = \"alias/own\"\r\nexport TRAILSEAL_LOG_READERS='account'\r\n",
    );
    let (code, text) = code_and_text(&plan(&aws, &["--config", &file]));
    assert_eq!(code, 2);
    assert!(text.contains("can read the bucket can also decrypt"), "{text}");
    assert!(text.contains("create-alias: `alias/own`") && text.ends_with("Nothing was changed.\n"), "{text}");
}

#[test]
fn a_malformed_settings_file_is_one_clear_error() {
    let aws = FakeAws::start(healthy());
    for (text, part) in [
        ("TRAILSEAL_KEY_ALIAS", "line 1 of the settings file"),
        ("\nTRAILSEAL_KEYALIAS=alias/x", "has an unknown setting: `TRAILSEAL_KEYALIAS`"),
        ("TRAILSEAL_KEY_ALIAS=alias/a\nTRAILSEAL_KEY_ALIAS=alias/b", "line 2 of the settings file"),
        ("TRAILSEAL_KEY_ALIAS=alias/aws/s3", "`KeyAlias` (`TRAILSEAL_KEY_ALIAS`): `alias/aws/s3`"),
    ] {
        let file = file("malformed.env", text);
        let error = error(&plan(&aws, &["--config", &file]));
        assert!(error.contains(part) && error.contains("\n  hint: "), "{error}");
    }
    let error = error(&plan(&aws, &["--config", "/no/such file"]));
    assert!(error.starts_with("error: cannot read the settings file `/no/such file`: "), "{error}");
    assert_eq!(aws.names(), Vec::<String>::new());
}

#[test]
fn missing_credentials_and_regions_are_one_clear_error() {
    let text = error(&command(&["plan", "--region", "eu-west-1"]).output().unwrap());
    assert!(text.starts_with("error: no AWS credentials were found\n  hint: set AWS_PROFILE"), "{text}");
    let text = error(&command(&["plan"]).output().unwrap());
    assert_eq!(text, "error: no AWS Region is configured\n  hint: specify --region, or set AWS_REGION\n");
    let text = error(&command(&["plan", "--region", "Frankfurt"]).output().unwrap());
    assert!(text.contains("invalid value 'Frankfurt' for '--region <REGION>'"), "{text}");
}

#[test]
fn an_endpoint_that_is_no_url_is_one_clear_error() {
    for (name, url) in [("AWS_ENDPOINT_URL", ""), ("AWS_ENDPOINT_URL_STS", "http://"), ("AWS_ENDPOINT_URL", "a b")] {
        let text = error(&command(&["plan", "--region", "eu-west-1"]).env(name, url).output().unwrap());
        assert!(text.starts_with(&format!("error: {name} is not an HTTP or HTTPS URL: `{url}`\n  hint: ")), "{text}");
    }
    let aws = FakeAws::start(healthy());
    let text =
        error(&with_credentials(&aws, &["plan"]).env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").output().unwrap());
    assert!(text.contains("Connection refused") && text.contains("  hint: check the network and the Region"), "{text}");
}

/// A home folder with a profile of static credentials, and one whose session has expired.
fn home() -> String {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("home");
    let cache = home.join(".aws/sso/cache");
    std::fs::create_dir_all(&cache).unwrap();
    let config = "[profile keys]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = x\nregion = eu-west-1\n\
        [profile sso]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Audit\nregion = eu-west-1\n\
        [sso-session corp]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\n";
    std::fs::write(home.join(".aws/config"), config).unwrap();
    let token = json!({ "accessToken": "x", "expiresAt": "2020-01-01T00:00:00Z", "region": "eu-west-1",
        "startUrl": "https://corp.awsapps.com/start" });
    // The name is the SHA-1 of the session's.
    std::fs::write(cache.join("ee0bfd2552fbd840c02cc48b6e823320543c450f.json"), token.to_string()).unwrap();
    home.to_str().unwrap().to_owned()
}

#[test]
fn a_profile_that_is_named_precedes_the_environment() {
    let aws = FakeAws::start(healthy());
    let run = |profile: &str| {
        let mut command = with_credentials(&aws, &["plan", "--profile", profile]);
        command.env("HOME", home()).output().unwrap()
    };
    assert_eq!(run("keys").status.code(), Some(0));
    // The environment's credentials would be accepted.
    let text = error(&run("sso"));
    assert!(text.contains("the SSO token has expired") && text.contains("`aws sso login --profile sso`"), "{text}");
    let text = error(&run("absent"));
    assert!(text.starts_with("error: cannot load AWS credentials: profile `absent` was not defined"), "{text}");
    let mut without_region = command(&["plan", "--profile", "absent"]);
    let text = error(&without_region.env("HOME", home()).output().unwrap());
    assert!(text.starts_with("error: no AWS Region is configured for profile `absent`\n"), "{text}");
}

#[test]
fn rejected_credentials_are_one_clear_error() {
    let aws = FakeAws::start(healthy());
    aws.before(|call, _| {
        (call.operation == "GetCallerIdentity").then(|| Fault::Error {
            status: 403,
            code: "ExpiredToken".to_owned(),
            message: "The security token included in the request is expired".to_owned(),
        })
    });
    let text = error(&plan(&aws, &[]));
    let expected = "error: cannot determine the AWS account with sts:GetCallerIdentity: ExpiredToken: The security token included in the request is expired\n  hint: check the credentials with `aws sts get-caller-identity`; renew an expired session with `aws sso login` or `aws login`\n";
    assert_eq!(text, expected);
}

#[test]
fn a_denied_list_names_the_action_to_allow() {
    let aws = FakeAws::start(healthy());
    aws.before(|call, _| {
        (call.operation == "ListTrails").then(|| Fault::Error {
            status: 400,
            code: "AccessDeniedException".to_owned(),
            message: "User is not authorized to perform: cloudtrail:ListTrails".to_owned(),
        })
    });
    let text = error(&plan(&aws, &[]));
    assert!(
        text.starts_with("error: cannot list the account's trails in `eu-west-1`: AccessDeniedException"),
        "{text}"
    );
    assert!(text.contains("\n  hint: allow `cloudtrail:ListTrails`"), "{text}");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let aws = FakeAws::start(three_trails());
    let mut child = with_credentials(&aws, &["plan"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(2), vec![]));
}

#[test]
fn markdown_is_a_comment_for_a_pull_request() {
    let output = plan(&FakeAws::start(three_trails()), &["--format", "markdown"]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(2), 0));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn html_is_one_page_without_references() {
    let output = plan(&FakeAws::start(three_trails()), &["--format", "html"]);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(2), 0));
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(["src=", "href=", "url(", "<script"].iter().all(|reference| !page.contains(reference)));
    insta::assert_snapshot!(page);
    // The page on a phone, with everything unfolded. The title of the page around it is the width that it needs.
    let page = page.replace("<details>", "<details open>").replace('&', "&amp;").replace('"', "&quot;");
    let frame = format!(
        r#"<iframe width=390 height=5000 srcdoc="{page}" onload="document.title = contentDocument.documentElement.scrollWidth"></iframe>"#
    );
    let file = file("plan.html", &frame);
    let arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", &format!("file://{file}")];
    match Command::new("chromium").args(arguments).output() {
        Ok(shown) => {
            let dom = String::from_utf8(shown.stdout).unwrap();
            assert!(dom.contains("<title>390</title>"), "{dom}");
        }
        Err(_) => eprintln!("skipped: the page was not opened, because chromium is not installed"),
    }
}

#[test]
fn the_documented_policy_allows_every_read_of_a_plan() {
    let page = include_str!("../../../docs/permissions.md");
    let (reads, _) = page.split_once("## Reports").unwrap();
    let (table, policy) = reads.split_once("```json").unwrap();
    let policy: Value = serde_json::from_str(policy.split("```").next().unwrap()).unwrap();
    let allowed: BTreeSet<&str> =
        policy["Statement"]["Action"].as_array().unwrap().iter().map(|action| action.as_str().unwrap()).collect();
    let services = ["cloudtrail:", "kms:", "s3:", "tag:"];
    let listed = table.lines().filter(|line| line.starts_with("| `Read") || line.starts_with("| `Find"));
    let listed = listed.flat_map(|line| line.split('`')).filter(|text| services.iter().any(|it| text.starts_with(it)));
    assert_eq!(allowed, listed.collect(), "the function's role has the same reads");

    let world = World { caller_policies: Some(vec![IdentityPolicy::new("plan", policy)]), ..three_trails() };
    let unrestricted = plan(&FakeAws::start(three_trails()), &["--format", "json"]);
    let restricted = plan(&FakeAws::start(world), &["--format", "json"]);
    assert_eq!(code_and_text(&restricted), code_and_text(&unrestricted));
    let none = World { caller_policies: Some(vec![]), ..three_trails() };
    assert!(error(&plan(&FakeAws::start(none), &[])).contains("cloudtrail:ListTrails"));
}

/// The results of a plan as SARIF: their rules and levels.
fn sarif(aws: &FakeAws) -> Vec<(String, String)> {
    let output = plan(aws, &["--format", "sarif"]);
    assert_eq!(output.stderr.len(), 0);
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Its regular expressions for languages have a `]` too many.
    let schema = include_str!("sarif-2.1.0.schema.json").replace("{2}]?$", "{2}$");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let errors: Vec<String> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&log).map(|it| it.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let results = log["runs"][0]["results"].as_array().unwrap().iter();
    let results: Vec<(String, String)> = results.map(|it| (text(&it["ruleId"]), text(&it["level"]))).collect();
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().iter();
    let rules: BTreeSet<String> = rules.map(|rule| text(&rule["id"])).collect();
    assert_eq!(rules, results.iter().map(|(rule, _)| rule.clone()).collect());
    results
}

#[test]
fn sarif_has_a_result_for_each_finding_failure_and_warning() {
    let expected = |results: &[(&str, &str)]| -> Vec<(String, String)> {
        results.iter().map(|(rule, level)| ((*rule).to_owned(), (*level).to_owned())).collect()
    };
    let results = sarif(&FakeAws::start(three_trails()));
    assert_eq!(results, expected(&[("no-cmk", "warning"), ("key-disabled", "warning")]));
    let denied = World { denied: ["cloudtrail:GetTrailStatus".to_owned()].into(), ..one_trail() };
    assert_eq!(sarif(&FakeAws::start(denied)), expected(&[("failed", "error")]));
    assert_eq!(sarif(&FakeAws::start(World::new(ACCOUNT))), expected(&[("no-logging-trail", "warning")]));
}

#[test]
fn an_extended_policy_is_shown_as_a_diff() {
    // The policy of trailseal's key lacks the log reader.
    let aws = FakeAws::start(one_trail());
    assert_eq!(run(&aws, &["apply", "--yes"]).status.code(), Some(0));
    let reader = "arn:aws:iam::210987654321:role/siem";
    let output = with_credentials(&aws, &["plan"]).env("TRAILSEAL_LOG_READERS", reader).output().unwrap();
    let (code, text) = code_and_text(&output);
    assert_eq!(code, 2, "{text}");
    let (_, diff) = text.split_once("\nPolicy of key `").unwrap();
    assert!(diff.contains("--- policy\n+++ planned policy\n@@ "), "{diff}");
    assert!(diff.contains("\n+      \"Sid\": \"LogReadersDecrypt\"\n"), "{diff}");
    assert!(
        !diff.lines().any(|line| line.starts_with('-') && !line.starts_with("---") && line.trim_end() != "-    }"),
        "{diff}"
    );
}

/// A command at a terminal of 80 columns, by `script` of util-linux.
fn at_a_terminal(aws: &FakeAws, arguments: &str) -> Option<String> {
    let run = format!("stty cols 80; exec '{}' {arguments}", env!("CARGO_BIN_EXE_trailseal"));
    let mut command = Command::new("script");
    let command = command.args(["--quiet", "--return", "--command", &run, "/dev/null"]).env("TERM", "xterm");
    let variables = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_REGION", "eu-west-1")];
    let output = command.env("AWS_ENDPOINT_URL", aws.url()).envs(variables).stdin(Stdio::null()).output();
    // That of macOS has other options.
    let output = output.ok().filter(|_| cfg!(target_os = "linux"))?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_terminal_shows_the_progress_by_region() {
    let aws = FakeAws::start(three_trails());
    let Some(text) = at_a_terminal(&aws, "plan") else {
        return eprintln!("skipped: `script` of util-linux is not installed");
    };
    let (progress, plan) = text.split_once("\x1b[2KTrail audit would be encrypted").unwrap();
    assert!(progress.contains("of 2 Regions: waiting for eu-west-1, us-east-1"), "{progress:?}");
    assert!(!plan.contains("Regions:") && plan.contains("\x1b[33mFinding:"), "{plan:?}");
    let quiet = at_a_terminal(&aws, "plan --quiet").unwrap();
    assert!(quiet.starts_with("Trail audit would be encrypted"), "{quiet:?}");
}

#[test]
fn a_saved_plan_names_the_command_that_applies_it() {
    let aws = FakeAws::start(one_trail());
    let path = file("named plan.json", "");
    let (_, text) = code_and_text(&plan(&aws, &["--out", &path]));
    assert!(text.contains(&format!("The plan is saved in `{path}`. To apply it, run `trailseal apply`")), "{text}");
    let quiet = plan(&aws, &["--out", &path, "--quiet"]);
    assert_eq!(quiet.stderr.len(), 0);
}

#[test]
fn a_transient_error_says_to_run_the_command_again() {
    let fail = |operation: &'static str| {
        let aws = FakeAws::start(one_trail());
        aws.before(move |call, _| {
            (call.operation == operation).then(|| Fault::error(400, "ExpiredTokenException", "expired"))
        });
        aws
    };
    let text = error(&plan(&fail("ListTrails"), &[]));
    assert!(text.ends_with("\n  hint: run the command again\n"), "{text}");
    let (code, text) = code_and_text(&plan(&fail("GetTrailStatus"), &[]));
    assert!(code == 2 && text.contains("What to do next: run the command again; "), "{text}");
}

#[test]
fn verbose_shows_errors_that_are_retried() {
    let run = |arguments: &[&str]| {
        let aws = FakeAws::start(healthy());
        let mut failed = false;
        aws.before(move |call, _| {
            let first = call.operation == "GetTrailStatus" && !failed;
            failed |= first;
            first.then(Fault::throttled)
        });
        String::from_utf8(plan(&aws, arguments).stderr).unwrap()
    };
    assert!(run(&["--verbose"]).starts_with("retrying: cannot read the status of trail"));
    assert_eq!(run(&[]), "");
}
