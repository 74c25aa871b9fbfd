//! CloudFormation's intrinsic functions, as far as a template alone determines their values.
//!
//! The name or ARN of a resource of the template is a literal name in the template, or one that stands for it: a policy only
//! tests whether it is the same. Everything else becomes a stand-in, which the evaluator treats as unknown.
//!
//! Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html>.

use std::cell::{Cell, RefCell};

use trailseal_core::iam::UNRESOLVED;

use super::node::{Kind, Node};
use super::source::{Place, Unresolved, scalar_text, stand_in};

/// How far names may refer to other names.
const MAX_DEPTH: usize = 16;

/// Resolves the functions in the values of a template.
pub(super) struct Resolver<'a> {
    resources: &'a Node,
    parameters: &'a [(String, Node)],
    place: &'a Place,
    unresolved: RefCell<Vec<Unresolved>>,
    depth: Cell<usize>,
}

/// What a function returns.
enum Value {
    Text(String),
    List(Vec<String>),
    /// The property or the element is left out.
    None,
    Unresolved(Unresolved),
}

impl<'a> Resolver<'a> {
    pub(super) fn new(resources: &'a Node, parameters: &'a [(String, Node)], place: &'a Place) -> Self {
        Self { resources, parameters, place, unresolved: RefCell::default(), depth: Cell::new(0) }
    }

    /// A value with every function resolved, and what is not resolved in it.
    pub(super) fn resolve(&self, node: &Node) -> (Node, Vec<Unresolved>) {
        self.unresolved.take();
        let resolved = self.node(node).unwrap_or(Node { line: node.line, kind: Kind::Null });
        (resolved, self.unresolved.take())
    }

    /// A value as a text. What is not resolved in it stays a stand-in.
    pub(super) fn text(&self, node: &Node) -> Option<String> {
        if self.depth.get() >= MAX_DEPTH {
            return None;
        }
        self.depth.set(self.depth.get().saturating_add(1));
        let recorded = self.unresolved.borrow().len();
        let text = self.node(node).as_ref().and_then(scalar_text);
        self.unresolved.borrow_mut().truncate(recorded);
        self.depth.set(self.depth.get().saturating_sub(1));
        text
    }

    /// A resource of this type, by its logical ID.
    fn properties(&self, id: &str) -> Option<(&'a str, Option<&'a Node>)> {
        let resource = self.resources.get(id)?;
        Some((resource.get("Type")?.text()?, resource.get("Properties")))
    }

    /// The name of a resource: the literal one in its property, or its logical ID.
    pub(super) fn name(&self, id: &str, property: &str) -> String {
        let literal = self.properties(id).and_then(|(_, properties)| self.text(properties?.get(property)?));
        literal.filter(|name| !name.contains(UNRESOLVED)).unwrap_or_else(|| stand_in_name(id))
    }

    fn node(&self, node: &Node) -> Option<Node> {
        let of = |kind| Some(Node { line: node.line, kind });
        match &node.kind {
            Kind::Tagged(tag, argument) => match tag.as_str() {
                "Ref" | "Condition" => self.call(tag, argument, node.line),
                _ => self.call(&format!("Fn::{tag}"), argument, node.line),
            },
            Kind::Map(members) => match members.as_slice() {
                [(name, argument)] if name == "Ref" || name.starts_with("Fn::") => self.call(name, argument, node.line),
                members => {
                    let member = |(name, value): &(String, Node)| Some((name.clone(), self.node(value)?));
                    of(Kind::Map(members.iter().filter_map(member).collect()))
                }
            },
            Kind::List(elements) => of(Kind::List(elements.iter().filter_map(|it| self.node(it)).collect())),
            Kind::Number(text) => of(Kind::Text(text.clone())),
            Kind::Bool(value) => of(Kind::Text(value.to_string())),
            Kind::Null | Kind::Text(_) => of(node.kind.clone()),
        }
    }

