//! Resolves `expanded.json`, the output of the SAM translator for template.yaml, as CloudFormation would:
//! parameters, conditions and intrinsic functions. An unsupported one panics.

mod arns;
mod resolve;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use resolve::Resolver;

/// The target and the parameters of a deployment.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub stack: String,
    pub account: String,
    pub partition: String,
    pub region: String,
    /// Only those that differ from the defaults.
    pub parameters: BTreeMap<String, String>,
}

impl Deployment {
    pub fn new(stack: &str, account: &str, partition: &str, region: &str) -> Self {
        let [stack, account, partition, region] = [stack, account, partition, region].map(str::to_owned);
        Self { stack, account, partition, region, parameters: BTreeMap::new() }
    }

    pub fn with(mut self, parameter: &str, value: &str) -> Self {
        self.parameters.insert(parameter.to_owned(), value.to_owned());
        self
    }
}

/// The template as CloudFormation receives it.
pub struct Template(Value);

impl Template {
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/template/expanded.json");
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// The function's variables whose value is a parameter, with that parameter.
    pub fn parameters_by_variable(&self) -> BTreeMap<String, String> {
        let function = self.only("AWS::Lambda::Function");
        let variables = self.0["Resources"][function]["Properties"]["Environment"]["Variables"].as_object().unwrap();
        let parameter = |value: &Value| {
            let name = value.get("Ref")?.as_str()?;
            self.0["Parameters"].get(name).map(|_| name.to_owned())
        };
        variables.iter().filter_map(|(name, value)| Some((name.clone(), parameter(value)?))).collect()
    }

    /// The parameters that are empty by default.
    pub fn optional_parameters(&self) -> Vec<String> {
        let parameters = self.0["Parameters"].as_object().unwrap().iter();
        parameters.filter(|(_, parameter)| parameter["Default"] == "").map(|(name, _)| name.clone()).collect()
    }

    /// Every statement that the function's role can have, in the template's order.
    pub fn statements(&self) -> Vec<RoleStatement> {
        let mut statements = Vec::new();
        collect_statements(&self.0["Resources"][self.role()]["Properties"]["Policies"], "", &mut statements);
        statements
    }

    pub fn deploy(&self, deployment: &Deployment) -> Stack {
        let resolver = Resolver::new(&self.0, deployment);
        let resources: BTreeMap<String, Resource> = resolver.resources().collect();
        let function = resources[self.only("AWS::Lambda::Function")].clone();
        let role = resources[self.role()].clone();
        Stack { resources, function, role }
    }

    /// The logical ID of the only resource of a type.
    fn only(&self, kind: &str) -> &str {
        let resources = self.0["Resources"].as_object().unwrap();
        let mut of_kind = resources.iter().filter(|(_, resource)| resource["Type"] == kind);
        match (of_kind.next(), of_kind.next()) {
            (Some((id, _)), None) => id,
            _ => panic!("the template does not have exactly one {kind}"),
        }
    }

    /// The logical ID of the function's role.
    fn role(&self) -> &str {
        let role = &self.0["Resources"][self.only("AWS::Lambda::Function")]["Properties"]["Role"]["Fn::GetAtt"];
        role[0].as_str().unwrap_or_else(|| panic!("the function's role is not a resource of the template: {role}"))
    }
}

/// The parts of a role statement that depend on no parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleStatement {
    pub policy: String,
    pub sid: String,
    pub effect: String,
    pub actions: Vec<String>,
}

/// Collects the statements of both branches of every condition.
fn collect_statements(value: &Value, policy: &str, statements: &mut Vec<RoleStatement>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_statements(value, policy, statements)),
        Value::Object(members) if members.contains_key("Effect") => {
            let actions = match &value["Action"] {
                // A Deny with `NotAction`.
                Value::Null => Vec::new(),
                Value::Array(actions) => actions.iter().map(text).collect(),
                action => vec![text(action)],
            };
            let [sid, effect] = ["Sid", "Effect"].map(|name| text(&value[name]));
            statements.push(RoleStatement { policy: policy.to_owned(), sid, effect, actions });
        }
        Value::Object(members) => {
            let policy = members.get("PolicyName").and_then(Value::as_str).unwrap_or(policy);
            members.values().for_each(|value| collect_statements(value, policy, statements));
        }
        _ => {}
    }
}

/// A resource with its properties resolved.
#[derive(Clone, Debug)]
pub struct Resource {
    pub kind: String,
    pub properties: Value,
}

/// A deployed stack.
pub struct Stack {
    /// By logical ID, without those whose condition is false.
    pub resources: BTreeMap<String, Resource>,
    pub function: Resource,
    pub role: Resource,
}

impl Stack {
    /// The function's environment.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let variables = self.function.properties["Environment"]["Variables"].as_object().unwrap();
        variables.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// The inline policies of the function's role, in the template's order. Panics if it could have others.
    pub fn policies(&self) -> Vec<(String, Value)> {
        let attached = ["AWS::IAM::Policy", "AWS::IAM::RolePolicy", "AWS::IAM::ManagedPolicy"];
        let attached = self.resources.values().filter(|resource| attached.contains(&resource.kind.as_str()));
        assert_eq!(attached.count(), 0, "policies outside the role are unsupported");
        assert!(self.role.properties.get("ManagedPolicyArns").is_none(), "managed policies are unsupported");
        let policies = self.role.properties["Policies"].as_array().unwrap();
        policies.iter().map(|policy| (text(&policy["PolicyName"]), policy["PolicyDocument"].clone())).collect()
    }
}

/// A scalar in the string form that CloudFormation uses.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        other => panic!("{other} is not a scalar"),
    }
}
