//! What is wrong with a trail, from facts alone. There is no parameter through which the trigger
//! could be seen.

use crate::config::Config;
use crate::finding::{Finding, FindingId, Warning, WarningId};
use crate::ids::{FunctionArn, KeyArn, TrailArn};
use crate::key::{LetsIn, Policy, needs_decrypt, not_revoked, odd_state, unclear, untold_tags, unusable};
use crate::key_policy::KeyPolicy;
use crate::observation::{KeyFacts, Reading, TrailFacts};

/// What the findings call for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Compliant,
    /// Somebody else has to mend it; why.
    OutOfScope(String),
    /// A report.
    Note,
    /// A change.
    Mend {
        /// What is to become of its key.
        key: Option<KeyNeed>,
        /// Start logging again.
        restart: bool,
    },
}

/// What a trail needs of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyNeed {
    /// The sealing key of its bucket's Region, in working order.
    Sealing,
    /// Its own key of ours, which works, needs what its policy lacks.
    Completing(KeyArn),
}

/// A trail, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Assessment {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What somebody should know.
    pub warnings: Vec<Warning>,
    /// What to do about it.
    pub verdict: Verdict,
}

/// Whether the trail is ours to mend. Its ARN names its owner: for an organization trail the
/// management account, in every account that sees it.
/// Source: <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/creating-trail-organization.html>.
pub fn is_ours(trail: &TrailArn, config: &Config, home: &FunctionArn) -> bool {
    trail.account() == home.account() || Some(trail.account()) == config.org_trail_owner.as_ref()
}

/// Why another account's trail is left alone.
pub(crate) fn belongs_to(trail: &TrailArn) -> String {
    format!("the trail belongs to account `{}`, which has to mend it", trail.account())
}

/// Judges one trail.
pub fn assess(trail: &TrailFacts, config: &Config, home: &FunctionArn) -> Assessment {
    let no_cmk = || Finding::new(FindingId::NoCmk, "its log files are not encrypted with a KMS key");
    let arn = &trail.settings.arn;
    if !is_ours(arn, config, home) {
        let unencrypted = trail.settings.kms_key_id.is_none();
        return Assessment {
            findings: unencrypted.then(no_cmk).into_iter().collect(),
            warnings: Vec::new(),
            verdict: Verdict::OutOfScope(belongs_to(arn)),
        };
    }
    let failing = Failing::of(trail);
    let mut key = match &trail.key {
        None => KeyJudgement { findings: vec![no_cmk()], warnings: vec![], need: Some(KeyNeed::Sealing) },
        Some(reading) => judge_key(trail, reading, &failing, config, home),
    };
    key.findings.extend(failing.finding());
    let stopped = !trail.status.logging && trail.status.ever_started;
    if stopped {
        key.findings.push(Finding::new(FindingId::LoggingStopped, "it was started once and does not log now"));
    }
    let KeyJudgement { findings, warnings, need } = key;
    let restart = stopped && config.restart_logging;
    let verdict = match need {
        None if !restart && findings.is_empty() => Verdict::Compliant,
        None if !restart => Verdict::Note,
        need => Verdict::Mend { key: need, restart },
    };
    Assessment { findings, warnings, verdict }
}

/// Whether, and why, CloudTrail could not write when it last tried. A trail that does not log tells of
/// long ago.
struct Failing<'a> {
    /// What S3 said, of which files.
    errors: Vec<(&'static str, &'a str)>,
}

impl<'a> Failing<'a> {
    fn of(trail: &'a TrailFacts) -> Self {
        let status = &trail.status;
        let errors = [("log", &status.delivery_error), ("digest", &status.digest_error)];
        let told = errors.into_iter().filter_map(|(files, error)| Some((files, error.as_deref()?)));
        Self { errors: told.filter(|_| status.logging).collect() }
    }

    /// Whether a key can be the cause: S3 names KMS in its own codes for that, or speaks of a denial.
    /// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
    fn key_may_be_why(&self) -> bool {
        let words = |error: &str| error.to_ascii_lowercase();
        self.errors.iter().any(|(_, error)| words(error).contains("kms") || words(error).contains("accessdenied"))
    }

    fn finding(&self) -> Option<Finding> {
        let told = |(files, error): &(&str, &str)| format!("`{error}` for {files} files ({})", meaning(error));
        let told: Vec<String> = self.errors.iter().map(told).collect();
        let words = format!(
            "S3 answered {} when CloudTrail last delivered. CloudTrail tries again for 30 days, and tells so until it succeeds, usually within 5 minutes",
            told.join(", ")
        );
        (!told.is_empty()).then(|| Finding::new(FindingId::DeliveryFailing, words))
    }
}

