//! Reading `evo.toml`: every key is known, every value has its type, and what is wrong has a place.

use std::ops::Range;
use std::path::Path;

use evo_lang::diag::{Code, suggest};
use evo_stdlib::model::{Device, DeviceError};
use toml_edit::{ImDocument, Item, Key, Table, Value};

use super::{FILE, Project};
use crate::device;
use crate::engine::ParamValue;

/// Something wrong with the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) at: Range<usize>,
    pub(super) title: String,
    pub(super) label: String,
    pub(super) help: String,
}

const KEYS: [&str; 6] = ["name", "main", "paths", "device", "workers", "params"];

/// The project of a folder, from the text of its file.
pub(super) fn project(folder: &Path, text: String) -> Project {
    let mut project = Project { file: folder.join(FILE).display().to_string(), ..Project::default() };
    match ImDocument::parse(text.as_str()) {
        Ok(document) => {
            for (key, item) in pairs(document.as_table()) {
                set(&mut project, folder, key, item);
            }
        }
        Err(error) => {
            let at = error.span().unwrap_or(0..0);
            let title = format!("`{FILE}` is not TOML: {}", error.message().trim().replace('\n', ", "));
            let help = "see https://toml.io for how it is written".to_owned();
            project.faults.push(Fault { code: Code::E0140, at, title, label: "here".to_owned(), help });
        }
    }
    project.text = text;
    project
}

fn pairs(table: &Table) -> impl Iterator<Item = (&Key, &Item)> {
    table.iter().filter_map(|(name, _)| table.get_key_value(name))
}

fn set(project: &mut Project, folder: &Path, key: &Key, item: &Item) {
    let at = key.span().unwrap_or(0..0);
    let value_at = item.span().unwrap_or_else(|| at.clone());
    let wrong = |what: &str, help: &str| Fault {
        code: Code::E0142,
        at: value_at.clone(),
        title: format!("`{}` is {what}", key.get()),
        label: format!("is {}", kind(item)),
        help: help.to_owned(),
    };
    let fault = match (key.get(), item.as_value()) {
        ("name", Some(Value::String(name))) => {
            project.name = Some(name.value().clone());
            return;
        }
        ("name", _) => wrong("the project's name, a text", "write `name = \"…\"`"),
        ("main", Some(Value::String(main))) => {
            project.main = Some(folder.join(main.value()));
            return;
        }
        ("main", _) => wrong("the path of a program, a text", "write `main = \"main.evo\"`"),
        ("paths", Some(Value::Array(paths))) if paths.iter().all(Value::is_str) => {
            project.paths = paths.iter().filter_map(Value::as_str).map(|path| folder.join(path)).collect();
            return;
        }
        ("paths", _) => wrong("a list of folders", "write `paths = [\"lib\", \"../common\"]`"),
        ("workers", Some(Value::Integer(workers))) if *workers.value() > 0 => {
            project.workers = usize::try_from(*workers.value()).ok();
            return;
        }
        ("workers", _) => {
            wrong("a number of evaluations at once, at least 1", "write `workers = 2`, or leave it out for all cores")
        }
        ("device", Some(Value::String(device))) => match Device::check(device.value()) {
            Ok(()) => return project.device = Some(device.value().clone()),
            Err(error) => no_device(&error, value_at),
        },
        ("device", _) => wrong("where evo computes, a text", "write `device = \"cpu\"`"),
        ("params", _) => match item.as_table_like() {
            Some(table) => return params(project, table),
            None => wrong("a table of params", "write `[params]`, then `name = value` on lines of their own"),
        },
        (unknown, _) => Fault {
            code: Code::E0141,
            at,
            title: format!("`{FILE}` has no key `{unknown}`"),
            label: "unknown".to_owned(),
            help: match suggest(unknown, KEYS) {
                _ if unknown == "jobs" => "`workers` is how many evaluations run at once".to_owned(),
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("its keys are {}", KEYS.join(", ")),
            },
        },
    };
    project.faults.push(fault);
}

