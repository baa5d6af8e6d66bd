//! Row programs drawn at random, as text, so that a finding can be read. The interpreter, row code as it is made and
//! optimised, with slopes and without, must agree to the bit, whatever the number of rows and however they are stored.

use std::ops::Range;

use evo_lang::codegen::rows::{Blocks, Column, ColumnMut, Precision, Storage, compile};
use evo_lang::diag::{Code, Severity};
use evo_lang::hir::GlobalKind;
use evo_lang::ir::differentiate::row_gradient;
use evo_lang::ir::optimize::optimize_rows;
use evo_lang::ir::rows::RowFunction;
use evo_lang::ir::straight::NotStraight;
use evo_lang::ir::{Batch, Op, interp, scalar};

use crate::mutate::Draw;
use crate::targets::{numbers, outlined};

const UNARY: [&str; 17] = [
    "abs",
    "sign",
    "floor",
    "ceil",
    "round",
    "sqrt",
    "exp",
    "log",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "log_sigmoid",
    "softplus",
    "relu",
    "erf",
    "-",
];
const BATCH: [&str; 5] = ["batch_mean", "batch_var", "batch_sd", "batch_sort", "detach"];
const NUMBERS: [&str; 12] =
    ["0.0", "-0.0", "1.0", "-1.0", "0.5", "2.0", "3.0", "1e300", "-1e-300", "0.1", "(0.0 / 0.0)", "(1.0 / 0.0)"];

/// A function `f` of three columns and a number for the batch, `k`.
pub(crate) fn program(draw: &mut Draw, _: &[String]) -> String {
    let sees_batch = draw.below(3) == 0;
    let mut names: Vec<String> = ["a", "b", "c", "k"].map(str::to_owned).to_vec();
    let mut lines = String::new();
    for i in 0..1 + draw.below(14) {
        let value = if sees_batch && draw.below(4) == 0 {
            format!("{}({})", draw.of::<str>(&BATCH), real(draw, &names, 1))
        } else {
            real(draw, &names, 2)
        };
        lines.push_str(&format!("  let v{i} = {value}\n"));
        names.push(format!("v{i}"));
    }
    let last = names[names.len() - 1].clone();
    let results = [last, real(draw, &names, 1), draw.of::<str>(&names).to_owned()];
    let results = &results[..1 + draw.below(3)];
    let (count, results) = (results.len(), results.join(", "));
    format!("fn f(a: real, b: real, c: real, k: real) -> real[{count}] = {{\n{lines}  [{results}]\n}}\n")
}

fn real(draw: &mut Draw, names: &[String], depth: usize) -> String {
    let kind = if depth == 0 { 5 + draw.below(13) } else { draw.below(18) };
    match kind {
        0..4 => format!("{}({})", draw.of::<str>(&UNARY), real(draw, names, depth - 1)),
        4 => format!("{}({})", draw.of::<str>(&UNARY), draw.of::<str>(names)),
        5..13 if depth == 0 || kind < 7 => draw.of::<str>(names).to_owned(),
        7..12 => {
            let op = ["+", "-", "*", "/"][draw.below(4)];
            format!("({} {op} {})", real(draw, names, depth - 1), real(draw, names, depth - 1))
        }
        12 | 13 if depth > 0 => {
            let op = ["min", "max", "pow"][draw.below(3)];
            format!("{op}({}, {})", real(draw, names, depth - 1), real(draw, names, depth - 1))
        }
        14 | 15 if depth > 0 => {
            let (a, b) = (real(draw, names, depth - 1), real(draw, names, depth - 1));
            let condition = truth(draw, names, depth - 1);
            if draw.below(2) == 0 {
                format!("where({condition}, {a}, {b})")
            } else {
                format!("(if {condition} then {a} else {b})")
            }
        }
        16 if depth > 0 => {
            format!("sum([{} * t for t in [a, {}]])", real(draw, names, depth - 1), draw.of::<str>(names))
        }
        _ => draw.of::<str>(&NUMBERS).to_owned(),
    }
}

fn truth(draw: &mut Draw, names: &[String], depth: usize) -> String {
    if depth > 0 && draw.below(4) == 0 {
        let join = ["and", "or"][draw.below(2)];
        return format!("({} {join} not ({}))", truth(draw, names, depth - 1), truth(draw, names, depth - 1));
    }
    let op = ["<", "<=", ">", ">=", "==", "!="][draw.below(6)];
    format!("{} {op} {}", real(draw, names, depth), real(draw, names, 0))
}

