//! What does not parse stops the function at start.

use fake_aws::lambda::Function;

use crate::support::{ROLE, binary};

#[test]
fn a_wrong_configuration_stops_the_function_at_start_with_one_message_about_all_of_it() {
    let crash = Function::launch(&binary())
        .env("TRAILSEAL_MODE", "Enforce")
        .env("TRAILSEAL_KEY_ALIAS", "alias/aws/s3")
        .env("TRAILSEAL_ROLE_ARN", ROLE)
        .start()
        .unwrap_err();
    assert!(!crash.status.unwrap().success());
    let lines: Vec<&String> = crash.stdout.iter().filter(|line| line.contains("invalid configuration")).collect();
    assert_eq!(lines.len(), 1, "{crash}");
    assert!(
        lines[0]
            .contains("`Mode` (`TRAILSEAL_MODE`): `Enforce` is not a valid value (expected `dry-run` or `enforce`)"),
        "{crash}"
    );
    assert!(lines[0].contains("`KeyAlias` (`TRAILSEAL_KEY_ALIAS`): `alias/aws/s3`"), "{crash}");
    assert!(lines[0].contains("\"level\":\"ERROR\""), "{crash}");
}

#[test]
fn enforce_without_the_role_stops_the_function_at_start() {
    let crash = Function::launch(&binary()).env("TRAILSEAL_MODE", "enforce").start().unwrap_err();
    assert!(crash.to_string().contains("TRAILSEAL_ROLE_ARN"), "{crash}");
}

#[test]
fn nothing_configured_is_a_dry_run_that_starts() {
    assert!(Function::launch(&binary()).start().is_ok());
}
