//! Files of `trailseal check-policy`: JSON, YAML, Terraform plans and CloudFormation templates, in every output format.
#![no_main]
#![expect(dead_code, reason = "the modules of the command line are more than this target uses")]

use std::sync::OnceLock;

use clap::Parser;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// The command line is a program, not a library.
#[path = "../../crates/cli/src/check_policy/mod.rs"]
mod check_policy;
#[path = "../../crates/cli/src/explain.rs"]
mod explain;
#[path = "../../crates/cli/src/failure.rs"]
mod failure;
#[path = "../../crates/cli/src/paint.rs"]
mod paint;

/// The exit codes of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Success,
    Findings,
}

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    options: check_policy::Options,
}

const FORMATS: [&str; 5] = ["text", "json", "sarif", "github", "markdown"];

fn commands() -> &'static [Command] {
    static COMMANDS: OnceLock<Vec<Command>> = OnceLock::new();
    let options = ["check-policy", "file", "--account", "123456789012", "--region", "eu-west-1", "--format"];
    let command = |format| Command::parse_from(options.into_iter().chain([format]));
    COMMANDS.get_or_init(|| FORMATS.map(command).into())
}

fuzz_target!(|data: &[u8]| {
    let format = data.len() % FORMATS.len();
    match commands()[format].options.run_with(|_| Ok(data.to_vec())) {
        Ok((text, _)) if matches!(FORMATS[format], "json" | "sarif") => {
            serde_json::from_str::<Value>(&text).unwrap();
        }
        Ok(_) => {}
        Err(failed) => assert!(failed.to_string().starts_with("error: ")),
    }
});
