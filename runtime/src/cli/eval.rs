//! `evo eval`: a model against the tasks of a program, by way of a small program of its own.

use std::path::Path;

use evo_lang::diag::Code;

use super::args::EvalArgs;
use super::{Stop, run, settings};
use crate::engine::{Failure, RunOptions};

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
    let program = engine.load_text("eval.evo", &text(&args.model, &args.tasks, &names));
    let plan = program.plan(&settings(&args.settings)).map_err(in_form)?;
    run::warn(&plan, args.json)?;
    let started = plan.start(RunOptions::default()).map_err(in_form)?;
    run::stop_on_signals(engine.cancel());
    let outcome = started.wait();
    if let Some(watcher) = watcher {
        watcher.finish();
    }
    run::conclude(&outcome, Path::new("eval.evo"), args.json)?;
    Ok(outcome.exit_code())
}

/// The program that asks for a table of scores.
fn text(model: &str, tasks: &Path, names: &[String]) -> String {
    let reader = if model.to_lowercase().ends_with(".gguf") { "gguf" } else { "hf" };
    let rows = names.iter().map(|name| format!("  {name}: score(evaluated, tasks.{name})\n"));
    format!(
        "use {} as tasks\nmodel evaluated = {reader}({})\nprint table {{\n{}}}\n",
        quote(&tasks.display().to_string()),
        quote(model),
        rows.collect::<String>()
    )
}

/// A text literal.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evo_lang::span::FileId;

    #[test]
    fn the_program_is_one_whatever_the_paths_are() {
        for (model, tasks) in [("models/tiny", "tasks.evo"), ("a \"b\" \\ c.GGUF", "d\\e \"f\".evo")] {
            let text = text(model, Path::new(tasks), &["sums".into(), "wordings".into()]);
            let (module, diagnostics) = evo_lang::syntax::parse(&text, FileId(0));
            assert!(diagnostics.is_empty(), "{text}\n{diagnostics:?}");
            assert_eq!(module.items.len(), 3);
        }
        assert!(text("m.gguf", Path::new("t.evo"), &[]).contains("gguf(\"m.gguf\")"));
    }
}