/// What S3's code means, and whether the key can be the cause.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
fn meaning(error: &str) -> &'static str {
    let error = error.to_ascii_lowercase();
    if error.contains("kms") {
        "the key refused: its state or its policy is the cause"
    } else if error.contains("accessdenied") {
        "the bucket's policy, or the key's, does not let CloudTrail in"
    } else if error.contains("nosuchbucket") {
        "the bucket is gone; its key is not the cause"
    } else {
        "nothing in that speaks of its key"
    }
}

/// A trail's own key, judged.
struct KeyJudgement {
    findings: Vec<Finding>,
    warnings: Vec<Warning>,
    need: Option<KeyNeed>,
}

fn judge_key(
    trail: &TrailFacts,
    reading: &Reading<KeyFacts>,
    failing: &Failing<'_>,
    config: &Config,
    home: &FunctionArn,
) -> KeyJudgement {
    let named = trail.settings.kms_key_id.as_deref().unwrap_or_default();
    match reading {
        Reading::Absent => {
            let detail = format!("its key `{named}` does not exist, also not when read a second time");
            let findings = vec![Finding::new(FindingId::KeyMissing, detail)];
            KeyJudgement { findings, warnings: vec![], need: Some(KeyNeed::Sealing) }
        }
        Reading::Denied(failure) => {
            let detail = format!("its key `{named}` may not be read, so it was not judged: {}", failure.message);
            let warnings = vec![Warning::new(WarningId::KeyUnreadable, detail)];
            KeyJudgement { findings: vec![], warnings, need: None }
        }
        Reading::Known(key) => judge_known(trail, key, failing, config, home),
    }
}

fn judge_known(
    trail: &TrailFacts,
    key: &KeyFacts,
    failing: &Failing<'_>,
    config: &Config,
    home: &FunctionArn,
) -> KeyJudgement {
    let arn = &key.metadata.arn;
    let mut findings = unusable(&key.metadata);
    let broken = !findings.is_empty();
    let mut need = broken.then_some(KeyNeed::Sealing);
    let mut warnings: Vec<Warning> = odd_state(&key.metadata).into_iter().collect();
    if !warnings.is_empty() {
        return KeyJudgement { findings, warnings, need };
    }
    warnings.extend(untold_tags(key).filter(|_| !broken));
    let document = match Policy::of(key) {
        Policy::Known(_, document) => document,
        Policy::Unknown(why) => {
            warnings.extend(Some(why).filter(|_| !broken));
            return KeyJudgement { findings, warnings, need };
        }
    };
    let policy = KeyPolicy::new(config, home);
    // An exempt key of ours is left alone, like another's.
    let kept = key.ours().is_some_and(|tags| tags.exempt.is_none());
    let lacks = if kept { policy.extension(&document) } else { None };
    let gap = |detail: String| Finding::new(FindingId::KeyPolicyGap, detail);
    match (LetsIn::of(&document, arn, &trail.settings.arn), lacks) {
        // What keeps CloudTrail out of a broken key of another's makes no difference.
        (LetsIn::No { .. }, _) if broken && key.ours().is_none() => {}
        (LetsIn::No { why, denied }, _) => {
            let remedy = if denied || key.ours().is_some() {
                String::new()
            } else {
                format!("; it needs these statements: {}", policy.cloudtrail_statements())
            };
            findings
                .push(gap(format!("the policy of its key `{arn}` does not let CloudTrail encrypt ({why}){remedy}")));
            // A reading of another's policy alone must not move a trail off a key that works.
            if kept || failing.key_may_be_why() {
                need = Some(KeyNeed::Sealing);
            } else if key.ours().is_some() {
                need = need.or_else(|| Some(KeyNeed::Completing(arn.clone())));
            }
        }
        (_, Some(lacks)) => {
            findings.push(gap(format!(
                "the policy of its key `{arn}` lacks {}: {}",
                lacks.summary(),
                lacks.instruction()
            )));
            need = need.or_else(|| Some(KeyNeed::Completing(arn.clone())));
        }
        _ if broken => {}
        (LetsIn::Unclear(why), None) => warnings.push(unclear(arn, &why)),
        (LetsIn::Yes { no_decrypt: Some(why) }, None) => warnings.push(needs_decrypt(arn, &why)),
        (LetsIn::Yes { no_decrypt: None }, None) => {}
    }
    if !config.supplied_keys.values().any(|supplied| supplied == arn) {
        warnings.extend(not_revoked(arn, &document, &policy));
    }
    KeyJudgement { findings, warnings, need }
}
