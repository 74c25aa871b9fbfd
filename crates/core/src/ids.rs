//! Names and ARNs that are checked where they enter: a value of one of these types is well-formed.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

/// A text that does not have the form of the name or ARN it is parsed as.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{got}` is not {what} (expected {expected})")]
pub struct Malformed {
    what: &'static str,
    expected: Cow<'static, str>,
    got: String,
}

impl Malformed {
    /// `what` names the type and `expected` its form. `got` comes from outside and is shortened.
    pub fn new(what: &'static str, expected: impl Into<Cow<'static, str>>, got: &str) -> Self {
        Self { what, expected: expected.into(), got: shorten(got, 160) }
    }

    /// The form that was expected.
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

/// At most `limit` characters of a text from outside, on one line. A name or user agent must not be
/// able to imitate a line of our own messages.
pub fn shorten(text: &str, limit: usize) -> String {
    let mut rest = text.chars();
    // Control characters, line and paragraph separators, and bidirectional formatting characters.
    let printable = |c: char| match c {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    };
    let short: String = rest.by_ref().take(limit).map(printable).collect();
    if rest.next().is_some() { short + "…" } else { short }
}

/// Defines a text type that is parsed if `$valid` accepts the text. A macro, because a generic type
/// needs a marker type with seven derived traits for each kind.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
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

/// Whether a text has only letters, digits and this punctuation.
fn has_only(text: &str, punctuation: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || punctuation.contains(c))
}

fn is_lowercase(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

fn is_lowercase_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && is_lowercase(text)
}

fn is_number(text: &str, digits: std::ops::RangeInclusive<usize>) -> bool {
    digits.contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
}

text_type!(
    /// An AWS partition: `aws`, `aws-cn`, `aws-us-gov`, `aws-eusc`, …
    Partition, "an AWS partition", "`aws`, `aws-cn`, `aws-us-gov` or another",
    |text| text.split('-').next() == Some("aws") && text.split('-').all(is_lowercase_word)
);

text_type!(
    /// An AWS Region: `eu-west-1`, `us-gov-east-1`, `eusc-de-east-1`, …
    Region, "an AWS Region", "a code such as `eu-west-1`",
    |text| text.len() <= 32 && text.rsplit_once('-').is_some_and(|(place, number)| {
        is_number(number, 1..=2) && place.contains('-') && place.split('-').all(is_lowercase_word)
    })
);

text_type!(
    /// The 12 digits of an AWS account.
    AccountId, "an AWS account ID", "12 digits", |text| is_number(text, 12..=12)
);

text_type!(
    /// The ID of an organization in AWS Organizations.
    /// Form: <https://docs.aws.amazon.com/organizations/latest/APIReference/API_Organization.html>.
    OrganizationId, "an organization ID", "`o-` and 10 to 32 lowercase letters or digits",
    |text| text.strip_prefix("o-").is_some_and(|rest| (10..=32).contains(&rest.len()) && is_lowercase(rest))
);

text_type!(
    /// A trail's name. CloudTrail also forbids adjacent punctuation in a new name. That is not checked
    /// here, so that no existing trail is rejected.
    /// Form: <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_CreateTrail.html>.
    TrailName, "a trail name", "3 to 128 letters, digits, `.`, `_` or `-`, with a letter or digit at both ends",
    |text| (3..=128).contains(&text.len())
        && has_only(text, "._-")
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
);

text_type!(
    /// The name of trailseal's CloudFormation stack. A role's name adds `-sweep-REGION`, and must not
    /// exceed 64 characters.
    /// Form: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-using-console-create-stack-parameters.html>.
    StackName, "a stack name", "up to 43 letters, digits or `-`, starting with a letter",
    |text| text.len() <= 43 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && has_only(text, "-")
);

text_type!(
    /// The alias that names the sealing key in each Region.
    /// Form: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html>.
    KeyAlias, "the alias of a customer managed key",
    "`alias/` and up to 250 letters, digits, `/`, `_` or `-`, but not `alias/aws/…`",
    |text| text.strip_prefix("alias/").is_some_and(|name| {
        (1..=250).contains(&name.len()) && !name.starts_with("aws/") && has_only(name, "/_-")
    })
);

impl Default for KeyAlias {
    fn default() -> Self {
        Self("alias/trailseal".into())
    }
}

/// The parts of an ARN.
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

/// What an ARN's last part names. [`Arn`] splits the text and checks the rest.
pub trait Resource: FromStr<Err = Malformed> + fmt::Display {
    /// The ARN's service.
    const SERVICE: &'static str;
    /// What precedes the resource's name, with its separator.
    const PREFIX: &'static str;
    /// What the ARN is, and its form, for errors.
    const ARN: (&'static str, &'static str);
}

/// The ARN of a resource that belongs to a Region and an account. ARNs sort as their texts do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
#[serde(transparent, bound = "")]
pub struct Arn<R> {
    // First, because the derived order compares it first.
    text: Box<str>,
    #[serde(skip)]
    partition: Partition,
    #[serde(skip)]
    region: Region,
    #[serde(skip)]
    account: AccountId,
    #[serde(skip)]
    resource: R,
}

