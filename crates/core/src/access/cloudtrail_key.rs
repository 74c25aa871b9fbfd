//! Whether a key's policy lets CloudTrail encrypt a trail's log files with the key.

use crate::access::CLOUDTRAIL;
use crate::iam::evaluate::{Verdict, ask};
use crate::iam::request::{Caller, Context, Question};
use crate::ids::{KeyArn, TrailArn};

/// What a key's policy says to CloudTrail, call by call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Entry {
    /// `kms:GenerateDataKey`, for each log file.
    pub generate_data_key: Verdict,
    /// `kms:DescribeKey`, when a trail is given the key.
    pub describe_key: Verdict,
    /// `kms:Decrypt`, where the bucket uses an S3 Bucket Key.
    pub decrypt: Verdict,
}

/// Whether that policy of that key lets CloudTrail in for that trail.
///
/// What CloudTrail's requests carry:
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/how-kms-works-with-cloudtrail.html>.
pub fn lets_cloudtrail_in(policy: &str, key: &KeyArn, trail: &TrailArn) -> Entry {
    let asked = |action: &str, context: Context| {
        let caller = Caller::service(CLOUDTRAIL);
        ask(policy, &Question { caller, action: action.to_owned(), resource: key.to_string(), context })
    };
    let base = || on_behalf_of(trail);
    Entry {
        generate_data_key: asked(
            "kms:GenerateDataKey",
            base()
                .without_any("kms:EncryptionContext:")
                .with("kms:EncryptionContext:aws:cloudtrail:arn", trail.as_str())
                // The bucket, the prefix, and with an S3 Bucket Key the bucket alone.
                .with_some("kms:EncryptionContext:aws:s3:arn")
                .with_all("kms:EncryptionContextKeys", ["aws:cloudtrail:arn", "aws:s3:arn"]),
        ),
        // DescribeKey has no encryption context.
        describe_key: asked(
            "kms:DescribeKey",
            base().without_any("kms:EncryptionContext:").without("kms:EncryptionContextKeys"),
        ),
        // Whether the trail is in the context beside the bucket is not documented.
        decrypt: asked("kms:Decrypt", base()),
    }
}

/// What any request of CloudTrail's carries for a trail. A service belongs to no organization.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>.
pub(crate) fn on_behalf_of(trail: &TrailArn) -> Context {
    Context::new()
        .with("aws:SourceArn", trail.as_str())
        .with("aws:SourceAccount", trail.account().as_str())
        .with("aws:PrincipalIsAWSService", "true")
        .with("aws:PrincipalServiceName", CLOUDTRAIL)
        .with_some("aws:PrincipalServiceNamesList")
        .with("aws:SecureTransport", "true")
        .without("aws:PrincipalOrgID")
        .without("aws:PrincipalOrgPaths")
        .without_any("aws:PrincipalTag/")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::iam::evaluate::Says;
    use crate::key_policy::KeyPolicy;
    use crate::testing::{config, home};

    fn entry(policy: &str, trail: &str) -> Entry {
        let key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".parse().unwrap();
        lets_cloudtrail_in(policy, &key, &trail.parse().unwrap())
    }

    fn says(policy: &str, trail: &str) -> [Says; 3] {
        let Entry { generate_data_key, describe_key, decrypt } = entry(policy, trail);
        [generate_data_key, describe_key, decrypt].map(|verdict| verdict.says())
    }

    const OURS: &str = "arn:aws:cloudtrail:us-east-1:123456789012:trail/audit";
    const OTHERS: &str = "arn:aws:cloudtrail:us-east-1:210987654321:trail/audit";

    fn with(statement: Value) -> String {
        let mut policy = json!(KeyPolicy::of(&config(&[]), &home()));
        policy["Statement"].as_array_mut().unwrap().push(statement);
        policy.to_string()
    }

    #[test]
    fn the_policy_that_trailseal_writes_lets_cloudtrail_in_for_the_accounts_trails_only() {
        let policy = KeyPolicy::of(&config(&[("TRAILSEAL_LOG_READERS", "account,o-abcdefghij")]), &home()).text();
        assert_eq!(says(&policy, OURS), [Says::Yes; 3]);
        assert_eq!(says(&policy, OTHERS), [Says::No, Says::No, Says::CannotTell]);
        let refused = entry(&policy, OTHERS).describe_key.to_string();
        assert!(refused.starts_with("no statement allows it: statement `CloudTrailDescribes`: its condition `ArnLike` on `aws:SourceArn` wants"), "{refused}");
    }

    #[test]
    fn an_encryption_context_on_describe_key_keeps_cloudtrail_out() {
        let trails = json!({ "StringLike": { "kms:EncryptionContext:aws:cloudtrail:arn": "arn:aws:cloudtrail:*:123456789012:trail/*" } });
        let policy = json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" },
            "Action": ["kms:GenerateDataKey*", "kms:DescribeKey", "kms:Decrypt"], "Resource": "*", "Condition": trails } });
        assert_eq!(says(&policy.to_string(), OURS), [Says::Yes, Says::No, Says::CannotTell]);
    }

    #[test]
    fn a_deny_that_reaches_cloudtrail_is_named() {
        let policy = with(
            json!({ "Sid": "OnlyOurOrganization", "Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*",
            "Condition": { "StringNotEquals": { "aws:PrincipalOrgID": "o-abcdefghij" } } }),
        );
        assert_eq!(says(&policy, OURS), [Says::No; 3]);
        assert_eq!(entry(&policy, OURS).decrypt.to_string(), "statement `OnlyOurOrganization` denies it");

        let spared = with(json!({ "Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*",
            "Condition": { "StringNotEquals": { "aws:PrincipalOrgID": "o-abcdefghij" }, "Bool": { "aws:PrincipalIsAWSService": "false" } } }));
        assert_eq!(says(&spared, OURS), [Says::Yes; 3]);
    }

    #[test]
    fn a_deny_on_something_unknown_leaves_it_open() {
        let policy = with(json!({ "Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*",
            "Condition": { "StringNotEquals": { "kms:ViaService": "s3.eu-west-1.amazonaws.com" } } }));
        assert_eq!(says(&policy, OURS), [Says::CannotTell; 3]);
    }

    #[test]
    fn no_policy_at_all_is_no_answer() {
        assert_eq!(says("", OURS), [Says::CannotTell; 3]);
        assert_eq!(
            entry("{}", OURS).decrypt.to_string(),
            "it cannot be told: the policy cannot be read: it has no `Statement`"
        );
    }
}
