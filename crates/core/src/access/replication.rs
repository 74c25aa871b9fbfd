//! Which replication stops once a trail's log files are encrypted with a KMS key.

use crate::access::cloudtrail_bucket::LogFiles;
use crate::observation::ReplicationRule;

/// The rules that replicate these log files until they are encrypted with a KMS key. S3 does not replicate objects
/// that are encrypted with a KMS key unless the rule's `SourceSelectionCriteria` has `SseKmsEncryptedObjects`.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>.
pub fn unreplicated_rules<'a>(rules: &'a [ReplicationRule], files: &LogFiles<'_>) -> Vec<&'a ReplicationRule> {
    let files = files.common_prefix();
    let applies = |rule: &ReplicationRule| files.starts_with(&rule.prefix) || rule.prefix.starts_with(&files);
    // CloudTrail's objects have no tags, so a rule for tagged objects does not apply.
    rules
        .iter()
        .filter(|rule| rule.enabled && !rule.replicates_sse_kms && !rule.filters_by_tag && applies(rule))
        .collect()
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
