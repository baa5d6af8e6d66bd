//! What a running shell holds: variables, descriptors, budget; and how commands read, write and complain.

use super::ast::Command;
use super::files::{Errno, Files, HOME, Id};
use super::{Limits, Stopped};
use indexmap::IndexMap;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Why commands are left before their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Break(usize),
    Continue(usize),
    Return(i32),
    Exit(i32),
    /// A fault in an expansion: the rest of the line is left.
    Abandon,
    Stop(Stopped),
    /// The stage of a pipeline has used up its share: as if the reader of its pipe had gone.
    Cut,
}

pub(crate) type Run<T = i32> = Result<T, Flow>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(Vec<u8>),
    List(BTreeMap<usize, Vec<u8>>),
    Map(IndexMap<Vec<u8>, Vec<u8>>),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Var {
    pub(crate) value: Option<Value>,
    pub(crate) exported: bool,
    pub(crate) readonly: bool,
    pub(crate) integer: bool,
}

/// What a descriptor leads to.
#[derive(Debug)]
pub(crate) enum Stream {
    Null,
    Input { data: Arc<Vec<u8>>, at: usize, cut: Option<Stopped> },
    Buffer { bytes: Vec<u8>, pipe: bool },
    File { id: Id, at: usize, append: bool },
}

pub(crate) type Fd = Rc<RefCell<Stream>>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) errexit: bool,
    pub(crate) nounset: bool,
    pub(crate) pipefail: bool,
    pub(crate) noglob: bool,
    pub(crate) xtrace: bool,
    pub(crate) noclobber: bool,
    pub(crate) nullglob: bool,
    pub(crate) dotglob: bool,
    pub(crate) nocasematch: bool,
}

/// What a subshell has a copy of.
#[derive(Debug, Clone)]
pub(crate) struct Env {
    pub(crate) vars: BTreeMap<Vec<u8>, Var>,
    pub(crate) functions: BTreeMap<Vec<u8>, Rc<Command>>,
    pub(crate) params: Vec<Vec<u8>>,
    pub(crate) name: Vec<u8>,
    pub(crate) cwd: Vec<u8>,
    pub(crate) settings: Settings,
    /// For each function that runs: what its locals hide.
    pub(crate) locals: Vec<BTreeMap<Vec<u8>, Option<Var>>>,
    pub(crate) umask: u32,
    pub(crate) loops: usize,
    pub(crate) fds: BTreeMap<u32, Fd>,
}

pub(crate) struct Shell {
    pub(crate) files: Files,
    pub(crate) limits: Limits,
    pub(crate) env: Env,
    pub(crate) lacking: Vec<String>,
    pub(crate) status: i32,
    pub(crate) line: usize,
    pub(crate) steps: u64,
    /// The steps that are kept from the running stage for those behind it.
    pub(crate) floor: u64,
    pub(crate) depth: usize,
    /// Above zero where a failure is a condition, not an error (`set -e`).
    pub(crate) conditions: usize,
    pub(crate) seed: u64,
    pub(crate) processes: usize,
}

impl Shell {
    pub(crate) fn new(files: Files, limits: Limits) -> Self {
        let buffer = || Rc::new(RefCell::new(Stream::Buffer { bytes: Vec::new(), pipe: false }));
        let fds = BTreeMap::from([(0, Rc::new(RefCell::new(Stream::Null))), (1, buffer()), (2, buffer())]);
        let mut env = Env {
            vars: BTreeMap::new(),
            functions: BTreeMap::new(),
            params: Vec::new(),
            name: b"bash".to_vec(),
            cwd: HOME.to_vec(),
            settings: Settings::default(),
            locals: Vec::new(),
            umask: 0o022,
            loops: 0,
            fds,
        };
        let given: [(&[u8], &[u8], bool); 9] = [
            (b"HOME", HOME, true),
            (b"PWD", HOME, true),
            (b"PATH", b"/usr/local/bin:/usr/bin:/bin", true),
            (b"USER", b"user", true),
            (b"SHELL", b"/bin/bash", true),
            (b"LC_ALL", b"C", true),
            (b"IFS", b" \t\n", false),
            (b"OPTIND", b"1", false),
            (b"BASH_VERSION", b"5.2.15(1)-release", false),
        ];
        for (name, value, exported) in given {
            let value = Some(Value::Text(value.to_vec()));
            env.vars.insert(name.to_vec(), Var { value, exported, ..Var::default() });
        }
        Shell {
            files,
            steps: limits.steps,
            limits,
            env,
            lacking: Vec::new(),
            status: 0,
            line: 1,
            floor: 0,
            depth: 0,
            conditions: 0,
            seed: 1,
            processes: 0,
        }
    }

    /// What the buffer behind a descriptor has gathered.
    pub(crate) fn taken(&mut self, fd: u32) -> Vec<u8> {
        let Some(stream) = self.env.fds.get(&fd) else { return Vec::new() };
        match &mut *stream.borrow_mut() {
            Stream::Buffer { bytes, .. } => std::mem::take(bytes),
            _ => Vec::new(),
        }
    }

    pub(crate) fn exhausted(&self, limit: Stopped) -> Flow {
        if self.floor > 0 { Flow::Cut } else { Flow::Stop(limit) }
    }

