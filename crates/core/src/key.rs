//! What is wrong with a key: whether CloudTrail can work with it at all, and whether its policy lets
//! CloudTrail in.

use crate::access::cloudtrail_key_access;
use crate::config::Config;
use crate::finding::{Finding, FindingId, Warning, WarningId};
use crate::iam::{Decision, Document};
use crate::ids::{FunctionArn, KeyArn, TrailArn};
use crate::key_policy::{Extension, KeyPolicy};
use crate::observation::{KeyFacts, KeyManager, KeyMetadata, KeyState, Reading};

/// Every reason why CloudTrail cannot work with this key, whatever its policy says.
pub(crate) fn unusable(key: &KeyMetadata) -> Vec<Finding> {
    let KeyMetadata { arn, manager, spec, usage, origin: _, multi_region: _, state, created: _, fresh: _ } = key;
    let mut findings = Vec::new();
    if *manager == KeyManager::Aws {
        findings.push(Finding::new(
            FindingId::KeyNotCustomerManaged,
            format!("key `{arn}` is managed by AWS; its policy cannot let CloudTrail in"),
        ));
    }
    let wrong = |text: &Option<String>, right: &str| text.as_deref().filter(|text| *text != right).map(str::to_owned);
    if let Some(found) = wrong(spec, "SYMMETRIC_DEFAULT").or(wrong(usage, "ENCRYPT_DECRYPT")) {
        findings.push(Finding::new(
            FindingId::KeyNotSymmetric,
            format!("key `{arn}` is `{found}`; CloudTrail takes symmetric encryption keys only"),
        ));
    }
    match state {
        KeyState::Usable | KeyState::Unknown(_) => {}
        KeyState::Disabled => findings.push(Finding::new(FindingId::KeyDisabled, format!("key `{arn}` is disabled"))),
        KeyState::PendingDeletion => {
            findings.push(Finding::new(FindingId::KeyPendingDeletion, format!("key `{arn}` is being deleted")));
        }
        KeyState::Unavailable(state) => {
            findings.push(Finding::new(FindingId::KeyUnavailable, format!("key `{arn}` is in state `{state}`")));
        }
    }
    findings
}

/// Whether a key's policy lets CloudTrail in for a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LetsIn {
    /// It does; whether also to decrypt, which CloudTrail needs where the bucket uses an S3 Bucket Key.
    Yes {
        /// Whether it surely does not let CloudTrail decrypt, and why.
        no_decrypt: Option<String>,
    },
    /// It does not.
    No {
        /// What is missing, or which statement denies it.
        why: String,
        /// Whether a statement denies it, so that no other statement could help.
        denied: bool,
    },
    /// Nobody can tell, and why.
    Unclear(String),
}

impl LetsIn {
    /// What that policy of that key decides for CloudTrail and that trail.
    pub(crate) fn of(policy: &Document, key: &KeyArn, trail: &TrailArn) -> Self {
        let access = cloudtrail_key_access(policy, key, trail);
        let words = |calls: Vec<(&str, &Decision)>| -> String {
            calls.iter().map(|(call, decision)| format!("`{call}`: {decision}")).collect::<Vec<String>>().join("; ")
        };
        let (denied, unknown) = (access.denied(), access.unknown());
        if !denied.is_empty() {
            return Self::No { why: words(denied), denied: access.explicitly_denied() };
        }
        if !unknown.is_empty() {
            return Self::Unclear(words(unknown));
        }
        Self::Yes { no_decrypt: access.decrypt.is_denied().then(|| format!("`kms:Decrypt`: {}", access.decrypt)) }
    }
}

/// What can be known of a key's policy.
pub(crate) enum Policy {
    /// Its document.
    Known(String, Document),
    /// It is there and cannot be worked with, or may not be read.
    Unknown(Warning),
}

impl Policy {
    pub(crate) fn of(key: &KeyFacts) -> Self {
        let arn = &key.metadata.arn;
        let (id, why) = match &key.policy {
            Reading::Known(text) => match Document::parse(text) {
                Ok(document) => return Self::Known(text.clone(), document),
                Err(unreadable) => (WarningId::KeyPolicyUnclear, format!("cannot be judged: {unreadable}")),
            },
            Reading::Absent => (WarningId::KeyPolicyUnclear, "was not told by KMS, so it was not judged".into()),
            Reading::Denied(failure) => {
                (WarningId::KeyUnreadable, format!("may not be read, so it was not judged: {}", failure.message))
            }
        };
        Self::Unknown(Warning::new(id, format!("the policy of key `{arn}` {why}")))
    }
}

