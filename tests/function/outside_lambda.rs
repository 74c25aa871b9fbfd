//! The function's process if it is started by hand, or with arguments.

use std::process::Command;

use crate::support::binary;

#[test]
fn outside_lambda_it_refers_to_the_command_line() {
    for arguments in [&[][..], &["key-policy", "--help"]] {
        let output = Command::new(binary()).args(arguments).env_clear().output().unwrap();
        assert_eq!((output.status.code(), output.stdout), (Some(1), vec![]));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "error: `trailseal-lambda` runs only in AWS Lambda (`AWS_LAMBDA_RUNTIME_API` is not set); \
             the command line is `trailseal`\n"
        );
    }
}

#[test]
fn in_lambda_arguments_are_ignored() {
    let mut command = Command::new(binary());
    // No server listens on this port.
    command.env_clear().env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9").env("AWS_REGION", "eu-west-1");
    for name in ["FUNCTION_NAME", "FUNCTION_VERSION", "LOG_GROUP_NAME", "LOG_STREAM_NAME"] {
        command.env(format!("AWS_LAMBDA_{name}"), "1");
    }
    let output = command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128").args(["key-policy", "--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(log.contains("cannot serve events"), "{log}");
}
