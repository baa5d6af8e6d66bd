//! `evo run`.

use std::sync::Arc;

use super::args::RunArgs;
use super::watch::{JsonLines, Watcher};
use super::{Stop, plan, screen, settings};
use crate::engine::{Engine, Plan, Resume, RunOptions, RunOutcome};
use crate::events::{Cancel, Status};
use crate::render;

/// Runs a program.
pub(super) fn run(args: RunArgs) -> Result<u8, Stop> {
    let (watcher, engine) = engine(args.jobs, args.json);
    let in_form = |failure| Stop::Failure(failure, args.json);
    let program = engine.load(&args.file).map_err(in_form)?;
    let planned = program.plan(&settings(&args.settings)).map_err(in_form)?;
    warn(&planned, args.json)?;
    if args.explain {
        explain(&planned).map_err(in_form)?;
    }
    if args.dry_run {
        return plan::show(&planned, args.json).map(|()| 0);
    }
    let resume = match args.resume {
        None => Resume::No,
        Some(name) if name.is_empty() => Resume::Latest,
        Some(name) => Resume::Named(name),
    };
    let options = RunOptions { jobs: None, out: args.out, resume };
    let run = planned.start(options).map_err(in_form)?;
    let name = run.dir().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let again = format!("evo run {} --resume {name}", args.file.display());
    stop_on_signals(engine.cancel(), &again);
    let outcome = run.wait();
    if let Some(watcher) = watcher {
        watcher.finish();
    }
    conclude(&outcome, &again, args.json)?;
    Ok(outcome.exit_code())
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
    let time = render::duration(outcome.seconds);
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
