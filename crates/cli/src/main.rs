//! trailseal's command line. One module per command; each returns the text to print, or what is wrong.

mod account;
mod apply;
mod basis;
mod central_key;
mod check_policy;
mod console;
mod document;
mod explain;
mod failure;
mod key_policy;
mod paint;
mod plan;
mod policy_diff;
mod saved;
mod session;
mod settings;

use std::io::{ErrorKind as IoErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::Error;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use console::Display;
use failure::Failed;
use paint::paint;

/// The command line of trailseal, the AWS Lambda function that keeps CloudTrail logs encrypted
#[derive(Debug, Parser)]
#[command(name = "trailseal", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    display: Display,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(plan::Options),
    Apply(apply::Options),
    CheckPolicy(check_policy::Options),
    Explain(explain::Options),
    KeyPolicy(key_policy::Options),
    /// Print the completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        folder: PathBuf,
    },
}

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Success = 0,
    Error = 1,
    /// Changes are planned, or something has a finding.
    Findings = 2,
    /// A change failed, or could not be verified.
    NotApplied = 3,
}

/// Why nothing was printed.
enum Stop {
    /// The options are wrong, or ask for help.
    Usage(Error),
    Failed(Failed),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Usage(error)
    }
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

fn main() -> ExitCode {
    let exit = match Cli::try_parse().map_err(Stop::from).and_then(|cli| {
        cli.display.init();
        run(&cli.command)
    }) {
        Ok((text, exit)) => print(&text).unwrap_or(exit),
        Err(Stop::Usage(error)) => {
            // If standard error is closed, there is no other place to report this.
            let _ = error.print();
            if error.exit_code() == 0 { Exit::Success } else { Exit::Error }
        }
        Err(Stop::Failed(failed)) => report(&failed),
    };
    ExitCode::from(exit as u8)
}

fn run(command: &Command) -> Result<(String, Exit), Stop> {
    Ok(match command {
        Command::Plan(options) => block_on(options.run())?,
        Command::Apply(options) => block_on(options.run())?,
        Command::CheckPolicy(options) => options.run()?,
        Command::Explain(options) => (options.text()?, Exit::Success),
        Command::KeyPolicy(options) => (options.policy()?, Exit::Success),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "trailseal", &mut script);
            (String::from_utf8_lossy(&script).into_owned(), Exit::Success)
        }
        Command::Man { folder } => {
            let written = clap_mangen::generate_to(Cli::command(), folder);
            let failed = |error| {
                Failed::new(format!("cannot write to `{}`: {error}", folder.display()), "name an existing folder")
            };
            written.map_err(failed)?;
            (String::new(), Exit::Success)
        }
    })
}

fn block_on<T>(command: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failed::new(format!("cannot start the async runtime: {error}"), ""))?.block_on(command)
}

/// Writes to standard output. Returns the exit code if that fails. A reader that closed the pipe, such as `head`, has what it
/// wants.
fn print(text: &str) -> Option<Exit> {
    let mut output = anstream::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != IoErrorKind::BrokenPipe => {
            Some(report(&Failed::new(format!("cannot write to standard output: {error}"), "")))
        }
        _ => None,
    }
}

fn report(failed: &Failed) -> Exit {
    // If standard error is closed, there is no other place to report this.
    let _ = writeln!(anstream::stderr().lock(), "{}", paint(&failed.to_string()));
    Exit::Error
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/command-line.md");
    const BEGIN: &str =
        "<!-- The help of each command follows. `UPDATE_DOCS=1 cargo test -p trailseal-cli` writes it. -->\n";

    /// The help of every command, as the terminal prints it.
    fn help() -> String {
        let mut cli = Cli::command();
        cli.build();
        let commands =
            cli.get_subcommands_mut().filter(|command| command.get_name() != "help" && !command.is_hide_set());
        let section = |command: &mut clap::Command| {
            let name = command.get_name().to_owned();
            let help = command.clone().term_width(100).render_help().to_string();
            let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
            format!("\n## trailseal {name}\n\n```\n{}\n```\n", lines.join("\n"))
        };
        commands.map(section).collect()
    }

    #[test]
    fn the_page_has_the_help_of_every_command() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let (prose, _) = page.split_once(BEGIN).unwrap();
        let expected = format!("{prose}{BEGIN}{}", help());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(PAGE, &expected).unwrap();
        } else {
            assert_eq!(page, expected, "run: UPDATE_DOCS=1 cargo test -p trailseal-cli");
        }
    }
}
