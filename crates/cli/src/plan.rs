//! `trailseal plan`: what the function would do, with the caller's credentials.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use trailseal::Invocation;
use trailseal::reconcile::reconcile;
use trailseal_core::context::Context;
use trailseal_core::ids::{Region, TrailArn};
use trailseal_core::report::{Answer, Outcome, plan_text};
use trailseal_core::trigger::{Origin, REQUEST, SWEEP, Target, TrailRef, Trigger};

use crate::failure::Failed;
use crate::{Exit, account, settings};

/// The time for all reads, and for the second read that confirms that a key is missing.
const TIME: Duration = Duration::from_secs(15 * 60);

const EXAMPLE: &str = "\
Examples:
  trailseal plan
  trailseal plan --profile audit --format json > answer.json
  trailseal plan --trail management-events --region eu-west-1

The settings are those of the function: TRAILSEAL_KEY_ARNS, TRAILSEAL_LOG_READERS and so on, from the environment or from a file
that --config names, with one NAME=VALUE per line. The command needs the permissions in docs/permissions.md, section \"Reads\".

Exit codes:
  0  every trail is compliant, exempt or gone
  1  error: nothing could be planned
  2  changes are planned, or a trail has a finding";

/// Show what trailseal would do in this account; it changes nothing
///
/// Reads the account with your credentials, as the AWS CLI finds them: every trail in every home Region, its key, its bucket
/// policy and its readers.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE, max_term_width = 100)]
#[group(skip)]
pub(crate) struct Options {
    /// A trail, by name or ARN; may be repeated. Without it, every trail
    #[arg(long = "trail", value_name = "NAME_OR_ARN")]
    trails: Vec<String>,

    /// Region: where trails are listed, and the home Region of trails that are given by name
    #[arg(long)]
    region: Option<Region>,

    /// Profile of the AWS CLI
    #[arg(long)]
    profile: Option<String>,

    /// File with the function's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Format of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// The function's answer (docs/answer.schema.json)
    Json,
}

impl Options {
    /// What to print, and the exit code.
    ///
    /// # Errors
    ///
    /// The settings are invalid, the account is unknown, or its trails cannot be listed.
    pub(crate) fn run(&self) -> Result<(String, Exit), Failed> {
        let config = settings::for_dry_run(self.config.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failed::new(format!("cannot start: {error}"), ""))?;
        runtime.block_on(async {
            let (aws, region) = account::connect(self.profile.as_deref(), self.region.as_ref()).await?;
            let target = self.target(&region)?;
            let context = account::context(aws.sdk(), config, &region, self.profile.as_deref()).await?;
            let kind = if target == Target::Sweep { SWEEP } else { REQUEST };
            let origin = Origin { kind: kind.into(), region: Some(region), ..Origin::default() };
            let answer =
                reconcile(&aws, &context, Trigger { origin: origin.clone(), target }, Invocation::within(TIME, 0))
                    .await;
            self.print(&answer, &origin, &context)
        })
    }

    fn target(&self, region: &Region) -> Result<Target, Failed> {
        if self.trails.is_empty() {
            return Ok(Target::Sweep);
        }
        let trails = self.trails.iter().map(|text| match text.parse::<TrailArn>() {
            Ok(arn) => Ok(TrailRef::Arn(arn)),
            Err(malformed) if text.starts_with("arn:") => Err(malformed),
            Err(_) => text.parse().map(|name| TrailRef::Name { name, region: region.clone() }),
        });
        let trails: Result<Vec<TrailRef>, _> = trails.collect();
        trails.map(Target::Trails).map_err(|malformed| {
            Failed::new(format!("invalid --trail: {malformed}"), "list the trails with `aws cloudtrail list-trails`")
        })
    }

    fn print(&self, answer: &Answer, origin: &Origin, context: &Context) -> Result<(String, Exit), Failed> {
        if let Some(failure) = answer.error.as_ref().filter(|_| self.format == Format::Text) {
            return Err(Failed::new(failure.message.clone(), failure.remedy.clone().unwrap_or_default()));
        }
        let is_quiet = |outcome| matches!(outcome, Outcome::Compliant | Outcome::Gone | Outcome::Exempt);
        let exit = match answer {
            Answer { error: Some(_), .. } => Exit::Error,
            Answer { strays, .. } if !strays.is_empty() => Exit::Findings,
            Answer { trails, .. } if !trails.iter().all(|trail| is_quiet(trail.outcome)) => Exit::Findings,
            _ => Exit::Success,
        };
        let text = match self.format {
            Format::Text => plan_text(answer, origin, &context.config),
            Format::Json => {
                let text = serde_json::to_string_pretty(answer);
                text.map_err(|error| Failed::new(format!("cannot write the answer as JSON: {error}"), ""))? + "\n"
            }
        };
        Ok((text, exit))
    }
}
