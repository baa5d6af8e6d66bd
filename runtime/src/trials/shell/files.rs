//! A tree of directories, files and links in memory. It has no way to the host's files.

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) type Id = usize;
pub(crate) const ROOT: Id = 0;
pub(crate) const HOME: &[u8] = b"/home/user";

/// Why a file operation fails, in the words of the C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errno {
    Missing,
    NotDirectory,
    IsDirectory,
    Exists,
    NotEmpty,
    Loop,
    Denied,
    TooLong,
    Invalid,
}

impl Errno {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Errno::Missing => "No such file or directory",
            Errno::NotDirectory => "Not a directory",
            Errno::IsDirectory => "Is a directory",
            Errno::Exists => "File exists",
            Errno::NotEmpty => "Directory not empty",
            Errno::Loop => "Too many levels of symbolic links",
            Errno::Denied => "Permission denied",
            Errno::TooLong => "File name too long",
            Errno::Invalid => "Invalid argument",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Directory(BTreeMap<Vec<u8>, Id>),
    File(Arc<Vec<u8>>),
    Link(Vec<u8>),
    /// `/dev/null`: empty, and swallows what is written to it.
    Null,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) content: Content,
    pub(crate) mode: u32,
    /// The number of the change that touched it last: what stands for a time of modification.
    pub(crate) changed: u64,
    pub(crate) links: usize,
}

impl Node {
    pub(crate) fn is_dir(&self) -> bool {
        matches!(self.content, Content::Directory(_))
    }

    pub(crate) fn is_link(&self) -> bool {
        matches!(self.content, Content::Link(_))
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self.content, Content::File(_))
    }

    pub(crate) fn size(&self) -> usize {
        match &self.content {
            Content::Directory(_) => 4096,
            Content::File(bytes) => bytes.len(),
            Content::Link(target) => target.len(),
            Content::Null => 0,
        }
    }
}

/// What a path leads to.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub(crate) parent: Id,
    pub(crate) name: Vec<u8>,
    pub(crate) id: Option<Id>,
    /// The path without links and dots.
    pub(crate) full: Vec<u8>,
}

/// What one path of a tree holds, as [`Files::entries`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A file and its bytes.
    File(Arc<Vec<u8>>),
    /// A symbolic link and where it points.
    Link(Vec<u8>),
}

/// A tree of files in memory: what scripts see as `/`. Copies share their bytes until one of them changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    nodes: BTreeMap<Id, Node>,
    next: Id,
    changes: u64,
    bytes: usize,
}

impl Default for Files {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

impl Files {
    /// A tree with `/home/user` (where scripts begin), `/tmp`, `/bin` and `/dev/null`.
    #[must_use]
    pub fn new() -> Self {
        let root = Node { content: Content::Directory(BTreeMap::new()), mode: 0o755, changed: 0, links: 2 };
        let mut files = Files { nodes: BTreeMap::from([(ROOT, root)]), next: 1, changes: 0, bytes: 0 };
        for path in [b"/home" as &[u8], HOME, b"/tmp", b"/bin", b"/dev"] {
            let _ = files.mkdir(b"/", path, 0o755);
        }
        let _ = files.create_at(b"/", b"/dev/null", Content::Null, 0o666);
        files
    }

    /// Writes `bytes` to the file at the absolute path `path`, making the directories on the way.
    /// The answer is no if something else stands in the way.
    pub fn write(&mut self, path: &str, bytes: &[u8]) -> bool {
        let path = path.as_bytes();
        if let Some(slash) = path.iter().rposition(|byte| *byte == b'/')
            && self.mkdir_all(b"/", &path[..slash]).is_err()
        {
            return false;
        }
        let Ok(id) = self.open(b"/", path, 0o644) else { return false };
        self.truncate(id, 0);
        self.write_at(id, 0, bytes);
        true
    }

    /// The bytes of the file at `path`, links followed.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<Arc<Vec<u8>>> {
        self.bytes_of(self.find(b"/", path.as_bytes(), true).ok()?).ok()
    }

    /// Every path beneath `/home/user` and `/tmp` or made elsewhere by scripts, in order, with its mode.
    #[must_use]
    pub fn entries(&self) -> Vec<(Vec<u8>, u32, Entry)> {
        let mut found = Vec::new();
        let mut todo = vec![(b"/".to_vec(), ROOT)];
        while let Some((path, id)) = todo.pop() {
            let Some(node) = self.nodes.get(&id) else { continue };
            let entry = match &node.content {
                Content::Directory(children) => {
                    todo.extend(children.iter().rev().map(|(name, child)| (join(&path, name), *child)));
                    Entry::Directory
                }
                Content::File(bytes) => Entry::File(Arc::clone(bytes)),
                Content::Link(target) => Entry::Link(target.clone()),
                Content::Null => continue,
            };
            found.push((path, node.mode, entry));
        }
        found
    }

