//! YAML as it was written: every scalar as text, with its place.
//!
//! A tree of values would lose what labels need: `1.10` would become a number,
//! and aliases would be copied without bound.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
    /// How many levels are in it.
    depth: usize,
}

/// Line and column, in characters, from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Null is empty text.
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

/// Why a text is not YAML.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct NotYaml {
    pub(super) at: At,
    pub(super) message: String,
}

/// One key of a map with its value, merged keys (`<<`) among them.
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) at: At,
    pub(super) value: &'a Node,
}

/// The documents of `text`.
pub(super) fn parse(text: &str) -> Result<Vec<Rc<Node>>, NotYaml> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| NotYaml {
            at: At::of(error.marker().line(), error.marker().col()),
            message: error.info().to_owned(),
        })?;
        tree.take(event, span)?;
    }
    Ok(tree.documents)
}

impl At {
    /// From a line that counts from 1 and a column that counts from 0.
    fn of(line: usize, column: usize) -> Self {
        Self { line, column: column + 1 }
    }
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().into_iter().find(|entry| entry.key == key).map(|entry| entry.value)
    }

    /// The entries of a map: its own, then what it merges from others and does
    /// not have itself. None for what is no map.
    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries: Vec<Entry<'_>> = Vec::new();
        let Value::Map(pairs) = &self.value else {
            return entries;
        };
        for (key, value) in pairs {
            if let Some(text) = key.text().filter(|text| *text != MERGE) {
                entries.push(Entry { key: text, at: key.at, value });
            }
        }
        for (_, merged) in pairs.iter().filter(|(key, _)| key.text() == Some(MERGE)) {
            let sources: Vec<&Self> = match &merged.value {
                Value::List(items) => items.iter().map(Rc::as_ref).collect(),
                Value::Map(_) | Value::Text(_) => vec![merged],
            };
            for entry in sources.into_iter().flat_map(Self::entries) {
                if !entries.iter().any(|own| own.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
        entries
    }
}

/// A tree that grows event by event.
#[derive(Default)]
struct Tree {
    documents: Vec<Rc<Node>>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Node>>,
}

/// A list or map whose end has not come yet.
struct Open {
    at: At,
    anchor: usize,
    is_map: bool,
    items: Vec<Rc<Node>>,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), NotYaml> {
        let at = At::of(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let value = Value::Text(written(text, style));
                self.add(Node { at, value, depth: 0 }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(at, anchor, false),
            Event::MappingStart(anchor, _) => self.begin(at, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                // Only an anchor within itself is not known yet.
                let null = || Rc::new(Node { at, value: Value::Text(String::new()), depth: 0 });
                let node = self.anchors.get(&anchor).map_or_else(null, Rc::clone);
                self.place(node);
                Ok(())
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, at: At, anchor: usize, is_map: bool) -> Result<(), NotYaml> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(at));
        }
        self.open.push(Open { at, anchor, is_map, items: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), NotYaml> {
        let Some(Open { at, anchor, is_map, items }) = self.open.pop() else {
            return Ok(());
        };
        let depth = items.iter().map(|item| item.depth + 1).max().unwrap_or(0);
        let value = if is_map { Value::Map(pairs(items)) } else { Value::List(items) };
        self.add(Node { at, value, depth }, anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), NotYaml> {
        if node.depth > DEPTH_MAX {
            return Err(too_deep(node.at));
        }
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node);
        Ok(())
    }

    fn place(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.documents.push(node),
        }
    }
}

/// Keys and values, which come in turn.
fn pairs(items: Vec<Rc<Node>>) -> Vec<(Rc<Node>, Rc<Node>)> {
    let mut items = items.into_iter();
    let mut pairs = Vec::new();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    pairs
}

fn written(text: Cow<'_, str>, style: ScalarStyle) -> String {
    let is_null = style == ScalarStyle::Plain && ["~", "null", "Null", "NULL"].contains(&&*text);
    if is_null { String::new() } else { text.into_owned() }
}

fn too_deep(at: At) -> NotYaml {
    NotYaml { at, message: format!("it is nested deeper than {DEPTH_MAX} levels") }
}

/// The key whose value is a map, or a list of them, to take entries from.
const MERGE: &str = "<<";

/// Deeper than any compose file; it bounds the recursion over a tree.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_stay_as_they_were_written() {
        let documents = parse("a: 1.10\nb: yes\nc: ~\nd: '~'\ne: 0x10\n").unwrap();
        let texts: Vec<_> = documents[0]
            .entries()
            .iter()
            .map(|entry| entry.value.text().unwrap().to_owned())
            .collect();
        assert_eq!(texts, ["1.10", "yes", "", "~", "0x10"]);
    }

    #[test]
    fn places_count_from_one() {
        let documents = parse("a:\n  - b\n  - cü: d\n").unwrap();
        let Value::List(items) = &documents[0].get("a").unwrap().value else {
            panic!("no list");
        };
        assert_eq!(items[0].at, At { line: 2, column: 5 });
        assert_eq!(items[1].entries()[0].value.at, At { line: 3, column: 9 });
    }

    #[test]
    fn merged_keys_stand_behind_the_maps_own() {
        let text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\n";
        let documents = parse(text).unwrap();
        let entries = documents[0].get("z").unwrap().entries();
        let pairs: Vec<_> =
            entries.iter().map(|entry| (entry.key, entry.value.text().unwrap())).collect();
        assert_eq!(pairs, [("a", "3"), ("b", "1"), ("c", "2")]);
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        let refused = parse("a: b\n  c: d\n").unwrap_err();
        assert_eq!(refused.at.line, 2);
    }

    #[test]
    fn no_nesting_is_deep_enough_to_matter() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        let chain: String = (1..100_000).fold("- &a0 [x]\n".to_owned(), |mut text, index| {
            text.push_str(&format!("- &a{index} [*a{}]\n", index - 1));
            text
        });
        assert!(parse(&chain).is_err());
    }
}
