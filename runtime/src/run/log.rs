//! The stream of events of a run: numbers them, writes `events.jsonl`, tells the observers.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{self, Stopwatch};
use crate::db::DiskError;
use crate::events::{Event, EventKind, Observer};
use crate::store::Key;

/// Progress of one node is told at most this often, in seconds.
const PROGRESS_EVERY: f64 = 0.25;

/// The events of a run. An observer must not emit events itself.
pub struct EventLog {
    observers: Vec<Arc<dyn Observer>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    file: Option<(PathBuf, File)>,
    failure: Option<DiskError>,
    told: BTreeMap<Key, Stopwatch>,
}

impl fmt::Debug for EventLog {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EventLog").field("observers", &self.observers.len()).finish_non_exhaustive()
    }
}

impl EventLog {
    /// Events that only the observers get.
    pub fn unwritten(observers: Vec<Arc<dyn Observer>>) -> EventLog {
        EventLog { observers, state: Mutex::default() }
    }

    /// Appends to a file, and goes on with its numbers. A line that a killed process left half written is cut off.
    pub fn open(path: &Path, observers: Vec<Arc<dyn Observer>>) -> Result<EventLog, DiskError> {
        let opened = open_for_append(path).map_err(|e| DiskError::from_io(path, &e))?;
        let state = State { next: opened.1, file: Some((path.to_owned(), opened.0)), ..State::default() };
        Ok(EventLog { observers, state: Mutex::new(state) })
    }

    /// Says that something happened. A line that cannot be written is no reason to stop here: see
    /// [`failure`](EventLog::failure).
    pub fn emit(&self, kind: EventKind) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_too_soon(&kind) {
            return;
        }
        let event = Event { sequence: state.next, time: clock::now_text(), kind };
        state.next += 1;
        state.write(&event);
        for observer in &self.observers {
            observer.event(&event);
        }
    }

    /// A warning without a place.
    pub fn warn(&self, code: &str, message: impl Into<String>, help: impl Into<String>) {
        let (code, help) = (Some(code.to_owned()), Some(help.into()));
        self.emit(EventKind::Warning { code, message: message.into(), place: None, help });
    }

    /// The first event that could not be written, if any: the run should end with this error.
    pub fn failure(&self) -> Option<DiskError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failure.take()
    }
}

impl State {
    /// Progress comes as often as the work likes; people and files want it less often, but never miss the end.
    fn is_too_soon(&mut self, kind: &EventKind) -> bool {
        match kind {
            EventKind::NodeProgress { node, done, total, .. } => {
                let last = total.is_some_and(|total| *done >= total);
                if !last && self.told.get(node).is_some_and(|told| told.seconds() < PROGRESS_EVERY) {
                    return true;
                }
                self.told.insert(*node, Stopwatch::start());
            }
            EventKind::NodeFinished { node, .. } => {
                self.told.remove(node);
            }
            _ => {}
        }
        false
    }

    fn write(&mut self, event: &Event) {
        let Some((path, file)) = &mut self.file else {
            return;
        };
        let written = serde_json::to_string(event).map_err(io::Error::other).and_then(|line| {
            file.write_all((line + "\n").as_bytes()) // one call, so that lines are whole unless the process dies in it
        });
        if let (Err(error), None) = (written, &self.failure) {
            self.failure = Some(DiskError::from_io(path, &error));
        }
    }
}

/// The file, placed behind its last whole line, and the number of the next event.
fn open_for_append(path: &Path) -> io::Result<(File, u64)> {
    let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    let (mut end, mut next) = (0_u64, 0);
    let mut lines = BufReader::new(&file);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let Some(event) = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice::<Event>(line).ok()) else {
            break;
        };
        end += line.len() as u64;
        next = event.sequence + 1;
        line.clear();
    }
    file.set_len(end)?;
    file.seek(SeekFrom::End(0))?;
    Ok((file, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warn(log: &EventLog, text: &str) {
        log.emit(EventKind::Warning { code: None, message: text.into(), place: None, help: None });
    }

    #[test]
    fn numbers_go_on_and_a_torn_line_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let log = EventLog::open(&path, vec![]).unwrap();
        warn(&log, "one");
        warn(&log, "two");
        drop(log);
        File::options().append(true).open(&path).unwrap().write_all(b"{\"sequence\":2,\"tim").unwrap();
        warn(&EventLog::open(&path, vec![]).unwrap(), "three");
        let text = std::fs::read_to_string(&path).unwrap();
        let events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.iter().map(|e| e.sequence).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(matches!(&events[2].kind, EventKind::Warning { message, .. } if message == "three"));
    }

    #[test]
    fn many_threads_give_one_order_to_file_and_observers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = seen.clone();
        let observer = Arc::new(move |event: &Event| keep.lock().unwrap().push(event.sequence));
        let log = EventLog::open(&path, vec![observer]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50).for_each(|i| warn(&log, &format!("{i}"))));
            }
        });
        assert_eq!(*seen.lock().unwrap(), (0..200).collect::<Vec<u64>>());
        let written = std::fs::read_to_string(&path).unwrap();
        let numbers: Vec<u64> = written.lines().map(|l| serde_json::from_str::<Event>(l).unwrap().sequence).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<u64>>());
    }

    #[test]
    fn progress_is_thinned_but_its_end_is_told() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let keep = told.clone();
        let log = EventLog::unwritten(vec![Arc::new(move |event: &Event| {
            if let EventKind::NodeProgress { done, .. } = &event.kind {
                keep.lock().unwrap().push(*done);
            }
        })]);
        let node = Key::of("test", &[b"n"]);
        for done in 0..=1000 {
            let (name, message) = ("train".to_owned(), String::new());
            log.emit(EventKind::NodeProgress {
                node,
                name,
                done,
                total: Some(1000),
                message,
                rate: None,
                metric: None,
                more: Default::default(),
                remaining: None,
            });
        }
        let told = told.lock().unwrap();
        assert!(told.len() < 100, "{}", told.len());
        assert_eq!((told.first(), told.last()), (Some(&0), Some(&1000)));
    }

    #[test]
    fn a_full_disk_is_remembered() {
        let log = EventLog::unwritten(vec![]);
        let full = File::options().write(true).open("/dev/full").unwrap();
        log.state.lock().unwrap().file = Some((PathBuf::from("/dev/full"), full));
        warn(&log, "one");
        assert!(matches!(log.failure(), Some(DiskError::Full { .. })));
    }
}
