//! What another key means for a trail's bucket: can CloudTrail still write, and who could no longer read.

use super::Planner;
use super::obstacle::Obstacle;
use super::types::KeyPlan;
use crate::access::{
    LogFiles, account_readers, cloudtrail_bucket_access, excludes_other_accounts, locked_out_readers,
    rules_without_decrypt, tests_encryption, unreplicated_rules,
};
use crate::config::ReadersLockedOut;
use crate::finding::Warning;
use crate::iam::{Decision, Document, Reason};
use crate::ids::KeyArn;
use crate::observation::{BucketObservation, BucketOwner, KeptSettings, Reading, ReplicationRule, TrailSettings};

impl Planner<'_> {
    /// Where the trail's log files are.
    fn log_files<'a>(&'a self, trail: &'a TrailSettings) -> LogFiles<'a> {
        let KeptSettings { bucket, key_prefix, organization_trail, multi_region, log_file_validation, .. } =
            &trail.kept;
        LogFiles {
            organization: organization_trail.unwrap_or(false),
            every_region: multi_region.unwrap_or(true),
            digests: log_file_validation.unwrap_or(true),
            organization_id: self.context.config.organization_id.as_ref(),
            ..LogFiles::new(bucket, key_prefix.as_deref(), &trail.arn)
        }
    }

    /// The warnings about readers and replicas. Fails if CloudTrail could not write with the key, or if
    /// `ReadersLockedOut` is `hold` and readers would be locked out.
    pub(super) fn check_bucket(
        &self,
        trail: &TrailSettings,
        key: &KeyArn,
        plan: &KeyPlan,
    ) -> Result<Vec<Warning>, Obstacle> {
        let bucket = &trail.kept.bucket;
        let observation = self.facts.buckets.get(bucket).ok_or_else(|| Obstacle::NotRead(trail.arn.clone()))?;
        let BucketObservation { owner, policy, replication } = observation.clone()?;
        let bucket_owner = (owner == BucketOwner::Own).then(|| self.context.function_arn.account());
        let files = LogFiles { bucket_owner, ..self.log_files(trail) };
        let bucket = bucket.clone();
        let mut warnings = Vec::new();
        match (policy, owner) {
            (Reading::Absent, _) => return Err(not_allowed(&files, None)),
            (Reading::Denied(_), BucketOwner::Another) => warnings.extend(self.check_owner(&files, key, plan)?),
            (Reading::Denied(failure), BucketOwner::Own) => {
                warnings.push(Warning::BucketPolicyDenied { bucket: bucket.clone(), failure, owner: None });
            }
            (Reading::Denied(failure), BucketOwner::Unknown(owner)) => {
                warnings.push(Warning::BucketPolicyDenied { bucket: bucket.clone(), failure, owner: Some(owner) });
            }
            (Reading::Known(Err(error)), _) => {
                warnings.push(Warning::BucketPolicyMalformed { bucket: bucket.clone(), error });
            }
            (Reading::Known(Ok(policy)), _) => {
                warnings.extend(write_access(&policy, &files, key, plan, trail.kms_key_id.as_deref())?);
                warnings.extend(self.check_readers(&policy, &files, key, plan)?);
            }
        }
        match replication {
            Reading::Absent => {}
            Reading::Denied(failure) => warnings.push(Warning::ReplicationUnreadable { bucket, failure }),
            Reading::Known(rules) => {
                let of = |rule: &ReplicationRule| (bucket.clone(), rule.clone());
                let stopped = unreplicated_rules(&rules, &files).into_iter().map(of);
                warnings.extend(stopped.map(|(bucket, rule)| Warning::ReplicationWillStop { bucket, rule }));
                let undecrypted = rules_without_decrypt(&rules, &files, plan.policy.as_ref(), key).into_iter().map(of);
                warnings.extend(undecrypted.map(|(bucket, rule)| Warning::ReplicationNeedsDecrypt {
                    bucket,
                    rule,
                    key: plan.key.clone(),
                    region: key.region().clone(),
                    owner: plan.owner,
                }));
            }
        }
        Ok(warnings)
    }

    /// Whether the other account that owns the bucket is locked out. S3 does not disclose which account that is.
    fn check_owner(&self, files: &LogFiles<'_>, key: &KeyArn, plan: &KeyPlan) -> Result<Vec<Warning>, Obstacle> {
        let (bucket, owner) = (files.bucket.to_owned(), plan.owner);
        if !excludes_other_accounts(plan.policy.as_ref(), self.context.function_arn.account()) {
            return Ok(vec![Warning::BucketPolicyForeign { bucket, owner: Some(owner) }]);
        }
        match self.context.config.readers_locked_out {
            ReadersLockedOut::Hold => Err(Obstacle::BucketOwnerHeld {
                bucket,
                trail: files.trail.clone(),
                key: plan.key.clone(),
                region: key.region().clone(),
                owner,
            }),
            ReadersLockedOut::Proceed => Ok(vec![
                Warning::BucketOwnerLockedOut { bucket: bucket.clone(), owner },
                Warning::BucketPolicyForeign { bucket, owner: None },
            ]),
        }
    }

    /// The principals of this account that the bucket policy names as readers, as far as it can be read.
    pub(super) fn account_readers(&self, trail: &TrailSettings) -> Vec<String> {
        match self.facts.buckets.get(&trail.kept.bucket) {
            Some(Ok(BucketObservation { policy: Reading::Known(Ok(policy)), .. })) => {
                account_readers(policy, &self.log_files(trail), self.context.function_arn.account())
            }
            _ => Vec::new(),
        }
    }

    fn check_readers(
        &self,
        policy: &Document,
        files: &LogFiles<'_>,
        key: &KeyArn,
        plan: &KeyPlan,
    ) -> Result<Option<Warning>, Obstacle> {
        let account = self.context.function_arn.account();
        let readers = locked_out_readers(policy, files, plan.policy.as_ref(), key, account);
        let bucket = files.bucket.to_owned();
        let hold = self.context.config.readers_locked_out == ReadersLockedOut::Hold;
        if hold && readers.iter().any(|reader| reader.certain) {
            return Err(Obstacle::ReadersHeld {
                bucket,
                trail: files.trail.clone(),
                key: plan.key.clone(),
                region: key.region().clone(),
                readers,
                owner: plan.owner,
            });
        }
        let warning = Warning::ReadersLockedOut { bucket, readers: readers.clone(), owner: plan.owner };
        Ok((!readers.is_empty()).then_some(warning))
    }
}

