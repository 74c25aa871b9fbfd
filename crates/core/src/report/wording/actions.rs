//! What the reader of an alert does next.

use super::deployments::keep_in_code;
use super::{capitalized, control_tower, joined, regain_access, restore_command};
use crate::config::{Config, MODE, RESTART_LOGGING};
use crate::failure::Failure;
use crate::finding::{DeliveryCause, DeliveryError, Finding, FindingId};
use crate::ids::{KeyArn, TrailArn};
use crate::journal::StepStatus;
use crate::key_policy::KeyAdministrator;
use crate::plan::StepName;
use crate::report::answer::{Obstruction, Outcome, TrailReport};
use crate::trigger::{Origin, SWEEP};

/// What the reader of an alert does next; first about the notices, if the alert contains any.
pub(in crate::report) fn next_action(
    trail: &TrailReport,
    origin: &Origin,
    config: &Config,
    has_notices: bool,
) -> String {
    let notices = has_notices.then(|| "act on the notice above".to_owned());
    let old_keys = trail.findings.iter().filter_map(|finding| old_key(finding, trail));
    let unmanageable = trail.findings.iter().find_map(|finding| unmanageable_key(finding, trail));
    let actions = notices
        .into_iter()
        .chain(start_logging(trail))
        .chain(old_keys)
        .chain(unmanageable)
        .chain(by_outcome(trail, origin, config));
    let actions = actions.chain(keep_in_code(trail, origin, config.mode));
    match actions.collect::<Vec<String>>().as_slice() {
        [] => "no action needed.".into(),
        [first] => format!("{first}."),
        [first, rest @ ..] => {
            let rest: Vec<String> = rest.iter().map(|action| capitalized(action)).collect();
            format!("{first}. {}.", rest.join(". "))
        }
    }
}

/// What to do about the key of a trail that gets another one. Each is a sentence without its period.
fn old_key(finding: &Finding, trail: &TrailReport) -> Option<String> {
    if !trail.steps.iter().any(|step| step.step == StepName::UpdateTrail) {
        return None;
    }
    match finding {
        Finding::KeyPendingDeletion(key) => Some(format!(
            "cancel the deletion of key `{key}` and enable it, because older log files cannot be read without it: {}",
            restore_command(key, true)
        )),
        Finding::KeyDisabled(key) => {
            Some(format!("keep key `{key}`. To read older log files, enable it: {}", restore_command(key, false)))
        }
        Finding::KeyUnavailable { key, .. } => Some(keep(key)),
        Finding::CloudTrailDenied { key, administrator: KeyAdministrator::NoPrincipal, .. } => {
            Some(format!("{}. If their readers cannot decrypt, {}", keep(key), regain_access(key)))
        }
        Finding::CloudTrailDenied { key, .. } => Some(format!(
            "{}. If its policy no longer lets their readers decrypt, its owner adds {}, and a statement for each reader outside that account",
            keep(key),
            decrypt_through_iam(key)
        )),
        _ => None,
    }
}

/// What to do about the policy of a trail's key, if no principal can change it and the trail keeps the key. A failure has
/// its own remedy.
fn unmanageable_key(finding: &Finding, trail: &TrailReport) -> Option<String> {
    let (Finding::CloudTrailDenied { key, administrator, .. } | Finding::PolicyIncomplete { key, administrator, .. }) =
        finding
    else {
        return None;
    };
    let keeps_key = trail.outcome != Outcome::Failed && trail.steps.iter().all(|it| it.step != StepName::UpdateTrail);
    if *administrator != KeyAdministrator::NoPrincipal || !keeps_key {
        return None;
    }
    let arn = trail.trail.as_ref().ok()?;
    Some(format!(
        "{}, or assign another key to the trail: `aws cloudtrail update-trail --region {} --name {arn} --kms-key-id KEY_ARN`. {}",
        regain_access(key),
        arn.region(),
        capitalized(&keep(key))
    ))
}

fn keep(key: &KeyArn) -> String {
    format!("keep key `{key}`, because older log files cannot be read without it")
}

/// The statement with which IAM policies of the key's account can allow its principals to decrypt.
fn decrypt_through_iam(key: &KeyArn) -> String {
    format!(
        r#"{{"Sid":"DecryptThroughIam","Effect":"Allow","Principal":{{"AWS":"arn:{}:iam::{}:root"}},"Action":"kms:Decrypt","Resource":"*"}}"#,
        key.partition(),
        key.account()
    )
}