/// That it is not known whether a key is ours.
pub(crate) fn untold_tags(key: &KeyFacts) -> Option<Warning> {
    let Some(Err(failure)) = &key.tags else { return None };
    let detail = format!(
        "the tags of key `{}` may not be read, so it is not taken for one of trailseal's: {}",
        key.metadata.arn, failure.message
    );
    Some(Warning::new(WarningId::KeyUnreadable, detail))
}

/// What nobody can judge here although it was read: a state that is not known.
pub(crate) fn odd_state(key: &KeyMetadata) -> Option<Warning> {
    let KeyState::Unknown(state) = &key.state else { return None };
    let detail = format!("key `{}` is in state `{state}`, which is not known here, so it was not judged", key.arn);
    Some(Warning::new(WarningId::KeyUnreadable, detail))
}

/// That it cannot be told whether CloudTrail is let in.
pub(crate) fn unclear(key: &KeyArn, why: &str) -> Warning {
    Warning::new(
        WarningId::KeyPolicyUnclear,
        format!(
            "whether the policy of key `{key}` lets CloudTrail in cannot be told from here ({why}); CloudTrail itself checks it when a trail is given the key"
        ),
    )
}

/// That CloudTrail may not decrypt with a key that is not ours to extend.
pub(crate) fn needs_decrypt(key: &KeyArn, why: &str) -> Warning {
    Warning::new(
        WarningId::BucketKeyNeedsDecrypt,
        format!(
            "the policy of key `{key}` does not let CloudTrail decrypt ({why}), which CloudTrail needs if the bucket uses an S3 Bucket Key"
        ),
    )
}

/// Every reader who is not configured any more and is let in by a statement of trailseal's.
pub(crate) fn not_revoked(key: &KeyArn, document: &Document, policy: &KeyPolicy) -> Vec<Warning> {
    let region = key.region();
    let warning = |lost: crate::key_policy::UnrevokedReader| {
        Warning::new(
            WarningId::ReaderNotRevoked,
            format!(
                "`{reader}` is not in TRAILSEAL_LOG_READERS any more, and statement `{sid}` of key `{key}` still lets it decrypt; trailseal takes nothing out of a policy. To do so: `aws kms get-key-policy --region {region} --key-id {key} --policy-name default --query Policy --output text > policy.json`, take `{reader}` out of `{sid}` there, then `aws kms put-key-policy --region {region} --key-id {key} --policy-name default --policy file://policy.json`",
                reader = lost.reader,
                sid = lost.sid,
            ),
        )
    };
    policy.unrevoked_readers(document).into_iter().map(warning).collect()
}

/// Whether it makes a difference if the key of a trail is ours, so that its tags have to be read.
#[must_use]
pub fn own_key_hangs_on_tags(key: &KeyFacts, trail: &TrailArn, config: &Config, home: &FunctionArn) -> bool {
    if !may_be_ours(&key.metadata, config, home) {
        return false;
    }
    let broken = matches!(key.metadata.state, KeyState::Disabled | KeyState::PendingDeletion);
    let Policy::Known(_, document) = Policy::of(key) else { return broken };
    let lacks = || KeyPolicy::new(config, home).extension(&document).is_some();
    let resembles = KeyPolicy::resembles(&document);
    broken
        || match LetsIn::of(&document, &key.metadata.arn, trail) {
            LetsIn::No { .. } | LetsIn::Yes { no_decrypt: Some(_) } => true,
            LetsIn::Yes { no_decrypt: None } | LetsIn::Unclear(_) => resembles && lacks(),
        }
}

/// Whether it makes a difference if the key behind the alias is ours.
#[must_use]
pub fn sealing_key_hangs_on_tags(key: &KeyFacts, config: &Config, home: &FunctionArn) -> bool {
    let broken = matches!(key.metadata.state, KeyState::Disabled | KeyState::PendingDeletion);
    may_be_ours(&key.metadata, config, home) && (broken || extension(key, config, home).is_some())
}

/// A supplied key is its owner's, whatever its tags say; KMS tells tags to a key's own account only.
fn may_be_ours(key: &KeyMetadata, config: &Config, home: &FunctionArn) -> bool {
    let supplied = config.supplied_keys.values().any(|supplied| *supplied == key.arn);
    !supplied && key.manager == KeyManager::Customer && key.arn.account() == home.account()
}

fn extension(key: &KeyFacts, config: &Config, home: &FunctionArn) -> Option<Extension> {
    match Policy::of(key) {
        Policy::Known(_, document) => KeyPolicy::new(config, home).extension(&document),
        Policy::Unknown(_) => None,
    }
}