    pub(crate) fn charge(&mut self, steps: u64) -> Run<()> {
        if self.steps < self.floor.saturating_add(steps) {
            self.steps = self.floor;
            return Err(self.exhausted(Stopped::Steps));
        }
        self.steps -= steps;
        Ok(())
    }

    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Run<()> {
        self.charge(bytes as u64 / 64)
    }

    /// Goes one level deeper: into a call, a subshell, a group.
    pub(crate) fn nested<T>(&mut self, work: impl FnOnce(&mut Self) -> Run<T>) -> Run<T> {
        if self.depth >= self.limits.depth {
            return Err(Flow::Stop(Stopped::Depth));
        }
        self.depth += 1;
        let result = stacker::maybe_grow(256 << 10, 2 << 20, || work(self));
        self.depth -= 1;
        result
    }

    pub(crate) fn lack(&mut self, what: &str) {
        if self.lacking.len() < 100 && !self.lacking.iter().any(|known| known == what) {
            self.lacking.push(what.chars().take(200).collect());
        }
    }

    pub(crate) fn write(&mut self, fd: u32, bytes: &[u8]) -> Run<()> {
        self.charge_bytes(bytes.len())?;
        let Some(stream) = self.env.fds.get(&fd).cloned() else { return Ok(()) };
        let most = self.limits.output_bytes;
        match &mut *stream.borrow_mut() {
            Stream::Null | Stream::Input { .. } => {}
            Stream::Buffer { bytes: held, pipe } => {
                if held.len() + bytes.len() > most {
                    let room = most.saturating_sub(held.len());
                    held.extend_from_slice(&bytes[..room.min(bytes.len())]);
                    return Err(if *pipe { Flow::Cut } else { Flow::Stop(Stopped::OutputBytes) });
                }
                held.extend_from_slice(bytes);
            }
            Stream::File { id, at, append } => {
                if self.files.size() + bytes.len() > self.limits.file_bytes {
                    return Err(Flow::Stop(Stopped::FileBytes));
                }
                let size = self.files.node(*id).map_or(0, super::files::Node::size);
                let from = if *append { size } else { *at };
                *at = self.files.write_at(*id, from, bytes);
            }
        }
        Ok(())
    }

    pub(crate) fn out(&mut self, bytes: &[u8]) -> Run<()> {
        self.write(1, bytes)
    }

    pub(crate) fn out_line(&mut self, bytes: &[u8]) -> Run<()> {
        self.write(1, bytes)?;
        self.write(1, b"\n")
    }

    /// Says a line on standard error.
    pub(crate) fn warn(&mut self, message: &str) -> Run<()> {
        let mut line = message.as_bytes().to_vec();
        line.push(b'\n');
        self.write(2, &line)
    }

    /// `tool: path: No such file or directory`
    pub(crate) fn warn_path(&mut self, tool: &str, path: &[u8], errno: Errno) -> Run<()> {
        self.warn(&format!("{tool}: {}: {}", show(path), errno.text()))
    }

    /// Says what the shell itself, not a command, complains of.
    pub(crate) fn complain(&mut self, message: &str) -> Run<()> {
        self.warn(&format!("bash: {message}"))
    }

    /// Are the files still within their limits?
    pub(crate) fn check_files(&mut self) -> Run<()> {
        if self.files.count() > self.limits.files {
            return Err(Flow::Stop(Stopped::Files));
        }
        if self.files.size() > self.limits.file_bytes {
            return Err(Flow::Stop(Stopped::FileBytes));
        }
        Ok(())
    }

    pub(crate) fn text_of(&self, name: &[u8]) -> Option<Vec<u8>> {
        match self.env.vars.get(name)?.value.as_ref()? {
            Value::Text(text) => Some(text.clone()),
            Value::List(items) => items.get(&0).cloned(),
            Value::Map(items) => items.get(b"0".as_slice()).cloned(),
        }
    }

    /// Gives a variable a text; what is read-only stays, with a complaint.
    pub(crate) fn assign(&mut self, name: &[u8], text: Vec<u8>) -> Run<bool> {
        self.charge_bytes(text.len())?;
        if text.len() > self.limits.output_bytes {
            return Err(self.exhausted(Stopped::OutputBytes));
        }
        let (readonly, integer) = self.env.vars.get(name).map_or((false, false), |var| (var.readonly, var.integer));
        if readonly {
            self.complain(&format!("{}: readonly variable", show(name)))?;
            return Ok(false);
        }
        let text = if integer { self.arithmetic(&text)?.to_string().into_bytes() } else { text };
        let var = self.env.vars.entry(name.to_vec()).or_default();
        match &mut var.value {
            Some(Value::List(items)) => {
                items.insert(0, text);
            }
            Some(Value::Map(items)) => {
                items.insert(b"0".to_vec(), text);
            }
            other => *other = Some(Value::Text(text)),
        }
        Ok(true)
    }

    pub(crate) fn path_is_dir(&self, path: &[u8]) -> bool {
        let id = self.files.find(&self.env.cwd, path, true);
        id.is_ok_and(|id| self.files.node(id).is_some_and(super::files::Node::is_dir))
    }
}

/// Bytes as text for a message.
pub(crate) fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