fn write_access(
    policy: &Document,
    files: &LogFiles<'_>,
    key: &KeyArn,
    plan: &KeyPlan,
    current_key: Option<&str>,
) -> Result<Option<Warning>, Obstacle> {
    let access = cloudtrail_bucket_access(policy, files, key, current_key);
    let bucket = files.bucket.to_owned();
    match access.decisive() {
        (call, Decision::ImplicitDeny(unmet)) => {
            Err(not_allowed(files, Some((call, Reason::nearest(unmet).cloned().collect()))))
        }
        (call, Decision::ExplicitDeny(statement)) => Err(Obstacle::BucketDenied {
            bucket,
            trail: files.trail.clone(),
            key: plan.key.clone(),
            placeholder: key.clone(),
            call,
            statement: statement.clone(),
            tests_encryption: tests_encryption(policy, statement),
        }),
        (_, decision @ Decision::Unknown(_)) => {
            Ok(Some(Warning::BucketPolicyUnclear { bucket, decision: decision.clone() }))
        }
        (_, Decision::Allowed(_) | Decision::Delegated(_)) => Ok(None),
    }
}

fn not_allowed(files: &LogFiles<'_>, unmet: Option<(&'static str, Vec<Reason>)>) -> Obstacle {
    let LogFiles { bucket, trail, .. } = *files;
    let statements = files.cloudtrail_statements().to_string();
    Obstacle::BucketNotAllowed { bucket: bucket.to_owned(), trail: trail.clone(), unmet, statements }
}
