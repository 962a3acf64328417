//! YAML as it was written: every scalar as text, with its place.
//!
//! A tree of values would lose what labels need: `1.10` would become a number,
//! and aliases would be copied. Here they are shared, and what they stand for is
//! counted: a few lines of aliases can stand for billions.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// A value and where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
    /// How many levels are in it.
    depth: usize,
    /// How many values are in it, itself among them, aliases written out.
    size: usize,
}

/// Line and column, in characters, from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct At {
    /// Which of the files that were read.
    pub(super) file: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Null is empty text.
    Text(String),
    List(Vec<Rc<Node>>),
    /// Its own keys as they were written, then those that it merges from others
    /// and does not have itself.
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

/// Why a text cannot be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) at: At,
    pub(super) what: &'static str,
    pub(super) why: String,
    pub(super) hint: &'static str,
}

/// One key of a map with its value.
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) at: At,
    pub(super) value: &'a Node,
}

/// The documents of `text`, which is what the file of this number holds.
pub(super) fn parse(text: &str, file: usize) -> Result<Vec<Rc<Node>>, Unreadable> {
    let mut tree = Tree { file, ..Tree::default() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Unreadable {
            at: tree.at(error.marker().line(), error.marker().col()),
            what: "this is not YAML",
            why: error.info().to_owned(),
            hint: "mend the syntax here or just above",
        })?;
        tree.take(event, span)?;
    }
    Ok(tree.documents)
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The value of `key`; the last one, if it is written twice.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let found = self.pairs().iter().rfind(|(own, _)| own.text() == Some(key));
        found.map(|(_, value)| &**value)
    }

    /// The entries of a map. None for what is no map.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.pairs().iter().filter_map(|(key, value)| {
            key.text().map(|text| Entry { key: text, at: key.at, value })
        })
    }

    /// The items of a list. None for what is no list.
    pub(super) fn items(&self) -> &[Rc<Self>] {
        match &self.value {
            Value::List(items) => items,
            Value::Map(_) | Value::Text(_) => &[],
        }
    }

    fn pairs(&self) -> &[(Rc<Self>, Rc<Self>)] {
        match &self.value {
            Value::Map(pairs) => pairs,
            Value::List(_) | Value::Text(_) => &[],
        }
    }
}

