//! Whether two texts are the same policy.

use serde_json::Value;

/// Whether two texts are one policy, however AWS lays it out: `GetKeyPolicy` gives the names of a
/// statement's principals in any order, and a list of one as that one.
/// Source: <https://github.com/aws/aws-cli/issues/9456>.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok().map(in_order);
    one == other || matches!((read(one), read(other)), (Some(one), Some(other)) if one == other)
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
    fn lists_of_names_are_compared_whatever_their_order_and_statements_in_theirs() {
        let policy = r#"{"Statement":[{"Sid":"A","Principal":{"AWS":["x","y"]},"Action":["kms:A"]},{"Sid":"B"}]}"#;
        let shuffled =
            r#"{ "Statement": [{"Action":"kms:A","Sid":"A","Principal":{"AWS":["y","x","y"]}},{"Sid":"B"}] }"#;
        assert!(same(policy, shuffled));
        for other in [
            r#"{"Statement":[{"Sid":"B"},{"Sid":"A","Principal":{"AWS":["x","y"]},"Action":["kms:A"]}]}"#,
            r#"{"Statement":[{"Sid":"A","Principal":{"AWS":["x"]},"Action":["kms:A"]},{"Sid":"B"}]}"#,
            "no JSON",
        ] {
            assert!(!same(policy, other), "{other}");
        }
        assert!(same("no JSON", "no JSON"));
    }
}