fn by_outcome(trail: &TrailReport, origin: &Origin, config: &Config) -> Vec<String> {
    let tag = &config.exempt_tag;
    match trail.outcome {
        Outcome::Failed => {
            let error = trail.error.as_ref();
            let is_transient = error.is_some_and(Failure::is_transient);
            if origin.is_command && is_transient {
                return vec!["run the command again; investigate if the error persists".into()];
            }
            let remedy = error.and_then(|error| error.remedy.clone());
            vec![remedy.unwrap_or_else(|| match is_transient && origin.kind != SWEEP {
                true => "wait for the retry, which reads the trail again".into(),
                false => "fix the error described above".into(),
            })]
        }
        Outcome::Planned => planned(trail, origin, tag),
        Outcome::Remediated if trail.performs(StepName::UpdateTrail) => vec![
            "check that every principal that reads these logs can decrypt them (see above)".into(),
            "CloudTrail uses the new key within about 5 minutes".into(),
        ],
        Outcome::Remediated => remediated(trail, tag),
        Outcome::OutOfScope => {
            let owner = trail.trail.as_ref().map_or("that owns the trail".into(), |arn| format!("`{}`", arn.account()));
            vec![format!("ask the owner of account {owner} to encrypt the trail, or to deploy trailseal there")]
        }
        _ => noted(trail, tag),
    }
}

fn planned(trail: &TrailReport, origin: &Origin, exempt_tag: &str) -> Vec<String> {
    let exempt = format!("to exempt this trail, add the tag `{exempt_tag}`, with the reason as its value");
    let apply = match origin.is_command {
        true => "to apply the plan, run `trailseal apply` with the same options".to_owned(),
        false => format!("to apply the plan for the trails of this account, set {MODE} to `enforce`"),
    };
    let mut actions = Vec::new();
    for obstruction in &trail.obstructions {
        match obstruction {
            Obstruction::ControlTower => return vec![control_tower(), exempt],
            Obstruction::RejectedStatements { key, reasons } => actions.push(format!(
                "first fix what KMS rejects in the policy of key `{key}`, because KMS refuses every change of it until then: {}",
                joined(reasons.iter().map(ToString::to_string))
            )),
        }
    }
    actions.extend([apply, exempt]);
    actions
}

/// What was repaired may have been broken on purpose.
fn remediated(trail: &TrailReport, exempt_tag: &str) -> Vec<String> {
    let key = trail.key_arn.as_deref().filter(|_| trail.performs(StepName::RestoreKey));
    let key = key.map(|key| format!("the key was disabled on purpose, add the tag `{exempt_tag}` to key `{key}`"));
    let stopped = trail.performs(StepName::StartLogging);
    let stopped = stopped.then(|| format!("logging was stopped on purpose, add the tag `{exempt_tag}` to the trail"));
    let rotation = trail.key_arn.as_deref().filter(|_| trail.has(FindingId::KeyRotationOff));
    let rotation =
        rotation.map(|key| format!("rotation was disabled on purpose, add the tag `{exempt_tag}` to key `{key}`"));
    let purposes = key.into_iter().chain(rotation).chain(stopped);
    purposes.map(|it| format!("if {it}, with the reason as its value; trailseal then leaves it alone")).collect()
}

fn noted(trail: &TrailReport, exempt_tag: &str) -> Vec<String> {
    let delivery_errors = trail.findings.iter().find_map(|finding| match finding {
        Finding::DeliveryFailing(errors) => Some(errors),
        _ => None,
    });
    let is_unmanageable = |finding: &Finding| unmanageable_key(finding, trail).is_some();
    let exempt = || {
        format!("if this is intentional, exempt the trail: add the tag `{exempt_tag}`, with the reason as its value")
    };
    if trail.findings.iter().any(is_unmanageable) {
        return vec![exempt()];
    }
    if trail.has(FindingId::KeyPolicyGap) {
        return vec![
            "ask the key's owner to fix the key policy as described in the finding above".into(),
            "as long as CloudTrail delivers log files, trailseal does not assign another key".into(),
        ];
    }
    if trail.has(FindingId::KeyUnavailable) {
        return vec![
            "ask the owner to make the key usable again, as the finding above says".into(),
            "as long as no delivery fails because of the key, trailseal does not assign another key".into(),
        ];
    }
    match delivery_errors {
        Some(errors) if errors.iter().any(is_about_missing_bucket) => vec![
            "create the bucket again with a policy that lets CloudTrail write, or set another bucket in the trail: no log files arrive until then".into(),
        ],
        Some(_) => {
            vec!["check the bucket, its policy and the key: no log files arrive until CloudTrail can deliver again".into()]
        }
        None => vec![exempt()],
    }
}

fn is_about_missing_bucket(error: &DeliveryError) -> bool {
    error.cause() == DeliveryCause::BucketMissing
}

/// How to start logging, unless a step does.
fn start_logging(trail: &TrailReport) -> Option<String> {
    let starts = |name: StepName| trail.steps.iter().any(|step| step.step == name && step.status != StepStatus::Failed);
    let arn: &TrailArn = trail.trail.as_ref().ok()?;
    let is_stopped = trail.has(FindingId::LoggingStopped) && !starts(StepName::StartLogging);
    is_stopped.then(|| {
        format!(
            "to start logging, run `aws cloudtrail start-logging --region {} --name {arn}`, or set {RESTART_LOGGING} to `true` so that trailseal does it",
            arn.region()
        )
    })
}
