//! The fields of a task file, with those of the files that it includes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value as Json;

use super::Fault;
use super::yaml::{self, Kind, Node};

/// The deepest chain of files that include each other.
const DEPTH: usize = 8;
/// The most files that one task is made of.
const FILES: usize = 64;

/// A field, and the file that it stands in.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) node: Node,
    pub(super) file: Arc<Path>,
}

/// Fields that are taken one by one, so that what is left is unknown.
#[derive(Debug)]
pub(super) struct Fields(Vec<Field>);

/// The fields of `path` and what it includes, and those files.
pub(super) fn read(path: &Path) -> Result<(Fields, Vec<PathBuf>), Fault> {
    let mut files = Vec::new();
    let fields = included(path, &mut files, 0)?;
    Ok((Fields(fields), files))
}

fn included(path: &Path, files: &mut Vec<PathBuf>, depth: usize) -> Result<Vec<Field>, Fault> {
    let of_file = |fault: Fault| Fault { file: Some(path.to_path_buf()), ..fault };
    if depth > DEPTH || files.len() >= FILES {
        return Err(of_file(Fault::new(1, "files that include each other without end")));
    }
    let mut source = Vec::new();
    // One byte more than may be read is enough to see that it is too long.
    File::open(path)
        .and_then(|file| file.take((1 << 20) + 1).read_to_end(&mut source))
        .map_err(|error| of_file(Fault::new(1, format!("it cannot be read: {error}"))))?;
    files.push(path.to_path_buf());
    let source = String::from_utf8(source).map_err(|_| of_file(Fault::new(1, "a file that is not UTF-8")))?;
    let root = yaml::parse(&source).map_err(of_file)?;
    let Kind::Map(own) = root.kind else {
        return Err(of_file(Fault::new(root.line, "a file that is no map of fields")));
    };
    let file: Arc<Path> = path.into();
    let mut all: Vec<Field> = Vec::new();
    let folder = path.parent().unwrap_or(Path::new("."));
    for (_, node) in own.iter().filter(|(name, _)| name == "include") {
        for include in node.clone().into_list() {
            let Some(name) = include.text() else {
                return Err(of_file(Fault::new(include.line, "`include` without the path of a file")));
            };
            included(&folder.join(name), files, depth + 1)?.into_iter().for_each(|field| put(&mut all, field));
        }
    }
    for (name, node) in own.into_iter().filter(|(name, _)| name != "include") {
        put(&mut all, Field { name, node, file: file.clone() });
    }
    Ok(all)
}

fn put(all: &mut Vec<Field>, field: Field) {
    all.retain(|known| known.name != field.name);
    all.push(field);
}

impl Node {
    /// The items of a list, or the only one.
    pub(super) fn into_list(self) -> Vec<Node> {
        match self.kind {
            Kind::List(items) => items,
            _ => vec![self],
        }
    }

    /// As JSON, if no Python is in it.
    pub(super) fn json(&self) -> Option<Json> {
        Some(match &self.kind {
            Kind::Null => Json::Null,
            Kind::Bool(value) => Json::from(*value),
            Kind::Int(value) => Json::from(*value),
            Kind::Real(value) => Json::from(*value),
            Kind::Text(text) => Json::from(text.as_str()),
            Kind::List(items) => items.iter().map(Node::json).collect::<Option<_>>()?,
            Kind::Map(fields) => {
                let fields = fields.iter().map(|(name, node)| Some((name.clone(), node.json()?)));
                Json::Object(fields.collect::<Option<_>>()?)
            }
            Kind::Function(_) => return None,
        })
    }
}

impl Field {
    /// A fault of this field.
    pub(super) fn fault(&self, title: impl Into<String>) -> Fault {
        Fault { file: Some(self.file.to_path_buf()), ..Fault::new(self.node.line, title) }
    }

    /// That it is not what it must be.
    pub(super) fn unfit(&self, wanted: &str) -> Fault {
        if let Kind::Function(name) = &self.node.kind {
            let help = "write it as a Jinja template, or compute it into a column of the data beforehand";
            return self.fault(format!("`{}` is the Python function `{name}`, which is not run", self.name)).help(help);
        }
        self.fault(format!("`{}` is not {wanted}", self.name))
    }

    pub(super) fn text(&self) -> Result<String, Fault> {
        self.node.text().map(str::to_owned).ok_or_else(|| self.unfit("a text"))
    }

    pub(super) fn count(&self) -> Result<usize, Fault> {
        match self.node.kind {
            Kind::Int(n) => usize::try_from(n).map_err(|_| self.unfit("a whole number from 0")),
            _ => Err(self.unfit("a whole number from 0")),
        }
    }

    pub(super) fn truth(&self) -> Result<bool, Fault> {
        match self.node.kind {
            Kind::Bool(truth) => Ok(truth),
            _ => Err(self.unfit("`true` or `false`")),
        }
    }

    pub(super) fn real(&self) -> Result<f64, Fault> {
        match &self.node.kind {
            Kind::Int(n) => Ok(*n as f64),
            Kind::Real(real) => Ok(*real),
            Kind::Text(text) => text.parse().map_err(|_| self.unfit("a number")),
            _ => Err(self.unfit("a number")),
        }
    }

    /// A text, or each of a list of them.
    pub(super) fn texts(&self) -> Result<Vec<String>, Fault> {
        let items = self.node.clone().into_list();
        items.into_iter().map(|node| self.of(&self.name, node).text()).collect()
    }

    /// A part of it, under its own name.
    pub(super) fn of(&self, name: &str, node: Node) -> Field {
        Field { name: name.to_owned(), node, file: self.file.clone() }
    }

    /// The fields within it, named `outer.inner`.
    pub(super) fn fields(&self) -> Result<Fields, Fault> {
        let Kind::Map(fields) = &self.node.kind else { return Err(self.unfit("a map of fields")) };
        Ok(Fields(fields.iter().map(|(name, node)| self.of(&format!("{}.{name}", self.name), node.clone())).collect()))
    }

    /// Each item of a list.
    pub(super) fn items(&self) -> Result<Vec<Field>, Fault> {
        match &self.node.kind {
            Kind::List(items) => Ok(items.iter().map(|node| self.of(&self.name, node.clone())).collect()),
            _ => Err(self.unfit("a list")),
        }
    }
}

impl Fields {
    /// Takes the field whose name, or its last part, is `name`; one that is null is as if it were not there.
    pub(super) fn take(&mut self, name: &str) -> Option<Field> {
        let is_it =
            |field: &Field| field.name == name || field.name.rsplit_once('.').is_some_and(|(_, last)| last == name);
        let at = self.0.iter().position(is_it)?;
        Some(self.0.remove(at)).filter(|field| field.node.kind != Kind::Null)
    }

    /// Takes all.
    pub(super) fn rest(&mut self) -> Vec<Field> {
        std::mem::take(&mut self.0)
    }

    /// Refuses what was not taken.
    pub(super) fn end(self) -> Result<(), Fault> {
        match self.0.into_iter().find(|field| field.node.kind != Kind::Null) {
            None => Ok(()),
            Some(field) if matches!(field.node.kind, Kind::Function(_)) => Err(field.unfit("")),
            Some(field) => {
                let title = format!("the field `{}`, which may change the result, is not known here", field.name);
                Err(field.fault(title).help("take it out if the task does without it"))
            }
        }
    }
}
