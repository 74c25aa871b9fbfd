//! What the unit tests of several modules need.

use crate::config::Config;
use crate::ids::FunctionArn;

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
