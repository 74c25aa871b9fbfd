//! Evaluation of one policy for one request: an explicit Deny wins, an Allow is needed, and what is unknown counts
//! only where it makes a difference.

use crate::iam::condition;
use crate::iam::decision::{Decision, Reason, StatementId};
use crate::iam::document::Document;
use crate::iam::element::Effect;
use crate::iam::pattern::{Pattern, matches_action};
use crate::iam::principal::Naming;
use crate::iam::request::Request;
use crate::iam::statement::{Condition, Elements, Statement};
use crate::iam::truth::Truth;

/// What a policy decides about a request.
pub fn evaluate(policy: &Document, request: &Request) -> Decision {
    decide(policy, policy.identified().map(|it| Match::new(it, request, policy.has_variables())).collect())
}

/// What a policy decides about a request, without each Deny that may or may not apply to it and, for the same reasons,
/// to another request that AWS accepts. `tells_apart`: whether a condition tests what differs between the requests.
pub(crate) fn evaluate_change(
    policy: &Document,
    request: &Request,
    accepted: &Request,
    tells_apart: impl Fn(&Condition) -> bool,
) -> Decision {
    let variables = policy.has_variables();
    let doubts_change = |condition: &Condition| {
        let met = condition::is_met(condition, &request.context, variables);
        matches!(met, Truth::Unknown(_)) && tells_apart(condition)
    };
    let is_relevant = |statement: (StatementId, &Statement), applies: &Truth| match statement.1.elements() {
        Ok(Elements { effect: Effect::Deny, conditions, unsupported, .. }) if matches!(applies, Truth::Unknown(_)) => {
            *applies != Match::new(statement, accepted, variables).applies
                || !unsupported.is_empty()
                || conditions.iter().any(doubts_change)
        }
        _ => true,
    };
    let matches = policy.identified().map(|it| (it.clone(), Match::new(it, request, variables)));
    decide(policy, matches.filter(|(it, found)| is_relevant(it.clone(), &found.applies)).map(|(_, it)| it).collect())
}

fn decide(policy: &Document, matches: Vec<Match>) -> Decision {
    if !policy.unsupported().is_empty() {
        let reason = |why: &String| Reason { statement: None, why: why.clone() };
        return Decision::Unknown(policy.unsupported().iter().map(reason).collect());
    }
    let certain = |effect| matches.iter().filter(move |it| it.effect == Some(effect) && it.applies == Truth::Yes);
    let unknown = |effect| {
        let possible = matches.iter().filter(move |it| it.effect.is_none_or(|known| known == effect));
        possible.flat_map(Match::unknown_reasons).collect::<Vec<Reason>>()
    };
    if let Some(deny) = certain(Effect::Deny).next() {
        return Decision::ExplicitDeny(deny.id.clone());
    }
    let (allow_reasons, deny_reasons) = (unknown(Effect::Allow), unknown(Effect::Deny));
    match certain(Effect::Allow).min_by_key(|it| it.delegated) {
        Some(_) if !deny_reasons.is_empty() => Decision::Unknown(deny_reasons),
        Some(allow) if allow.delegated => Decision::Delegated(allow.id.clone()),
        Some(allow) => Decision::Allowed(allow.id.clone()),
        None if allow_reasons.is_empty() => {
            Decision::ImplicitDeny(matches.into_iter().flat_map(|it| it.unmet).collect())
        }
        None => Decision::Unknown(matches.iter().flat_map(Match::unknown_reasons).collect()),
    }
}

/// How a statement matches a request.
struct Match {
    id: StatementId,
    /// `None`: the statement is malformed, and may allow or deny anything.
    effect: Option<Effect>,
    /// Whether it applies to the caller or its account.
    applies: Truth,
    /// For an Allow: whether it names only the account, as far as is certain, so that the account's IAM policies decide.
    delegated: bool,
    /// What an Allow for the caller and the action requires beyond them that the request does not meet.
    unmet: Vec<Reason>,
}

impl Match {
    fn new((id, statement): (StatementId, &Statement), request: &Request, variables: bool) -> Self {
        let elements = match statement.elements() {
            Ok(elements) => elements,
            Err(why) => {
                let applies = Truth::unknown(match statement.is_unresolved() {
                    true => "it is not resolved".to_owned(),
                    false => format!("it is malformed: {why}"),
                });
                return Self { id, effect: None, applies, delegated: false, unmet: Vec::new() };
            }
        };
        let effect = elements.effect;
        let Naming { itself, account } = elements.principal.names(&request.caller, effect);
        let delegated = account && itself != Truth::Yes;
        let named = itself.or(account.into());
        let action = elements.action.matches("Action", |pattern| matches_action(pattern, &request.action));
        let context = &request.context;
        let resource = elements.resource.matches("Resource", |pattern| {
            let pattern = if variables { context.expand(pattern) } else { pattern.into() };
            Pattern::with_wildcards(&pattern, variables).matches_resource(&request.resource)
        });
        let conditions: Vec<(&Condition, Truth)> =
            elements.conditions.iter().map(|it| (it, condition::is_met(it, context, variables))).collect();
        let is_near = effect == Effect::Allow && named != Truth::No && action != Truth::No;
        let unmet = conditions.iter().filter(|(_, met)| *met == Truth::No);
        let unmet = unmet.map(|(condition, _)| condition::describe_unmet(condition, context));
        let other_resource =
            (resource == Truth::No).then(|| format!("its resource does not match `{}`", request.resource));
        let reason = |why| Reason { statement: Some(id.clone()), why };
        let unmet = unmet.chain(other_resource).filter(|_| is_near).map(reason).collect();
        let unsupported = elements.unsupported.iter().map(Truth::unknown);
        let conditions = conditions.into_iter().map(|(_, met)| met);
        let applies = Truth::all([named, action, resource].into_iter().chain(conditions).chain(unsupported));
        Self { id, effect: Some(effect), applies, delegated, unmet }
    }

