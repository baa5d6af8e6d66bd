//! Redirections.

use super::ast::{Redirect, RedirectOp};
use super::files::{Content, Errno};
use super::state::{Fd, Run, Shell, Stream, show};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

fn fresh(stream: Stream) -> Fd {
    Rc::new(RefCell::new(stream))
}

impl Shell {
    /// Carries out a redirection on the shell's own descriptors; no if it failed, which has been said.
    pub(crate) fn redirect(&mut self, redirect: &Redirect) -> Run<bool> {
        match redirect.op {
            RedirectOp::HereDocument => {
                let text = match redirect.body.get() {
                    Some(word) => self.expand_text(word)?,
                    None => Vec::new(),
                };
                self.give(redirect.fd, text)?;
                return Ok(true);
            }
            RedirectOp::HereString => {
                let mut text = self.expand_text(&redirect.word)?;
                text.push(b'\n');
                self.give(redirect.fd, text)?;
                return Ok(true);
            }
            _ => {}
        }
        let names = self.expand_words(std::slice::from_ref(&redirect.word))?;
        let [name] = names.as_slice() else {
            self.complain("ambiguous redirect")?;
            return Ok(false);
        };
        let opened = match redirect.op {
            RedirectOp::Duplicate => return self.duplicate(redirect.fd, name),
            RedirectOp::Read => self.open_input(name),
            RedirectOp::Append | RedirectOp::BothAppend => self.open_output(name, true),
            RedirectOp::ReadWrite => self.open_both(name),
            RedirectOp::Write if self.env.settings.noclobber && self.files.find(&self.env.cwd, name, true).is_ok() => {
                self.complain(&format!("{}: cannot overwrite existing file", show(name)))?;
                return Ok(false);
            }
            _ => self.open_output(name, false),
        };
        self.check_files()?;
        match opened {
            Ok(fd) => {
                if matches!(redirect.op, RedirectOp::Both | RedirectOp::BothAppend) {
                    self.env.fds.insert(2, Rc::clone(&fd));
                }
                self.env.fds.insert(redirect.fd, fd);
                Ok(true)
            }
            Err(errno) => {
                self.complain(&format!("{}: {}", show(name), errno.text()))?;
                Ok(false)
            }
        }
    }

    fn give(&mut self, fd: u32, text: Vec<u8>) -> Run<()> {
        self.charge_bytes(text.len())?;
        self.env.fds.insert(fd, fresh(Stream::Input { data: Arc::new(text), at: 0, cut: None }));
        Ok(())
    }

    fn duplicate(&mut self, fd: u32, name: &[u8]) -> Run<bool> {
        if name == b"-" {
            self.env.fds.remove(&fd);
            return Ok(true);
        }
        let digits = std::str::from_utf8(name).ok().and_then(|text| text.parse::<u32>().ok());
        let Some(source) = digits else {
            // `>& file` is `&> file`.
            let opened = self.open_output(name, false);
            return match opened {
                Ok(file) => {
                    self.env.fds.insert(1, Rc::clone(&file));
                    self.env.fds.insert(2, file);
                    Ok(true)
                }
                Err(errno) => {
                    self.complain(&format!("{}: {}", show(name), errno.text()))?;
                    Ok(false)
                }
            };
        };
        match self.env.fds.get(&source).cloned() {
            Some(stream) => {
                self.env.fds.insert(fd, stream);
                Ok(true)
            }
            None => {
                self.complain(&format!("{source}: Bad file descriptor"))?;
                Ok(false)
            }
        }
    }

    fn special(&self, name: &[u8]) -> Option<Fd> {
        let fd = match name {
            b"/dev/stdin" => 0,
            b"/dev/stdout" | b"/dev/tty" => 1,
            b"/dev/stderr" => 2,
            _ => return None,
        };
        self.env.fds.get(&fd).cloned()
    }

    pub(crate) fn open_input(&self, name: &[u8]) -> Result<Fd, Errno> {
        if let Some(fd) = self.special(name) {
            return Ok(fd);
        }
        let id = self.files.find(&self.env.cwd, name, true)?;
        let data = match self.files.bytes_of(id) {
            // Bash opens a directory and the command that reads it complains.
            Err(Errno::IsDirectory) => return Err(Errno::IsDirectory),
            other => other?,
        };
        Ok(fresh(Stream::Input { data, at: 0, cut: None }))
    }

    fn open_both(&mut self, name: &[u8]) -> Result<Fd, Errno> {
        let id = self.files.open(&self.env.cwd, name, 0o666 & !self.env.umask)?;
        Ok(fresh(Stream::File { id, at: 0, append: false }))
    }

    pub(crate) fn open_output(&mut self, name: &[u8], append: bool) -> Result<Fd, Errno> {
        if let Some(fd) = self.special(name) {
            return Ok(fd);
        }
        let id = self.files.open(&self.env.cwd, name, 0o666 & !self.env.umask)?;
        if self.files.node(id).is_some_and(|node| node.content == Content::Null) {
            return Ok(fresh(Stream::Null));
        }
        if !append {
            self.files.truncate(id, 0);
        }
        Ok(fresh(Stream::File { id, at: 0, append }))
    }
}
