//! A file as a tree whose nodes know their lines.

use jsonc_parser::ast::Value;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde::de::IgnoredAny;
use trailseal_core::ids::shorten;

use super::yaml;

/// A value in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// The line where it begins, from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In order, with every duplicate.
    Map(Vec<(String, Node)>),
    /// A value with a YAML tag, such as `!Sub`, without the `!`.
    Tagged(String, Box<Node>),
}

/// Why a text cannot be read, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) line: usize,
    pub(super) why: String,
}

impl Node {
    /// The value of a JSON or YAML text.
    pub(super) fn read(text: &str) -> Result<Self, Unreadable> {
        let text = text.trim_start_matches('\u{feff}');
        match text.trim_start().chars().next() {
            None => Err(Unreadable { line: 1, why: "it is empty".to_owned() }),
            Some('{' | '[') => read_json(text),
            Some(_) => yaml::read(text),
        }
    }

    /// The member of this name. Of several, the first.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The member that a path of names leads to.
    pub(super) fn at<const N: usize>(&self, path: [&str; N]) -> Option<&Self> {
        path.into_iter().try_fold(self, Self::get)
    }

    pub(super) fn members(&self) -> &[(String, Self)] {
        if let Kind::Map(members) = &self.kind { members } else { &[] }
    }

    pub(super) fn is_map(&self) -> bool {
        matches!(self.kind, Kind::Map(_))
    }

    /// The elements of a list; for another value, the value.
    pub(super) fn elements(&self) -> &[Self] {
        match &self.kind {
            Kind::List(elements) => elements,
            Kind::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Kind::Text(text) = &self.kind { Some(text) } else { None }
    }

    /// The texts of the values in it.
    pub(super) fn texts(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Text(text) => vec![text],
            Kind::List(elements) => elements.iter().flat_map(Self::texts).collect(),
            Kind::Map(members) => members.iter().flat_map(|(_, value)| value.texts()).collect(),
            Kind::Tagged(_, value) => value.texts(),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) => Vec::new(),
        }
    }

    /// The same value, with each text changed.
    pub(super) fn map_texts(&self, change: &impl Fn(&str) -> String) -> Self {
        let kind = match &self.kind {
            Kind::Text(text) => Kind::Text(change(text)),
            Kind::List(elements) => Kind::List(elements.iter().map(|it| it.map_texts(change)).collect()),
            Kind::Map(members) => {
                Kind::Map(members.iter().map(|(name, it)| (name.clone(), it.map_texts(change))).collect())
            }
            Kind::Tagged(tag, value) => Kind::Tagged(tag.clone(), Box::new(value.map_texts(change))),
            other => other.clone(),
        };
        Self { line: self.line, kind }
    }

    /// The same value, all of it on one line.
    pub(super) fn on_line(mut self, line: usize) -> Self {
        self.line = line;
        self.kind = match self.kind {
            Kind::List(elements) => Kind::List(elements.into_iter().map(|it| it.on_line(line)).collect()),
            Kind::Map(members) => Kind::Map(members.into_iter().map(|(name, it)| (name, it.on_line(line))).collect()),
            other => other,
        };
        self
    }

    /// The value as JSON, with every duplicate.
    pub(super) fn json(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match &self.kind {
            Kind::Null => "null".to_owned(),
            Kind::Bool(value) => value.to_string(),
            Kind::Number(text) => text.clone(),
            Kind::Text(text) => quoted(text),
            Kind::List(elements) => {
                format!("[{}]", elements.iter().map(Self::json).collect::<Vec<String>>().join(","))
            }
            Kind::Map(members) => {
                let members = members.iter().map(|(name, value)| format!("{}:{}", quoted(name), value.json()));
                format!("{{{}}}", members.collect::<Vec<String>>().join(","))
            }
            Kind::Tagged(_, value) => value.json(),
        }
    }
}

/// JSON as its standard defines it, without the extensions that the parser knows.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

fn read_json(text: &str) -> Result<Node, Unreadable> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT).map_err(|error| Unreadable {
        line: error.line_display(),
        why: format!("it is not valid JSON: {}", shorten(&error.kind().to_string(), 200)),
    })?;
    // jsonc-parser accepts control characters in a text.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| Unreadable {
        line: error.line(),
        why: format!("it is not valid JSON: {}", error.to_string().split(" at line ").next().unwrap_or_default()),
    })?;
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(offset, _)| offset);
    let lines = Lines(ends.collect());
    let empty = || Unreadable { line: 1, why: "it is empty".to_owned() };
    parsed.value.map(|value| lines.node(&value)).ok_or_else(empty)
}

/// Where the lines of a text end.
struct Lines(Vec<usize>);

impl Lines {
    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset).saturating_add(1)
    }

    fn node(&self, value: &Value<'_>) -> Node {
        let (offset, kind) = match value {
            Value::NullKeyword(null) => (null.range.start, Kind::Null),
            Value::BooleanLit(boolean) => (boolean.range.start, Kind::Bool(boolean.value)),
            Value::NumberLit(number) => (number.range.start, Kind::Number(number.value.to_owned())),
            Value::StringLit(text) => (text.range.start, Kind::Text(text.value.to_string())),
            Value::Array(array) => {
                (array.range.start, Kind::List(array.elements.iter().map(|it| self.node(it)).collect()))
            }
            Value::Object(object) => {
                let members = object.properties.iter();
                let members = members.map(|it| (it.name.as_str().to_owned(), self.node(&it.value)));
                (object.range.start, Kind::Map(members.collect()))
            }
        };
        Node { line: self.line(offset), kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(text: &str) -> (usize, String) {
        let Unreadable { line, why } = Node::read(text).unwrap_err();
        (line, why)
    }

    #[test]
    fn nodes_know_their_lines_and_keep_duplicates() {
        let node =
            Node::read("\u{feff}{\r\n\t\"a\": [1,\r\n\t\t\"\\ud83d\\ude00\"],\r\n\t\"a\": null\r\n}\r\n").unwrap();
        assert_eq!(node.json(), "{\"a\":[1,\"😀\"],\"a\":null}");
        let a = node.get("a").unwrap();
        assert_eq!((node.line, a.line, a.elements()[1].line), (1, 2, 3));
        assert_eq!(node.get("a").unwrap().texts(), ["😀"]);
    }

    #[test]
    fn only_standard_json_is_read() {
        for (text, line) in [
            ("{\n  \"a\": 1,\n}", 2),
            ("{ // no\n}", 1),
            ("{\n'a': 1}", 2),
            ("{\"a\": 1 \"b\": 2}", 1),
            ("{\"a\": 01}", 1),
            ("{\"a\": .5}", 1),
            ("{\"a\": 0x1}", 1),
            ("{\"a\": \"\\ud83d\"}", 1),
            ("{\"a\": \"one\ntwo\"}", 1),
            ("{\"a\": 1}\n}", 2),
            ("{\"a\"", 1),
            ("[", 1),
        ] {
            assert_eq!(unreadable(text).0, line, "{text}");
        }
        assert_eq!(unreadable(" \n\t"), (1, "it is empty".to_owned()));
    }

    #[test]
    fn deep_nesting_is_an_error_in_both_languages() {
        for open in ["[", "{\"a\":", "- ", "? "] {
            let (_, why) = unreadable(&format!("{}\n", open.repeat(100_000)));
            assert!(why.contains("nest") || why.contains("limit") || why.contains("valid"), "{open} {why}");
        }
    }
}
