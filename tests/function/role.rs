//! The rights of the deployed function's role, as the template gives them to a scene.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fake_aws::IdentityPolicy;

use crate::template::{Deployment, Stack, Template};

static TEMPLATE: LazyLock<Template> = LazyLock::new(Template::read);

/// The stack whose function has this ARN and, as far as parameters set them, these variables.
pub fn stack(function_arn: &str, variables: &BTreeMap<String, String>) -> Stack {
    let parts: Vec<&str> = function_arn.split(':').collect();
    let [_, partition, _, region, account, _, name] = parts[..] else { panic!("{function_arn} is no function's ARN") };
    let deployment = Deployment::new(name, account, partition, region);
    let parameters = TEMPLATE.parameters_by_variable();
    let given = parameters.iter().filter_map(|(variable, parameter)| Some((parameter, variables.get(variable)?)));
    let deployment = given.fold(deployment, |deployment, (parameter, value)| deployment.with(parameter, value));
    TEMPLATE.deployed(&deployment)
}

/// The policies of that function's role. What a variable takes from another resource of the stack, like the
/// topic, is called in the policies what it is called in the scene.
pub fn policies(function_arn: &str, variables: &BTreeMap<String, String>) -> Vec<IdentityPolicy> {
    let stack = stack(function_arn, variables);
    let environment = stack.environment();
    let named = |(variable, ours): (&String, &String)| {
        let theirs = environment.get(variable).filter(|theirs| theirs.starts_with("arn:") && !ours.is_empty())?;
        Some((format!("\"{theirs}\""), format!("\"{ours}\"")))
    };
    let names: Vec<(String, String)> = variables.iter().filter_map(named).collect();
    let policies = stack.policies().into_iter().map(|(name, document)| {
        let text = names.iter().fold(document.to_string(), |text, (theirs, ours)| text.replace(theirs, ours));
        IdentityPolicy::new(&name, serde_json::from_str(&text).unwrap())
    });
    policies.collect()
}
