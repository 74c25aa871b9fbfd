//! Names and ARNs, parsed once: whoever holds one of these types holds something well-formed.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A text that is not the name or ARN that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{got}` is not {what}; expected {expected}")]
pub struct Malformed {
    what: &'static str,
    expected: &'static str,
    got: String,
}

impl Malformed {
    /// `what` and `expected` describe the form; `got` is shortened, since it may be anything.
    pub fn new(what: &'static str, expected: &'static str, got: &str) -> Self {
        Self { what, expected, got: shorten(got, 120) }
    }

    /// The form that was expected.
    pub fn expected(&self) -> &'static str {
        self.expected
    }
}

/// At most `limit` characters of a text that came from outside, on one line: what somebody chose as
/// a name or a user agent must not look like a line of a message of ours.
pub fn shorten(text: &str, limit: usize) -> String {
    let mut rest = text.chars();
    // Control characters, line and paragraph separators, and marks that turn the direction of writing.
    let plain = |c: char| match c {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    };
    let mut short: String = rest.by_ref().take(limit).map(plain).collect();
    if rest.next().is_some() {
        short.push('…');
    }
    short
}

/// Declares a newtype over a text whose form is checked by `$valid` when it is parsed.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text as it was parsed.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(Malformed::new($what, $expected, text)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_lower_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

fn is_number(text: &str, digits: std::ops::RangeInclusive<usize>) -> bool {
    digits.contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
}

checked_text!(
    /// An AWS partition: `aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`, …
    Partition, "an AWS partition", "`aws`, `aws-cn`, `aws-us-gov` or the like",
    |text| text.split('-').next() == Some("aws") && text.split('-').all(is_lower_word)
);

checked_text!(
    /// An AWS Region: `eu-west-1`, `us-gov-east-1`, `eusc-de-east-1`, …
    Region, "an AWS Region", "a code like `eu-west-1`",
    |text| match text.rsplit_once('-') {
        Some((place, number)) => {
            text.len() <= 32 && is_number(number, 1..=2) && place.contains('-') && place.split('-').all(is_lower_word)
        }
        None => false,
    }
);

checked_text!(
    /// The 12 digits of an AWS account.
    AccountId, "an AWS account id", "12 digits", |text| is_number(text, 12..=12)
);

checked_text!(
    /// The id of an organization in AWS Organizations.
    /// Form: <https://docs.aws.amazon.com/organizations/latest/APIReference/API_Organization.html>.
    OrganizationId, "an organization id", "`o-` and 10 to 32 lower-case letters or digits",
    |text| text.strip_prefix("o-").is_some_and(|rest| {
        (10..=32).contains(&rest.len()) && rest.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
);

checked_text!(
    /// A trail's name. CloudTrail also forbids adjacent punctuation in a new name; that is not
    /// checked here, so that no trail that exists is refused.
    /// Form: <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_CreateTrail.html>.
    TrailName, "a trail's name", "3 to 128 letters, digits, `.`, `_` or `-`, with a letter or digit at both ends",
    |text| (3..=128).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
);

checked_text!(
    /// The name of a stack of trailseal's. With `-sweep-REGION` it is the name of a role, which has up
    /// to 64 characters.
    /// Form: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-using-console-create-stack-parameters.html>.
    StackName, "the name of a stack of trailseal's", "up to 43 letters, digits or `-`, with a letter first",
    |text| text.len() <= 43
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
);

impl StackName {
    /// The name of the stack where none was chosen.
    pub fn of_trailseal() -> Self {
        Self("trailseal".into())
    }
}

checked_text!(
    /// The alias under which the sealing key is found in each Region.
    /// Form: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html>.
    KeyAlias, "an alias for a customer-managed key",
    "`alias/` and up to 250 letters, digits, `/`, `_` or `-`, not `alias/aws/…`",
    |text| text.strip_prefix("alias/").is_some_and(|name| {
        (1..=250).contains(&name.len())
            && !name.starts_with("aws/")
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-'))
    })
);

impl Partition {
    /// The partition of most accounts.
    pub fn commercial() -> Self {
        Self("aws".into())
    }
}

impl KeyAlias {
    /// The alias where none is configured.
    pub fn of_trailseal() -> Self {
        Self("alias/trailseal".into())
    }
}

/// The six parts of an ARN, borrowed.
pub(crate) struct Parts<'a> {
    pub(crate) partition: Partition,
    pub(crate) service: &'a str,
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
    pub(crate) resource: &'a str,
}

pub(crate) fn split_arn(text: &str) -> Option<Parts<'_>> {
    let mut parts = text.splitn(6, ':');
    if parts.next()? != "arn" || text.len() > 2048 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    Some(Parts {
        partition: parts.next()?.parse().ok()?,
        service: parts.next()?,
        region: parts.next()?,
        account: parts.next()?,
        resource: parts.next()?,
    })
}

