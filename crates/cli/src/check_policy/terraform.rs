//! Policies in the output of `terraform show -json` (or `tofu show -json`), for a plan or a state.
//!
//! Source: <https://developer.hashicorp.com/terraform/internals/json-format>.

use std::collections::BTreeSet;

use super::node::{Kind, Node};
use super::source::{FileTrail, Found, Policy, PolicyKind, Unknown, embedded, names_cloudtrail};

/// The types of resources with a policy: the argument that names the key or bucket, if it is another resource.
const TYPES: [(&str, PolicyKind, Option<&str>); 4] = [
    ("aws_kms_key_policy", PolicyKind::Key, Some("key_id")),
    ("aws_s3_bucket_policy", PolicyKind::Bucket, Some("bucket")),
    ("aws_kms_key", PolicyKind::Key, None),
    ("aws_s3_bucket", PolicyKind::Bucket, None),
];

/// How far references may refer to other references.
const MAX_DEPTH: usize = 16;

pub(super) fn is_plan(root: &Node) -> bool {
    ["resource_changes", "planned_values", "values"].iter().any(|name| root.get(name).is_some())
        && root.get("format_version").is_some()
}

/// A resource of the plan or state.
struct Resource<'a> {
    address: &'a str,
    kind: &'a str,
    values: &'a Node,
    unknown: Option<&'a Node>,
}

impl Resource<'_> {
    fn text(&self, argument: &str) -> Option<&str> {
        self.values.get(argument)?.text().filter(|text| !text.is_empty())
    }

    fn as_trail(&self) -> Option<FileTrail> {
        let prefix = self.text("s3_key_prefix").unwrap_or_default().to_owned();
        let prefix = Some(prefix).filter(|_| !self.is_unknown("s3_key_prefix"));
        Some(FileTrail { name: self.text("name")?.parse().ok()?, prefix })
    }

    /// Whether a key or bucket, or the one of a policy, has this name.
    fn is_named(&self, kind: PolicyKind, name: &str) -> bool {
        let arguments = if kind == PolicyKind::Key { ["arn", "key_id"] } else { ["bucket", "id"] };
        arguments.into_iter().filter_map(|argument| self.text(argument)).any(|own| own == name)
    }

    fn is_unknown(&self, argument: &str) -> bool {
        let is_true = |it: &Node| it.kind == Kind::Bool(true);
        self.unknown.and_then(|unknown| unknown.get(argument)).is_some_and(is_true)
    }
}

pub(super) fn policies(root: &Node) -> Found {
    let resources = resources(root);
    let configuration = Configuration(root.at(["configuration", "root_module"]));
    let trails = configuration.trails(&resources);
    let attached = configuration.attached_policies(&resources);
    let mut found = Found::default();
    for (kind, policy_kind, of) in TYPES {
        for resource in resources.iter().filter(|it| it.kind == kind) {
            let mut names = of.map(|of| configuration.references(resource.address, of)).unwrap_or_default();
            names.insert(without_index(resource.address));
            let trails: Vec<&Resource<'_>> = trails
                .iter()
                .filter(|trail| trail.uses(resource, policy_kind, &names))
                .map(|trail| trail.resource)
                .collect();
            // The argument `policy` of a key or bucket repeats the policy of another resource, or the one before it.
            if of.is_none() && attached.iter().any(|policy| policy.kind == policy_kind && policy.is_of(resource)) {
                continue;
            }
            let Some(text) = resource.values.get("policy").filter(|_| resource.text("policy").is_some()) else {
                if resource.is_unknown("policy") && configuration.sets(resource.address, "policy") {
                    unknown(&mut found, resource, policy_kind, !trails.is_empty());
                }
                continue;
            };
            let document = embedded(text);
            let bucket = resource.text("bucket").map(str::to_owned).filter(|_| policy_kind == PolicyKind::Bucket);
            let key = resource.text("arn").or(resource.text("key_id")).and_then(|arn| arn.parse().ok());
            let policy = Policy {
                resource: Some(resource.address.to_owned()),
                bucket: bucket.map(|name| name.trim_start_matches("arn:aws:s3:::").to_owned()),
                key: key.filter(|_| policy_kind == PolicyKind::Key),
                trails: trails.iter().filter_map(|trail| trail.as_trail()).collect(),
                ..Policy::new(policy_kind, document)
            };
            if trails.is_empty() && !names_cloudtrail(&policy.document) {
                found.unrelated = found.unrelated.saturating_add(1);
            } else {
                found.policies.push(policy);
            }
        }
    }
    found
}

