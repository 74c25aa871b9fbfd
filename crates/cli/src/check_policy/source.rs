//! Which policies a file contains.

use std::collections::BTreeMap;

use trailseal_core::iam::UNRESOLVED;
use trailseal_core::ids::{AccountId, KeyArn, OrganizationId, Partition, Region, TrailArn, TrailName, shorten};

use super::node::{Kind, Node};
use super::{template, terraform};

/// Where the policies apply.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) partition: Partition,
    pub(super) account: AccountId,
    pub(super) organization: Option<OrganizationId>,
    pub(super) region: Region,
    /// The trails that the policies are for. None: those that a policy names.
    pub(super) trails: Vec<TrailArn>,
    /// The known parameters of templates.
    pub(super) parameters: BTreeMap<String, String>,
}

/// What a policy is the policy of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PolicyKind {
    Key,
    Bucket,
}

/// A policy in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) kind: PolicyKind,
    /// The resource that has it, as the file names it.
    pub(super) resource: Option<String>,
    /// The policy, or the value that stands for it, as far as it is resolved.
    pub(super) document: Node,
    /// What the file leaves open.
    pub(super) unresolved: Vec<Unresolved>,
    /// The key, if the file names it.
    pub(super) key: Option<KeyArn>,
    /// The bucket, if the file names it.
    pub(super) bucket: Option<String>,
    /// The trails in the file that use the key or the bucket.
    pub(super) trails: Vec<FileTrail>,
}

impl Policy {
    pub(super) fn new(kind: PolicyKind, document: Node) -> Self {
        Self { kind, resource: None, document, unresolved: Vec::new(), key: None, bucket: None, trails: Vec::new() }
    }
}

/// Whether a policy names CloudTrail's service principal, also where it is not resolved.
pub(super) fn names_cloudtrail(policy: &Node) -> bool {
    let names =
        |text: &&str| text.contains("cloudtrail.amazonaws.com") || text.contains("cloudtrail.${AWS::URLSuffix}");
    policy.texts().iter().any(names)
}

/// A trail in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileTrail {
    pub(super) name: TrailName,
    /// The prefix of its log files, which may be empty. None: the file leaves it open.
    pub(super) prefix: Option<String>,
}

/// A part of a policy that the file leaves open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unresolved {
    /// The expression, such as `Ref TrailName`.
    pub(super) expression: String,
    pub(super) line: usize,
    /// What stands for it in the policy.
    pub(super) stand_in: String,
}

impl Unresolved {
    /// The expression in a text, as `Fn::Sub` writes it.
    pub(super) fn shown(&self) -> String {
        let name = self.expression.trim_start_matches("Ref ").trim_start_matches("GetAtt ");
        format!("${{{name}}}")
    }
}

/// The policies of a file.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) policies: Vec<Policy>,
    /// Policies of trails' keys and buckets that only a deployment shows.
    pub(super) unknown: Vec<Unknown>,
    /// How many policies are not about CloudTrail.
    pub(super) unrelated: usize,
    /// How many others only a deployment shows.
    pub(super) unknown_unrelated: usize,
    /// The names of the file's parameters.
    pub(super) parameters: Vec<String>,
}

/// A policy that only a deployment shows.
#[derive(Debug)]
pub(super) struct Unknown {
    pub(super) kind: PolicyKind,
    pub(super) resource: String,
    pub(super) line: usize,
    pub(super) why: String,
}

const EXPECTED: &str = "expected a key or bucket policy (an object with `Statement`), a CloudFormation template \
    (`Resources`), or the output of `terraform show -json` (`resource_changes`, `planned_values` or `values`)";

/// The policies in a file. Fails with what is wrong.
pub(super) fn policies(root: &Node, kind: Option<PolicyKind>, place: &Place) -> Result<Found, String> {
    if terraform::is_plan(root) {
        return Ok(terraform::policies(root));
    }
    if root.get("Resources").is_some_and(Node::is_map) {
        return Ok(template::policies(root, place));
    }
    if root.get("Statement").is_some() {
        return Ok(Found { policies: vec![plain(root.clone(), kind)?], ..Found::default() });
    }
    if let Some(policy) = root.get("Policy").filter(|policy| policy.text().is_some()) {
        // The output of `aws kms get-key-policy` and `aws s3api get-bucket-policy`.
        let policy = plain(embedded(policy), kind)?;
        return Ok(Found { policies: vec![policy], ..Found::default() });
    }
    Err(match root.get("terraform_version").and_then(|_| root.get("serial")) {
        Some(_) => "it is a state file; pass the output of `terraform show -json`".to_owned(),
        None => format!("it contains no policy: {EXPECTED}"),
    })
}

fn plain(document: Node, kind: Option<PolicyKind>) -> Result<Policy, String> {
    let statements = document.get("Statement").map(Node::elements).unwrap_or_default();
    let names_no_one = |it: &Node| it.is_map() && it.get("Principal").is_none() && it.get("NotPrincipal").is_none();
    if !statements.is_empty() && statements.iter().all(names_no_one) {
        return Err("no statement names a principal: it is an IAM policy, not a key policy or bucket policy".to_owned());
    }
    let kind = kind.or_else(|| kind_of(&document));
    let unknown =
        "its actions do not tell whether it is a key policy or a bucket policy: specify --kind key or --kind bucket";
    Ok(Policy::new(kind.ok_or(unknown)?, document))
}

/// The kind of a policy, by the services of its actions.
fn kind_of(document: &Node) -> Option<PolicyKind> {
    let statements = document.members().iter().filter(|(name, _)| name == "Statement").map(|(_, value)| value);
    let actions = statements.flat_map(Node::elements).flat_map(|it| [it.get("Action"), it.get("NotAction")]).flatten();
    let actions: Vec<String> = actions.flat_map(Node::texts).map(str::to_ascii_lowercase).collect();
    let names = |service: &str| actions.iter().any(|action| action.starts_with(service));
    match (names("kms:"), names("s3:")) {
        (true, false) => Some(PolicyKind::Key),
        (false, true) => Some(PolicyKind::Bucket),
        _ => None,
    }
}

/// A policy that is a JSON text in another file. A text that is not JSON stays a text.
pub(super) fn embedded(text: &Node) -> Node {
    let json = text.text().filter(|it| it.trim_start().starts_with('{')).map(Node::read);
    match json {
        Some(Ok(policy)) => policy.on_line(text.line),
        _ => text.clone(),
    }
}

/// A stand-in for an expression. The line tells apart expressions that look the same.
pub(super) fn stand_in(expression: &str, line: Option<usize>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = shorten(expression, 80).chars().map(plain).collect();
    let line = line.map(|line| format!("-{line}")).unwrap_or_default();
    format!("{UNRESOLVED}{name}{line}}}")
}

/// The value with its stand-in `from` replaced.
pub(super) fn replaced(document: &Node, from: &str, to: &str) -> Node {
    document.map_texts(&|text| text.replace(from, to))
}

/// A value as a text. CloudFormation passes numbers and Booleans as texts, too.
pub(super) fn scalar_text(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Text(text) | Kind::Number(text) => Some(text.clone()),
        Kind::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
