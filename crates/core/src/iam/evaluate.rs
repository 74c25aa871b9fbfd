//! What a policy says to a question: an explicit Deny wins, an Allow is needed, and a doubt counts only
//! where it makes a difference.
//!
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>.
//! This is what the one policy says. Elsewhere more can be asked for: a principal of another account
//! needs its own account's IAM too, and boundaries, session and service control policies take away.

use std::fmt;

use serde_json::{Map, Value};

use crate::iam::condition;
use crate::iam::document::{Document, Statement};
use crate::iam::pattern::{Pattern, is_action};
use crate::iam::principal::{Naming, allowed_unless_named, denied_unless_named, named, texts};
use crate::iam::request::Question;
use crate::iam::truth::Truth;
use crate::ids::shorten;

/// What a policy says to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// That statement allows it, and none denies it.
    Allowed(StatementId),
    /// That statement allows it to the caller's account, whose IAM policies decide; none denies it, and
    /// none is sure to allow it to the caller itself.
    Delegated(StatementId),
    /// That statement denies it, whatever others allow.
    Denied(StatementId),
    /// No statement allows it. For each that comes near: what is missing.
    NotAllowed(Vec<Reason>),
    /// Nobody can tell from here, for these reasons.
    Unclear(Vec<Reason>),
}

/// A verdict, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Says {
    /// The policy lets the caller.
    Yes,
    /// The policy leaves it to the IAM policies of the caller's account.
    AccountDecides,
    /// The policy does not let the caller.
    No,
    /// Nobody can tell.
    CannotTell,
}

impl Verdict {
    /// The verdict, in a word.
    #[must_use]
    pub fn says(&self) -> Says {
        match self {
            Self::Allowed(_) => Says::Yes,
            Self::Delegated(_) => Says::AccountDecides,
            Self::Denied(_) | Self::NotAllowed(_) => Says::No,
            Self::Unclear(_) => Says::CannotTell,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |reasons: &[Reason]| reasons.iter().map(Reason::to_string).collect::<Vec<String>>().join("; ");
        match self {
            Self::Allowed(statement) => write!(f, "{statement} allows it"),
            Self::Delegated(statement) => write!(f, "{statement} leaves it to the account's IAM policies"),
            Self::Denied(statement) => write!(f, "{statement} denies it"),
            Self::NotAllowed(near) if near.is_empty() => f.write_str("no statement allows it"),
            Self::NotAllowed(near) => write!(f, "no statement allows it: {}", listed(near)),
            Self::Unclear(reasons) => write!(f, "it cannot be told: {}", listed(reasons)),
        }
    }
}

/// A statement of a policy: its id if it has one, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementId {
    /// Its place, from 0.
    pub index: usize,
    /// Its `Sid`.
    pub sid: Option<String>,
}

impl fmt::Display for StatementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sid {
            Some(sid) => write!(f, "statement `{sid}`"),
            None => write!(f, "statement number {}", self.index.saturating_add(1)),
        }
    }
}

