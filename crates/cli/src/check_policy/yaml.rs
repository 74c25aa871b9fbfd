//! YAML, with its tags.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use trailseal_core::ids::shorten;

use super::node::{Kind, Node, Unreadable};

/// How deep a file may nest.
const MAX_DEPTH: usize = 128;

/// How many values a file may have, with the values that its aliases repeat.
const MAX_NODES: usize = 500_000;

/// The value of a YAML text with one document.
pub(super) fn read(text: &str) -> Result<Node, Unreadable> {
    let mut tree = Tree::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| Unreadable {
            line: error.marker().line(),
            why: format!("it is neither JSON nor valid YAML: {}", shorten(error.info(), 200)),
        })?;
        let line = span.start.line();
        tree.add(event, &span).map_err(|why| Unreadable { line, why })?;
    }
    tree.root.ok_or_else(|| Unreadable { line: 1, why: "it is empty".to_owned() })
}

/// The part of the document that was read.
#[derive(Default)]
struct Tree {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
}

/// A list or a map whose end was not read yet.
struct Open {
    node: Node,
    anchor: usize,
    tag: Option<String>,
    /// The key whose value follows.
    key: Option<String>,
    /// How many nodes were read before it.
    nodes_before: usize,
}

impl Tree {
    fn add(&mut self, event: Event<'_>, span: &Span) -> Result<(), String> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err("it has several YAML documents".to_owned()),
            Event::Scalar(text, style, anchor, tag) => {
                let kind = scalar(&text, style, tag.as_deref());
                self.close(Node { line, kind }, anchor, tag_name(tag), self.nodes)
            }
            Event::SequenceStart(anchor, tag) => self.begin(Kind::List(Vec::new()), line, anchor, tag),
            Event::MappingStart(anchor, tag) => self.begin(Kind::Map(Vec::new()), line, anchor, tag),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, tag, nodes_before, .. }) => self.close(node, anchor, tag, nodes_before),
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let (node, size) = self.anchors.get(&anchor).cloned().ok_or("an alias names no value before it")?;
                let before = self.nodes;
                self.nodes = self.nodes.saturating_add(size);
                self.close(node, 0, None, before)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, kind: Kind, line: usize, anchor: usize, tag: Option<Cow<'_, Tag>>) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("it nests more than {MAX_DEPTH} levels"));
        }
        let (node, tag, nodes_before) = (Node { line, kind }, tag_name(tag), self.nodes);
        self.open.push(Open { node, anchor, tag, key: None, nodes_before });
        Ok(())
    }

    /// Adds a whole value to the list or map that contains it.
    fn close(&mut self, node: Node, anchor: usize, tag: Option<String>, before: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > MAX_NODES {
            return Err(format!("it has more than {MAX_NODES} values"));
        }
        let line = node.line;
        let node = match tag {
            Some(tag) => Node { line, kind: Kind::Tagged(tag, Box::new(node)) },
            None => node,
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes.saturating_sub(before)));
        }
        let Some(Open { node: Node { kind, .. }, key, .. }) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (kind, key.take()) {
            (Kind::List(elements), _) => elements.push(node),
            (Kind::Map(members), Some(key)) => members.push((key, node)),
            _ => *key = Some(key_text(node)?),
        }
        Ok(())
    }
}

fn key_text(node: Node) -> Result<String, String> {
    match node.kind {
        Kind::Text(text) | Kind::Number(text) => Ok(text),
        Kind::Bool(value) => Ok(value.to_string()),
        _ => Err("a key is not a text".to_owned()),
    }
}

/// A tag of the application's, such as `!Sub`. Those of YAML itself give the type of a value.
fn tag_name(tag: Option<Cow<'_, Tag>>) -> Option<String> {
    tag.filter(|tag| tag.handle == "!" && !tag.suffix.is_empty()).map(|tag| tag.suffix.clone())
}

/// A scalar of the core schema.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Kind {
    let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str" || tag.handle == "!");
    match text {
        _ if is_text => Kind::Text(text.to_owned()),
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        // An account's ID with a leading zero is a text.
        _ if serde_json::from_str::<serde_json::Number>(text).is_ok() => Kind::Number(text.to_owned()),
        _ => Kind::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_tags_and_lines_are_kept() {
        let text = "Version: 2012-10-17\r\nKeys:\r\n  - !Sub 'a${b}'\r\n  - !GetAtt [A, Arn]\r\n  - 012345678901\r\n  - 123\r\n  - 'false'\r\n  - False\r\n";
        let node = Node::read(text).unwrap();
        let keys = node.get("Keys").unwrap().elements();
        assert_eq!(node.get("Version").unwrap().text(), Some("2012-10-17"));
        let sub = Box::new(Node { line: 3, kind: Kind::Text("a${b}".to_owned()) });
        assert_eq!(keys[0], Node { line: 3, kind: Kind::Tagged("Sub".to_owned(), sub) });
        assert!(matches!(&keys[1].kind, Kind::Tagged(tag, list) if tag == "GetAtt" && list.elements().len() == 2));
        let kinds = [
            Kind::Text("012345678901".into()),
            Kind::Number("123".into()),
            Kind::Text("false".into()),
            Kind::Bool(false),
        ];
        assert_eq!(keys[2..].iter().map(|it| it.kind.clone()).collect::<Vec<_>>(), kinds);
        assert_eq!(keys[5].line, 8);
    }

    #[test]
    fn duplicates_are_kept_and_aliases_repeated() {
        let node = Node::read("a: &x { b: 1 }\na: *x\n").unwrap();
        assert_eq!(node.json(), r#"{"a":{"b":1},"a":{"b":1}}"#);
    }

    #[test]
    fn what_is_wrong_has_a_line() {
        let laughs = (1..9).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 12].join(",")));
        let laughs = format!("a0: &a0 [x]\n{}", laughs.collect::<String>());
        for (text, line, part) in [
            ("a: 1\nb: [\n", 3, "YAML"),
            ("a:\n\tb: 1\n", 2, "YAML"),
            ("a: 1\n---\nb: 2\n", 2, "several"),
            ("a: *x\n", 1, "YAML"),
            ("a: 1\n? [b]\n: 2\n", 2, "key"),
            (laughs.as_str(), 6, "more than"),
        ] {
            let Unreadable { line: found, why } = Node::read(text).unwrap_err();
            assert!(why.contains(part), "{text} {why}");
            assert_eq!(found, line, "{text} {why}");
        }
    }
}
