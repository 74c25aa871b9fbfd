//! Requests: the caller, the action, the resource and the condition keys, as far as they are known.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::ids::{AccountId, split_arn};

/// A request to AWS: who calls what, on which resource, with which condition keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The principal that sends the request.
    pub caller: Caller,
    /// The action, such as `kms:Decrypt`.
    pub action: String,
    /// The ARN of the resource. For a key policy, the key's.
    pub resource: String,
    /// The condition keys.
    pub context: Context,
}

/// The principal that sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// An AWS service, such as `cloudtrail.amazonaws.com`.
    Service(String),
    /// An IAM identity of an account.
    Identity(Identity),
    /// An unauthenticated caller.
    Anonymous,
}

impl Caller {
    /// An AWS service.
    pub fn service(name: impl Into<String>) -> Self {
        Self::Service(name.into())
    }
}

/// The root user of an account, a user, a role or a session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    pub(crate) arn: String,
    pub(crate) account: String,
    pub(crate) kind: IdentityKind,
}

/// What kind of identity it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum IdentityKind {
    Root,
    User,
    /// The role's name, without its path. A name is unique in an account, whatever the path.
    Role(String),
    /// The name of the session's role.
    Session(String),
    FederatedUser,
}

impl Identity {
    /// Parses an ARN: `arn:P:iam::ACCOUNT:root`, `…:user/NAME`, `…:role/NAME`,
    /// `arn:P:sts::ACCOUNT:assumed-role/ROLE/SESSION` or `…:federated-user/NAME`. `None`: it is another text.
    #[must_use]
    pub fn parse(arn: &str) -> Option<Self> {
        let parts = split_arn(arn)?;
        if parts.account.parse::<AccountId>().is_err() || !parts.region.is_empty() || arn.contains(['*', '?', '$']) {
            return None;
        }
        let (kind, name) = parts.resource.split_once('/').unwrap_or((parts.resource, ""));
        let last = name.rsplit('/').next().filter(|last| !last.is_empty());
        let kind = match (parts.service, kind, last) {
            ("iam", "root", None) if parts.resource == "root" => IdentityKind::Root,
            ("iam", "user", Some(_)) => IdentityKind::User,
            ("iam", "role", Some(role)) => IdentityKind::Role(role.to_owned()),
            ("sts", "assumed-role", Some(_)) => IdentityKind::Session(name.split_once('/')?.0.to_owned()),
            ("sts", "federated-user", Some(_)) => IdentityKind::FederatedUser,
            _ => return None,
        };
        Some(Self { arn: arn.to_owned(), account: parts.account.to_owned(), kind })
    }

    /// The root user that an account's ID stands for in a policy. `None`: it is another text.
    pub(crate) fn root(account: &str) -> Option<Self> {
        let id: AccountId = account.parse().ok()?;
        Some(Self { arn: account.to_owned(), account: id.to_string(), kind: IdentityKind::Root })
    }
}

/// Whether a text is the ARN of a role session, or a pattern of such ARNs.
pub(crate) fn is_session_arn(text: &str) -> bool {
    split_arn(text).is_some_and(|arn| arn.service == "sts" && arn.resource.starts_with("assumed-role/"))
}

/// The condition keys of a request. A key that was never set is unknown. The case of a key does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    keys: BTreeMap<String, Fact>,
    absent_prefixes: Vec<String>,
}

/// What is known about one condition key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The request has the key with these values, at least one.
    Values(Vec<String>),
    /// Exactly one of these is true, and which one is unknown.
    OneOf(Vec<Fact>),
    /// The request has the key, with an unknown value.
    Present,
    /// The request does not have the key.
    Absent,
    /// Whether the request has the key is unknown.
    Unknown,
}

