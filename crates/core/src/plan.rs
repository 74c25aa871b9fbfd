//! The plan: first what each sealing key needs, once per bucket Region, then what each trail needs. It
//! is complete before the first write and leaves no choice to who applies it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::OWNER_TAG;
use crate::finding::{Finding, Warning};
use crate::ids::{KeyAlias, KeyArn, Region, TrailArn};
use crate::key_policy::{Extension, KeyPolicy};
use crate::observation::{Class, Failure, OddTrail, TrailSettings};
use crate::stray::Stray;

/// One step, as reports name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// `kms:CreateKey`.
    CreateKey,
    /// Finishing a key that an earlier run left without its alias.
    AdoptKey,
    /// `kms:CancelKeyDeletion` and `kms:EnableKey`.
    RestoreKey,
    /// `kms:PutKeyPolicy`.
    ExtendKeyPolicy,
    /// `kms:EnableKeyRotation`.
    EnableRotation,
    /// `kms:CreateAlias`.
    CreateAlias,
    /// `cloudtrail:UpdateTrail`.
    UpdateTrail,
    /// `cloudtrail:StartLogging`.
    StartLogging,
}

/// What the sealing key of one Region needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlan {
    /// The key, unless a step creates it.
    pub key: Option<KeyArn>,
    /// The steps, in order.
    pub steps: Vec<KeyStep>,
    /// What trails that get this key should have said of it.
    pub warnings: Vec<Warning>,
    /// The text of the policy that it has after the steps; `None` if it may not be read.
    pub policy: Option<String>,
    /// Whose key it is.
    pub owner: KeyOwner,
    /// Whether parts of AWS may not know the key, or its policy, yet.
    pub fresh: bool,
}

/// Whose key a sealing key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOwner {
    /// trailseal created it.
    Trailseal,
    /// trailseal created it, and somebody tagged it to be left alone.
    Exempt,
    /// Somebody else, whose it is to edit.
    Another,
}

impl KeyPlan {
    /// The policy of the key that a step creates.
    pub fn new_policy(&self) -> Option<&KeyPolicy> {
        self.steps.iter().find_map(|step| match step {
            KeyStep::Create(new) => Some(&new.policy),
            _ => None,
        })
    }
}

/// One step on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStep {
    /// Create a key in that Region.
    Create(NewKey),
    /// Take this key, which has no alias, for the sealing key. No call: the steps after it finish it.
    Adopt(Adoption),
    /// Make a key of ours work again.
    Restore {
        /// Whether its deletion has to be cancelled first.
        deleting: bool,
    },
    /// Add what the policy of a key of ours lacks.
    Extend(PolicyChange),
    /// Switch yearly rotation on.
    EnableRotation,
    /// Make the key findable, and the only one.
    CreateAlias(KeyAlias),
}

/// Why a key without an alias becomes the sealing key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// Whether a trail uses it already, so that it is no stray, whoever gets the alias.
    pub in_use: bool,
    /// When it was created, in seconds since 1970, if it is the only young one.
    pub created_alone: Option<i64>,
}

/// A key policy that gains statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// The policy as it was read.
    pub before: String,
    /// What it gains.
    pub extension: Extension,
    /// The statements that KMS refuses in any policy that is put, each with the reason.
    pub unacceptable: Vec<String>,
}

/// A key to be created: symmetric, `ENCRYPT_DECRYPT`, single-Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its policy.
    pub policy: KeyPolicy,
    /// What it is for.
    pub description: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl KeyStep {
    /// How reports name the step.
    pub fn name(&self) -> StepName {
        match self {
            Self::Create(_) => StepName::CreateKey,
            Self::Adopt(_) => StepName::AdoptKey,
            Self::Restore { .. } => StepName::RestoreKey,
            Self::Extend(_) => StepName::ExtendKeyPolicy,
            Self::EnableRotation => StepName::EnableRotation,
            Self::CreateAlias(_) => StepName::CreateAlias,
        }
    }

    /// Whether what follows hangs on it. A key without rotation still seals; every other step makes the
    /// key what the trails were promised.
    pub fn essential(&self) -> bool {
        !matches!(self, Self::EnableRotation)
    }

    /// Whether it mends a key that trails may use already.
    pub fn mends(&self) -> bool {
        matches!(self, Self::Restore { .. } | Self::Extend(_))
    }

    /// The step's failure, with what only this step can say of it.
    #[must_use]
    pub fn failed(&self, failure: Failure, region: &Region, key: Option<&KeyArn>) -> Failure {
        match (self, key) {
            (Self::Create(_), _) if failure.outcome_unknown => Failure {
                message: format!(
                    "{}; it is not known whether a key was created: look in `{region}` for one with the tag `{}={}` and without an alias",
                    failure.message, OWNER_TAG.0, OWNER_TAG.1
                ),
                ..failure
            },
            // Once the trail is sealed, no later run looks at its key's rotation.
            (Self::EnableRotation, Some(key)) => Failure {
                class: Class::Terminal,
                remedy: Some(format!("switch it on: `aws kms enable-key-rotation --region {region} --key-id {key}`")),
                ..failure
            },
            (Self::Restore { deleting }, Some(key)) if failure.class == Class::Terminal => {
                failure.or_by_an_administrator(&restore_command(key, *deleting))
            }
            (Self::Extend(change), Some(key)) if failure.class == Class::Terminal => {
                let failure = failure.or_by_an_administrator(&change.command(key));
                match change.unacceptable.as_slice() {
                    [] => failure,
                    odd => failure.with_remedy(|remedy| {
                        format!("mend first what KMS refuses in this policy: {}; then {remedy}", odd.join("; "))
                    }),
                }
            }
            _ => failure,
        }
    }

    /// The step in words, before it is taken.
    pub fn detail(&self, region: &Region, key: Option<&KeyArn>) -> String {
        let key = key.map_or("the new key".to_owned(), |key| format!("`{key}`"));
        match self {
            Self::Create(_) => format!("a symmetric key in `{region}`, $1 a month"),
            Self::Adopt(Adoption { in_use: true, .. }) => {
                format!("{key}, which a trail uses already and which has lost its alias")
            }
            Self::Adopt(Adoption { in_use: false, .. }) => {
                format!("{key}, which an earlier run created and did not finish")
            }
            Self::Restore { deleting: true } => format!("{key}: cancel its deletion, and enable it"),
            Self::Restore { deleting: false } => format!("enable {key}"),
            Self::Extend(change) => {
                let refused = match change.unacceptable.as_slice() {
                    [] => String::new(),
                    odd => format!("; KMS will refuse it until this is mended: {}", odd.join("; ")),
                };
                format!("{} to the policy of {key}{refused}", change.extension.words_for_adding())
            }
            Self::EnableRotation => format!("yearly rotation of {key}"),
            Self::CreateAlias(alias) => format!("`{alias}` in `{region}` for {key}"),
        }
    }
}