fn unknown(found: &mut Found, resource: &Resource<'_>, kind: PolicyKind, is_used: bool) {
    if !is_used {
        found.unknown_unrelated = found.unknown_unrelated.saturating_add(1);
        return;
    }
    let (resource, line) = (resource.address.to_owned(), resource.values.line);
    found.unknown.push(Unknown { kind, resource, line, why: "its policy is known only after apply".to_owned() });
}

/// The managed resources: as they will be after the changes of a plan, or as they are in a state.
fn resources(root: &Node) -> Vec<Resource<'_>> {
    let changes = root.get("resource_changes").map(Node::elements).unwrap_or_default();
    if !changes.is_empty() {
        return changes.iter().filter_map(|it| resource(it, it.at(["change", "after"])?)).collect();
    }
    let values = root.get("planned_values").or(root.get("values")).and_then(|it| it.get("root_module"));
    let mut modules: Vec<&Node> = values.into_iter().collect();
    let mut all = Vec::new();
    while let Some(module) = modules.pop() {
        let of = |name: &str| module.get(name).map(Node::elements).unwrap_or_default();
        all.extend(of("resources").iter().filter_map(|it| resource(it, it.get("values")?)));
        modules.extend(of("child_modules").iter().rev());
    }
    all
}

fn resource<'a>(node: &'a Node, values: &'a Node) -> Option<Resource<'a>> {
    let text = |name: &str| node.get(name).and_then(Node::text);
    let is_managed = text("mode") == Some("managed") && values.is_map();
    let unknown = node.at(["change", "after_unknown"]);
    Some(Resource { address: text("address")?, kind: text("type")?, values, unknown }).filter(|_| is_managed)
}

/// A trail, and the resources that its arguments refer to.
struct Trail<'a> {
    resource: &'a Resource<'a>,
    key: BTreeSet<String>,
    bucket: BTreeSet<String>,
}

impl Trail<'_> {
    /// Whether it uses the key or the bucket of a resource's policy: they have the same name, or the trail refers to one of
    /// `names`: the resource, or one that it refers to.
    fn uses(&self, resource: &Resource<'_>, kind: PolicyKind, names: &BTreeSet<String>) -> bool {
        let (argument, used) = match kind {
            PolicyKind::Key => ("kms_key_id", &self.key),
            PolicyKind::Bucket => ("s3_bucket_name", &self.bucket),
        };
        self.resource.text(argument).is_some_and(|used| resource.is_named(kind, used)) || !used.is_disjoint(names)
    }
}

/// A resource that is the policy of another one.
struct AttachedPolicy<'a> {
    kind: PolicyKind,
    /// The name of the key or bucket, if it is known.
    name: Option<&'a str>,
    /// The resources that the argument refers to.
    of: BTreeSet<String>,
}

impl AttachedPolicy<'_> {
    fn is_of(&self, resource: &Resource<'_>) -> bool {
        let refers = || self.of.contains(&without_index(resource.address));
        self.name.map_or_else(refers, |name| resource.is_named(self.kind, name))
    }
}

/// The root module of the configuration, if the file contains it.
struct Configuration<'a>(Option<&'a Node>);

