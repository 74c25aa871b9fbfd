//! What one trail needs, given its assessment and the sealing key of its bucket's Region.

use std::collections::BTreeMap;
use std::mem::discriminant;

use super::Planner;
use super::obstacle::Obstacle;
use super::types::{Disposition, KeyPlan, TrailPlan, TrailUpdate};
use crate::access::cloudtrail_key_access;
use crate::assess::{AssessedTrail, Assessment, KeyNeed, Verdict, access_warnings};
use crate::failure::Failure;
use crate::finding::{FindingId, KeyOwner, Warning};
use crate::ids::{KeyArn, Region, TrailArn, shorten};
use crate::key_policy::KeyAdministrator;
use crate::observation::TrailSettings;

/// The sealing key of a trail, which the trail gets or has.
struct Assignment {
    region: Region,
    update: Option<TrailUpdate>,
}

/// The access that a key policy gives CloudTrail, which it does not deny.
struct CloudTrailAccess {
    /// Whether the policy certainly allows CloudTrail to use the key.
    verified: bool,
    /// What the policy leaves uncertain, or denies although CloudTrail may need it.
    warnings: Vec<Warning>,
}

impl Planner<'_> {
    pub(super) fn plan_trail(
        &self,
        arn: &TrailArn,
        trail: &AssessedTrail,
        keys: &mut BTreeMap<Region, KeyPlan>,
    ) -> TrailPlan {
        let assessment = match trail {
            AssessedTrail::Gone => return TrailPlan::untouched(Disposition::Gone, Some(false)),
            AssessedTrail::Unreadable(failure) => {
                return TrailPlan::untouched(self.unreadable(arn, failure.clone()), None);
            }
            AssessedTrail::Readable(assessment) => &**assessment,
        };
        let Assessment { settings, logging, findings, warnings, verdict } = assessment;
        let mut plan = TrailPlan {
            findings: findings.clone(),
            warnings: warnings.clone(),
            current_key: settings.kms_key_id.clone(),
            ..TrailPlan::untouched(Disposition::Note, Some(*logging))
        };
        let exempt_tag = || self.facts.exempt_tags.get(arn).ok_or_else(|| Obstacle::NotRead(arn.clone()));
        plan.disposition = match verdict {
            Verdict::Compliant => Disposition::Compliant,
            Verdict::OutOfScope => Disposition::OutOfScope { owner: arn.account().clone(), unreadable: None },
            Verdict::Note | Verdict::Remediate { .. } => match exempt_tag() {
                Err(obstacle) => Disposition::Failed(obstacle),
                Ok(Err(failure)) => Disposition::Failed(Obstacle::ReadFailed(failure.clone())),
                Ok(Ok(Some(value))) => Disposition::Exempt(shorten(value, 256)),
                Ok(Ok(None)) => self.remediate(settings, verdict, &mut plan, keys),
            },
        };
        plan
    }

    fn remediate(
        &self,
        settings: &TrailSettings,
        verdict: &Verdict,
        plan: &mut TrailPlan,
        keys: &mut BTreeMap<Region, KeyPlan>,
    ) -> Disposition {
        let Verdict::Remediate { key, restart } = verdict else { return Disposition::Note };
        plan.restart = (*restart).then(|| settings.home_region.clone());
        let assignment = match key {
            None => Ok(None),
            Some(KeyNeed::SealingKey) => self.assign(settings, &mut plan.warnings, keys).map(Some),
            Some(KeyNeed::Repair(key)) => self.repair(key, &settings.arn, &mut plan.warnings, keys),
        };
        if let (Some(KeyNeed::Repair(_)), Ok(None)) = (key, &assignment) {
            // Only sealing keys must rotate.
            plan.findings.retain(|finding| finding.id() != FindingId::KeyRotationOff);
        }
        match assignment {
            Err(obstacle) => Disposition::Failed(obstacle),
            Ok(None) if plan.restart.is_none() && plan.findings.is_empty() => Disposition::Compliant,
            Ok(None) if plan.restart.is_none() => Disposition::Note,
            Ok(None) => Disposition::Remediate,
            Ok(Some(Assignment { region, update })) => {
                plan.sealing_region = Some(region);
                plan.update = update;
                Disposition::Remediate
            }
        }
    }

    /// A transient failure is retried. Otherwise a trail of another account is out of scope, not a failure: a member
    /// account may be denied the Region of its organization's trail.
    fn unreadable(&self, arn: &TrailArn, failure: Failure) -> Disposition {
        if failure.is_transient() || self.context.owns_trail(arn) {
            return Disposition::Failed(Obstacle::ReadFailed(failure));
        }
        Disposition::OutOfScope { owner: arn.account().clone(), unreadable: Some(failure) }
    }

    /// Assigns the sealing key of the bucket's Region. A trail that has that key already gets it repaired.
    fn assign(
        &self,
        settings: &TrailSettings,
        warnings: &mut Vec<Warning>,
        keys: &mut BTreeMap<Region, KeyPlan>,
    ) -> Result<Assignment, Obstacle> {
        let bucket_region = self.facts.bucket_regions.get(&settings.arn);
        let region = bucket_region.ok_or_else(|| Obstacle::NotRead(settings.arn.clone()))?.clone()?;
        let key = self.key_plan(&region, &settings.arn, keys)?;
        let function = &self.context.function_arn;
        let placeholder = || KeyArn::placeholder(function.partition(), &region, function.account());
        let arn = key.key.clone().unwrap_or_else(placeholder);
        warnings.extend(key.warnings.iter().cloned());
        let has_key = settings.kms_key_id.as_deref() == Some(arn.as_str());
        let CloudTrailAccess { verified, warnings: access } =
            self.cloudtrail_access(&key, &arn, &settings.arn, has_key)?;
        if has_key && key.steps.is_empty() {
            return Err(Obstacle::Inconsistent(arn));
        }
        let bucket_warnings = if has_key { vec![] } else { self.check_bucket(settings, &arn, &key)? };
        warnings.extend(access.into_iter().chain(bucket_warnings));
        remove_repetitions(warnings);
        let config = &self.context.config;
        let update = (!has_key).then(|| TrailUpdate {
            bucket_region: region.clone(),
            observed: settings.clone(),
            access_verified: verified,
            statements: self.policy.cloudtrail_statements(),
            account_readers_need_permission: key.owner != KeyOwner::Trailseal || !config.log_readers.own_account,
            account_readers: self.account_readers(settings),
        });
        keys.insert(region.clone(), key);
        Ok(Assignment { region, update })
    }

    /// Adds what a trail's own, usable key lacks. `None`: it is not the sealing key of its Region, and trailseal maintains
    /// no other; or no principal can add it.
    fn repair(
        &self,
        own: &KeyArn,
        trail: &TrailArn,
        warnings: &mut Vec<Warning>,
        keys: &mut BTreeMap<Region, KeyPlan>,
    ) -> Result<Option<Assignment>, Obstacle> {
        let region = own.region().clone();
        let key = match self.key_plan(&region, trail, keys) {
            Ok(key) if key.key.as_ref() == Some(own) => key,
            Err(obstacle) if self.is_sealing_key(own) => return Err(obstacle),
            Ok(_) | Err(_) => return Ok(None),
        };
        let is_unmanageable = |policy| {
            self.policy.administrator(policy) == KeyAdministrator::NoPrincipal
                && self.policy.extension(policy).is_some()
        };
        if key.steps.is_empty() && key.policy.as_ref().is_some_and(is_unmanageable) {
            return Ok(None);
        }
        let CloudTrailAccess { verified: _, warnings: access } = self.cloudtrail_access(&key, own, trail, true)?;
        if key.steps.is_empty() {
            return Err(Obstacle::Inconsistent(own.clone()));
        }
        warnings.extend(key.warnings.iter().cloned().chain(access));
        remove_repetitions(warnings);
        keys.insert(region.clone(), key);
        Ok(Some(Assignment { region, update: None }))
    }

    fn key_plan(
        &self,
        region: &Region,
        trail: &TrailArn,
        keys: &BTreeMap<Region, KeyPlan>,
    ) -> Result<KeyPlan, Obstacle> {
        keys.get(region).map_or_else(|| self.sealing_key(region, trail), |known| Ok(known.clone()))
    }

    /// What the policy of a key, after its steps, means for CloudTrail and a trail. Fails if the policy denies CloudTrail
    /// to encrypt. If it denies another call, CloudTrail decides, unless the trail has the key already and no step adds
    /// what is missing.
    fn cloudtrail_access(
        &self,
        plan: &KeyPlan,
        key: &KeyArn,
        trail: &TrailArn,
        has_key: bool,
    ) -> Result<CloudTrailAccess, Obstacle> {
        let Some(policy) = &plan.policy else {
            return Ok(CloudTrailAccess { verified: false, warnings: vec![] });
        };
        let access = cloudtrail_key_access(policy, key, trail, self.context.config.organization_id.as_ref());
        let is_denied = !access.denied().is_empty();
        if access.generate_data_key.is_denied() || (is_denied && has_key && plan.steps.is_empty()) {
            return Err(Obstacle::SealingKeyDenied {
                key: key.clone(),
                trail: trail.clone(),
                statements: self.policy.missing_statements(&access),
                access,
                owner: plan.owner,
                administrator: self.policy.administrator(policy),
            });
        }
        let verified = !is_denied && access.unknown().is_empty();
        Ok(CloudTrailAccess { verified, warnings: access_warnings(key, access) })
    }
}

impl TrailPlan {
    fn untouched(disposition: Disposition, logging: Option<bool>) -> Self {
        Self {
            findings: vec![],
            warnings: vec![],
            current_key: None,
            logging,
            disposition,
            sealing_region: None,
            restart: None,
            update: None,
        }
    }
}

/// A warning about the trail's own key is not repeated for the same key as the sealing key, which was read again.
fn remove_repetitions(warnings: &mut Vec<Warning>) {
    let mut kept: Vec<Warning> = Vec::new();
    let is_same_read = |one: &Warning, other: &Warning| {
        discriminant(one) == discriminant(other)
            && one.unreadable_key().is_some()
            && one.unreadable_key() == other.unreadable_key()
    };
    warnings.retain(|warning| {
        let is_new = !kept.iter().any(|known| known == warning || is_same_read(known, warning));
        if is_new {
            kept.push(warning.clone());
        }
        is_new
    });
}
