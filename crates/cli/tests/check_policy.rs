//! `trailseal check-policy` on the files in `policies`. `INSTA_UPDATE=always cargo test -p trailseal-cli` writes what changed.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const ACCOUNT: [&str; 2] = ["--account", "111122223333"];

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trailseal"));
    command.arg("check-policy").args(arguments).current_dir(policies()).env_clear();
    command
}

fn check(arguments: &[&str]) -> Output {
    command(&[arguments, &ACCOUNT].concat()).output().unwrap()
}

/// The output, the errors and the exit code.
fn whole(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    format!("{out}{err}exit code {}\n", output.status.code().unwrap())
}

fn json_of(arguments: &[&str]) -> Value {
    serde_json::from_slice(&check(&[arguments, &["--format", "json"]].concat()).stdout).unwrap()
}

/// The IDs of the results above the level `info`.
fn ids(arguments: &[&str]) -> Vec<String> {
    let report = json_of(arguments);
    let results = report["results"].as_array().unwrap().iter().filter(|it| it["level"] != "info");
    results.map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

fn corpus() -> Vec<String> {
    let files = std::fs::read_dir(policies()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.collect();
    files.sort();
    files
}

/// The output for text on standard input.
fn piped(text: &[u8], arguments: &[&str]) -> Output {
    let arguments = [&["-"], arguments, &ACCOUNT].concat();
    let mut child = command(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn each_file_has_its_output() {
    for file in corpus() {
        insta::assert_snapshot!(file.replace([' ', '.'], "-"), whole(&check(&[&file])));
    }
}

#[test]
fn the_only_key_policy_judges_the_readers() {
    insta::assert_snapshot!(whole(&check(&["bucket.json", "key.json"])));
    // Of two key policies, it is unknown which one encrypts the files.
    assert!(ids(&["bucket.json", "key.json", "get-key-policy.json"]).is_empty());
    assert_eq!(
        ids(&["bucket.json", "key-without-cloudtrail.json"]),
        ["readers-locked-out", "readers-locked-out", "key-policy-gap"]
    );
}

#[test]
fn every_format_contains_the_results() {
    let files = ["key-open.json", "terraform-plan.json", "template-open.yaml"];
    for format in ["json", "sarif", "github", "markdown"] {
        insta::assert_snapshot!(format, whole(&check(&[&files, ["--format", format].as_slice()].concat())));
    }
}

/// The schema is the official one of OASIS, as the crate `serde-sarif` 0.8 contains it.
#[test]
fn sarif_is_valid_for_every_file() {
    // Its regular expressions for languages have a `]` too many.
    let text = include_str!("sarif-2.1.0.schema.json").replace("{2}]?$", "{2}$");
    let schema: Value = serde_json::from_str(&text).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut results = 0;
    for file in corpus() {
        let output = check(&[&file, "--format", "sarif"]);
        if output.status.code() == Some(1) {
            continue;
        }
        let log: Value = serde_json::from_slice(&output.stdout).unwrap();
        let errors: Vec<String> = validator.iter_errors(&log).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{file} {errors:?}");
        let run = &log["runs"][0];
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
            results += 1;
        }
    }
    assert!(results > 10, "{results}");
}

#[test]
fn json_has_the_documented_shape_for_every_file() {
    let schema: Value = serde_json::from_str(include_str!("../../../docs/check-policy.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for file in corpus() {
        let output = check(&[&file, "--format", "json"]);
        let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else { continue };
        let errors: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{file} {errors:?}");
    }
}

#[test]
fn a_line_is_that_of_the_statement() {
    for file in corpus().iter().filter(|file| !file.starts_with("terraform") && *file != "get-key-policy.json") {
        let output = check(&[file, "--format", "json"]);
        let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else { continue };
        let text = std::fs::read_to_string(policies().join(file)).unwrap();
        for result in report["results"].as_array().unwrap() {
            let line = usize::try_from(result["line"].as_u64().unwrap()).unwrap();
            let near: Vec<&str> = text.lines().skip(line - 1).take(8).collect();
            if let Some(sid) = result["sid"].as_str().filter(|sid| sid.is_ascii()) {
                assert!(near.iter().any(|line| line.contains(sid)), "{file}:{line} {sid}");
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_at_once() {
    let output = check(&["no such file.json", ".", "latin1.json", "empty.json", "key.json"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let lines: Vec<&str> = error.lines().collect();
    let begins = [
        "error: `no such file.json`: cannot read it: ",
        "error: `.`: cannot read it: ",
        "error: `latin1.json`: it is not UTF-8",
        "error: `empty.json`, line 1: it is empty",
    ];
    assert!(lines.len() == 4 && lines.iter().zip(begins).all(|(line, begin)| line.starts_with(begin)), "{error}");
}

#[test]
fn wrong_options_are_one_clear_error() {
    for (arguments, part) in [
        (vec!["key.json", "--account", "1"], "`1` is not an AWS account ID (expected 12 digits)"),
        (vec!["key.json"], "--account <ID>"),
        (vec!["--account", "111122223333"], "<FILE>..."),
        (
            vec!["key.json", "--account", "111122223333", "--format", "xml"],
            "[possible values: text, json, sarif, github, markdown]",
        ),
        (vec!["key.json", "--account", "111122223333", "--trail", "audit"], "is not a trail ARN"),
        (vec!["key.json", "--account", "111122223333", "--region", "Frankfurt"], "is not an AWS Region"),
    ] {
        let output = command(&arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{error}");
        assert!(error.starts_with("error: ") && error.contains(part), "{error}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let arguments = [["key-open.json"].as_slice(), &ACCOUNT].concat();
    let mut child = command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(2), vec![]));
}

#[test]
fn standard_input_is_a_file_like_others() {
    let key = std::fs::read(policies().join("key-without-cloudtrail.json")).unwrap();
    let output = piped(&key, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("-:1: error[key-policy-gap]: "));
}

#[test]
fn a_file_of_windows_powershell_is_like_others() {
    let key = std::fs::read_to_string(policies().join("key-without-cloudtrail.json")).unwrap();
    let utf16: Vec<u8> =
        format!("\u{feff}{}", key.replace('\n', "\r\n")).encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(piped(&utf16, &[]), piped(key.as_bytes(), &[]));
}

#[test]
fn terraform_code_and_a_repeated_input_are_one_clear_error() {
    let code = Path::new(env!("CARGO_TARGET_TMPDIR")).join("main.tf");
    std::fs::write(&code, "resource \"aws_kms_key\" \"logs\" {\n  policy = data.x.y\n}\n").unwrap();
    let text = whole(&check(&[code.to_str().unwrap()]));
    assert!(text.contains("it is Terraform code; pass the output of `terraform show -json PLAN`"), "{text}");
    let text = whole(&check(&["-", "-"]));
    assert_eq!(text, "error: standard input (`-`) is specified more than once\nexit code 1\n");
}

#[test]
fn options_say_which_trails_are_meant() {
    assert!(ids(&["key.json"]).is_empty());
    let of = |trail: &str| ids(&["key.json", "--trail", &format!("arn:aws:cloudtrail:{trail}")]);
    assert!(of("us-east-1:111122223333:trail/audit").is_empty());
    assert_eq!(of("us-east-1:111122223333:trail/other"), ["key-policy-gap"]);
    assert_eq!(of("us-east-1:999999999999:trail/audit"), ["key-policy-gap"]);
    assert_eq!(ids(&["ambiguous.json", "--kind", "key"]), ["source-arn-missing"]);
    assert_eq!(ids(&["ambiguous.json", "--kind", "bucket"]), ["source-arn-missing"]);
}

#[test]
fn a_parameter_has_the_value_that_is_given() {
    let unresolved =
        |arguments: &[&str]| json_of(&[&["template.yaml"], arguments].concat())["policies"][0]["unresolved"].clone();
    assert_eq!(unresolved(&[])[0]["expression"], "Ref SiemRole");
    let role = "SiemRole=arn:aws:iam::999999999999:role/siem";
    let given = ["--parameter", "TrailName=audit", "--parameter", role];
    assert_eq!(unresolved(&given), json!([]));
    let text = whole(&check(&[&["template.yaml"], given.as_slice()].concat()));
    assert!(text.contains("can decrypt log files: `arn:aws:iam::999999999999:role/siem`"), "{text}");
    for (wrong, part) in [("Trail=x", "no template has the parameter `Trail`\n  hint: "), ("x", "expected NAME=VALUE")]
    {
        let text = whole(&check(&["template.yaml", "--parameter", wrong]));
        assert!(text.contains(part) && text.ends_with("exit code 1\n"), "{text}");
    }
}

#[test]
fn a_condition_on_the_organization_needs_its_id() {
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" }, "Action": "kms:*", "Resource": "*",
          "Condition": { "StringEquals": { "aws:SourceOrgID": "o-abcdefghij" } } },
    ] });
    let output = |arguments: &[&str]| whole(&piped(policy.to_string().as_bytes(), arguments));
    assert!(output(&[]).contains("note[key-policy-unclear]") && output(&[]).contains("specify --organization"));
    assert_eq!(output(&["--organization", "o-abcdefghij"]), "1 policy checked: no errors or warnings\nexit code 0\n");
    assert!(output(&["--organization", "o-zzzzzzzzzz"]).contains("error[key-policy-gap]"));
}

#[test]
fn a_condition_on_the_key_needs_the_key() {
    let (key, mut bucket) = correct();
    let deny = |key: Value| {
        json!({ "Sid": "OnlyOurKey", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::audit-logs/*",
            "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption-aws-kms-key-id": key } } })
    };
    let literal = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    bucket["Statement"].as_array_mut().unwrap().push(deny(json!(literal)));
    let alone = whole(&piped(bucket.to_string().as_bytes(), &[]));
    assert!(alone.contains("note[bucket-policy-unclear]") && alone.contains("exit code 0"), "{alone}");
    // The key of the template has another ARN.
    assert_eq!(report(&key, &bucket)["summary"]["errors"], 1);
    bucket["Statement"][3] = deny(json!({ "Fn::GetAtt": ["Key", "Arn"] }));
    assert_eq!(report(&key, &bucket)["summary"]["notes"], 0);
    assert_eq!(report(&key, &bucket)["summary"]["errors"], 0);
}

/// Calls `change` with each text in a value, one at a time.
fn for_each_text(value: &Value, path: &str, change: &mut impl FnMut(&str)) {
    match value {
        Value::String(_) => change(path),
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                for_each_text(element, &format!("{path}/{index}"), change);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                for_each_text(member, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), change);
            }
        }
        _ => {}
    }
}

/// Calls `change` with a policy in which a parameter replaces one text, for each text and each version.
fn with_a_parameter(policy: &Value, change: &mut impl FnMut(&Value, &str)) {
    for version in [json!("2012-10-17"), json!("2008-10-17"), json!({ "Ref": "AWS::NoValue" })] {
        for_each_text(&policy["Statement"], "/Statement", &mut |path| {
            let mut changed = policy.clone();
            changed["Version"] = version.clone();
            *changed.pointer_mut(path).unwrap() = json!({ "Ref": "Parameter" });
            change(&changed, path);
        });
    }
}

/// The report about a template with a trail and these policies.
fn report(key: &Value, bucket: &Value) -> Value {
    let template = json!({ "Resources": {
        "Key": { "Type": "AWS::KMS::Key", "Properties": { "KeyPolicy": key } },
        "Policy": { "Type": "AWS::S3::BucketPolicy", "Properties": { "Bucket": "audit-logs", "PolicyDocument": bucket } },
        "Trail": { "Type": "AWS::CloudTrail::Trail", "Properties": {
            "TrailName": "audit", "S3BucketName": "audit-logs", "S3KeyPrefix": "security", "KMSKeyId": { "Ref": "Key" } } },
    } });
    serde_json::from_slice(&piped(template.to_string().as_bytes(), &["--format", "json"]).stdout).unwrap()
}

fn policy(file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(policies().join(file)).unwrap()).unwrap()
}

/// A correct key policy and bucket policy, without readers.
fn correct() -> (Value, Value) {
    let mut bucket = policy("bucket.json");
    bucket["Statement"].as_array_mut().unwrap().remove(2);
    (policy("key.json"), bucket)
}

/// A parameter may have the value that it replaces, so a policy that was correct may still be: nothing is an error.
#[test]
fn a_parameter_is_never_taken_for_a_wrong_value() {
    let (key, bucket) = correct();
    let mut checked = 0;
    let mut is_no_error = |report: Value, path: &str| {
        assert_eq!(
            (&report["summary"]["errors"], &report["summary"]["policies"]),
            (&json!(0), &json!(2)),
            "{path} {report:#}"
        );
        checked += 1;
    };
    with_a_parameter(&key, &mut |key, path| is_no_error(report(key, &bucket), path));
    with_a_parameter(&bucket, &mut |bucket, path| is_no_error(report(&key, bucket), path));
    assert!(checked > 100, "{checked}");
}

/// Nor is it taken for one that would correct a policy: that CloudTrail is kept out stays an error or becomes unclear.
#[test]
fn a_parameter_is_never_taken_for_a_right_value() {
    let (key, bucket) = correct();
    let mut checked = 0;
    let mut is_found = |report: Value, kind: &str, path: &str| {
        let ids = [format!("{kind}-policy-gap"), format!("{kind}-policy-unclear")];
        let found = report["results"].as_array().unwrap().iter().any(|it| ids.iter().any(|id| it["id"] == **id));
        assert!(found, "{path} {report:#}");
        checked += 1;
    };
    for file in ["key-without-cloudtrail.json", "key-for-another-account.json", "key-denied.json"] {
        with_a_parameter(&policy(file), &mut |key, path| is_found(report(key, &bucket), "key", path));
    }
    with_a_parameter(&policy("bucket-aes256.json"), &mut |bucket, path| is_found(report(&key, bucket), "bucket", path));
    assert!(checked > 100, "{checked}");
}
