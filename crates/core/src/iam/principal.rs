//! Whether a `Principal` or `NotPrincipal` element names a caller.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>.

use serde_json::Value;

use crate::iam::request::{Caller, Identity, Kind};
use crate::iam::truth::Truth;
use crate::ids::shorten;

/// How an element names a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Naming {
    /// Whether it names the caller itself, or everybody.
    pub(crate) itself: Truth,
    /// Whether it names the caller's account, whose IAM policies then decide.
    pub(crate) account: bool,
    /// Whether it names everybody.
    everybody: bool,
}

impl Naming {
    pub(crate) fn just(itself: Truth) -> Self {
        Self { itself, account: false, everybody: false }
    }

    fn or(self, other: Self) -> Self {
        Self {
            itself: self.itself.or(other.itself),
            account: self.account || other.account,
            everybody: self.everybody || other.everybody,
        }
    }
}

/// One text or an array of texts; nothing else, and at least one.
pub(crate) fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) if !values.is_empty() => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// How a `Principal` element names a caller.
pub(crate) fn named(principal: &Value, caller: &Caller) -> Naming {
    match principal {
        Value::String(text) if text == "*" => everybody(),
        Value::Object(members) if !members.is_empty() => {
            members.iter().map(|(kind, value)| named_as(kind, value, caller)).fold(Naming::just(Truth::No), Naming::or)
        }
        _ => Naming::just(Truth::unknown("it names its principals in a form that is not known here")),
    }
}

fn everybody() -> Naming {
    Naming { itself: Truth::Yes, account: false, everybody: true }
}

fn named_as(kind: &str, value: &Value, caller: &Caller) -> Naming {
    let Some(entries) = texts(value) else {
        return Naming::just(Truth::unknown(format!("its `{kind}` principals are in a form that is not known here")));
    };
    let named: fn(&str, &Caller) -> Naming = match kind {
        "AWS" => named_by_aws,
        "Service" => named_by_service,
        "Federated" => named_by_federated,
        "CanonicalUser" => named_by_canonical_user,
        _ => return Naming::just(Truth::unknown(format!("it names `{kind}` principals, which are not known here"))),
    };
    entries.iter().map(|entry| named(entry, caller)).fold(Naming::just(Truth::No), Naming::or)
}

fn named_by_service(entry: &str, caller: &Caller) -> Naming {
    let Caller::Service(name) = caller else { return Naming::just(Truth::No) };
    if entry == name {
        return Naming::just(Truth::Yes);
    }
    // A service can have several names, such as one per Region:
    // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>.
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let akin = label(entry) == label(name) || entry.contains(['*', '?']);
    Naming::just(if akin { Truth::unknown(format!("it names `{}`", shorten(entry, 80))) } else { Truth::No })
}

/// The element does not say who came through a provider, nor does a caller's ARN.
fn named_by_federated(entry: &str, caller: &Caller) -> Naming {
    let possible = matches!(
        caller,
        Caller::Identity(Identity { kind: Kind::Role(_) | Kind::Session(_) | Kind::FederatedUser, .. })
    );
    let reason = || format!("it names the identity provider `{}`", shorten(entry, 80));
    Naming::just(if possible { Truth::unknown(reason()) } else { Truth::No })
}

/// A canonical user id stands for an account; which one, it does not show.
fn named_by_canonical_user(entry: &str, caller: &Caller) -> Naming {
    let possible = matches!(caller, Caller::Identity(_));
    let reason = || format!("it names the canonical user `{}`", shorten(entry, 80));
    Naming::just(if possible { Truth::unknown(reason()) } else { Truth::No })
}

fn named_by_aws(entry: &str, caller: &Caller) -> Naming {
    if entry == "*" {
        return everybody();
    }
    let Caller::Identity(caller) = caller else { return Naming::just(Truth::No) };
    if entry.len() == 12 && entry.chars().all(|c| c.is_ascii_digit()) {
        return by_account(entry, caller);
    }
    if is_unique_id(entry) {
        // What is left of a role or user that was deleted. It names nobody any more.
        return Naming::just(Truth::No);
    }
    let Some(named) = Identity::read(entry) else {
        let reason = format!("it names `{}`, which is no form of principal that is known here", shorten(entry, 80));
        return Naming::just(Truth::unknown(reason));
    };
    if named.kind == Kind::Root {
        return by_account(&named.account, caller);
    }
    if named.arn == caller.arn {
        return Naming::just(Truth::Yes);
    }
    if named.account != caller.account {
        return Naming::just(Truth::No);
    }
    Naming::just(match (&named.kind, &caller.kind) {
        // Whoever assumed the role has its permissions; a session's ARN does not show the role's path.
        (Kind::Role(role), Kind::Session(of)) => (role == of).into(),
        (Kind::Session(of), Kind::Role(role)) if of == role => {
            Truth::unknown(format!("it names one session, `{entry}`"))
        }
        (Kind::User, Kind::FederatedUser) => {
            Truth::unknown(format!("it names `{entry}`, who may have federated the user"))
        }
        _ => Truth::No,
    })
}