    fn call(&self, function: &str, argument: &Node, line: usize) -> Option<Node> {
        let value = match function {
            "Ref" => argument.text().map(|id| self.reference(id, line)),
            "Fn::GetAtt" => attribute(argument).map(|(id, name)| self.attribute(&id, &name, line)),
            "Fn::Sub" => self.substitute(argument),
            "Fn::Join" => self.join(argument),
            _ => None,
        };
        let open = || open(function, Some(line), line);
        match value.unwrap_or_else(open) {
            Value::None => None,
            Value::Text(text) => Some(Node { line, kind: Kind::Text(text) }),
            Value::List(texts) => {
                let elements = texts.into_iter().map(|text| Node { line, kind: Kind::Text(text) });
                Some(Node { line, kind: Kind::List(elements.collect()) })
            }
            Value::Unresolved(unresolved) => Some(Node { line, kind: Kind::Text(self.record(unresolved)) }),
        }
    }

    fn record(&self, unresolved: Unresolved) -> String {
        let stand_in = unresolved.stand_in.clone();
        let mut all = self.unresolved.borrow_mut();
        if !all.contains(&unresolved) {
            all.push(unresolved);
        }
        stand_in
    }

    /// Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/pseudo-parameter-reference.html>.
    fn reference(&self, id: &str, line: usize) -> Value {
        if let Some(value) = self.parameter(id) {
            return value;
        }
        let Place { partition, account, region, .. } = self.place;
        let text = match id {
            "AWS::NoValue" => return Value::None,
            "AWS::AccountId" => Some(account.to_string()),
            "AWS::Region" => Some(region.to_string()),
            "AWS::Partition" => Some(partition.to_string()),
            "AWS::URLSuffix" => match partition.as_str() {
                "aws" | "aws-us-gov" => Some("amazonaws.com".to_owned()),
                "aws-cn" => Some("amazonaws.com.cn".to_owned()),
                _ => None,
            },
            _ => self.properties(id).and_then(|(kind, _)| match kind {
                "AWS::S3::Bucket" => Some(self.name(id, "BucketName")),
                "AWS::KMS::Key" => Some(stand_in_name(id)),
                "AWS::KMS::Alias" => Some(self.name(id, "AliasName")),
                "AWS::CloudTrail::Trail" => Some(self.name(id, "TrailName")),
                "AWS::IAM::Role" => Some(self.name(id, "RoleName")),
                "AWS::IAM::User" => Some(self.name(id, "UserName")),
                _ => None,
            }),
        };
        text.map_or_else(|| open(&format!("Ref {id}"), None, line), Value::Text)
    }

    /// A parameter whose value is given. Of a parameter in Systems Manager, that is only the name.
    fn parameter(&self, name: &str) -> Option<Value> {
        let value = self.place.parameters.get(name)?;
        let (_, declared) = self.parameters.iter().find(|(declared, _)| declared == name)?;
        match declared.get("Type").and_then(Node::text)? {
            kind if kind.starts_with("AWS::SSM::Parameter::Value") => None,
            kind if kind == "CommaDelimitedList" || kind.starts_with("List<") => {
                Some(Value::List(value.split(',').map(|element| element.trim().to_owned()).collect()))
            }
            _ => Some(Value::Text(value.clone())),
        }
    }

    fn attribute(&self, id: &str, name: &str, line: usize) -> Value {
        let Place { partition, account, region, .. } = self.place;
        let text = self.properties(id).and_then(|(kind, _)| match (kind, name) {
            ("AWS::S3::Bucket", "Arn") => Some(format!("arn:{partition}:s3:::{}", self.name(id, "BucketName"))),
            ("AWS::KMS::Key", "KeyId") => Some(stand_in_name(id)),
            ("AWS::KMS::Key", "Arn") => {
                Some(format!("arn:{partition}:kms:{region}:{account}:key/{}", stand_in_name(id)))
            }
            ("AWS::CloudTrail::Trail", "Arn") => {
                Some(format!("arn:{partition}:cloudtrail:{region}:{account}:trail/{}", self.name(id, "TrailName")))
            }
            ("AWS::IAM::Role", "Arn") => {
                Some(format!("arn:{partition}:iam::{account}:role/{}", self.name(id, "RoleName")))
            }
            ("AWS::IAM::User", "Arn") => {
                Some(format!("arn:{partition}:iam::{account}:user/{}", self.name(id, "UserName")))
            }
            _ => None,
        });
        text.map_or_else(|| open(&format!("GetAtt {id}.{name}"), None, line), Value::Text)
    }

