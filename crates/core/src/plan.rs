//! The plan: first what each sealing key needs, once per bucket Region, then what each trail needs. It
//! is complete before the first write and leaves no choice to who applies it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::assess::{Finding, Warning};
use crate::config::OWNER_TAG;
use crate::facts::{Class, Failure, TrailSettings};
use crate::ids::{KeyAlias, KeyArn, Region, TrailArn};
use crate::policy::KeyPolicy;

/// One step, as reports name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// `kms:CreateKey`.
    CreateKey,
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
    /// What to do if CloudTrail refuses the key.
    pub if_refused: String,
    /// Whether parts of AWS may not know the key, or its policy, yet.
    pub fresh: bool,
}

impl KeyPlan {
    /// The policy of the key that a step creates.
    pub fn new_policy(&self) -> Option<&KeyPolicy> {
        self.steps.iter().find_map(|step| match step {
            KeyStep::Create(new) => Some(&new.policy),
            KeyStep::EnableRotation | KeyStep::CreateAlias(_) => None,
        })
    }
}

/// One step on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStep {
    /// Create a key in that Region.
    Create(NewKey),
    /// Switch yearly rotation on.
    EnableRotation,
    /// Make the key findable, and the only one.
    CreateAlias(KeyAlias),
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
            Self::EnableRotation => StepName::EnableRotation,
            Self::CreateAlias(_) => StepName::CreateAlias,
        }
    }

    /// Whether what follows hangs on it. A key without rotation still seals, and the alias still is what
    /// makes it the only one.
    pub fn essential(&self) -> bool {
        match self {
            Self::Create(_) | Self::CreateAlias(_) => true,
            Self::EnableRotation => false,
        }
    }

    /// The step's failure, with what only this step can say of it.
    #[must_use]
    pub fn failed(&self, failure: Failure, region: &Region, key: Option<&KeyArn>) -> Failure {
        match (self, key) {
            (Self::Create(_), _) if failure.left_open => Failure {
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
            _ => failure,
        }
    }

    /// The step in words, before it is taken.
    pub fn detail(&self, region: &Region) -> String {
        match self {
            Self::Create(_) => format!("a symmetric key in `{region}`, $1 a month"),
            Self::EnableRotation => "yearly rotation of the new key".into(),
            Self::CreateAlias(alias) => format!("`{alias}` in `{region}` for the new key"),
        }
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

    /// The Region whose sealing key the step gives, if it gives one.
    pub fn bucket_region(&self) -> Option<&Region> {
        match self {
            Self::Update { bucket_region, .. } => Some(bucket_region),
            Self::StartLogging { .. } => None,
        }
    }
}

/// The plan for every trail of this invocation together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    /// What each sealing key needs.
    pub keys: BTreeMap<Region, KeyPlan>,
    /// What each trail needs.
    pub trails: BTreeMap<TrailArn, TrailPlan>,
}
