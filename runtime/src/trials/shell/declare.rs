//! Arrays, and `declare`, `local`, `export`, `readonly`.

use super::ast::{Assign, Part, Word};
use super::parse::is_name;
use super::state::{Flow, Run, Shell, Value, Var, show};
use indexmap::IndexMap;
use std::collections::BTreeMap;

/// `name[index]` apart.
pub(crate) fn split_index(text: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    match text.iter().position(|byte| *byte == b'[') {
        Some(at) if text.ends_with(b"]") => (text[..at].to_vec(), Some(text[at + 1..text.len() - 1].to_vec())),
        _ => (text.to_vec(), None),
    }
}

pub(crate) fn unset_element(shell: &mut Shell, name: &[u8], index: &[u8]) -> Run<()> {
    let last = match shell.env.vars.get(name).and_then(|var| var.value.as_ref()) {
        Some(Value::List(items)) => items.keys().next_back().copied(),
        Some(Value::Map(_)) => {
            if let Some(Value::Map(items)) = shell.env.vars.get_mut(name).and_then(|var| var.value.as_mut()) {
                items.shift_remove(index);
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    let at = shell.subscript(index, last)?;
    if let (Some(at), Some(Value::List(items))) = (at, shell.env.vars.get_mut(name).and_then(|var| var.value.as_mut()))
    {
        items.remove(&at);
    }
    Ok(())
}

impl Shell {
    pub(crate) fn assign_array(&mut self, name: &[u8], items: &[(Option<Word>, Word)], append: bool) -> Run<()> {
        let var = self.env.vars.get(name).cloned().unwrap_or_default();
        if var.readonly {
            self.complain(&format!("{}: readonly variable", show(name)))?;
            return Err(Flow::Abandon);
        }
        if let Some(Value::Map(old)) = &var.value {
            let mut map = if append { old.clone() } else { IndexMap::new() };
            for (index, word) in items {
                let key = match index {
                    Some(index) => self.expand_text(index)?,
                    None => continue,
                };
                let value = self.expand_text(word)?;
                map.insert(key, value);
            }
            self.env.vars.insert(name.to_vec(), Var { value: Some(Value::Map(map)), ..var });
            return Ok(());
        }
        let mut list = match &var.value {
            Some(Value::List(old)) if append => old.clone(),
            Some(Value::Text(text)) if append => BTreeMap::from([(0, text.clone())]),
            _ => BTreeMap::new(),
        };
        for (index, word) in items {
            let next = list.keys().next_back().map_or(0, |last| last + 1);
            match index {
                Some(index) => {
                    let index = self.expand_text(index)?;
                    let at = self.subscript(&index, next.checked_sub(1))?.unwrap_or(next);
                    let value = self.expand_text(word)?;
                    list.insert(at, value);
                }
                None => {
                    for (offset, value) in self.expand_words(std::slice::from_ref(word))?.into_iter().enumerate() {
                        self.charge(1)?;
                        list.insert(next.saturating_add(offset), value);
                    }
                }
            }
        }
        self.env.vars.insert(name.to_vec(), Var { value: Some(Value::List(list)), ..var });
        Ok(())
    }

    pub(crate) fn assign_element(&mut self, name: &[u8], index: &[u8], text: Vec<u8>, append: bool) -> Run<()> {
        self.charge_bytes(text.len() + index.len())?;
        let old = if append { self.element(name, index)?.unwrap_or_default() } else { Vec::new() };
        let text = [old, text].concat();
        if text.len() > self.limits.output_bytes {
            return Err(self.exhausted(super::Stopped::OutputBytes));
        }
        let is_map = matches!(self.env.vars.get(name).map(|var| &var.value), Some(Some(Value::Map(_))));
        let last = match self.env.vars.get(name).and_then(|var| var.value.as_ref()) {
            Some(Value::List(items)) => items.keys().next_back().copied(),
            _ => None,
        };
        let at = if is_map { None } else { self.subscript(index, last)? };
        if self.env.vars.get(name).is_some_and(|var| var.readonly) || (!is_map && at.is_none()) {
            let fault = if is_map || at.is_some() { "readonly variable" } else { "bad array subscript" };
            self.complain(&format!("{}: {fault}", show(name)))?;
            return Err(Flow::Abandon);
        }
        let var = self.env.vars.entry(name.to_vec()).or_default();
        match (&mut var.value, at) {
            (Some(Value::Map(items)), _) => {
                items.insert(index.to_vec(), text);
            }
            (Some(Value::List(items)), Some(at)) => {
                items.insert(at, text);
            }
            (other, at) => {
                let mut items = BTreeMap::new();
                if let Some(Value::Text(first)) = other {
                    items.insert(0, std::mem::take(first));
                }
                items.insert(at.unwrap_or(0), text);
                *other = Some(Value::List(items));
            }
        }
        Ok(())
    }

    fn hide(&mut self, name: &[u8]) {
        let old = self.env.vars.get(name).cloned();
        if let Some(locals) = self.env.locals.last_mut()
            && !locals.contains_key(name)
        {
            locals.insert(name.to_vec(), old);
            let exported = self.env.vars.get(name).is_some_and(|var| var.exported);
            self.env.vars.insert(name.to_vec(), Var { exported, ..Var::default() });
        }
    }
}

#[derive(Debug, Default)]
struct Marks {
    list: bool,
    map: bool,
    integer: bool,
    exported: bool,
    readonly: bool,
    global: bool,
    unexport: bool,
    print: bool,
}

/// Reads the options into `marks` and gives the rest; nothing after a complaint.
fn marked<'a>(
    shell: &mut Shell,
    command: &str,
    args: &'a [Vec<u8>],
    marks: &mut Marks,
) -> Run<Option<Vec<&'a Vec<u8>>>> {
    let mut names = Vec::new();
    for arg in args {
        if arg.len() < 2 || arg[0] != b'-' || !names.is_empty() {
            names.push(arg);
            continue;
        }
        for letter in &arg[1..] {
            match letter {
                b'a' => marks.list = true,
                b'A' => marks.map = true,
                b'i' => marks.integer = true,
                b'x' => marks.exported = true,
                b'r' => marks.readonly = true,
                b'g' => marks.global = true,
                b'n' if command == "export" => marks.unexport = true,
                b'p' => marks.print = true,
                _ => {
                    shell.lack(&format!("{command} -{}", char::from(*letter)));
                    shell.complain(&format!("{command}: -{}: invalid option", char::from(*letter)))?;
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(names))
}

pub(crate) fn declare(shell: &mut Shell, args: &[Vec<u8>], words: &[Word]) -> Run {
    let command = show(&args[0]);
    let inside = !shell.env.locals.is_empty();
    if command == "local" && !inside {
        shell.complain("local: can only be used in a function")?;
        return Ok(1);
    }
    let mut marks = Marks { exported: command == "export", readonly: command == "readonly", ..Marks::default() };
    let Some(names) = marked(shell, &command, &args[1..], &mut marks)? else { return Ok(2) };
    if names.is_empty() || marks.print {
        return print_all(shell, &marks, &names);
    }
    let local = inside && !marks.global && matches!(command.as_str(), "local" | "declare" | "typeset");
    let assigns: Vec<&Assign> = words
        .iter()
        .filter_map(|word| match word.as_slice() {
            [Part::Assign(assign)] => Some(assign.as_ref()),
            _ => None,
        })
        .collect();
    let mut status = 0;
    for arg in names {
        let cut = arg.iter().position(|byte| *byte == b'=');
        let end = cut.map_or(arg.len(), |cut| cut - usize::from(cut > 0 && arg[cut - 1] == b'+'));
        let (name, index) = split_index(&arg[..end]);
        if !is_name(&name) {
            shell.complain(&format!("{command}: `{}': not a valid identifier", show(arg)))?;
            status = 1;
            continue;
        }
        if local {
            shell.hide(&name);
        }
        prepare(shell, &name, &marks);
        let written = assigns.iter().find(|assign| assign.name == name);
        match (written, cut) {
            (Some(assign), _) if matches!(assign.value, super::ast::Assigned::Array(_)) => shell.run_assign(assign)?,
            (_, Some(cut)) => {
                let mut value = arg[cut + 1..].to_vec();
                if end < cut {
                    value = [shell.text_of(&name).unwrap_or_default(), value].concat();
                }
                match index {
                    Some(index) => shell.assign_element(&name, &index, value, false)?,
                    None => {
                        if !shell.assign(&name, value)? {
                            status = 1;
                        }
                    }
                }
            }
            _ => {}
        }
        if let Some(var) = shell.env.vars.get_mut(&name) {
            var.exported = (var.exported || marks.exported) && !marks.unexport;
            var.readonly |= marks.readonly;
        }
    }
    Ok(status)
}

fn prepare(shell: &mut Shell, name: &[u8], marks: &Marks) {
    let var = shell.env.vars.entry(name.to_vec()).or_default();
    var.integer |= marks.integer;
    if marks.map && !matches!(var.value, Some(Value::Map(_))) {
        var.value = Some(Value::Map(IndexMap::new()));
    } else if marks.list && var.value.is_none() {
        var.value = Some(Value::List(BTreeMap::new()));
    }
}

fn quote(text: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for letter in show(text).chars() {
        if "\"$`\\".contains(letter) {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

fn print_all(shell: &mut Shell, marks: &Marks, names: &[&Vec<u8>]) -> Run {
    let mut status = 0;
    for name in names {
        if !shell.env.vars.contains_key(name.as_slice()) {
            shell.complain(&format!("declare: {}: not found", show(name)))?;
            status = 1;
        }
    }
    for (name, var) in shell.env.vars.clone() {
        let wanted = if names.is_empty() {
            (!marks.exported || var.exported) && (!marks.readonly || var.readonly)
        } else {
            names.iter().any(|own| **own == name)
        };
        if !wanted {
            continue;
        }
        let mut letters = String::new();
        letters.push_str(match var.value {
            Some(Value::List(_)) => "a",
            Some(Value::Map(_)) => "A",
            _ => "",
        });
        for (on, letter) in [(var.integer, 'i'), (var.readonly, 'r'), (var.exported, 'x')] {
            if on {
                letters.push(letter);
            }
        }
        if letters.is_empty() {
            letters.push('-');
        }
        let value = match &var.value {
            None => String::new(),
            Some(Value::Text(text)) => format!("={}", quote(text)),
            Some(Value::List(items)) => {
                let items: Vec<String> = items.iter().map(|(at, item)| format!("[{at}]={}", quote(item))).collect();
                format!("=({})", items.join(" "))
            }
            Some(Value::Map(items)) => {
                let items: String =
                    items.iter().map(|(key, item)| format!("[{}]={} ", show(key), quote(item))).collect();
                format!("=({items})")
            }
        };
        shell.out_line(format!("declare -{letters} {}{value}", show(&name)).as_bytes())?;
    }
    Ok(status)
}
