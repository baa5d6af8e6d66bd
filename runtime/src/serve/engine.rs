//! The thread that owns the model and does what requests ask of it.

use std::io;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use evo_stdlib::answer::service::{Load, Work, serve};
use evo_stdlib::model::{Model, Place};

use super::Stopper;

/// The way to the engine, and how busy it is.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    work: Sender<Work>,
    load: Arc<Mutex<Load>>,
}

impl Desk {
    /// Hands in some work; false if the engine is gone.
    pub(super) fn hand_in(&self, work: Work) -> bool {
        self.work.send(work).is_ok()
    }

    pub(super) fn load(&self) -> Load {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the server, at once, when the engine does: of itself, or because it broke off.
struct End(Stopper);

impl Drop for End {
    fn drop(&mut self) {
        self.0.stop();
        self.0.stop();
    }
}

/// Starts the engine. It ends when all desks are gone and what they handed in is done, or at once when a model cannot be computed;
/// the server ends with it.
pub(super) fn start(
    model: Model,
    place: &Place,
    stopper: Stopper,
) -> io::Result<(Desk, JoinHandle<Result<(), String>>)> {
    let (sender, receiver) = channel();
    let desk = Desk { work: sender, load: Arc::default() };
    let (load, place) = (desk.load.clone(), place.clone());
    let run = move || {
        let _end = End(stopper);
        let done = serve(&model, &place, |now| {
            *load.lock().unwrap_or_else(PoisonError::into_inner) = *now;
            next(&receiver, now)
        });
        done.map_err(|error| error.to_string())
    };
    Ok((desk, std::thread::Builder::new().name("evo-engine".into()).spawn(run)?))
}

/// What has come in; waits for it if there is nothing else to do.
fn next(work: &Receiver<Work>, load: &Load) -> Option<Vec<Work>> {
    let mut some = Vec::new();
    let is_idle = load.open + load.waiting == 0;
    if is_idle {
        some.push(work.recv().ok()?);
    }
    loop {
        match work.try_recv() {
            Ok(more) => some.push(more),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Some(some),
        }
    }
}
