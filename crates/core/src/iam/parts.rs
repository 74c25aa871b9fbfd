//! The parts of statements, matched one by one. For many callers and resources, each part of a statement is matched
//! once for each of them, and not for each combination: a bucket policy can name thousands of combinations.

use crate::iam::condition;
use crate::iam::document::Document;
use crate::iam::pattern::{Pattern, matches_action};
use crate::iam::principal::Naming;
use crate::iam::request::{Caller, Context};
use crate::iam::statement::{Elements, Statement};
use crate::iam::truth::Truth;

/// Some statements of a policy.
pub(crate) struct Statements {
    statements: Vec<Statement>,
    variables: bool,
}

/// Which statements match one part of a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Matches {
    certain: Vec<u64>,
    /// Includes those that certainly match.
    possible: Vec<u64>,
}

/// Whether one of the statements applies to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Applies {
    No,
    Possibly,
    Certainly,
}

impl Statements {
    /// The statements of a policy that `is_selected` selects.
    pub(crate) fn select(policy: &Document, is_selected: impl Fn(&Statement) -> bool) -> Self {
        let statements = policy.statements().iter().filter(|statement| is_selected(statement)).cloned().collect();
        Self { statements, variables: policy.has_variables() }
    }

    /// One statement of a policy.
    pub(crate) fn one(policy: &Document, statement: &Statement) -> Self {
        Self { statements: vec![statement.clone()], variables: policy.has_variables() }
    }

    /// Those that name a caller, or its account, and whose conditions the caller's request meets.
    pub(crate) fn match_caller(&self, caller: &Caller, context: &Context) -> Matches {
        self.matches(|elements| {
            let Naming { itself, account } = elements.principal.names(caller, elements.effect);
            let conditions = elements.conditions.iter().map(|it| condition::is_met(it, context, self.variables));
            let unsupported = elements.unsupported.iter().map(Truth::unknown);
            Truth::all(std::iter::once(itself.or(account.into())).chain(conditions).chain(unsupported))
        })
    }

    /// Those that are about an action.
    pub(crate) fn match_action(&self, action: &str) -> Matches {
        self.matches(|elements| elements.action.matches("Action", |pattern| matches_action(pattern, action)))
    }

    /// Those that are about a resource.
    pub(crate) fn match_resource(&self, resource: &str, context: &Context) -> Matches {
        self.matches(|elements| {
            elements.resource.matches("Resource", |pattern| {
                let pattern = if self.variables { context.expand(pattern) } else { pattern.into() };
                Pattern::with_wildcards(&pattern, self.variables).matches_resource(resource)
            })
        })
    }

    fn matches(&self, is_match: impl Fn(&Elements) -> Truth) -> Matches {
        const BITS: usize = 64;
        let (mut certain, mut possible) = (Vec::new(), Vec::new());
        for statements in self.statements.chunks(BITS) {
            let (mut certainly, mut possibly) = (0, 0);
            for (bit, statement) in (0..).zip(statements) {
                let matched = statement.elements().map_or_else(Truth::unknown, &is_match);
                certainly |= u64::from(matched == Truth::Yes) << bit;
                possibly |= u64::from(matched != Truth::No) << bit;
            }
            certain.push(certainly);
            possible.push(possibly);
        }
        Matches { certain, possible }
    }
}

impl Matches {
    /// Those that match both parts.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let both = |one: &[u64], other: &[u64]| one.iter().zip(other).map(|(one, other)| one & other).collect();
        Self { certain: both(&self.certain, &other.certain), possible: both(&self.possible, &other.possible) }
    }

    /// Whether a statement matches both parts.
    pub(crate) fn applies_with(&self, other: &Self) -> Applies {
        let any = |one: &[u64], other: &[u64]| one.iter().zip(other).any(|(one, other)| one & other != 0);
        match any(&self.certain, &other.certain) {
            true => Applies::Certainly,
            false if any(&self.possible, &other.possible) => Applies::Possibly,
            false => Applies::No,
        }
    }
}
