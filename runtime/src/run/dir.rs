//! The run directory `runs/<utc>-<name>-<hash8>/`: what a run is, where it stands, and how it is found again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::db::DiskError;
use crate::events::Status;
use crate::files;

pub use super::record::{Identity, Record, Segment};
use super::trainings::Checkpoints;

/// Why a run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunDirError {
    /// The disk's fault.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is no such run.
    #[error("there is no run `{0}`")]
    Missing(String),
    /// No run of this program is unfinished.
    #[error("no unfinished run of `{program}` with these params is in `{}`", runs.display())]
    NothingToResume {
        /// The program's name.
        program: String,
        /// Where runs lie.
        runs: PathBuf,
    },
    /// The run is of another program, or of the same with other params.
    #[error("run `{run}` differs in {what}")]
    Other {
        /// The run.
        run: String,
        /// What is not the same, with both values where they are short.
        what: String,
    },
    /// It is complete.
    #[error("run `{0}` is finished: there is nothing to resume")]
    Finished(String),
    /// Another process is at it.
    #[error("run `{run}` is under way in process {process} on {host}")]
    Busy {
        /// The run.
        run: String,
        /// The process.
        process: u32,
        /// The machine.
        host: String,
    },
}

impl RunDirError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            RunDirError::Disk(error) => error.help(),
            RunDirError::Missing(_) => "give the name of a directory under `runs/`, or its path",
            RunDirError::NothingToResume { .. } | RunDirError::Finished(_) => {
                "leave `--resume` out: whatever has been computed before is found in the store"
            }
            RunDirError::Other { .. } => {
                "leave `--resume` out to begin a new run; what both share is found in the store"
            }
            RunDirError::Busy { .. } => "wait for it to end, or stop it with Ctrl-C first",
        }
    }
}

/// An open run directory; no other process can open it meanwhile.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    record: Record,
    _lock: File,
}

impl RunDir {
    /// Makes a directory for a new run in `runs`.
    pub fn create(runs: &Path, identity: Identity, file: &str, text: &str, jobs: usize) -> Result<RunDir, RunDirError> {
        fs::create_dir_all(runs).map_err(|e| DiskError::from_io(runs, &e))?;
        let (run, path) = make_unique(runs, &identity)?;
        let at = |e: io::Error| DiskError::from_io(&path, &e);
        for folder in ["checkpoints", "artifacts", "llm"] {
            fs::create_dir(path.join(folder)).map_err(at)?;
        }
        files::write_whole(&path.join("program.evo"), text.as_bytes()).map_err(at)?;
        let lock = lock(&path)?.ok_or_else(|| RunDirError::Missing(run.clone()))?;
        let record = Record {
            run,
            file: file.to_owned(),
            identity,
            version: env!("CARGO_PKG_VERSION").into(),
            status: Status::Running,
            error: None,
            segments: vec![Segment::begin(jobs)],
        };
        let dir = RunDir { path, record, _lock: lock };
        dir.write()?;
        Ok(dir)
    }

    /// Reopens the latest unfinished run of the same program, params and seed that no process is at.
    pub fn resume_latest(runs: &Path, identity: &Identity, jobs: usize) -> Result<RunDir, RunDirError> {
        let mut busy = None;
        for path in list(runs)?.into_iter().rev() {
            let Ok(record) = Record::read(&path) else {
                continue;
            };
            if record.identity != *identity || !record.status.can_resume() {
                continue;
            }
            match RunDir::reopen(path, record, jobs) {
                Err(error @ RunDirError::Busy { .. }) => busy = busy.or(Some(error)),
                other => return other,
            }
        }
        let (program, runs) = (identity.program.clone(), runs.to_owned());
        Err(busy.unwrap_or(RunDirError::NothingToResume { program, runs }))
    }

    /// Reopens a run by its name under `runs`, or by its path, if it is of the same program, params and seed.
    pub fn resume_named(runs: &Path, name: &str, identity: &Identity, jobs: usize) -> Result<RunDir, RunDirError> {
        let path = find(runs, name)?;
        let record = Record::read(&path)?;
        if let Some(what) = record.identity.difference(identity) {
            return Err(RunDirError::Other { run: record.run, what });
        }
        if !record.status.can_resume() {
            return Err(RunDirError::Finished(record.run));
        }
        RunDir::reopen(path, record, jobs)
    }