    /// `Fn::Sub` of a text, or of a text with its own variables.
    fn substitute(&self, argument: &Node) -> Option<Value> {
        let (template, variables) = match argument.elements() {
            [template] => (template, None),
            [template, variables] => (template, Some(variables)),
            _ => return None,
        };
        let mut text = String::new();
        let mut rest = template.text()?;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}')?;
            text.push_str(before);
            rest = after;
            if let Some(literal) = name.strip_prefix('!') {
                text.extend(["${", literal, "}"]);
                continue;
            }
            let own = variables.and_then(|it| it.get(name));
            let value = match (own, name.split_once('.')) {
                (Some(own), _) => self.node(own).as_ref().and_then(scalar_text).map(Value::Text),
                (None, Some((id, attribute))) => Some(self.attribute(id, attribute, template.line)),
                (None, None) => Some(self.reference(name.trim(), template.line)),
            };
            match value? {
                Value::Text(value) => text.push_str(&value),
                Value::Unresolved(unresolved) => text.push_str(&self.record(unresolved)),
                Value::None | Value::List(_) => return None,
            }
        }
        text.push_str(rest);
        Some(Value::Text(text))
    }

    fn join(&self, argument: &Node) -> Option<Value> {
        let [delimiter, list] = argument.elements() else { return None };
        let Kind::List(elements) = &list.kind else { return None };
        let texts: Option<Vec<String>> =
            elements.iter().filter_map(|it| self.node(it)).map(|it| scalar_text(&it)).collect();
        Some(Value::Text(texts?.join(delimiter.text()?)))
    }
}

/// What a template leaves open. Expressions of the same text have the same value, unless `only_at` tells them apart.
fn open(expression: &str, only_at: Option<usize>, line: usize) -> Value {
    let stand_in = stand_in(expression.trim_start_matches("Fn::"), only_at);
    Value::Unresolved(Unresolved { expression: expression.to_owned(), line, stand_in })
}

/// A name for a resource of the template. It is also a valid name of a trail, which has at least three characters.
pub(super) fn stand_in_name(id: &str) -> String {
    if id.len() < 3 { format!("resource-{id}") } else { id.to_owned() }
}

