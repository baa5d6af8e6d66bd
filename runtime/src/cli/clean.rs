//! `evo clean`: how much the store and the runs take, and less of it.

use std::path::{Path, PathBuf};

use super::args::CleanArgs;
use super::{Stop, screen};
use crate::db::DiskError;
use crate::engine::{Engine, Failure};
use crate::events::Status;
use crate::files;
use crate::render;
use crate::run::dir::{self, Record};
use crate::store::{CleanReport, Keep, Store};

/// What a cleaning of run directories did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
struct RunsReport {
    runs: u64,
    bytes: u64,
    unfinished: u64,
    removed_runs: u64,
    removed_bytes: u64,
}

/// Shows, and removes what the options say.
pub(super) fn clean(args: &CleanArgs) -> Result<u8, Stop> {
    let engine = Engine::new();
    let Some(store) = clean_store(engine.store(), args).map_err(Failure::from)? else {
        screen::note("error: a run is using the store; wait for it to end, or stop it, then clean");
        return Ok(3);
    };
    let runs = clean_runs(engine.runs(), args).map_err(Failure::from)?;
    if args.json {
        screen::json(&serde_json::json!({ "dry_run": args.dry_run, "store": store, "runs": runs }))?;
        return Ok(0);
    }
    let would = if args.dry_run { "would remove" } else { "removed" };
    screen::result(&store_line(engine.store(), &store, would))?;
    screen::result(&runs_line(engine.runs(), &runs, would))?;
    let asked = args.all || args.max.is_some() || args.older.is_some() || args.runs.is_some();
    if !asked && store.bytes + runs.bytes > 0 {
        screen::note("nothing was removed: `--max 5GB`, `--older 30d`, `--all` bound the store, `--runs 10` the runs");
    }
    Ok(0)
}

fn clean_store(store: &Path, args: &CleanArgs) -> Result<Option<CleanReport>, DiskError> {
    let asked = args.all || args.max.is_some() || args.older.is_some();
    let keep = Keep {
        max_bytes: if args.all { Some(0) } else { args.max },
        used_within_ms: args.older.map(|older| i64::try_from(older.as_millis()).unwrap_or(i64::MAX)),
        dry_run: args.dry_run || !asked,
    };
    Store::clean(store, keep)
}

fn clean_runs(runs: &Path, args: &CleanArgs) -> Result<RunsReport, DiskError> {
    let mut report = RunsReport::default();
    let mut kept = 0;
    for run in dir::list(runs)?.into_iter().rev() {
        let bytes = files::size_below(&run).map_err(|e| DiskError::from_io(&run, &e))?;
        let unfinished = !matches!(Record::read(&run)?.status, Status::Done | Status::Refuted);
        report.runs += 1;
        report.bytes += bytes;
        report.unfinished += u64::from(unfinished);
        let stays = unfinished && !args.all;
        kept += usize::from(!stays);
        let goes = args.runs.is_some_and(|keep| kept > keep) && !stays;
        if goes && remove(run, args.dry_run)? {
            report.removed_runs += 1;
            report.removed_bytes += bytes;
        }
    }
    Ok(report)
}

fn remove(run: PathBuf, dry_run: bool) -> Result<bool, DiskError> {
    if dry_run { dir::is_busy(&run).map(|busy| !busy) } else { dir::remove(&run) }
}

fn store_line(path: &Path, report: &CleanReport, would: &str) -> String {
    let mut line = format!(
        "store  {}: {} in {} entries",
        path.display(),
        render::bytes(report.bytes),
        render::count(report.entries)
    );
    if report.removed_entries > 0 {
        let (bytes, entries) = (render::bytes(report.removed_bytes), render::count(report.removed_entries));
        line += &format!("; {would} {bytes} in {entries} entries");
    }
    if report.rubbish_bytes > 0 {
        line += &format!("; {} left by killed processes", render::bytes(report.rubbish_bytes));
    }
    line
}

fn runs_line(path: &Path, report: &RunsReport, would: &str) -> String {
    let mut line =
        format!("runs   {}: {} in {} runs", path.display(), render::bytes(report.bytes), render::count(report.runs));
    if report.unfinished > 0 {
        line += &format!(", {} unfinished", report.unfinished);
    }
    if report.removed_runs > 0 {
        line += &format!("; {would} {} in {} runs", render::bytes(report.removed_bytes), report.removed_runs);
    }
    line
}
