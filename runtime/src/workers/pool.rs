//! Workers at hand: started when they are needed, kept warm, replaced when they are lost.

use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::process::{Lost, Spec, Worker};
use super::protocol::{self, Ask, Reply, Request};

/// So many times a request may cost a worker before it is given up.
pub const STRIKES: u32 = 3;

/// How long a worker may take to begin.
const BEGIN: Duration = Duration::from_secs(20);

/// How long it may take to open a program and hash the files that it reads.
const OPEN: Duration = Duration::from_secs(3600);

/// A fixed number of workers for any number of askers.
#[derive(Debug)]
pub struct Pool {
    spec: Spec,
    /// Asked of each worker before anything else.
    opening: Option<Ask>,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug)]
struct State {
    idle: Vec<Member>,
    /// How many more may be busy.
    free: usize,
    next: u64,
    lost: u64,
}

/// A worker that has said hello.
#[derive(Debug)]
struct Member(Worker);

/// How a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// How long each try may take.
    pub within: Duration,
    /// How many workers it may cost.
    pub strikes: u32,
    /// Becomes true when the run is asked to stop.
    pub stop: Option<&'a AtomicBool>,
}

impl Pool {
    /// A pool of up to `size` workers; none is started yet.
    pub fn new(spec: Spec, size: usize) -> Pool {
        let state = State { idle: Vec::new(), free: size.max(1), next: 1, lost: 0 };
        Pool { spec, opening: None, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// The same pool, each worker of which is asked this first, such as to open a program.
    pub fn opening(self, ask: Ask) -> Pool {
        Pool { opening: Some(ask), ..self }
    }

    /// The answer to a request, of whichever worker is free. One that is lost is replaced, and another one asked, as
    /// often as the request has strikes.
    ///
    /// # Errors
    /// Why the last worker that was asked gave none.
    pub fn ask(&self, ask: &Ask, manner: Manner<'_>) -> Result<Reply, Lost> {
        let place = self.place();
        let mut tries = 0;
        loop {
            tries += 1;
            match self.once(&place, ask, manner) {
                Err(lost) if lost.may_pass() && tries < manner.strikes => {}
                other => return other,
            }
        }
    }

    /// How many workers were lost so far.
    pub fn lost(&self) -> u64 {
        self.lock().lost
    }

    /// The process numbers of the workers that are idle.
    pub fn idle(&self) -> Vec<u32> {
        self.lock().idle.iter().map(|member| member.0.id()).collect()
    }

    fn once(&self, place: &Place<'_>, ask: &Ask, manner: Manner<'_>) -> Result<Reply, Lost> {
        let mut member = match self.waiting() {
            Some(member) => member,
            None => self.start(manner.stop)?,
        };
        let answered = member.ask(place.number(), ask, manner.within, manner.stop);
        match answered {
            Ok(reply) => {
                self.lock().idle.push(member);
                Ok(reply)
            }
            Err(lost) => {
                self.lock().lost += 1;
                Err(lost)
            }
        }
    }

    /// A warm worker. One that died while it was idle is nobody's strike.
    fn waiting(&self) -> Option<Member> {
        loop {
            let member = self.lock().idle.pop()?;
            if member.0.is_waiting() {
                return Some(member);
            }
            self.lock().lost += 1;
        }
    }

    /// A worker that is ready. That none gets so far is no request's fault.
    fn start(&self, stop: Option<&AtomicBool>) -> Result<Member, Lost> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.begin(stop) {
                Err(lost) if lost.may_pass() && tries < STRIKES => {}
                Err(lost @ (Lost::Stopped | Lost::Start(_))) => return Err(lost),
                Err(lost) => return Err(Lost::Start(lost.to_string())),
                Ok(member) => return Ok(member),
            }
        }
    }

    /// Starts a worker, which says hello and does what all are asked first.
    fn begin(&self, stop: Option<&AtomicBool>) -> Result<Member, Lost> {
        let mut worker = Worker::start(&self.spec)?;
        protocol::greeted(&worker.next(BEGIN, stop)?)?;
        let mut member = Member(worker);
        let Some(ask) = &self.opening else { return Ok(member) };
        match member.ask(self.number(), ask, OPEN, stop)? {
            Reply::Opened => Ok(member),
            Reply::Failed(failed) => Err(Lost::Start(failed.title)),
            _ => Err(Lost::Protocol("it answers another request".into())),
        }
    }

    fn number(&self) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        state.next
    }

    /// Waits until one more may be busy.
    fn place(&self) -> Place<'_> {
        let mut state = self.lock();
        while state.free == 0 {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.free -= 1;
        Place(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn ask(&mut self, id: u64, ask: &Ask, within: Duration, stop: Option<&AtomicBool>) -> Result<Reply, Lost> {
        let request = protocol::encode(&Request { id, ask: ask.clone() })?;
        let answer = protocol::answer(&self.0.ask(request, within, stop)?)?;
        match answer.id == id {
            true => Ok(answer.reply),
            false => Err(Lost::Protocol(format!("it answers request {} when asked {id}", answer.id))),
        }
    }
}

/// The right to keep one worker busy; given back when dropped.
struct Place<'a>(&'a Pool);

impl Place<'_> {
    fn number(&self) -> u64 {
        self.0.number()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().free += 1;
        self.0.freed.notify_one();
    }
}