/// The logical ID and the attribute that `Fn::GetAtt` names.
fn attribute(argument: &Node) -> Option<(String, String)> {
    match argument.elements() {
        [only] => only.text()?.split_once('.').map(|(id, name)| (id.to_owned(), name.to_owned())),
        [id, name] => Some((id.text()?.to_owned(), name.text()?.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCES: &str = r"
Bucket: { Type: AWS::S3::Bucket }
Named: { Type: AWS::S3::Bucket, Properties: { BucketName: !Sub 'logs-${AWS::AccountId}' } }
Open: { Type: AWS::S3::Bucket, Properties: { BucketName: !Ref Parameter } }
Self: { Type: AWS::S3::Bucket, Properties: { BucketName: !Ref Self } }
Key: { Type: AWS::KMS::Key }
Role: { Type: AWS::IAM::Role }
";

    const PARAMETERS: &str = r"
Given: { Type: String }
Listed: { Type: CommaDelimitedList }
Stored: { Type: AWS::SSM::Parameter::Value<String> }
Parameter: { Type: String, Default: x }
";

    fn resolved(expression: &str) -> (String, Vec<String>) {
        let place = Place {
            partition: "aws".parse().unwrap(),
            account: "123456789012".parse().unwrap(),
            organization: None,
            region: "eu-west-1".parse().unwrap(),
            trails: Vec::new(),
            parameters: [("Given", "x"), ("Listed", "x, y"), ("Stored", "x"), ("Undeclared", "x")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let resources = Node::read(RESOURCES).unwrap();
        let parameters = Node::read(PARAMETERS).unwrap();
        let (node, unresolved) =
            Resolver::new(&resources, parameters.members(), &place).resolve(&Node::read(expression).unwrap());
        (node.json().trim_matches('"').to_owned(), unresolved.into_iter().map(|it| it.expression).collect())
    }

    #[test]
    fn what_a_template_determines_is_resolved() {
        for (expression, expected) in [
            ("!Ref AWS::AccountId", "123456789012"),
            ("!Sub '${AWS::Partition}:${AWS::Region}:${AWS::URLSuffix}'", "aws:eu-west-1:amazonaws.com"),
            ("!Sub ['${A}/${!aws:username}/${Bucket}', { A: !Ref Named }]", "logs-123456789012/${aws:username}/Bucket"),
            ("!GetAtt Bucket.Arn", "arn:aws:s3:::Bucket"),
            ("!GetAtt [Named, Arn]", "arn:aws:s3:::logs-123456789012"),
            ("Fn::GetAtt: [Open, Arn]", "arn:aws:s3:::Open"),
            ("!Ref Self", "Self"),
            ("!Sub 'a-${Given}'", "a-x"),
            ("!Ref Listed", r#"["x","y"]"#),
            ("!Sub '${Key.Arn}'", "arn:aws:kms:eu-west-1:123456789012:key/Key"),
            ("!GetAtt Role.Arn", "arn:aws:iam::123456789012:role/Role"),
            (
                r#"{"Fn::Join":["",["arn:",{"Ref":"AWS::Partition"},":s3:::",{"Ref":"Bucket"},"/*"]]}"#,
                "arn:aws:s3:::Bucket/*",
            ),
            ("- 1\n- true\n- { a: !Ref AWS::NoValue, b: x }\n- !Ref AWS::NoValue", r#"["1","true",{"b":"x"}]"#),
        ] {
            assert_eq!(resolved(expression), (expected.to_owned(), vec![]), "{expression}");
        }
    }

    #[test]
    fn everything_else_is_a_stand_in() {
        for (expression, expected, open) in [
            ("!Ref Parameter", "${unresolved-Ref-Parameter}", "Ref Parameter"),
            (
                "!Sub 'a/${Parameter}/${AWS::StackName}'",
                "a/${unresolved-Ref-Parameter}/${unresolved-Ref-AWS--StackName}",
                "Ref Parameter",
            ),
            ("!Ref Stored", "${unresolved-Ref-Stored}", "Ref Stored"),
            ("!Ref Undeclared", "${unresolved-Ref-Undeclared}", "Ref Undeclared"),
            ("!GetAtt Role.RoleId", "${unresolved-GetAtt-Role.RoleId}", "GetAtt Role.RoleId"),
            ("!If [A, b, c]", "${unresolved-If-1}", "Fn::If"),
            ("Fn::ImportValue: x", "${unresolved-ImportValue-1}", "Fn::ImportValue"),
            ("!Join ['', !Ref List]", "${unresolved-Join-1}", "Fn::Join"),
            ("!Sub 'a${'", "${unresolved-Sub-1}", "Fn::Sub"),
            ("!Sub ['${A}', { A: [1] }]", "${unresolved-Sub-1}", "Fn::Sub"),
            ("!Join ['-', [a, !If [B, c, d]]]", "a-${unresolved-If-1}", "Fn::If"),
        ] {
            let (text, unresolved) = resolved(expression);
            assert_eq!((text.as_str(), unresolved[0].as_str()), (expected, open), "{expression}");
        }
    }
}
