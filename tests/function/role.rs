//! The policies that the template gives the function's role.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use fake_aws::{Authorization, IdentityPolicy, Statement};

use crate::template::{Deployment, Stack, Template};

static TEMPLATE: LazyLock<Template> = LazyLock::new(Template::read);

/// The ARN of the function in most scenarios.
pub const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal";

/// Calls that the function makes although its role is denied them.
pub const DENIED: [(&str, &str); 1] = [("s3:ListBucket", "S3 returns the bucket's Region with the denial")];

/// The actions that the role was denied, without the expected ones.
pub fn missing(authorizations: &[Authorization]) -> BTreeSet<&str> {
    let denied = authorizations.iter().filter(|it| !it.decision.is_allowed());
    let actions = denied.map(|it| it.request.action.as_str());
    actions.filter(|action| DENIED.iter().all(|(expected, _)| expected != action)).collect()
}

pub type Texts = BTreeMap<String, String>;

/// The role's policies in a mode with those parameters.
pub fn in_mode(mode: &str, parameters: &Texts) -> Vec<IdentityPolicy> {
    policies(FUNCTION, &Texts::from([("TRAILSEAL_MODE".to_owned(), mode.to_owned())]), parameters)
}

/// Every action that the role is allowed with some parameters, with its statement.
pub fn allowed_actions() -> BTreeSet<(Statement, String)> {
    let statements = TEMPLATE.statements().into_iter().filter(|it| it.effect == "Allow");
    let each = statements.flat_map(|it| {
        let statement = Statement::Identity { policy: it.policy, sid: it.sid };
        it.actions.into_iter().map(move |action| (statement.clone(), action))
    });
    each.collect()
}

/// A value for every optional parameter.
pub fn every_parameter() -> Texts {
    TEMPLATE.optional_parameters().into_iter().map(|name| (name, "set".to_owned())).collect()
}

/// The stack of the function with this ARN, deployed with the parameters that set these variables.
fn stack(function_arn: &str, variables: &Texts, parameters: &Texts) -> Stack {
    let parts: Vec<&str> = function_arn.split(':').collect();
    let [_, partition, _, region, account, _, name] = parts[..] else {
        panic!("{function_arn} is not a function's ARN")
    };
    let deployment = Deployment::new(name, account, partition, region);
    let by_variable = TEMPLATE.parameters_by_variable();
    let of_variables = |(variable, parameter)| Some((parameter, variables.get(variable)?));
    let given = parameters.iter().chain(by_variable.iter().filter_map(of_variables));
    let deployment = given.fold(deployment, |deployment, (parameter, value)| deployment.with(parameter, value));
    TEMPLATE.deploy(&deployment)
}

/// The policies of that function's role. ARNs of the stack's other resources, such as the topic, are replaced by the
/// scenario's.
pub fn policies(function_arn: &str, variables: &Texts, parameters: &Texts) -> Vec<IdentityPolicy> {
    let stack = stack(function_arn, variables, parameters);
    let environment = stack.environment();
    let named = |(variable, value): (&String, &String)| {
        let resolved = environment.get(variable).filter(|it| it.starts_with("arn:") && !value.is_empty())?;
        Some((format!("\"{resolved}\""), format!("\"{value}\"")))
    };
    let names: Vec<(String, String)> = variables.iter().filter_map(named).collect();
    let policies = stack.policies().into_iter().map(|(name, document)| {
        let text = names.iter().fold(document.to_string(), |text, (resolved, value)| text.replace(resolved, value));
        IdentityPolicy::new(&name, serde_json::from_str(&text).unwrap())
    });
    policies.collect()
}
