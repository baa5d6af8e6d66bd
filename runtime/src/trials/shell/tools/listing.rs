//! What is there: `ls`, `stat`, `du`.

use super::super::files::{Content, Id, Node, join};
use super::super::options::Options;
use super::super::state::{Run, Shell, show};
use super::names::base_of;

/// `-rw-r--r--`
pub(crate) fn mode_text(node: &Node) -> String {
    let kind = match node.content {
        Content::Directory(_) => 'd',
        Content::Link(_) => 'l',
        Content::Null => 'c',
        Content::File(_) => '-',
    };
    let mut text = String::from(kind);
    for shift in [6, 3, 0] {
        let bits = node.mode >> shift & 7;
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if bits & bit != 0 { letter } else { '-' });
        }
    }
    text
}

/// Bytes as `4.0K`.
pub(crate) fn human(bytes: usize) -> String {
    let mut value = bytes as f64;
    let mut units = ["", "K", "M", "G", "T"].into_iter();
    let mut unit = units.next().unwrap_or("");
    while value >= 1024.0 {
        match units.next() {
            Some(next) => unit = next,
            None => break,
        }
        value /= 1024.0;
    }
    match unit {
        "" => format!("{bytes}"),
        _ if (value * 10.0).ceil() < 100.0 => format!("{:.1}{unit}", (value * 10.0).ceil() / 10.0),
        _ => format!("{:.0}{unit}", value.ceil()),
    }
}

pub(crate) fn size_in_bytes(text: &[u8]) -> Option<usize> {
    let (digits, factor) = match text {
        [rest @ .., b'k' | b'K'] => (rest, 1 << 10),
        [rest @ .., b'M'] => (rest, 1 << 20),
        [rest @ .., b'G'] => (rest, 1 << 30),
        _ => (text, 1),
    };
    std::str::from_utf8(digits).ok()?.parse::<usize>().ok()?.checked_mul(factor)
}

struct Row {
    name: Vec<u8>,
    id: Id,
}

const LS_LONG: &[(&str, u8)] = &[
    ("all", b'a'),
    ("almost-all", b'A'),
    ("recursive", b'R'),
    ("reverse", b'r'),
    ("human-readable", b'h'),
    ("directory", b'd'),
    ("color", b'\x01'),
    ("classify", b'F'),
];

pub(crate) fn ls(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "aAl1hrRtSdFpingoGqUX", LS_LONG);
    let names = if options.operands.is_empty() { vec![b".".to_vec()] } else { options.operands.clone() };
    let mut status = 0;
    let (mut plain, mut directories) = (Vec::new(), Vec::new());
    for name in names {
        let follow = !options.has(b'l');
        let found = shell.files.find(&shell.env.cwd, &name, follow);
        let found = found.or_else(|_| shell.files.find(&shell.env.cwd, &name, false));
        match found {
            Ok(id) => {
                let row = Row { name, id };
                let is_dir = shell.files.node(id).is_some_and(Node::is_dir) && !options.has(b'd');
                if is_dir { directories.push(row) } else { plain.push(row) }
            }
            Err(errno) => {
                shell.warn(&format!("ls: cannot access '{}': {}", show(&name), errno.text()))?;
                status = 2;
            }
        }
    }
    let titled = options.operands.len() > 1 || options.has(b'R');
    let mut first = plain.is_empty();
    sort_rows(shell, &mut plain, &options);
    sort_rows(shell, &mut directories, &options);
    print_rows(shell, &plain, &options, false)?;
    let mut todo: Vec<Row> = directories.into_iter().rev().collect();
    while let Some(directory) = todo.pop() {
        shell.charge(1)?;
        if titled {
            let gap: &[u8] = if first { b"" } else { b"\n" };
            shell.out(&[gap, &directory.name, b":\n"].concat())?;
        }
        first = false;
        let hidden = options.has(b'a') || options.has(b'A');
        let mut rows: Vec<Row> = Vec::new();
        if let Some(children) = shell.files.children(directory.id) {
            let seen = children.iter().filter(|(name, _)| hidden || name.first() != Some(&b'.'));
            rows.extend(seen.map(|(name, id)| Row { name: name.clone(), id: *id }));
        }
        if options.has(b'a') {
            let parent = shell.files.find(&shell.env.cwd, &join(&directory.name, b".."), true).unwrap_or(directory.id);
            rows.push(Row { name: b".".to_vec(), id: directory.id });
            rows.push(Row { name: b"..".to_vec(), id: parent });
        }
        sort_rows(shell, &mut rows, &options);
        print_rows(shell, &rows, &options, true)?;
        if options.has(b'R') {
            for row in rows.iter().rev().filter(|row| row.name != b"." && row.name != b"..") {
                if shell.files.node(row.id).is_some_and(Node::is_dir) {
                    todo.push(Row { name: join(&directory.name, &row.name), id: row.id });
                }
            }
        }
    }
    Ok(status)
}

