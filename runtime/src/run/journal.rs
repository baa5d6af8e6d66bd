//! `run.db`: what a run found out, row by row, so that a resumed run asks for nothing twice.
//!
//! Every row has a primary key that follows from the program (a search's identity, a generation, a candidate's index),
//! never from time or order of arrival. A row that is written again must be equal but for its times and process id;
//! the first stays. [`Journal::commit`] returns when its rows are durable against `kill -9`, and all of them are, or
//! none: one thread writes, and takes what many workers hand in at the same time into one transaction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::rows::{self, Call, Candidate, Evaluation, Output, Row, TABLES, Table};
use evo_lang::diag::Code;

use crate::db::{self, DiskError};
use crate::store::Key;

const VERSION: i64 = 2;

/// Hand-ins that one transaction takes at most.
const BATCH: usize = 256;

/// Why rows could not be journaled.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk's fault.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A row was written before with other content: something in the run was not reproducible.
    #[error("`{table}` has a row {key} already, and it differs: a step of the run is not reproducible")]
    Differs {
        /// The table.
        table: &'static str,
        /// The row's primary key.
        key: String,
    },
    /// The writer is gone.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// The diagnostic's code.
    pub fn code(&self) -> Code {
        match self {
            JournalError::Disk(error) => error.code(),
            JournalError::Differs { .. } | JournalError::Closed => Code::R0545,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            JournalError::Disk(error) => error.help(),
            JournalError::Differs { .. } | JournalError::Closed => {
                "run without `--resume` to begin anew, and report this with the program: equal steps must give equal \
                 results"
            }
        }
    }
}

struct HandIn {
    rows: Vec<Row>,
    answer: Sender<Result<(), JournalError>>,
}

/// How far a search had come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    /// The last generation of which an evaluation is finished.
    pub last: Option<u64>,
    /// Seconds that its generations took to evaluate, all in all.
    pub seconds: f64,
    /// Whether it had come to its end.
    pub is_finished: bool,
}

/// An open journal; clones of a reference to it may be used by any number of threads.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    reader: Mutex<Connection>,
    hand_in: Option<SyncSender<HandIn>>,
    writer: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens `run.db`, and makes it if it is not there.
    pub fn open(path: &Path) -> Result<Journal, DiskError> {
        let connection = db::open(path, &rows::schema(), rows::UPGRADES, VERSION)?;
        let reader = open_reader(path)?;
        let (hand_in, taken) = sync_channel(4 * BATCH);
        let owned = path.to_owned();
        let writer = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || write_all(&owned, connection, &taken))
            .map_err(|e| DiskError::from_io(path, &e))?;
        Ok(Journal { path: path.to_owned(), reader: Mutex::new(reader), hand_in: Some(hand_in), writer: Some(writer) })
    }

    /// A journal that is gone when it is dropped, for what is not worth a file.
    pub(crate) fn in_memory() -> Result<Journal, DiskError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // One database for both connections, as long as one of them is open.
        Journal::open(Path::new(&format!("file:evo-journal-{count}?mode=memory&cache=shared")))
    }

    /// Writes rows in one transaction, and returns when it is committed. Rows that are there already are compared.
    pub fn commit(&self, rows: Vec<Row>) -> Result<(), JournalError> {
        let (answer, answered) = channel();
        let hand_in = self.hand_in.as_ref().ok_or(JournalError::Closed)?;
        hand_in.send(HandIn { rows, answer }).map_err(|_| JournalError::Closed)?;
        answered.recv().map_err(|_| JournalError::Closed)?
    }

    /// The finished evaluations of a search, in the order of generation and candidate.
    pub fn evaluations(&self, search: &Key) -> Result<Vec<Evaluation>, DiskError> {
        self.select(&rows::EVALUATIONS, "WHERE search = ?1", &[search.to_string().into()], Evaluation::read)
    }

    /// The finished evaluations of one generation of a search, in the order of candidates.
    pub fn generation(&self, search: &Key, generation: u64) -> Result<Vec<Evaluation>, DiskError> {
        let with = [search.to_string().into(), i64::try_from(generation).unwrap_or(i64::MAX).into()];
        self.select(&rows::EVALUATIONS, "WHERE search = ?1 AND generation = ?2", &with, Evaluation::read)
    }

    /// What the journal knew of a search before this segment of the run.
    pub fn past(&self, search: &Key) -> Result<Past, DiskError> {
        let sql = "SELECT max(generation), sum(longest), EXISTS (SELECT 1 FROM nodes WHERE node = ?1) FROM \
                   (SELECT generation, max(elapsed) AS longest FROM evaluations WHERE search = ?1 GROUP BY generation)";
        let read = |row: &rusqlite::Row<'_>| {
            let generation: Option<i64> = row.get(0)?;
            let seconds: Option<f64> = row.get(1)?;
            let last = generation.and_then(|g| u64::try_from(g).ok());
            Ok(Past { last, seconds: seconds.unwrap_or(0.0), is_finished: row.get(2)? })
        };
        let found = self.reader().query_row(sql, [search.to_string()], read);
        found.map_err(|e| DiskError::from_sql(&self.path, &e))
    }

    /// The candidates of a search, in the order of generation and candidate.
    pub fn candidates(&self, search: &Key) -> Result<Vec<Candidate>, DiskError> {
        self.select(&rows::CANDIDATES, "WHERE search = ?1", &[search.to_string().into()], Candidate::read)
    }

    /// The recorded answer to a request that was sent to a language model or a host function.
    pub fn call(&self, request: &Key) -> Result<Option<Call>, DiskError> {
        let found = self.select(&rows::CALLS, "WHERE request = ?1", &[request.to_string().into()], Call::read)?;
        Ok(found.into_iter().next())
    }

    /// What the program's requests gave, in their order.
    pub fn outputs(&self) -> Result<Vec<Output>, DiskError> {
        self.select(&rows::OUTPUTS, "", &[], Output::read)
    }

    fn select<T>(
        &self,
        table: &'static Table,
        condition: &str,
        with: &[Value],
        read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, DiskError> {
        let reader = self.reader();
        let sql = format!("SELECT * FROM {} {condition} ORDER BY {}", table.name, table.keys());
        let selected = reader.prepare_cached(&sql).and_then(|mut statement| {
            statement.query_map(params_from_iter(with), |row| read(row))?.collect::<rusqlite::Result<Vec<T>>>()
        });
        selected.map_err(|e| DiskError::from_sql(&self.path, &e))
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.hand_in.take()); // the writer ends when nobody can hand in any more
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn open_reader(path: &Path) -> Result<Connection, DiskError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(path, flags).map_err(|e| DiskError::from_sql(path, &e))
}

