//! trailseal's command line. One module per command; each returns the text to print, or what is wrong with its options.

mod central_key;
mod key_policy;

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::{Error, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

/// The command line of trailseal, the AWS Lambda function that keeps CloudTrail logs encrypted
#[derive(Debug, Parser)]
#[command(name = "trailseal", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    KeyPolicy(key_policy::Options),
    /// Print the completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

fn main() -> ExitCode {
    let text = Cli::try_parse().and_then(|cli| run(&cli.command));
    match text {
        Ok(text) => match std::io::stdout().lock().write_all(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                report(&Cli::command().error(ErrorKind::Io, format!("cannot write to standard output: {error}")))
            }
        },
        Err(error) => report(&error),
    }
}

fn run(command: &Command) -> Result<Vec<u8>, Error> {
    match command {
        Command::KeyPolicy(options) => options.policy().map(String::into_bytes),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "trailseal", &mut script);
            Ok(script)
        }
    }
}

/// Prints the help or the error. The exit code is 0 for help, 1 if output cannot be written, 2 for wrong options.
fn report(error: &Error) -> ExitCode {
    // If standard error is closed, there is no other place to report this.
    let _ = error.print();
    match error.kind() {
        ErrorKind::Io => ExitCode::FAILURE,
        _ => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
    }
}
