//! Whether a `Principal` or `NotPrincipal` element names a caller.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>.

use serde_json::Value;

use crate::iam::element::{Effect, Element, strings};
use crate::iam::pattern::{Pattern, UNRESOLVED};
use crate::iam::request::{Caller, Identity, IdentityKind};
use crate::iam::truth::Truth;
use crate::ids::shorten;

/// A principal that a statement names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Principal {
    /// `AWS`, `Service`, `Federated` or `CanonicalUser`. Other kinds are unknown.
    pub(crate) kind: String,
    /// Its name; for the kind `AWS`, `*` is everyone.
    pub(crate) name: String,
    /// The identity that a name of the kind `AWS` is. An account's ID stands for its root.
    identity: Option<Identity>,
}

/// How an element names a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Naming {
    /// Whether it names the caller itself, or everyone.
    pub(crate) itself: Truth,
    /// Whether it names the caller's account, whose IAM policies then decide.
    pub(crate) account: bool,
}

impl<T: Into<Truth>> From<T> for Naming {
    fn from(itself: T) -> Self {
        Self { itself: itself.into(), account: false }
    }
}

impl Principal {
    /// A principal of this kind and name.
    pub(crate) fn new(kind: &str, name: String) -> Self {
        let identity = if kind == "AWS" { Identity::parse(&name).or_else(|| Identity::root(&name)) } else { None };
        Self { kind: kind.to_owned(), name, identity }
    }

    /// The principals of an element, with `"*"` as everyone. `None`: it is malformed.
    pub(super) fn parse_all(element: &Value) -> Option<Vec<Self>> {
        if element == "*" {
            return Some(vec![Self::new("AWS", "*".to_owned())]);
        }
        let mut principals = Vec::new();
        for (kind, names) in element.as_object().filter(|kinds| !kinds.is_empty())? {
            // AWS rejects an empty one.
            let names = strings(names).filter(|names| names.iter().all(|name| !name.is_empty()))?;
            principals.extend(names.into_iter().map(|name| Self::new(kind, name)));
        }
        Some(principals)
    }

    pub(crate) fn is_everyone(&self) -> bool {
        self.kind == "AWS" && self.name == "*"
    }

    /// Whether it is the unique ID of a role or a user, which replaces the ARN in a policy once it is deleted.
    /// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>.
    pub(crate) fn is_deleted(&self) -> bool {
        let Self { kind, name, .. } = self;
        kind == "AWS"
            && (name.starts_with("AROA") || name.starts_with("AIDA"))
            && name.len() >= 16
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    }

    fn names(&self, caller: &Caller) -> Naming {
        let Self { kind, name, identity } = self;
        match (kind.as_str(), caller) {
            ("AWS", _) if name == "*" => Truth::Yes.into(),
            // It names no one.
            ("AWS", _) if self.is_deleted() => Truth::No.into(),
            ("AWS", Caller::Service(_) | Caller::Anonymous) if may_be(name, "*") => {
                Truth::unknown(format!("it names `{}`, which is not resolved", shorten(name, 80))).into()
            }
            ("AWS", Caller::Identity(caller)) => names_identity(name, identity.as_ref(), caller),
            ("Service", Caller::Service(service)) => names_service(name, service).into(),
            ("Federated", Caller::Identity(Identity { kind: IdentityKind::Root | IdentityKind::User, .. })) => {
                Truth::No.into()
            }
            // A caller's ARN shows neither its identity provider nor its account's canonical user.
            ("Federated" | "CanonicalUser", Caller::Identity(_)) => {
                Truth::unknown(format!("it names the `{kind}` principal `{}`", shorten(name, 80))).into()
            }
            ("AWS" | "Service" | "Federated" | "CanonicalUser", _) => Truth::No.into(),
            _ => Truth::unknown(format!("it has an unknown kind of principal, `{}`", shorten(kind, 80))).into(),
        }
    }
}

/// Whether a text that is not resolved can turn out to be another.
fn may_be(text: &str, other: &str) -> bool {
    text.contains(UNRESOLVED) && Pattern::exact(text, false).matches(other) != Truth::No
}

fn names_service(name: &str, service: &str) -> Truth {
    // A service can have several names, such as one for each Region:
    // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html>.
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let same_label = label(name) == label(service) || may_be(&label(name), &label(service));
    if name != service && (same_label || name.contains(['*', '?']) || may_be(name, service)) {
        return Truth::unknown(format!("whether `{}` names `{service}` is unknown", shorten(name, 80)));
    }
    (name == service).into()
}

