//! Whether a `Principal` or `NotPrincipal` element names a caller.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>.

use serde_json::Value;

use crate::iam::request::{Caller, Identity, IdentityKind, is_account_id};
use crate::iam::truth::Truth;
use crate::ids::shorten;

/// How an element names a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Naming {
    /// Whether it names the caller itself, or everyone.
    pub(crate) itself: Truth,
    /// Whether it names the caller's account, whose IAM policies then decide.
    pub(crate) account: bool,
}

impl From<Truth> for Naming {
    fn from(itself: Truth) -> Self {
        Self { itself, account: false }
    }
}

/// A text or an array of texts; nothing else, and at least one.
pub(crate) fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) if !values.is_empty() => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// The principals of an element by kind and name, with everyone as the `AWS` principal `*`. `None`: it is malformed.
pub(crate) fn principals(element: &Value) -> Option<Vec<(&str, &str)>> {
    if element == "*" {
        return Some(vec![("AWS", "*")]);
    }
    let mut principals = Vec::new();
    for (kind, names) in element.as_object().filter(|kinds| !kinds.is_empty())? {
        principals.extend(texts(names)?.into_iter().map(|name| (kind.as_str(), name)));
    }
    Some(principals)
}

/// How a `Principal` element names a caller.
pub(crate) fn named(element: &Value, caller: &Caller) -> Naming {
    let Some(principals) = principals(element) else { return Truth::unknown("its principals are malformed").into() };
    principals.into_iter().fold(Truth::No.into(), |naming: Naming, (kind, name)| {
        let Naming { itself, account } = named_as(kind, name, caller);
        Naming { itself: naming.itself.or(itself), account: naming.account || account }
    })
}

fn named_as(kind: &str, entry: &str, caller: &Caller) -> Naming {
    match (kind, caller) {
        ("AWS", _) if entry == "*" => Truth::Yes.into(),
        ("AWS", Caller::Identity(caller)) => named_by_arn(entry, caller),
        ("Service", Caller::Service(name)) => is_service(entry, name).into(),
        ("Federated", Caller::Identity(Identity { kind: IdentityKind::Root | IdentityKind::User, .. })) => {
            Truth::No.into()
        }
        // A caller's ARN shows neither its identity provider nor its account's canonical user.
        ("Federated" | "CanonicalUser", Caller::Identity(_)) => {
            Truth::unknown(format!("it names the `{kind}` principal `{}`", shorten(entry, 80))).into()
        }
        ("AWS" | "Service" | "Federated" | "CanonicalUser", _) => Truth::No.into(),
        _ => Truth::unknown(format!("it has an unknown kind of principal, `{}`", shorten(kind, 80))).into(),
    }
}

fn is_service(entry: &str, name: &str) -> Truth {
    // A service can have several names, such as one for each Region:
    // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>.
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    if entry != name && (label(entry) == label(name) || entry.contains(['*', '?'])) {
        return Truth::unknown(format!("whether `{}` names `{name}` is unknown", shorten(entry, 80)));
    }
    (entry == name).into()
}

fn named_by_arn(entry: &str, caller: &Identity) -> Naming {
    let by_account = |account: &str| match (caller.account == account, &caller.kind) {
        (same, IdentityKind::Root) => same.into(),
        (same, _) => Naming { itself: Truth::No, account: same },
    };
    if is_account_id(entry) {
        return by_account(entry);
    }
    // The id of a deleted role or user names no one.
    if is_unique_id(entry) {
        return Truth::No.into();
    }
    let Some(named) = Identity::parse(entry) else {
        return Truth::unknown(format!("it names `{}`, which is no known form of principal", shorten(entry, 80)))
            .into();
    };
    let itself = match (&named.kind, &caller.kind) {
        (IdentityKind::Root, _) => return by_account(&named.account),
        _ if named.arn == caller.arn => Truth::Yes,
        _ if named.account != caller.account => Truth::No,
        // A session has its role's permissions, and its ARN does not show the role's path.
        (IdentityKind::Role(role), IdentityKind::Session(of)) => (role == of).into(),
        (IdentityKind::Session(of), IdentityKind::Role(role)) if of == role => {
            Truth::unknown(format!("it names one session, `{entry}`"))
        }
        (IdentityKind::User, IdentityKind::FederatedUser) => {
            Truth::unknown(format!("it names `{entry}`, which may have federated the user"))
        }
        _ => Truth::No,
    };
    itself.into()
}

