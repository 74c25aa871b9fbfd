//! Warnings in words.

use std::collections::BTreeSet;

use super::{joined, policy_commands, quoted, with_remedy};
use crate::access::{DecryptBarrier, LockedOutReader};
use crate::config::LOG_READERS;
use crate::finding::{KeyOwner, UnreadTrails, Warning};
use crate::iam::Decision;
use crate::ids::{KeyArn, Region, shorten};

/// What only the bucket policy shows.
const UNREAD_POLICY: &str =
    "whether CloudTrail can write with the key and which readers outside this account could not decrypt";

/// A warning in words.
pub(in crate::report) fn warning(warning: &Warning) -> String {
    match warning {
        Warning::ReadersLockedOut { bucket, readers, owner } => format!(
            "these principals can read bucket `{bucket}` but could not decrypt its new log files: {}. To allow them, {}, and allow `kms:Decrypt` on the key in the IAM policies of their own account",
            locked_out(readers),
            allow_locked_out(*owner, readers)
        ),
        Warning::BucketOwnerLockedOut { bucket, owner } => format!(
            "the account that owns bucket `{bucket}` could not decrypt its new log files, because the key policy allows no other account to decrypt. To allow it, {}, and allow `kms:Decrypt` on the key in that account's IAM policies",
            allow_readers(*owner, "that account")
        ),
        Warning::BucketPolicyDenied { bucket, failure, owner: None } => format!(
            "the policy of bucket `{bucket}` cannot be read, so it is unknown {UNREAD_POLICY}: {}",
            with_remedy(failure)
        ),
        Warning::BucketPolicyDenied { bucket, failure, owner: Some(owner) } => format!(
            "the policy of bucket `{bucket}` cannot be read, so it is unknown {UNREAD_POLICY}: {}. It is also unknown whether another account owns the bucket and would be locked out: {}",
            failure.message,
            with_remedy(owner)
        ),
        Warning::BucketPolicyForeign { bucket, owner } => {
            let readers = owner.map_or(String::new(), |owner| {
                format!(". If the key policy does not allow that account to decrypt, {}", allow_readers(owner, "it"))
            });
            format!(
                "another account owns bucket `{bucket}`, and S3 returns a bucket policy to its owner only, so it is unknown {UNREAD_POLICY}. Ask that account, which S3 does not name, who reads the log files{readers}"
            )
        }
        Warning::BucketPolicyMalformed { bucket, error } => format!(
            "the policy of bucket `{bucket}` cannot be evaluated, so it is unknown {UNREAD_POLICY}: {error}. Check that it allows CloudTrail to write with the key, and who reads the log files"
        ),
        Warning::BucketPolicyUnclear { bucket, decision } => format!(
            "it is unknown whether the policy of bucket `{bucket}` allows CloudTrail to write with the key ({}). CloudTrail checks this when the trail is updated, and rejects the update if CloudTrail cannot write. Check that the statement allows CloudTrail to write",
            reasons(decision)
        ),
        Warning::ReplicationWillStop { bucket, rule } => {
            let id = rule.id.as_ref().map_or("a rule without an ID".into(), |id| format!("rule `{id}`"));
            format!(
                "{id} replicates bucket `{bucket}` to `{}` but does not select objects that are encrypted with a KMS key, so new log files would not be replicated. In the rule, select SSE-KMS objects and name a key for the replicas; allow the replication role to use both keys",
                rule.destination
            )
        }
        Warning::ReplicationNeedsDecrypt { bucket, rule, key, region, owner } => {
            let id = rule.id.as_ref().map_or("a rule without an ID".into(), |id| format!("rule `{id}`"));
            let key = key.as_ref().map_or("ARN of the new key".into(), ToString::to_string);
            let statement = format!(
                r#"{{"Effect":"Allow","Action":"kms:Decrypt","Resource":"{key}","Condition":{{"StringLike":{{"kms:ViaService":"s3.{region}.*"}}}}}}"#
            );
            format!(
                "{id} replicates new log files of bucket `{bucket}` to `{}` only if its role `{}` can decrypt with the trail's new key. The role needs kms:Decrypt in its own policy: add the statement {statement}. If the key policy does not delegate to the role's account, also {}",
                rule.destination,
                rule.role,
                allow_readers(*owner, "the role")
            )
        }
        Warning::ReplicationUnreadable { bucket, failure } => format!(
            "the replication configuration of bucket `{bucket}` cannot be read, so it is unknown whether it selects log files that are encrypted with a KMS key: {}",
            with_remedy(failure)
        ),
        Warning::DescribeKeyMissing { key, decision } => format!(
            "the policy of key `{key}` does not allow CloudTrail to describe the key (`kms:DescribeKey`: {decision}), which AWS documents as required, although CloudTrail delivers without it. To follow AWS's guide, the key's owner adds `kms:DescribeKey` for `cloudtrail.amazonaws.com`"
        ),
        Warning::BucketKeyNeedsDecrypt { key, decision } => format!(
            "the policy of key `{key}` does not allow CloudTrail to decrypt (`kms:Decrypt`: {decision}), which CloudTrail needs if the bucket uses an S3 Bucket Key. If it does, the key's owner adds `kms:Decrypt` for `cloudtrail.amazonaws.com`"
        ),
        Warning::KeyMaterialExpires { key, expiry } => format!(
            "the imported key material of key `{key}` expires on {} ({}). From then on, CloudTrail cannot deliver, and no log file that the key encrypted can be read, until the owner of the key imports the same key material again with `aws kms import-key-material`",
            expiry.at,
            match expiry.days_left {
                ..1 => "within a day".into(),
                1 => "in 1 day".into(),
                days => format!("in {days} days"),
            }
        ),
        Warning::KeyPolicyUnclear { key, access } => {
            let unknown = joined(access.unknown().into_iter().map(|(call, decision)| format!("`{call}`: {}", reasons(decision))));
            format!(
                "it is unknown whether the policy of key `{key}` allows CloudTrail to use it ({unknown}). CloudTrail checks this when the key is assigned to a trail. If delivery fails later, check these statements first"
            )
        }
        Warning::KeyPolicyMalformed { key, error } => {
            format!("the policy of key `{key}` cannot be evaluated: {error}. Check that it allows CloudTrail to use the key")
        }
        Warning::KeyPolicyMissing(key) => format!(
            "KMS returned no policy for key `{key}`, so it was not evaluated. The next sweep reads it again; investigate if this persists"
        ),
        Warning::KeyDenied { key, failure } => {
            format!("key `{key}` cannot be read, so it was not evaluated: {}", with_remedy(failure))
        }
        Warning::KeyNameUnresolved { key, region } => format!(
            "key `{key}` cannot be read, so it was not evaluated: it is not an ARN and was not found in `{region}`; name the trail's key by its ARN"
        ),
        Warning::KeyPolicyDenied { key, failure: Some(failure) } => {
            format!("the policy of key `{key}` cannot be read, so it was not evaluated: {}", with_remedy(failure))
        }
        Warning::KeyPolicyDenied { key, failure: None } => format!(
            "the policy of key `{key}` cannot be read, so it was not evaluated: the key belongs to account `{}`, and KMS returns a key policy to the key's own account only. Ask that account to check that it allows CloudTrail to use the key",
            key.account()
        ),
        Warning::KeyTagsDenied { key, failure } => {
            format!("the tags of key `{key}` cannot be read, so trailseal does not change it: {}", with_remedy(failure))
        }
        Warning::KeyRotationDenied { key, failure } => {
            format!("it is unknown whether yearly rotation of key `{key}` is on: {}", with_remedy(failure))
        }
        Warning::KeyStateUnknown { key, state } => {
            format!("key `{key}` is in state `{state}`, which trailseal does not support, so it was not evaluated. Check that CloudTrail delivers with it, and update trailseal, because a newer version may support that state")
        }
        Warning::StrayUnknown { key, failure, unused: true } => format!(
            "no readable trail uses key `{key}`, which has trailseal's tag. Do not delete it yet, because it is unknown whether it is a stray: {}",
            with_remedy(failure)
        ),
        Warning::StrayUnknown { key, failure, unused: false } => format!(
            "it is unknown whether key `{key}`, which has trailseal's tag, is a stray: {}",
            with_remedy(failure)
        ),
        Warning::StraysUnknown { regions, failure } => {
            format!(
                "it is unknown whether trailseal has stray keys in {}: {}",
                quoted(regions),
                with_remedy(failure)
            )
        }
        Warning::KeyUseUnknown { key, trails, failure } => {
            let trails = match trails {
                UnreadTrails::Regions(regions) => format!("any trail in {}", quoted(regions)),
                UnreadTrails::Listed(names) => format!("any trail listed as {}", quoted(names)),
            };
            format!("it is unknown whether {trails} uses key `{key}`: {}", with_remedy(failure))
        }
        Warning::UnfinishedKeyUnknown { region, failure } => format!(
            "it is unknown whether an earlier run left an unfinished key in `{region}`: {}",
            with_remedy(failure)
        ),
        Warning::ReaderNotRevoked { key, reader } => {
            let (reader, sid) = (&reader.reader, &reader.sid);
            let commands = policy_commands(key, &format!("remove `{reader}` from `{sid}`"));
            format!(
                "{LOG_READERS} no longer contains `{reader}`, but statement `{sid}` of the policy of key `{key}` still allows it to decrypt. trailseal removes nothing from a policy. To revoke access: {commands}"
            )
        }
        Warning::NoLoggingTrail => "no trail in this account is logging: API activity is not recorded, and trailseal receives no events about trails until one is. Create a trail, or start one: `aws cloudtrail start-logging --region HOME_REGION --name TRAIL_ARN`".into(),
    }
}

