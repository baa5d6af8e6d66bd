//! Random well-typed IR, made from a tape of numbers so that proptest can shrink it.

use evo_lang::ir::builder::Builder;
use evo_lang::ir::verify::IrError;
use evo_lang::ir::{Binary, FuncId, Module, Op, Type, Unary, Value};
use evo_lang::span::Span;

type Made = Result<Value, IrError>;

/// Numbers to make choices with; 0 for ever when they run out, which makes the smallest choice everywhere.
pub(crate) struct Tape<'a>(pub(crate) std::slice::Iter<'a, u32>);

impl Tape<'_> {
    pub(crate) fn pick(&mut self, n: u32) -> u32 {
        self.0.next().map_or(0, |x| x % n)
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.pick(items.len() as u32) as usize]
    }

    fn ty(&mut self, depth: u32) -> Type {
        let scalars = [Type::Int, Type::Real, Type::Bool, Type::Text];
        match self.pick(if depth == 0 { 6 } else { 9 }) {
            n @ 0..=3 => scalars[n as usize].clone(),
            4 | 5 => Type::Real,
            6 | 7 => {
                let len = u64::from(self.pick(5));
                Type::array(self.ty(depth - 1), len)
            }
            _ => {
                let count = 1 + self.pick(3);
                Type::structure((0..count).map(|_| self.ty(depth - 1)).collect::<Vec<_>>())
            }
        }
    }

    /// One input slot after another; the values are those that break things.
    pub(crate) fn slots(&mut self, ty: &Type, out: &mut Vec<u64>) {
        let ints = [0, 1, -1, 2, 3, 1, 0, 2, 1, 7, i64::MAX, i64::MIN, 4, -12];
        let reals = [0.0, -0.0, 1.0, -1.5, 0.5, 2.5, 1e300, -1e-300, f64::INFINITY, f64::NAN, 3.0, 40.0, -9.3e18];
        match ty {
            Type::Int => out.push(self.of(&ints) as u64),
            Type::Real => out.push(self.of(&reals).to_bits()),
            Type::Bool => out.push(u64::from(self.pick(2))),
            Type::Text => out.push(evo_lang::ir::text_id(self.of(&["a", "b"]))),
            Type::Array(item, len) => (0..*len).for_each(|_| self.slots(item, out)),
            Type::Struct(fields) => fields.iter().for_each(|f| self.slots(f, out)),
        }
    }
}

/// A module of up to three functions.
pub(crate) fn module(tape: &mut Tape) -> Result<Module, IrError> {
    let mut module = Module::default();
    for i in 0..=tape.pick(3) {
        let params: Vec<Type> = (0..tape.pick(4)).map(|_| tape.ty(2)).collect();
        let result = tape.ty(2);
        let b = Builder::new(format!("g{i}"), &params);
        let scope = b.params().to_vec();
        let mut maker = Maker { module: &module, tape, b, scope };
        let value = maker.value(&result, 5)?;
        let function = maker.b.finish(value)?;
        module.functions.push(function);
    }
    Ok(module)
}

struct Maker<'m, 't, 'a> {
    module: &'m Module,
    tape: &'t mut Tape<'a>,
    b: Builder,
    scope: Vec<Value>,
}

