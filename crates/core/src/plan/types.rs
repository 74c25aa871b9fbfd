//! What a plan is: what each sealing key needs, once per bucket Region, then what each trail needs. A plan is complete
//! before the first write, never changes, and leaves the executor no choice.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::failure::Failure;
use crate::finding::{Finding, KeyOwner, Warning};
use crate::iam::{Document, Reason};
use crate::ids::{AccountId, KeyAlias, KeyArn, Region, TrailArn};
use crate::key_policy::{Extension, KeyAdministrator, KeyPolicy};
use crate::observation::TrailSettings;
use crate::plan::obstacle::Obstacle;
use crate::plan::strays::Stray;

/// The name of a step.
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

/// The plan for every trail of one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Plan {
    /// What each sealing key needs, by Region.
    pub keys: BTreeMap<Region, KeyPlan>,
    /// What each trail needs.
    pub trails: BTreeMap<TrailArn, TrailPlan>,
    /// The strays that were found among the candidates for a sealing key.
    pub strays: Vec<Stray>,
    /// The Regions whose candidates for the sealing key were read.
    pub candidate_regions: BTreeSet<Region>,
}

impl Plan {
    /// The trails that get or use the sealing key of a Region.
    pub fn trails_of(&self, region: &Region) -> impl Iterator<Item = (&TrailArn, &TrailPlan)> {
        self.trails.iter().filter(move |(_, trail)| trail.sealing_region.as_ref() == Some(region))
    }

    /// Every step, with what it changes and the key of the step, if that exists.
    pub fn steps(&self) -> impl Iterator<Item = (Subject, Step, Option<KeyArn>)> {
        let keys = self.keys.iter().flat_map(|(region, key)| {
            let step = |step: &KeyStep| (Subject::Key(region.clone()), Step::Key(step.clone()), key.key.clone());
            key.steps.iter().map(step)
        });
        let trails = self.trails.iter().flat_map(|(arn, trail)| {
            let key = trail.sealing_region.as_ref().and_then(|region| self.keys.get(region)?.key.clone());
            trail.steps().map(move |step| (Subject::Trail(arn.clone()), step, key.clone()))
        });
        keys.chain(trails)
    }
}

/// What the sealing key of one Region needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlan {
    /// The key, unless a step creates it.
    pub key: Option<KeyArn>,
    /// The steps, in order.
    pub steps: Vec<KeyStep>,
    /// The warnings for each trail that gets this key.
    pub warnings: Vec<Warning>,
    /// Its policy after the steps; `None` if it cannot be read.
    pub policy: Option<Document>,
    /// Who may edit it.
    pub owner: KeyOwner,
    /// Whether parts of AWS may not know the key, or its policy, yet.
    pub settling: bool,
    /// The keys that the tag index returned when this was planned.
    pub indexed: BTreeSet<KeyArn>,
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

/// A step on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStep {
    /// Create a key.
    Create(NewKey),
    /// Use this key, which has no alias, as the sealing key. No call: the steps after it finish the key.
    Adopt(Adoption),
    /// Make trailseal's key usable.
    Restore {
        /// Whether its deletion must be canceled first.
        pending_deletion: bool,
        /// Who may change the key.
        administrator: KeyAdministrator,
    },
    /// Add what the policy of trailseal's key lacks.
    Extend(PolicyChange),
    /// Enable yearly rotation.
    EnableRotation,
    /// Create the alias, which makes the key the one sealing key of its Region.
    CreateAlias(KeyAlias),
}

impl KeyStep {
    /// The step's name in reports.
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

    /// Whether the key cannot be used without it. A key without rotation still encrypts.
    pub fn is_essential(&self) -> bool {
        !matches!(self, Self::EnableRotation)
    }

    /// Whether it lets CloudTrail use a key again that trails may use already.
    pub fn is_repair(&self) -> bool {
        matches!(self, Self::Restore { .. } | Self::Extend(_))
    }
}

