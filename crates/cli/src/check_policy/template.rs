//! Policies in a CloudFormation template, as it is written or as the CDK writes it.

use trailseal_core::iam::UNRESOLVED;

use super::intrinsics::{Resolver, stand_in_name};
use super::node::{Kind, Node};
use super::source::{FileTrail, Found, Place, Policy, PolicyKind, Unknown, names_cloudtrail, replaced};

/// A trail of the template.
struct Trail {
    id: String,
    name: Option<String>,
    key: Option<String>,
    bucket: Option<String>,
    prefix: Option<String>,
}

pub(super) fn policies(root: &Node, place: &Place) -> Found {
    let resources = root.get("Resources").unwrap_or(root);
    let parameters = root.get("Parameters").map(Node::members).unwrap_or_default();
    let template = Template { resources, resolver: Resolver::new(resources, parameters, place) };
    let trails = template.trails();
    let parameters = parameters.iter().map(|(name, _)| name.clone()).collect();
    let mut found = Found { parameters, ..Found::default() };
    for (id, properties) in template.of_type("AWS::KMS::Key") {
        let policy = properties.get("KeyPolicy").cloned().unwrap_or_else(|| default_policy(properties.line));
        let resolved = template.key_policy(id, &policy, place);
        if properties.get("KeyPolicy").is_some() || trails.iter().any(|trail| is_used(&resolved, trail)) {
            template.add(&mut found, &policy, resolved, &trails);
        }
    }
    for (id, properties) in template.of_type("AWS::S3::BucketPolicy") {
        if let Some(policy) = properties.get("PolicyDocument") {
            let bucket = properties.get("Bucket").and_then(|it| template.resolver.text(it));
            let resolved = Policy { bucket, ..template.policy(PolicyKind::Bucket, id, policy) };
            template.add(&mut found, policy, resolved, &trails);
        }
    }
    found
}

/// The policy of a key that has none of its own.
/// Source: <https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html>.
fn default_policy(line: usize) -> Node {
    const DEFAULT: &str = r#"{ "Version": "2012-10-17", "Statement": [{ "Sid": "Enable IAM User Permissions", "Effect": "Allow",
        "Principal": { "AWS": { "Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root" } },
        "Action": "kms:*", "Resource": "*" }] }"#;
    Node::read(DEFAULT).unwrap_or(Node { line, kind: Kind::Null }).on_line(line)
}

struct Template<'a> {
    resources: &'a Node,
    resolver: Resolver<'a>,
}

impl<'a> Template<'a> {
    /// The resources of a type: their logical IDs and properties.
    fn of_type(&self, kind: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let of_kind =
            self.resources.members().iter().filter(move |(_, it)| it.get("Type").and_then(Node::text) == Some(kind));
        of_kind.map(|(id, it)| (id.as_str(), it.get("Properties").unwrap_or(it)))
    }

    fn trails(&self) -> Vec<Trail> {
        let trail = |(id, properties): (&str, &Node)| {
            let text = |property: &str| properties.get(property).and_then(|it| self.resolver.text(it));
            Trail {
                id: id.to_owned(),
                name: text("TrailName"),
                key: text("KMSKeyId").map(|key| self.target(key)),
                bucket: text("S3BucketName"),
                prefix: text("S3KeyPrefix"),
            }
        };
        self.of_type("AWS::CloudTrail::Trail").map(trail).collect()
    }

    /// The key behind an alias of the template.
    fn target(&self, key: String) -> String {
        let text = |properties: &Node, name: &str| properties.get(name).and_then(|it| self.resolver.text(it));
        let names_it = |it: &(&str, &Node)| {
            text(it.1, "AliasName").is_some_and(|name| key == name || key.ends_with(&format!(":{name}")))
                || stand_in_name(it.0) == key
        };
        let alias = self.of_type("AWS::KMS::Alias").find(names_it);
        alias.and_then(|(_, properties)| text(properties, "TargetKeyId")).unwrap_or(key)
    }

    fn key_policy(&self, id: &str, policy: &Node, place: &Place) -> Policy {
        let Place { partition, region, account, .. } = place;
        let key = format!("arn:{partition}:kms:{region}:{account}:key/{}", stand_in_name(id));
        Policy { key: key.parse().ok(), ..self.policy(PolicyKind::Key, id, policy) }
    }

    fn policy(&self, kind: PolicyKind, id: &str, policy: &Node) -> Policy {
        let (document, unresolved) = self.resolver.resolve(policy);
        Policy { resource: Some(id.to_owned()), unresolved, ..Policy::new(kind, document) }
    }

    /// Adds a policy of a trail's key or bucket, or one that names CloudTrail.
    fn add(&self, found: &mut Found, written: &Node, mut policy: Policy, trails: &[Trail]) {
        let trails: Vec<&Trail> = trails.iter().filter(|trail| is_used(&policy, trail)).collect();
        if policy.document.text().is_some_and(|text| text.starts_with(UNRESOLVED)) {
            let open = policy.unresolved.first().map(|it| it.expression.clone()).unwrap_or_default();
            if trails.is_empty() {
                found.unknown_unrelated = found.unknown_unrelated.saturating_add(1);
            } else {
                let why = format!("its policy is `{open}`, which the template does not determine");
                let (resource, line) = (policy.resource.unwrap_or_default(), policy.document.line);
                found.unknown.push(Unknown { kind: policy.kind, resource, line, why });
            }
            return;
        }
        if trails.is_empty() && !names_cloudtrail(written) && !names_cloudtrail(&policy.document) {
            found.unrelated = found.unrelated.saturating_add(1);
            return;
        }
        // The template determines which bucket and trail are meant, if not their names.
        let names = trails.iter().filter_map(|trail| Some((trail.name.clone()?, stand_in_name(&trail.id))));
        let id = policy.resource.as_deref().map(stand_in_name).unwrap_or_default();
        let buckets = policy.bucket.clone().map(|bucket| (bucket, id));
        for (name, own) in names.chain(buckets).filter(|(name, _)| name.contains(UNRESOLVED)).collect::<Vec<_>>() {
            policy.document = replaced(&policy.document, &name, &own);
        }
        policy.bucket = policy.bucket.filter(|bucket| !bucket.contains(UNRESOLVED));
        let texts: Vec<String> = policy.document.texts().into_iter().map(str::to_owned).collect();
        policy.unresolved.retain(|open| texts.iter().any(|text| text.contains(&open.stand_in)));
        let named = |trail: &&Trail| {
            let name = self.resolver.name(&trail.id, "TrailName").parse().ok()?;
            let prefix = trail.prefix.clone().unwrap_or_default();
            Some(FileTrail { name, prefix: Some(prefix).filter(|prefix| !prefix.contains(UNRESOLVED)) })
        };
        policy.trails = trails.iter().filter_map(named).collect();
        found.policies.push(policy);
    }
}

/// Whether a trail uses the key or the bucket of a policy.
fn is_used(policy: &Policy, trail: &Trail) -> bool {
    match policy.kind {
        PolicyKind::Key => policy
            .key
            .as_ref()
            .zip(trail.key.as_ref())
            .is_some_and(|(key, used)| used == key.as_str() || used == key.id().as_str()),
        PolicyKind::Bucket => policy.bucket.is_some() && policy.bucket == trail.bucket,
    }
}