/// Declares an ARN type of one service with a Region and an account; `$resource` turns the ARN's
/// last part into what the type keeps of it.
macro_rules! regional_arn {
    ($(#[$doc:meta])* $name:ident, $service:literal, $what:literal, $expected:literal,
     $(#[$kept_doc:meta])* $kept:ident : $kept_type:ty = $resource:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            // First, so that ARNs sort as texts.
            text: Box<str>,
            partition: Partition,
            region: Region,
            account: AccountId,
            $kept: $kept_type,
        }

        impl $name {
            /// The whole ARN.
            pub fn as_str(&self) -> &str {
                &self.text
            }

            /// The ARN's partition.
            pub fn partition(&self) -> &Partition {
                &self.partition
            }

            /// The ARN's Region.
            pub fn region(&self) -> &Region {
                &self.region
            }

            /// The ARN's account.
            pub fn account(&self) -> &AccountId {
                &self.account
            }

            $(#[$kept_doc])*
            pub fn $kept(&self) -> &$kept_type {
                &self.$kept
            }

            fn parse(text: &str) -> Option<Self> {
                let parts = split_arn(text).filter(|parts| parts.service == $service)?;
                let resource: fn(&str) -> Option<$kept_type> = $resource;
                Some(Self {
                    text: text.into(),
                    region: parts.region.parse().ok()?,
                    account: parts.account.parse().ok()?,
                    $kept: resource(parts.resource)?,
                    partition: parts.partition,
                })
            }
        }

        impl FromStr for $name {
            type Err = Malformed;

            fn from_str(text: &str) -> Result<Self, Malformed> {
                Self::parse(text).ok_or_else(|| Malformed::new($what, $expected, text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }
    };
}

regional_arn!(
    /// A trail's ARN; its account is the trail's owner.
    TrailArn, "cloudtrail", "a trail's ARN", "`arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME`",
    /// The trail's name.
    name: TrailName = |resource| resource.strip_prefix("trail/")?.parse().ok()
);

impl TrailArn {
    /// The ARN of the trail of that name.
    pub fn new(partition: &Partition, region: &Region, account: &AccountId, name: &TrailName) -> Self {
        Self {
            text: format!("arn:{partition}:cloudtrail:{region}:{account}:trail/{name}").into(),
            partition: partition.clone(),
            region: region.clone(),
            account: account.clone(),
            name: name.clone(),
        }
    }
}

regional_arn!(
    /// A KMS key's ARN (never an alias's).
    KeyArn, "kms", "a KMS key's ARN", "`arn:aws:kms:REGION:ACCOUNT:key/ID`",
    /// The key's id.
    id: Box<str> = |resource| {
        let id = resource.strip_prefix("key/")?;
        (!id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')).then(|| id.into())
    }
);

impl KeyArn {
    /// The ARN that stands for a key that does not exist yet. Its id is nobody's.
    pub(crate) fn placeholder(partition: &Partition, region: &Region, account: &AccountId) -> Self {
        let id = "00000000-0000-0000-0000-000000000000";
        Self {
            text: format!("arn:{partition}:kms:{region}:{account}:key/{id}").into(),
            partition: partition.clone(),
            region: region.clone(),
            account: account.clone(),
            id: id.into(),
        }
    }
}

regional_arn!(
    /// An SNS topic's ARN. FIFO topics want a message group that an alert does not have.
    TopicArn, "sns", "the ARN of a standard SNS topic", "`arn:aws:sns:REGION:ACCOUNT:NAME`",
    /// The topic's name.
    name: Box<str> = |resource| {
        let plain = resource.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        (!resource.is_empty() && plain).then(|| resource.into())
    }
);

regional_arn!(
    /// A Lambda function's ARN, with or without a version or alias: where this code runs.
    FunctionArn, "lambda", "a Lambda function's ARN", "`arn:aws:lambda:REGION:ACCOUNT:function:NAME`",
    /// The function's name.
    name: Box<str> = |resource| resource.strip_prefix("function:")?.split(':').next().map(Into::into)
);

fn is_iam_arn(text: &str, kinds: &[&str]) -> bool {
    split_arn(text).is_some_and(|parts| {
        parts.service == "iam"
            && parts.region.is_empty()
            && is_number(parts.account, 12..=12)
            && kinds.iter().any(|kind| parts.resource.strip_prefix(kind).is_some_and(|name| !name.is_empty()))
            && parts.resource.chars().all(|c| c.is_ascii_alphanumeric() || "/_+=,.@-".contains(c))
    })
}

checked_text!(
    /// An IAM role's ARN.
    RoleArn, "an IAM role's ARN", "`arn:aws:iam::ACCOUNT:role/NAME`",
    |text| is_iam_arn(text, &["role/"])
);

checked_text!(
    /// The ARN of an IAM role or user: somebody who reads logs.
    PrincipalArn, "the ARN of an IAM role or user",
    "`arn:aws:iam::ACCOUNT:role/NAME` or `arn:aws:iam::ACCOUNT:user/NAME`",
    |text| is_iam_arn(text, &["role/", "user/"])
);

#[cfg(test)]
mod tests;
