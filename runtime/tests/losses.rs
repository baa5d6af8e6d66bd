//! The library's losses against PyTorch's values and gradients, and losses of a program's own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails there")]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use evo::datum::Datum;
use evo::engine::{Engine, HostFunction, RunOptions, RunOutcome, Settings};
use evo::run::rows::OutputKind;

type Probed = Arc<Mutex<Vec<(String, Vec<f64>)>>>;

/// Keeps what a program hands to `probe(name, values)`.
fn probe(into: &Probed) -> HostFunction {
    let into = into.clone();
    HostFunction::with_effects("probe", "1", move |args| match args {
        [Datum::Text(name), Datum::List(values)] => {
            let real = |x: &Datum| if let Datum::Real(x) = x { *x } else { f64::NAN };
            into.lock().unwrap().push((name.to_string(), values.iter().map(real).collect()));
            Ok(Datum::Real(0.0))
        }
        other => Err(format!("{other:?}")),
    })
}

fn run(folder: &Path, text: &str) -> (RunOutcome, Vec<(String, Vec<f64>)>) {
    let probed = Probed::default();
    let engine = Engine::builder().cwd(folder).jobs(2).function(probe(&probed)).build();
    let plan = engine.load_text("losses.evo", text).plan(&Settings::new()).unwrap();
    let outcome = plan.start(RunOptions::default()).unwrap().wait();
    let found = std::mem::take(&mut *probed.lock().unwrap());
    (outcome, found)
}

const PROBE: &str = "extern fn probe(name: text, values: [real]) -> real\n";

fn near(name: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{name}");
    let largest = want.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let off = (got - want).abs();
        assert!(off <= 1e-12 * want.abs() + 1e-15 * largest, "{name} row {i}: {got:e}, torch has {want:e}");
    }
}

#[test]
fn all_losses_agree_with_torch() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/losses/golden.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let reals =
        |v: &serde_json::Value| -> Vec<f64> { v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let mut program = PROBE.to_owned();
    for (name, key) in
        [("pc", "policy_chosen"), ("pr", "policy_rejected"), ("rc", "reference_chosen"), ("rr", "reference_rejected")]
    {
        let _ = writeln!(program, "let {name}: [real] = {:?}", reals(&golden["inputs"][format!("{key}_logps")]));
    }
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 69);
    let given = "logp_chosen: pc, logp_rejected: pr, ref_chosen: rc, ref_rejected: rr";
    for (i, case) in cases.iter().enumerate() {
        let beta = case["beta"].as_f64().unwrap();
        let name = match case["loss"].as_str().unwrap() {
            "hinge" => "slic",
            "exp" => "exponential",
            name => name,
        };
        let _ = writeln!(program, "print probe(\"{i} value\", loss_values({name}, {given}, beta: {beta}))");
        for side in ["chosen", "rejected"] {
            let _ = writeln!(
                program,
                "print probe(\"{i} {side}\", loss_slopes({name}, by: logp_{side}, {given}, beta: {beta}))"
            );
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (outcome, probed) = run(folder.path(), &program);
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    assert_eq!(probed.len(), 3 * cases.len());
    for (label, got) in probed {
        let (i, what) = label.split_once(' ').unwrap();
        let case = &cases[i.parse::<usize>().unwrap()];
        let key = match what {
            "value" => "losses",
            "chosen" => "grad_policy_chosen",
            _ => "grad_policy_rejected",
        };
        near(&format!("{} at beta {}, {what}", case["loss"], case["beta"]), &got, &reals(&case[key]));
    }
}

#[test]
fn a_loss_of_ones_own_reads_params_calls_others_and_is_drawn() {
    let text = format!(
        "{PROBE}\
        param weight = 0.25\n\
        loss blend(z: real, tau: real = 2) = weight * dpo(z / tau) + (1 - weight) * slic(z)\n\
        loss centred(z: real) = (z - batch_mean(z)) ^ 2\n\
        loss bounded(z: real) = clamp(z, 0.0, 1.0)\n\
        fn named(l: Loss) -> text = l.name\n\
        print named(blend)\n\
        fn first(l: Loss) -> [real] = loss_values(l, chosen: [1.0], rejected: [1.0])\n\
        print probe(\"blend\", first(blend))\n\
        print probe(\"centred\", centred.loss_slopes(z: [1.0, 3.0]))\n\
        print probe(\"bounded\", loss_slopes(bounded, z: [-1.0, 0.0, 0.5, 1.0, 2.0]))\n\
        plot [dpo, lrml] over -2..2 to \"losses.svg\"\n\
        fn square(x: real) = x * x\n\
        plot square over -1..1\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let (outcome, mut probed) = run(folder.path(), &text);
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    probed.sort_by(|a, b| a.0.cmp(&b.0));
    let [blend, bounded, centred] = [0, 1, 2].map(|i| probed[i].1.clone());
    near("blend", &blend, &[0.25 * 2.0f64.ln() + 0.75]);
    assert_eq!(bounded, [0.0, 1.0, 1.0, 1.0, 0.0]);
    near("centred", &centred, &[-2.0, 2.0]);
    let plots = outcome.outputs.iter().filter(|o| matches!(o.kind, OutputKind::Plotted { .. })).count();
    assert_eq!(plots, 2);
    let svg = std::fs::read_to_string(folder.path().join("losses.svg")).unwrap();
    assert!(svg.contains("dpo") && svg.contains("lrml&apos;s slope") || svg.contains("lrml's slope"), "{svg}");
}

#[test]
fn what_a_batch_does_not_give_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (call, said) in [
        ("loss_values(aot, z: [1.0])", "`logp_chosen`"),
        ("loss_values(dpo, z: [1.0], chosen: [1.0, 2.0])", "one length"),
        ("loss_values(dpo)", "no column"),
        ("loss_slopes(dpo, by: chosen, z: [1.0])", "no slope by `chosen`"),
    ] {
        let (outcome, _) = run(folder.path(), &format!("{PROBE}print probe(\"x\", {call})\n"));
        let failure = outcome.failure.unwrap();
        let diagnostic = &failure.diagnostics[0];
        assert_eq!(diagnostic.code.as_str(), "R0503");
        assert!(diagnostic.title.contains(said), "{}", diagnostic.title);
    }
}