fn sort_rows(shell: &Shell, rows: &mut [Row], options: &Options) {
    let size = |row: &Row| shell.files.node(row.id).map_or(0, Node::size);
    let changed = |row: &Row| shell.files.node(row.id).map_or(0, |node| node.changed);
    rows.sort_by(|left, right| left.name.cmp(&right.name));
    match options.last_of(b"tS") {
        Some(b't') => rows.sort_by_key(|row| std::cmp::Reverse(changed(row))),
        Some(b'S') => rows.sort_by_key(|row| std::cmp::Reverse(size(row))),
        _ => {}
    }
    if options.has(b'r') {
        rows.reverse();
    }
}

fn print_rows(shell: &mut Shell, rows: &[Row], options: &Options, total: bool) -> Run<()> {
    let node = |shell: &Shell, row: &Row| shell.files.node(row.id).cloned();
    let detailed = options.given.iter().any(|(letter, _)| b"lngo".contains(letter));
    let size_text = |bytes: usize| if options.has(b'h') { human(bytes) } else { bytes.to_string() };
    let nodes: Vec<(&Row, Node)> = rows.iter().filter_map(|row| Some((row, node(shell, row)?))).collect();
    let size_width = nodes.iter().map(|(_, node)| size_text(node.size()).len()).max().unwrap_or(0);
    let link_width = nodes.iter().map(|(_, node)| node.links.to_string().len()).max().unwrap_or(0);
    if detailed && total {
        let blocks: usize =
            nodes.iter().map(|(_, node)| if node.is_link() { 0 } else { node.size().div_ceil(4096) * 4 }).sum();
        let text = if options.has(b'h') { human(blocks * 1024) } else { blocks.to_string() };
        shell.out_line(format!("total {text}").as_bytes())?;
    }
    for (row, node) in nodes {
        let mut line = Vec::new();
        if options.has(b'i') {
            line.extend(format!("{} ", row.id).into_bytes());
        }
        if detailed {
            let (mode, links, size) = (mode_text(&node), node.links, size_text(node.size()));
            line.extend(format!("{mode} {links:link_width$} user user {size:>size_width$} Jan  1  1970 ").into_bytes());
        }
        line.extend_from_slice(&row.name);
        if let Content::Link(target) = &node.content
            && detailed
        {
            line.extend_from_slice(b" -> ");
            line.extend_from_slice(target);
        }
        let classify = options.has(b'F');
        if node.is_dir() && (classify || options.has(b'p')) {
            line.push(b'/');
        } else if classify && node.is_file() && node.mode & 0o111 != 0 {
            line.push(b'*');
        } else if classify && node.is_link() && !detailed {
            line.push(b'@');
        }
        shell.out_line(&line)?;
    }
    Ok(())
}