impl From<bool> for Naming {
    fn from(itself: bool) -> Self {
        Truth::from(itself).into()
    }
}

/// Whether a text is the unique id of a role or a user, which replaces the ARN in a policy once it is deleted.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>.
pub(crate) fn is_unique_id(text: &str) -> bool {
    (text.starts_with("AROA") || text.starts_with("AIDA"))
        && text.len() >= 16
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// Whether a Deny for everyone but the principals of a `NotPrincipal` element applies to a caller.
///
/// AWS checks a caller's account, role and session one after the other, and such a Deny always applies to an IAM
/// identity with a permissions boundary. So it is unknown for an identity that is named.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html>.
pub(crate) fn denied_unless_named(not_principal: &Value, caller: &Caller) -> Truth {
    if principals(not_principal).is_some_and(|principals| principals.contains(&("AWS", "*"))) {
        return Truth::No;
    }
    let Naming { itself, account } = named(not_principal, caller);
    match (itself, caller) {
        (Truth::No, _) if !account => Truth::Yes,
        (_, Caller::Identity(identity)) if identity.kind != IdentityKind::Root => {
            Truth::unknown("its `NotPrincipal` names the caller or its account, which AWS does not always exempt")
        }
        (itself, _) => itself.negated(),
    }
}

/// Whether an Allow for everyone but the principals of a `NotPrincipal` element applies to a caller. AWS does not
/// support the combination and does not document its effect.
pub(crate) fn allowed_unless_named(not_principal: &Value, caller: &Caller) -> Truth {
    match named(not_principal, caller).itself {
        Truth::Yes => Truth::No,
        _ => Truth::unknown("it combines `Allow` and `NotPrincipal`, which AWS does not support"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/path/siem";
    const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/siem/s1";
    const ROOT: &str = "arn:aws:iam::123456789012:root";

    fn caller(arn: &str) -> Caller {
        Caller::Identity(Identity::parse(arn).unwrap())
    }

    /// `yes`, `account`, `no` or `unknown`.
    fn how(principal: Value, caller: &Caller) -> &'static str {
        match named(&principal, caller) {
            Naming { itself: Truth::Yes, .. } => "yes",
            Naming { itself: Truth::Unknown(_), .. } => "unknown",
            Naming { account: true, .. } => "account",
            Naming { .. } => "no",
        }
    }

    #[test]
    fn a_service_is_named_by_its_name_or_by_a_star() {
        let cloudtrail = Caller::service("cloudtrail.amazonaws.com");
        assert_eq!(how(json!("*"), &cloudtrail), "yes");
        assert_eq!(how(json!({ "AWS": "*" }), &cloudtrail), "yes");
        assert_eq!(how(json!({ "Service": "cloudtrail.amazonaws.com" }), &cloudtrail), "yes");
        assert_eq!(
            how(json!({ "AWS": ROOT, "Service": ["a.amazonaws.com", "cloudtrail.amazonaws.com"] }), &cloudtrail),
            "yes"
        );
        assert_eq!(how(json!({ "Service": "logs.amazonaws.com" }), &cloudtrail), "no");
        assert_eq!(how(json!({ "Service": "cloudtrail.eu-west-1.amazonaws.com" }), &cloudtrail), "unknown");
        assert_eq!(how(json!({ "Service": "*" }), &cloudtrail), "unknown");
        assert_eq!(
            how(json!({ "AWS": [ROOT, "123456789012"], "Federated": "x.com", "CanonicalUser": "79a5" }), &cloudtrail),
            "no"
        );
    }

    #[test]
    fn an_account_delegates_to_its_iam_policies() {
        for named in
            [json!({ "AWS": ROOT }), json!({ "AWS": "123456789012" }), json!({ "AWS": ["210987654321", ROOT] })]
        {
            assert_eq!(how(named.clone(), &caller(ROLE)), "account");
            assert_eq!(how(named.clone(), &caller(SESSION)), "account");
            assert_eq!(how(named, &caller(ROOT)), "yes");
        }
        assert_eq!(how(json!({ "AWS": "arn:aws:iam::210987654321:root" }), &caller(ROLE)), "no");
    }

    #[test]
    fn a_role_includes_its_sessions() {
        assert_eq!(how(json!({ "AWS": ROLE }), &caller(ROLE)), "yes");
        assert_eq!(how(json!({ "AWS": ROLE }), &caller(SESSION)), "yes");
        assert_eq!(how(json!({ "AWS": SESSION }), &caller(SESSION)), "yes");
        assert_eq!(how(json!({ "AWS": SESSION }), &caller(ROLE)), "unknown");
        assert_eq!(how(json!({ "AWS": "arn:aws:sts::123456789012:assumed-role/siem/s2" }), &caller(SESSION)), "no");
        assert_eq!(how(json!({ "AWS": "arn:aws:iam::210987654321:role/siem" }), &caller(SESSION)), "no");
    }

    #[test]
    fn deleted_roles_match_no_one_and_malformed_are_unknown() {
        assert_eq!(how(json!({ "AWS": "AROADBQP57FF2AEXAMPLE" }), &caller(ROLE)), "no");
        for principal in [
            json!({ "AWS": "arn:aws:iam::123456789012:role/*" }),
            json!({ "AWS": "AROAdbqp57ff2aexample" }),
            json!({ "AWS": "neither-an-arn-nor-an-id" }),
            json!({ "AWS": "1234567890ab" }),
            json!({ "AWS": "12345678901" }),
            json!({ "AWS": [] }),
            json!({ "AWS": 7 }),
            json!({ "Aws": ROLE }),
            json!({ "CanonicalUser": "79a5" }),
            json!({ "Federated": "accounts.google.com" }),
            json!([ROLE]),
            json!(ROLE),
            json!({}),
            json!(null),
        ] {
            assert_eq!(how(principal.clone(), &caller(ROLE)), "unknown", "{principal}");
        }
    }

    #[test]
    fn not_principal_exempts_services_and_root_users() {
        let cloudtrail = Caller::service("cloudtrail.amazonaws.com");
        let named = json!({ "Service": "cloudtrail.amazonaws.com", "AWS": [ROLE, ROOT] });
        assert_eq!(denied_unless_named(&named, &cloudtrail), Truth::No);
        assert!(matches!(denied_unless_named(&named, &caller(ROLE)), Truth::Unknown(_)));
        assert_eq!(denied_unless_named(&named, &caller(ROOT)), Truth::No);
        assert_eq!(denied_unless_named(&json!({ "AWS": ROOT }), &cloudtrail), Truth::Yes);
        assert_eq!(denied_unless_named(&json!("*"), &caller(ROLE)), Truth::No);
        assert_eq!(denied_unless_named(&json!({ "AWS": [SESSION, "*"], "Service": "x" }), &caller(ROLE)), Truth::No);
        assert!(matches!(denied_unless_named(&json!({ "AWS": ROOT }), &caller(ROLE)), Truth::Unknown(_)));
        assert_eq!(denied_unless_named(&json!({ "AWS": "210987654321" }), &caller(ROLE)), Truth::Yes);
        assert_eq!(allowed_unless_named(&named, &cloudtrail), Truth::No);
        assert!(matches!(allowed_unless_named(&json!({ "AWS": ROOT }), &cloudtrail), Truth::Unknown(_)));
    }
}