fn names_identity(name: &str, named: Option<&Identity>, caller: &Identity) -> Naming {
    let Some(named) = named else {
        let why = format!("it names `{}`, which is no known form of principal", shorten(name, 80));
        return Truth::unknown(why).into();
    };
    if named.kind == IdentityKind::Root {
        let same = caller.account == named.account;
        return if caller.kind == IdentityKind::Root {
            same.into()
        } else {
            Naming { itself: Truth::No, account: same }
        };
    }
    match (&named.kind, &caller.kind) {
        _ if named.arn == caller.arn => Truth::Yes,
        _ if named.account != caller.account => Truth::No,
        // A session has its role's permissions, and its ARN does not show the role's path.
        (IdentityKind::Role(role), IdentityKind::Session(of)) => (role == of).into(),
        (IdentityKind::Session(of), IdentityKind::Role(role)) if of == role => {
            Truth::unknown(format!("it names one session, `{name}`"))
        }
        (IdentityKind::User, IdentityKind::FederatedUser) => {
            Truth::unknown(format!("it names `{name}`, which may have federated the user"))
        }
        _ => Truth::No,
    }
    .into()
}

impl Element<Vec<Principal>> {
    /// How a statement names a caller.
    pub(crate) fn names(&self, caller: &Caller, effect: Effect) -> Naming {
        match (self, effect) {
            (Self::Is(principals), _) => any_names(principals, caller),
            (Self::Not(principals), Effect::Deny) => denied_unless_named(principals, caller).into(),
            // AWS does not support the combination and does not document its effect.
            (Self::Not(principals), Effect::Allow) => match any_names(principals, caller).itself {
                Truth::Yes => Truth::No.into(),
                _ => Truth::unknown("it combines `Allow` and `NotPrincipal`, which AWS does not support").into(),
            },
            (Self::Missing, _) => Truth::unknown("it names no principal").into(),
            (Self::Malformed(why), _) => Truth::unknown(why).into(),
        }
    }
}

fn any_names(principals: &[Principal], caller: &Caller) -> Naming {
    principals.iter().map(|principal| principal.names(caller)).fold(Truth::No.into(), |one: Naming, other| Naming {
        itself: one.itself.or(other.itself),
        account: one.account || other.account,
    })
}

