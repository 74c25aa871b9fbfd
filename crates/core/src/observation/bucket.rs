//! A trail's bucket: its policy and its replication rules.

use crate::failure::Failure;
use crate::observation::{ParsedPolicy, Reading};

/// A trail's bucket, as far as its encryption matters. Read only for a trail that gets another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketObservation {
    /// The account that owns it.
    pub owner: BucketOwner,
    /// The bucket policy.
    pub policy: Reading<ParsedPolicy>,
    /// The rules of its replication configuration.
    pub replication: Reading<Vec<ReplicationRule>>,
}

/// The account that owns a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketOwner {
    /// This account.
    Own,
    /// Another account. S3 does not disclose which.
    Another,
    /// Unknown, because the read that would show it failed.
    Unknown(Failure),
}

impl BucketOwner {
    /// The owner, if the read of the bucket policy shows it: S3 returns the policy to the bucket's own account only, and
    /// 405 only to principals of other accounts. It returns 403 to both.
    /// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketPolicy.html>.
    pub fn from_policy_read(policy: &Reading<ParsedPolicy>) -> Option<Self> {
        match policy {
            Reading::Known(_) | Reading::Absent => Some(Self::Own),
            Reading::Denied(failure) => failure.is("MethodNotAllowed").then_some(Self::Another),
        }
    }
}

/// A rule of a bucket's replication configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationRule {
    /// Its ID, if it has one.
    pub id: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// The prefix of the objects that it selects; every object if empty.
    pub prefix: String,
    /// Whether it replicates only objects with certain tags. CloudTrail's objects have none.
    pub filters_by_tag: bool,
    /// The ARN of the destination bucket.
    pub destination: String,
    /// Whether it replicates objects that are encrypted with a KMS key.
    pub replicates_sse_kms: bool,
    /// The ARN of the role with which S3 replicates.
    pub role: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_405_shows_another_owner() {
        let denied = |code: &str| {
            let failure = Failure { code: Some(code.to_owned()), ..Failure::terminal("denied", "allow it") };
            BucketOwner::from_policy_read(&Reading::Denied(failure))
        };
        assert_eq!(denied("MethodNotAllowed"), Some(BucketOwner::Another));
        assert_eq!(denied("AccessDenied"), None);
        assert_eq!(BucketOwner::from_policy_read(&Reading::Absent), Some(BucketOwner::Own));
    }
}
