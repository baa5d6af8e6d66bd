//! Reading: standard input, named files, lines.

use super::files::Errno;
use super::state::{Fd, Flow, Run, Shell, Stream};
use std::sync::Arc;

/// Bytes to read, line by line or at once. What it takes from a descriptor, later readers do not see.
#[derive(Debug)]
pub(crate) struct Source {
    data: Arc<Vec<u8>>,
    at: usize,
    cut: Option<super::Stopped>,
    fd: Option<Fd>,
}

impl Source {
    /// What is left of standard input.
    pub(crate) fn stdin(shell: &Shell) -> Self {
        let fd = shell.env.fds.get(&0).cloned();
        let (data, at, cut) = match fd.as_ref().map(|fd| fd.borrow()).as_deref() {
            Some(Stream::Input { data, at, cut }) => (Arc::clone(data), *at, *cut),
            Some(Stream::File { id, at, .. }) => (shell.files.bytes_of(*id).unwrap_or_default(), *at, None),
            _ => (Arc::default(), 0, None),
        };
        Source { data, at, cut, fd }
    }

    /// The file `name`, or standard input for `-`.
    pub(crate) fn open(shell: &Shell, name: &[u8]) -> Result<Self, Errno> {
        if name == b"-" || name == b"/dev/stdin" {
            return Ok(Self::stdin(shell));
        }
        let id = shell.files.find(&shell.env.cwd, name, true)?;
        Ok(Source { data: shell.files.bytes_of(id)?, at: 0, cut: None, fd: None })
    }

    fn moved(&mut self, to: usize) {
        self.at = to;
        if let Some(fd) = &self.fd {
            match &mut *fd.borrow_mut() {
                Stream::Input { at, .. } | Stream::File { at, .. } => *at = to,
                _ => {}
            }
        }
    }

    /// Stops the reader who wants more than a cut pipe gave.
    fn ended(&self, shell: &Shell) -> Run<()> {
        match self.cut {
            Some(limit) => Err(match shell.exhausted(limit) {
                Flow::Cut => Flow::Cut,
                _ => Flow::Stop(limit),
            }),
            None => Ok(()),
        }
    }

    /// The next line without its `end`, and whether it had one.
    pub(crate) fn line(&mut self, shell: &mut Shell, end: u8) -> Run<Option<(Vec<u8>, bool)>> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        let found = rest.iter().position(|byte| *byte == end);
        if found.is_none() {
            self.ended(shell)?;
            if rest.is_empty() {
                return Ok(None);
            }
        }
        let length = found.unwrap_or(rest.len());
        shell.charge(1 + length as u64 / 64)?;
        let line = rest[..length].to_vec();
        self.moved(self.at + length + usize::from(found.is_some()));
        Ok(Some((line, found.is_some())))
    }

    /// Is nothing left?
    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.data.len()
    }

    /// At most `most` bytes.
    pub(crate) fn bytes(&mut self, shell: &mut Shell, most: usize) -> Run<Vec<u8>> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        if rest.len() < most {
            self.ended(shell)?;
        }
        let taken = rest[..most.min(rest.len())].to_vec();
        shell.charge_bytes(taken.len())?;
        self.moved(self.at + taken.len());
        Ok(taken)
    }

    pub(crate) fn rest(&mut self, shell: &mut Shell) -> Run<Vec<u8>> {
        self.bytes(shell, usize::MAX)
    }

    /// Sends everything to standard output, what a cut pipe still gave too.
    pub(crate) fn copy(&mut self, shell: &mut Shell) -> Run<()> {
        let data = Arc::clone(&self.data);
        let rest = data.get(self.at..).unwrap_or_default();
        self.moved(data.len());
        shell.out(rest)?;
        self.ended(shell)
    }
}

/// A source and its name.
pub(crate) type Named = (Vec<u8>, Source);

impl Shell {
    /// Opens the named files one after the other (standard input if none is named); says which cannot be read.
    pub(crate) fn sources(&mut self, tool: &str, names: &[Vec<u8>]) -> Run<(Vec<Named>, bool)> {
        if names.is_empty() {
            return Ok((vec![(b"-".to_vec(), Source::stdin(self))], true));
        }
        let mut opened = Vec::new();
        let mut all = true;
        for name in names {
            match Source::open(self, name) {
                Ok(source) => opened.push((name.clone(), source)),
                Err(errno) => {
                    self.warn_path(tool, name, errno)?;
                    all = false;
                }
            }
        }
        Ok((opened, all))
    }
}

/// The lines of `bytes`, without their ends.
pub(crate) fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if bytes.is_empty() || bytes.ends_with(b"\n") {
        lines.pop();
    }
    lines
}