/// Whether a Deny for everyone but the principals of a `NotPrincipal` element applies to a caller.
///
/// AWS checks a caller's account, role and session one after the other, and such a Deny always applies to an IAM
/// identity with a permissions boundary. So it is unknown for an identity that is named.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html>.
fn denied_unless_named(principals: &[Principal], caller: &Caller) -> Truth {
    if principals.iter().any(Principal::is_everyone) {
        return Truth::No;
    }
    let Naming { itself, account } = any_names(principals, caller);
    match (itself, caller) {
        (Truth::No, _) if !account => Truth::Yes,
        (_, Caller::Identity(identity)) if identity.kind != IdentityKind::Root => {
            Truth::unknown("its `NotPrincipal` names the caller or its account, which AWS does not always exempt")
        }
        (itself, _) => itself.negated(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::iam::Statement;

    const ROLE: &str = "arn:aws:iam::123456789012:role/path/siem";
    const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/siem/s1";
    const ROOT: &str = "arn:aws:iam::123456789012:root";

    fn caller(arn: &str) -> Caller {
        Caller::Identity(Identity::parse(arn).unwrap())
    }

    fn naming(element: &str, principals: &Value, caller: &Caller, effect: Effect) -> Naming {
        let statement = Statement::from(&json!({ "Effect": "Allow", element: principals }));
        statement.elements().unwrap().principal.names(caller, effect)
    }

    fn denied_unless(principals: &Value, caller: &Caller) -> Truth {
        naming("NotPrincipal", principals, caller, Effect::Deny).itself
    }

    fn allowed_unless(principals: &Value, caller: &Caller) -> Truth {
        naming("NotPrincipal", principals, caller, Effect::Allow).itself
    }

    /// `yes`, `account`, `no` or `unknown`.
    fn how(principal: Value, caller: &Caller) -> &'static str {
        match naming("Principal", &principal, caller, Effect::Allow) {
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
    fn a_principal_that_is_not_resolved_is_unknown() {
        let cloudtrail = Caller::service("cloudtrail.amazonaws.com");
        for principal in [
            json!({ "AWS": "${unresolved-Ref-Reader}" }),
            json!({ "Service": "${unresolved-GetAtt-Some.Name}" }),
            json!({ "Service": "cloudtrail.${unresolved-Ref-Suffix}" }),
            json!({ "Service": "${unresolved-Ref-Name}.eu-west-1.amazonaws.com" }),
            json!("${unresolved-If}"),
        ] {
            assert_eq!(how(principal.clone(), &cloudtrail), "unknown", "{principal}");
        }
        let not = json!({ "AWS": "${unresolved-Ref-Reader}" });
        assert!(matches!(denied_unless(&not, &cloudtrail), Truth::Unknown(_)));
        assert_eq!(how(json!({ "Service": "logs.${unresolved-Ref-Suffix}" }), &cloudtrail), "no");
        let role = json!({ "AWS": "arn:aws:iam::123456789012:role/${unresolved-Ref-Role}" });
        assert_eq!(how(role.clone(), &cloudtrail), "no", "it cannot be everyone");
        assert_eq!(how(role, &caller(ROLE)), "unknown");
        assert_eq!(how(json!({ "AWS": "${unresolved-Ref-Reader}" }), &caller(ROOT)), "unknown");
    }

    #[test]
    fn not_principal_exempts_services_and_root_users() {
        let cloudtrail = Caller::service("cloudtrail.amazonaws.com");
        let named = json!({ "Service": "cloudtrail.amazonaws.com", "AWS": [ROLE, ROOT] });
        assert_eq!(denied_unless(&named, &cloudtrail), Truth::No);
        assert!(matches!(denied_unless(&named, &caller(ROLE)), Truth::Unknown(_)));
        assert_eq!(denied_unless(&named, &caller(ROOT)), Truth::No);
        assert_eq!(denied_unless(&json!({ "AWS": ROOT }), &cloudtrail), Truth::Yes);
        assert_eq!(denied_unless(&json!("*"), &caller(ROLE)), Truth::No);
        assert_eq!(denied_unless(&json!({ "AWS": [SESSION, "*"], "Service": "x" }), &caller(ROLE)), Truth::No);
        assert!(matches!(denied_unless(&json!({ "AWS": ROOT }), &caller(ROLE)), Truth::Unknown(_)));
        assert_eq!(denied_unless(&json!({ "AWS": "210987654321" }), &caller(ROLE)), Truth::Yes);
        assert_eq!(allowed_unless(&named, &cloudtrail), Truth::No);
        assert!(matches!(allowed_unless(&json!({ "AWS": ROOT }), &cloudtrail), Truth::Unknown(_)));
    }

    #[test]
    fn only_the_id_of_a_role_or_user_is_a_deleted_one() {
        let is_deleted = |kind: &str, name: &str| Principal::new(kind, name.to_owned()).is_deleted();
        assert!(is_deleted("AWS", "AROADBQP57FF2AEX") && is_deleted("AWS", "AIDADBQP57FF2AEXAMPLE"));
        for (kind, name) in [
            ("Federated", "AROADBQP57FF2AEXAMPLE"),
            ("AWS", "ASIADBQP57FF2AEXAMPLE"),
            ("AWS", "AROADBQP57FF2AE"),
            ("AWS", "AROADBQP57FF2AEXAMPLe"),
            ("AWS", "AROADBQP57FF2AEXAMPL-"),
        ] {
            assert!(!is_deleted(kind, name), "{kind} {name}");
        }
    }

    #[test]
    fn a_user_may_have_federated_the_caller() {
        let how = |named: &str, who: &str| {
            let element = Element::new(&named_aws(named), "Principal", Principal::parse_all);
            element.names(&caller(who), Effect::Allow).itself
        };
        let federated = "arn:aws:sts::123456789012:federated-user/bob";
        assert!(matches!(how("arn:aws:iam::123456789012:user/ann", federated), Truth::Unknown(_)));
        assert_eq!(how(ROLE, federated), Truth::No);
        assert_eq!(how("arn:aws:iam::210987654321:user/ann", federated), Truth::No);
        assert!(matches!(how(SESSION, ROLE), Truth::Unknown(_)), "the caller may be in that session");
        assert_eq!(how("arn:aws:sts::123456789012:assumed-role/other/s", ROLE), Truth::No);
    }

    fn named_aws(name: &str) -> serde_json::Map<String, Value> {
        [("Principal".to_owned(), json!({ "AWS": name }))].into_iter().collect()
    }

    #[test]
    fn an_empty_principal_is_malformed() {
        for element in [json!({ "AWS": "" }), json!({ "AWS": ["", ROLE] }), json!({ "Service": "" }), json!({})] {
            assert!(Principal::parse_all(&element).is_none(), "{element}");
        }
        assert!(Principal::parse_all(&json!({ "AWS": ROLE })).is_some());
    }
}
