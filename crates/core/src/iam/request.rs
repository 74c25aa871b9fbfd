//! What is asked of a policy: who, what, on what, and what is known of the request.

use std::collections::BTreeMap;
use std::fmt;

use crate::ids::{Malformed, split_arn};

/// A request to a policy: would it let this caller do this, on this resource, in this context?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub caller: Caller,
    /// For what, such as `kms:Decrypt`.
    pub action: String,
    /// On what: an ARN. For a key policy, the key's.
    pub resource: String,
    /// What is known of the request.
    pub context: Context,
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// An AWS service as itself, such as `cloudtrail.amazonaws.com`.
    Service(String),
    /// Somebody of an account.
    Identity(Identity),
    /// Nobody in particular.
    Anonymous,
}

impl Caller {
    /// An AWS service.
    pub fn service(name: impl Into<String>) -> Self {
        Self::Service(name.into())
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service(name) => name,
            Self::Identity(identity) => &identity.arn,
            Self::Anonymous => "anonymous",
        })
    }
}

/// Somebody of an account: its root user, a user, a role (whoever assumes it), or one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub(crate) arn: String,
    pub(crate) account: String,
    pub(crate) kind: Kind,
}

/// What kind of identity it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Root,
    User,
    /// By its name without the path: an account has no two roles of one name, whatever their paths.
    Role(String),
    /// A session of the role of that name.
    Session(String),
    FederatedUser,
}

impl Identity {
    /// Reads an ARN: `arn:P:iam::ACCOUNT:root`, `…:user/NAME`, `…:role/NAME`,
    /// `arn:P:sts::ACCOUNT:assumed-role/ROLE/SESSION` or `…:federated-user/NAME`.
    ///
    /// # Errors
    ///
    /// The text is none of these.
    pub fn parse(arn: &str) -> Result<Self, Malformed> {
        Self::read(arn).ok_or_else(|| {
            Malformed::new("a principal's ARN", "the ARN of an account's root, a user, a role or a session", arn)
        })
    }

    /// The account that it belongs to.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    pub(crate) fn read(arn: &str) -> Option<Self> {
        let parts = split_arn(arn)?;
        let numbered = parts.account.len() == 12 && parts.account.chars().all(|c| c.is_ascii_digit());
        if !numbered || !parts.region.is_empty() || arn.contains(['*', '?', '$']) {
            return None;
        }
        let (kind, name) = parts.resource.split_once('/').unwrap_or((parts.resource, ""));
        let last = name.rsplit('/').next().filter(|last| !last.is_empty());
        let kind = match (parts.service, kind, last) {
            ("iam", "root", None) if parts.resource == "root" => Kind::Root,
            ("iam", "user", Some(_)) => Kind::User,
            ("iam", "role", Some(role)) => Kind::Role(role.to_owned()),
            ("sts", "assumed-role", Some(_)) => Kind::Session(name.split_once('/')?.0.to_owned()),
            ("sts", "federated-user", Some(_)) => Kind::FederatedUser,
            _ => return None,
        };
        Some(Self { arn: arn.to_owned(), account: parts.account.to_owned(), kind })
    }
}

/// What is known of a request's condition keys. A key that was never mentioned is unknown. Case does
/// not matter in a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    keys: BTreeMap<String, Known>,
    absent_below: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Values(Vec<String>),
    Present,
    Absent,
}

/// What is known of one condition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact<'a> {
    /// The request carries it, with these values (at least one).
    Values(&'a [String]),
    /// The request carries it; nobody knows with what value.
    Present,
    /// The request does not carry it.
    Absent,
    /// Nothing.
    Unknown,
}

impl Context {
    /// A context in which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn know(mut self, key: &str, known: Known) -> Self {
        self.keys.insert(key.to_ascii_lowercase(), known);
        self
    }

    /// The request carries that key with that value.
    #[must_use]
    pub fn with(self, key: &str, value: impl Into<String>) -> Self {
        self.know(key, Known::Values(vec![value.into()]))
    }

    /// The request carries that key with these values. Without any, it is as if it did not carry it.
    #[must_use]
    pub fn with_all(self, key: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        self.know(key, if values.is_empty() { Known::Absent } else { Known::Values(values) })
    }

    /// The request carries that key; its value is unknown.
    #[must_use]
    pub fn with_some(self, key: &str) -> Self {
        self.know(key, Known::Present)
    }

    /// The request does not carry that key.
    #[must_use]
    pub fn without(self, key: &str) -> Self {
        self.know(key, Known::Absent)
    }

    /// The request carries no key that begins like this, but for those that are mentioned.
    #[must_use]
    pub fn without_any(mut self, prefix: &str) -> Self {
        self.absent_below.push(prefix.to_ascii_lowercase());
        self
    }

    pub(crate) fn look_up(&self, key: &str) -> Fact<'_> {
        let key = key.to_ascii_lowercase();
        match self.keys.get(&key) {
            Some(Known::Values(values)) => Fact::Values(values),
            Some(Known::Present) => Fact::Present,
            Some(Known::Absent) => Fact::Absent,
            None if self.absent_below.iter().any(|prefix| key.starts_with(prefix)) => Fact::Absent,
            None => Fact::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_from_each_kind_of_arn_and_from_nothing_else() {
        let kind = |arn: &str| Identity::parse(arn).map(|it| it.kind).ok();
        assert_eq!(kind("arn:aws:iam::123456789012:root"), Some(Kind::Root));
        assert_eq!(kind("arn:aws:iam::123456789012:user/a/ann"), Some(Kind::User));
        assert_eq!(kind("arn:aws-cn:iam::123456789012:role/p/q/siem"), Some(Kind::Role("siem".into())));
        let session = "arn:aws:sts::123456789012:assumed-role/siem/s@x";
        assert_eq!(kind(session), Some(Kind::Session("siem".into())));
        assert_eq!(kind("arn:aws:sts::123456789012:federated-user/bob"), Some(Kind::FederatedUser));
        for arn in [
            "*",
            "123456789012",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/*",
            "arn:aws:iam::123456789012:root/x",
            "arn:aws:iam::12345678901:root",
            "arn:aws:iam::12345678901x:root",
            "arn:aws:iam:eu-west-1:123456789012:root",
            "arn:aws:sts::123456789012:assumed-role/siem",
            "arn:aws:s3:::bucket",
        ] {
            assert!(Identity::parse(arn).is_err(), "{arn}");
        }
    }

    #[test]
    fn a_key_is_found_whatever_its_case_and_a_mentioned_key_beats_its_prefix() {
        let context = Context::new()
            .without_any("kms:EncryptionContext:")
            .with("kms:EncryptionContext:aws:cloudtrail:arn", "x")
            .with_some("aws:SourceVpc")
            .with_all("aws:TagKeys", Vec::<String>::new());
        assert_eq!(context.look_up("KMS:encryptioncontext:AWS:cloudtrail:arn"), Fact::Values(&["x".to_owned()]));
        assert_eq!(context.look_up("kms:EncryptionContext:other"), Fact::Absent);
        assert_eq!(context.look_up("kms:EncryptionContextKeys"), Fact::Unknown);
        assert_eq!(context.look_up("aws:sourcevpc"), Fact::Present);
        assert_eq!(context.look_up("aws:TagKeys"), Fact::Absent);
    }
}
