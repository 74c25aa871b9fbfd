//! What a trail's bucket has to do with its key: whether CloudTrail can still write, and who could no
//! longer read.

use super::Planner;
use crate::access::{LockedOutReader, LogFiles, cloudtrail_bucket_access, locked_out_readers, unreplicated_rules};
use crate::config::ReadersLockedOut;
use crate::finding::{Warning, WarningId};
use crate::iam::{Decision, Document};
use crate::ids::KeyArn;
use crate::observation::{Failure, KeptSettings, Reading, ReplicationRule, TrailSettings};
use crate::plan::{KeyOwner, KeyPlan};

impl Planner<'_> {
    /// What would become of the trail's readers and replicas with that key; fails where CloudTrail could
    /// not write with it, or where somebody would be locked out who must not be.
    pub(super) fn bucket_side(
        &self,
        trail: &TrailSettings,
        key: &KeyArn,
        plan: &KeyPlan,
    ) -> Result<Vec<Warning>, Failure> {
        let bucket = &trail.kept.bucket;
        let KeptSettings { key_prefix, organization_trail, multi_region, log_file_validation, .. } = &trail.kept;
        let files = LogFiles {
            organization: organization_trail.unwrap_or(false),
            every_region: multi_region.unwrap_or(true),
            digests: log_file_validation.unwrap_or(true),
            ..LogFiles::new(bucket, key_prefix.as_deref(), &trail.arn)
        };
        let unread = || Err(Failure::transient(format!("the policy of bucket `{bucket}` was not read")));
        let facts = self.sealing.buckets.get(bucket).cloned().unwrap_or_else(unread)?;
        let mut warnings = Vec::new();
        match &facts.policy {
            Reading::Absent => {}
            Reading::Denied(failure) => warnings.push(Warning::new(
                WarningId::BucketPolicyUnreadable,
                format!(
                    "the policy of bucket `{bucket}` may not be read, so it is not known whether it lets CloudTrail write with the key, nor who outside this account reads these logs and could not decrypt them: {}",
                    failure.message
                ),
            )),
            Reading::Known(text) => match Document::parse(text) {
                Ok(policy) => {
                    warnings.extend(can_write(&policy, &files, key, plan)?);
                    warnings.extend(self.readers(&policy, &files, key, plan)?);
                }
                Err(malformed) => warnings.extend([
                    cannot_tell_writing(bucket, &malformed.to_string()),
                    Warning::new(
                        WarningId::BucketPolicyUnreadable,
                        format!("who reads bucket `{bucket}` cannot be told: {malformed}"),
                    ),
                ]),
            },
        }
        match &facts.replication {
            Reading::Absent => {}
            Reading::Denied(failure) => warnings.push(Warning::new(
                WarningId::ReplicationUnreadable,
                format!(
                    "the replication of bucket `{bucket}` may not be read, so it is not known whether it takes log files that are encrypted with a KMS key: {}",
                    failure.message
                ),
            )),
            Reading::Known(rules) => {
                warnings.extend(unreplicated_rules(rules, &files).into_iter().map(|rule| stops(bucket, rule)));
            }
        }
        Ok(warnings)
    }

    fn readers(
        &self,
        policy: &Document,
        files: &LogFiles<'_>,
        key: &KeyArn,
        plan: &KeyPlan,
    ) -> Result<Option<Warning>, Failure> {
        let bucket = files.bucket;
        let readers = locked_out_readers(policy, files, plan.policy.as_ref(), key, self.home.account());
        let those = |certain: bool| -> Vec<String> {
            let those = readers.iter().filter(|reader| reader.certain == certain);
            those.map(|LockedOutReader { reader, reason, .. }| format!("`{reader}` ({reason})")).collect()
        };
        let (certain, perhaps) = (those(true), those(false));
        let names = match (certain.as_slice(), perhaps.as_slice()) {
            ([], []) => return Ok(None),
            (certain, []) => certain.join("; "),
            ([], perhaps) => format!("perhaps {}", perhaps.join("; ")),
            (certain, perhaps) => format!("{}; perhaps also {}", certain.join("; "), perhaps.join("; ")),
        };
        let to_let_them = match plan.owner {
            KeyOwner::Trailseal => "name them in `TRAILSEAL_LOG_READERS`",
            KeyOwner::Exempt | KeyOwner::Another => {
                "let whoever keeps the key name them in its policy, which trailseal does not edit"
            }
        };
        if self.config.readers_locked_out == ReadersLockedOut::Hold && !certain.is_empty() {
            return Err(Failure::terminal(
                format!(
                    "sealing trail `{}` would lock out who reads bucket `{bucket}` and could not decrypt with {}, and `TRAILSEAL_READERS_LOCKED_OUT` is `hold`: {names}",
                    files.trail,
                    named(key, plan)
                ),
                format!(
                    "{to_let_them}, take them out of the bucket's policy, or set `TRAILSEAL_READERS_LOCKED_OUT` to `proceed`"
                ),
            ));
        }
        let detail = format!(
            "may read bucket `{bucket}` and could not decrypt its new log files: {names}. To let them: {to_let_them}, and let their own account's IAM allow `kms:Decrypt` on the key"
        );
        Ok(Some(Warning::new(WarningId::ReadersLockedOut, detail)))
    }
}

/// The key, which may be yet to be created.
fn named(key: &KeyArn, plan: &KeyPlan) -> String {
    match plan.key {
        Some(_) => format!("key `{key}`"),
        None => format!("the key that trailseal would create in `{}`", key.region()),
    }
}

fn can_write(
    policy: &Document,
    files: &LogFiles<'_>,
    key: &KeyArn,
    plan: &KeyPlan,
) -> Result<Option<Warning>, Failure> {
    let bucket = files.bucket;
    let accept = match plan.key {
        Some(_) => format!("key `{key}`"),
        None => format!(
            "any key `arn:{}:kms:{}:{}:key/*`, or supply a key that it accepts by `TRAILSEAL_KEY_ARNS`",
            key.partition(),
            key.region(),
            key.account()
        ),
    };
    match cloudtrail_bucket_access(policy, files, key) {
        Decision::Allowed(_) | Decision::Delegated(_) => Ok(None),
        Decision::ExplicitDeny(statement) => Err(Failure::terminal(
            format!(
                "the policy of bucket `{bucket}` would not let CloudTrail write with {}: {statement}",
                named(key, plan)
            ),
            format!(
                "let that statement spare `cloudtrail.amazonaws.com`, or accept uploads with `s3:x-amz-server-side-encryption` = `aws:kms` and {accept}; until then trail `{}` stays as it is",
                files.trail
            ),
        )),
        decision => Ok(Some(cannot_tell_writing(bucket, &decision.to_string()))),
    }
}

fn cannot_tell_writing(bucket: &str, why: &str) -> Warning {
    Warning::new(
        WarningId::BucketPolicyUnreadable,
        format!(
            "whether the policy of bucket `{bucket}` lets CloudTrail write with the key cannot be told from here ({why}); CloudTrail checks the bucket itself when a trail is given a key"
        ),
    )
}

fn stops(bucket: &str, rule: &ReplicationRule) -> Warning {
    let id = rule.id.as_ref().map(|id| format!("rule `{id}`")).unwrap_or_else(|| "a rule without an id".into());
    Warning::new(
        WarningId::ReplicationWillStop,
        format!(
            "{id} replicates bucket `{bucket}` to `{}` and does not take what is encrypted with a KMS key, so new log files would not be replicated. Let the rule select SSE-KMS objects and name a key for the replicas, and let its role use both keys",
            rule.destination
        ),
    )
}