impl<R> Arn<R> {
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

    /// The ARN's account: the resource's owner.
    pub fn account(&self) -> &AccountId {
        &self.account
    }
}

impl<R: Resource> Arn<R> {
    /// The ARN of that resource.
    pub fn new(partition: &Partition, region: &Region, account: &AccountId, resource: R) -> Self {
        Self {
            text: format!("arn:{partition}:{}:{region}:{account}:{}{resource}", R::SERVICE, R::PREFIX).into(),
            partition: partition.clone(),
            region: region.clone(),
            account: account.clone(),
            resource,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let parts = split_arn(text).filter(|parts| parts.service == R::SERVICE)?;
        Some(Self {
            text: text.into(),
            region: parts.region.parse().ok()?,
            account: parts.account.parse().ok()?,
            resource: parts.resource.strip_prefix(R::PREFIX)?.parse().ok()?,
            partition: parts.partition,
        })
    }
}

impl<R: Resource> FromStr for Arn<R> {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (what, expected) = R::ARN;
        Self::parse(text).ok_or_else(|| Malformed::new(what, expected, text))
    }
}

impl<R> fmt::Display for Arn<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A trail's ARN. Its account is the trail's owner.
pub type TrailArn = Arn<TrailName>;

impl Resource for TrailName {
    const SERVICE: &'static str = "cloudtrail";
    const PREFIX: &'static str = "trail/";
    const ARN: (&'static str, &'static str) = ("a trail ARN", "`arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME`");
}

impl TrailArn {
    /// The trail's name.
    pub fn name(&self) -> &TrailName {
        &self.resource
    }
}

/// A KMS key's ARN, never an alias's.
pub type KeyArn = Arn<KeyId>;

text_type!(
    /// A KMS key's ID: a UUID, or `mrk-` and 32 digits.
    KeyId, "a KMS key ID", "letters, digits or `-`",
    |text| !text.is_empty() && has_only(text, "-")
);

impl Resource for KeyId {
    const SERVICE: &'static str = "kms";
    const PREFIX: &'static str = "key/";
    const ARN: (&'static str, &'static str) = ("a KMS key ARN", "`arn:aws:kms:REGION:ACCOUNT:key/ID`");
}

impl KeyArn {
    /// The ARN that a plan uses for a key that does not exist yet.
    pub fn placeholder(partition: &Partition, region: &Region, account: &AccountId) -> Self {
        Self::new(partition, region, account, KeyId("00000000-0000-0000-0000-000000000000".into()))
    }

    /// The key's ID.
    pub fn id(&self) -> &KeyId {
        &self.resource
    }
}

/// A standard SNS topic's ARN. A FIFO topic requires a message group, which alerts do not have.
pub type TopicArn = Arn<TopicName>;

text_type!(
    /// A standard SNS topic's name.
    TopicName, "the name of a standard SNS topic", "letters, digits, `_` or `-`",
    |text| !text.is_empty() && has_only(text, "_-")
);

impl Resource for TopicName {
    const SERVICE: &'static str = "sns";
    const PREFIX: &'static str = "";
    const ARN: (&'static str, &'static str) = ("the ARN of a standard SNS topic", "`arn:aws:sns:REGION:ACCOUNT:NAME`");
}

/// The ARN of a Lambda function, with or without a version or alias.
pub type FunctionArn = Arn<FunctionName>;

text_type!(
    /// A Lambda function's name, with its version or alias if the ARN has one.
    FunctionName, "a Lambda function name", "a name, or `NAME:VERSION`",
    |text| !text.is_empty()
);

impl Resource for FunctionName {
    const SERVICE: &'static str = "lambda";
    const PREFIX: &'static str = "function:";
    const ARN: (&'static str, &'static str) =
        ("a Lambda function ARN", "`arn:aws:lambda:REGION:ACCOUNT:function:NAME`");
}

fn is_iam_arn(text: &str, kinds: &[&str]) -> bool {
    split_arn(text).is_some_and(|parts| {
        parts.service == "iam"
            && parts.region.is_empty()
            && is_number(parts.account, 12..=12)
            && kinds.iter().any(|kind| parts.resource.strip_prefix(kind).is_some_and(|name| !name.is_empty()))
            && has_only(parts.resource, "/_+=,.@-")
    })
}

text_type!(
    /// An IAM role's ARN.
    RoleArn, "an IAM role ARN", "`arn:aws:iam::ACCOUNT:role/NAME`",
    |text| is_iam_arn(text, &["role/"])
);

text_type!(
    /// The ARN of an IAM role or user.
    PrincipalArn, "the ARN of an IAM role or user",
    "`arn:aws:iam::ACCOUNT:role/NAME` or `arn:aws:iam::ACCOUNT:user/NAME`",
    |text| is_iam_arn(text, &["role/", "user/"])
);

#[cfg(test)]
mod tests;
