//! A genome's space as the optimizers see it: a flat list of genes, and values put back into the genome's fields.

use std::sync::Arc;

use evo_kernels::optim::{Gene, GeneError, Space as Vector, Value as Decoded};
use evo_lang::plan::{Const, GeneDomain, Space, SpaceField};

use crate::cx::Failure;

/// A genome's genes, one after another, and the way back.
pub(super) struct Genes {
    space: Arc<Space>,
    pub(super) vector: Vector,
}

impl Genes {
    /// The genes of a declared space.
    pub(super) fn new(space: Arc<Space>) -> Result<Genes, Failure> {
        let mut genes = Vec::new();
        for field in &space.fields {
            match &field.domain {
                GeneDomain::Permutation => genes.push(Gene::Permutation { length: field.count() }),
                domain => genes.extend(std::iter::repeat_n(gene(domain), field.count())),
            }
        }
        let vector = Vector::new(genes).map_err(|e| refused(&e))?;
        Ok(Genes { space, vector })
    }

    /// The genome that a search vector stands for.
    pub(super) fn decode(&self, x: &[f64]) -> Result<Const, Failure> {
        let mut values = self.vector.decode(x).map_err(|e| refused(&e))?.into_iter();
        let fields = self.space.fields.iter().map(|field| Some((field.name.clone(), read(field, &mut values)?)));
        let fields: Option<Vec<_>> = fields.collect();
        fields
            .map(|fields| Const::Record(fields.into()))
            .ok_or_else(|| Failure::new("R0504", "a search vector is too short"))
    }
}

fn gene(domain: &GeneDomain) -> Gene {
    match domain {
        GeneDomain::Real { lo, hi, log } => Gene::Real { low: *lo, high: *hi, log: *log },
        GeneDomain::Int { lo, hi, log } => Gene::Int { low: *lo, high: *hi, log: *log },
        GeneDomain::Bool => Gene::Bool,
        GeneDomain::OneOf(words) => Gene::OneOf { cases: words.len() },
        GeneDomain::Permutation => Gene::Permutation { length: 1 },
    }
}

fn read(field: &SpaceField, values: &mut impl Iterator<Item = Decoded>) -> Option<Const> {
    if field.domain == GeneDomain::Permutation {
        let Decoded::Order(order) = values.next()? else {
            return None;
        };
        return Some(Const::List(order.into_iter().map(|i| Const::Int(i as i64)).collect()));
    }
    shaped(&field.shape, &field.domain, values)
}

/// Nested arrays, outermost length first.
fn shaped(shape: &[usize], domain: &GeneDomain, values: &mut impl Iterator<Item = Decoded>) -> Option<Const> {
    let Some((len, rest)) = shape.split_first() else {
        return plain(values.next()?, domain);
    };
    let mut items = Vec::with_capacity(*len);
    for _ in 0..*len {
        items.push(shaped(rest, domain, values)?);
    }
    Some(Const::List(items.into()))
}

fn plain(value: Decoded, domain: &GeneDomain) -> Option<Const> {
    Some(match (value, domain) {
        (Decoded::Real(r), _) => Const::Real(r),
        (Decoded::Int(i), _) => Const::Int(i),
        (Decoded::Bool(b), _) => Const::Bool(b),
        (Decoded::Case(i), GeneDomain::OneOf(words)) => Const::Case(i as u32, words.get(i)?.clone()),
        _ => return None,
    })
}

fn refused(error: &GeneError) -> Failure {
    Failure::new("E0339", error.to_string()).help("give every gene a range that holds a value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, shape: &[usize], domain: GeneDomain) -> SpaceField {
        SpaceField { name: name.into(), shape: shape.to_vec(), domain }
    }

    #[test]
    fn a_vector_fills_the_fields_in_their_order_and_shape() {
        let fields = vec![
            field("w", &[2, 3], GeneDomain::Real { lo: 0.0, hi: 1.0, log: false }),
            field("on", &[], GeneDomain::Bool),
            field("order", &[3], GeneDomain::Permutation),
        ];
        let genes = Genes::new(Arc::new(Space { name: "G".into(), fields })).unwrap();
        assert_eq!(genes.vector.dimension(), 6 + 1 + 3);
        let x: Vec<f64> = (0..10).map(|i| f64::from(i) / 10.0).collect();
        let genome = genes.decode(&x).unwrap();
        let w = genome.field("w").unwrap().items().unwrap().to_vec();
        assert_eq!(w.len(), 2);
        assert_eq!(w[0].items().unwrap().len(), 3);
        assert_eq!(genome.field("on"), Some(&Const::Bool(true)));
        let order: Vec<Const> = (0..3).map(Const::Int).collect();
        assert_eq!(genome.field("order"), Some(&Const::List(order.into())));
    }
}
