//! Parsing of a policy's JSON, in which no object may have a member twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::ids::shorten;

/// A text that is not a policy document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the policy is malformed: {reason}")]
pub struct MalformedPolicy {
    pub(super) reason: String,
}

impl From<serde_json::Error> for MalformedPolicy {
    fn from(error: serde_json::Error) -> Self {
        Self { reason: error.to_string() }
    }
}

/// The members of a JSON object, in order and each of them once. AWS's grammar forbids an element named twice, and
/// a reader that takes the first and one that takes the last disagree about such a policy.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format_args!("it has `{}` twice", shorten(&name, 80))));
                    }
                    members.push((name, raw));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

/// How deep a statement may nest. `Condition`, the deepest element, needs 4.
const MAX_DEPTH: u8 = 16;

/// A JSON value in which no object has a member twice. Fails with the reason.
pub(super) fn parse_value(raw: &str) -> Result<Value, String> {
    nested_value(raw, MAX_DEPTH).map_err(|error| error.reason)
}

fn nested_value(raw: &str, depth: u8) -> Result<Value, MalformedPolicy> {
    let too_deep = || MalformedPolicy { reason: "it nests too deeply".to_owned() };
    let nested = |raw: &RawValue| nested_value(raw.get(), depth.checked_sub(1).ok_or_else(too_deep)?);
    Ok(match raw.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(raw)?;
            let members = members.into_iter().map(|(name, raw)| Ok((name, nested(raw)?)));
            Value::Object(members.collect::<Result<_, MalformedPolicy>>()?)
        }
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(raw)?;
            Value::Array(values.into_iter().map(nested).collect::<Result<_, _>>()?)
        }
        _ => serde_json::from_str(raw)?,
    })
}
