//! YAML into a tree with lines, bounded in size, depth and the work of aliases.
//!
//! Plain scalars are read as PyYAML reads them, which the Language Model Evaluation Harness uses (YAML 1.1): `yes` and `off` are truth values, `1e5`
//! without a point is a text.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::Fault;

/// The longest file, in bytes.
const BYTES: usize = 1 << 20;
/// The deepest nesting.
const DEPTH: usize = 64;
/// The most nodes, each alias counted as all that it stands for.
const NODES: usize = 100_000;

/// A value of a YAML document, and the line that it begins on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Node)>),
    /// `!function module.name`: code in Python.
    Function(String),
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        if let Kind::Text(text) = &self.kind { Some(text) } else { None }
    }

    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::List(items) => items.iter().map(Self::count).sum::<usize>(),
            Kind::Map(fields) => fields.iter().map(|(_, node)| node.count()).sum(),
            _ => 0,
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.kind {
            Kind::List(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Kind::Map(fields) => fields.iter().map(|(_, node)| node.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// A list or map that is not closed yet.
struct Open {
    line: usize,
    anchor: usize,
    is_map: bool,
    items: Vec<Node>,
}

/// The only document of `source`.
pub(super) fn parse(source: &str) -> Result<Node, Fault> {
    if source.len() > BYTES {
        return Err(Fault::new(1, format!("a file of {} bytes, where {BYTES} are the most", source.len())));
    }
    let mut reader = Reader { open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, root: None };
    for event in Parser::new_from_str(source) {
        match event {
            Ok((event, span)) => reader.take(event, span.start.line())?,
            Err(error) => return Err(Fault::new(error.marker().line(), format!("no YAML: {}", error.info()))),
        }
    }
    reader.root.ok_or_else(|| Fault::new(1, "an empty file"))
}

struct Reader {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Reader {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = scalar(text.into_owned(), style, tag.as_deref(), line)?;
                self.count(1, line)?;
                self.put(Node { line, kind }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.begin(line, anchor, false, tag.as_deref()),
            Event::MappingStart(anchor, tag) => self.begin(line, anchor, true, tag.as_deref()),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(done) = self.open.pop() else { return Ok(()) };
                let kind = if done.is_map { map(done.items)? } else { Kind::List(done.items) };
                self.put(Node { line: done.line, kind }, done.anchor)
            }
            Event::Alias(anchor) => {
                let Some(known) = self.anchors.get(&anchor) else {
                    return Err(Fault::new(line, "an alias of what is not there yet"));
                };
                let (node, count) = (known.clone(), known.count());
                if self.open.len() + node.depth() > DEPTH {
                    return Err(too_deep(line));
                }
                self.count(count, line)?;
                self.put(node, 0)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Fault::new(line, "a second document in one file").help("keep one task in a file"))
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize, is_map: bool, tag: Option<&Tag>) -> Result<(), Fault> {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            return Err(foreign(tag, line));
        }
        if self.open.len() >= DEPTH {
            return Err(too_deep(line));
        }
        self.count(1, line)?;
        self.open.push(Open { line, anchor, is_map, items: Vec::new() });
        Ok(())
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES {
            return Err(Fault::new(line, format!("more than {NODES} values, with all that aliases stand for")));
        }
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        if anchor > 0 {
            // What is kept for aliases counts too, so that nested anchors cannot multiply memory.
            self.count(node.count(), node.line)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

fn too_deep(line: usize) -> Fault {
    Fault::new(line, format!("values nested more than {DEPTH} deep"))
}

fn foreign(tag: &Tag, line: usize) -> Fault {
    Fault::new(line, format!("the tag `{}{}`, which has no meaning here", tag.handle, tag.suffix))
}

/// The fields of a map, whose keys and values alternate. `<<` brings the fields of other maps that are not given.
fn map(items: Vec<Node>) -> Result<Kind, Fault> {
    let mut fields: Vec<(String, Node)> = Vec::new();
    let mut merged: Vec<(String, Node)> = Vec::new();
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        let line = key.line;
        let name = match key.kind {
            Kind::Text(text) => text,
            Kind::Int(number) => number.to_string(),
            Kind::Bool(value) => value.to_string(),
            _ => return Err(Fault::new(line, "a field whose name is no text")),
        };
        match (name.as_str(), value.kind) {
            ("<<", Kind::Map(more)) => merged.extend(more),
            ("<<", Kind::List(maps)) => {
                merged.extend(
                    maps.into_iter().flat_map(|m| if let Kind::Map(more) = m.kind { more } else { Vec::new() }),
                );
            }
            (_, kind) => {
                if fields.iter().any(|(known, _)| *known == name) {
                    return Err(Fault::new(line, format!("`{name}` is given twice")));
                }
                fields.push((name, Node { line: value.line, kind }));
            }
        }
    }
    for (name, node) in merged {
        if !fields.iter().any(|(known, _)| *known == name) {
            fields.push((name, node));
        }
    }
    Ok(Kind::Map(fields))
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Kind, Fault> {
    match tag {
        Some(tag) if tag.suffix == "function" => return Ok(Kind::Function(text)),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Ok(Kind::Text(text)),
        Some(tag) if !tag.is_yaml_core_schema() => return Err(foreign(tag, line)),
        _ => {}
    }
    Ok(if style == ScalarStyle::Plain { plain(text) } else { Kind::Text(text) })
}

fn plain(text: String) -> Kind {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Kind::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Kind::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['-', '+']);
    if text.len() - digits.len() > 1 || !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Kind::Text(text);
    }
    let number = text.replace('_', "");
    if let Ok(number) = number.parse::<i64>()
        && (digits == "0" || !digits.starts_with('0'))
    {
        return Kind::Int(number);
    }
    match number.parse::<f64>() {
        Ok(real) if text.contains('.') && real.is_finite() => Kind::Real(real),
        _ => Kind::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(source: &str) -> Vec<Kind> {
        match parse(source).unwrap().kind {
            Kind::List(items) => items.into_iter().map(|node| node.kind).collect(),
            other => vec![other],
        }
    }

    fn fault(source: &str) -> Fault {
        parse(source).unwrap_err()
    }

    #[test]
    fn scalars_are_those_of_pyyaml() {
        let text = |text: &str| Kind::Text(text.into());
        let all = kinds("[yes, 'yes', Off, 12, -1_000, 1e5, 1.5e3, ~, '', 007, 3a, '-', .5, !!str 4, !function a.b]");
        let expected = [
            Kind::Bool(true),
            text("yes"),
            Kind::Bool(false),
            Kind::Int(12),
            Kind::Int(-1000),
            text("1e5"),
            Kind::Real(1500.0),
            Kind::Null,
            text(""),
            text("007"),
            text("3a"),
            text("-"),
            Kind::Real(0.5),
            text("4"),
            Kind::Function("a.b".into()),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn aliases_and_merges_stand_for_what_they_name() {
        let Kind::Map(fields) = parse("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n").unwrap().kind else { panic!() };
        let Kind::Map(b) = &fields[1].1.kind else { panic!() };
        let names: Vec<_> = b.iter().map(|(name, node)| (name.as_str(), node.kind.clone())).collect();
        assert_eq!(names, [("q", Kind::Int(3)), ("p", Kind::Int(1))]);
        assert_eq!(b[0].1.line, 4);
    }

    #[test]
    fn bombs_are_refused_at_their_line() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let before = format!("*a{}", i - 1);
            bomb += &format!("a{i}: &a{i} [{}]\n", [before.as_str(); 10].join(", "));
        }
        let found = fault(&bomb);
        assert!(found.title.contains("100000 values") && (4..=6).contains(&found.line), "{found:?}");
        let deep = fault(&"[".repeat(5000));
        assert!(deep.title.contains("deep") || deep.title.contains("recursion"), "{deep:?}");
        assert!(fault(&("- ".repeat(100) + "x")).title.contains("deep"));
        assert!(fault(&" ".repeat(BYTES + 1)).title.contains("bytes"));
        assert!(fault(&format!("[{}]", "1,".repeat(NODES))).title.contains("values"));
        let nested = "a: &a [1]\n".to_owned()
            + &(1..80)
                .map(|i| format!("b{i}: &b{i} [*{}]\n", if i == 1 { "a".into() } else { format!("b{}", i - 1) }))
                .collect::<String>();
        assert!(fault(&nested).title.contains("deep"));
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for (source, line) in [
            ("a: &a [*a]", 1),
            ("x: 1\nx: 2", 2),
            ("a: 1\n---\nb: 2", 2),
            ("a: [1\nb: 2", 2),
            ("", 1),
            ("a: !secret x", 1),
        ] {
            assert!(fault(source).line.abs_diff(line) <= 1, "{source}: {:?}", fault(source));
        }
    }
}
