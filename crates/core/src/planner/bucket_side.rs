//! What a trail's bucket has to do with its key: whether CloudTrail can still write, and who could no
//! longer read.

use super::Planner;
use crate::config::ReadersLockedOut;
use crate::facts::{Failure, Reading, ReplicationRule, TrailSettings};
use crate::finding::{Warning, WarningId};
use crate::ids::KeyArn;
use crate::policy::bucket::{LogFiles, Refusal, refuses};
use crate::policy::readers::{LockedOut, locked_out};
use crate::policy::replication::will_stop;

impl Planner<'_> {
    /// What would become of the trail's readers and replicas with that key; fails where CloudTrail could
    /// not write with it, or where somebody would be locked out who must not be.
    pub(super) fn bucket_side(
        &self,
        trail: &TrailSettings,
        key: &KeyArn,
        key_policy: Option<&str>,
    ) -> Result<Vec<Warning>, Failure> {
        let bucket = &trail.kept.bucket;
        let organization = trail.kept.organization_trail.unwrap_or(false);
        let files = LogFiles { bucket, prefix: trail.kept.key_prefix.as_deref(), trail: &trail.arn, organization };
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
            Reading::Known(policy) => {
                warnings.extend(can_write(policy, &files, key)?);
                warnings.extend(self.readers(policy, &files, key, key_policy)?);
            }
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
                warnings.extend(will_stop(rules, &files).into_iter().map(|rule| stops(bucket, rule)));
            }
        }
        Ok(warnings)
    }

    fn readers(
        &self,
        policy: &str,
        files: &LogFiles<'_>,
        key: &KeyArn,
        key_policy: Option<&str>,
    ) -> Result<Option<Warning>, Failure> {
        let bucket = files.bucket;
        let readers = match locked_out(policy, files, key_policy, key, self.home.account()) {
            Ok(readers) => readers,
            Err(unreadable) => {
                let detail = format!("who reads bucket `{bucket}` cannot be told: {unreadable}");
                return Ok(Some(Warning::new(WarningId::BucketPolicyUnreadable, detail)));
            }
        };
        let those = |certain: bool| -> Vec<String> {
            let those = readers.iter().filter(|reader| reader.certain == certain);
            those.map(|LockedOut { reader, why, .. }| format!("`{reader}` ({why})")).collect()
        };
        let (certain, perhaps) = (those(true), those(false));
        let names = match (certain.as_slice(), perhaps.as_slice()) {
            ([], []) => return Ok(None),
            (certain, []) => certain.join("; "),
            ([], perhaps) => format!("perhaps {}", perhaps.join("; ")),
            (certain, perhaps) => format!("{}; perhaps also {}", certain.join("; "), perhaps.join("; ")),
        };
        if self.config.readers_locked_out == ReadersLockedOut::Hold && !certain.is_empty() {
            return Err(Failure::terminal(
                format!(
                    "sealing trail `{}` would lock out who reads bucket `{bucket}` and could not decrypt with key `{key}`, and `TRAILSEAL_READERS_LOCKED_OUT` is `hold`: {names}",
                    files.trail
                ),
                "name them in `TRAILSEAL_LOG_READERS` (or let them decrypt by the key's policy, if it is not trailseal's), take them out of the bucket's policy, or set `TRAILSEAL_READERS_LOCKED_OUT` to `proceed`",
            ));
        }
        let detail = format!(
            "may read bucket `{bucket}` and could not decrypt its new log files: {names}. To let them: name them in TRAILSEAL_LOG_READERS, and let their own account's IAM allow `kms:Decrypt` on the key"
        );
        Ok(Some(Warning::new(WarningId::ReadersLockedOut, detail)))
    }
}

fn can_write(policy: &str, files: &LogFiles<'_>, key: &KeyArn) -> Result<Option<Warning>, Failure> {
    let bucket = files.bucket;
    match refuses(policy, files, key) {
        Refusal::No => Ok(None),
        Refusal::Yes(statement) => Err(Failure::terminal(
            format!("the policy of bucket `{bucket}` would not let CloudTrail write with key `{key}`: {statement}"),
            format!(
                "let that statement accept uploads with `s3:x-amz-server-side-encryption` = `aws:kms` and this key, or spare `cloudtrail.amazonaws.com`; until then trail `{}` stays as it is",
                files.trail
            ),
        )),
        Refusal::CannotTell(why) => Ok(Some(Warning::new(
            WarningId::BucketPolicyUnreadable,
            format!(
                "whether the policy of bucket `{bucket}` lets CloudTrail write with the key cannot be told from here ({why}); CloudTrail checks the bucket itself when a trail is given a key"
            ),
        ))),
    }
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
