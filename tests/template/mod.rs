//! What the template comes to: `expanded.json`, which the SAM translator made of template.yaml, deployed
//! in thought. Parameters, conditions and intrinsic functions are resolved as CloudFormation does it; one
//! that is not known here is a panic that names it.

mod arns;
mod resolve;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use resolve::Resolver;

/// Where it is deployed, and with what.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub stack: String,
    pub account: String,
    pub partition: String,
    pub region: String,
    /// Parameters other than the defaults.
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

/// The template as CloudFormation gets it.
pub struct Template(Value);

impl Template {
    pub fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/template/expanded.json");
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// The function's variables that are a parameter's value, and that parameter.
    pub fn parameters_by_variable(&self) -> BTreeMap<String, String> {
        let function = self.only("AWS::Lambda::Function");
        let variables = self.0["Resources"][function]["Properties"]["Environment"]["Variables"].as_object().unwrap();
        let parameter = |value: &Value| {
            let name = value.get("Ref")?.as_str()?;
            self.0["Parameters"].get(name).map(|_| name.to_owned())
        };
        variables.iter().filter_map(|(name, value)| Some((name.clone(), parameter(value)?))).collect()
    }

    /// The parameters that may be left empty.
    pub fn optional_parameters(&self) -> Vec<String> {
        let parameters = self.0["Parameters"].as_object().unwrap().iter();
        parameters.filter(|(_, it)| it["Default"] == "").map(|(name, _)| name.clone()).collect()
    }

    /// Every statement that the function's role has under some parameters, in the template's order.
    pub fn statements(&self) -> Vec<RoleStatement> {
        let mut found = Vec::new();
        statements(&self.0["Resources"][self.role()]["Properties"]["Policies"], "", &mut found);
        found
    }

    pub fn deployed(&self, deployment: &Deployment) -> Stack {
        let resolver = Resolver::new(&self.0, deployment);
        let resources: BTreeMap<String, Resource> = resolver.resources().collect();
        let function = resources[self.only("AWS::Lambda::Function")].clone();
        let role = resources[self.role()].clone();
        Stack { resources, function, role }
    }

    /// The only resource of a type.
    fn only(&self, kind: &str) -> &str {
        let resources = self.0["Resources"].as_object().unwrap();
        let mut of_kind = resources.iter().filter(|(_, resource)| resource["Type"] == kind);
        match (of_kind.next(), of_kind.next()) {
            (Some((id, _)), None) => id,
            _ => panic!("the template has no {kind}, or more than one"),
        }
    }

    /// The function's role.
    fn role(&self) -> &str {
        let role = &self.0["Resources"][self.only("AWS::Lambda::Function")]["Properties"]["Role"]["Fn::GetAtt"];
        role[0].as_str().unwrap_or_else(|| panic!("the function's role is none of the template's: {role}"))
    }
}

/// A statement of the function's role, as far as it hangs on no parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleStatement {
    pub policy: String,
    pub sid: String,
    pub effect: String,
    pub actions: Vec<String>,
}

/// The statements in a value, whichever condition they hang on.
fn statements(value: &Value, policy: &str, found: &mut Vec<RoleStatement>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| statements(value, policy, found)),
        Value::Object(members) if members.contains_key("Effect") => {
            let actions = match &value["Action"] {
                Value::Array(actions) => actions.iter().map(text).collect(),
                action => vec![text(action)],
            };
            let [sid, effect] = ["Sid", "Effect"].map(|name| text(&value[name]));
            found.push(RoleStatement { policy: policy.to_owned(), sid, effect, actions });
        }
        Value::Object(members) => {
            let policy = members.get("PolicyName").and_then(Value::as_str).unwrap_or(policy);
            members.values().for_each(|value| statements(value, policy, found));
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

/// What is deployed.
pub struct Stack {
    /// By logical id; those whose condition does not hold are not there.
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

    /// The policies of the function's role, by name, in the template's order.
    pub fn policies(&self) -> Vec<(String, Value)> {
        // Rights could come from there, too: whoever adds them has them judged.
        let attached = ["AWS::IAM::Policy", "AWS::IAM::RolePolicy", "AWS::IAM::ManagedPolicy"];
        let attached = self.resources.values().filter(|resource| attached.contains(&resource.kind.as_str()));
        assert_eq!(attached.count(), 0, "policies outside the role are not looked at here");
        assert!(self.role.properties.get("ManagedPolicyArns").is_none(), "managed policies are not looked at here");
        let policies = self.role.properties["Policies"].as_array().unwrap();
        policies.iter().map(|policy| (text(&policy["PolicyName"]), policy["PolicyDocument"].clone())).collect()
    }
}

/// A scalar as CloudFormation passes it on.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        other => panic!("{other} is no text"),
    }
}