/// A tree that grows event by event.
#[derive(Default)]
struct Tree {
    file: usize,
    /// Values and merged keys so far.
    count: usize,
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
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Unreadable> {
        let at = self.at(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let value = Value::Text(written(text, style));
                self.add(Node { at, value, depth: 0, size: 1 }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(at, anchor, false),
            Event::MappingStart(anchor, _) => self.begin(at, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                // Only an anchor within itself is not known yet.
                let empty = Value::Text(String::new());
                let null = || Rc::new(Node { at, value: empty, depth: 0, size: 1 });
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

    fn begin(&mut self, at: At, anchor: usize, is_map: bool) -> Result<(), Unreadable> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(at));
        }
        self.open.push(Open { at, anchor, is_map, items: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Unreadable> {
        let Some(Open { at, anchor, is_map, items }) = self.open.pop() else {
            return Ok(());
        };
        let value = if is_map { Value::Map(self.pairs(at, items)?) } else { Value::List(items) };
        let node = Node::containing(at, value);
        self.add(node, anchor)
    }

    /// Keys and values, which come in turn, and those that `<<` names.
    fn pairs(&mut self, at: At, items: Vec<Rc<Node>>) -> Result<Pairs, Unreadable> {
        let (mut pairs, mut merged) = (Vec::new(), Vec::new());
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            let is_merge = key.text() == Some(MERGE);
            if is_merge { merged.push(value) } else { pairs.push((key, value)) }
        }
        if merged.is_empty() {
            return Ok(pairs);
        }
        let text = |key: &Node| key.text().map(str::to_owned);
        let mut known: HashSet<String> = pairs.iter().filter_map(|(key, _)| text(key)).collect();
        for value in &merged {
            let sources = match &value.value {
                Value::List(items) => items.as_slice(),
                Value::Map(_) | Value::Text(_) => std::slice::from_ref(value),
            };
            for (key, value) in sources.iter().flat_map(|source| source.pairs()) {
                self.count(at)?;
                if text(key).is_some_and(|key| known.insert(key)) {
                    pairs.push((Rc::clone(key), Rc::clone(value)));
                }
            }
        }
        Ok(pairs)
    }

    fn at(&self, line: usize, column: usize) -> At {
        // Lines come from 1, columns from 0.
        At { file: self.file, line, column: column + 1 }
    }

    fn count(&mut self, at: At) -> Result<(), Unreadable> {
        self.count += 1;
        if self.count > VALUES_MAX { Err(too_large(at)) } else { Ok(()) }
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Unreadable> {
        if node.depth > DEPTH_MAX {
            return Err(too_deep(node.at));
        }
        self.count(node.at)?;
        if node.size > VALUES_MAX {
            return Err(too_large(node.at));
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

impl Node {
    /// A list or map with what it contains.
    fn containing(at: At, value: Value) -> Self {
        let within: Vec<&Rc<Self>> = match &value {
            Value::List(items) => items.iter().collect(),
            Value::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
            Value::Text(_) => Vec::new(),
        };
        let depth = within.iter().map(|node| node.depth + 1).max().unwrap_or(0);
        let size = within.iter().fold(1_usize, |size, node| size.saturating_add(node.size));
        Self { at, value, depth, size }
    }
}

type Pairs = Vec<(Rc<Node>, Rc<Node>)>;

fn written(text: Cow<'_, str>, style: ScalarStyle) -> String {
    let is_null = style == ScalarStyle::Plain && ["~", "null", "Null", "NULL"].contains(&&*text);
    if is_null { String::new() } else { text.into_owned() }
}

fn too_deep(at: At) -> Unreadable {
    too_much(at, format!("it is nested deeper than {DEPTH_MAX} levels"))
}

fn too_large(at: At) -> Unreadable {
    too_much(at, format!("with its aliases it stands for more than {VALUES_MAX} values"))
}

fn too_much(at: At, why: String) -> Unreadable {
    let hint = "write less, or divide it into several files";
    Unreadable { at, what: "this is more than is read", why, hint }
}

/// The key whose value is a map, or a list of them, to take entries from.
const MERGE: &str = "<<";

/// Deeper than any compose file; it bounds the recursion over a tree.
const DEPTH_MAX: usize = 64;

/// More than any compose file has; it bounds the work that a file makes.
const VALUES_MAX: usize = 250_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_stay_as_they_were_written() {
        let documents = parse("a: 1.10\nb: yes\nc: ~\nd: '~'\ne: 0x10\n", 0).unwrap();
        let texts: Vec<_> =
            documents[0].entries().map(|entry| entry.value.text().unwrap().to_owned()).collect();
        assert_eq!(texts, ["1.10", "yes", "", "~", "0x10"]);
    }

    #[test]
    fn places_count_from_one() {
        let documents = parse("a:\n  - b\n  - cü: d\n", 0).unwrap();
        let Value::List(items) = &documents[0].get("a").unwrap().value else {
            panic!("no list");
        };
        assert_eq!(items[0].at, At { file: 0, line: 2, column: 5 });
        assert_eq!(items[1].entries().next().unwrap().value.at, At { file: 0, line: 3, column: 9 });
    }

    #[test]
    fn merged_keys_stand_behind_the_maps_own() {
        let text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\n";
        let documents = parse(text, 0).unwrap();
        let entries = documents[0].get("z").unwrap().entries();
        let pairs: Vec<_> = entries.map(|entry| (entry.key, entry.value.text().unwrap())).collect();
        assert_eq!(pairs, [("a", "3"), ("b", "1"), ("c", "2")]);
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        let refused = parse("a: b\n  c: d\n", 0).unwrap_err();
        assert_eq!(refused.at.line, 2);
    }

    #[test]
    fn no_nesting_is_deep_enough_to_matter() {
        assert!(parse(&"[".repeat(100_000), 0).is_err());
        let chain: String = (1..100_000).fold("- &a0 [x]\n".to_owned(), |mut text, index| {
            text.push_str(&format!("- &a{index} [*a{}]\n", index - 1));
            text
        });
        assert!(parse(&chain, 0).is_err());
    }
    #[test]
    fn aliases_that_stand_for_billions_are_refused() {
        let level = |level: usize| {
            format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", "))
        };
        let lists: String = (1..12).map(level).collect();
        let refused = parse(&format!("a0: &a0 [x]\n{lists}"), 0).unwrap_err();
        assert!(refused.why.contains("more than 250000 values"), "{refused:?}");
        let merges = lists.replace("[*", "{<<: [*").replace("]\n", "]}\n");
        // The keys of a map count once, however often they are merged.
        assert!(parse(&format!("a0: &a0 {{x: y}}\n{merges}"), 0).is_ok());
    }

    #[test]
    fn as_many_values_as_the_bound_are_read() {
        let list = |count: usize| format!("[{}]", "x,".repeat(count));
        assert!(parse(&list(VALUES_MAX - 1), 0).is_ok());
        assert!(parse(&list(VALUES_MAX), 0).is_err());
    }
}
