//! A training's state between two steps, as bytes: what a checkpoint holds.

use std::io::{self, Write};

use evo_kernels::optim::gradient::Moments;

use super::record::Record;

/// What stands before a checkpoint's bytes.
const MARK: &[u8] = b"evo checkpoint 1\n";

/// What a checkpoint is of: digests that must agree where it is taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Of the model that the training began with.
    pub(super) model: [u8; 32],
    /// Of its settings.
    pub(super) settings: [u8; 32],
    /// Of all else, such as its data: the node.
    pub(super) task: [u8; 32],
}

impl Identity {
    /// In what another one differs, if it does.
    pub(super) fn difference(&self, other: &Identity) -> Option<&'static str> {
        let parts = [
            ("model", self.model == other.model),
            ("settings", self.settings == other.settings),
            ("data", self.task == other.task),
        ];
        parts.into_iter().find(|(_, same)| !same).map(|(name, _)| name)
    }
}

/// The parameters, one list each.
pub(super) type Values = Vec<Vec<f32>>;

/// A state, read back.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    pub(super) record: Record,
    pub(super) parameters: Values,
    pub(super) best: Option<Values>,
    pub(super) moments: Moments,
}

/// Writes a checkpoint.
pub(super) fn write<'a>(
    out: &mut dyn Write,
    identity: &Identity,
    record: &Record,
    parameters: impl ExactSizeIterator<Item = &'a [f32]>,
    best: Option<&Values>,
    moments: &Moments,
) -> io::Result<()> {
    out.write_all(MARK)?;
    for part in [identity.model, identity.settings, identity.task] {
        out.write_all(&part)?;
    }
    let record = record.to_bytes();
    count(out, record.len())?;
    out.write_all(&record)?;
    lists(out, parameters)?;
    count(out, usize::from(best.is_some()))?;
    if let Some(best) = best {
        lists(out, best.iter().map(Vec::as_slice))?;
    }
    out.write_all(&moments.steps.to_le_bytes())?;
    lists(out, moments.first.iter().map(Vec::as_slice))?;
    lists(out, moments.second.iter().map(Vec::as_slice))
}

fn count(out: &mut dyn Write, n: usize) -> io::Result<()> {
    out.write_all(&(n as u64).to_le_bytes())
}

fn lists<'a>(out: &mut dyn Write, all: impl ExactSizeIterator<Item = &'a [f32]>) -> io::Result<()> {
    count(out, all.len())?;
    let mut bytes = Vec::new();
    for list in all {
        count(out, list.len())?;
        for some in list.chunks(1 << 16) {
            bytes.clear();
            bytes.extend(some.iter().flat_map(|x| x.to_le_bytes()));
            out.write_all(&bytes)?;
        }
    }
    Ok(())
}

/// Reads what a checkpoint is of, and the rest of it; nothing of bytes that are no checkpoint.
pub(super) fn read(bytes: &[u8]) -> Option<(Identity, Rest<'_>)> {
    let mut rest = Rest(bytes.strip_prefix(MARK)?);
    let identity = Identity { model: rest.array()?, settings: rest.array()?, task: rest.array()? };
    Some((identity, rest))
}

/// Bytes that are yet to be read.
pub(super) struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// The state; nothing if the bytes are not what was written.
    pub(super) fn state(mut self) -> Option<State> {
        let length = self.count()?;
        let (record, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        let record = Record::from_bytes(record)?;
        let parameters = self.lists()?;
        let best = match self.count()? {
            0 => None,
            _ => Some(self.lists()?),
        };
        let steps = u64::from_le_bytes(self.array()?);
        let moments = Moments { steps, first: self.lists()?, second: self.lists()? };
        self.0.is_empty().then_some(State { record, parameters, best, moments })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(u64::from_le_bytes(self.array()?)).ok()
    }

    fn lists(&mut self) -> Option<Values> {
        let lists = self.count()?;
        let mut all = Vec::new();
        for _ in 0..lists {
            let length = self.count()?;
            let (bytes, rest) = self.0.split_at_checked(length.checked_mul(4)?)?;
            self.0 = rest;
            let number = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap_or_default());
            all.push(bytes.chunks_exact(4).map(number).collect());
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::record::Step;

    #[test]
    fn a_state_comes_back_and_no_part_of_it_does() {
        let record = Record { steps: vec![Step { loss: 0.1, ..Step::default() }], ..Record::default() };
        let parameters = vec![vec![1.5, f32::MIN_POSITIVE], vec![], vec![-0.0]];
        let moments = Moments { steps: 7, first: parameters.clone(), second: vec![vec![2.0]] };
        let identity = Identity { model: [1; 32], settings: [2; 32], task: [3; 32] };
        for best in [None, Some(vec![vec![9.0]])] {
            let mut bytes = Vec::new();
            let slices = parameters.iter().map(Vec::as_slice);
            write(&mut bytes, &identity, &record, slices, best.as_ref(), &moments).unwrap();
            let (found, rest) = read(&bytes).unwrap();
            assert_eq!(found, identity);
            let (record, parameters, moments) = (record.clone(), parameters.clone(), moments.clone());
            assert_eq!(rest.state(), Some(State { record, parameters, best, moments }));
            for end in 0..bytes.len() {
                assert!(read(&bytes[..end]).and_then(|(_, rest)| rest.state()).is_none(), "{end}");
            }
        }
        let other = Identity { settings: [0; 32], ..identity };
        assert_eq!((identity.difference(&identity), identity.difference(&other)), (None, Some("settings")));
    }
}