    /// How many bytes all files hold.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes
    }

    /// How many files, directories and links there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub(crate) fn children(&self, id: Id) -> Option<&BTreeMap<Vec<u8>, Id>> {
        match &self.nodes.get(&id)?.content {
            Content::Directory(children) => Some(children),
            _ => None,
        }
    }

    pub(crate) fn bytes_of(&self, id: Id) -> Result<Arc<Vec<u8>>, Errno> {
        let node = self.nodes.get(&id).ok_or(Errno::Missing)?;
        match &node.content {
            Content::Directory(_) => Err(Errno::IsDirectory),
            _ if node.mode & 0o400 == 0 => Err(Errno::Denied),
            Content::File(bytes) => Ok(Arc::clone(bytes)),
            Content::Null => Ok(Arc::default()),
            Content::Link(_) => Err(Errno::Loop),
        }
    }

    /// Follows `path` from the directory `cwd`. What is missing at its very end is no error.
    pub(crate) fn walk(&self, cwd: &[u8], path: &[u8], follow: bool) -> Result<Spot, Errno> {
        if path.is_empty() {
            return Err(Errno::Missing);
        }
        if path.len() > 4096 {
            return Err(Errno::TooLong);
        }
        let mut pending: Vec<Vec<u8>> = Vec::new();
        push(&mut pending, path);
        let must_be_directory = path.ends_with(b"/");
        if !path.starts_with(b"/") {
            push(&mut pending, cwd);
        }
        let mut stack: Vec<(Vec<u8>, Id)> = Vec::new();
        let mut hops = 0;
        while let Some(name) = pending.pop() {
            let here = stack.last().map_or(ROOT, |(_, id)| *id);
            let children = self.children(here).ok_or(Errno::NotDirectory)?;
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    stack.pop();
                    continue;
                }
                _ => {}
            }
            if name.len() > 255 {
                return Err(Errno::TooLong);
            }
            let last = pending.is_empty();
            let Some(&id) = children.get(&name) else {
                if !last {
                    return Err(Errno::Missing);
                }
                let mut full = full_path(&stack);
                full = join(&full, &name);
                return Ok(Spot { parent: here, name, id: None, full });
            };
            if let Some(Node { content: Content::Link(target), .. }) = self.nodes.get(&id)
                && (!last || follow || must_be_directory)
            {
                hops += 1;
                if hops > 40 {
                    return Err(Errno::Loop);
                }
                if target.starts_with(b"/") {
                    stack.clear();
                }
                push(&mut pending, target);
                continue;
            }
            stack.push((name, id));
        }
        let full = full_path(&stack);
        let id = stack.last().map_or(ROOT, |(_, id)| *id);
        if must_be_directory && !self.nodes.get(&id).is_some_and(Node::is_dir) {
            return Err(Errno::NotDirectory);
        }
        let name = stack.pop().map(|(name, _)| name).unwrap_or_default();
        Ok(Spot { parent: stack.last().map_or(ROOT, |(_, id)| *id), name, id: Some(id), full })
    }

    pub(crate) fn find(&self, cwd: &[u8], path: &[u8], follow: bool) -> Result<Id, Errno> {
        self.walk(cwd, path, follow)?.id.ok_or(Errno::Missing)
    }

    fn touch_node(&mut self, id: Id) {
        self.changes += 1;
        let now = self.changes;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.changed = now;
        }
    }

    pub(crate) fn touch(&mut self, id: Id) {
        self.touch_node(id);
    }

    pub(crate) fn set_changed(&mut self, id: Id, changed: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.changed = changed;
        }
    }

    pub(crate) fn chmod(&mut self, id: Id, mode: u32) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.mode = mode;
        }
    }

    fn may_change(&self, directory: Id) -> Result<(), Errno> {
        match self.nodes.get(&directory) {
            Some(node) if node.is_dir() && node.mode & 0o200 != 0 => Ok(()),
            Some(node) if node.is_dir() => Err(Errno::Denied),
            Some(_) => Err(Errno::NotDirectory),
            None => Err(Errno::Missing),
        }
    }

    fn enter(&mut self, parent: Id, name: &[u8], id: Id) -> Result<(), Errno> {
        self.may_change(parent)?;
        if let Some(Node { content: Content::Directory(children), .. }) = self.nodes.get_mut(&parent) {
            children.insert(name.to_vec(), id);
        }
        self.touch_node(parent);
        Ok(())
    }

    pub(crate) fn create_at(&mut self, cwd: &[u8], path: &[u8], content: Content, mode: u32) -> Result<Id, Errno> {
        let spot = self.walk(cwd, path, false)?;
        if spot.id.is_some() {
            return Err(Errno::Exists);
        }
        let id = self.next;
        self.enter(spot.parent, &spot.name, id)?;
        self.next += 1;
        if let Content::File(bytes) = &content {
            self.bytes += bytes.len();
        }
        self.changes += 1;
        let links = if matches!(content, Content::Directory(_)) { 2 } else { 1 };
        self.nodes.insert(id, Node { content, mode, changed: self.changes, links });
        Ok(id)
    }

    pub(crate) fn mkdir(&mut self, cwd: &[u8], path: &[u8], mode: u32) -> Result<Id, Errno> {
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(path.len().min(1), |at| at + 1);
        self.create_at(cwd, &path[..end], Content::Directory(BTreeMap::new()), mode)
    }

    pub(crate) fn mkdir_all(&mut self, cwd: &[u8], path: &[u8]) -> Result<(), Errno> {
        let mut end = 0;
        while end < path.len() {
            end = path[end + 1..].iter().position(|byte| *byte == b'/').map_or(path.len(), |at| end + 1 + at);
            match self.mkdir(cwd, &path[..end], 0o755) {
                Ok(_) => {}
                Err(Errno::Exists)
                    if self.find(cwd, &path[..end], true).is_ok_and(|id| self.node(id).is_some_and(Node::is_dir)) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// The file at `path`, made if there is none, to be written to.
    pub(crate) fn open(&mut self, cwd: &[u8], path: &[u8], mode: u32) -> Result<Id, Errno> {
        let spot = self.walk(cwd, path, true)?;
        if let Some(id) = spot.id {
            let node = self.nodes.get(&id).ok_or(Errno::Missing)?;
            return match node.content {
                Content::Directory(_) => Err(Errno::IsDirectory),
                _ if node.mode & 0o200 == 0 => Err(Errno::Denied),
                _ => Ok(id),
            };
        }
        if path.ends_with(b"/") {
            return Err(Errno::IsDirectory);
        }
        self.create_at(b"/", &spot.full, Content::File(Arc::default()), mode)
    }

    pub(crate) fn truncate(&mut self, id: Id, length: usize) {
        if let Some(Node { content: Content::File(bytes), .. }) = self.nodes.get_mut(&id) {
            self.bytes = self.bytes - bytes.len() + length;
            Arc::make_mut(bytes).resize(length, 0);
        }
        self.touch_node(id);
    }

    /// Writes at `offset` and gives the offset behind.
    pub(crate) fn write_at(&mut self, id: Id, offset: usize, more: &[u8]) -> usize {
        let end = offset + more.len();
        if let Some(Node { content: Content::File(bytes), .. }) = self.nodes.get_mut(&id) {
            let bytes = Arc::make_mut(bytes);
            if bytes.len() < end {
                self.bytes += end - bytes.len();
                bytes.resize(end, 0);
            }
            bytes[offset..end].copy_from_slice(more);
        }
        self.touch_node(id);
        end
    }

    pub(crate) fn hard_link(&mut self, id: Id, cwd: &[u8], path: &[u8]) -> Result<(), Errno> {
        let spot = self.walk(cwd, path, false)?;
        if spot.id.is_some() {
            return Err(Errno::Exists);
        }
        self.enter(spot.parent, &spot.name, id)?;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.links += 1;
        }
        Ok(())
    }

    /// Takes the entry `name` out of its directory; the last one frees the bytes.
    pub(crate) fn remove(&mut self, parent: Id, name: &[u8]) -> Result<(), Errno> {
        self.may_change(parent)?;
        let Some(&id) = self.children(parent).and_then(|children| children.get(name)) else {
            return Err(Errno::Missing);
        };
        if self.children(id).is_some_and(|children| !children.is_empty()) {
            return Err(Errno::NotEmpty);
        }
        if let Some(Node { content: Content::Directory(children), .. }) = self.nodes.get_mut(&parent) {
            children.remove(name);
        }
        self.touch_node(parent);
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        node.links = node.links.saturating_sub(1);
        if node.links == 0 || node.is_dir() {
            if let Content::File(bytes) = &node.content {
                self.bytes -= bytes.len();
            }
            self.nodes.remove(&id);
        }
        Ok(())
    }

    /// Moves an entry; whatever stood at the target is gone, if it may go.
    pub(crate) fn rename(&mut self, from: &Spot, to: &Spot) -> Result<(), Errno> {
        let id = from.id.ok_or(Errno::Missing)?;
        if to.id == Some(id) {
            return Ok(());
        }
        let inside = to.full.starts_with(&from.full) && to.full.get(from.full.len()) == Some(&b'/');
        if from.name.is_empty() || to.name.is_empty() || inside {
            return Err(Errno::Invalid);
        }
        self.may_change(from.parent)?;
        if let Some(old) = to.id {
            let is_dir = |id: Id| self.nodes.get(&id).is_some_and(Node::is_dir);
            match (is_dir(id), is_dir(old)) {
                (true, false) => return Err(Errno::NotDirectory),
                (false, true) => return Err(Errno::IsDirectory),
                _ => self.remove(to.parent, &to.name)?,
            }
        }
        self.enter(to.parent, &to.name, id)?;
        if let Some(Node { content: Content::Directory(children), .. }) = self.nodes.get_mut(&from.parent) {
            children.remove(&from.name);
        }
        self.touch_node(from.parent);
        Ok(())
    }
}

/// Puts the names of a path on the stack, the first on top.
fn push(pending: &mut Vec<Vec<u8>>, path: &[u8]) {
    pending.extend(path.split(|byte| *byte == b'/').rev().filter(|name| !name.is_empty()).map(<[u8]>::to_vec));
}

fn full_path(stack: &[(Vec<u8>, Id)]) -> Vec<u8> {
    if stack.is_empty() {
        return b"/".to_vec();
    }
    let mut path = Vec::new();
    for (name, _) in stack {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    path
}
