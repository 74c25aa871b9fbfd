//! What the unit tests of several modules need.

use serde_json::{Value, json};

use crate::config::Config;
use crate::iam::Document;
use crate::ids::FunctionArn;
use crate::key_policy::KeyPolicy;

pub(crate) fn home() -> FunctionArn {
    "arn:aws:lambda:eu-west-1:123456789012:function:trailseal".parse().unwrap()
}

/// A configuration in enforce mode, with these variables on top.
pub(crate) fn config(variables: &[(&str, &str)]) -> Config {
    let base = [("TRAILSEAL_MODE", "enforce"), ("TRAILSEAL_ROLE_ARN", "arn:aws:iam::123456789012:role/trailseal")];
    let lookup = |name: &str| {
        variables.iter().chain(&base).find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    Config::parse(lookup).unwrap()
}

pub(crate) fn document(policy: &Value) -> Document {
    Document::parse(&policy.to_string()).unwrap()
}

/// The policy of a key that trailseal creates for these log readers.
pub(crate) fn key_policy(readers: &str) -> KeyPolicy {
    KeyPolicy::new(&config(&[("TRAILSEAL_LOG_READERS", readers)]), &home())
}

/// That policy after another principal changed its statements.
pub(crate) fn changed_policy(readers: &str, change: impl Fn(&mut Vec<Value>)) -> Document {
    let mut policy = json!(key_policy(readers));
    change(policy["Statement"].as_array_mut().unwrap());
    document(&policy)
}
