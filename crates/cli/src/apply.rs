//! `trailseal apply`: what the function would do, done with the caller's credentials.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use trailseal_core::report::{Answer, Outcome};

use crate::basis::Basis;
use crate::failure::Failed;
use crate::saved::SavedPlan;
use crate::session::{Credentials, Format, Selection, Session, exit};
use crate::{Exit, print};

const EXAMPLE: &str = "\
Examples:
  trailseal apply
  trailseal plan --out plan.json && trailseal apply plan.json
  trailseal apply --trail management-events --region eu-west-1 --yes

The command needs the permissions in docs/permissions.md, sections \"Reads\" and \"Remediation\", and for a new key also \
kms:CreateAlias, kms:EnableKeyRotation and kms:PutKeyPolicy on it. It sends no alerts. Principals that read the log files need kms:Decrypt afterwards: review what the plan says about them.

Exit codes:
  0  every trail is compliant, exempt or gone
  1  error: nothing was changed, or the command was interrupted
  2  a finding that trailseal does not fix, an out-of-scope trail, or a stray key remains,
     or a trail failed and nothing was planned
  3  a step failed, or a trail is not compliant afterwards";

/// Fix this account's trails: show the plan, ask, apply it, and verify the result
///
/// With a plan that `trailseal plan --out FILE` saved, refuses to change anything if the trails, their keys or their buckets have
/// changed since.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE, max_term_width = 100)]
#[group(skip)]
pub(crate) struct Options {
    /// Plan that `trailseal plan --out FILE` saved
    #[arg(value_name = "PLAN", conflicts_with_all = ["trails", "region", "config"])]
    plan: Option<PathBuf>,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    credentials: Credentials,

    /// Apply the plan without asking
    #[arg(long, short)]
    yes: bool,

    /// Format of the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Options {
    /// What to print, and the exit code.
    ///
    /// # Errors
    ///
    /// Nothing could be planned, something has changed since the plan was made, the caller declined, or the command was
    /// interrupted.
    pub(crate) async fn run(&self) -> Result<(String, Exit), Failed> {
        let saved = self.plan.as_deref().map(SavedPlan::read).transpose()?;
        let session = match &saved {
            Some(plan) => plan.selected.open(&self.credentials).await?,
            None => self.selection.open(&self.credentials).await?,
        };
        let (answer, basis) = session.plan().await;
        let shown = session.print(&answer, Format::Text)?;
        if let Some(saved) = &saved {
            require_unchanged(&saved.basis, &basis)?;
        }
        session.require_named_trails(&answer)?;
        if !answer.trails.iter().any(|trail| trail.outcome == Outcome::Planned) {
            return Ok((session.print(&answer, self.format)?, exit(&answer)));
        }
        self.ask(&shown, &session.selected.account)?;
        let applied = tokio::select! {
            applied = session.apply(&basis) => applied,
            _ = tokio::signal::ctrl_c() => return Err(interrupted()),
        };
        let answer = match applied {
            Ok(answer) => answer,
            Err(now) => return Err(require_unchanged(&basis, &now).err().unwrap_or_else(interrupted)),
        };
        let text = session.print(&answer, self.format)?;
        let exit = match (print(&text), exit(&answer)) {
            (Some(failed), _) => failed,
            (None, Exit::Success | Exit::Findings) => verify(&session, &answer).await,
            (None, other) => other,
        };
        Ok((String::new(), exit))
    }

    /// Shows the plan and waits for `yes`.
    fn ask(&self, plan: &str, account: &str) -> Result<(), Failed> {
        let mut terminal = anstream::stderr().lock();
        // If standard error is closed, there is no other place to show this.
        let _ = writeln!(terminal, "{plan}");
        if self.yes {
            return Ok(());
        }
        let mut input = std::io::stdin().lock();
        if !std::io::stdin().is_terminal() {
            return Err(Failed::new(
                "cannot ask for confirmation: standard input is not a terminal",
                "review the plan, then specify --yes",
            ));
        }
        let _ = write!(terminal, "Apply this plan to account {account}? Only `yes` is accepted: ");
        let _ = terminal.flush();
        let mut line = String::new();
        match input.read_line(&mut line) {
            Ok(_) if line.trim() == "yes" => Ok(()),
            _ => Err(Failed::new("the plan was not confirmed; nothing was changed", "")),
        }
    }
}

/// # Errors
///
/// What has changed.
fn require_unchanged(expected: &Basis, now: &Basis) -> Result<(), Failed> {
    match expected.changes(now).as_slice() {
        [] => Ok(()),
        changes => Err(Failed::new(
            format!(
                "nothing was changed, because the following changed after the plan was made: {}",
                changes.join(", ")
            ),
            "create and review a new plan",
        )),
    }
}

/// Plans once more: nothing may remain for the trails that were changed, and each must be found.
async fn verify(session: &Session, applied: &Answer) -> Exit {
    let again = tokio::select! {
        (again, _) = session.plan() => Some(again),
        _ = tokio::signal::ctrl_c() => None,
    };
    let mut terminal = std::io::stderr().lock();
    let Some(again) = again else {
        let _ = writeln!(terminal, "The result was not verified: interrupted. Run `trailseal plan`.");
        return Exit::NotApplied;
    };
    if let Some(failure) = &again.error {
        let _ = writeln!(terminal, "The result could not be verified: {}", failure.message);
        return Exit::NotApplied;
    }
    let (mut remaining, mut missing, mut noted) = (Vec::new(), Vec::new(), false);
    for trail in applied.trails.iter().filter(|trail| trail.outcome == Outcome::Remediated) {
        let name = trail.trail.as_ref().map_or_else(String::as_str, |arn| arn.as_str());
        match again.trails.iter().find(|it| it.trail == trail.trail).map(|it| it.outcome) {
            Some(Outcome::Compliant | Outcome::Exempt | Outcome::Gone) => {}
            Some(Outcome::Noted | Outcome::OutOfScope) => noted = true,
            Some(Outcome::Planned | Outcome::Remediated | Outcome::Failed) => remaining.push(name),
            // A long answer omits compliant trails.
            None if again.truncated => {}
            None => missing.push(name),
        }
    }
    let named = |what: &str, names: &[&str], remedy: &str| format!("{what}: {}. {remedy}", names.join(", "));
    let (text, exit) = match (remaining.as_slice(), missing.as_slice()) {
        ([], []) if noted => ("Verified: only findings remain that trailseal does not fix.".to_owned(), Exit::Findings),
        ([], []) => ("Verified: nothing remains to be changed.".to_owned(), exit(applied)),
        ([], names) => (
            named(
                "The result could not be verified, because these trails were not found again",
                names,
                "Run `trailseal plan`.",
            ),
            Exit::NotApplied,
        ),
        (names, _) => (named("These trails are not compliant yet", names, "Run `trailseal plan`."), Exit::NotApplied),
    };
    match exit {
        // `--quiet` hides it.
        Exit::Success => tracing::info!(target: trailseal::STEP_TARGET, "{text}"),
        _ => drop(writeln!(terminal, "{text}")),
    }
    exit
}

fn interrupted() -> Failed {
    Failed::new(
        "interrupted; the steps above that are `done` took effect, and a step that was in flight may have",
        "run `trailseal apply` again: it reads the account and finishes what remains",
    )
}
