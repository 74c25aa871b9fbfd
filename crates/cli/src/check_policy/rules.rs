//! What `check-policy` can find. docs/findings.md explains each ID.

use serde::Serialize;

use crate::explain::Section;

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

    pub(super) fn id(self) -> &'static str {
        self.texts().0
    }

    pub(super) fn level(self) -> Level {
        self.texts().1
    }

    /// What is the case, as a sentence without a full stop.
    pub(super) fn title(self) -> &'static str {
        self.texts().2
    }

    /// What it means and how to fix it, as docs/findings.md says.
    pub(super) fn explanation(self) -> String {
        Section::of(self.id()).map(|section| section.explanation()).unwrap_or_default()
    }

    /// The page of AWS's documentation.
    pub(super) fn page(self) -> &'static str {
        Section::of(self.id()).and_then(|section| section.source()).unwrap_or_default()
    }

    fn texts(self) -> (&'static str, Level, &'static str) {
        match self {
            Self::PolicyMalformed => ("policy-malformed", Level::Error, "The policy is malformed"),
            Self::KeyPolicyGap => ("key-policy-gap", Level::Error, "CloudTrail cannot encrypt log files with the key"),
            Self::BucketPolicyGap => {
                ("bucket-policy-gap", Level::Error, "CloudTrail cannot deliver log files to the bucket")
            }
            Self::ReadersLockedOut => {
                ("readers-locked-out", Level::Error, "Principals that read the log files cannot decrypt them")
            }
            Self::SourceArnMissing => {
                ("source-arn-missing", Level::Warning, "A trail of any account can use the key or the bucket")
            }
            Self::DescribeKeyMissing => ("describe-key-missing", Level::Warning, "CloudTrail cannot describe the key"),
            Self::BucketKeyNeedsDecrypt => {
                ("bucket-key-needs-decrypt", Level::Note, "CloudTrail cannot decrypt, which an S3 Bucket Key needs")
            }
            Self::KeyPolicyUnclear => {
                ("key-policy-unclear", Level::Note, "It is unknown whether CloudTrail can use the key")
            }
            Self::BucketPolicyUnclear => {
                ("bucket-policy-unclear", Level::Note, "It is unknown whether CloudTrail can deliver to the bucket")
            }
            Self::PolicyUnknown => ("policy-unknown", Level::Note, "The policy is not in the file"),
            Self::KeyDecrypters => {
                ("key-decrypters", Level::Info, "Principals outside the account can decrypt log files")
            }
            Self::LogReaders => ("log-readers", Level::Info, "Principals outside the account can read log files"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_explained_on_the_page() {
        for rule in Rule::ALL {
            assert!(rule.explanation().contains("Fix: "), "{}", rule.id());
            assert!(rule.page().starts_with("https://docs.aws.amazon.com/"), "{}", rule.id());
        }
    }
}