/// Why a key without an alias becomes the sealing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adoption {
    /// Whether a trail uses it already, so that it is no stray, whichever key gets the alias.
    pub in_use: bool,
    /// When it was created, in seconds since 1970. `None` if it is not recent, or not the only recent key with
    /// trailseal's tag.
    pub created_at_if_only_recent: Option<i64>,
}

/// A key policy that gains statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// The policy as it was read.
    pub before: Document,
    /// What it gains.
    pub extension: Extension,
    /// The existing statements that KMS rejects in any new policy, each with the reason.
    pub rejected: Vec<Reason>,
    /// Who may change the policy.
    pub administrator: KeyAdministrator,
}

/// A key to create: symmetric, `ENCRYPT_DECRYPT`, single-Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its policy.
    pub policy: KeyPolicy,
    /// Its description.
    pub description: &'static str,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What one trail needs, or why it needs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailPlan {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What the reader of the report needs to know.
    pub warnings: Vec<Warning>,
    /// The key that the trail names now.
    pub current_key: Option<String>,
    /// Whether the trail is logging; `None` if it cannot be read.
    pub logging: Option<bool>,
    /// What happens to it.
    pub disposition: Disposition,
    /// The Region of the sealing key that it gets or uses.
    pub sealing_region: Option<Region>,
    /// Start logging again, in this home Region. Also next to a failure: logging restarts where sealing is impossible.
    pub restart: Option<Region>,
    /// Assign the sealing key.
    pub update: Option<TrailUpdate>,
}

/// What happens to a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing: it is compliant.
    Compliant,
    /// It is reported.
    Note,
    /// Its steps are performed.
    Remediate,
    /// It is left alone because of its exempt tag; the tag's value.
    Exempt(String),
    /// It is left alone because another account owns it.
    OutOfScope {
        /// The owner.
        owner: AccountId,
        /// Why it could not be read, if it could not.
        unreadable: Option<Failure>,
    },
    /// Nothing: it does not exist.
    Gone,
    /// It cannot be read or remediated.
    Failed(Obstacle),
}

/// Assigns the sealing key of a Region to a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailUpdate {
    /// The Region of the bucket and of the key.
    pub bucket_region: Region,
    /// The trail as it was read. The response must not differ in anything but the key.
    pub observed: TrailSettings,
    /// Whether the key policy certainly allows CloudTrail to use the key.
    pub access_verified: bool,
    /// The statements that allow CloudTrail to use a key, as JSON.
    pub statements: String,
    /// Whether readers in the key's account need permission in their own IAM policies.
    pub account_readers_need_permission: bool,
    /// Those of them that the bucket policy names.
    pub account_readers: Vec<String>,
}

impl TrailUpdate {
    /// Whether AWS Control Tower owns the trail: a mandatory control denies its update to every principal of a member
    /// account but Control Tower's.
    /// Source: <https://docs.aws.amazon.com/controltower/latest/controlreference/mandatory-controls.html>.
    pub fn is_control_towers(&self) -> bool {
        self.observed.arn.name().as_str().starts_with("aws-controltower-")
    }
}

/// What a step changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The sealing key of this Region.
    Key(Region),
    /// This trail.
    Trail(TrailArn),
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// On a sealing key.
    Key(KeyStep),
    /// Assign the sealing key to the trail.
    Update(TrailUpdate),
    /// Start logging.
    Restart,
}

impl Step {
    /// The step's name in reports.
    pub fn name(&self) -> StepName {
        match self {
            Self::Key(step) => step.name(),
            Self::Update(_) => StepName::UpdateTrail,
            Self::Restart => StepName::StartLogging,
        }
    }
}

impl TrailPlan {
    /// The steps on the trail, in order.
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        let restart = self.restart.as_ref().map(|_| Step::Restart);
        restart.into_iter().chain(self.update.clone().map(Step::Update))
    }
}

/// A key that an earlier pass of this run created or adopted, and that no other key has replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedKey {
    /// The key.
    pub key: KeyArn,
    /// Whether it certainly has the alias, which KMS may not return yet.
    pub has_alias: bool,
}
