//! The values that the planner gets for a case, and what it decides.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use trailseal_core::assess::assess_all;
use trailseal_core::context::Context;
use trailseal_core::iam::Document;
use trailseal_core::ids::KeyArn;
use trailseal_core::key_policy::{KeyPolicy, MAX_BYTES};
use trailseal_core::observation::{
    Candidates, KeyManager, KeyObservation, KeyState, KeyTags, KeyUse, ParsedPolicy, Reading, RemediationFacts,
    TaggedKey, TrailObservation,
};
use trailseal_core::plan::{KeyPlan, KeyStep, Plan, PolicyChange, StepName, TrailPlan, UnfinishedKey, plan};

use crate::case::{Case, Kind, POLICIES, Place, Policy, State, Tags, TrailKey};
use crate::scenario::{self, Scenario, candidates, context, denied, key, new_key, region};

pub(crate) const HERE: &str = "eu-west-1";
const READER: &str = "210987654321";

/// What does not depend on the case.
pub(crate) struct World {
    pub(crate) enforce: Context,
    pub(crate) dry_run: Context,
    policies: Vec<Reading<ParsedPolicy>>,
    scenario: Scenario,
    pub(crate) arn: KeyArn,
}

impl World {
    pub(crate) fn new(place: Place) -> Self {
        let account = if place == Place::SuppliedByAnotherAccount { "210987654321" } else { "123456789012" };
        let arn: KeyArn = format!("arn:aws:kms:{HERE}:{account}:key/33333333").parse().unwrap();
        let is_supplied = matches!(place, Place::Supplied | Place::SuppliedByAnotherAccount);
        let supplied = if is_supplied { arn.as_str() } else { "" };
        let with_mode = |mode| {
            context(&[("TRAILSEAL_MODE", mode), ("TRAILSEAL_LOG_READERS", READER), ("TRAILSEAL_KEY_ARNS", supplied)])
        };
        let policies = POLICIES.map(reading).into();
        let mut scenario = Scenario::new("audit", HERE, HERE);
        // Another test is about the bucket. Unreadable, it costs no time here.
        scenario.bucket.policy = Reading::Denied(denied("s3:GetBucketPolicy", "read the bucket policy"));
        Self { enforce: with_mode("enforce"), dry_run: with_mode("dry-run"), policies, scenario, arn }
    }

    fn observation(&self, case: Case) -> KeyObservation {
        let mut key = key(&self.arn, &self.enforce);
        match case.kind {
            Kind::Symmetric => {}
            Kind::ImportedMaterial => key.metadata.origin = Some("EXTERNAL".into()),
            Kind::Asymmetric => key.metadata.spec = Some("RSA_2048".into()),
            Kind::AwsManaged => key.metadata.manager = KeyManager::Aws,
        }
        key.metadata.state = match case.state {
            State::Enabled => KeyState::Usable,
            State::Disabled => KeyState::Disabled,
            State::PendingDeletion => KeyState::PendingDeletion,
            State::Unavailable => KeyState::Unavailable("Unavailable".into()),
            State::Unknown => KeyState::Unknown("Melting".into()),
        };
        // Not read for a supplied key, which is its owner's, whatever its tags are.
        key.tags = match case.tags {
            _ if case.is_supplied() => Ok(KeyTags::default()),
            Tags::Trailseals => Ok(KeyTags { managed_by_trailseal: true, exempt: None }),
            Tags::Exempt => Ok(KeyTags { managed_by_trailseal: true, exempt: Some("SEC-42".into()) }),
            Tags::None => Ok(KeyTags::default()),
            Tags::Unreadable => Err(denied("kms:ListResourceTags", "read the tags of the key")),
        };
        key.policy = POLICIES.iter().position(|it| *it == case.policy).map(|index| self.policies[index].clone());
        key.rotation = Some(Ok(case.rotates));
        key
    }

    pub(crate) fn decision(&self, case: Case) -> Decision<'_> {
        let key = self.observation(case);
        let has_alias = case.place == Place::Created;
        let unfinished = case.is_created().then(|| UnfinishedKey { key: self.arn.clone(), has_alias });
        let is_used = case.place == Place::TagAndUse || case.trail_key == TrailKey::This;
        let candidates = if case.is_only_tagged() {
            let tagged = TaggedKey {
                key: key.clone(),
                aliases: (case.place == Place::TagAndOtherAlias)
                    .then(|| "alias/other".to_owned())
                    .into_iter()
                    .collect(),
                has_grants: case.place == Place::TagAndGrants,
                usage: if is_used { KeyUse::Used } else { KeyUse::Unused },
            };
            Candidates { tagged: Ok(vec![tagged]), ..candidates(Reading::Absent) }
        } else if case.is_created() {
            Candidates { created: Some(key.clone()), ..candidates(Reading::Absent) }
        } else {
            candidates(Reading::Known(key.clone()))
        };
        let trail = match case.trail_key {
            TrailKey::None => self.scenario.clone(),
            TrailKey::This => self.scenario.clone().with_key(key.clone()),
        };
        let plan = self.plan(&trail, &candidates, unfinished.as_ref(), &self.enforce);
        let dry_run = self.plan(&trail, &candidates, unfinished.as_ref(), &self.dry_run);
        Decision { world: self, case, key, trail, plan, dry_run }
    }

    fn plan(
        &self,
        trail: &Scenario,
        candidates: &Candidates,
        unfinished: Option<&UnfinishedKey>,
        context: &Context,
    ) -> Plan {
        let arn = || trail.arn().clone();
        let observations = BTreeMap::from([(arn(), TrailObservation::Readable(Box::new(trail.facts.clone())))]);
        let facts = RemediationFacts {
            exempt_tags: BTreeMap::from([(arn(), Ok(None))]),
            bucket_regions: BTreeMap::from([(arn(), Ok(region(HERE)))]),
            candidates: BTreeMap::from([(region(HERE), candidates.clone())]),
            buckets: BTreeMap::from([(trail.facts.settings.kept.bucket.clone(), Ok(trail.bucket.clone()))]),
        };
        let unfinished = unfinished.map(|key| (region(HERE), key.clone())).into_iter().collect();
        plan(&assess_all(observations, context), &facts, &unfinished, context)
    }
}

