//! `trailseal plan`: what the function would do, with the caller's credentials.

use std::path::PathBuf;

use clap::Args;

use crate::Exit;
use crate::failure::Failed;
use crate::saved::SavedPlan;
use crate::session::{Credentials, Format, Selection, exit};

const EXAMPLE: &str = "\
Examples:
  trailseal plan
  trailseal plan --profile audit --format json > answer.json
  trailseal plan --trail management-events --region eu-west-1 --out plan.json

The settings are those of the function: TRAILSEAL_KEY_ARNS, TRAILSEAL_LOG_READERS and so on, \
from the environment or from a file that --config names, with one NAME=VALUE per line. \
The command needs the permissions in docs/permissions.md, section \"Reads\".

Exit codes:
  0  every trail is compliant, exempt or gone
  1  error: nothing could be planned
  2  a change is planned; a trail has a finding, failed, or is out of scope; or a key is a stray";

/// Show what trailseal would do in this account; it changes nothing
///
/// Reads the account with your credentials, as the AWS CLI finds them: every trail in every home Region, its key, its bucket
/// policy and its readers.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE, max_term_width = 100)]
#[group(skip)]
pub(crate) struct Options {
    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    credentials: Credentials,

    /// File to save the plan in, for `trailseal apply`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Format of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Options {
    /// What to print, and the exit code.
    ///
    /// # Errors
    ///
    /// The settings are invalid, the account is unknown, its trails cannot be listed, a named trail does not exist, or the
    /// plan cannot be saved.
    pub(crate) async fn run(&self) -> Result<(String, Exit), Failed> {
        let session = self.selection.open(&self.credentials).await?;
        let (answer, basis) = session.plan().await;
        session.require_named_trails(&answer)?;
        let text = session.print(&answer, self.format)?;
        if let (Some(file), None) = (&self.out, &answer.error) {
            SavedPlan::new(session.selected, basis).write(file)?;
            let file = file.display();
            tracing::info!(target: trailseal::STEP_TARGET, "The plan is saved in `{file}`. To apply it, run `trailseal apply` with this file.");
        }
        Ok((text, exit(&answer)))
    }
}
