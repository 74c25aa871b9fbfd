//! CloudFormation's conditions and intrinsic functions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Deployment, Resource, text};

pub struct Resolver<'a> {
    pub template: &'a Value,
    pub deployment: &'a Deployment,
    parameters: BTreeMap<&'a str, Value>,
}

impl<'a> Resolver<'a> {
    pub fn new(template: &'a Value, deployment: &'a Deployment) -> Self {
        let declared = template["Parameters"].as_object().unwrap();
        for name in deployment.parameters.keys() {
            assert!(declared.contains_key(name), "the template has no parameter {name}");
        }
        let value = |(name, parameter): (&'a String, &'a Value)| {
            let given = deployment.parameters.get(name).map(|text| json!(text));
            let value = given.or_else(|| parameter.get("Default").cloned());
            let value = value.unwrap_or_else(|| panic!("the parameter {name} has no value and no default"));
            let allowed = parameter["AllowedValues"].as_array();
            let valid = allowed.is_none_or(|values| values.iter().any(|allowed| text(allowed) == text(&value)));
            assert!(valid, "the parameter {name} does not allow {value}");
            let kind = parameter["Type"].as_str().unwrap();
            let is_list = kind == "CommaDelimitedList" || kind.starts_with("List<");
            let listed = || text(&value).split(',').map(str::trim).map(Value::from).collect();
            (name.as_str(), if is_list { listed() } else { value })
        };
        Self { template, deployment, parameters: declared.iter().map(value).collect() }
    }

    /// The resources whose condition is true, by logical ID.
    pub fn resources(&self) -> impl Iterator<Item = (String, Resource)> {
        let declared = self.template["Resources"].as_object().unwrap().iter();
        let existing = declared.filter(|(_, it)| it["Condition"].as_str().is_none_or(|name| self.condition(name)));
        existing.map(|(id, it)| {
            let properties = it.get("Properties").and_then(|properties| self.resolve(properties));
            let resource = Resource { kind: text(&it["Type"]), properties: properties.unwrap_or_default() };
            (id.clone(), resource)
        })
    }

    /// Replaces the intrinsic functions in a value. `None` is `AWS::NoValue`.
    pub fn resolve(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(values) => Some(values.iter().filter_map(|value| self.resolve(value)).collect()),
            Value::Object(members) => match intrinsic(members) {
                Some((function, argument)) => self.call(function, argument),
                None => {
                    let members = members.iter().filter_map(|(name, value)| Some((name.clone(), self.resolve(value)?)));
                    Some(Value::Object(members.collect()))
                }
            },
            scalar => Some(scalar.clone()),
        }
    }

    fn call(&self, function: &str, argument: &Value) -> Option<Value> {
        let item = |index: usize| self.resolve_some(&argument[index]);
        Some(match function {
            "Ref" => return self.resolve_ref(argument.as_str().unwrap()),
            "Fn::If" => {
                let condition = self.condition(argument[0].as_str().unwrap());
                return self.resolve(&argument[if condition { 1 } else { 2 }]);
            }
            "Fn::GetAtt" => {
                let path = argument.as_array().unwrap();
                let attribute: Vec<String> = path.iter().skip(1).map(text).collect();
                json!(self.attribute(path[0].as_str().unwrap(), &attribute.join(".")))
            }
            "Fn::Sub" => json!(self.substitute(argument)),
            "Fn::Join" => json!(self.texts(&argument[1]).join(&text(&item(0)))),
            "Fn::Split" => text(&item(1)).split(&text(&item(0))).map(Value::from).collect(),
            "Fn::Select" => item(1)[text(&item(0)).parse::<usize>().unwrap()].clone(),
            "Fn::FindInMap" => {
                let [map, first, second] = [0, 1, 2].map(|index| text(&item(index)));
                let value = self.template["Mappings"][&map][&first].get(&second);
                value.unwrap_or_else(|| panic!("the mapping {map} has no {first}, {second}")).clone()
            }
            "Fn::Equals" | "Fn::Not" | "Fn::And" | "Fn::Or" | "Condition" => {
                json!(self.evaluate(&json!({ (function): argument })))
            }
            function => panic!("unsupported intrinsic function {function}"),
        })
    }

    fn resolve_some(&self, value: &Value) -> Value {
        self.resolve(value).unwrap_or_else(|| panic!("AWS::NoValue where a value is required: {value}"))
    }

    fn texts(&self, list: &Value) -> Vec<String> {
        self.resolve_some(list).as_array().unwrap().iter().map(text).collect()
    }

    fn condition(&self, name: &str) -> bool {
        let condition = self.template["Conditions"].get(name);
        self.evaluate(condition.unwrap_or_else(|| panic!("the template has no condition {name}")))
    }

    fn evaluate(&self, condition: &Value) -> bool {
        let (function, argument) = intrinsic(condition.as_object().unwrap()).unwrap();
        let each = || argument.as_array().unwrap().iter();
        match function {
            "Condition" => self.condition(argument.as_str().unwrap()),
            "Fn::Equals" => text(&self.resolve_some(&argument[0])) == text(&self.resolve_some(&argument[1])),
            "Fn::Not" => !self.evaluate(&argument[0]),
            "Fn::And" => each().all(|condition| self.evaluate(condition)),
            "Fn::Or" => each().any(|condition| self.evaluate(condition)),
            function => panic!("unsupported condition function {function}"),
        }
    }

    /// The value of `Ref`.
    pub fn resolve_ref(&self, name: &str) -> Option<Value> {
        let Deployment { stack, account, partition, region, .. } = self.deployment;
        Some(json!(match name {
            "AWS::NoValue" => return None,
            "AWS::AccountId" => account.clone(),
            "AWS::Partition" => partition.clone(),
            "AWS::Region" => region.clone(),
            "AWS::StackName" => stack.clone(),
            "AWS::StackId" => {
                format!(
                    "arn:{partition}:cloudformation:{region}:{account}:stack/{stack}/00000000-0000-4000-8000-000000000000"
                )
            }
            "AWS::URLSuffix" => match partition.as_str() {
                "aws-cn" => "amazonaws.com.cn".into(),
                "aws-eusc" => "amazonaws.eu".into(),
                _ => "amazonaws.com".into(),
            },
            _ => match self.parameters.get(name) {
                Some(value) => return Some(value.clone()),
                None => self.resource_ref(name),
            },
        }))
    }

    /// The value of `Fn::Sub` in its two forms: a string, or a list of a string and variables.
    fn substitute(&self, argument: &Value) -> String {
        let none = Map::new();
        let (pattern, variables) = match argument {
            Value::Array(items) => (text(&items[0]), items[1].as_object().unwrap()),
            pattern => (text(pattern), &none),
        };
        let mut parts = pattern.split("${");
        let mut result = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap();
            let value = match (name.strip_prefix('!'), variables.get(name), name.split_once('.')) {
                // `${!Literal}` is `${Literal}`.
                (Some(literal), ..) => format!("${{{literal}}}"),
                (_, Some(value), _) => text(&self.resolve_some(value)),
                (.., Some((resource, attribute))) => self.attribute(resource, attribute),
                _ => text(&self.resolve_ref(name).unwrap()),
            };
            result.extend([value.as_str(), rest]);
        }
        result
    }
}

/// The function and its argument, if this object is an intrinsic function call.
fn intrinsic(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = members.iter().next().filter(|_| members.len() == 1)?;
    // A policy statement has more members than its condition.
    let is_call = name == "Ref" || name.starts_with("Fn::") || (name == "Condition" && argument.is_string());
    is_call.then_some((name, argument))
}
