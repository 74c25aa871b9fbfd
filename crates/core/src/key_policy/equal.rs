//! Whether two documents are the same policy.

use serde_json::Value;

use crate::iam::Document;

/// Whether two documents are the same policy, whatever their layout. `GetKeyPolicy` returns the principals of a
/// statement in any order, and a list of one as a single value.
/// Source: <https://github.com/aws/aws-cli/issues/9456>.
#[must_use]
pub fn policies_equal(one: &Document, other: &Document) -> bool {
    one == other || json_equal(&one.text(), &other.text())
}

/// Whether two JSON texts are equal as above.
pub(super) fn json_equal(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok().map(in_order);
    read(one).is_some_and(|one| read(other) == Some(one))
}

/// The same value with every list of names sorted, each name once. The statements keep their order.
fn in_order(value: Value) -> Value {
    match value {
        Value::Array(values) if values.iter().any(Value::is_object) => values.into_iter().map(in_order).collect(),
        Value::Array(mut values) => {
            values.sort_by_key(Value::to_string);
            values.dedup();
            match values.as_slice() {
                [only] => only.clone(),
                _ => Value::Array(values),
            }
        }
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, in_order(value))).collect(),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_principals_and_actions_does_not_matter() {
        let equal =
            |one: &str, other: &str| policies_equal(&Document::parse(one).unwrap(), &Document::parse(other).unwrap());
        let policy = r#"{"Statement":[{"Sid":"A","Principal":{"AWS":["x","y"]},"Action":["kms:A"]},{"Sid":"B"}]}"#;
        let shuffled =
            r#"{ "Statement": [{"Action":"kms:A","Sid":"A","Principal":{"AWS":["y","x","y"]}},{"Sid":"B"}] }"#;
        assert!(equal(policy, shuffled));
        for other in [
            r#"{"Statement":[{"Sid":"B"},{"Sid":"A","Principal":{"AWS":["x","y"]},"Action":["kms:A"]}]}"#,
            r#"{"Statement":[{"Sid":"A","Principal":{"AWS":["x"]},"Action":["kms:A"]},{"Sid":"B"}]}"#,
        ] {
            assert!(!equal(policy, other), "{other}");
        }
    }
}