    fn unknown_reasons(&self) -> Vec<Reason> {
        let Truth::Unknown(whys) = &self.applies else { return Vec::new() };
        whys.iter().map(|why| Reason { statement: Some(self.id.clone()), why: why.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::iam::{Caller, Context};

    fn decide(statements: Value) -> Decision {
        let request = Request {
            caller: Caller::service("cloudtrail.amazonaws.com"),
            action: "kms:Decrypt".to_owned(),
            resource: "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".to_owned(),
            context: Context::new().with("known", "x"),
        };
        let document = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        evaluate(&Document::parse(&document).unwrap(), &request)
    }

    fn statement(sid: &str, effect: &str, condition: Value) -> Value {
        json!({ "Sid": sid, "Effect": effect, "Principal": "*", "Action": "*", "Resource": "*", "Condition": condition })
    }

    #[test]
    fn the_first_deciding_statement_is_named() {
        let allows = decide(json!([statement("A", "Allow", json!({})), statement("B", "Allow", json!({}))]));
        assert_eq!(allows.to_string(), "statement `A` allows it");
        assert!(allows.is_allowed());
        let mut nameless = statement("", "Deny", json!({}));
        nameless.as_object_mut().unwrap().remove("Sid");
        let denies = decide(json!([statement("A", "Allow", json!({})), nameless, statement("C", "Deny", json!({}))]));
        assert_eq!(denies, Decision::ExplicitDeny(StatementId { index: 1, sid: None }));
        assert_eq!(denies.to_string(), "statement number 2 denies it");
    }

    #[test]
    fn an_implicit_deny_names_unmet_conditions() {
        let near = statement("Near", "Allow", json!({ "StringEquals": { "known": "y" } }));
        let far = json!({ "Sid": "Far", "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*" });
        assert_eq!(
            decide(json!([far, near])).to_string(),
            "no statement allows it: statement `Near`: its condition `StringEquals` on `known` requires `\"y\"` and the request has `x`"
        );
    }

    #[test]
    fn what_is_not_resolved_is_unknown_in_every_version() {
        let stand_in = "${unresolved-Ref-X}";
        let allow = || json!({ "Effect": "Allow", "Principal": { "Service": "cloudtrail.amazonaws.com" }, "Action": "kms:*", "Resource": "*" });
        let with = |element: &str, value: Value| {
            let mut statement = allow();
            statement[element] = value;
            statement
        };
        let request = Request {
            caller: Caller::service("cloudtrail.amazonaws.com"),
            action: "kms:Decrypt".to_owned(),
            resource: "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".to_owned(),
            context: Context::new().with("known", "x"),
        };
        for version in [json!("2012-10-17"), json!("2008-10-17"), Value::Null] {
            for statement in [
                json!(stand_in),
                with("Effect", json!(stand_in)),
                with("Principal", json!(stand_in)),
                with("Principal", json!({ "AWS": stand_in })),
                with("Action", json!([stand_in])),
                with("Action", json!(format!("kms:{stand_in}"))),
                with("Resource", json!(stand_in)),
                with("Resource", json!(format!("arn:aws:kms:eu-west-1:123456789012:key/{stand_in}"))),
                with("Condition", json!(stand_in)),
                with("Condition", json!({ "StringEquals": stand_in })),
                with("Condition", json!({ "StringEquals": { "known": stand_in } })),
                with("Condition", json!({ "StringNotEquals": { "known": [stand_in] } })),
                with("Condition", json!({ "StringEqualsIgnoreCase": { "known": stand_in } })),
            ] {
                let mut document = json!({ "Version": version, "Statement": [statement] });
                if version.is_null() {
                    document.as_object_mut().unwrap().remove("Version");
                }
                let decision = evaluate(&Document::parse(&document.to_string()).unwrap(), &request);
                assert!(decision.is_unknown(), "{document}: {decision}");
            }
        }
    }

    #[test]
    fn each_unknown_reason_is_listed_once() {
        assert_eq!(decide(json!([7])).to_string(), "unknown: statement number 1: it is malformed: it is not an object");
        let unknown = json!([
            statement("A", "Allow", json!({ "Bool": { "u": "true" } })),
            statement("D", "Deny", json!({ "Bool": { "v": "true" } }))
        ]);
        let text = decide(unknown).to_string();
        assert!(
            text.contains("statement `A`: its condition `Bool` on `u`")
                && text.contains("statement `D`: its condition `Bool` on `v`"),
            "{text}"
        );
    }
}
