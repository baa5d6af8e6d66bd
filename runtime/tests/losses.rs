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
fn what_a_batch_does_not_give_is_told_when_it_is_planned() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::builder().cwd(folder.path()).function(probe(&Probed::default())).build();
    let failure = |call: &str| {
        let text = format!("{PROBE}print probe(\"x\", {call})\n");
        engine.load_text("losses.evo", &text).plan(&Settings::new()).err()
    };
    for (call, said) in [
        ("loss_values(aot, z: [1.0])", "the loss `aot` reads `logp_chosen`"),
        ("loss_values(dpo)", "the loss `dpo` reads `z`"),
        ("lrml(tau: 0.1).loss_values(chosen: [1.0], logp_rejected: [1.0])", "the loss `lrml` reads `z`"),
        ("loss_slopes(dpo, by: chosen, z: [1.0])", "no slope by `chosen`"),
    ] {
        let failure = failure(call).unwrap_or_else(|| panic!("{call}"));
        let diagnostic = &failure.diagnostics[0];
        assert_eq!(diagnostic.code.as_str(), "E0353");
        assert!(diagnostic.title.contains(said), "{}", diagnostic.title);
    }
    assert!(failure("loss_values(dpo, chosen: [1.0], rejected: [0.5])").is_none());
}

#[test]
fn columns_of_two_lengths_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{PROBE}print probe(\"x\", loss_values(dpo, z: [1.0], chosen: [1.0, 2.0]))\n");
    let diagnostic = &run(folder.path(), &text).0.failure.unwrap().diagnostics[0];
    assert_eq!((diagnostic.code.as_str(), diagnostic.title.contains("one length")), ("R0503", true));
}

#[test]
fn a_loss_with_settings_is_a_value() {
    let text = format!(
        "{PROBE}\
        param k = 0.5\n\
        loss mine(z: real, scale: real = 1, power: int = 1) = scale * relu(1 - z) ^ power\n\
        loss soft = lrml(tau: 2 * k)\n\
        fn at(t: real) -> [real] = loss_values(lrml {{ tau: t }}, z: [0.5, -1.0])\n\
        fn of(l: Loss) -> [real] = loss_slopes(l, z: [0.5, -1.0])\n\
        loss by_hand(z: real) = lrml(z, tau: 1)\n\
        print probe(\"0\", soft.loss_values(z: [0.5, -1.0]))\n\
        print probe(\"1\", at(1))\n\
        print probe(\"2\", by_hand.loss_values(z: [0.5, -1.0]))\n\
        print probe(\"3\", of(lrml(tau: 1)))\n\
        print probe(\"4\", of(by_hand))\n\
        print probe(\"5\", of(mine(power: 2, scale: 3)))\n\
        plot [lrml(tau: t) for t in [0.05, 0.1]] over -1..1 to \"lrml.svg\"\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let (outcome, mut probed) = run(folder.path(), &text);
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    probed.sort_by(|a, b| a.0.cmp(&b.0));
    let found: Vec<&Vec<f64>> = probed.iter().map(|(_, values)| values).collect();
    assert_eq!((found[0], found[1]), (found[2], found[2]));
    assert_eq!(found[3], found[4]);
    near("mine", found[5], &[-3.0, -12.0]);
    let svg = std::fs::read_to_string(folder.path().join("lrml.svg")).unwrap();
    assert!(svg.contains("lrml(tau: 0.05)") && svg.contains("lrml(tau: 0.1)"), "{svg}");
}

#[test]
fn a_saved_loss_is_used_again() {
    let text = format!(
        "{PROBE}\
        type Side = one_of[left, right]\n\
        param k = 0.25\n\
        let ends: real[2] = [k, -1e-7]\n\
        let side: Side = right\n\
        /// Half of what `mine` is.\n\
        fn half(x: real, s: Side) -> real = if s == side then k * x + ends[0] else ends[1]\n\
        /// A loss of one's own. // not a comment\n\
        loss mine(z: real, beta: real, tau: real = 0.5, on: Side = left) {{\n  let x = z / tau // as it is\n  half(x, on) + dpo(z) * beta\n}}\n\
        loss other = mine(tau: 4 * k, on: right)\n\
        save mine to \"out/mine.evo\"\n\
        save other to \"out/other.evo\"\n\
        save lrml(tau: 0.1) to \"lrml.evo\"\n\
        print probe(\"mine\", mine.loss_values(z: [0.5, -1.0]))\n\
        print probe(\"other\", other.loss_values(z: [0.5, -1.0]))\n\
        print probe(\"lrml\", loss_values(lrml(tau: 0.1), z: [0.5, -1.0]))\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let (outcome, mut first) = run(folder.path(), &text);
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    let mine = std::fs::read_to_string(folder.path().join("out/mine.evo")).unwrap();
    assert!(mine.starts_with("//! The loss `mine`, saved by the program `losses`.\n"), "{mine}");
    assert!(mine.contains("let k: real = 0.25\n") && mine.contains("let x = z / tau // as it is\n"), "{mine}");
    let again = format!(
        "{PROBE}use \"out/mine.evo\" as a\nuse \"out/other.evo\" as b\nuse \"lrml.evo\" as c\n\
        print probe(\"mine\", loss_values(a.mine, z: [0.5, -1.0]))\n\
        print probe(\"other\", b.mine.loss_values(z: [0.5, -1.0]))\n\
        print probe(\"lrml\", c.lrml.loss_values(z: [0.5, -1.0]))\n\
        save b.mine(tau: 2) to \"third.evo\"\n"
    );
    let (outcome, mut second) = run(folder.path(), &again);
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    first.sort_by(|a, b| a.0.cmp(&b.0));
    second.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(first, second);
    let third = std::fs::read_to_string(folder.path().join("third.evo")).unwrap();
    assert!(third.contains("tau: real = 2.0, on: Side = right"), "{third}");
}

#[test]
fn what_has_no_text_of_its_own_is_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("other.evo"), "fn f(x: real) -> real = x\n").unwrap();
    for (text, said) in [
        ("use \"other.evo\" as o\nloss l(z: real) = o.f(z)\nsave l to \"l.evo\"", "another program"),
        ("save dpo to \"dpo.txt\"", "no name of one"),
        ("let k = 1 / (0.0 * 1)\nloss l(z: real) = k * z\nsave l to \"l.evo\"", "no literal"),
    ] {
        let failure = run(folder.path(), text).0.failure.unwrap();
        let diagnostic = &failure.diagnostics[0];
        assert_eq!(diagnostic.code.as_str(), "R0511");
        let all = format!("{} {:?}", diagnostic.title, diagnostic.notes);
        assert!(all.contains(said), "{all}");
        assert!(!folder.path().join("l.evo").exists() && !folder.path().join("dpo.txt").exists());
    }
}