/// The writer's thread: waits for a hand-in, takes what else has come, commits, answers.
fn write_all(path: &Path, mut connection: Connection, taken: &Receiver<HandIn>) {
    while let Ok(first) = taken.recv() {
        let batch: Vec<HandIn> = std::iter::once(first).chain(taken.try_iter().take(BATCH - 1)).collect();
        if write(&mut connection, batch.iter().flat_map(|hand_in| &hand_in.rows), path).is_ok() {
            for hand_in in batch {
                let _ = hand_in.answer.send(Ok(())); // whoever waits no longer needs no answer
            }
            continue;
        }
        // One bad hand-in must not fail its neighbours: each gets a transaction and an answer of its own.
        for hand_in in batch {
            let written = write(&mut connection, &hand_in.rows, path);
            let _ = hand_in.answer.send(written);
        }
    }
}

fn write<'a>(
    connection: &mut Connection,
    rows: impl IntoIterator<Item = &'a Row>,
    path: &Path,
) -> Result<(), JournalError> {
    let sort = |error: rusqlite::Error| DiskError::from_sql(path, &error);
    let step = connection.transaction().map_err(sort)?;
    for row in rows {
        if !row.insert(&step).map_err(sort)? && !row.is_there(&step).map_err(sort)? {
            return Err(JournalError::Differs { table: row.table.name, key: row.key_text() });
        }
    }
    step.commit().map_err(sort)?;
    Ok(())
}

/// How long a node of a run took.
#[derive(Clone, Debug, PartialEq)]
pub struct Time {
    /// The node's identity.
    pub node: Key,
    /// What it is called.
    pub name: String,
    /// Its kind, such as `train`.
    pub kind: String,
    /// Wall-clock seconds, in the segment that finished it.
    pub seconds: f64,
    /// The evaluations that it made, if it is a search.
    pub evaluations: u64,
}

