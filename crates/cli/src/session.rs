//! The account, the trails and the settings that a command is about.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use trailseal::Invocation;
use trailseal::aws::Aws;
use trailseal::reconcile::{AssessedTrails, BeforeApply, Proceed, reconcile_if};
use trailseal_core::config::Mode;
use trailseal_core::context::Context;
use trailseal_core::ids::{Malformed, Region, TrailArn, shorten};
use trailseal_core::observation::RemediationFacts;
use trailseal_core::report::{Answer, Outcome, answer_text};
use trailseal_core::trigger::{Origin, REQUEST, SWEEP, Target, TrailRef, Trigger};

use crate::basis::{Approved, Basis};
use crate::console::Progress;
use crate::document::Document;
use crate::failure::Failed;
use crate::paint::paint;
use crate::policy_diff::policy_diffs;
use crate::settings::Source;
use crate::{Exit, account, settings};

/// The time for all calls, and for the second read that confirms that a key is missing.
const TIME: Duration = Duration::from_secs(15 * 60);

/// Whose credentials are used.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub(crate) struct Credentials {
    /// AWS CLI profile
    #[arg(long)]
    pub(crate) profile: Option<String>,
}

/// Which trails, with which settings.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub(crate) struct Selection {
    /// A trail, by name or ARN; may be repeated. Without it, every trail
    #[arg(long = "trail", value_name = "NAME_OR_ARN")]
    trails: Vec<String>,

    /// Region: where trails are listed, and the home Region of trails that are given by name
    #[arg(long)]
    region: Option<Region>,

    /// File with the function's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What was selected, so that a later command can select it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Selected {
    pub(crate) account: String,
    pub(crate) region: String,
    trails: Vec<String>,
    settings: BTreeMap<String, String>,
}

/// A command's access to an account.
pub(crate) struct Session {
    aws: Aws,
    context: Context,
    target: Target,
    origin: Origin,
    pub(crate) selected: Selected,
}

impl Selection {
    /// # Errors
    ///
    /// The settings are invalid, a trail is malformed, or the account is unknown.
    pub(crate) async fn open(&self, credentials: &Credentials) -> Result<Session, Failed> {
        let source = self.config.as_deref().map_or(Source::Environment, Source::File);
        Session::open(source, self.region.as_ref(), self.trails.clone(), credentials).await
    }
}

impl Selected {
    /// # Errors
    ///
    /// The credentials are those of another account, or the selection was edited.
    pub(crate) async fn open(&self, credentials: &Credentials) -> Result<Session, Failed> {
        let edited = |malformed: Malformed| {
            Failed::new(format!("the saved plan was edited: {malformed}"), "save the plan again")
        };
        let region: Region = self.region.parse().map_err(edited)?;
        let source = Source::Saved(&self.settings);
        let session = Session::open(source, Some(&region), self.trails.clone(), credentials).await?;
        if session.selected.account == self.account {
            return Ok(session);
        }
        Err(Failed::new(
            format!(
                "the saved plan is for account {}, and these credentials are for account {}",
                shorten(&self.account, 80),
                session.selected.account
            ),
            "specify the --profile of that account",
        ))
    }
}

impl Session {
    async fn open(
        source: Source<'_>,
        region: Option<&Region>,
        trails: Vec<String>,
        credentials: &Credentials,
    ) -> Result<Self, Failed> {
        let profile = credentials.profile.as_deref();
        let (config, settings) = settings::for_dry_run(source)?;
        let (aws, region) = account::connect(profile, region).await?;
        let target = target(&trails, &region)?;
        let context = account::context(aws.sdk(), config, &region, profile).await?;
        let kind = if target == Target::Sweep { SWEEP } else { REQUEST };
        let account = context.function_arn.account().to_string();
        let selected = Selected { account, region: region.to_string(), trails, settings };
        let origin = Origin { kind: kind.into(), region: Some(region), is_command: true, ..Origin::default() };
        Ok(Self { aws, context, target, origin, selected })
    }

    /// What the function would do, and what that rests on. Changes nothing.
    pub(crate) async fn plan(&self) -> (Answer, Basis) {
        let mut basis = Basis::default();
        let mut before_apply = |trails: &AssessedTrails, facts: &RemediationFacts| {
            basis = self.basis(trails, facts);
            Proceed::Stop
        };
        let answer = self.reconcile(&self.context, &mut before_apply).await;
        (answer, basis)
    }

    /// # Errors
    ///
    /// A trail that was named does not exist.
    pub(crate) fn require_named_trails(&self, answer: &Answer) -> Result<(), Failed> {
        let absent = answer.trails.iter().find(|trail| trail.outcome == Outcome::Gone);
        match absent {
            Some(trail) if self.target != Target::Sweep => Err(Failed::new(
                format!(
                    "trail `{}` does not exist",
                    trail.trail.as_ref().map_or_else(String::as_str, TrailArn::as_str)
                ),
                "check the name and its home Region (--region); `aws cloudtrail list-trails` lists the trails",
            )),
            _ => Ok(()),
        }
    }

