//! A question to a policy, written as JSON.

use serde_json::{Map, Value};
use trailseal_core::iam::evaluate::Says;
use trailseal_core::iam::request::{Caller, Context, Identity, Question};

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

pub(crate) fn question(asked: &Value) -> Question {
    let context = context(asked["context"].as_object());
    let prefixes = asked["absent_below"].as_array().into_iter().flatten();
    Question {
        caller: caller(asked["caller"].as_str().unwrap()),
        action: asked["action"].as_str().unwrap().to_owned(),
        resource: asked["resource"].as_str().unwrap().to_owned(),
        context: prefixes.fold(context, |context, prefix| context.without_any(prefix.as_str().unwrap())),
    }
}

pub(crate) fn says(text: &str) -> Says {
    match text {
        "yes" => Says::Yes,
        "account" => Says::AccountDecides,
        "no" => Says::No,
        "cannot tell" => Says::CannotTell,
        other => panic!("`{other}` is no verdict"),
    }
}