fn by_account(account: &str, caller: &Identity) -> Naming {
    let same = caller.account == account;
    match caller.kind {
        Kind::Root => Naming::just(same.into()),
        _ => Naming { itself: Truth::No, account: same, everybody: false },
    }
}

/// The unique ids of roles and users.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>.
pub(crate) fn is_unique_id(text: &str) -> bool {
    (text.starts_with("AROA") || text.starts_with("AIDA"))
        && text.len() >= 16
        && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// Whether a Deny for everybody but the principals of a `NotPrincipal` element reaches a caller.
///
/// AWS checks a caller's account, role and session one after the other, and such a Deny always reaches
/// an IAM identity that has a permissions boundary: for one that is named, nobody can tell from here.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html>.
pub(crate) fn denied_unless_named(not_principal: &Value, caller: &Caller) -> Truth {
    let Naming { itself, account, everybody } = named(not_principal, caller);
    let plain = !matches!(caller, Caller::Identity(identity) if identity.kind != Kind::Root);
    match itself {
        _ if everybody => Truth::No,
        itself if plain => itself.negated(),
        Truth::No if !account => Truth::Yes,
        _ => Truth::unknown(
            "its `NotPrincipal` names the caller or its account, which AWS does not always take for an exception",
        ),
    }
}

/// Whether an Allow for everybody but the principals of a `NotPrincipal` element reaches a caller. AWS
/// does not support it and does not say what it does.
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

    /// `yes`, `account`, `no` or `maybe`.
    fn how(principal: Value, caller: &Caller) -> &'static str {
        match named(&principal, caller) {
            Naming { itself: Truth::Yes, .. } => "yes",
            Naming { itself: Truth::Unknown(_), .. } => "maybe",
            Naming { account: true, .. } => "account",
            Naming { .. } => "no",
        }
    }

    #[test]
    fn a_service_is_named_by_its_name_or_by_everybody() {
        let cloudtrail = Caller::service("cloudtrail.amazonaws.com");
        assert_eq!(how(json!("*"), &cloudtrail), "yes");
        assert_eq!(how(json!({ "AWS": "*" }), &cloudtrail), "yes");
        assert_eq!(how(json!({ "Service": "cloudtrail.amazonaws.com" }), &cloudtrail), "yes");
        assert_eq!(
            how(json!({ "AWS": ROOT, "Service": ["a.amazonaws.com", "cloudtrail.amazonaws.com"] }), &cloudtrail),
            "yes"
        );
        assert_eq!(how(json!({ "Service": "logs.amazonaws.com" }), &cloudtrail), "no");
        assert_eq!(how(json!({ "Service": "cloudtrail.eu-west-1.amazonaws.com" }), &cloudtrail), "maybe");
        assert_eq!(how(json!({ "Service": "*" }), &cloudtrail), "maybe");
        assert_eq!(
            how(json!({ "AWS": [ROOT, "123456789012"], "Federated": "x.com", "CanonicalUser": "79a5" }), &cloudtrail),
            "no"
        );
    }

    #[test]
    fn an_account_is_not_its_roles_but_delegates_to_its_iam() {
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
    fn a_role_covers_its_sessions_and_a_session_not_its_role() {
        assert_eq!(how(json!({ "AWS": ROLE }), &caller(ROLE)), "yes");
        assert_eq!(how(json!({ "AWS": ROLE }), &caller(SESSION)), "yes");
        assert_eq!(how(json!({ "AWS": SESSION }), &caller(SESSION)), "yes");
        assert_eq!(how(json!({ "AWS": SESSION }), &caller(ROLE)), "maybe");
        assert_eq!(how(json!({ "AWS": "arn:aws:sts::123456789012:assumed-role/siem/s2" }), &caller(SESSION)), "no");
        assert_eq!(how(json!({ "AWS": "arn:aws:iam::210987654321:role/siem" }), &caller(SESSION)), "no");
    }

    #[test]
    fn a_deleted_role_names_nobody_and_an_unknown_form_may_name_anybody() {
        assert_eq!(how(json!({ "AWS": "AROADBQP57FF2AEXAMPLE" }), &caller(ROLE)), "no");
        for odd in [
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
            assert_eq!(how(odd.clone(), &caller(ROLE)), "maybe", "{odd}");
        }
    }

    #[test]
    fn a_deny_for_everybody_else_spares_a_named_service_and_leaves_a_named_role_in_doubt() {
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
