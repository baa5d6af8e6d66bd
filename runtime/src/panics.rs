//! What is said when something happens that was held impossible.

use std::any::Any;
use std::panic;
use std::sync::{Mutex, PoisonError};

/// Where the latest panic happened, for the report of whoever catches it.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Keeps panics quiet until they are reported as what they are: internal errors. With `RUST_BACKTRACE` set, the usual
/// report comes as well.
pub(crate) fn install_hook() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
        *PLACE.lock().unwrap_or_else(PoisonError::into_inner) = place;
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            usual(info);
        }
    }));
}

/// What a caught panic says.
pub(crate) fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// What a caught panic of our own says, and where it happened if the hook is in place.
pub(crate) fn describe(panic: &(dyn Any + Send)) -> String {
    let text = text(panic);
    match PLACE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(place) => format!("internal error: {text} ({place})"),
        None => format!("internal error: {text}"),
    }
}
