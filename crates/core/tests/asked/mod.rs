//! A question to a policy, written as JSON.

use serde_json::{Map, Value};
use trailseal_core::iam::{Caller, Context, Decision, Document, Identity, Request, evaluate};

/// A service by its name, an identity by its ARN, or `anonymous`.
pub(crate) fn caller(text: &str) -> Caller {
    match text {
        "anonymous" => Caller::Anonymous,
        arn if arn.starts_with("arn:") => Caller::Identity(Identity::parse(arn).unwrap()),
        service => Caller::service(service),
    }
}

/// A text or an array: these values. `null`: absent. `{}`: there, with a value that nobody knows.
pub(crate) fn context(keys: Option<&Map<String, Value>>) -> Context {
    keys.into_iter().flatten().fold(Context::new(), |context, (key, value)| match value {
        Value::String(value) => context.with(key, value),
        Value::Array(values) => context.with_all(key, values.iter().map(|value| value.as_str().unwrap())),
        Value::Null => context.without(key),
        Value::Object(_) => context.with_some(key),
        other => panic!("{other} is no fact about `{key}`"),
    })
}

pub(crate) fn request(asked: &Value) -> Request {
    let context = context(asked["context"].as_object());
    let prefixes = asked["absent_below"].as_array().into_iter().flatten();
    Request {
        caller: caller(asked["caller"].as_str().unwrap()),
        action: asked["action"].as_str().unwrap().to_owned(),
        resource: asked["resource"].as_str().unwrap().to_owned(),
        context: prefixes.fold(context, |context, prefix| context.without_any(prefix.as_str().unwrap())),
    }
}

/// What a policy decides about a request; unknown if the policy is malformed.
pub(crate) fn decide(policy: &str, request: &Value) -> Decision {
    match Document::parse(policy) {
        Ok(document) => evaluate(&document, &self::request(request)),
        Err(_) => Decision::Unknown(Vec::new()),
    }
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

/// From denied to unknown to allowed.
pub(crate) fn rank(decision: &Decision) -> u8 {
    match decision {
        Decision::ExplicitDeny(_) | Decision::ImplicitDeny(_) => 0,
        Decision::Unknown(_) => 1,
        Decision::Delegated(_) => 2,
        Decision::Allowed(_) => 3,
    }
}
