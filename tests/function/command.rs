//! The binary as somebody starts it who is not Lambda: `trailseal key-policy`.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::binary;

/// Runs the binary as somebody at a terminal does, outside Lambda.
pub fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).env_clear().output().unwrap()
}

/// The policy that it prints.
pub fn key_policy(arguments: &[&str]) -> String {
    let output = run(&[&["key-policy"], arguments].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it complains of, each line; nothing was printed.
fn problems(arguments: &[&str]) -> Vec<String> {
    let output = run(arguments);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{arguments:?}");
    let told = text(&output.stderr);
    let (problems, hint) = told.trim_end().rsplit_once('\n').unwrap();
    assert!(hint.starts_with("hint: `trailseal ") && hint.contains("--help` says"), "{hint}");
    problems.lines().map(|line| line.strip_prefix("error: ").unwrap().to_owned()).collect()
}

fn problems_of_key_policy(arguments: &[&str]) -> Vec<String> {
    problems(&[&["key-policy"], arguments].concat())
}

const ORGANIZATION: [&str; 4] = ["--account", "111122223333", "--organization", "o-abcdefghij"];

#[test]
fn the_policy_in_the_documents_is_the_one_that_is_printed() {
    let page = include_str!("../../docs/organization.md");
    let (before, block) = page.split_once("```json\n").unwrap();
    // As the page names its arguments, broken into lines.
    let example = before.rsplit('`').nth(1).unwrap();
    let arguments: Vec<&str> = example.split_whitespace().collect();
    let shown: Value = serde_json::from_str(block.split_once("```").unwrap().0).unwrap();
    let printed: Value = serde_json::from_str(&key_policy(&arguments)).unwrap();
    assert_eq!(shown, printed);
}

#[test]
fn the_policy_is_printed_for_people_and_for_aws() {
    let printed = key_policy(&[&ORGANIZATION[..], &["--readers=account"]].concat());
    assert!(printed.starts_with("{\n  \"Version\": \"2012-10-17\",\n") && printed.ends_with("\n}\n"), "{printed}");
    let policy: Value = serde_json::from_str(&printed).unwrap();
    let sids: Vec<&str> =
        policy["Statement"].as_array().unwrap().iter().map(|it| it["Sid"].as_str().unwrap()).collect();
    assert_eq!(
        sids,
        [
            "AccountAdministersThroughIam",
            "CloudTrailEncrypts",
            "CloudTrailDescribes",
            "CloudTrailDecryptsForBucketKeys",
            "OrganizationTrailsEncrypt",
            "OrganizationTrailsDescribe",
            "OrganizationTrailsDecryptForBucketKeys",
            "OrganizationTrailsealDescribes",
            "AccountReadersDecrypt",
        ]
    );
}

#[test]
fn every_option_finds_its_way_into_the_policy() {
    let printed = key_policy(&[
        "--account=111122223333",
        "--accounts",
        " 444455556666, 555566667777,",
        "--readers",
        "arn:aws-cn:iam::222233334444:role/siem,o-bbbbbbbbbb",
        "--name",
        "seal",
        "--partition",
        "aws-cn",
    ]);
    for part in [
        "arn:aws-cn:iam::111122223333:root",
        "arn:aws-cn:cloudtrail:*:444455556666:trail/*",
        "arn:aws-cn:cloudtrail:*:555566667777:trail/*",
        "arn:aws-cn:iam::222233334444:role/siem",
        "o-bbbbbbbbbb",
        "arn:aws-cn:iam::*:role/seal-*",
    ] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    assert!(!printed.contains("SourceOrgID"));
}

#[test]
fn every_wrong_value_is_named_with_what_it_takes() {
    let wrong = problems_of_key_policy(&[
        "--account",
        "12",
        "--organization",
        "abc",
        "--accounts",
        "1,444455556666,\u{1b}[31m",
        "--readers",
        "everybody",
        "--name",
        "a_b",
        "--partition",
        "azure",
    ]);
    assert_eq!(
        wrong,
        [
            "`--account` = `12`: takes 12 digits",
            "`--organization` = `abc`: takes `o-` and 10 to 32 lowercase letters or digits",
            "`--accounts` = `1`: takes 12-digit account ids, comma-separated",
            "`--accounts` = ` [31m`: takes 12-digit account ids, comma-separated",
            "`--readers` = `everybody`: takes comma-separated role or user ARNs, 12-digit account ids, organization ids (`o-…`) or `account`",
            "`--name` = `a_b`: takes up to 43 letters, digits or `-`, starting with a letter",
            "`--partition` = `azure`: takes `aws`, `aws-cn`, `aws-us-gov` or another",
        ]
    );
}

#[test]
fn what_is_needed_is_told_together() {
    let nobody_else = "no other account would use the key; for the trails of one account alone, the key that trailseal makes there does; name others by `--organization` or `--accounts`";
    let no_account = "`--account` is not there: it takes the id of the account that the key is in";
    assert_eq!(problems_of_key_policy(&[]), [no_account, nobody_else]);
    assert_eq!(problems_of_key_policy(&["--account", "111122223333"]), [nobody_else]);
    assert_eq!(problems_of_key_policy(&["--account", "111122223333", "--accounts", "111122223333"]), [nobody_else]);
}

#[test]
fn an_argument_that_is_not_known_is_named() {
    let options = "`--account`, `--organization`, `--accounts`, `--readers`, `--name`, `--partition`";
    for (argument, named) in [("--acount=1", "--acount"), ("-x", "-x"), ("more", "more")] {
        assert_eq!(
            problems_of_key_policy(&[&ORGANIZATION[..], &[argument]].concat()),
            [format!("`{named}`: `trailseal key-policy` takes {options}")]
        );
    }
    assert_eq!(problems_of_key_policy(&["--account", "1", "--name"]), ["`--name` has no value"]);
    assert_eq!(
        problems_of_key_policy(&[&ORGANIZATION[..], &ORGANIZATION[2..]].concat()),
        ["`--organization` is there twice"]
    );
    for argument in ["key_policy", "--account", ""] {
        assert_eq!(
            problems(&[argument]),
            [format!("`{argument}`: `trailseal` takes `key-policy`, `--help` or `--version`")]
        );
    }
}

#[test]
fn more_accounts_than_a_policy_holds_are_refused_with_how_many_fit() {
    let accounts: Vec<String> = (0..300_u64).map(|n| (500_000_000_000 + n).to_string()).collect();
    let told = problems_of_key_policy(&["--account", "111122223333", "--accounts", &accounts.join(",")]);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("KMS takes 32768: of the 300 further accounts, "), "{told:?}");
    assert!(told[0].ends_with("an organization says the same of all of its accounts at once (`--organization`)"));
}

#[test]
fn without_lambda_and_arguments_it_says_what_it_takes() {
    assert_eq!(
        problems(&[]),
        ["nothing to do: Lambda did not start this, and `trailseal` takes `key-policy`, `--help` or `--version`"]
    );
}

#[test]
fn started_by_lambda_it_is_the_function_whatever_arguments_it_gets() {
    let mut command = Command::new(binary());
    // Where nobody answers.
    command.env_clear().env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9").env("AWS_REGION", "eu-west-1");
    for name in ["FUNCTION_NAME", "FUNCTION_VERSION", "LOG_GROUP_NAME", "LOG_STREAM_NAME"] {
        command.env(format!("AWS_LAMBDA_{name}"), "1");
    }
    let output = command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128").args(["key-policy", "--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    assert!(told.contains("cannot serve events") && !told.contains("usage"), "{told}");
}

#[test]
fn help_and_version_are_printed() {
    for arguments in [&["--help"][..], &["-h"]] {
        assert!(text(&run(arguments).stdout).contains("usage: trailseal key-policy"));
    }
    for arguments in [&["key-policy", "--help"][..], &["key-policy", "--account", "1", "-h"]] {
        let output = run(arguments);
        assert!(output.status.success());
        let help = text(&output.stdout);
        for part in [
            "--account ID",
            "--organization ID",
            "--accounts IDS",
            "--readers LIST",
            "--name NAME",
            "--partition PARTITION",
            "aws kms create-key",
        ] {
            assert!(help.contains(part), "{part} is not in {help}");
        }
        assert!(help.lines().all(|line| line.len() <= 100));
    }
    for arguments in [&["--version"][..], &["-V"]] {
        assert_eq!(text(&run(arguments).stdout), format!("trailseal {}\n", env!("CARGO_PKG_VERSION")));
    }
}
