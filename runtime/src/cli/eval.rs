//! `evo eval`: a model against the tasks of a program, by way of a small program of its own.

use std::path::Path;

use evo_lang::diag::Code;
use indexmap::IndexMap;

use super::args::EvalArgs;
use super::{Stop, run, settings};
use crate::engine::{Failure, ParamValue, RunOptions, Settings};

/// Scores a model on each task of a program.
pub(super) fn eval(args: &EvalArgs) -> Result<u8, Stop> {
    let (watcher, engine) = run::engine(args.jobs, args.json);
    let in_form = |failure| Stop::Failure(failure, args.json);
    let tasks = engine.load(&args.tasks).map_err(in_form)?;
    let names = tasks.declared("task");
    if names.is_empty() {
        let title = format!("`{}` declares no task", args.tasks.display());
        let help =
            "declare one, such as `task t = exact_match { data: d, prompt: \"{question}\", expected: \"{answer}\" }`";
        return Err(in_form(Failure::placeless(2, Code::E0131, title, help)));
    }
    let given = settings(&args.settings);
    // What is wrong with the params is told of the program that declares them.
    if !given.params.is_empty() {
        tasks.plan(&given).map_err(in_form)?;
    }
    let set: Vec<(String, String)> = tasks
        .params()
        .into_iter()
        .filter_map(|param| match given.params.get(&param.name)? {
            ParamValue::Source(source) => Some((param.name, literal(&param.ty, source))),
            ParamValue::Data(_) => None,
        })
        .collect();
    let beside = args.tasks.with_file_name("eval.evo");
    let text = text(&place(&args.model, &args.tasks), &args.tasks, &set, &names);
    let program = engine.load_text(&beside.display().to_string(), &text);
    let plan = program.plan(&Settings { params: IndexMap::new(), ..given }).map_err(in_form)?;
    run::warn(&plan, args.json)?;
    let started = plan.start(RunOptions::default()).map_err(in_form)?;
    // What is finished lies in the store: the same command goes on from there.
    let words = [run::quoted(&args.model), run::quoted(&args.tasks.display().to_string())];
    let again = ["evo eval".to_owned()].into_iter().chain(words).chain(run::set(&args.settings)).collect::<Vec<_>>();
    let again = again.join(" ");
    run::stop_on_signals(engine.cancel(), &again);
    let outcome = started.wait();
    if let Some(watcher) = watcher {
        watcher.finish();
    }
    run::conclude(&outcome, &again, args.json)?;
    Ok(outcome.exit_code())
}

/// Where the model is, for a program that lies beside the tasks.
fn place(model: &str, tasks: &Path) -> String {
    let elsewhere = tasks.parent().is_some_and(|folder| !folder.as_os_str().is_empty());
    match std::path::absolute(model) {
        Ok(path) if elsewhere => path.display().to_string(),
        _ => model.to_owned(),
    }
}

/// The program that asks for a table of scores; it lies beside the tasks.
fn text(model: &str, tasks: &Path, set: &[(String, String)], names: &[String]) -> String {
    let reader = if model.to_lowercase().ends_with(".gguf") { "gguf" } else { "hf" };
    let file = tasks.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let args: Vec<String> = set.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let instance = if args.is_empty() { "tasks".to_owned() } else { format!("tasks {{ {} }}", args.join(", ")) };
    let rows = names.iter().map(|name| format!("  {name}: score(evaluated, {instance}.{name})\n"));
    format!(
        "use {} as tasks\nmodel evaluated = {reader}({})\nprint table {{\n{}}}\n",
        quote(&file),
        quote(model),
        rows.collect::<String>()
    )
}

/// What the command line says of a param, in the language: text needs no quotes there.
fn literal(ty: &str, source: &str) -> String {
    let bare = source.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match ty {
        "text" => quote(bare.unwrap_or(source)),
        _ => bare.unwrap_or(source).to_owned(),
    }
}

/// A text literal.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evo_lang::span::FileId;

    #[test]
    fn the_program_is_one_whatever_the_paths_are() {
        for (model, tasks) in [("models/tiny", "tasks.evo"), ("a \"b\" \\ c.GGUF", "d\\e \"f\".evo")] {
            let set = [("rows".to_owned(), literal("int", "5")), ("file".to_owned(), literal("text", "a\"b"))];
            let text = text(model, Path::new(tasks), &set, &["sums".into(), "wordings".into()]);
            let (module, diagnostics) = evo_lang::syntax::parse(&text, FileId(0));
            assert!(diagnostics.is_empty(), "{text}\n{diagnostics:?}");
            assert_eq!(module.items.len(), 3);
        }
        assert!(text("m.gguf", Path::new("t.evo"), &[], &[]).contains("gguf(\"m.gguf\")"));
    }
}