/// Why a policy says what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The statement that it is about; none if it is about the document.
    pub statement: Option<StatementId>,
    /// In words.
    pub why: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.statement {
            Some(statement) => write!(f, "{statement}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// What a policy says to a question. A text that is no policy says nothing that can be told.
pub fn ask(policy: &str, question: &Question) -> Verdict {
    match Document::parse(policy) {
        Ok(document) => evaluate(&document, question),
        Err(unreadable) => Verdict::Unclear(vec![Reason { statement: None, why: unreadable.to_string() }]),
    }
}

/// What a policy says to a question.
pub fn evaluate(policy: &Document, question: &Question) -> Verdict {
    if !policy.oddities().is_empty() {
        let reason = |why: &String| Reason { statement: None, why: why.clone() };
        return Verdict::Unclear(policy.oddities().iter().map(reason).collect());
    }
    let mut tally = Tally::default();
    for (index, statement) in policy.statements().iter().enumerate() {
        let id = StatementId { index, sid: statement.sid().map(str::to_owned) };
        match Elements::of(statement, question, policy.knows_variables()) {
            Ok(elements) => tally.count(&id, elements),
            Err(why) => tally.unreadable(&id, &why),
        }
    }
    tally.verdict()
}

/// What has been found out, statement by statement.
#[derive(Default)]
struct Tally {
    denied: Option<StatementId>,
    allowed: Option<StatementId>,
    delegated: Option<StatementId>,
    may_be_denied: Vec<Reason>,
    may_be_allowed: Vec<Reason>,
    near: Vec<Reason>,
}

impl Tally {
    fn count(&mut self, id: &StatementId, elements: Elements) {
        let Elements { effect, principal, asked, rest, missing } = elements;
        let reason = |why: String| Reason { statement: Some(id.clone()), why };
        let reasons = |whys: Vec<String>| whys.into_iter().map(reason).collect::<Vec<Reason>>();
        let Naming { itself, account, .. } = principal;
        let concerned = itself != Truth::No || account;
        match effect {
            Effect::Deny => {
                // What is denied to an account is denied to everybody in it.
                let itself = if account { Truth::Yes } else { itself };
                match itself.and(asked).and(rest) {
                    Truth::Yes => self.denied = self.denied.take().or_else(|| Some(id.clone())),
                    Truth::Maybe(whys) => self.may_be_denied.extend(reasons(whys)),
                    Truth::No => {}
                }
            }
            Effect::Allow => {
                if concerned && asked != Truth::No && rest == Truth::No {
                    self.near.extend(reasons(missing));
                }
                let rest = asked.and(rest);
                if account && rest == Truth::Yes {
                    self.delegated = self.delegated.take().or_else(|| Some(id.clone()));
                }
                let through_account = if account { rest.clone() } else { Truth::No };
                match (itself.and(rest), through_account) {
                    (Truth::Yes, _) => self.allowed = self.allowed.take().or_else(|| Some(id.clone())),
                    (Truth::Maybe(whys), _) | (Truth::No, Truth::Maybe(whys)) => {
                        self.may_be_allowed.extend(reasons(whys));
                    }
                    (Truth::No, _) => {}
                }
            }
        }
    }

    /// A statement that may be anything.
    fn unreadable(&mut self, id: &StatementId, why: &str) {
        let reason = Reason { statement: Some(id.clone()), why: why.to_owned() };
        self.may_be_denied.push(reason.clone());
        self.may_be_allowed.push(reason);
    }

    fn verdict(self) -> Verdict {
        let Self { denied, allowed, delegated, may_be_denied, may_be_allowed, near } = self;
        if let Some(statement) = denied {
            return Verdict::Denied(statement);
        }
        match (allowed, delegated) {
            (Some(_), _) | (_, Some(_)) if !may_be_denied.is_empty() => Verdict::Unclear(may_be_denied),
            (Some(statement), _) => Verdict::Allowed(statement),
            (None, Some(statement)) => Verdict::Delegated(statement),
            (None, None) if may_be_allowed.is_empty() => Verdict::NotAllowed(near),
            (None, None) => {
                let mut reasons = may_be_allowed;
                reasons.extend(may_be_denied.into_iter().filter(|it| !reasons.contains(it)).collect::<Vec<Reason>>());
                Verdict::Unclear(reasons)
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// A statement's elements, held against a question.
struct Elements {
    effect: Effect,
    principal: Naming,
    /// Whether it is about the action.
    asked: Truth,
    /// Whether it is about the resource, its conditions are met, and there is nothing odd about it.
    rest: Truth,
    /// In words, what of it is not so.
    missing: Vec<String>,
}

impl Elements {
    /// Fails with the reason why nobody can tell what this statement is.
    fn of(statement: &Statement, question: &Question, variables: bool) -> Result<Self, String> {
        let members = statement.members().map_err(|why| format!("it cannot be read: {why}"))?;
        let effect = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ => return Err("its `Effect` is neither `Allow` nor `Deny`".to_owned()),
        };
        let asked = about(members, "Action", "NotAction", |pattern| is_action(pattern, &question.action));
        let resource = about(members, "Resource", "NotResource", |pattern| {
            Pattern::with_wildcards(pattern, variables).is_resource(&question.resource)
        });
        let (conditions, unmet) = match members.get("Condition") {
            Some(condition) => condition::met(condition, &question.context, variables),
            None => (Truth::Yes, Vec::new()),
        };
        let mut missing: Vec<String> = unmet.into_iter().map(|unmet| format!("its condition {unmet}")).collect();
        if resource == Truth::No {
            missing.push(format!("it is not about `{}`", question.resource));
        }
        Ok(Self {
            effect,
            principal: principal(members, effect, question),
            asked,
            rest: resource.and(conditions).and(nothing_odd(members)),
            missing,
        })
    }
}

fn principal(members: &Map<String, Value>, effect: Effect, question: &Question) -> Naming {
    let just = Naming::just;
    match (members.get("Principal"), members.get("NotPrincipal"), effect) {
        (Some(principal), None, _) => named(principal, &question.caller),
        (None, Some(not), Effect::Deny) => just(denied_unless_named(not, &question.caller)),
        (None, Some(not), Effect::Allow) => just(allowed_unless_named(not, &question.caller)),
        (None, None, _) => just(Truth::maybe("it names no principal")),
        (Some(_), Some(_), _) => just(Truth::maybe("it has both `Principal` and `NotPrincipal`")),
    }
}

/// Whether a statement is about something, by an element or by its opposite. A statement of a key
/// policy that has neither has no effect.
/// Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html>.
fn about(members: &Map<String, Value>, element: &str, opposite: &str, is: impl Fn(&str) -> Truth) -> Truth {
    let any = |element: &str, value: &Value| match texts(value) {
        Some(patterns) => Truth::any(patterns.into_iter().map(&is)),
        None => Truth::maybe(format!("its `{element}` is in a form that is not known here")),
    };
    let because = |truth: Truth, element: &str| match truth {
        Truth::Maybe(whys) => Truth::Maybe(whys.into_iter().map(|why| format!("its `{element}`: {why}")).collect()),
        settled => settled,
    };
    match (members.get(element), members.get(opposite)) {
        (Some(value), None) => because(any(element, value), element),
        (None, Some(value)) => because(any(opposite, value).negated(), opposite),
        (None, None) => Truth::No,
        (Some(_), Some(_)) => Truth::maybe(format!("it has both `{element}` and `{opposite}`")),
    }
}

const ELEMENTS: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

fn nothing_odd(members: &Map<String, Value>) -> Truth {
    Truth::all(
        members
            .keys()
            .filter(|name| !ELEMENTS.contains(&name.as_str()))
            .map(|name| Truth::maybe(format!("it has an element `{}`, which is not known here", shorten(name, 80)))),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::iam::request::{Caller, Context};

    fn verdict(statements: Value) -> Verdict {
        let question = Question {
            caller: Caller::service("cloudtrail.amazonaws.com"),
            action: "kms:Decrypt".to_owned(),
            resource: "arn:aws:kms:eu-west-1:123456789012:key/1234abcd".to_owned(),
            context: Context::new().with("known", "x"),
        };
        ask(&json!({ "Version": "2012-10-17", "Statement": statements }).to_string(), &question)
    }

    fn statement(sid: &str, effect: &str, condition: Value) -> Value {
        json!({ "Sid": sid, "Effect": effect, "Principal": "*", "Action": "*", "Resource": "*", "Condition": condition })
    }

    #[test]
    fn the_first_statement_that_decides_is_named_by_its_sid_or_its_place() {
        let allows = verdict(json!([statement("A", "Allow", json!({})), statement("B", "Allow", json!({}))]));
        assert_eq!(allows.to_string(), "statement `A` allows it");
        assert_eq!(allows.says(), Says::Yes);
        let mut nameless = statement("", "Deny", json!({}));
        nameless.as_object_mut().unwrap().remove("Sid");
        let denies = verdict(json!([statement("A", "Allow", json!({})), nameless, statement("C", "Deny", json!({}))]));
        assert_eq!(denies, Verdict::Denied(StatementId { index: 1, sid: None }));
        assert_eq!(denies.to_string(), "statement number 2 denies it");
    }

    #[test]
    fn what_comes_near_is_told_with_what_is_missing() {
        let near = statement("Near", "Allow", json!({ "StringEquals": { "known": "y" } }));
        let far = json!({ "Sid": "Far", "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*" });
        assert_eq!(
            verdict(json!([far, near])).to_string(),
            "no statement allows it: statement `Near`: its condition `StringEquals` on `known` wants `\"y\"` and the request has `x`"
        );
    }

    #[test]
    fn a_statement_that_may_be_anything_is_told_once_and_every_doubt_is() {
        assert_eq!(
            verdict(json!([7])).to_string(),
            "it cannot be told: statement number 1: it cannot be read: it is not an object"
        );
        let doubts = json!([
            statement("A", "Allow", json!({ "Bool": { "u": "true" } })),
            statement("D", "Deny", json!({ "Bool": { "v": "true" } }))
        ]);
        let told = verdict(doubts).to_string();
        assert!(
            told.contains("statement `A`: its condition `Bool` on `u`")
                && told.contains("statement `D`: its condition `Bool` on `v`"),
            "{told}"
        );
    }
}
