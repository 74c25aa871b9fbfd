//! What is wrong with a trail, from the observation alone. No parameter contains the trigger. It decides only whether the
//! rotation of keys is read ([`crate::trigger::Target::includes_rotation`]). Which key a trail gets belongs in
//! [`crate::plan`].

use std::collections::{BTreeMap, BTreeSet};

use crate::access::{KeyAccess, cloudtrail_key_access};
use crate::context::Context;
use crate::failure::Failure;
use crate::finding::{DeliveryError, Finding, Warning};
use crate::iam::Document;
use crate::ids::{KeyArn, TrailArn};
use crate::key_policy::{KeyAdministrator, KeyPolicy};
use crate::observation::{
    KeyManager, KeyMetadata, KeyObservation, KeyState, ParsedPolicy, Reading, TrailFacts, TrailObservation,
    TrailSettings, TrailStatus,
};

/// How long before its expiry key material is reported.
const EXPIRY_WARNING_DAYS: i64 = 30;

/// What the findings require.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Compliant,
    /// A change by the account that owns the trail.
    OutOfScope,
    /// A report.
    Note,
    /// A change.
    Remediate {
        /// What the trail's key needs.
        key: Option<KeyNeed>,
        /// Whether to start logging again.
        restart: bool,
    },
}

/// What a trail needs of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyNeed {
    /// The sealing key of its bucket's Region, in a usable state.
    SealingKey,
    /// What its own key lacks: statements of its policy, or rotation. It is trailseal's key and can be used.
    Repair(KeyArn),
}

/// A trail after assessment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssessedTrail {
    /// The trail does not exist.
    Gone,
    /// The trail cannot be read.
    Unreadable(Failure),
    /// The trail and its assessment.
    Readable(Box<Assessment>),
}

/// The assessment of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Assessment {
    /// The settings that were assessed.
    pub settings: TrailSettings,
    /// Whether the trail is logging.
    pub logging: bool,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What the reader of the report needs to know.
    pub warnings: Vec<Warning>,
    /// What to do about it.
    pub verdict: Verdict,
}

/// The reads that the plan needs besides the health of the trails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredReads {
    /// Trails whose exempt tag decides whether anything happens.
    pub trails_to_check: Vec<TrailSettings>,
    /// Of these, the trails that need the sealing key of their bucket's Region.
    pub trails_to_seal: BTreeSet<TrailArn>,
    /// The trails whose own key needs a repair, with that key.
    pub keys_to_repair: BTreeMap<TrailArn, KeyArn>,
}

/// Assesses every trail.
pub fn assess_all(
    observations: BTreeMap<TrailArn, TrailObservation>,
    context: &Context,
) -> BTreeMap<TrailArn, AssessedTrail> {
    let assessed = |observation| match observation {
        TrailObservation::Gone => AssessedTrail::Gone,
        TrailObservation::Unreadable(failure) => AssessedTrail::Unreadable(failure),
        TrailObservation::Readable(facts) => AssessedTrail::Readable(Box::new(assess(*facts, context))),
    };
    observations.into_iter().map(|(arn, observation)| (arn, assessed(observation))).collect()
}

/// The reads that the plan for these trails needs.
pub fn required_reads(trails: &BTreeMap<TrailArn, AssessedTrail>) -> RequiredReads {
    let mut reads = RequiredReads::default();
    for trail in trails.values() {
        let AssessedTrail::Readable(assessment) = trail else { continue };
        let settings = &assessment.settings;
        match &assessment.verdict {
            Verdict::Compliant | Verdict::OutOfScope => continue,
            Verdict::Remediate { key: Some(KeyNeed::SealingKey), .. } => {
                reads.trails_to_seal.insert(settings.arn.clone());
            }
            Verdict::Remediate { key: Some(KeyNeed::Repair(key)), .. } => {
                reads.keys_to_repair.insert(settings.arn.clone(), key.clone());
            }
            Verdict::Note | Verdict::Remediate { key: None, .. } => {}
        }
        reads.trails_to_check.push(settings.clone());
    }
    reads
}