impl<'a> Configuration<'a> {
    fn trails<'r>(&self, resources: &'r [Resource<'r>]) -> Vec<Trail<'r>> {
        let trails = resources.iter().filter(|it| it.kind == "aws_cloudtrail");
        let references = |it: &Resource<'_>, argument| self.references(it.address, argument);
        let trail =
            |it| Trail { resource: it, key: references(it, "kms_key_id"), bucket: references(it, "s3_bucket_name") };
        trails.map(trail).collect()
    }

    fn attached_policies<'r>(&self, resources: &'r [Resource<'r>]) -> Vec<AttachedPolicy<'r>> {
        let attached = resources.iter().filter_map(|resource| {
            let (_, kind, argument) = TYPES.into_iter().find(|(name, ..)| *name == resource.kind)?;
            let argument = argument?;
            Some(AttachedPolicy {
                kind,
                name: resource.text(argument),
                of: self.references(resource.address, argument),
            })
        });
        attached.collect()
    }

    fn sets(&self, address: &str, argument: &str) -> bool {
        self.0.is_none() || self.expression(address, argument).is_some()
    }

    /// The expression of a resource's argument, and the names of the modules that contain it.
    fn expression(&self, address: &str, argument: &str) -> Option<(Vec<String>, &'a Node)> {
        let address = without_index(address);
        let (modules, name) = split_modules(&address);
        let resources = self.module(&modules)?.get("resources")?.elements();
        let own = resources.iter().find(|it| it.get("address").and_then(Node::text) == Some(name.as_str()))?;
        Some((modules, own.at(["expressions", argument])?))
    }

    fn module(&self, names: &[String]) -> Option<&'a Node> {
        names.iter().try_fold(self.0?, |module, name| module.at(["module_calls", name, "module"]))
    }

    /// The addresses of the resources that an argument refers to, also through modules' variables and outputs.
    fn references(&self, address: &str, argument: &str) -> BTreeSet<String> {
        let mut addresses = BTreeSet::new();
        if let Some((modules, expression)) = self.expression(address, argument) {
            self.follow(&modules, expression, MAX_DEPTH, &mut addresses);
        }
        addresses
    }

    fn follow(&self, modules: &[String], expression: &Node, depth: usize, addresses: &mut BTreeSet<String>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let references = expression.get("references").map(Node::elements).unwrap_or_default();
        for reference in references.iter().filter_map(Node::text).map(without_index) {
            let parts: Vec<&str> = reference.split('.').collect();
            match (parts.as_slice(), modules.split_last()) {
                (["var", name, ..], Some((own, parents))) => {
                    let call = self.module(parents).and_then(|it| it.at(["module_calls", own, "expressions", name]));
                    call.into_iter().for_each(|it| self.follow(parents, it, depth, addresses));
                }
                (["module", name, output, ..], _) => {
                    let inner: Vec<String> = modules.iter().cloned().chain([(*name).to_owned()]).collect();
                    let value = self.module(&inner).and_then(|it| it.at(["outputs", output, "expression"]));
                    value.into_iter().for_each(|it| self.follow(&inner, it, depth, addresses));
                }
                ([kind, name, ..], _) if *kind != "var" && *kind != "local" => {
                    let prefix: String = modules.iter().map(|module| format!("module.{module}.")).collect();
                    let address = format!("{prefix}{kind}.{name}");
                    if *kind == "aws_kms_alias" {
                        let target = self.expression(&address, "target_key_id");
                        target.into_iter().for_each(|(modules, it)| self.follow(&modules, it, depth, addresses));
                    }
                    addresses.insert(address);
                }
                _ => {}
            }
        }
    }
}

/// The names of the modules that contain a resource, and its address in the last of them.
fn split_modules(address: &str) -> (Vec<String>, String) {
    let (mut modules, mut rest) = (Vec::new(), address);
    while let Some((name, after)) = rest.strip_prefix("module.").and_then(|it| it.split_once('.')) {
        modules.push(name.to_owned());
        rest = after;
    }
    (modules, rest.to_owned())
}

/// An address without the indexes of `count` and `for_each`.
fn without_index(address: &str) -> String {
    let mut depth = 0_usize;
    let outside = |c: &char| {
        let before = depth;
        match c {
            '[' => depth = depth.saturating_add(1),
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before == 0 && depth == 0
    };
    address.chars().filter(outside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trail in a module gets its key through a variable, an alias, and another module's output.
    const PLAN: &str = r#"{ "format_version": "1.2", "configuration": { "root_module": {
        "resources": [{ "address": "aws_kms_alias.logs", "expressions": { "target_key_id": { "references": ["module.keys.id", "module.keys"] } } }],
        "module_calls": {
            "trail": { "expressions": { "key": { "references": ["aws_kms_alias.logs.arn", "aws_kms_alias.logs"] } }, "module": {
                "resources": [{ "address": "aws_cloudtrail.this", "expressions": { "kms_key_id": { "references": ["var.key"] } } }] } },
            "keys": { "module": {
                "outputs": { "id": { "expression": { "references": ["aws_kms_key.logs[\"a.b\"].key_id", "var.loop"] } } },
                "resources": [{ "address": "aws_kms_key.logs", "expressions": { "policy": { "references": ["var.loop"] } } }] },
                "expressions": { "loop": { "references": ["module.keys.id"] } } } } } } }"#;

    #[test]
    fn references_lead_through_modules_and_aliases() {
        let root = Node::read(PLAN).unwrap();
        let configuration = Configuration(root.at(["configuration", "root_module"]));
        let found = configuration.references("module.trail[0].aws_cloudtrail.this[\"x\"]", "kms_key_id");
        let expected = ["aws_kms_alias.logs", "module.keys", "module.keys.aws_kms_key.logs"];
        assert!(found.iter().map(String::as_str).eq(expected), "{found:?}");
        assert!(configuration.references("aws_cloudtrail.absent", "kms_key_id").is_empty());
        assert!(configuration.sets("module.keys.aws_kms_key.logs[\"a.b\"]", "policy"));
        assert!(!configuration.sets("module.keys.aws_kms_key.logs", "description"));
    }
}
