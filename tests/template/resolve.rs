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
            let value = value.unwrap_or_else(|| panic!("the parameter {name} has no default and was not given"));
            let allowed = parameter["AllowedValues"].as_array();
            let fits = allowed.is_none_or(|values| values.iter().any(|allowed| text(allowed) == text(&value)));
            assert!(fits, "the parameter {name} does not take {value}");
            let kind = parameter["Type"].as_str().unwrap();
            let is_list = kind == "CommaDelimitedList" || kind.starts_with("List<");
            let listed = || text(&value).split(',').map(str::trim).map(Value::from).collect();
            (name.as_str(), if is_list { listed() } else { value })
        };
        Self { template, deployment, parameters: declared.iter().map(value).collect() }
    }

    /// The resources that are there, by logical id.
    pub fn resources(&self) -> impl Iterator<Item = (String, Resource)> {
        let declared = self.template["Resources"].as_object().unwrap().iter();
        let there = declared.filter(|(_, it)| it["Condition"].as_str().is_none_or(|name| self.named_condition(name)));
        there.map(|(id, it)| {
            let properties = it.get("Properties").and_then(|properties| self.resolved(properties));
            let resource = Resource { kind: text(&it["Type"]), properties: properties.unwrap_or_default() };
            (id.clone(), resource)
        })
    }

    /// A value without its intrinsic functions; none for `AWS::NoValue`.
    pub fn resolved(&self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(values) => Some(values.iter().filter_map(|value| self.resolved(value)).collect()),
            Value::Object(members) => match intrinsic(members) {
                Some((function, argument)) => self.call(function, argument),
                None => {
                    let members =
                        members.iter().filter_map(|(name, value)| Some((name.clone(), self.resolved(value)?)));
                    Some(Value::Object(members.collect()))
                }
            },
            scalar => Some(scalar.clone()),
        }
    }

    fn call(&self, function: &str, argument: &Value) -> Option<Value> {
        let given = |at: usize| self.some(&argument[at]);
        Some(match function {
            "Ref" => return self.reference(argument.as_str().unwrap()),
            "Fn::If" => {
                let holds = self.named_condition(argument[0].as_str().unwrap());
                return self.resolved(&argument[if holds { 1 } else { 2 }]);
            }
            "Fn::GetAtt" => {
                let path = argument.as_array().unwrap();
                let attribute: Vec<String> = path.iter().skip(1).map(text).collect();
                json!(self.attribute(path[0].as_str().unwrap(), &attribute.join(".")))
            }
            "Fn::Sub" => json!(self.substituted(argument)),
            "Fn::Join" => json!(self.texts(&argument[1]).join(&text(&given(0)))),
            "Fn::Split" => text(&given(1)).split(&text(&given(0))).map(Value::from).collect(),
            "Fn::Select" => given(1)[text(&given(0)).parse::<usize>().unwrap()].clone(),
            "Fn::FindInMap" => {
                let [map, first, second] = [0, 1, 2].map(|at| text(&given(at)));
                let found = self.template["Mappings"][&map][&first].get(&second);
                found.unwrap_or_else(|| panic!("the mapping {map} has no {first}, {second}")).clone()
            }
            "Fn::Equals" | "Fn::Not" | "Fn::And" | "Fn::Or" | "Condition" => {
                json!(self.holds(&json!({ (function): argument })))
            }
            function => panic!("the intrinsic function {function} is not known here"),
        })
    }

    fn some(&self, value: &Value) -> Value {
        self.resolved(value).unwrap_or_else(|| panic!("AWS::NoValue where a value is needed: {value}"))
    }

    fn texts(&self, list: &Value) -> Vec<String> {
        self.some(list).as_array().unwrap().iter().map(text).collect()
    }

    fn named_condition(&self, name: &str) -> bool {
        let condition = self.template["Conditions"].get(name);
        self.holds(condition.unwrap_or_else(|| panic!("the template has no condition {name}")))
    }

    fn holds(&self, condition: &Value) -> bool {
        let (function, argument) = intrinsic(condition.as_object().unwrap()).unwrap();
        let each = || argument.as_array().unwrap().iter();
        match function {
            "Condition" => self.named_condition(argument.as_str().unwrap()),
            "Fn::Equals" => text(&self.some(&argument[0])) == text(&self.some(&argument[1])),
            "Fn::Not" => !self.holds(&argument[0]),
            "Fn::And" => each().all(|condition| self.holds(condition)),
            "Fn::Or" => each().any(|condition| self.holds(condition)),
            function => panic!("the condition function {function} is not known here"),
        }
    }

    /// What `Ref` comes to.
    pub fn reference(&self, name: &str) -> Option<Value> {
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
                None => self.referred(name),
            },
        }))
    }

    /// `Fn::Sub`, with variables of its own or without.
    fn substituted(&self, argument: &Value) -> String {
        let none = Map::new();
        let (pattern, own) = match argument {
            Value::Array(both) => (text(&both[0]), both[1].as_object().unwrap()),
            pattern => (text(pattern), &none),
        };
        let mut parts = pattern.split("${");
        let mut whole = parts.next().unwrap().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap();
            let value = match (name.strip_prefix('!'), own.get(name), name.split_once('.')) {
                // An exclamation mark keeps it as it stands.
                (Some(literal), ..) => format!("${{{literal}}}"),
                (_, Some(value), _) => text(&self.some(value)),
                (.., Some((resource, attribute))) => self.attribute(resource, attribute),
                _ => text(&self.reference(name).unwrap()),
            };
            whole.extend([value.as_str(), rest]);
        }
        whole
    }
}

/// The function and its argument, if this object is a call.
fn intrinsic(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = members.iter().next().filter(|_| members.len() == 1)?;
    // A policy statement's only member is never its condition.
    let is_call = name == "Ref" || name.starts_with("Fn::") || (name == "Condition" && argument.is_string());
    is_call.then_some((name, argument))
}