/// Why an event about a key is ignored: no trail in the Regions that could be read uses it.
pub(in crate::report) fn unused_key(key: &KeyArn, read: &[&Region], is_complete: bool) -> String {
    match read {
        _ if is_complete => format!("no trail uses key `{key}`"),
        [] => format!("no trail could be read, so it is unknown whether one uses key `{key}`"),
        read => format!("no trail uses key `{key}` in the Regions that could be read: {}", quoted(read)),
    }
}

/// Why a decision is unknown, without repeating that it is.
fn reasons(decision: &Decision) -> String {
    match decision {
        Decision::Unknown(reasons) => joined(reasons.iter().map(ToString::to_string)),
        other => other.to_string(),
    }
}

/// The readers that would be locked out: those that certainly are first.
pub(super) fn locked_out(readers: &[LockedOutReader]) -> String {
    let named = |certain: bool| {
        let those = readers.iter().filter(move |reader| reader.certain == certain);
        joined(those.map(|reader| format!("`{}` ({})", reader.reader, barrier(reader))))
    };
    match (named(true), named(false)) {
        (certain, possible) if possible.is_empty() => certain,
        (certain, possible) if certain.is_empty() => format!("possibly {possible}"),
        (certain, possible) => format!("{certain}; possibly also {possible}"),
    }
}