/// The function of a text computes the same in every way there is to compute it.
pub(crate) fn work(text: &str) -> Result<(), String> {
    let checked = evo_lang::check("main.evo", text, numbers(), &|_| Err("one file".to_owned()));
    // What sees the batch belongs into losses, which are the library's; its code is the same.
    if checked.diagnostics.iter().any(|d| d.severity == Severity::Error && d.code != Code::E0350) {
        return Err(evo_lang::diag::render_all(&checked.diagnostics, &checked.sources, false));
    }
    let seed = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut draw = Draw(seed);
    let program = &checked.program;
    for global in &program.modules[program.entry.0 as usize].globals {
        let GlobalKind::Function(function) = &global.kind else { continue };
        let Some(code) = outlined(program, &function.params, &function.body) else {
            return Err(format!("`{}` is no numeric code", global.name));
        };
        let uniform: Vec<bool> = function.params.iter().map(|p| p.name.starts_with('k')).collect();
        let Some(row) = made(RowFunction::new(&code.module, uniform))? else { continue };
        all_ways(&row, &mut draw)?;
    }
    Ok(())
}

/// Row code, but for that which is too long.
fn made(row: Result<RowFunction, NotStraight>) -> Result<Option<RowFunction>, String> {
    match row {
        Err(NotStraight::TooLong) => Ok(None),
        row => row.map(Some).map_err(|e| e.to_string()),
    }
}

fn all_ways(row: &RowFunction, draw: &mut Draw) -> Result<(), String> {
    // Sums of one block alone are those of the interpreter to the bit.
    let counts: &[usize] = match draw.below(150) {
        _ if sums(row) => &[1, 2, 3, 63, 64, 65, 511, 512],
        0 => &[65_535, 65_537],
        _ => &[0, 1, 2, 3, 63, 64, 65, 127, 511, 512, 513, 1024, 1100],
    };
    let rows = counts[draw.below(counts.len())];
    let last = row.uniform.len() - 1;
    let by: &[usize] = if rows <= 512 { &[0, last] } else { &[0] };
    let mut codes = vec![row.clone()];
    codes.extend(made(row_gradient(row, by))?);
    let narrow = draw.below(3) == 0;
    let data: Vec<Data> = row.uniform.iter().map(|u| Data::new(if *u { 1 } else { rows }, narrow, draw)).collect();
    let inputs: Vec<&[f64]> = data.iter().map(|d| d.wide.as_slice()).collect();
    for code in codes {
        let expected = interp::run_rows(&code, rows, &inputs).map_err(|e| e.to_string())?;
        let small = optimize_rows(&code);
        let found = interp::run_rows(&small, rows, &inputs).map_err(|e| e.to_string())?;
        same("optimised", &found, &expected)?;
        let storage = vec![if narrow { Storage::F32 } else { Storage::F64 }; data.len()];
        for code in [&code, &small] {
            same("compiled", &run(code, Precision::Double, &storage, &data, 0..rows, false)?, &expected)?;
            if !narrow {
                same("in place", &run(code, Precision::Double, &storage, &data, 0..rows, true)?, &expected)?;
            }
        }
        alone(&small, rows, &data, draw)?;
    }
    Ok(())
}

fn sums(row: &RowFunction) -> bool {
    row.function.body.steps.iter().any(|step| matches!(step.op, Op::Batch(Batch::Sum(_))))
}

/// In single precision, some rows give by themselves what they give among the others.
fn alone(row: &RowFunction, rows: usize, data: &[Data], draw: &mut Draw) -> Result<(), String> {
    if row.function.body.steps.iter().any(|step| matches!(step.op, Op::Batch(_))) {
        return Ok(());
    }
    let storages = [Storage::F32, Storage::Bf16, Storage::F16];
    let storage: Vec<Storage> = data.iter().map(|_| storages[draw.below(3)]).collect();
    let whole = run(row, Precision::Single, &storage, data, 0..rows, false)?;
    let from = draw.below(rows + 1);
    let to = from + draw.below(rows - from + 1);
    let part = run(row, Precision::Single, &storage, data, from..to, false)?;
    let cut = |column: &Vec<f64>| if column.len() == rows { column[from..to].to_vec() } else { column.clone() };
    let expected: Vec<Vec<f64>> = whole.iter().map(cut).collect();
    if rows == 1 { Ok(()) } else { same(&format!("rows {from} to {to} of {rows}"), &part, &expected) }
}