/// How long the nodes took that a run computed.
pub fn times(path: &Path) -> Result<Vec<Time>, DiskError> {
    let sorted = |e: rusqlite::Error| DiskError::from_sql(path, &e);
    let connection = open_reader(path)?;
    let sql = "SELECT node, name, kind, seconds, (SELECT count(*) FROM evaluations WHERE search = nodes.node) \
               FROM nodes \
               WHERE seconds IS NOT NULL ORDER BY node";
    let mut statement = connection.prepare(sql).map_err(sorted)?;
    let read = |row: &rusqlite::Row<'_>| {
        let node: String = row.get(0)?;
        let evaluations: i64 = row.get(4)?;
        let evaluations = u64::try_from(evaluations).unwrap_or(0);
        Ok((node, Time { node: Key([0; 32]), name: row.get(1)?, kind: row.get(2)?, seconds: row.get(3)?, evaluations }))
    };
    let rows = statement.query_map([], read).map_err(sorted)?.collect::<rusqlite::Result<Vec<_>>>().map_err(sorted)?;
    Ok(rows.into_iter().filter_map(|(node, time)| Some(Time { node: node.parse().ok()?, ..time })).collect())
}

/// All rows of a `run.db` by table, in the order of their keys, without times and process ids: two runs of one program
/// agree on them, however often either was interrupted, but for nodes that led to nothing but what the store kept: one
/// that is not demanded has no row.
pub fn content(path: &Path) -> Result<BTreeMap<&'static str, Vec<Vec<String>>>, DiskError> {
    let connection = open_reader(path)?;
    let read = |table: &'static Table| -> rusqlite::Result<(&'static str, Vec<Vec<String>>)> {
        let columns = table.lasting();
        let sql = format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), table.name, table.keys());
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map([], |row| {
            (0..columns.len()).map(|i| row.get::<_, Value>(i).map(|value| format!("{value:?}"))).collect()
        })?;
        Ok((table.name, rows.collect::<rusqlite::Result<_>>()?))
    };
    TABLES.into_iter().map(read).collect::<rusqlite::Result<_>>().map_err(|e| DiskError::from_sql(path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datum::Datum;
    use crate::events::{Outcome, Shown};
    use crate::run::rows::{OutputKind, node_row};

    fn evaluation(candidate: u64, score: f64) -> Evaluation {
        let outcome = match candidate {
            2 => Outcome::Failed { code: "R0502".into(), reason: "score is not finite".into() },
            _ => Outcome::Scored { scores: vec![score, f64::MIN_POSITIVE], measures: vec![0.1 + 0.2] },
        };
        let (search, node) = (Key::of("test", &[b"search"]), Key::of("test", &[&candidate.to_le_bytes()]));
        Evaluation { search, generation: 1, candidate, node, outcome, seconds: 0.5, elapsed: 0.75 }
    }

    fn journal() -> (tempfile::TempDir, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("run.db")).unwrap();
        (folder, journal)
    }

    #[test]
    fn rows_come_back_to_the_bit_and_in_order() {
        let (_folder, journal) = journal();
        let third = 1.0 / 3.0;
        journal.commit(vec![evaluation(3, third).row()]).unwrap();
        journal.commit(vec![evaluation(2, third).row(), evaluation(1, -third).row()]).unwrap();
        let expected = vec![evaluation(1, -third), evaluation(2, third), evaluation(3, third)];
        assert_eq!(journal.evaluations(&Key::of("test", &[b"search"])).unwrap(), expected);
        assert_eq!(journal.evaluations(&Key::of("test", &[b"other"])).unwrap(), []);
        assert_eq!(journal.generation(&Key::of("test", &[b"search"]), 1).unwrap(), expected);
        assert_eq!(journal.generation(&Key::of("test", &[b"search"]), 0).unwrap(), []);
    }

    #[test]
    fn candidates_and_calls_come_back() {
        let (_folder, journal) = journal();
        let third = 1.0 / 3.0;
        let candidate = Candidate {
            search: Key::of("test", &[b"search"]),
            generation: 1,
            candidate: 0,
            genome: [("w", vec![third, 2.0])].into_iter().collect(),
            operator: "sample".into(),
            parents: vec![],
        };
        journal.commit(candidate.rows()).unwrap();
        assert_eq!(journal.candidates(&Key::of("test", &[b"search"])).unwrap(), [candidate]);
        let call = Call {
            request: Key::of("test", &[b"request"]),
            target: "model".into(),
            question: "why?".into(),
            answer: Datum::Missing,
            tokens_in: 3,
            tokens_out: 4,
            cost: 0.1,
            seconds: 2.0,
        };
        journal.commit(vec![call.row()]).unwrap();
        assert_eq!(journal.call(&Key::of("test", &[b"request"])).unwrap(), Some(call));
        assert_eq!(journal.call(&Key::of("test", &[b"other"])).unwrap(), None);
    }

    #[test]
    fn outputs_come_back_in_the_order_of_requests() {
        let (_folder, journal) = journal();
        let third = 1.0 / 3.0;
        let kinds = [
            OutputKind::Printed(Shown::Value(Datum::Real(third))),
            OutputKind::Saved { path: "evolved".into(), what: "model".into() },
            OutputKind::Plotted { path: None, text: "plot".into() },
            OutputKind::Expected { message: "it holds".into(), holds: false },
        ];
        let outputs: Vec<Output> = (0..).zip(kinds).map(|(request, kind)| Output { request, kind }).collect();
        journal.commit(outputs.iter().map(Output::row).collect()).unwrap();
        assert_eq!(journal.outputs().unwrap(), outputs);
    }

    #[test]
    fn an_equal_row_is_welcome_and_another_is_not() {
        let (folder, journal) = journal();
        journal.commit(vec![evaluation(1, 0.5).row()]).unwrap();
        let path = folder.path().join("run.db");
        let before = content(&path).unwrap();
        journal.commit(vec![Evaluation { seconds: 9.0, elapsed: 9.0, ..evaluation(1, 0.5) }.row()]).unwrap();
        let error = journal.commit(vec![evaluation(3, 0.5).row(), evaluation(1, 0.25).row()]).err().unwrap();
        assert!(matches!(error, JournalError::Differs { table: "evaluations", .. }), "{error}");
        assert_eq!(content(&path).unwrap(), before, "all rows of a hand-in, or none");
        assert_eq!(journal.evaluations(&Key::of("test", &[b"search"])).unwrap()[0].seconds, 0.5, "the first stays");
    }

    #[test]
    fn a_bad_hand_in_does_not_fail_its_neighbours() {
        let (_folder, journal) = journal();
        journal.commit(vec![evaluation(0, 0.5).row()]).unwrap();
        let failed: Vec<u64> = std::thread::scope(|scope| {
            let hand_in = |i: u64| {
                let journal = &journal;
                let row = if i.is_multiple_of(5) { evaluation(0, 0.75).row() } else { evaluation(i, 0.5).row() };
                scope.spawn(move || journal.commit(vec![row]).err().map(|_| i))
            };
            let threads: Vec<_> = (1..40).map(hand_in).collect();
            threads.into_iter().filter_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(failed, [5, 10, 15, 20, 25, 30, 35]);
        assert_eq!(journal.evaluations(&Key::of("test", &[b"search"])).unwrap().len(), 1 + 39 - 7);
    }

    #[test]
    fn content_leaves_out_times_and_process_ids() {
        let (folder, journal) = journal();
        journal.commit(vec![node_row(&Key::of("test", &[b"n"]), "calculator", "train", Some(3.5))]).unwrap();
        let content = content(&folder.path().join("run.db")).unwrap();
        assert_eq!(
            content.keys().copied().collect::<Vec<_>>(),
            ["calls", "candidates", "evaluations", "lineage", "nodes", "outputs"]
        );
        assert_eq!(
            content["nodes"],
            [[
                format!("Text({:?})", Key::of("test", &[b"n"]).to_string()),
                "Text(\"calculator\")".into(),
                "Text(\"train\")".into()
            ]]
        );
    }

    #[test]
    fn the_first_format_is_brought_up_to_date() {
        let (folder, journal) = journal();
        let old = Evaluation { elapsed: 0.5, ..evaluation(1, 0.25) };
        journal.commit(vec![old.row()]).unwrap();
        drop(journal);
        let path = folder.path().join("run.db");
        let first = Connection::open(&path).unwrap();
        first.execute_batch("ALTER TABLE evaluations DROP COLUMN elapsed; PRAGMA user_version = 1").unwrap();
        drop(first);
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.evaluations(&old.search).unwrap(), std::slice::from_ref(&old));
        journal.commit(vec![evaluation(2, 0.5).row()]).unwrap();
        drop(journal);
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.evaluations(&old.search).unwrap(), [old.clone(), evaluation(2, 0.5)]);
        assert_eq!(journal.past(&old.search).unwrap().seconds, 0.75);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let (folder, journal) = journal();
        drop(journal);
        let path = folder.path().join("run.db");
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Journal::open(&path), Err(DiskError::Newer { found: 99, .. })));
    }
}
