//! Where models are computed, by name: the one place of this crate that knows what devices are called.

use evo_lang::diag::{Code, Diagnostic};
use evo_stdlib::model::{DEVICES, Device, DeviceError};

use crate::engine::nowhere;

/// The device that a name chooses, or the usual one; `None` for the CPU's vectors, which need no opening.
pub(crate) fn open(name: Option<&str>) -> Result<Option<Device>, Vec<Diagnostic>> {
    let Some(name) = name else { return Ok(Device::best()) };
    Device::open(name)
        .map_err(|error| vec![Diagnostic::error(Code::E0143, nowhere(), error.to_string(), "").help(help(&error))])
}

/// What models are computed on where no device is named: the fastest that our own kernels have on this machine.
pub(crate) fn usual() -> &'static str {
    Device::best().map_or(DEVICES[0], |device| device.name())
}

/// What a record means that names no device.
pub(crate) fn name(named: Option<&str>) -> &str {
    named.unwrap_or(DEVICES[0])
}

/// What to do about a device.
pub(crate) fn help(error: &DeviceError) -> String {
    let ours = DEVICES[0];
    match error {
        DeviceError::Unknown { .. } => format!("the devices are {}", DEVICES.map(|d| format!("`{d}`")).join(", ")),
        DeviceError::NotBuilt { name } => {
            format!("compute on `{ours}`, or build evo with `cargo install --features {name}`")
        }
        DeviceError::Missing { .. } => format!("compute on `{ours}`, which every machine has"),
        DeviceError::Refused { .. } => format!("compute on `{ours}`, or mend the driver"),
    }
}