impl Maker<'_, '_, '_> {
    fn value(&mut self, ty: &Type, depth: u32) -> Made {
        let known: Vec<Value> = self.scope.iter().copied().filter(|v| self.b.ty(*v) == *ty).collect();
        if !known.is_empty() && self.tape.pick(5) < 2 {
            return Ok(self.tape.of(&known));
        }
        let value = if depth == 0 { self.leaf(ty)? } else { self.made(ty, depth - 1)? };
        self.scope.push(value);
        Ok(value)
    }

    fn leaf(&mut self, ty: &Type) -> Made {
        match ty {
            Type::Int => {
                let value = self.tape.of(&[0, 1, 2, 3, -1, 5, 0, 1, 1, 2, 0, i64::MAX, i64::MIN]);
                self.b.int(value)
            }
            Type::Real => {
                let value = self.tape.of(&[0.0, 1.0, -2.5, -0.0, f64::NAN, 1e18, 1e19, 0.1]);
                self.b.real(value)
            }
            Type::Bool => {
                let value = self.tape.pick(2) == 1;
                self.b.bool(value)
            }
            Type::Text => {
                let text = self.tape.of(&["a", "b"]);
                self.b.push(Op::Text(text.into()))
            }
            Type::Array(..) | Type::Struct(_) => self.by_type(ty, 0),
        }
    }

    fn made(&mut self, ty: &Type, depth: u32) -> Made {
        self.b.span = Span { start: self.tape.pick(1000), ..Span::default() };
        match self.tape.pick(8) {
            0 => {
                let condition = self.value(&Type::Bool, depth)?;
                let then = self.nested(&[], ty, depth)?;
                let otherwise = self.nested(&[], ty, depth)?;
                self.b.push(Op::If { condition, then, otherwise })
            }
            1 => {
                let init = self.value(ty, depth)?;
                let len = u64::from(self.tape.pick(4));
                let body = self.nested(&[Type::Int, ty.clone()], ty, depth)?;
                self.b.push(Op::Fold { len, init, body })
            }
            2 => {
                let array = Type::array(ty.clone(), 1 + u64::from(self.tape.pick(3)));
                let base = self.value(&array, depth)?;
                let index = self.value(&Type::Int, depth)?;
                self.b.push(Op::Index(base, index))
            }
            3 => {
                let base = self.value(&Type::structure([Type::Int, ty.clone()]), depth)?;
                self.b.push(Op::Field(base, 1))
            }
            4 => self.call(ty, depth),
            _ => self.by_type(ty, depth),
        }
    }

    fn nested(&mut self, params: &[Type], ty: &Type, depth: u32) -> Result<evo_lang::ir::Block, IrError> {
        let outer = self.scope.len();
        let params = self.b.open(params);
        self.scope.extend(params);
        let value = self.value(ty, depth)?;
        self.scope.truncate(outer);
        self.b.close(value)
    }

    fn call(&mut self, ty: &Type, depth: u32) -> Made {
        let fits: Vec<usize> =
            (0..self.module.functions.len()).filter(|i| self.module.functions[*i].result() == Some(ty)).collect();
        if fits.is_empty() {
            return self.by_type(ty, depth);
        }
        let index = self.tape.of(&fits);
        let params: Vec<Type> = self.module.functions[index].params().cloned().collect();
        let args = params.iter().map(|p| self.value(p, depth)).collect::<Result<_, _>>()?;
        self.b.call(self.module, FuncId(index as u32), args)
    }

    fn by_type(&mut self, ty: &Type, depth: u32) -> Made {
        match ty {
            Type::Int => self.int(depth),
            Type::Real => self.real(depth),
            Type::Bool => self.bool(depth),
            Type::Text => self.leaf(ty),
            Type::Array(item, len) if *len > 0 && self.tape.pick(2) == 0 => {
                let items = (0..*len).map(|_| self.value(item, depth)).collect::<Result<_, _>>()?;
                self.b.push(Op::Array(items))
            }
            Type::Array(item, len) => {
                let body = self.nested(&[Type::Int], item, depth)?;
                self.b.push(Op::Build { len: *len, body })
            }
            Type::Struct(fields) => {
                let fields = fields.iter().map(|f| self.value(f, depth)).collect::<Result<_, _>>()?;
                self.b.push(Op::Struct(fields))
            }
        }
    }

    fn int(&mut self, depth: u32) -> Made {
        use Binary::*;
        match self.tape.pick(4) {
            0 => {
                let op = self.tape.of(&[Unary::Neg, Unary::Abs, Unary::Sign]);
                let x = self.value(&Type::Int, depth)?;
                self.b.unary(op, x)
            }
            1 => {
                let x = self.value(&Type::Real, depth)?;
                self.b.unary(Unary::ToInt, x)
            }
            _ => {
                let op = self.tape.of(&[Add, Sub, Mul, IntDiv, Rem, Min, Max, Min, Max]);
                let (a, b) = (self.value(&Type::Int, depth)?, self.value(&Type::Int, depth)?);
                self.b.binary(op, a, b)
            }
        }
    }

    fn real(&mut self, depth: u32) -> Made {
        use Binary::*;
        match self.tape.pick(4) {
            0 => {
                let x = self.value(&Type::Int, depth)?;
                self.b.unary(Unary::ToReal, x)
            }
            1 => {
                let of = |op: &Unary| !matches!(op, Unary::Not | Unary::ToReal | Unary::ToInt);
                let ops: Vec<Unary> = Unary::ALL.into_iter().filter(of).collect();
                let op = self.tape.of(&ops);
                let x = self.value(&Type::Real, depth)?;
                self.b.unary(op, x)
            }
            2 => {
                let condition = self.value(&Type::Bool, depth)?;
                let (then, otherwise) = (self.value(&Type::Real, depth)?, self.value(&Type::Real, depth)?);
                self.b.push(Op::Select { condition, then, otherwise })
            }
            _ => {
                let op = self.tape.of(&[Add, Sub, Mul, Div, Pow, Min, Max]);
                let (a, b) = (self.value(&Type::Real, depth)?, self.value(&Type::Real, depth)?);
                self.b.binary(op, a, b)
            }
        }
    }

    fn bool(&mut self, depth: u32) -> Made {
        use Binary::*;
        match self.tape.pick(4) {
            0 => {
                let x = self.value(&Type::Bool, depth)?;
                self.b.unary(Unary::Not, x)
            }
            1 => {
                let ty = self.tape.of(&[0, 1, 2, 3]);
                let ty = [Type::Int, Type::Real, Type::Bool, Type::Text][ty].clone();
                let op = self.tape.of(&[Eq, Ne]);
                let (a, b) = (self.value(&ty, depth)?, self.value(&ty, depth)?);
                self.b.binary(op, a, b)
            }
            _ => {
                let ty = if self.tape.pick(2) == 0 { Type::Int } else { Type::Real };
                let op = self.tape.of(&[Lt, Le, Gt, Ge, Eq, Ne]);
                let (a, b) = (self.value(&ty, depth)?, self.value(&ty, depth)?);
                self.b.binary(op, a, b)
            }
        }
    }
}
