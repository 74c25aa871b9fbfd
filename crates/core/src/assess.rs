//! What is wrong with a trail, from facts alone. There is no parameter through which the trigger
//! could be seen.

use serde::Serialize;

use crate::config::Config;
use crate::facts::{KeyFacts, KeyManager, KeyMetadata, KeyState, Reading, TrailFacts};
use crate::ids::{FunctionArn, TrailArn};
use crate::policy::KeyPolicy;

/// The stable id of something wrong with a trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum FindingId {
    /// The trail has no key: its files are encrypted with S3's own.
    NoCmk,
    /// AWS manages the key.
    KeyNotCustomerManaged,
    /// The key's spec or usage is not that of a symmetric encryption key.
    KeyNotSymmetric,
    /// Somebody disabled the key.
    KeyDisabled,
    /// The key is being deleted.
    KeyPendingDeletion,
    /// The key is in another state in which it does not work.
    KeyUnavailable,
    /// There is no such key.
    KeyMissing,
    /// The trail was stopped.
    LoggingStopped,
}

/// One thing wrong with a trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// What.
    pub id: FindingId,
    /// In words, with the names that matter.
    pub detail: String,
}

/// The stable id of something that somebody should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WarningId {
    /// The key's policy cannot be judged with certainty.
    KeyPolicyUnclear,
    /// The key, or its policy, may not be read.
    KeyUnreadable,
}

/// One thing that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Warning {
    /// What.
    pub id: WarningId,
    /// In words, with the names that matter.
    pub detail: String,
}

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
        /// Give the trail the sealing key.
        seal: bool,
        /// Start logging again.
        restart: bool,
    },
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

/// Judges one trail.
pub fn assess(trail: &TrailFacts, config: &Config, home: &FunctionArn) -> Assessment {
    let no_cmk = || finding(FindingId::NoCmk, "its log files are not encrypted with a KMS key");
    let arn = &trail.settings.arn;
    if !is_ours(arn, config, home) {
        let unencrypted = trail.settings.kms_key_id.is_none();
        let reason = format!("the trail belongs to account `{}`, which has to mend it", arn.account());
        return Assessment {
            findings: unencrypted.then(no_cmk).into_iter().collect(),
            warnings: Vec::new(),
            verdict: Verdict::OutOfScope(reason),
        };
    }
    let mut findings = Vec::new();
    let mut warnings = Vec::new();
    match &trail.key {
        None => findings.push(no_cmk()),
        Some(reading) => judge_key(trail, reading, config, home, &mut findings, &mut warnings),
    }
    let seal = !findings.is_empty();
    let stopped = !trail.status.logging && trail.status.ever_started;
    if stopped {
        findings.push(finding(FindingId::LoggingStopped, "it was started once and does not log now"));
    }
    let verdict = if seal || (stopped && config.restart_logging) {
        Verdict::Mend { seal, restart: stopped && config.restart_logging }
    } else if stopped {
        Verdict::Note
    } else {
        Verdict::Compliant
    };
    Assessment { findings, warnings, verdict }
}

fn finding(id: FindingId, detail: impl Into<String>) -> Finding {
    Finding { id, detail: detail.into() }
}

fn judge_key(
    trail: &TrailFacts,
    reading: &Reading<KeyFacts>,
    config: &Config,
    home: &FunctionArn,
    findings: &mut Vec<Finding>,
    warnings: &mut Vec<Warning>,
) {
    let named = trail.settings.kms_key_id.as_deref().unwrap_or_default();
    match reading {
        Reading::Absent => {
            findings.push(finding(
                FindingId::KeyMissing,
                format!("its key `{named}` does not exist, also not when read a second time"),
            ));
        }
        Reading::Denied(failure) => warnings.push(Warning {
            id: WarningId::KeyUnreadable,
            detail: format!("its key `{named}` may not be read, so it was not judged: {}", failure.message),
        }),
        Reading::Known(key) => {
            findings.extend(unusable(&key.metadata));
            if findings.is_empty() {
                warnings.extend(doubt(key, config, home));
            }
        }
    }
}

/// Every reason why CloudTrail cannot work with this key, whatever its policy says.
pub fn unusable(key: &KeyMetadata) -> Vec<Finding> {
    let KeyMetadata { arn, manager, spec, usage, state, created: _, fresh: _ } = key;
    let mut findings = Vec::new();
    if *manager == KeyManager::Aws {
        findings.push(finding(
            FindingId::KeyNotCustomerManaged,
            format!("key `{arn}` is managed by AWS; its policy cannot let CloudTrail in"),
        ));
    }
    let wrong = |text: &Option<String>, right: &str| text.as_deref().filter(|text| *text != right).map(str::to_owned);
    if let Some(found) = wrong(spec, "SYMMETRIC_DEFAULT").or(wrong(usage, "ENCRYPT_DECRYPT")) {
        findings.push(finding(
            FindingId::KeyNotSymmetric,
            format!("key `{arn}` is `{found}`; CloudTrail takes symmetric encryption keys only"),
        ));
    }
    match state {
        KeyState::Usable | KeyState::Unknown(_) => {}
        KeyState::Disabled => findings.push(finding(FindingId::KeyDisabled, format!("key `{arn}` is disabled"))),
        KeyState::PendingDeletion => {
            findings.push(finding(FindingId::KeyPendingDeletion, format!("key `{arn}` is being deleted")));
        }
        KeyState::Unavailable(state) => {
            findings.push(finding(FindingId::KeyUnavailable, format!("key `{arn}` is in state `{state}`")));
        }
    }
    findings
}

/// What could not be judged of a key that is not known to be unusable. Only the very policy that
/// trailseal writes is known to be right; for any other, CloudTrail itself has the last word.
pub fn doubt(key: &KeyFacts, config: &Config, home: &FunctionArn) -> Option<Warning> {
    let arn = &key.metadata.arn;
    if let KeyState::Unknown(state) = &key.metadata.state {
        let detail = format!("key `{arn}` is in state `{state}`, which is not known here, so it was not judged");
        return Some(Warning { id: WarningId::KeyUnreadable, detail });
    }
    match &key.policy {
        Reading::Known(text) if KeyPolicy::of(config, home).is(text) => None,
        Reading::Known(_) => Some(Warning {
            id: WarningId::KeyPolicyUnclear,
            detail: format!(
                "the policy of key `{arn}` is not the one that trailseal writes, so it was not judged; CloudTrail itself checks it when a trail is given the key"
            ),
        }),
        Reading::Absent => Some(Warning {
            id: WarningId::KeyPolicyUnclear,
            detail: format!("KMS told no policy of key `{arn}`, so it was not judged"),
        }),
        Reading::Denied(failure) => Some(Warning {
            id: WarningId::KeyUnreadable,
            detail: format!("the policy of key `{arn}` may not be read, so it was not judged: {}", failure.message),
        }),
    }
}