impl Context {
    /// A context in which every key is unknown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn set(mut self, key: &str, fact: Fact) -> Self {
        self.keys.insert(key.to_ascii_lowercase(), fact);
        self
    }

    /// The request has the key with this value.
    #[must_use]
    pub fn with(self, key: &str, value: impl Into<String>) -> Self {
        self.set(key, Fact::Values(vec![value.into()]))
    }

    /// The request has the key with these values. No values mean that it does not have the key.
    #[must_use]
    pub fn with_all(self, key: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        self.set(key, if values.is_empty() { Fact::Absent } else { Fact::Values(values) })
    }

    /// The request has the key with exactly one of these values.
    #[must_use]
    pub fn with_one_of(self, key: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.set(key, Fact::OneOf(values.into_iter().map(|value| Fact::Values(vec![value.into()])).collect()))
    }

    /// The request has the key with this value, or does not have the key.
    #[must_use]
    pub fn maybe_with(self, key: &str, value: impl Into<String>) -> Self {
        self.set(key, Fact::OneOf(vec![Fact::Absent, Fact::Values(vec![value.into()])]))
    }

    /// The request has the key, with an unknown value.
    #[must_use]
    pub fn with_some(self, key: &str) -> Self {
        self.set(key, Fact::Present)
    }

    /// The request does not have the key.
    #[must_use]
    pub fn without(self, key: &str) -> Self {
        self.set(key, Fact::Absent)
    }

    /// The request has no key with this prefix, except those that are set.
    #[must_use]
    pub fn without_any(mut self, prefix: &str) -> Self {
        self.absent_prefixes.push(prefix.to_ascii_lowercase());
        self
    }

    pub(crate) fn get(&self, key: &str) -> &Fact {
        let key = key.to_ascii_lowercase();
        let is_absent = || self.absent_prefixes.iter().any(|prefix| key.starts_with(prefix));
        self.keys.get(&key).unwrap_or_else(|| if is_absent() { &Fact::Absent } else { &Fact::Unknown })
    }

    /// A text of a policy with each variable replaced by its value, as far as that is known. A wildcard in a value is a
    /// literal character. Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>.
    pub(crate) fn expand<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut parts = text.split("${");
        let (Some(first), true) = (parts.next(), text.contains("${")) else { return Cow::Borrowed(text) };
        let mut expanded = first.to_owned();
        for part in parts {
            let value = part.split_once('}').and_then(|(variable, after)| Some((self.variable(variable)?, after)));
            match value {
                Some((value, after)) => {
                    expanded.extend(value.chars().map(|c| match c {
                        '*' | '?' | '$' => format!("${{{c}}}"),
                        literal => literal.to_string(),
                    }));
                    expanded.push_str(after);
                }
                None => expanded.extend(["${", part]),
            }
        }
        Cow::Owned(expanded)
    }

    /// The value of a variable, such as `aws:SourceAccount`, or `aws:username, 'none'` with a default for a key that
    /// the request does not have.
    fn variable<'a>(&'a self, variable: &'a str) -> Option<&'a str> {
        let (key, default) = variable.split_once(',').map_or((variable, None), |(key, text)| (key, Some(text.trim())));
        match self.get(key.trim()) {
            Fact::Values(values) => {
                if let [only] = values.as_slice() {
                    Some(only)
                } else {
                    None
                }
            }
            Fact::Absent => default?.strip_prefix('\'')?.strip_suffix('\''),
            Fact::OneOf(_) | Fact::Present | Fact::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arns_of_identities_are_parsed() {
        let kind = |arn: &str| Identity::parse(arn).map(|it| it.kind);
        assert_eq!(kind("arn:aws:iam::123456789012:root"), Some(IdentityKind::Root));
        assert_eq!(kind("arn:aws:iam::123456789012:user/a/ann"), Some(IdentityKind::User));
        assert_eq!(kind("arn:aws-cn:iam::123456789012:role/p/q/siem"), Some(IdentityKind::Role("siem".into())));
        let session = "arn:aws:sts::123456789012:assumed-role/siem/s@x";
        assert_eq!(kind(session), Some(IdentityKind::Session("siem".into())));
        assert_eq!(kind("arn:aws:sts::123456789012:federated-user/bob"), Some(IdentityKind::FederatedUser));
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
            assert!(Identity::parse(arn).is_none(), "{arn}");
        }
    }

    #[test]
    fn only_known_variables_are_replaced() {
        let context = Context::new()
            .with("aws:SourceAccount", "123456789012")
            .with("aws:PrincipalTag/team", "a*$")
            .with_all("aws:TagKeys", ["a", "b"])
            .with_one_of("s3:TlsVersion", ["1.2", "1.3"])
            .without("aws:username");
        for (text, expanded) in [
            ("logs/*", "logs/*"),
            ("${AWS:sourceaccount}/${aws:SourceAccount}*", "123456789012/123456789012*"),
            ("${aws:PrincipalTag/team}", "a${*}${$}"),
            ("${aws:username, 'no one'}/${aws:SourceAccount, 'x'}", "no one/123456789012"),
            (
                "${*}${aws:TagKeys}${s3:TlsVersion}${aws:username}${other}",
                "${*}${aws:TagKeys}${s3:TlsVersion}${aws:username}${other}",
            ),
            ("${aws:SourceAccount", "${aws:SourceAccount"),
        ] {
            assert_eq!(context.expand(text), expanded);
        }
    }

    #[test]
    fn keys_ignore_case_and_override_absent_prefixes() {
        let context = Context::new()
            .without_any("kms:EncryptionContext:")
            .with("kms:EncryptionContext:aws:cloudtrail:arn", "x")
            .with_some("aws:SourceVpc")
            .with_all("aws:TagKeys", Vec::<String>::new());
        assert_eq!(context.get("KMS:encryptioncontext:AWS:cloudtrail:arn"), &Fact::Values(vec!["x".to_owned()]));
        assert_eq!(context.get("kms:EncryptionContext:other"), &Fact::Absent);
        assert_eq!(context.get("kms:EncryptionContextKeys"), &Fact::Unknown);
        assert_eq!(context.get("aws:sourcevpc"), &Fact::Present);
        assert_eq!(context.get("aws:TagKeys"), &Fact::Absent);
    }

    #[test]
    fn only_a_role_session_has_its_arn() {
        assert!(is_session_arn("arn:aws:sts::123456789012:assumed-role/siem/s1"));
        for arn in
            ["arn:aws:iam::123456789012:assumed-role/siem/s1", "arn:aws:sts::123456789012:federated-user/bob", "*"]
        {
            assert!(!is_session_arn(arn), "{arn}");
        }
    }
}
