//! What one statement of a key policy grants, and whether another grants as much.
//!
//! Both are read as they stand. Only what is certain counts: a statement with anything in it that is
//! not known here grants nothing that could be relied on, and covers nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::iam::pattern::matches_action;
use crate::iam::principal::texts;
use crate::iam::truth::Truth;
use crate::ids::Partition;

/// An `Allow` statement of a key policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// By kind (`AWS`, `Service`, …) and name.
    principals: BTreeSet<(String, String)>,
    actions: BTreeSet<String>,
    conditions: Vec<Condition>,
    /// Whether it is about the key that the policy belongs to, whatever else.
    about_the_key: bool,
}

/// One operator on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    operator: String,
    /// In lower case: case does not matter in a key.
    key: String,
    values: BTreeSet<String>,
}

const ELEMENTS: [&str; 6] = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
const KINDS: [&str; 4] = ["AWS", "Service", "Federated", "CanonicalUser"];

/// Operators that are met if any one of their values is. A value more lets more requests in; a value
/// more of an operator like `StringNotEquals` lets fewer in.
const ANY_VALUE: [&str; 4] = ["StringEquals", "StringLike", "ArnEquals", "ArnLike"];

impl Grant {
    /// Reads a statement of a policy in that partition. None: it is no `Allow`, or something in it is in
    /// a form that is not known here.
    pub(super) fn read(statement: &Map<String, Value>, partition: &Partition) -> Option<Self> {
        let known = statement.keys().all(|name| ELEMENTS.contains(&name.as_str()));
        if !known || statement.get("Effect")?.as_str() != Some("Allow") {
            return None;
        }
        Some(Self {
            principals: principals(statement.get("Principal")?, partition)?,
            actions: texts(statement.get("Action")?)?.into_iter().map(str::to_owned).collect(),
            conditions: statement.get("Condition").map_or(Some(Vec::new()), conditions)?,
            about_the_key: texts(statement.get("Resource")?)?.contains(&"*"),
        })
    }

    /// Whether whatever `other` grants, this grants too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.about_the_key
            && other.principals.iter().all(|principal| self.names(principal))
            && self.conditions.iter().all(|ours| other.conditions.iter().any(|theirs| ours.follows_from(theirs)))
            && other.actions.iter().all(|theirs| self.actions.iter().any(|ours| is_as_broad(ours, theirs)))
    }

    /// `*` names a service too, by AWS's rules; a statement that means a service names it.
    fn names(&self, principal: &(String, String)) -> bool {
        self.principals.contains(principal)
            || (principal.0 == "AWS" && self.principals.contains(&("AWS".to_owned(), "*".to_owned())))
    }

    /// The principals of that kind.
    pub(super) fn principals(&self, kind: &str) -> Vec<String> {
        self.principals.iter().filter(|(of, _)| of == kind).map(|(_, name)| name.clone()).collect()
    }

    /// The values of that operator on that key.
    pub(super) fn values(&self, operator: &str, key: &str) -> Vec<String> {
        let asked = |it: &&Condition| it.operator == operator && it.key.eq_ignore_ascii_case(key);
        self.conditions.iter().filter(asked).flat_map(|it| it.values.iter().cloned()).collect()
    }
}

impl Condition {
    /// Whether it is met wherever `other` is. Values are compared as texts: one with a wildcard or a
    /// variable stands for itself alone.
    fn follows_from(&self, other: &Self) -> bool {
        self.operator == other.operator
            && self.key == other.key
            && if ANY_VALUE.contains(&self.operator.as_str()) {
                self.values.is_superset(&other.values)
            } else {
                self.values == other.values
            }
    }
}

/// An account's id stands for its root.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html#principal-accounts>.
fn principals(principal: &Value, partition: &Partition) -> Option<BTreeSet<(String, String)>> {
    let of_kind = |kind: &str, name: &str| {
        let account = kind == "AWS" && name.len() == 12 && name.chars().all(|c| c.is_ascii_digit());
        let name = if account { format!("arn:{partition}:iam::{name}:root") } else { name.to_owned() };
        (kind.to_owned(), name)
    };
    match principal {
        Value::String(text) if text == "*" => Some(BTreeSet::from([of_kind("AWS", text)])),
        Value::Object(kinds) if !kinds.is_empty() => {
            let mut principals = BTreeSet::new();
            for (kind, names) in kinds {
                if !KINDS.contains(&kind.as_str()) {
                    return None;
                }
                principals.extend(texts(names)?.into_iter().map(|name| of_kind(kind, name)));
            }
            Some(principals)
        }
        _ => None,
    }
}

fn conditions(condition: &Value) -> Option<Vec<Condition>> {
    let mut conditions = Vec::new();
    for (operator, keys) in condition.as_object()? {
        let keys = keys.as_object().filter(|keys| !keys.is_empty())?;
        for (key, values) in keys {
            conditions.push(Condition {
                operator: operator.clone(),
                key: key.to_ascii_lowercase(),
                values: scalars(values)?,
            });
        }
    }
    Some(conditions)
}

/// One text or truth value or several, at least one.
fn scalars(values: &Value) -> Option<BTreeSet<String>> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    };
    match values {
        Value::Array(values) if !values.is_empty() => values.iter().map(scalar).collect(),
        one => scalar(one).map(|text| BTreeSet::from([text])),
    }
}

/// Whether every action that one pattern stands for is one that the other stands for. The narrow one
/// is read as a text: a `*` in it is taken by a `*`, and by a `?` wrongly.
fn is_as_broad(broad: &str, narrow: &str) -> bool {
    let misread = broad.contains('?') && narrow.contains('*');
    broad.eq_ignore_ascii_case(narrow) || (!misread && matches_action(broad, narrow) == Truth::Yes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(statement: &Value) -> Option<Grant> {
        Grant::read(statement.as_object().unwrap(), &"aws".parse().unwrap())
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
    fn an_action_is_covered_by_itself_and_by_broader_patterns_whatever_the_case() {
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
    fn everybody_covers_everyone_of_an_account_and_no_service() {
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
    fn fewer_conditions_and_more_alternatives_cover_more() {
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
    fn a_statement_covers_only_where_it_is_about_the_key_itself() {
        assert!(covers("Resource", json!(["arn:aws:kms:::key/x", "*"]), json!("*")));
        assert!(covers("Resource", json!("*"), json!("arn:aws:kms:::key/x")));
        assert!(!covers("Resource", json!("arn:aws:kms:*:*:key/*"), json!("*")));
    }

    #[test]
    fn a_deny_an_unknown_element_or_a_missing_one_is_nothing_to_rely_on() {
        assert!(read(&with("Sid", json!("y"))).is_some());
        for odd in [
            with("Effect", json!("Deny")),
            with("Effect", json!("allow")),
            with("NotAction", json!("kms:Encrypt")),
            with("Foo", json!(1)),
        ] {
            assert_eq!(read(&odd), None, "{odd}");
        }
        for missing in ["Effect", "Principal", "Action", "Resource"] {
            let mut statement = with("Sid", json!("y"));
            statement.as_object_mut().unwrap().remove(missing);
            assert_eq!(read(&statement), None, "{missing}");
        }
    }
}