    /// Does what the function would do, if that still rests on `expected`. A later pass continues that for the same
    /// trails, buckets and Regions only.
    ///
    /// # Errors
    ///
    /// What it rests on now. Nothing was changed.
    pub(crate) async fn apply(&self, expected: &Basis) -> Result<Answer, Basis> {
        let mut changed = None;
        let mut approved: Option<Approved> = None;
        let mut before_apply = |trails: &AssessedTrails, facts: &RemediationFacts| {
            let proceeds = match &approved {
                Some(approved) => approved.includes(trails, facts),
                None => {
                    approved = Some(Approved::of(trails, facts));
                    changed = Some(self.basis(trails, facts)).filter(|basis| basis != expected);
                    changed.is_none()
                }
            };
            if proceeds { Proceed::Apply } else { Proceed::Stop }
        };
        let answer = self.reconcile(&self.enforcing(), &mut before_apply).await;
        changed.map_or(Ok(answer), Err)
    }

    async fn reconcile(&self, context: &Context, before_apply: BeforeApply<'_>) -> Answer {
        let trigger = Trigger { origin: self.origin.clone(), target: self.target.clone() };
        let progress = Progress::start();
        let mut before_apply = |trails: &AssessedTrails, facts: &RemediationFacts| {
            progress.clear();
            before_apply(trails, facts)
        };
        reconcile_if(&self.aws, context, trigger, Invocation::within(TIME, 0), &mut before_apply).await
    }

    fn basis(&self, trails: &AssessedTrails, facts: &RemediationFacts) -> Basis {
        Basis::of(&self.context.config, trails, facts)
    }

    fn enforcing(&self) -> Context {
        let mut context = self.context.clone();
        context.config.mode = Mode::Enforce;
        context
    }

    /// An answer in the form that was asked for.
    ///
    /// # Errors
    ///
    /// Except as JSON, an answer about no trail at all is an error.
    pub(crate) fn print(&self, answer: &Answer, format: Format) -> Result<String, Failed> {
        match (format, &answer.error) {
            (Format::Json, _) => {
                let text = serde_json::to_string_pretty(answer);
                text.map(|text| text + "\n")
                    .map_err(|error| Failed::new(format!("cannot write the answer as JSON: {error}"), ""))
            }
            (_, Some(failure)) if failure.is_transient() => {
                Err(Failed::new(failure.message.clone(), "run the command again"))
            }
            (_, Some(failure)) => Err(Failed::new(failure.message.clone(), failure.remedy.clone().unwrap_or_default())),
            (Format::Text, None) if answer.mode == Mode::DryRun.as_str() => {
                Ok(paint(&answer_text(answer, &self.origin, &self.context.config)) + &policy_diffs(answer))
            }
            (Format::Text, None) => Ok(paint(&answer_text(answer, &self.origin, &self.enforcing().config))),
            (Format::Sarif, None) => Ok(Document::new(answer, &self.selected.account)?.sarif()),
            (Format::Markdown, None) => Ok(Document::new(answer, &self.selected.account)?.markdown()),
            (Format::Html, None) => Ok(Document::new(answer, &self.selected.account)?.html()),
        }
    }
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// The function's answer (docs/answer.schema.json)
    Json,
    /// SARIF 2.1.0, with a result for each finding
    Sarif,
    /// For a comment on a pull request
    Markdown,
    /// One self-contained page
    Html,
}

/// What an answer means for the exit code.
pub(crate) fn exit(answer: &Answer) -> Exit {
    let is_quiet = |outcome| outcome <= Outcome::Exempt || outcome == Outcome::Remediated;
    let has_failed = answer.trails.iter().any(|trail| trail.outcome == Outcome::Failed);
    match answer {
        Answer { error: Some(_), .. } => Exit::Error,
        _ if has_failed && answer.mode == Mode::Enforce.as_str() => Exit::NotApplied,
        Answer { strays, trails, .. } if strays.is_empty() && trails.iter().all(|trail| is_quiet(trail.outcome)) => {
            Exit::Success
        }
        _ => Exit::Findings,
    }
}

fn target(trails: &[String], region: &Region) -> Result<Target, Failed> {
    if trails.is_empty() {
        return Ok(Target::Sweep);
    }
    let trails = trails.iter().map(|text| match text.parse::<TrailArn>() {
        Ok(arn) => Ok(TrailRef::Arn(arn)),
        Err(malformed) if text.starts_with("arn:") => Err(malformed),
        Err(_) => text.parse().map(|name| TrailRef::Name { name, region: region.clone() }),
    });
    let trails: Result<Vec<TrailRef>, _> = trails.collect();
    trails.map(Target::Trails).map_err(|malformed| {
        Failed::new(format!("invalid --trail: {malformed}"), "list the trails with `aws cloudtrail list-trails`")
    })
}