/// Assesses one trail.
pub fn assess(trail: TrailFacts, context: &Context) -> Assessment {
    let TrailFacts { settings, status, key } = trail;
    let logging = status.logging;
    if !context.owns_trail(&settings.arn) {
        let findings = settings.kms_key_id.is_none().then_some(Finding::NoCmk).into_iter().collect();
        return Assessment { settings, logging, findings, warnings: vec![], verdict: Verdict::OutOfScope };
    }
    let delivery_errors = delivery_errors(&status);
    let KeyAssessment { mut findings, warnings, need } = match &key {
        None => KeyAssessment { findings: vec![Finding::NoCmk], warnings: vec![], need: Some(KeyNeed::SealingKey) },
        Some(reading) => assess_reading(&settings, reading, &delivery_errors, context),
    };
    if !delivery_errors.is_empty() {
        findings.push(Finding::DeliveryFailing(delivery_errors));
    }
    let stopped = !logging && status.ever_started;
    if stopped {
        findings.push(Finding::LoggingStopped);
    }
    let restart = stopped && context.config.restart_logging;
    let verdict = match need {
        None if !restart && findings.is_empty() => Verdict::Compliant,
        None if !restart => Verdict::Note,
        key => Verdict::Remediate { key, restart },
    };
    Assessment { settings, logging, findings, warnings, verdict }
}

/// The errors of the last delivery. Those of a stopped trail are outdated.
fn delivery_errors(status: &TrailStatus) -> Vec<DeliveryError> {
    let errors = [("log", &status.delivery_error), ("digest", &status.digest_error)];
    let errors = errors.into_iter().filter(|_| status.logging);
    errors.filter_map(|(files, code)| Some(DeliveryError { files, code: code.clone()? })).collect()
}

fn may_be_caused_by_key(errors: &[DeliveryError]) -> bool {
    errors.iter().any(DeliveryError::may_be_caused_by_key)
}

/// The assessment of a trail's own key.
struct KeyAssessment {
    findings: Vec<Finding>,
    warnings: Vec<Warning>,
    need: Option<KeyNeed>,
}

fn assess_reading(
    settings: &TrailSettings,
    reading: &Reading<KeyObservation>,
    delivery_errors: &[DeliveryError],
    context: &Context,
) -> KeyAssessment {
    let named = settings.kms_key_id.clone().unwrap_or_default();
    let warning = |warning| KeyAssessment { findings: vec![], warnings: vec![warning], need: None };
    match reading {
        // CloudTrail names a key by its ARN. A key that is named otherwise may exist elsewhere.
        Reading::Absent if named.parse::<KeyArn>().is_err() => {
            warning(Warning::KeyNameUnresolved { key: named, region: settings.home_region.clone() })
        }
        Reading::Absent => KeyAssessment {
            findings: vec![Finding::KeyMissing(named)],
            warnings: vec![],
            need: Some(KeyNeed::SealingKey),
        },
        Reading::Denied(failure) => warning(Warning::KeyDenied { key: named, failure: failure.clone() }),
        Reading::Known(key) => assess_key(&settings.arn, key, delivery_errors, context),
    }
}

