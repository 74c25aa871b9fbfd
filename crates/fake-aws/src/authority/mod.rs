//! Who may do what: the caller's own policies, judged together with those of the resource, before an
//! operation runs.

mod decision;
mod needs;

use serde::Serialize;
use serde_json::Value;

pub(crate) use decision::decide;
pub use decision::{Authorization, Decision, Guard, Statement};

use crate::answer::{Protocol, Refusal};
use crate::names;
use crate::policy::{Caller, Question};
use crate::request::Request;
use crate::{Key, World};

/// A policy of the caller's own, as IAM attaches it to a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdentityPolicy {
    /// Its name.
    pub name: String,
    /// The policy document.
    pub document: Value,
}

impl IdentityPolicy {
    /// A policy of that name.
    pub fn new(name: &str, document: Value) -> IdentityPolicy {
        IdentityPolicy { name: name.to_owned(), document }
    }
}

/// What the request was judged by, and why it is refused if it is. Without policies of the caller's own,
/// nothing is asked.
pub(crate) fn authorize(world: &World, request: &Request) -> (Vec<Authorization>, Option<Refusal>) {
    let Some(policies) = &world.caller_policies else {
        return (Vec::new(), None);
    };
    let mut records = Vec::new();
    let mut refusal = None;
    for question in needs::of(world, request) {
        let guard = world.guard(&question.resource);
        let decision = decide(policies, &question, &guard);
        if !decision.is_allowed() && refusal.is_none() {
            refusal = Some(refused(world, request, &question, &decision));
        }
        let operation = format!("{}:{}", request.service, request.operation);
        records.push(Authorization { operation, question, guard, decision });
    }
    (records, refusal)
}

/// The refusal in the service's own manner.
fn refused(world: &World, request: &Request, question: &Question, decision: &Decision) -> Refusal {
    let Question { action, resource, .. } = question;
    let why = decision.why_not(action);
    let message =
        format!("User: {} is not authorized to perform: {action} on resource: {resource} {why}", world.caller_role_arn);
    // What it asks of others in the caller's name, it tells in its own words.
    let asked_of_another = !action.starts_with(&format!("{}:", needs::prefix(&request.service)));
    match (request.protocol, asked_of_another) {
        (Protocol::Json, false) => Refusal::new("AccessDeniedException", message),
        (Protocol::Json, true) => Refusal::new("InsufficientDependencyServiceAccessPermissionException", message),
        (Protocol::Rest { .. }, _) => Refusal::with_status(403, "AccessDenied", message),
        (Protocol::Query, false) => Refusal::with_status(403, "AuthorizationError", message),
        (Protocol::Query, true) => Refusal::new("KMSAccessDenied", message),
    }
}

impl World {
    /// What a call of the caller's own would ask of the policies, with what AWS knows of the resource.
    pub fn question(&self, action: &str, resource: &str) -> Question {
        let question = Question::new(Caller::Principal(self.caller_role_arn.clone()), action, resource)
            .with("aws:PrincipalArn", &self.caller_role_arn)
            .with("aws:PrincipalAccount", &self.account)
            .with("aws:PrincipalIsAWSService", "false")
            .with("aws:ViaAWSService", "false")
            .with("aws:SecureTransport", "true")
            .with("kms:CallerAccount", &self.account)
            .without(&["aws:SourceArn", "aws:SourceAccount"])
            // All that KMS tells of a request or of a key is set here or by who asks.
            .without_others(&["kms:", "aws:RequestTag/", "aws:TagKeys"]);
        let question = match self.organizations.get(&self.account) {
            Some(organization) => question.with("aws:PrincipalOrgID", organization),
            None => question.without(&["aws:PrincipalOrgID"]),
        };
        let question = match &self.caller_function_arn {
            Some(function) => question.with("lambda:SourceFunctionArn", function),
            None => question.without(&["lambda:SourceFunctionArn"]),
        };
        match (self.keys.get(resource), self.trails.get(resource)) {
            (Some(key), _) => self.about_key(question, key, resource),
            (_, Some(trail)) => tagged(question, &trail.tags),
            _ => question,
        }
    }

    fn about_key(&self, question: Question, key: &Key, arn: &str) -> Question {
        let carried = self.aliases.iter().filter(|(_, alias)| alias.target == arn);
        let names = carried.filter_map(|(arn, _)| arn.splitn(6, ':').last());
        let question = question
            .with_all("kms:ResourceAliases", names)
            .with("kms:KeySpec", &key.spec)
            .with("kms:KeyUsage", &key.usage)
            .with("kms:KeyOrigin", &key.origin)
            .with("kms:MultiRegion", &key.multi_region.to_string());
        tagged(question, &key.tags)
    }

    /// The policies' answer to a question. Without policies of the caller's own, the resource's alone.
    pub fn decide(&self, question: &Question) -> Decision {
        let own = self.caller_policies.as_deref().unwrap_or_default();
        decide(own, question, &self.guard(&question.resource))
    }

    /// Who else has a say about a resource. (What other accounts say of theirs, is the operations' to tell:
    /// `describe_key`, `Bucket::of_account`.)
    fn guard(&self, resource: &str) -> Guard {
        if let Some(key) = self.keys.get(resource).filter(|key| key.account == self.account) {
            return Guard::Key(key.policy.clone());
        }
        let bucket = names::bucket_of(resource).and_then(|name| self.buckets.get(name));
        match bucket.filter(|bucket| bucket.owner == self.account).and_then(|bucket| bucket.policy.clone()) {
            Some(policy) => Guard::Resource(policy),
            None => Guard::Nobody,
        }
    }
}

fn tagged(question: Question, tags: &std::collections::BTreeMap<String, String>) -> Question {
    let question = question.without_others(&["aws:ResourceTag/"]);
    tags.iter().fold(question, |question, (key, value)| question.with(&format!("aws:ResourceTag/{key}"), value))
}