/// The command that makes a key work again.
pub(crate) fn restore_command(key: &KeyArn, deleting: bool) -> String {
    let region = key.region();
    let enable = format!("aws kms enable-key --region {region} --key-id {key}");
    if deleting {
        // Goes on where the deletion is cancelled already.
        format!("`aws kms cancel-key-deletion --region {region} --key-id {key}; {enable}`")
    } else {
        format!("`{enable}`")
    }
}

impl PolicyChange {
    /// What an administrator would do instead.
    fn command(&self, key: &KeyArn) -> String {
        let region = key.region();
        let what = self.extension.words_for_adding();
        format!(
            "`aws kms get-key-policy --region {region} --key-id {key} --policy-name default --query Policy --output text > policy.json`, {what} there, then `aws kms put-key-policy --region {region} --key-id {key} --policy-name default --policy file://policy.json`"
        )
    }
}

/// What one trail needs, or why it needs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailPlan {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What somebody should know.
    pub warnings: Vec<Warning>,
    /// The key that the trail names now.
    pub current_key: Option<String>,
    /// What is to become of it.
    pub fate: Fate,
    /// The Region whose sealing key it hangs on, if it does: to be given it, or because it uses it.
    pub sealing_region: Option<Region>,
    /// The steps, in order; also beside a failure (logging starts again where sealing is impossible).
    pub steps: Vec<TrailStep>,
}

/// What is to become of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is well.
    Compliant,
    /// It is reported.
    Noted,
    /// Its steps are taken.
    Mended,
    /// It is left alone; the tag's value.
    Exempt(String),
    /// It is left alone; why.
    OutOfScope(String),
    /// It was deleted meanwhile.
    Gone,
    /// It cannot be mended, or not even looked at.
    Failed(Failure),
}

/// One step on a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "an account has a handful of trails")]
pub enum TrailStep {
    /// Give it the sealing key of that Region.
    Update {
        /// The bucket's Region.
        bucket_region: Region,
        /// The trail as it was read; its answer must not differ in anything but the key.
        observed: TrailSettings,
        /// What to do if CloudTrail refuses the key.
        if_refused: String,
        /// Whether readers of the key's own account need to be let in by their own policies.
        own_readers: bool,
    },
    /// Start logging again.
    StartLogging {
        /// The trail's home Region.
        home_region: Region,
    },
}

impl TrailStep {
    /// How reports name the step.
    pub fn name(&self) -> StepName {
        match self {
            Self::Update { .. } => StepName::UpdateTrail,
            Self::StartLogging { .. } => StepName::StartLogging,
        }
    }
}

/// The plan for every trail of this invocation together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    /// What each sealing key needs.
    pub keys: BTreeMap<Region, KeyPlan>,
    /// What each trail needs.
    pub trails: BTreeMap<TrailArn, TrailPlan>,
    /// Keys of ours that were found on the way and that nothing uses.
    pub strays: Vec<Stray>,
    /// Trails that cannot even be looked at.
    pub odd: Vec<OddTrail>,
}

impl Plan {
    /// Takes a later plan for some of the trails in the place of what was planned for them.
    pub fn replace(&mut self, later: Self) {
        self.keys.extend(later.keys);
        self.trails.extend(later.trails);
        self.add_strays(later.strays);
    }

    /// Adds keys that nothing uses, each once; not one that this plan puts to use.
    pub fn add_strays(&mut self, more: Vec<Stray>) {
        for stray in more {
            let planned = |key: &KeyPlan| key.key.as_ref().is_some_and(|key| key.as_str() == stray.key_arn);
            if !self.strays.contains(&stray) && !self.keys.values().any(planned) {
                self.strays.push(stray);
            }
        }
    }
}
