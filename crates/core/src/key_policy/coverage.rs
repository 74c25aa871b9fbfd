//! What one statement of a key policy allows, and whether another allows as much.
//!
//! Only what is certain counts: a statement with an unknown or malformed part allows nothing and covers nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::iam::Statement;
use crate::iam::element::{Effect, Element};
use crate::iam::pattern::matches_action;
use crate::iam::principal::Principal;
use crate::iam::statement::{Condition, Elements};
use crate::iam::truth::Truth;
use crate::ids::{AccountId, Partition};

/// The permissions that an `Allow` statement of a key policy grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permissions {
    principals: BTreeSet<Principal>,
    actions: BTreeSet<String>,
    /// The values by operator and key. The key is in lower case, because its case does not matter.
    conditions: BTreeMap<(String, String), BTreeSet<String>>,
    /// Whether the resources include `*`, which is the key that the policy belongs to.
    includes_the_key: bool,
}

const KINDS: [&str; 4] = ["AWS", "Service", "Federated", "CanonicalUser"];

/// Operators that any one of their values meets, so that more values allow more requests. More values of an operator
/// like `StringNotEquals` allow fewer.
const ANY_VALUE: [&str; 4] = ["StringEquals", "StringLike", "ArnEquals", "ArnLike"];

impl Permissions {
    /// Reads a statement of a policy in this partition. `None`: it is no `Allow`, or a part is unknown or malformed.
    pub(super) fn read(statement: &Statement, partition: &Partition) -> Option<Self> {
        let Elements { effect, principal, action, resource, conditions, unsupported } = statement.elements().ok()?;
        let (Effect::Allow, Element::Is(principals), Element::Is(actions), Element::Is(resources), []) =
            (effect, principal, action, resource, unsupported.as_slice())
        else {
            return None;
        };
        let mut values_by_key = BTreeMap::new();
        for Condition { operator, key, values } in conditions {
            // A request must meet both of two conditions whose keys differ only in case.
            if values_by_key
                .insert((operator.clone(), key.to_ascii_lowercase()), values.iter().cloned().collect())
                .is_some()
            {
                return None;
            }
        }
        Some(Self {
            principals: principals.iter().map(|it| known_principal(it, partition)).collect::<Option<_>>()?,
            actions: actions.iter().cloned().collect(),
            conditions: values_by_key,
            includes_the_key: resources.iter().any(|resource| resource == "*"),
        })
    }

    /// Whether these include all of the other permissions.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.includes_the_key
            && other.principals.iter().all(|principal| self.names(principal))
            && self.conditions.iter().all(|(condition, broad)| {
                other.conditions.get(condition).is_some_and(|narrow| is_met_wherever(&condition.0, broad, narrow))
            })
            && other.actions.iter().all(|narrow| self.actions.iter().any(|broad| is_as_broad(broad, narrow)))
    }

    /// `*` also names services, but a statement for a service names it.
    fn names(&self, principal: &Principal) -> bool {
        self.principals.contains(principal)
            || (principal.kind == "AWS" && self.principals.iter().any(Principal::is_everyone))
    }

    /// The principals of the kind `AWS`.
    pub(super) fn aws_principals(&self) -> Vec<String> {
        self.principals.iter().filter(|it| it.kind == "AWS").map(|it| it.name.clone()).collect()
    }

    /// The values of this operator on this key.
    pub(super) fn values(&self, operator: &str, key: &str) -> Vec<String> {
        let condition = (operator.to_owned(), key.to_ascii_lowercase());
        self.conditions.get(&condition).into_iter().flatten().cloned().collect()
    }
}

/// Whether a condition with the values `broad` is met wherever one with `narrow` is. Values are compared as texts: one
/// with a wildcard or a variable only equals itself.
fn is_met_wherever(operator: &str, broad: &BTreeSet<String>, narrow: &BTreeSet<String>) -> bool {
    if ANY_VALUE.contains(&operator) { broad.is_superset(narrow) } else { broad == narrow }
}

