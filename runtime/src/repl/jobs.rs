//! What runs in the background: numbered, watched, waited for; told of above the line that is being edited.

use std::fmt;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use evo_lang::diag;

use super::show;
use super::take::Output;
use crate::cli::watch::At;
use crate::clock::Stopwatch;
use crate::engine::{Evaluation, Job, RunOutcome};
use crate::events::{Event, Observer, Status};
use crate::render::{self, shortened};

/// Seconds between two lines about one job.
const LINE_EVERY: f64 = 5.0;

/// Writes what the background says. One thread does it, so that nobody who computes ever waits for a terminal.
#[derive(Clone)]
pub(super) struct Printer {
    lines: Sender<Line>,
    colour: bool,
}

enum Line {
    Result(String),
    Note(String),
    /// Everything before it is written when this is answered.
    Flush(Sender<()>),
}

impl fmt::Debug for Printer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printer").finish_non_exhaustive()
    }
}

impl Printer {
    /// A printer to an output.
    pub(super) fn of(output: Arc<dyn Output>) -> Printer {
        let colour = output.colour();
        Printer::by(colour, move |is_result, text| {
            if is_result {
                let _ = output.result(text); // whoever left needs no more results
            } else {
                output.note(text);
            }
        })
    }

    /// A printer by a function that takes results and notes.
    pub(super) fn by(colour: bool, mut write: impl FnMut(bool, &str) + Send + 'static) -> Printer {
        let (lines, taken) = channel();
        // Without a thread nothing is printed; the jobs' results are there all the same.
        let _ = std::thread::Builder::new().name("printer".into()).spawn(move || {
            for line in taken {
                match line {
                    Line::Result(text) => write(true, &text),
                    Line::Note(text) => write(false, &text),
                    Line::Flush(answer) => {
                        let _ = answer.send(());
                    }
                }
            }
        });
        Printer { lines, colour }
    }

    fn note(&self, text: String) {
        let _ = self.lines.send(Line::Note(text)); // the thread lives as long as there are senders
    }

    fn flush(&self) {
        let (answer, answered) = channel();
        if self.lines.send(Line::Flush(answer)).is_ok() {
            let _ = answered.recv();
        }
    }

    fn outcome(&self, number: usize, job: &Job, outcome: &RunOutcome) {
        let word = match outcome.status {
            Status::Done => "done",
            Status::Refuted => "does not hold",
            Status::Interrupted => "stopped; what is finished is kept",
            Status::CutShort => "cut short",
            Status::Running | Status::Failed => "failed",
        };
        let title = shortened(job.title(), 60);
        self.note(format!("[{number}] {title}: {word} ({})", render::duration(outcome.seconds)));
        for output in &outcome.outputs {
            let _ = self.lines.send(Line::Result(show::output(output, job.is_expression())));
        }
        if let Some(failure) = outcome.failure.as_ref().filter(|_| outcome.status != Status::Interrupted) {
            self.note(diag::render_all(&failure.diagnostics, &failure.sources, self.colour).trim_end().to_owned());
        }
    }
}

/// Tells how far a job is: at once, then every few seconds.
struct Teller {
    number: usize,
    printer: Printer,
    last: Mutex<Option<Stopwatch>>,
}

impl Observer for Teller {
    fn event(&self, event: &Event) {
        let Some(at) = At::of(&event.kind) else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|last| last.seconds() >= LINE_EVERY) {
            *last = Some(Stopwatch::start());
            self.printer.note(format!("[{}] {}", self.number, progress(&at)));
        }
    }
}

fn progress(at: &At<'_>) -> String {
    let of = at.total.map(|total| format!("/{total}")).unwrap_or_default();
    format!("{}: {}{of} {}", at.name, at.done, at.what).trim_end().to_owned()
}

/// The jobs of a session.
#[derive(Debug)]
pub(super) struct Jobs {
    jobs: Vec<Numbered>,
    next: usize,
    printer: Printer,
}

#[derive(Debug)]
struct Numbered {
    number: usize,
    job: Job,
    /// Tells what came of the job; done when it has.
    teller: Option<std::thread::JoinHandle<()>>,
}

impl Jobs {
    pub(super) fn new(printer: Printer) -> Jobs {
        Jobs { jobs: Vec::new(), next: 1, printer }
    }

    pub(super) fn print_by(&mut self, printer: Printer) {
        self.printer = printer;
    }

    /// Starts an evaluation; its number and what it is.
    pub(super) fn start(&mut self, evaluation: Evaluation) -> (usize, String) {
        let printer = self.printer.clone();
        let teller = Teller { number: self.next, printer, last: Mutex::new(None) };
        let job = evaluation.start(vec![Arc::new(teller)]);
        let title = job.title().to_owned();
        (self.keep(job), title)
    }

    /// Goes on in the background with what was started in the foreground.
    pub(super) fn keep(&mut self, job: Job) -> usize {
        self.jobs.retain(|known| known.job.outcome().is_none());
        let number = self.next;
        self.next += 1;
        let (printer, told) = (self.printer.clone(), job.clone());
        let tell = move || printer.outcome(number, &told, &told.wait());
        let teller = std::thread::Builder::new().name("teller".into()).spawn(tell).ok();
        self.jobs.push(Numbered { number, job, teller });
        number
    }

    /// The numbers of those that are under way.
    pub(super) fn numbers(&self) -> Vec<usize> {
        self.jobs.iter().filter(|j| j.job.outcome().is_none()).map(|j| j.number).collect()
    }

    /// How many are under way.
    pub(super) fn running(&self) -> usize {
        self.numbers().len()
    }

    /// A line for each that is under way.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |j: &Numbered| {
            let kind = j.job.progress();
            let at = kind.as_ref().and_then(At::of).map(|at| format!(": {}", progress(&at)));
            let stops = if j.job.cancel().is_stopped() { " (stopping)" } else { "" };
            format!("[{}] {}{}{stops}", j.number, shortened(j.job.title(), 60), at.unwrap_or_default())
        };
        self.jobs.iter().filter(|j| j.job.outcome().is_none()).map(line).collect()
    }

    /// Asks a job to stop; whether there is one of that number.
    pub(super) fn cancel(&self, number: usize) -> bool {
        let found = self.jobs.iter().find(|j| j.number == number);
        found.is_some_and(|j| {
            j.job.cancel().stop();
            true
        })
    }

    /// Waits for a job, or for all, until what came of them is told; the largest exit code. Nothing if there is no job of
    /// that number. Ctrl-C stops what is waited for.
    pub(super) fn wait(&mut self, number: Option<usize>) -> Option<u8> {
        if number.is_some_and(|n| !self.jobs.iter().any(|j| j.number == n)) {
            return None;
        }
        let mut code = 0;
        for numbered in self.jobs.iter_mut().filter(|j| number.is_none_or(|n| n == j.number)) {
            let outcome = super::signals::in_foreground(&numbered.job, || numbered.job.wait_or_released());
            let Some(outcome) = outcome else { continue };
            code = code.max(outcome.exit_code());
            if let Some(teller) = numbered.teller.take() {
                let _ = teller.join();
            }
        }
        self.printer.flush();
        self.jobs.retain(|j| j.job.outcome().is_none());
        Some(code)
    }

    /// Asks all to stop, and waits for them.
    pub(super) fn cancel_all(&mut self) {
        for numbered in &self.jobs {
            numbered.job.cancel().stop();
        }
        self.wait(None);
    }
}
