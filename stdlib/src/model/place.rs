//! Where and how models are computed: what is decided outside of a program.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use evo_kernels::backprop::Workspace;
use evo_kernels::decode::{Decoder, Device, Residuals};
use evo_kernels::matmul::Units;

use super::ModelError;

/// Where a model is computed, on how many threads, and until when.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Threads of the CPU; never changes a result.
    pub threads: usize,
    /// A device beside the vector instructions of the CPU; results differ in their last bits.
    pub device: Option<Device>,
    /// Ends the work soon after it becomes true.
    pub stop: Option<Arc<AtomicBool>>,
    /// Where models with equal lower layers find what these give for the same texts; never changes a result.
    pub residuals: Option<Arc<Residuals>>,
}

impl From<usize> for Place {
    /// The CPU, on this many threads.
    fn from(threads: usize) -> Self {
        Self { threads, ..Self::default() }
    }
}

impl Place {
    /// Memory and threads for training here: on the tiles if they are the device, else on the CPU's vectors, whatever the device.
    pub fn workspace(&self) -> Workspace {
        Workspace::new(self.threads).on(self.units())
    }

    /// What products are computed on when training here.
    pub fn units(&self) -> Units {
        self.device.as_ref().map_or(Units::Vectors, Device::units)
    }

    /// A decoder, brought here.
    ///
    /// # Errors
    /// [`ModelError::Device`] if the device cannot hold it.
    pub(super) fn bring(&self, decoder: Decoder) -> Result<Decoder, ModelError> {
        let decoder = match &self.device {
            Some(device) => decoder.on(device)?,
            None => decoder,
        };
        let decoder = match &self.residuals {
            Some(residuals) => decoder.sharing(residuals.clone()),
            None => decoder,
        };
        Ok(match &self.stop {
            Some(stop) => decoder.until(stop.clone()),
            None => decoder,
        })
    }
}
