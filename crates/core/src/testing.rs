//! What the unit tests of several modules need.

use crate::config::Config;
use crate::iam::Decision;
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

/// A decision in a word or two.
pub(crate) fn outcome(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allowed(_) => "allowed",
        Decision::Delegated(_) => "delegated",
        Decision::ExplicitDeny(_) => "explicit deny",
        Decision::ImplicitDeny(_) => "implicit deny",
        Decision::Unknown(_) => "unknown",
    }
}
