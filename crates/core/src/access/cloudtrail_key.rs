//! Whether a key policy allows CloudTrail to encrypt a trail's log files with the key.

use crate::access::{CLOUDTRAIL, service_context};
use crate::iam::{Caller, Context, Decision, Document, Request, evaluate};
use crate::ids::{KeyArn, OrganizationId, TrailArn};

/// What a key policy decides about each of CloudTrail's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct KeyAccess {
    /// `kms:GenerateDataKey`, for each log file. Required.
    pub generate_data_key: Decision,
    /// `kms:DescribeKey`, when a trail is given the key. AWS documents it as required, but CloudTrail delivers without it,
    /// as with the policy of this guide:
    /// <https://docs.aws.amazon.com/controltower/latest/userguide/configure-kms-keys.html>.
    pub describe_key: Decision,
    /// `kms:Decrypt`, needed only if the bucket uses an S3 Bucket Key.
    pub decrypt: Decision,
}

impl KeyAccess {
    /// The calls that the policy denies.
    #[must_use]
    pub fn denied(&self) -> Vec<(&'static str, &Decision)> {
        let Self { generate_data_key, describe_key, decrypt } = self;
        let calls =
            [("kms:GenerateDataKey", generate_data_key), ("kms:DescribeKey", describe_key), ("kms:Decrypt", decrypt)];
        calls.into_iter().filter(|(_, decision)| decision.is_denied()).collect()
    }

    /// The calls whose decision is unknown, except `kms:Decrypt`, which few buckets need.
    #[must_use]
    pub fn unknown(&self) -> Vec<(&'static str, &Decision)> {
        let calls = [("kms:GenerateDataKey", &self.generate_data_key), ("kms:DescribeKey", &self.describe_key)];
        calls.into_iter().filter(|(_, decision)| decision.is_unknown()).collect()
    }

    /// Whether a statement denies a call, so that no further Allow can help.
    #[must_use]
    pub fn explicitly_denied(&self) -> bool {
        self.denied().iter().any(|(_, decision)| decision.explicit_deny().is_some())
    }
}

/// What a key policy decides about CloudTrail's calls for a trail.
///
/// Source for the contents of CloudTrail's requests:
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/how-kms-works-with-cloudtrail.html>.
pub fn cloudtrail_key_access(
    policy: &Document,
    key: &KeyArn,
    trail: &TrailArn,
    organization: Option<&OrganizationId>,
) -> KeyAccess {
    let decide = |action: &str, context: Context| {
        let caller = Caller::service(CLOUDTRAIL);
        evaluate(policy, &Request { caller, action: action.to_owned(), resource: key.to_string(), context })
    };
    let base = || cloudtrail_context(trail, organization).with("aws:ResourceAccount", key.account().as_str());
    KeyAccess {
        generate_data_key: decide(
            "kms:GenerateDataKey",
            base()
                .without_any("kms:EncryptionContext:")
                .with("kms:EncryptionContext:aws:cloudtrail:arn", trail.as_str())
                // The bucket and the prefix; with an S3 Bucket Key, the bucket alone.
                .with_some("kms:EncryptionContext:aws:s3:arn")
                .with_all("kms:EncryptionContextKeys", ["aws:cloudtrail:arn", "aws:s3:arn"]),
        ),
        // DescribeKey has no encryption context.
        describe_key: decide(
            "kms:DescribeKey",
            base().without_any("kms:EncryptionContext:").without("kms:EncryptionContextKeys"),
        ),
        // Whether the encryption context contains the trail besides the bucket is not documented.
        decrypt: decide("kms:Decrypt", base()),
    }
}

/// What every request of CloudTrail for a trail contains. `organization`: the one of the trail's account, if known.
pub fn cloudtrail_context(trail: &TrailArn, organization: Option<&OrganizationId>) -> Context {
    let context = service_context(CLOUDTRAIL);
    let context = match organization {
        Some(id) => context.with("aws:SourceOrgID", id.as_str()),
        None => context,
    };
    context
        .with("aws:SourceArn", trail.as_str())
        .with("aws:SourceAccount", trail.account().as_str())
        .with("aws:SecureTransport", "true")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::key_policy;

    const OWN_TRAIL: &str = "arn:aws:cloudtrail:us-east-1:123456789012:trail/audit";
    const OTHER_TRAIL: &str = "arn:aws:cloudtrail:us-east-1:210987654321:trail/audit";

    fn access(policy: &Document, trail: &str) -> KeyAccess {
        let key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".parse().unwrap();
        cloudtrail_key_access(policy, &key, &trail.parse().unwrap(), None)
    }

    /// The outcomes of `GenerateDataKey`, `DescribeKey` and `Decrypt`.
    fn outcomes(policy: &Document, trail: &str) -> [&'static str; 3] {
        let KeyAccess { generate_data_key, describe_key, decrypt } = access(policy, trail);
        [generate_data_key, describe_key, decrypt].map(|decision| decision.name())
    }

    /// trailseal's policy with one more statement.
    fn policy_with(statement: &Value) -> Document {
        key_policy("").document().with(statement)
    }

    #[test]
    fn trailseals_policy_allows_only_the_accounts_own_trails() {
        let policy = key_policy("account,o-abcdefghij").document();
        assert_eq!(outcomes(&policy, OWN_TRAIL), ["allowed"; 3]);
        assert_eq!(outcomes(&policy, OTHER_TRAIL), ["implicit deny", "implicit deny", "unknown"]);
        let denied = access(&policy, OTHER_TRAIL);
        assert_eq!(
            denied.denied().iter().map(|(call, _)| *call).collect::<Vec<_>>(),
            ["kms:GenerateDataKey", "kms:DescribeKey"]
        );
        assert!(denied.unknown().is_empty() && !denied.explicitly_denied());
        let text = denied.describe_key.to_string();
        let expected =
            "no statement allows it: statement `CloudTrailDescribes`: its condition `ArnLike` on `aws:SourceArn`";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn an_explicit_deny_is_named() {
        let deny = json!({ "Sid": "OnlyOurOrganization", "Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*",
            "Condition": { "StringNotEquals": { "aws:PrincipalOrgID": "o-abcdefghij" } } });
        let denied = access(&policy_with(&deny), OWN_TRAIL);
        assert!(denied.explicitly_denied() && denied.denied().len() == 3);
        assert_eq!(denied.decrypt.to_string(), "statement `OnlyOurOrganization` denies it");
    }

    #[test]
    fn an_unknown_deny_makes_every_call_unknown() {
        let deny = json!({ "Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*",
            "Condition": { "StringNotEquals": { "kms:ViaService": "s3.eu-west-1.amazonaws.com" } } });
        let policy = policy_with(&deny);
        assert_eq!(outcomes(&policy, OWN_TRAIL), ["unknown"; 3]);
        assert_eq!(access(&policy, OWN_TRAIL).unknown().len(), 2);
    }
}
