//! Policy documents, read without losing anything: each statement is kept as the text it was, so that
//! a policy can be written back with nothing altered.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use thiserror::Error;

use crate::ids::shorten;

/// A text that is no policy document.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the policy cannot be read: {reason}")]
pub struct Unreadable {
    reason: String,
}

impl Unreadable {
    fn because(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// A policy document: a key policy, a bucket policy, or any other that names its principals.
#[derive(Debug, Clone)]
pub struct Document {
    /// Every member of the document, in its order; the place of `Statement` is taken by `statements`.
    members: Vec<(String, Box<RawValue>)>,
    statements: Vec<Statement>,
    /// Whether `Statement` is one statement and not an array.
    single: bool,
    knows_variables: bool,
    oddities: Vec<String>,
}

/// One statement of a policy document.
#[derive(Debug, Clone)]
pub struct Statement {
    raw: Box<RawValue>,
    members: Result<Map<String, Value>, String>,
}

impl Document {
    /// Reads a document. What is odd but can be read (an element or a version that nobody knows) is
    /// for the evaluation to judge.
    ///
    /// # Errors
    ///
    /// The text is no JSON object, names an element twice, or has no statements.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let Members(members) = serde_json::from_str(text).map_err(Unreadable::because)?;
        let member = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, raw)| &**raw);
        let raw = member("Statement").ok_or_else(|| Unreadable::because("it has no `Statement`"))?;
        let single = !raw.get().starts_with('[');
        let raws: Vec<Box<RawValue>> =
            if single { vec![raw.to_owned()] } else { serde_json::from_str(raw.get()).map_err(Unreadable::because)? };
        let mut oddities: Vec<String> = members
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "Version" | "Id" | "Statement"))
            .map(|(name, _)| format!("the policy has an element `{}`, which is not known here", shorten(name, 80)))
            .collect();
        let knows_variables = match member("Version").map(RawValue::get) {
            // Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html>.
            None | Some(r#""2008-10-17""#) => false,
            Some(r#""2012-10-17""#) => true,
            Some(other) => {
                oddities.push(format!("the policy's `Version` is `{}`, which is not known here", shorten(other, 80)));
                true
            }
        };
        Ok(Self {
            statements: raws.into_iter().map(Statement::of).collect(),
            single,
            knows_variables,
            oddities,
            members,
        })
    }

    /// The statements, in their order.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The same document with one statement more, at the end. Nothing else changes, but for one
    /// statement that stood alone and becomes an array of two.
    #[must_use]
    pub fn with(mut self, statement: &Value) -> Self {
        // A `Value` always has a text.
        if let Ok(raw) = serde_json::value::to_raw_value(statement) {
            self.statements.push(Statement::of(raw));
            self.single = false;
        }
        self
    }

    /// The same document with another statement at that place, counted from 0. Nothing else changes,
    /// and nothing at all where there is no such place.
    #[must_use]
    pub fn replacing(mut self, index: usize, statement: &Value) -> Self {
        // A `Value` always has a text.
        if let (Some(place), Ok(raw)) = (self.statements.get_mut(index), serde_json::value::to_raw_value(statement)) {
            *place = Statement::of(raw);
        }
        self
    }

    /// The same document with only those of its statements.
    pub(crate) fn with_only<'a>(&self, statements: impl IntoIterator<Item = &'a Statement>) -> Self {
        Self {
            members: self.members.clone(),
            statements: statements.into_iter().cloned().collect(),
            single: false,
            knows_variables: self.knows_variables,
            oddities: self.oddities.clone(),
        }
    }

    /// The document's text: every element and every statement as it was read.
    #[must_use]
    pub fn text(&self) -> String {
        let raws: Vec<&str> = self.statements.iter().map(Statement::raw).collect();
        let statements = if self.single { raws.concat() } else { format!("[{}]", raws.join(",")) };
        let members: Vec<String> = self
            .members
            .iter()
            .map(|(name, raw)| {
                let value = if name == "Statement" { &statements } else { raw.get() };
                format!("{}:{value}", Value::from(name.as_str()))
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }

    /// Whether `${…}` is a variable in this document, and not just a text.
    pub(crate) fn knows_variables(&self) -> bool {
        self.knows_variables
    }

    /// Why nobody can tell what this document means as a whole.
    pub(crate) fn oddities(&self) -> &[String] {
        &self.oddities
    }
}

impl Statement {
    fn of(raw: Box<RawValue>) -> Self {
        let members = match serde_json::from_str(raw.get()) {
            Ok(Strict(Value::Object(members))) => Ok(members),
            Ok(_) => Err("it is not an object".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        Self { raw, members }
    }

    /// The statement's text, exactly as it was read.
    pub fn raw(&self) -> &str {
        self.raw.get()
    }

    /// The statement's id, if it has one.
    pub fn sid(&self) -> Option<&str> {
        self.members.as_ref().ok()?.get("Sid")?.as_str()
    }

    /// Whether it is an Allow, whatever else it is.
    pub(crate) fn is_allow(&self) -> bool {
        self.members.as_ref().is_ok_and(|members| members.get("Effect").is_some_and(|effect| effect == "Allow"))
    }

    /// The statement's elements, or why they cannot be read.
    ///
    /// # Errors
    ///
    /// The statement is no JSON object, or names an element twice.
    pub fn members(&self) -> Result<&Map<String, Value>, &str> {
        self.members.as_ref().map_err(String::as_str)
    }
}

/// The members of a JSON object, in their order and each of them once. AWS's grammar forbids an
/// element named twice, and whoever reads the first and whoever reads the last see two policies.
/// Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, raw)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format_args!("it names `{}` twice", shorten(&name, 80))));
                    }
                    members.push((name, raw));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Each)
    }
}

