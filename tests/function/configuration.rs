//! An invalid configuration stops the function at startup.

use fake_aws::lambda::Function;

use crate::support::{ROLE, binary};

#[test]
fn all_invalid_variables_are_reported_in_one_message() {
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
fn the_default_configuration_is_dry_run() {
    assert!(Function::launch(&binary()).start().is_ok());
}