pub(crate) fn stat(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "c:L", &[("format", b'c'), ("printf", b'p'), ("dereference", b'L')]);
    let Some(format) = options.value(b'c').map(<[u8]>::to_vec) else {
        shell.lack("stat without -c");
        shell.warn("stat: this shell has stat only with -c")?;
        return Ok(1);
    };
    let mut status = 0;
    for name in &options.operands {
        let id = match shell.files.find(&shell.env.cwd, name, options.has(b'L')) {
            Ok(id) => id,
            Err(errno) => {
                shell.warn(&format!("stat: cannot statx '{}': {}", show(name), errno.text()))?;
                status = 1;
                continue;
            }
        };
        let Some(node) = shell.files.node(id).cloned() else { continue };
        let mut out = Vec::new();
        let mut bytes = format.iter();
        while let Some(byte) = bytes.next() {
            if *byte != b'%' {
                out.push(*byte);
                continue;
            }
            let letter = bytes.next().copied().unwrap_or(b'%');
            let text = match letter {
                b'n' => show(name),
                b'N' => format!("'{}'", show(name)),
                b's' => node.size().to_string(),
                b'a' => format!("{:o}", node.mode),
                b'A' => mode_text(&node),
                b'h' => node.links.to_string(),
                b'i' => id.to_string(),
                b'U' | b'G' => "user".to_owned(),
                b'u' | b'g' => "1000".to_owned(),
                b'Y' | b'X' | b'Z' => node.changed.to_string(),
                b'b' => (node.size().div_ceil(4096) * 8).to_string(),
                b'B' => "512".to_owned(),
                b'F' => kind(&node).to_owned(),
                b'%' => "%".to_owned(),
                other => {
                    shell.lack(&format!("stat %{}", char::from(other)));
                    "?".to_owned()
                }
            };
            out.extend(text.into_bytes());
        }
        shell.out_line(&out)?;
    }
    Ok(status)
}

fn kind(node: &Node) -> &'static str {
    match &node.content {
        Content::Directory(_) => "directory",
        Content::Link(_) => "symbolic link",
        Content::Null => "character special file",
        Content::File(bytes) if bytes.is_empty() => "regular empty file",
        Content::File(_) => "regular file",
    }
}

const DU_LONG: &[(&str, u8)] = &[
    ("summarize", b's'),
    ("human-readable", b'h'),
    ("bytes", b'b'),
    ("all", b'a'),
    ("total", b'c'),
    ("max-depth", b'd'),
];

pub(crate) fn du(shell: &mut Shell, args: &[Vec<u8>]) -> Run {
    let options = options!(shell, args, "shbackd:m", DU_LONG);
    let names = if options.operands.is_empty() { vec![b".".to_vec()] } else { options.operands.clone() };
    let most = match options.number(b'd') {
        _ if options.has(b's') => 0,
        Some(Ok(depth)) => depth,
        _ => usize::MAX,
    };
    let mut total = 0;
    let mut status = 0;
    for name in names {
        match shell.files.find(&shell.env.cwd, &name, false) {
            Ok(id) => total += du_tree(shell, id, &name, 0, most, &options)?,
            Err(errno) => {
                shell.warn(&format!("du: cannot access '{}': {}", show(&name), errno.text()))?;
                status = 1;
            }
        }
    }
    if options.has(b'c') {
        du_row(shell, total, b"total", &options)?;
    }
    Ok(status)
}

fn du_row(shell: &mut Shell, bytes: usize, name: &[u8], options: &Options) -> Run<()> {
    let size = if options.has(b'h') {
        human(bytes)
    } else if options.has(b'b') {
        bytes.to_string()
    } else {
        let unit = if options.has(b'm') { 1 << 20 } else { 1 << 10 };
        bytes.div_ceil(unit).to_string()
    };
    shell.out_line(&[size.as_bytes(), b"\t", name].concat())
}

fn du_tree(shell: &mut Shell, id: Id, path: &[u8], depth: usize, most: usize, options: &Options) -> Run<usize> {
    shell.charge(1)?;
    let Some(node) = shell.files.node(id) else { return Ok(0) };
    let size = node.size();
    let mut total = if options.has(b'b') {
        size
    } else if node.is_link() {
        0
    } else {
        size.div_ceil(4096) * 4096
    };
    let is_dir = node.is_dir();
    let children: Vec<(Vec<u8>, Id)> = shell
        .files
        .children(id)
        .map(|all| all.iter().map(|(name, id)| (name.clone(), *id)).collect())
        .unwrap_or_default();
    for (name, child) in children {
        let path = join(path, &name);
        total += shell.nested(|shell| du_tree(shell, child, &path, depth + 1, most, options))?;
    }
    if depth <= most && (is_dir || options.has(b'a') || depth == 0) {
        du_row(shell, total, path, options)?;
    }
    debug_assert!(!base_of(b"a/b").is_empty());
    Ok(total)
}