/// By which statement a reader reads, and why it cannot decrypt.
fn barrier(reader: &LockedOutReader) -> String {
    let barrier = match &reader.barrier {
        DecryptBarrier::UnknownPolicy => "the key policy cannot be read".into(),
        DecryptBarrier::UnknownDecision(reason) => {
            let reason = shorten(&reason.to_string(), 300);
            format!("it is unknown whether the key policy allows them to decrypt: {reason}")
        }
        DecryptBarrier::ExplicitDeny(statement) => format!("{statement} of the key policy denies them `kms:Decrypt`"),
        DecryptBarrier::ImplicitDeny => "no statement of the key policy allows them to decrypt".into(),
        DecryptBarrier::SomeAllowed(some) => {
            format!("the key policy may allow only some of them to decrypt: `{some}`")
        }
        DecryptBarrier::SomeDenied(some) => format!("the key policy may deny some of them `kms:Decrypt`: `{some}`"),
    };
    let allows = if reader.reads_certainly { "allows" } else { "may allow" };
    format!("{} of the bucket policy {allows} them to read; {barrier}", reader.statement)
}

/// How locked-out readers are allowed to use a key. `LogReaders` cannot name everyone as a bucket policy does.
pub(super) fn allow_locked_out(owner: KeyOwner, readers: &[LockedOutReader]) -> String {
    let is_same = |reader: &LockedOutReader| reader.log_reader.as_ref() == Some(&reader.reader);
    if owner != KeyOwner::Trailseal || readers.iter().all(is_same) {
        return allow_readers(owner, "them");
    }
    let named: BTreeSet<&String> = readers.iter().filter_map(|reader| reader.log_reader.as_ref()).collect();
    let named = quoted(named);
    let others = readers.iter().filter(|reader| reader.log_reader.is_none()).map(|reader| &reader.reader);
    let others = Some(quoted(others.collect::<BTreeSet<&String>>())).filter(|others| !others.is_empty());
    let others =
        others.map(|it| format!("the role or user ARNs, account IDs or organization IDs of those behind {it}"));
    let added: Vec<String> = Some(named).filter(|named| !named.is_empty()).into_iter().chain(others).collect();
    allow_readers(owner, &added.join(", and "))
}

/// How readers are allowed to use a key.
pub(super) fn allow_readers(owner: KeyOwner, readers: &str) -> String {
    match owner {
        KeyOwner::Trailseal => format!("add {readers} to {LOG_READERS}"),
        KeyOwner::Exempt | KeyOwner::Another => {
            format!("ask the key's owner to add {readers} to the key policy, which trailseal does not edit")
        }
    }
}
