//! Evaluation of one policy for one request: an explicit Deny wins, an Allow is needed, and what is unknown counts
//! only where it makes a difference.

use serde_json::{Map, Value};

use crate::iam::condition;
use crate::iam::decision::{Decision, Reason, StatementId};
use crate::iam::document::{Document, Statement};
use crate::iam::pattern::{Pattern, matches_action};
use crate::iam::principal::{Naming, allowed_unless_named, denied_unless_named, named, texts};
use crate::iam::request::Request;
use crate::iam::truth::Truth;
use crate::ids::shorten;

/// What a policy decides about a request.
pub fn evaluate(policy: &Document, request: &Request) -> Decision {
    if !policy.unsupported().is_empty() {
        let reason = |why: &String| Reason { statement: None, why: why.clone() };
        return Decision::Unknown(policy.unsupported().iter().map(reason).collect());
    }
    let matches: Vec<Match> = policy.identified().map(|it| Match::new(it, request, policy.has_variables())).collect();
    let first = |effect, direct: fn(&Match) -> &Truth| {
        matches.iter().find(|it| it.effect == Some(effect) && *direct(it) == Truth::Yes).map(|it| it.id.clone())
    };
    let unknown = |effect| {
        let possible = matches.iter().filter(move |it| it.effect.is_none_or(|known| known == effect));
        possible.flat_map(Match::unknown_reasons).collect::<Vec<Reason>>()
    };
    if let Some(statement) = first(Effect::Deny, |it| &it.applies) {
        return Decision::ExplicitDeny(statement);
    }
    let (mut allow_reasons, deny_reasons) = (unknown(Effect::Allow), unknown(Effect::Deny));
    match (first(Effect::Allow, |it| &it.applies), first(Effect::Allow, |it| &it.delegates)) {
        (Some(_), _) | (_, Some(_)) if !deny_reasons.is_empty() => Decision::Unknown(deny_reasons),
        (Some(statement), _) => Decision::Allowed(statement),
        (None, Some(statement)) => Decision::Delegated(statement),
        (None, None) if allow_reasons.is_empty() => {
            Decision::ImplicitDeny(matches.into_iter().flat_map(|it| it.unmet).collect())
        }
        (None, None) => {
            // A malformed statement has the same reason for both.
            let more: Vec<Reason> = deny_reasons.into_iter().filter(|it| !allow_reasons.contains(it)).collect();
            allow_reasons.extend(more);
            Decision::Unknown(allow_reasons)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// How a statement matches a request.
struct Match {
    id: StatementId,
    /// `None`: the statement is malformed, and may allow or deny anything.
    effect: Option<Effect>,
    /// Whether it applies to the caller itself.
    applies: Truth,
    /// Whether it applies to the caller's account.
    delegates: Truth,
    /// What an Allow for the caller and the action requires beyond them that the request does not meet.
    unmet: Vec<Reason>,
}

impl Match {
    fn new((id, statement): (StatementId, &Statement), request: &Request, variables: bool) -> Self {
        Self::of(id.clone(), statement, request, variables).unwrap_or_else(|why| {
            let applies = Truth::unknown(why);
            Self { id, effect: None, applies, delegates: Truth::No, unmet: Vec::new() }
        })
    }

    /// Fails with the reason why the statement is malformed.
    fn of(id: StatementId, statement: &Statement, request: &Request, variables: bool) -> Result<Self, String> {
        let members = statement.members().map_err(|why| format!("it is malformed: {why}"))?;
        let effect = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err("its `Effect` is neither `Allow` nor `Deny`".to_owned()),
        };
        let Naming { itself, account } = principal(members, effect, request);
        let action = element(members, "Action", "NotAction", |pattern| matches_action(pattern, &request.action));
        let resource = element(members, "Resource", "NotResource", |pattern| {
            Pattern::with_wildcards(pattern, variables).matches_resource(&request.resource)
        });
        let (conditions, unmet) = match members.get("Condition") {
            Some(condition) => condition::is_met(condition, &request.context, variables),
            None => (Truth::Yes, Vec::new()),
        };
        let other_resource =
            (resource == Truth::No).then(|| format!("its resource does not match `{}`", request.resource));
        let rest = resource.and(conditions).and(known_elements(members));
        let near =
            effect == Effect::Allow && (itself != Truth::No || account) && action != Truth::No && rest == Truth::No;
        let unmet = unmet.into_iter().map(|unmet| format!("its condition {unmet}")).chain(other_resource);
        let reason = |why| Reason { statement: Some(id.clone()), why };
        let unmet = unmet.filter(|_| near).map(reason).collect();
        let rest = action.and(rest);
        let through_account = if account { rest.clone() } else { Truth::No };
        let applies = itself.and(rest);
        // A Deny for an account applies to every principal in it.
        let applies = if effect == Effect::Deny { applies.or(through_account.clone()) } else { applies };
        Ok(Self { id, effect: Some(effect), applies, delegates: through_account, unmet })
    }

    fn unknown_reasons(&self) -> Vec<Reason> {
        let whys = match (&self.applies, &self.delegates) {
            (Truth::Unknown(whys), _) | (Truth::No, Truth::Unknown(whys)) => whys.as_slice(),
            _ => &[],
        };
        whys.iter().map(|why| Reason { statement: Some(self.id.clone()), why: why.clone() }).collect()
    }
}

fn principal(members: &Map<String, Value>, effect: Effect, request: &Request) -> Naming {
    match (members.get("Principal"), members.get("NotPrincipal"), effect) {
        (Some(principal), None, _) => named(principal, &request.caller),
        (None, Some(not), Effect::Deny) => denied_unless_named(not, &request.caller).into(),
        (None, Some(not), Effect::Allow) => allowed_unless_named(not, &request.caller).into(),
        (None, None, _) => Truth::unknown("it names no principal").into(),
        (Some(_), Some(_), _) => Truth::unknown("it has both `Principal` and `NotPrincipal`").into(),
    }
}

/// Whether a statement matches by an element or by its opposite. A statement of a key policy that has neither has no
/// effect. Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html>.
fn element(members: &Map<String, Value>, name: &str, opposite: &str, is: impl Fn(&str) -> Truth) -> Truth {
    let any = |name: &str, value: &Value| match texts(value) {
        Some(patterns) => Truth::any(patterns.into_iter().map(&is)).explained(|why| format!("its `{name}`: {why}")),
        None => Truth::unknown(format!("its `{name}` is malformed")),
    };
    match (members.get(name), members.get(opposite)) {
        (Some(value), None) => any(name, value),
        (None, Some(value)) => any(opposite, value).negated(),
        (None, None) => Truth::No,
        (Some(_), Some(_)) => Truth::unknown(format!("it has both `{name}` and `{opposite}`")),
    }
}

const ELEMENTS: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

fn known_elements(members: &Map<String, Value>) -> Truth {
    let unknown = members.keys().filter(|name| !ELEMENTS.contains(&name.as_str()));
    Truth::all(unknown.map(|name| Truth::unknown(format!("it has an unknown element `{}`", shorten(name, 80)))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
