//! Policy documents. Each statement keeps the text that it was read from, so that a document can be written back
//! with nothing altered.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::iam::decision::StatementId;
use crate::iam::json::{MalformedPolicy, Members};
use crate::iam::statement::Statement;
use crate::ids::shorten;

/// A policy document of a resource, such as a key policy or a bucket policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The name and the JSON of every member, in order. The value of `Statement` is in `statements`.
    members: Vec<(String, String)>,
    statements: Vec<Statement>,
    /// Whether `Statement` is one statement and not an array.
    single: bool,
    variables: bool,
    unsupported: Vec<String>,
}

impl Document {
    /// Parses a document. An element or a version that trailseal does not know is not an error here: it makes
    /// decisions unknown.
    ///
    /// # Errors
    ///
    /// The text is not a JSON object, has an element twice, or has no `Statement`.
    pub fn parse(text: &str) -> Result<Self, MalformedPolicy> {
        let Members(members) = serde_json::from_str(text)?;
        let member = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, raw)| raw.get());
        let raw = member("Statement").ok_or_else(|| MalformedPolicy { reason: "it has no `Statement`".to_owned() })?;
        let single = !raw.starts_with('[');
        let with_text = |(name, raw): (String, &RawValue)| match name.as_str() {
            "Statement" => (name, String::new()),
            _ => (name, raw.get().to_owned()),
        };
        let raws: Vec<&RawValue> = if single { vec![serde_json::from_str(raw)?] } else { serde_json::from_str(raw)? };
        let mut unsupported: Vec<String> = members
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "Version" | "Id" | "Statement"))
            .map(|(name, _)| format!("the policy has an unknown element `{}`", shorten(name, 80)))
            .collect();
        let variables = match member("Version") {
            // Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html>.
            None | Some(r#""2008-10-17""#) => false,
            Some(r#""2012-10-17""#) => true,
            Some(other) => {
                unsupported.push(format!("the policy has an unknown `Version`, `{}`", shorten(other, 80)));
                true
            }
        };
        Ok(Self {
            statements: raws.into_iter().map(|raw| Statement::new(raw.get().to_owned())).collect(),
            single,
            variables,
            unsupported,
            members: members.into_iter().map(with_text).collect(),
        })
    }

    /// A document of the current version of the policy language, with these statements.
    #[must_use]
    pub fn new(statements: impl IntoIterator<Item = Value>) -> Self {
        let member = |name: &str, raw: &str| (name.to_owned(), raw.to_owned());
        Self {
            members: vec![member("Version", r#""2012-10-17""#), member("Statement", "")],
            statements: statements.into_iter().map(|statement| Statement::from(&statement)).collect(),
            single: false,
            variables: true,
            unsupported: Vec::new(),
        }
    }

    /// The statements, in order.
    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The statements with their IDs, in order.
    pub(crate) fn identified(&self) -> impl Iterator<Item = (StatementId, &Statement)> {
        let id = |index, statement: &Statement| StatementId { index, sid: statement.sid().map(str::to_owned) };
        self.statements.iter().enumerate().map(move |(index, statement)| (id(index, statement), statement))
    }

    /// The same document with one more statement, at the end. Nothing else changes, except that a single statement
    /// becomes an array of two.
    #[must_use]
    pub fn with(mut self, statement: &Value) -> Self {
        self.statements.push(statement.into());
        self.single = false;
        self
    }

    /// The same document with these statements instead.
    pub(crate) fn with_statements(&self, statements: impl IntoIterator<Item = Statement>) -> Self {
        let statements: Vec<Statement> = statements.into_iter().collect();
        Self { single: self.single && statements.len() == 1, statements, ..self.clone() }
    }

    /// The document's text, with every element and every statement as it was read.
    #[must_use]
    pub fn text(&self) -> String {
        let raws: Vec<&str> = self.statements.iter().map(Statement::raw).collect();
        let statements = if self.single { raws.concat() } else { format!("[{}]", raws.join(",")) };
        let member = |(name, raw): &(String, String)| {
            format!("{}:{}", Value::from(name.as_str()), if name == "Statement" { &statements } else { raw })
        };
        format!("{{{}}}", self.members.iter().map(member).collect::<Vec<String>>().join(","))
    }

    /// Whether `${…}` is a variable in this document.
    pub(crate) fn has_variables(&self) -> bool {
        self.variables
    }

    /// The parts of the document that make every decision unknown.
    pub(crate) fn unsupported(&self) -> &[String] {
        &self.unsupported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNUSUAL: &str = r#"{"Id" : "x", "Statement":[ {"Sid":"A",  "Effect": "Allow", "Number": 1.50, "Escaped":"\u0041"} , 7 ],"Version":"2012-10-17"}"#;

    #[test]
    fn a_document_is_written_back_unchanged() {
        let document = Document::parse(UNUSUAL).unwrap();
        let first = r#"{"Sid":"A",  "Effect": "Allow", "Number": 1.50, "Escaped":"\u0041"}"#;
        assert_eq!(document.statements()[0].raw(), first);
        assert_eq!(document.text(), format!(r#"{{"Id":"x","Statement":[{first},7],"Version":"2012-10-17"}}"#));
        assert_eq!(Document::parse(&document.text()).unwrap(), document, "only the space between members is lost");
    }

    #[test]
    fn a_statement_is_added_at_the_end() {
        let more = serde_json::json!({ "Sid": "B" });
        let document = Document::parse(UNUSUAL).unwrap().with(&more);
        let mut expected: Value = serde_json::from_str(UNUSUAL).unwrap();
        expected["Statement"].as_array_mut().unwrap().push(more.clone());
        assert_eq!(serde_json::from_str::<Value>(&document.text()).unwrap(), expected);
        assert_eq!(document.statements()[2].sid(), Some("B"));

        let alone = Document::parse(r#"{"Statement": {"Sid":"A"}}"#).unwrap();
        assert_eq!(alone.text(), r#"{"Statement":{"Sid":"A"}}"#);
        assert_eq!(alone.with(&more).text(), r#"{"Statement":[{"Sid":"A"},{"Sid":"B"}]}"#);
    }

    #[test]
    fn a_single_statement_stays_single_when_replaced() {
        let other = || Statement::from(&serde_json::json!({ "Sid": "B" }));
        let alone = Document::parse(r#"{"Statement": {"Sid":"A"}}"#).unwrap();
        assert_eq!(alone.with_statements([other()]).text(), r#"{"Statement":{"Sid":"B"}}"#);
        assert_eq!(alone.with_statements([other(), other()]).text(), r#"{"Statement":[{"Sid":"B"},{"Sid":"B"}]}"#);
    }

    #[test]
    fn a_malformed_text_is_rejected_with_the_reason() {
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
    fn a_duplicate_element_makes_one_statement_malformed() {
        let text = r#"{"Statement":[{"Effect":"Deny","Effect":"Allow"},{"Condition":{"Bool":{"a":1,"a":2}}},{"Sid":"good","Effect":"Deny"}]}"#;
        let document = Document::parse(text).unwrap();
        let readable: Vec<bool> = document.statements().iter().map(|it| it.elements().is_ok()).collect();
        assert_eq!(readable, [false, false, true]);
        assert_eq!(document.text(), text);
    }

    #[test]
    fn a_deeply_nested_statement_is_malformed() {
        let text = format!(r#"{{"Statement":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let document = Document::parse(&text).unwrap();
        assert!(document.statements().iter().all(|it| it.elements().is_err()));
        assert_eq!(document.text(), text);
    }

    #[test]
    fn a_malformed_statement_says_why() {
        let document = Document::parse(r#"{"Statement":[7,{"Effect":"Allow"},"${unresolved-Ref-S}"]}"#).unwrap();
        let reasons: Vec<Option<&str>> = document.statements().iter().map(Statement::malformed).collect();
        assert_eq!(reasons, [Some("it is not an object"), None, Some("it is not an object")]);
        let unresolved: Vec<bool> = document.statements().iter().map(Statement::is_unresolved).collect();
        assert_eq!(unresolved, [false, false, true]);
        let effect = Document::parse(r#"{"Statement":[{"Effect":"${unresolved-Ref-E}"},{"Effect":"No"}]}"#).unwrap();
        let reasons: Vec<Option<&str>> = effect.statements().iter().map(Statement::malformed).collect();
        let unknown = Some("its `Effect` is neither `Allow` nor `Deny`");
        assert_eq!(reasons, [Some("its `Effect` is not resolved"), unknown]);
    }
}
