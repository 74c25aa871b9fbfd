//! One statement of a policy, with each element parsed as far as it is well-formed.

use serde_json::{Map, Value, json};

use crate::iam::element::{Effect, Element, is_unresolved, parse_list, strings, why_malformed};
use crate::iam::json::parse_value;
use crate::iam::pattern::UNRESOLVED;
use crate::iam::principal::Principal;
use crate::iam::truth::Truth;
use crate::ids::shorten;

/// One statement of a policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    raw: String,
    sid: Option<String>,
    elements: Result<Elements, String>,
}

/// The elements of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elements {
    pub(crate) effect: Effect,
    pub(crate) principal: Element<Vec<Principal>>,
    pub(crate) action: Element<Vec<String>>,
    pub(crate) resource: Element<Vec<String>>,
    pub(crate) conditions: Vec<Condition>,
    /// Why the statement may mean something else: unknown elements and malformed conditions.
    pub(crate) unsupported: Vec<String>,
}

/// One key of a `Condition` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) operator: String,
    pub(crate) key: String,
    /// At least one. Numbers and Booleans are written as strings.
    pub(crate) values: Vec<String>,
}

impl Statement {
    pub(super) fn new(raw: String) -> Self {
        match parse_value(&raw) {
            Ok(json) => Self::of(raw, &json),
            Err(reason) => Self { raw, sid: None, elements: Err(reason) },
        }
    }

    fn of(raw: String, json: &Value) -> Self {
        let (sid, elements) = match json {
            Value::Object(members) => {
                (members.get("Sid").and_then(Value::as_str).map(str::to_owned), Elements::new(members))
            }
            _ => (None, Err("it is not an object".to_owned())),
        };
        Self { raw, sid, elements }
    }

    /// The statement's text, exactly as it was read.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The statement as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.raw).unwrap_or_default()
    }

    /// The statement's ID, if it has one.
    #[must_use]
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// Whether its `Effect` is `Allow`.
    pub(crate) fn is_allow(&self) -> bool {
        self.elements.as_ref().is_ok_and(|elements| elements.effect == Effect::Allow)
    }

    /// Why the statement is malformed, if it is: AWS rejects a policy with such a statement.
    #[must_use]
    pub fn malformed(&self) -> Option<&str> {
        self.elements().err()
    }

    /// Whether the whole statement stands for one that is not known yet.
    pub(crate) fn is_unresolved(&self) -> bool {
        self.raw.strip_prefix('"').is_some_and(|text| text.starts_with(UNRESOLVED))
    }

    /// The statement's elements. Fails with the reason if it is not a JSON object, has
    /// an element twice, or has an `Effect` that is neither `Allow` nor `Deny`.
    pub(crate) fn elements(&self) -> Result<&Elements, &str> {
        self.elements.as_ref().map_err(String::as_str)
    }
}

impl From<&Value> for Statement {
    fn from(json: &Value) -> Self {
        Self::of(json.to_string(), json)
    }
}

const ELEMENTS: [&str; 9] =
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];

impl Elements {
    fn new(members: &Map<String, Value>) -> Result<Self, String> {
        let effect = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => Effect::Allow,
            Some("Deny") => Effect::Deny,
            _ if members.get("Effect").is_some_and(is_unresolved) => {
                return Err("its `Effect` is not resolved".to_owned());
            }
            _ => return Err("its `Effect` is neither `Allow` nor `Deny`".to_owned()),
        };
        let (conditions, malformed) = members.get("Condition").map(conditions).unwrap_or_default();
        let unknown = members.keys().filter(|name| !ELEMENTS.contains(&name.as_str()));
        let unknown = unknown.map(|name| format!("it has an unknown element `{}`", shorten(name, 80)));
        Ok(Self {
            effect,
            principal: Element::new(members, "Principal", Principal::parse_all),
            action: Element::new(members, "Action", strings),
            resource: Element::new(members, "Resource", strings),
            conditions,
            unsupported: malformed.into_iter().chain(unknown).collect(),
        })
    }
}

impl Element<Vec<String>> {
    /// Whether one of the patterns matches, or for the opposite none. A statement of a key policy without the element
    /// has no effect. Source: <https://docs.aws.amazon.com/kms/latest/APIReference/API_PutKeyPolicy.html>.
    pub(crate) fn matches(&self, name: &str, is: impl Fn(&str) -> Truth) -> Truth {
        let any = |patterns: &[String]| Truth::any(patterns.iter().map(|pattern| is(pattern)));
        match self {
            Self::Missing => Truth::No,
            Self::Is(patterns) => any(patterns).explained(|why| format!("its `{name}`: {why}")),
            Self::Not(patterns) => any(patterns).negated().explained(|why| format!("its `Not{name}`: {why}")),
            Self::Malformed(why) => Truth::unknown(why),
        }
    }
}

/// The JSON of a list in a policy: a single string, or an array of several.
pub(crate) fn to_policy_value(strings: &[String]) -> Value {
    if let [only] = strings { json!(only) } else { json!(strings) }
}

/// The conditions of a `Condition` element, and the reasons why others are malformed.
fn conditions(element: &Value) -> (Vec<Condition>, Vec<String>) {
    let (mut conditions, mut malformed) = (Vec::new(), Vec::new());
    let Some(operators) = element.as_object() else {
        return (conditions, vec![format!("its `Condition` is {}", why_malformed(element))]);
    };
    for (operator, keys) in operators {
        let Some(named) = keys.as_object().filter(|keys| !keys.is_empty()) else {
            let why = if is_unresolved(keys) { "is not resolved" } else { "has no keys" };
            malformed.push(format!("its condition `{}` {why}", shorten(operator, 80)));
            continue;
        };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) => Some(value.to_string()),
            // AWS does not document which string a fraction is compared as.
            Value::Number(number) => (!number.is_f64() || operator.contains("Numeric")).then(|| value.to_string()),
            _ => None,
        };
        for (key, values) in named {
            match parse_list(values, text) {
                Some(values) => conditions.push(Condition { operator: operator.clone(), key: key.clone(), values }),
                None => malformed
                    .push(format!("its condition `{}` on `{key}`: its values are malformed", shorten(operator, 80))),
            }
        }
    }
    (conditions, malformed)
}
