//! `evo run`.

use std::path::Path;
use std::sync::Arc;

use super::args::{RunArgs, SettingArgs, WorkersArgs};
use super::watch::{JsonLines, Watcher};
use super::{Stop, named, plan, screen, settings};
use crate::engine::{Asked, Engine, Plan, Resume, RunOptions, RunOutcome, Workers};
use crate::events::{Cancel, Status};
use crate::render;

/// Runs a program.
pub(super) fn run(args: RunArgs) -> Result<u8, Stop> {
    let (watcher, engine) = engine(args.jobs, args.json);
    let in_form = |failure| Stop::Failure(failure, args.json);
    let file = named(&engine, args.file.as_deref()).map_err(in_form)?;
    let program = engine.load(&file).map_err(in_form)?;
    let planned = program.plan(&settings(&args.settings)).map_err(in_form)?;
    warn(&planned, args.json)?;
    if args.explain {
        explain(&planned).map_err(in_form)?;
    }
    if args.dry_run {
        return plan::show(&planned, args.json).map(|()| 0);
    }
    let resume = match &args.resume {
        None => Resume::No,
        Some(name) if name.is_empty() => Resume::Latest,
        Some(name) => Resume::Named(name.clone()),
    };
    let options = RunOptions {
        jobs: None,
        out: args.out.clone(),
        resume,
        checkpoint_every: args.checkpoint_every,
        tensorboard: args.tensorboard.clone(),
        workers: workers(&args.workers),
        budget: args.budget,
        token_budget: args.token_budget,
        replay: args.replay.clone(),
    };
    let run = planned.start(options).map_err(in_form)?;
    let name = run.dir().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let again = again(&args, &file, &name);
    stop_on_signals(engine.cancel(), &again);
    let outcome = run.wait();
    if let Some(watcher) = watcher {
        watcher.finish();
    }
    conclude(&outcome, &again, args.json)?;
    Ok(outcome.exit_code())
}

/// The command that goes on with a run: one with the same settings, or it would be another run.
fn again(args: &RunArgs, file: &Path, name: &str) -> String {
    let mut words = vec!["evo run".to_owned(), quoted(&file.display().to_string())];
    words.extend(set(&args.settings));
    words.extend(args.out.iter().map(|out| format!("--out {}", quoted(&out.display().to_string()))));
    words.extend(
        args.tensorboard.iter().map(|folder| format!("--tensorboard {}", quoted(&folder.display().to_string()))),
    );
    let WorkersArgs { count, memory, deadline } = &args.workers;
    words.extend(count.map(|count| format!("--workers {count}")));
    words.extend(memory.map(|memory| format!("--worker-memory {memory}")));
    let spelt = deadline.map(|deadline| humantime::format_duration(deadline).to_string().replace(' ', ""));
    words.extend(spelt.map(|deadline| format!("--worker-deadline {deadline}")));
    words.extend(args.budget.map(|budget| format!("--budget {budget}usd")));
    words.extend(args.token_budget.map(|tokens| format!("--token-budget {tokens}")));
    words.extend(args.replay.iter().map(|path| format!("--replay {}", quoted(&path.display().to_string()))));
    words.push(format!("--resume {name}"));
    words.join(" ")
}

fn workers(args: &WorkersArgs) -> Option<Workers> {
    let count = usize::from(args.count?);
    Some(Workers { count, memory: args.memory, deadline: args.deadline, program: None })
}

/// The settings as they are given to a command.
pub(super) fn set(args: &SettingArgs) -> Vec<String> {
    let set = args.set.iter().map(|(name, value)| format!("--set {}", quoted(&format!("{name}={value}"))));
    let seed = args.seed.map(|seed| format!("--seed {seed}"));
    let device = args.device.name.iter().map(|device| format!("--device {device}"));
    set.chain(seed).chain(args.tiny.then(|| "--tiny".to_owned())).chain(device).collect()
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// An engine for the working directory that shows its runs.
pub(super) fn engine(jobs: Option<u16>, json: bool) -> (Option<Arc<Watcher>>, Engine) {
    let builder = jobs.into_iter().fold(Engine::builder(), |builder, jobs| builder.jobs(usize::from(jobs)));
    if json {
        return (None, builder.observer(Arc::new(JsonLines)).build());
    }
    let watcher = Arc::new(Watcher::new());
    (Some(watcher.clone()), builder.observer(watcher).build())
}

/// Shows what is doubtful about a program.
pub(super) fn warn(plan: &Plan, json: bool) -> Result<(), Stop> {
    if json {
        return Ok(screen::diagnostics_json(plan.warnings(), plan.sources())?);
    }
    screen::diagnostics(plan.warnings(), plan.sources());
    Ok(())
}

pub(super) fn explain(plan: &Plan) -> Result<(), crate::engine::Failure> {
    for explanation in plan.explain()? {
        let crate::engine::Explanation { node, name, reason } = explanation;
        screen::note(&format!("{} {name}: {reason}", screen::dim(&node.short())));
    }
    Ok(())
}

/// The first Ctrl-C asks for a clean end, the second ends the process at once: the journal is safe either way. `again` is
/// the command that goes on.
pub(super) fn stop_on_signals(cancel: &Cancel, again: &str) {
    let (cancel, again) = (cancel.clone(), again.to_owned());
    let handler = move || {
        if cancel.stop() > 1 {
            screen::note(&format!("stopped\nto go on: {again}"));
            std::process::exit(i32::from(Status::Interrupted.exit_code()));
        }
        screen::note("stopping: what runs is brought to a safe point; Ctrl-C again stops at once");
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        screen::note(&format!("Ctrl-C will stop at once, without a clean end: {error}"));
    }
}

/// Says how a run ended, and by which command it can go on.
pub(super) fn conclude(outcome: &RunOutcome, again: &str, json: bool) -> Result<(), Stop> {
    // Who asked a run to stop needs no error about it.
    let asked = outcome.status == Status::Interrupted && !json;
    if let Some(failure) = outcome.failure.as_ref().filter(|_| !asked) {
        screen::failure(failure, json)?;
    }
    if json {
        return Ok(());
    }
    let run = outcome.run_dir.display();
    let time = format!("{}{}", render::duration(outcome.seconds), calls(&outcome.asked));
    let line = match outcome.status {
        Status::Done | Status::Refuted => screen::dim(&format!("{time}, {run}")),
        status => {
            let word = match status {
                Status::Interrupted => "interrupted",
                Status::CutShort => "cut short",
                _ => "failed",
            };
            format!("{word} after {time}; what is finished is kept in {run}\nto go on: {again}")
        }
    };
    screen::note(&line);
    Ok(())
}

/// What language models were asked, if they were.
fn calls(asked: &Asked) -> String {
    let Asked { calls, tokens, cost } = *asked;
    match calls {
        0 => String::new(),
        1 => format!(", 1 call of a language model, {tokens} tokens, {cost:.4} usd"),
        _ => format!(", {calls} calls of language models, {tokens} tokens, {cost:.4} usd"),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_come_through_a_shell_as_they_are() {
        for word in ["a=1", "prompt=What is {q}?", "it's", "", "$HOME", "名"] {
            let told = std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quoted(word))]).output();
            assert_eq!(String::from_utf8(told.unwrap().stdout).unwrap(), word);
        }
    }
}
