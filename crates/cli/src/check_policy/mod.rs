//! `trailseal check-policy`: key and bucket policies in files, for CI.

mod checks;
mod intrinsics;
mod node;
mod print;
mod result;
mod rules;
pub(crate) mod sarif;
mod source;
mod template;
mod terraform;
mod tested;
mod yaml;

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use trailseal_core::ids::{AccountId, Malformed, OrganizationId, Partition, Region, TrailArn, shorten};

use crate::Exit;
use crate::failure::Failed;
use node::{Node, Unreadable};
use result::{Checked, Found, Location, Report};
use rules::Rule;
use source::{Place, Policy, PolicyKind, Unknown};
use tested::TestedPolicy;

const EXAMPLE: &str = "\
Examples:
  trailseal check-policy key-policy.json bucket-policy.json --account 111122223333
  trailseal check-policy template.yaml --account 111122223333 --format github
  terraform show -json tfplan | trailseal check-policy - --account 111122223333
  aws kms get-key-policy --key-id KEY_ID | trailseal check-policy - --account 111122223333

In templates and plans, only policies about CloudTrail are checked: those that name
cloudtrail.amazonaws.com, and those of the keys and buckets of the file's trails. What a file leaves
open, such as a parameter, is unknown and never guessed. If the files contain exactly one key
policy, the readers of each bucket are compared with it.

Exit codes:
  0  no errors or warnings
  1  error: a file cannot be read, or contains no policy
  2  errors or warnings were found";

/// Check that key and bucket policies give CloudTrail access, and show who else can read
///
/// Reads policies as JSON, Terraform plans and states (terraform show -json), and CloudFormation templates (YAML or JSON, also
/// of the CDK). Works offline.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE, max_term_width = 100)]
#[group(skip)]
pub(crate) struct Options {
    /// Files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Kind of the policies, if their actions do not show it
    #[arg(long, value_enum)]
    kind: Option<Kind>,

    /// Account of the trails
    #[arg(long, value_name = "ID")]
    account: AccountId,

    /// Organization (o-...) of the account
    #[arg(long, value_name = "ID", env = "TRAILSEAL_ORGANIZATION_ID", hide_env_values = true)]
    organization: Option<OrganizationId>,

    /// Trail that the policies are for; may be repeated. Without it, those that a policy names, or an example
    #[arg(long = "trail", value_name = "ARN")]
    trails: Vec<TrailArn>,

    /// Region of trails and keys; by default that of --trail, of AWS_REGION, or us-east-1
    #[arg(long)]
    region: Option<Region>,

    /// AWS partition; by default that of --trail, else aws
    #[arg(long)]
    partition: Option<Partition>,

    /// Parameter of a CloudFormation template; may be repeated. Others are unknown, also if they have a default
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,

    /// Format of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

fn parameter(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Key policy
    Key,
    /// Bucket policy
    Bucket,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of a GitHub workflow
    Github,
    /// A comment on a pull request
    Markdown,
}

impl Options {
    /// What to print, and the exit code.
    ///
    /// # Errors
    ///
    /// Every file that cannot be read or contains no policy.
    pub(crate) fn run(&self) -> Result<(String, Exit), Failed> {
        self.run_with(read)
    }

    /// The same with the content of each file as `read` returns it.
    pub(crate) fn run_with(&self, read: impl Fn(&Path) -> io::Result<Vec<u8>>) -> Result<(String, Exit), Failed> {
        let place = self.place()?;
        if self.files.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
            return Err(Failed::new("standard input (`-`) is specified more than once", ""));
        }
        let mut problems = Vec::new();
        let mut policies: Vec<(String, Policy)> = Vec::new();
        let mut report = Report::default();
        let mut declared = BTreeSet::new();
        let names: Vec<String> = self.files.iter().map(|path| shorten(&path.to_string_lossy(), 4096)).collect();
        for (path, name) in self.files.iter().zip(&names) {
            match self.policies(path, read(path), &place) {
                Ok(found) => {
                    report.not_about_cloudtrail = report.not_about_cloudtrail.saturating_add(found.unrelated);
                    report.unknown = report.unknown.saturating_add(found.unknown_unrelated);
                    declared.extend(found.parameters);
                    report.found.extend(found.unknown.into_iter().map(|unknown| not_known(name, unknown)));
                    policies.extend(found.policies.into_iter().map(|policy| (name.clone(), policy)));
                }
                Err(why) => problems.push(format!("`{}`{why}", shorten(name, 200))),
            }
        }
        if !problems.is_empty() {
            return Err(Failed::new(problems.join("\nerror: "), ""));
        }
        if let Some(name) = place.parameters.keys().find(|name| !declared.contains(*name)) {
            let message = format!("no template has the parameter `{}`", shorten(name, 80));
            return Err(Failed::new(message, "check the names after --parameter"));
        }
        check(&place, &policies, &mut report);
        report.sort(&names);
        let exit = if report.has_findings() { Exit::Findings } else { Exit::Success };
        let pretty = |value: serde_json::Value| format!("{value:#}\n");
        let text = match self.format {
            Format::Text => print::text(&report),
            Format::Json => pretty(print::json(&report)),
            Format::Sarif => pretty(sarif::log(&report)),
            Format::Github => print::github(&report),
            Format::Markdown => print::markdown(&report),
        };
        Ok((text, exit))
    }