fn assess_key(
    trail: &TrailArn,
    key: &KeyObservation,
    delivery_errors: &[DeliveryError],
    context: &Context,
) -> KeyAssessment {
    let arn = &key.metadata.arn;
    let mut findings = unusable(&key.metadata);
    let is_replaced = |finding: &Finding| match finding {
        // Another principal disconnected the key store, or must import the key material: a state that can end any time.
        Finding::KeyUnavailable { .. } => key.trailseal_tags().is_some() || may_be_caused_by_key(delivery_errors),
        _ => true,
    };
    let broken = findings.iter().any(is_replaced);
    let need = broken.then_some(KeyNeed::SealingKey);
    let rotation_need = || key.is_rotation_off().then(|| KeyNeed::Repair(arn.clone()));
    if key.is_rotation_off() {
        findings.push(Finding::KeyRotationOff(arn.clone()));
    }
    if let KeyState::Unknown(state) = &key.metadata.state {
        let warning = Warning::KeyStateUnknown { key: arn.clone(), state: state.clone() };
        return KeyAssessment { findings, warnings: vec![warning], need };
    }
    let mut warnings: Vec<Warning> = expiry_warning(&key.metadata).filter(|_| !broken).into_iter().collect();
    if let Some(Err(failure)) = &key.rotation {
        warnings.push(Warning::KeyRotationDenied { key: arn.clone(), failure: failure.clone() });
    }
    let document = match readable_policy(key) {
        Ok(document) => document,
        Err(warning) => {
            warnings.extend(Some(warning).filter(|_| !broken));
            return KeyAssessment { findings, warnings, need: need.or_else(rotation_need) };
        }
    };
    let policy = KeyPolicy::new(&context.config, &context.function_arn);
    let extension = policy.extension(document);
    let access = cloudtrail_key_access(document, arn, trail, context.config.organization_id.as_ref());
    if let Err(failure) = &key.tags
        && !broken
        && may_be_trailseals(&key.metadata, context)
        && (!access.denied().is_empty() || (KeyPolicy::has_trailseal_sid(document) && extension.is_some()))
    {
        warnings.push(Warning::KeyTagsDenied { key: arn.clone(), failure: failure.clone() });
    }
    // CloudTrail cannot deliver without `kms:GenerateDataKey`. The other calls count if a delivery failed that they
    // can have caused.
    let is_gap = match may_be_caused_by_key(delivery_errors) {
        true => !access.denied().is_empty(),
        false => access.generate_data_key.is_denied(),
    };
    // Evaluated only for a finding.
    let administrator = || policy.administrator(document);
    let gap = is_gap.then(|| policy_gap(key, broken, &access, &policy, administrator())).flatten();
    let extension = extension.filter(|_| key.is_maintained());
    let incomplete = extension.map(|extension| Finding::PolicyIncomplete {
        key: arn.clone(),
        extension,
        administrator: administrator(),
    });
    let finding = gap.or(incomplete);
    let need = need.or_else(|| policy_need(finding.as_ref()?, key, delivery_errors)).or_else(rotation_need);
    if finding.is_none() && !broken {
        warnings.extend(access_warnings(arn, access));
    }
    findings.extend(finding);
    if !context.is_supplied_key(arn) {
        warnings.extend(unrevoked_readers(arn, document, &policy));
    }
    KeyAssessment { findings, warnings, need }
}

/// What a key's policy denies CloudTrail. That of another principal's broken key makes no difference.
fn policy_gap(
    key: &KeyObservation,
    broken: bool,
    access: &KeyAccess,
    policy: &KeyPolicy,
    administrator: KeyAdministrator,
) -> Option<Finding> {
    let is_trailseals = key.trailseal_tags().is_some();
    let statements = if is_trailseals { None } else { policy.missing_statements(access) };
    let gap =
        Finding::CloudTrailDenied { key: key.metadata.arn.clone(), access: access.clone(), statements, administrator };
    (is_trailseals || !broken).then_some(gap)
}

/// What a finding about the policy of a key that is not broken requires.
fn policy_need(finding: &Finding, key: &KeyObservation, delivery_errors: &[DeliveryError]) -> Option<KeyNeed> {
    match finding {
        // Reading another principal's policy alone must not move a trail off a working key.
        Finding::CloudTrailDenied { .. } if key.is_maintained() || may_be_caused_by_key(delivery_errors) => {
            Some(KeyNeed::SealingKey)
        }
        Finding::CloudTrailDenied { .. } if key.trailseal_tags().is_none() => None,
        _ => Some(KeyNeed::Repair(key.metadata.arn.clone())),
    }
}