/// Any JSON value in which no object names a member twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Strict;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
                Ok(Strict(Number::from_f64(value).map_or(Value::Null, Value::Number)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
                let mut values = Vec::new();
                while let Some(Strict(value)) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Strict(Value::Array(values)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
                let mut members = Map::new();
                while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
                    if members.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("it names `{}` twice", shorten(&name, 80))));
                    }
                    members.insert(name, value);
                }
                Ok(Strict(Value::Object(members)))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = r#"{"Id" : "x", "Statement":[ {"Sid":"A",  "Effect": "Allow", "Number": 1.50, "Escaped":"\u0041"} , 7 ],"Version":"2012-10-17"}"#;

    #[test]
    fn what_is_written_back_is_what_was_read_to_the_letter() {
        let document = Document::parse(ODD).unwrap();
        let first = r#"{"Sid":"A",  "Effect": "Allow", "Number": 1.50, "Escaped":"\u0041"}"#;
        assert_eq!(document.statements()[0].raw(), first);
        assert_eq!(document.text(), format!(r#"{{"Id":"x","Statement":[{first},7],"Version":"2012-10-17"}}"#));
    }

    #[test]
    fn a_statement_is_added_at_the_end_and_nothing_else_changes() {
        let more = serde_json::json!({ "Sid": "B" });
        let document = Document::parse(ODD).unwrap().with(&more);
        let mut expected: Value = serde_json::from_str(ODD).unwrap();
        expected["Statement"].as_array_mut().unwrap().push(more.clone());
        assert_eq!(serde_json::from_str::<Value>(&document.text()).unwrap(), expected);
        assert_eq!(document.statements()[2].sid(), Some("B"));

        let alone = Document::parse(r#"{"Statement": {"Sid":"A"}}"#).unwrap();
        assert_eq!(alone.text(), r#"{"Statement":{"Sid":"A"}}"#);
        assert_eq!(alone.with(&more).text(), r#"{"Statement":[{"Sid":"A"},{"Sid":"B"}]}"#);
    }

    #[test]
    fn a_statement_is_replaced_at_its_place_and_nothing_else_changes() {
        let other = serde_json::json!({ "Sid": "B" });
        let document = Document::parse(ODD).unwrap().replacing(1, &other);
        assert_eq!(document.statements()[1].sid(), Some("B"));
        let first = document.statements()[0].raw();
        assert_eq!(
            document.text(),
            format!(r#"{{"Id":"x","Statement":[{first},{{"Sid":"B"}}],"Version":"2012-10-17"}}"#)
        );
        assert_eq!(document.clone().replacing(2, &other).text(), document.text());

        let alone = Document::parse(r#"{"Statement": {"Sid":"A"}}"#).unwrap();
        assert_eq!(alone.replacing(0, &other).text(), r#"{"Statement":{"Sid":"B"}}"#);
    }

    #[test]
    fn a_text_that_is_no_policy_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "EOF"),
            ("[]", "a JSON object"),
            ("{}", "no `Statement`"),
            (r#"{"Statement":[],"Statement":[]}"#, "`Statement` twice"),
            (r#"{"Statement":[]} x"#, "trailing"),
        ] {
            let error = Document::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn an_element_named_twice_makes_a_statement_unreadable_and_leaves_the_others() {
        let text =
            r#"{"Statement":[{"Effect":"Deny","Effect":"Allow"},{"Condition":{"Bool":{"a":1,"a":2}}},{"Sid":"good"}]}"#;
        let document = Document::parse(text).unwrap();
        let readable: Vec<bool> = document.statements().iter().map(|it| it.members().is_ok()).collect();
        assert_eq!(readable, [false, false, true]);
        assert_eq!(document.text(), text);
    }

    #[test]
    fn a_bottomless_statement_is_unreadable_and_no_harm() {
        let text = format!(r#"{{"Statement":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let document = Document::parse(&text).unwrap();
        assert!(document.statements().iter().all(|it| it.members().is_err()));
        assert_eq!(document.text(), text);
    }
}
