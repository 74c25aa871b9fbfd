//! The rights of the deployed function's role, as the template gives them to a scene.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use fake_aws::{Authorization, IdentityPolicy, Statement};

use crate::template::{Deployment, Stack, Template};

static TEMPLATE: LazyLock<Template> = LazyLock::new(Template::read);

/// The function in most scenes.
pub const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:trailseal";

/// What the function asks for though its role lacks the right.
pub const REFUSED: [(&str, &str); 1] = [("s3:ListBucket", "S3 tells the Region of a bucket in its refusal, too")];

/// The actions that the role's rights were too few for.
pub fn missing(asked: &[Authorization]) -> BTreeSet<&str> {
    let refused = asked.iter().filter(|asked| !asked.decision.is_allowed());
    let actions = refused.map(|asked| asked.request.action.as_str());
    actions.filter(|action| REFUSED.iter().all(|(refused, _)| refused != action)).collect()
}

pub type Texts = BTreeMap<String, String>;

/// The policies of the role in a mode, with those parameters set.
pub fn in_mode(mode: &str, parameters: &Texts) -> Vec<IdentityPolicy> {
    policies(FUNCTION, &Texts::from([("TRAILSEAL_MODE".to_owned(), mode.to_owned())]), parameters)
}

/// Every action that the role is allowed under some parameters, with its policy and statement.
pub fn allowed_actions() -> BTreeSet<(Statement, String)> {
    let statements = TEMPLATE.statements().into_iter().filter(|it| it.effect == "Allow");
    let each = statements.flat_map(|it| {
        let statement = Statement::Identity { policy: it.policy, sid: it.sid };
        it.actions.into_iter().map(move |action| (statement.clone(), action))
    });
    each.collect()
}

/// Every parameter that may be left empty, set to something.
pub fn every_parameter() -> Texts {
    TEMPLATE.optional_parameters().into_iter().map(|name| (name, "set".to_owned())).collect()
}

/// The stack whose function has this ARN and, as far as parameters set them, these variables.
fn stack(function_arn: &str, variables: &Texts, more: &Texts) -> Stack {
    let parts: Vec<&str> = function_arn.split(':').collect();
    let [_, partition, _, region, account, _, name] = parts[..] else { panic!("{function_arn} is no function's ARN") };
    let deployment = Deployment::new(name, account, partition, region);
    let parameters = TEMPLATE.parameters_by_variable();
    let of_variables = |(variable, parameter)| Some((parameter, variables.get(variable)?));
    let given = more.iter().chain(parameters.iter().filter_map(of_variables));
    let deployment = given.fold(deployment, |deployment, (parameter, value)| deployment.with(parameter, value));
    TEMPLATE.deployed(&deployment)
}

/// The policies of that function's role. What a variable takes from another resource of the stack, like the
/// topic, is called in the policies what it is called in the scene.
pub fn policies(function_arn: &str, variables: &Texts, more: &Texts) -> Vec<IdentityPolicy> {
    let stack = stack(function_arn, variables, more);
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