/// Every reason why CloudTrail cannot use this key, whatever its policy allows.
pub(crate) fn unusable(key: &KeyMetadata) -> Vec<Finding> {
    let KeyMetadata {
        arn,
        manager,
        spec,
        usage,
        origin: _,
        key_store,
        expiry: _,
        multi_region: _,
        replica: _,
        state,
        created: _,
        recent: _,
    } = key;
    let other = |found: &Option<String>, required: &str| found.clone().filter(|found| found != required);
    let symmetric = other(spec, "SYMMETRIC_DEFAULT").or(other(usage, "ENCRYPT_DECRYPT"));
    let managed = (*manager == KeyManager::Aws).then(|| Finding::KeyNotCustomerManaged(arn.clone()));
    let symmetric = symmetric.map(|found| Finding::KeyNotSymmetric { key: arn.clone(), found });
    let state = match state {
        KeyState::Usable | KeyState::Unknown(_) => None,
        KeyState::Disabled => Some(Finding::KeyDisabled(arn.clone())),
        KeyState::PendingDeletion => Some(Finding::KeyPendingDeletion(arn.clone())),
        KeyState::Unavailable(state) => {
            Some(Finding::KeyUnavailable { key: arn.clone(), state: state.clone(), key_store: key_store.clone() })
        }
    };
    managed.into_iter().chain(symmetric).chain(state).collect()
}

/// The warning about imported key material that expires soon.
pub(crate) fn expiry_warning(key: &KeyMetadata) -> Option<Warning> {
    let expiry = key.expiry.clone().filter(|expiry| expiry.days_left < EXPIRY_WARNING_DAYS)?;
    Some(Warning::KeyMaterialExpires { key: key.arn.clone(), expiry })
}

/// A key's policy, or why it cannot be evaluated.
pub(crate) fn readable_policy(key: &KeyObservation) -> Result<&Document, Warning> {
    let arn = || key.metadata.arn.clone();
    let reading: &Reading<ParsedPolicy> = match &key.policy {
        Some(reading) => reading,
        None => return Err(Warning::KeyPolicyDenied { key: arn(), failure: None }),
    };
    match reading {
        Reading::Known(Ok(document)) => Ok(document),
        Reading::Known(Err(error)) => Err(Warning::KeyPolicyMalformed { key: arn(), error: error.clone() }),
        Reading::Absent => Err(Warning::KeyPolicyMissing(arn())),
        Reading::Denied(failure) => Err(Warning::KeyPolicyDenied { key: arn(), failure: Some(failure.clone()) }),
    }
}

/// What is uncertain about CloudTrail's access to a key, and what the policy denies that CloudTrail may not need.
pub(crate) fn access_warnings(key: &KeyArn, access: KeyAccess) -> Vec<Warning> {
    let key = || key.clone();
    let KeyAccess { generate_data_key: _, describe_key, decrypt } = access.clone();
    let describe = describe_key.is_denied().then(|| Warning::DescribeKeyMissing { key: key(), decision: describe_key });
    let decrypt = decrypt.is_denied().then(|| Warning::BucketKeyNeedsDecrypt { key: key(), decision: decrypt });
    let unclear = (!access.unknown().is_empty()).then(|| Warning::KeyPolicyUnclear { key: key(), access });
    unclear.into_iter().chain(describe).chain(decrypt).collect()
}

/// The readers that a statement which trailseal wrote allows and that are no longer configured.
pub(crate) fn unrevoked_readers(key: &KeyArn, document: &Document, policy: &KeyPolicy) -> Vec<Warning> {
    let readers = policy.unrevoked_readers(document).into_iter();
    readers.map(|reader| Warning::ReaderNotRevoked { key: key.clone(), reader }).collect()
}

/// Whether trailseal may have created a key. A supplied key is its owner's, whatever its tags are.
pub(crate) fn may_be_trailseals(key: &KeyMetadata, context: &Context) -> bool {
    !context.is_supplied_key(&key.arn)
        && key.manager == KeyManager::Customer
        && key.arn.account() == context.function_arn.account()
}