fn no_device(error: &DeviceError, at: std::ops::Range<usize>) -> Fault {
    let label = "cannot be computed on".to_owned();
    Fault { code: Code::E0143, at, title: error.to_string(), label, help: device::help(error) }
}

fn params(project: &mut Project, table: &dyn toml_edit::TableLike) {
    for (name, _) in table.iter() {
        let Some((key, item)) = table.get_key_value(name) else { continue };
        let at = key.span().unwrap_or(0..0);
        let value = match item.as_value() {
            Some(Value::String(text)) => ParamValue::Source(text.value().clone()),
            Some(Value::Integer(number)) => ParamValue::Source(number.value().to_string()),
            Some(Value::Float(number)) => ParamValue::from(*number.value()),
            Some(Value::Boolean(bool)) => ParamValue::Source(bool.value().to_string()),
            _ => {
                project.faults.push(Fault {
                    code: Code::E0142,
                    at: item.span().unwrap_or_else(|| at.clone()),
                    title: format!("param `{name}` is set to {}", kind(item)),
                    label: "no value of a param".to_owned(),
                    help: format!("write an expression of the language as a text: `{name} = \"[1, 2]\"`"),
                });
                continue;
            }
        };
        project.params.insert(name.to_owned(), value);
        project.places.insert(name.to_owned(), item.span().unwrap_or(at));
    }
}

/// What a value of the file is, in words.
fn kind(item: &Item) -> &'static str {
    match item.as_value() {
        Some(Value::String(_)) => "a text",
        Some(Value::Integer(_)) => "a whole number",
        Some(Value::Float(_)) => "a number",
        Some(Value::Boolean(_)) => "a truth value",
        Some(Value::Datetime(_)) => "a date",
        Some(Value::Array(_)) => "a list",
        Some(Value::InlineTable(_)) => "a table",
        None => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Project {
        project(Path::new("p"), text.to_owned())
    }

    #[test]
    fn a_whole_file() {
        let p = of(
            "name = \"x\"\nmain = \"a.evo\"\npaths = [\"lib\"]\nworkers = 2\ndevice = \"cpu\"\n[params]\nn = 3\nbase = 'hf(\"m\")'\n",
        );
        assert_eq!(p.faults, []);
        assert_eq!((p.name.as_deref(), p.workers, p.device.as_deref()), (Some("x"), Some(2), Some("cpu")));
        assert_eq!((p.main.as_deref(), p.paths), (Some(Path::new("p/a.evo")), vec!["p/lib".into()]));
        assert_eq!(p.params["base"], ParamValue::Source("hf(\"m\")".to_owned()));
    }

    #[test]
    fn what_is_wrong_has_a_code_and_a_place() {
        let text = "nme = \"x\"\nworkers = 0\npaths = \"lib\"\n[params]\na = [1]\nb = 1979-05-27\n";
        let found: Vec<(&str, &str)> = of(text).faults.iter().map(|f| (f.code.as_str(), &text[f.at.clone()])).collect();
        let expected =
            [("E0141", "nme"), ("E0142", "0"), ("E0142", "\"lib\""), ("E0142", "[1]"), ("E0142", "1979-05-27")];
        assert_eq!(found, expected);
        assert_eq!(of(text).faults[0].help, "did you mean `name`?");
        assert_eq!(of("jobs = 2").faults[0].help, "`workers` is how many evaluations run at once");
        assert!(of("device = \"tpu\"").faults[0].help.starts_with("the devices are `cpu`, "));
        #[cfg(not(feature = "cuda"))]
        assert_eq!(of("device = \"cuda\"").faults[0].title, "this evo is built without `cuda`");
        assert_eq!(of("a = = 1").faults[0].code, Code::E0140);
        assert_eq!(of("a = 1\na = 2").faults[0].code, Code::E0140);
    }
}