    fn reopen(path: PathBuf, mut record: Record, jobs: usize) -> Result<RunDir, RunDirError> {
        let Some(lock) = lock(&path)? else {
            let last = record.segments.pop();
            let (process, host) = last.map(|s| (s.process, s.host)).unwrap_or_default();
            return Err(RunDirError::Busy { run: record.run, process, host });
        };
        record.status = Status::Running;
        record.error = None;
        record.segments.push(Segment::begin(jobs));
        let dir = RunDir { path, record, _lock: lock };
        dir.write()?;
        Ok(dir)
    }

    /// Notes how the segment ended.
    pub fn finish(&mut self, status: Status, error: Option<String>) -> Result<(), DiskError> {
        self.record.status = status;
        self.record.error = error;
        if let Some(segment) = self.record.segments.last_mut() {
            segment.ended = Some(clock::now_text());
        }
        self.write()
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `run.json` says.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// How often the run was resumed before: 0 in its first segment.
    pub fn segment(&self) -> u32 {
        u32::try_from(self.record.segments.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// `events.jsonl`.
    pub fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// `run.db`.
    pub fn journal(&self) -> PathBuf {
        self.path.join("run.db")
    }

    /// What language models said.
    pub fn llm(&self) -> PathBuf {
        self.path.join("llm")
    }

    /// The checkpoints of its nodes.
    pub fn checkpoints(&self) -> Checkpoints {
        Checkpoints::new(self.path.join("checkpoints"))
    }

    fn write(&self) -> Result<(), DiskError> {
        let path = self.path.join("run.json");
        let text = serde_json::to_string_pretty(&self.record).unwrap_or_default() + "\n";
        files::write_whole(&path, text.as_bytes()).map_err(|e| DiskError::from_io(&path, &e))
    }
}

/// All run directories in `runs`, the oldest first (their names begin with the time).
pub fn list(runs: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let entries = match fs::read_dir(runs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| DiskError::from_io(runs, &e))?,
    };
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.join("run.json").is_file()).collect();
    found.sort();
    Ok(found)
}

/// The name of the latest unfinished run of the same program, params and seed that no process is at.
pub(crate) fn unfinished(runs: &Path, identity: &Identity) -> Result<Option<String>, RunDirError> {
    for path in list(runs)?.into_iter().rev() {
        if let Ok(record) = Record::read(&path)
            && record.identity == *identity
            && record.status.can_resume()
            && !is_busy(&path)?
        {
            return Ok(Some(record.run));
        }
    }
    Ok(None)
}

/// Removes a run directory, unless a process is at it; says whether it is gone.
pub fn remove(run: &Path) -> Result<bool, DiskError> {
    let Some(_lock) = lock(run)? else {
        return Ok(false);
    };
    // Without `run.json` it is no run any more, so that one half removed is never resumed.
    let gone = files::remove(&run.join("run.json")).and_then(|()| files::remove(run));
    gone.map(|()| true).map_err(|e| DiskError::from_io(run, &e))
}

/// Whether a process is at a run.
pub fn is_busy(run: &Path) -> Result<bool, DiskError> {
    Ok(lock(run)?.is_none())
}

fn find(runs: &Path, name: &str) -> Result<PathBuf, RunDirError> {
    let places = [runs.join(name), PathBuf::from(name)];
    let found = places.into_iter().find(|path| path.join("run.json").is_file());
    found.ok_or_else(|| RunDirError::Missing(name.to_owned()))
}

fn make_unique(runs: &Path, identity: &Identity) -> Result<(String, PathBuf), DiskError> {
    let base = format!("{}-{}-{}", clock::stamp(), plain(&identity.program), identity.hash().short());
    let mut run = base.clone();
    for count in 2.. {
        let path = runs.join(&run);
        match fs::create_dir(&path) {
            Ok(()) => return Ok((run, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => run = format!("{base}-{count}"),
            Err(error) => return Err(DiskError::from_io(&path, &error)),
        }
    }
    Ok((run, runs.to_owned()))
}

/// A name with nothing in it that a shell or file system treats specially.
fn plain(name: &str) -> String {
    let keep = |c: char| {
        if c.is_alphanumeric() || c == '_' || c == '.' { c } else { '_' }
    };
    let short: String = name.chars().map(keep).take(40).collect();
    short.trim_start_matches('.').to_owned()
}

/// Locks a run directory for this process; nothing if another has it. The lock goes with the process, however it ends.
fn lock(run: &Path) -> Result<Option<File>, DiskError> {
    let path = run.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|e| DiskError::from_io(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(DiskError::from_io(&path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datum::Datum;
    use crate::store::Key;

    fn identity(seed: i64) -> Identity {
        Identity {
            program: "quick start".into(),
            program_hash: Key::of("test", &[b"program"]),
            params: [("evaluations".to_owned(), Datum::Int(120))].into_iter().collect(),
            seed,
            tiny: false,
            device: None,
            out: PathBuf::from("."),
        }
    }

    fn create(runs: &Path, seed: i64) -> RunDir {
        RunDir::create(runs, identity(seed), "quick start.evo", "print 1\n", 2).unwrap()
    }

    #[test]
    fn a_new_run_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = create(folder.path(), 7);
        let other = create(folder.path(), 7);
        assert_ne!(run.path(), other.path());
        let name = run.path().file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.contains("Z-quick_start-") && name.ends_with(&identity(7).hash().short()), "{name}");
        assert_eq!(fs::read_to_string(run.path().join("program.evo")).unwrap(), "print 1\n");
        assert_eq!(Record::read(run.path()).unwrap(), *run.record());
        run.finish(Status::Failed, Some("disk full".into())).unwrap();
        let record = Record::read(run.path()).unwrap();
        assert_eq!((record.status, record.error.as_deref()), (Status::Failed, Some("disk full")));
        assert!(record.segments[0].ended.is_some());
    }

    #[test]
    fn the_latest_unfinished_run_of_the_same_program_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path();
        let resume = |seed| RunDir::resume_latest(runs, &identity(seed), 2);
        assert!(matches!(resume(7), Err(RunDirError::NothingToResume { .. })));
        let mut done = create(runs, 7);
        let name = done.record().run.clone();
        assert!(matches!(resume(7), Err(RunDirError::Busy { .. })), "it is under way");
        assert!(matches!(remove(done.path()), Ok(false)));
        drop(done);
        assert!(matches!(resume(8), Err(RunDirError::NothingToResume { .. })), "another seed is another run");
        done = resume(7).unwrap();
        assert_eq!((done.record().run.as_str(), done.segment()), (name.as_str(), 1));
        done.finish(Status::Done, None).unwrap();
        drop(done);
        assert!(matches!(resume(7), Err(RunDirError::NothingToResume { .. })), "it is finished");
    }

    #[test]
    fn a_named_run_must_be_the_same_program() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path();
        let run = create(runs, 7);
        let (name, path) = (run.record().run.clone(), run.path().to_owned());
        drop(run);
        let resume = |name: &str, identity: Identity| RunDir::resume_named(runs, name, &identity, 2);
        assert!(matches!(resume("nothing", identity(7)), Err(RunDirError::Missing(_))));
        let what = |identity| resume(&name, identity).err().unwrap().to_string();
        assert!(what(identity(8)).ends_with("differs in `seed`: 7 there, 8 here"));
        let params = [("evaluations".to_owned(), Datum::Int(60))].into_iter().collect();
        assert!(what(Identity { params, ..identity(7) }).ends_with("differs in `evaluations`: 120 there, 60 here"));
        let program_hash = Key::of("test", &[b"changed"]);
        assert!(what(Identity { program_hash, ..identity(7) }).contains("its program"));
        assert_eq!(resume(path.to_str().unwrap(), identity(7)).unwrap().segment(), 1);
        assert!(remove(&path).unwrap() && !path.exists());
    }

    #[test]
    fn an_unwritable_place_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = RunDir::create(&file.join("runs"), identity(7), "a.evo", "", 1).err().unwrap();
        assert!(matches!(error, RunDirError::Disk(DiskError::Unwritable { .. })), "{error:?}");
    }
}