    fn place(&self) -> Result<Place, Failed> {
        let invalid = |malformed: Malformed| Failed::new(malformed.to_string(), "");
        let first = self.trails.first();
        let partition = self.partition.clone().or_else(|| Some(first?.partition().clone()));
        let partition = partition.map_or_else(|| "aws".parse(), Ok).map_err(invalid)?;
        let region = self.region.clone().or_else(|| Some(first?.region().clone()));
        let configured = || std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned()).parse();
        let region = region.map_or_else(configured, Ok).map_err(invalid)?;
        let (account, organization, trails) = (self.account.clone(), self.organization.clone(), self.trails.clone());
        let parameters = self.parameters.iter().cloned().collect();
        Ok(Place { partition, account, organization, region, trails, parameters })
    }

    /// The policies of a file. Fails with the rest of a sentence that begins with the file's name.
    fn policies(&self, path: &Path, content: io::Result<Vec<u8>>, place: &Place) -> Result<source::Found, String> {
        let text = decode(content.map_err(|error| format!(": cannot read it: {error}"))?)?;
        if path.extension().is_some_and(|extension| extension == "tf") {
            return Err(": it is Terraform code; pass the output of `terraform show -json PLAN`".to_owned());
        }
        let root = Node::read(&text).map_err(|Unreadable { line, why }| format!(", line {line}: {why}"))?;
        let kind = self.kind.map(|kind| match kind {
            Kind::Key => PolicyKind::Key,
            Kind::Bucket => PolicyKind::Bucket,
        });
        source::policies(&root, kind, place).map_err(|why| format!(": {why}"))
    }
}

/// The content of a file, or of standard input.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path.as_os_str() != "-" {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file. Windows PowerShell writes UTF-16.
fn decode(bytes: Vec<u8>) -> Result<String, String> {
    let text = match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => {
            let units: Vec<u16> = rest.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            String::from_utf16(&units).ok()
        }
        [b'P', b'K', ..] => {
            return Err(": it is a saved plan; pass the output of `terraform show -json PLAN`".to_owned());
        }
        _ => String::from_utf8(bytes).ok(),
    };
    text.ok_or_else(|| ": it is not UTF-8".to_owned())
}

fn not_known(file: &str, unknown: Unknown) -> Found {
    let Unknown { kind, resource, line, why } = unknown;
    let place = Location { file: file.to_owned(), line, resource: Some(shorten(&resource, 300)), sid: None };
    let message = shorten(&format!("a trail uses this {}, but {why}", kind.name()), 2000);
    Found { rule: Rule::PolicyUnknown, level: Rule::PolicyUnknown.level(), place, message, help: None }
}

/// Checks the policies: of buckets, with the key policy if there is exactly one.
fn check(place: &Place, policies: &[(String, Policy)], report: &mut Report) {
    let mut all_tested = Vec::new();
    for (file, policy) in policies {
        match TestedPolicy::new(place, file, policy) {
            Ok(tested) => all_tested.push(tested),
            Err(malformed) => {
                report.policies.push(Checked::new(file, policy, Vec::new()));
                report.found.push(malformed);
            }
        }
    }
    let keys: Vec<&TestedPolicy<'_>> =
        all_tested.iter().filter(|tested| tested.policy.kind == PolicyKind::Key).collect();
    let key = if let [only] = keys.as_slice() { Some(*only) } else { None };
    for tested in &all_tested {
        let trails = tested.trails.iter().map(ToString::to_string).collect();
        report.policies.push(Checked::new(tested.file, tested.policy, trails));
        report.found.extend(match tested.policy.kind {
            PolicyKind::Key => checks::key_policy(tested),
            PolicyKind::Bucket => checks::bucket_policy(tested, key),
        });
    }
}