fn reading(policy: Policy) -> Reading<ParsedPolicy> {
    let written = |readers| {
        let context = context(&[("TRAILSEAL_LOG_READERS", readers)]);
        json!(KeyPolicy::new(&context.config, &context.function_arn))
    };
    let complete = |statements: &[Value]| {
        let mut policy = written(READER);
        policy["Statement"].as_array_mut().unwrap().extend_from_slice(statements);
        policy
    };
    let allow = |sid: &str, principal: Value, actions: Value| json!({ "Sid": sid, "Effect": "Allow", "Principal": principal, "Action": actions, "Resource": "*" });
    let root = |actions: &str| allow("Account", json!({ "AWS": "arn:aws:iam::123456789012:root" }), json!(actions));
    let cloudtrail = || {
        allow(
            "CloudTrail",
            json!({ "Service": "cloudtrail.amazonaws.com" }),
            json!(["kms:GenerateDataKey*", "kms:DescribeKey"]),
        )
    };
    let only = |statements: &[Value]| json!({ "Version": "2012-10-17", "Statement": statements });
    let deny =
        json!({ "Sid": "Deny", "Effect": "Deny", "Principal": "*", "Action": "kms:GenerateDataKey*", "Resource": "*" });
    let document = match policy {
        Policy::Complete => complete(&[]),
        Policy::WithoutReader => written(""),
        Policy::DeletedRole => {
            let mut policy = complete(&[]);
            policy["Statement"][1]["Principal"]["AWS"] = json!("AROADBQP57FF2AEXAMPLE");
            policy
        }
        Policy::AnotherReader => {
            let reader = json!({ "AWS": "arn:aws:iam::999999999999:root" });
            complete(&[allow("AnotherReader", reader, json!("kms:Decrypt"))])
        }
        Policy::Documented => only(&[root("kms:*"), cloudtrail()]),
        Policy::AccountOnly => only(&[root("kms:*")]),
        Policy::Deny => complete(&[deny]),
        Policy::UnclearDeny => {
            let mut unclear = deny;
            unclear["Condition"] = json!({ "StringEquals": { "kms:EncryptionContext:aws:s3:arn": "arn:aws:s3:::x" } });
            complete(&[unclear])
        }
        Policy::Locked => only(&[root("kms:Describe*"), cloudtrail()]),
        Policy::LockedOut => only(&[root("kms:Describe*")]),
        Policy::Full => {
            let mut policy = only(&[root("kms:*")]);
            policy["Id"] = json!("x".repeat(MAX_BYTES.saturating_sub(policy.to_string().len())));
            policy
        }
        Policy::Unreadable => return Reading::Denied(denied("kms:GetKeyPolicy", "read the key policy")),
    };
    Reading::Known(Document::parse(&document.to_string()))
}

/// What the planner decided, and why.
pub(crate) struct Decision<'a> {
    pub(crate) world: &'a World,
    pub(crate) case: Case,
    pub(crate) key: KeyObservation,
    pub(crate) trail: Scenario,
    pub(crate) plan: Plan,
    pub(crate) dry_run: Plan,
}

impl Decision<'_> {
    pub(crate) fn trail_plan(&self) -> &TrailPlan {
        &self.plan.trails[self.trail.arn()]
    }

    pub(crate) fn key_plan(&self) -> Option<&KeyPlan> {
        self.plan.keys.get(&region(HERE))
    }

    pub(crate) fn step(&self, name: StepName) -> Option<&KeyStep> {
        self.key_plan()?.steps.iter().find(|step| step.name() == name)
    }

    pub(crate) fn plans(&self, name: StepName) -> bool {
        self.step(name).is_some()
    }

    pub(crate) fn extension(&self) -> Option<&PolicyChange> {
        match self.step(StepName::ExtendKeyPolicy)? {
            KeyStep::Extend(change) => Some(change),
            step => panic!("{step:?}"),
        }
    }

    /// Whether the trail gets the key of this case.
    pub(crate) fn assigns_this_key(&self) -> bool {
        self.trail_plan().update.is_some()
            && self.key_plan().is_some_and(|plan| plan.key.as_ref() == Some(&self.world.arn))
    }

    /// The plan after AWS executed this one.
    pub(crate) fn next_plan(&self) -> Plan {
        let mut key = self.key.clone();
        let mut trail = self.trail.clone();
        for step in self.key_plan().into_iter().flat_map(|plan| &plan.steps) {
            match step {
                KeyStep::Create(_) => key = scenario::key(&new_key(&region(HERE)), &self.world.enforce),
                KeyStep::Restore { pending_deletion, .. } => {
                    key.metadata.state = KeyState::Usable;
                    // KMS gives the key its rotation back.
                    key.rotation = Some(Ok(*pending_deletion || self.case.rotates));
                }
                KeyStep::Extend(change) => key.policy = Some(Reading::Known(Ok(change.extension.document.clone()))),
                KeyStep::EnableRotation => key.rotation = Some(Ok(true)),
                KeyStep::Adopt(_) | KeyStep::CreateAlias(_) => {}
            }
        }
        if self.trail_plan().update.is_some() || self.case.trail_key == TrailKey::This {
            trail = trail.with_key(key.clone());
        }
        self.world.plan(&trail, &candidates(Reading::Known(key)), None, &self.world.enforce)
    }
}
