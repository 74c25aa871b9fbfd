//! Which replication stops once a trail's log files are encrypted with a KMS key.

use crate::access::decrypt::decide_decrypt;
use crate::access::log_files::LogFiles;
use crate::access::principal_set::PrincipalSet;
use crate::iam::{Decision, Document, Identity};
use crate::ids::KeyArn;
use crate::observation::ReplicationRule;

/// The rules that replicate these log files until they are encrypted with a KMS key. S3 does not replicate objects
/// that are encrypted with a KMS key unless the rule's `SourceSelectionCriteria` has `SseKmsEncryptedObjects`.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>.
pub fn unreplicated_rules<'a>(rules: &'a [ReplicationRule], files: &LogFiles<'_>) -> Vec<&'a ReplicationRule> {
    applied_rules(rules, files).filter(|rule| !rule.replicates_sse_kms).collect()
}

/// The rules that replicate these log files although they are encrypted, but whose role the key's policy does not
/// certainly allow to decrypt them. The role of an account that the policy lets decrypt through IAM is one of them,
/// because its IAM policies are not read.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>.
pub fn rules_without_decrypt<'a>(
    rules: &'a [ReplicationRule],
    files: &LogFiles<'_>,
    key_policy: Option<&Document>,
    key: &KeyArn,
) -> Vec<&'a ReplicationRule> {
    let can_decrypt = |rule: &&ReplicationRule| {
        let role = Identity::parse(&rule.role).zip(key_policy);
        role.is_some_and(|(role, policy)| {
            matches!(decide_decrypt(policy, key, &PrincipalSet::one(role)), Decision::Allowed(_))
        })
    };
    applied_rules(rules, files).filter(|rule| rule.replicates_sse_kms && !can_decrypt(rule)).collect()
}

/// The rules that select these log files. CloudTrail's objects have no tags, so a rule for tagged objects does not.
fn applied_rules<'a>(rules: &'a [ReplicationRule], files: &LogFiles<'_>) -> impl Iterator<Item = &'a ReplicationRule> {
    let files = files.common_prefix();
    let selects = move |rule: &&ReplicationRule| files.starts_with(&rule.prefix) || rule.prefix.starts_with(&files);
    rules.iter().filter(|rule| rule.enabled && !rule.filters_by_tag).filter(selects)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(prefix: &str) -> ReplicationRule {
        ReplicationRule {
            id: None,
            enabled: true,
            prefix: prefix.to_owned(),
            filters_by_tag: false,
            destination: "arn:aws:s3:::copy".to_owned(),
            replicates_sse_kms: false,
            role: "arn:aws:iam::123456789012:role/replicate".to_owned(),
        }
    }

    fn stops(rule: ReplicationRule, prefix: Option<&str>, organization: bool) -> bool {
        let trail = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap();
        !unreplicated_rules(&[rule], &LogFiles { organization, ..LogFiles::new("logs", prefix, &trail) }).is_empty()
    }

    #[test]
    fn a_rule_stops_unless_it_selects_encrypted_objects() {
        assert!(stops(rule(""), None, false));
        assert!(!stops(ReplicationRule { replicates_sse_kms: true, ..rule("") }, None, false));
        assert!(!stops(ReplicationRule { enabled: false, ..rule("") }, None, false));
        assert!(!stops(ReplicationRule { filters_by_tag: true, ..rule("") }, None, false));
    }

    #[test]
    fn a_replication_role_needs_the_new_key() {
        let key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".parse().unwrap();
        let trail = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap();
        let rules = [ReplicationRule { replicates_sse_kms: true, ..rule("") }];
        let lacks = |rules: &[ReplicationRule], principal: &str, condition: serde_json::Value| {
            let statement = serde_json::json!({
                "Effect": "Allow", "Principal": { "AWS": principal }, "Action": "kms:Decrypt", "Resource": "*",
                "Condition": condition,
            });
            let policy = Document::new([statement]);
            !rules_without_decrypt(rules, &LogFiles::new("logs", None, &trail), Some(&policy), &key).is_empty()
        };
        let via_s3 = || serde_json::json!({ "StringLike": { "kms:ViaService": "s3.*" } });
        let role = "arn:aws:iam::123456789012:role/replicate";
        assert!(!lacks(&rules, role, via_s3()));
        assert!(!lacks(&rules, "*", serde_json::json!({ "ArnEquals": { "aws:PrincipalArn": role } })));
        assert!(lacks(&rules, "123456789012", via_s3()), "the account's IAM policies decide");
        assert!(lacks(&rules, "arn:aws:iam::123456789012:role/other", via_s3()));
        assert!(lacks(&rules, role, serde_json::json!({ "StringEquals": { "aws:SourceVpce": "vpce-1" } })));
        assert!(rules_without_decrypt(&[rule("")], &LogFiles::new("logs", None, &trail), None, &key).is_empty());
        assert_eq!(rules_without_decrypt(&rules, &LogFiles::new("logs", None, &trail), None, &key).len(), 1);
    }

    #[test]
    fn a_rule_applies_if_one_prefix_contains_the_other() {
        for prefix in ["AWSLogs", "AWSLogs/123456789012/", "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/"] {
            assert!(stops(rule(prefix), None, false), "{prefix}");
        }
        for other in ["audit/", "AWSLogs/210987654321/", "AWSLogs/123456789012/elasticloadbalancing/"] {
            assert!(!stops(rule(other), None, false), "{other}");
        }
        assert!(stops(rule("audit/AWSLogs/"), Some("audit"), false));
        assert!(stops(rule("aud"), Some("audit"), false));
        assert!(!stops(rule("AWSLogs/"), Some("audit"), false));
    }

    #[test]
    fn organization_files_are_in_the_organizations_folder() {
        assert!(stops(rule("AWSLogs/o-abcdefghij/210987654321/"), None, true));
        assert!(stops(rule("AWSLogs/"), None, true));
        assert!(!stops(rule("AWSLogs/123456789012/"), None, true));
    }
}