/// A principal of a known kind. An account's ID means its root.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-accounts>.
fn known_principal(principal: &Principal, partition: &Partition) -> Option<Principal> {
    let Principal { kind, name, .. } = principal.clone();
    let name = match name.parse::<AccountId>() {
        Ok(account) if kind == "AWS" => format!("arn:{partition}:iam::{account}:root"),
        _ => name,
    };
    KINDS.contains(&kind.as_str()).then(|| Principal::new(&kind, name))
}

/// Whether every action that matches the narrow pattern matches the broad one. The narrow one is taken as a text, so
/// a `*` in it must not meet a `?`.
fn is_as_broad(broad: &str, narrow: &str) -> bool {
    let ambiguous = broad.contains('?') && narrow.contains('*');
    broad.eq_ignore_ascii_case(narrow) || (!ambiguous && matches_action(broad, narrow) == Truth::Yes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(statement: &Value) -> Option<Permissions> {
        Permissions::read(&statement.into(), &"aws".parse().unwrap())
    }

    /// A statement with one element different.
    fn with(element: &str, value: Value) -> Value {
        let mut statement = json!({ "Sid": "x", "Effect": "Allow", "Principal": { "Service": "a.amazonaws.com" }, "Action": "kms:Decrypt", "Resource": "*" });
        statement[element] = value;
        statement
    }

    /// Whether a statement with the element `broad` covers the same statement with the element `narrow`.
    fn covers(element: &str, broad: Value, narrow: Value) -> bool {
        let [broad, narrow] = [broad, narrow].map(|value| read(&with(element, value)));
        broad.is_some_and(|broad| broad.covers(&narrow.unwrap()))
    }

    #[test]
    fn broader_action_patterns_cover_narrower_ones() {
        for (broad, narrow) in [
            (json!("kms:Decrypt"), json!("KMS:decrypt")),
            (json!("kms:*"), json!("kms:*")),
            (json!("*"), json!("kms:*")),
            (json!("kms:G*"), json!("kms:GenerateDataKey*")),
            (json!("kms:?ecrypt"), json!("kms:Decrypt")),
            (json!("kms:x?*"), json!("kms:x?*")),
            (json!(["kms:A", "kms:B", "kms:B"]), json!(["kms:B", "kms:A"])),
        ] {
            assert!(covers("Action", broad.clone(), narrow.clone()), "{broad} {narrow}");
        }
        for (broad, narrow) in [
            (json!("kms:Decrypt"), json!("kms:*")),
            (json!("kms:GenerateDataKey"), json!("kms:GenerateDataKey*")),
            (json!("kms:GenerateDataKey?"), json!("kms:GenerateDataKey*")),
            (json!("kms:GenerateDataKeyW*"), json!("kms:GenerateDataKey*")),
            (json!("k*:Decrypt"), json!("kms:Decrypt")),
            (json!("kms:A"), json!(["kms:B", "kms:A"])),
            (json!([]), json!("kms:A")),
            (json!(["kms:A", 7]), json!("kms:A")),
        ] {
            assert!(!covers("Action", broad.clone(), narrow.clone()), "{broad} {narrow}");
        }
    }

    #[test]
    fn everyone_covers_accounts_but_no_service() {
        let root = json!({ "AWS": "arn:aws:iam::123456789012:root" });
        let both = json!({ "AWS": ["123456789012", "123456789012"], "Service": "a.amazonaws.com" });
        for (broad, narrow) in [
            (json!("*"), json!({ "AWS": ["*"] })),
            (json!({ "AWS": "*" }), json!("*")),
            (json!("*"), root.clone()),
            (json!({ "AWS": "123456789012" }), root.clone()),
            (root.clone(), json!({ "AWS": ["123456789012"] })),
            (both.clone(), root.clone()),
            (both.clone(), json!({ "Service": "a.amazonaws.com" })),
        ] {
            assert!(covers("Principal", broad.clone(), narrow.clone()), "{broad} {narrow}");
        }
        for (broad, narrow) in [
            (root.clone(), json!("*")),
            (root.clone(), json!({ "AWS": "arn:aws-cn:iam::123456789012:root" })),
            (root.clone(), json!({ "AWS": "arn:aws:iam::123456789012:role/r" })),
            (json!("*"), json!({ "Service": "a.amazonaws.com" })),
            (json!({ "Service": "*" }), json!({ "Service": "a.amazonaws.com" })),
            (json!({ "Service": "A.amazonaws.com" }), json!({ "Service": "a.amazonaws.com" })),
            (root, both),
            (json!({ "AWS": "*", "Robot": "x" }), json!("*")),
            (json!({}), json!("*")),
            (json!("123456789012"), json!({ "AWS": "123456789012" })),
        ] {
            assert!(!covers("Principal", broad.clone(), narrow.clone()), "{broad} {narrow}");
        }
    }

    #[test]
    fn fewer_conditions_and_more_values_cover_more() {
        let one = json!({ "StringLike": { "kms:ViaService": "s3.*" } });
        let two = json!({ "StringLike": { "kms:ViaService": ["s3.*"] }, "StringEquals": { "a": "b" } });
        for (broad, narrow) in [
            (json!({}), one.clone()),
            (one.clone(), two.clone()),
            (json!({ "StringLike": { "KMS:viaservice": ["ec2.*", "s3.*"] } }), one.clone()),
            (json!({ "StringNotLike": { "a": ["b", "c"] } }), json!({ "StringNotLike": { "a": ["c", "b"] } })),
            (json!({ "Bool": { "a": "true" } }), json!({ "Bool": { "a": [true] } })),
        ] {
            assert!(covers("Condition", broad.clone(), narrow.clone()), "{broad} {narrow}");
        }
        for (broad, narrow) in [
            (one.clone(), json!({})),
            (two, one.clone()),
            (json!({ "StringEquals": { "kms:ViaService": "s3.*" } }), one.clone()),
            (json!({ "StringLike": { "kms:ViaService": "*" } }), one.clone()),
            (json!({ "StringLike": { "aws:Other": "s3.*" } }), one.clone()),
            (json!({ "StringLike": { "kms:ViaService": "${aws:username}" } }), one.clone()),
            (json!({ "StringLike": { "kms:ViaService": "s3.*", "KMS:ViaService": "ec2.*" } }), one.clone()),
            (json!({ "StringNotLike": { "a": ["b", "c"] } }), json!({ "StringNotLike": { "a": "b" } })),
            (json!({ "StringNotLike": { "a": "b" } }), json!({ "StringNotLike": { "a": ["b", "c"] } })),
            (json!({ "Null": { "a": ["true", "false"] } }), json!({ "Null": { "a": "true" } })),
            (json!({ "StringLike": {} }), one.clone()),
            (json!({ "StringLike": { "kms:ViaService": [] } }), one.clone()),
            (json!({ "StringLike": { "kms:ViaService": ["s3.*", null] } }), one.clone()),
            (json!([]), one),
        ] {
            assert!(!covers("Condition", broad.clone(), narrow.clone()), "{broad} {narrow}");
        }
    }

    #[test]
    fn a_statement_covers_only_if_it_includes_the_key() {
        assert!(covers("Resource", json!(["arn:aws:kms:::key/x", "*"]), json!("*")));
        assert!(covers("Resource", json!("*"), json!("arn:aws:kms:::key/x")));
        assert!(!covers("Resource", json!("arn:aws:kms:*:*:key/*"), json!("*")));
    }

    #[test]
    fn a_deny_or_an_incomplete_statement_allows_nothing() {
        assert!(read(&with("Sid", json!("y"))).is_some());
        for statement in [
            with("Effect", json!("Deny")),
            with("Effect", json!("allow")),
            with("NotAction", json!("kms:Encrypt")),
            with("Foo", json!(1)),
        ] {
            assert_eq!(read(&statement), None, "{statement}");
        }
        for missing in ["Effect", "Principal", "Action", "Resource"] {
            let mut statement = with("Sid", json!("y"));
            statement.as_object_mut().unwrap().remove(missing);
            assert_eq!(read(&statement), None, "{missing}");
        }
    }
}
