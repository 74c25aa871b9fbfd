//! What `check-policy` can find: the ID, level and texts of each rule, in one place.

use serde::Serialize;

/// How serious a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// It stops deliveries or locks readers out.
    Error,
    /// It should be fixed.
    Warning,
    /// It could not be decided, or matters only sometimes.
    Note,
    /// It is a fact to know.
    Info,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
            Self::Info => "info",
        }
    }
}

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    PolicyMalformed,
    KeyPolicyGap,
    BucketPolicyGap,
    ReadersLockedOut,
    SourceArnMissing,
    DescribeKeyMissing,
    BucketKeyNeedsDecrypt,
    KeyPolicyUnclear,
    BucketPolicyUnclear,
    PolicyUnknown,
    KeyDecrypters,
    LogReaders,
}

/// The texts of a rule.
pub(super) struct Texts {
    pub(super) id: &'static str,
    pub(super) level: Level,
    /// What is the case, as a sentence without a full stop.
    pub(super) title: &'static str,
    /// Why it matters, and how to fix it.
    pub(super) explanation: &'static str,
    /// The page of AWS's documentation.
    pub(super) page: &'static str,
}

const KEY_PAGE: &str =
    "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-kms-key-policy-for-cloudtrail.html";
const BUCKET_PAGE: &str =
    "https://docs.aws.amazon.com/awscloudtrail/latest/userguide/create-s3-bucket-policy-for-cloudtrail.html";

impl Rule {
    pub(super) const ALL: [Self; 12] = [
        Self::PolicyMalformed,
        Self::KeyPolicyGap,
        Self::BucketPolicyGap,
        Self::ReadersLockedOut,
        Self::SourceArnMissing,
        Self::DescribeKeyMissing,
        Self::BucketKeyNeedsDecrypt,
        Self::KeyPolicyUnclear,
        Self::BucketPolicyUnclear,
        Self::PolicyUnknown,
        Self::KeyDecrypters,
        Self::LogReaders,
    ];

    pub(super) fn texts(self) -> Texts {
        let (id, level, title, explanation, page) = match self {
            Self::PolicyMalformed => (
                "policy-malformed",
                Level::Error,
                "The policy is malformed",
                "AWS rejects the policy. Correct the JSON, or remove the element that is there twice.",
                "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html",
            ),
            Self::KeyPolicyGap => (
                "key-policy-gap",
                Level::Error,
                "CloudTrail cannot encrypt log files with the key",
                "The key policy does not allow CloudTrail `kms:GenerateDataKey`, so the trail cannot deliver log files. Add the missing statements, or change the statement that denies it.",
                KEY_PAGE,
            ),
            Self::BucketPolicyGap => (
                "bucket-policy-gap",
                Level::Error,
                "CloudTrail cannot deliver log files to the bucket",
                "The bucket policy does not allow CloudTrail `s3:GetBucketAcl` and `s3:PutObject` for files that are encrypted with a KMS key. Add the statements that AWS documents, or change the statement that denies it.",
                BUCKET_PAGE,
            ),
            Self::ReadersLockedOut => (
                "readers-locked-out",
                Level::Error,
                "Principals that read the log files cannot decrypt them",
                "The bucket policy allows principals outside the account to read log files, but the key policy does not allow them `kms:Decrypt`. Allow it in the key policy and in IAM policies of their own account, or remove them from the bucket policy.",
                "https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html",
            ),
            Self::SourceArnMissing => (
                "source-arn-missing",
                Level::Warning,
                "A trail of any account can use the key or the bucket",
                "CloudTrail acts for every AWS account. Without a condition on `aws:SourceArn`, somebody else's trail can use the key or write to the bucket (the confused deputy problem). Add a condition that names your trail.",
                "https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html",
            ),
            Self::DescribeKeyMissing => (
                "describe-key-missing",
                Level::Warning,
                "CloudTrail cannot describe the key",
                "AWS documents `kms:DescribeKey` as required. CloudTrail delivers without it, but may refuse the key when a trail is created or changed. Add the statement.",
                KEY_PAGE,
            ),
            Self::BucketKeyNeedsDecrypt => (
                "bucket-key-needs-decrypt",
                Level::Note,
                "CloudTrail cannot decrypt, which an S3 Bucket Key needs",
                "If the bucket uses an S3 Bucket Key, CloudTrail also needs `kms:Decrypt`. Add the statement, or do not use a Bucket Key.",
                KEY_PAGE,
            ),
            Self::KeyPolicyUnclear => (
                "key-policy-unclear",
                Level::Note,
                "It is unknown whether CloudTrail can use the key",
                "The decision depends on something that the file does not contain, such as a parameter, or that is not evaluated.",
                KEY_PAGE,
            ),
            Self::BucketPolicyUnclear => (
                "bucket-policy-unclear",
                Level::Note,
                "It is unknown whether CloudTrail can deliver to the bucket",
                "The decision depends on something that the file does not contain, such as a parameter, or that is not evaluated.",
                BUCKET_PAGE,
            ),
            Self::PolicyUnknown => (
                "policy-unknown",
                Level::Note,
                "The policy is not in the file",
                "A trail uses this key or bucket, but only a deployment shows its policy. Check the policy after it.",
                KEY_PAGE,
            ),
            Self::KeyDecrypters => (
                "key-decrypters",
                Level::Info,
                "Principals outside the account can decrypt log files",
                "The key policy allows it. Those of other accounts also need IAM policies of their own account. Confirm that each is intended.",
                "https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-modifying-external-accounts.html",
            ),
            Self::LogReaders => (
                "log-readers",
                Level::Info,
                "Principals outside the account can read log files",
                "The bucket policy allows it. They also need `kms:Decrypt` on the key. Confirm that each is intended.",
                BUCKET_PAGE,
            ),
        };
        Texts { id, level, title, explanation, page }
    }
}