/// NaN is NaN, whatever its bits; and what turned out to be one number for the batch is that number in every row.
fn same(what: &str, found: &[Vec<f64>], expected: &[Vec<f64>]) -> Result<(), String> {
    for (k, (found, expected)) in found.iter().zip(expected).enumerate() {
        let rows = expected.len();
        if found.len() != rows && found.len() != 1 {
            return Err(format!("{what}: output {k} has {} rows, not {rows}", found.len()));
        }
        for (i, (a, b)) in found.iter().cycle().zip(expected).enumerate() {
            if a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan()) {
                return Err(format!("{what}: output {k}, row {i} of {rows}: {a:e}, not {b:e}"));
            }
        }
    }
    if found.len() == expected.len() { Ok(()) } else { Err(format!("{what}: {} outputs", found.len())) }
}

/// One input in every storage.
struct Data {
    wide: Vec<f64>,
    single: Vec<f32>,
    half: Vec<u16>,
}

impl Data {
    /// Numbers that break things, and others; `narrow` ones are `f32`.
    fn new(rows: usize, narrow: bool, draw: &mut Draw) -> Data {
        let odd =
            [0.0, -0.0, 1.0, -1.5, 0.5, 2.5, 1e300, -1e-300, f64::INFINITY, -f64::INFINITY, f64::NAN, 40.0, 5e-324];
        let scale = [1.0, 1.0, 30.0, 1e4][draw.below(4)];
        let rare = [2, 20, 1000][draw.below(3)];
        let mut wide: Vec<f64> = Vec::with_capacity(rows);
        for _ in 0..rows {
            let plain = (draw.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0;
            wide.push(if draw.below(rare) == 0 { odd[draw.below(odd.len())] } else { plain * scale });
        }
        let single: Vec<f32> = wide.iter().map(|x| *x as f32).collect();
        if narrow {
            wide = single.iter().map(|x| f64::from(*x)).collect();
        }
        let half = wide.iter().map(|_| draw.next() as u16).collect();
        Data { wide, single, half }
    }

    fn column(&self, storage: Storage, rows: Range<usize>) -> Column<'_> {
        match storage {
            Storage::F64 => Column::F64(&self.wide[rows]),
            Storage::F32 => Column::F32(&self.single[rows]),
            Storage::Bf16 => Column::Bf16(&self.half[rows]),
            Storage::F16 => Column::F16(&self.half[rows]),
        }
    }
}

/// Compiled code over some of the rows; `in_place`, the first output that is a column takes the place of the first input.
fn run(
    row: &RowFunction,
    precision: Precision,
    storage: &[Storage],
    data: &[Data],
    rows: Range<usize>,
    in_place: bool,
) -> Result<Vec<Vec<f64>>, String> {
    let out = if precision == Precision::Single { Storage::F32 } else { Storage::F64 };
    let program =
        compile(row, precision, storage, &vec![out; row.columns().len()], &table()).map_err(|e| e.to_string())?;
    let (count, numbers) = (rows.len(), program.numbers());
    let mut inputs: Vec<Column<'_>> = Vec::new();
    for ((data, uniform), storage) in data.iter().zip(&row.uniform).zip(storage) {
        inputs.push(if *uniform { Column::Number(data.wide[0]) } else { data.column(*storage, rows.clone()) });
    }
    let lengths: Vec<usize> = numbers.iter().map(|number| if *number { 1 } else { count }).collect();
    let mut wide: Vec<Vec<f64>> = lengths.iter().map(|n| vec![7.0; *n]).collect();
    let mut single: Vec<Vec<f32>> = lengths.iter().map(|n| vec![7.0; *n]).collect();
    if let Some(output) = numbers.iter().position(|number| in_place && !number) {
        wide[output].copy_from_slice(&data[0].wide[rows]);
        inputs[0] = Column::InPlace(output);
    }
    let mut outputs: Vec<ColumnMut<'_>> = Vec::new();
    for ((wide, single), number) in wide.iter_mut().zip(&mut single).zip(&numbers) {
        outputs.push(match (number, precision) {
            (true, _) => ColumnMut::Number(&mut wide[0]),
            (_, Precision::Single) => ColumnMut::F32(single),
            (_, Precision::Double) => ColumnMut::F64(wide),
        });
    }
    program.run(count, &inputs, &mut outputs).map_err(|e| e.to_string())?;
    if precision == Precision::Single {
        for ((wide, single), number) in wide.iter_mut().zip(&single).zip(&numbers) {
            if !number {
                *wide = single.iter().map(|x| f64::from(*x)).collect();
            }
        }
    }
    Ok(wide)
}

/// The operations of this machine, with the sums of the interpreter.
fn table() -> Blocks {
    let mut blocks = crate::blocks::blocks();
    blocks.f64.sum = scalar::sum;
    blocks
}
