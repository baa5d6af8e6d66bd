//! The worker's side: reads requests, answers them one after another, and ends with the one who asks.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, channel};

use super::frame::{read_frame, write_frame};
use super::limits;
use super::protocol::{Answer, Ask, Failed, Hello, Open, Reply, Request};
use crate::panics;
use crate::run::station::Station;
use crate::sandbox::Tracer;
use crate::trials::try_here;

/// What a worker keeps warm between requests.
#[derive(Debug, Default)]
pub struct Desk {
    tracer: Option<Tracer>,
    /// The program that was opened last.
    open: Option<Box<Open>>,
    station: Option<Station>,
}

impl Desk {
    /// The answer to a request. A panic is an answer, too.
    pub fn answer(&mut self, ask: Ask) -> Reply {
        match catch_unwind(AssertUnwindSafe(|| self.attend(ask))) {
            Ok(reply) => reply,
            Err(panic) => {
                (self.tracer, self.station) = (None, None); // whatever it left half-done
                Reply::Failed(Box::new(Failed {
                    code: "R0504".into(),
                    title: format!("a worker stopped unexpectedly: {}", panics::text(panic.as_ref())),
                    help: "this is a fault of evo: please report it with the program".into(),
                    ..Failed::default()
                }))
            }
        }
    }

    fn attend(&mut self, ask: Ask) -> Reply {
        match ask {
            Ask::Trace(job) => Reply::Traced(self.tracer.get_or_insert_with(Tracer::new).trace(&job)),
            Ask::Open(open) => {
                (self.open, self.station) = (Some(open), None);
                self.station().map_or_else(Reply::Failed, |_| Reply::Opened)
            }
            Ask::Evaluate(asked) => {
                let done = self.station().and_then(|station| station.evaluate(&asked));
                done.map_or_else(Reply::Failed, Reply::Evaluated)
            }
            Ask::Try(trial) => Reply::Tried(try_here(&trial)),
        }
    }

    /// The program that is open; after a panic it is opened anew.
    fn station(&mut self) -> Result<&Station, Box<Failed>> {
        if self.station.is_none() {
            let title = "no program is open".to_owned();
            let closed = || Box::new(Failed { code: "R0505".into(), title, ..Failed::default() });
            self.station = Some(Station::open(self.open.as_ref().ok_or_else(closed)?)?);
        }
        let title = "the program could not be kept open".to_owned();
        self.station.as_ref().ok_or_else(|| Box::new(Failed { code: "R0504".into(), title, ..Failed::default() }))
    }
}

/// Says hello and answers requests until there are no more. `at_end` is called by the thread that reads as soon as the
/// one who asks is gone, while a request may still be under way.
///
/// # Errors
/// If what is read is not the protocol, or an answer cannot be written.
pub fn serve(
    input: impl Read + Send + 'static,
    mut output: impl Write,
    at_end: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    write_frame(&mut output, &serde_json::to_vec(&Hello::own())?)?;
    let mut desk = Desk::default();
    for request in requests(input, at_end)? {
        let Request { id, ask } = serde_json::from_slice(&request?)?;
        if let Some(seconds) = processor(&ask) {
            limits::hold_processor(seconds)?;
        }
        let reply = desk.answer(ask);
        write_frame(&mut output, &serde_json::to_vec(&Answer { id, reply })?)?;
    }
    Ok(())
}

/// The processor time that a request may take, where it has a bound of its own: a little more than its deadline, after
/// which the one who asks kills the worker.
fn processor(ask: &Ask) -> Option<u64> {
    match ask {
        Ask::Trace(job) => Some(job.limits.deadline_ms.div_ceil(1000) + 1),
        Ask::Open(_) | Ask::Evaluate(_) => None,
        Ask::Try(trial) => Some(trial.limits.seconds.ceil() as u64 + 1),
    }
}

/// Messages as they come, read ahead so that the end of the one who asks is seen at once.
fn requests(
    mut input: impl Read + Send + 'static,
    at_end: impl FnOnce() + Send + 'static,
) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (to, requests) = channel();
    let read = move || {
        loop {
            match read_frame(&mut input) {
                Ok(Some(message)) => drop(to.send(Ok(message))),
                Ok(None) => break at_end(),
                Err(error) => break drop(to.send(Err(error))),
            }
        }
    };
    std::thread::Builder::new().name("requests".into()).spawn(read)?;
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Settings};
    use crate::sandbox::{Job, Limits, Verdict};
    use crate::store::Key;
    use crate::workers::Evaluate;

    fn job(script: &str) -> Ask {
        let (name, inputs) = ("l".to_owned(), vec!["z".to_owned()]);
        Ask::Trace(Box::new(Job { name, script: script.to_owned(), inputs, limits: Limits::default() }))
    }

    #[test]
    fn a_panic_in_a_native_is_an_answer_and_the_next_script_is_traced() {
        let mut desk = Desk { tracer: Some(Tracer::with_a_native_that_panics()), ..Desk::default() };
        let Reply::Failed(failed) = desk.answer(job("boom() * z")) else { panic!("a panic is no verdict") };
        assert_eq!((failed.code.as_str(), failed.title.contains("boom")), ("R0504", true), "{failed:?}");
        assert!(matches!(desk.answer(job("-z")), Reply::Traced(Verdict::Traced(_))));
    }

    #[test]
    fn a_program_stays_open_over_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let text = "genome P { x: real in 0..1 }\nfitness f(p: P) = loss_values(dpo, z: [p.x])[0]\n\
                    evolve s { maximize: f, stop: { evaluations: 4 } }\nprint s.score\n";
        let engine = Engine::builder().cwd(folder.path()).build();
        let program = engine.load_text("p.evo", text).plan(&Settings::new()).unwrap().planned.program_hash();
        let open = Open {
            root: folder.path().into(),
            file: "p.evo".into(),
            text: text.into(),
            params: Default::default(),
            seed: None,
            tiny: false,
            device: None,
            program,
            store: None,
            threads: 1,
            memory: None,
        };
        let mut desk = Desk { tracer: Some(Tracer::with_a_native_that_panics()), ..Desk::default() };
        let title = |reply| match reply {
            Reply::Failed(failed) => failed.title,
            other => panic!("{other:?}"),
        };
        let function = program; // none of the program's functions
        let evaluate = |desk: &mut Desk| {
            title(desk.answer(Ask::Evaluate(Evaluate { function, arguments: Vec::new(), node: program })))
        };
        assert_eq!(evaluate(&mut desk), "no program is open");
        assert_eq!(desk.answer(Ask::Open(Box::new(open.clone()))), Reply::Opened);
        assert_eq!(evaluate(&mut desk), "it has no such function");
        assert!(title(desk.answer(job("boom() * z"))).contains("boom"));
        assert_eq!(evaluate(&mut desk), "it has no such function", "it is open again");
        let other = Open { program: Key([7; 32]), ..open };
        assert!(title(desk.answer(Ask::Open(Box::new(other)))).contains("changed"));
    }
}
