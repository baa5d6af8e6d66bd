//! The tools around the language, through the binary: `replay`, `test`, `doc`, `new`, `man`, drawings of plans, files of data.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn evo(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evo"));
    command.args(args).current_dir(folder).env_remove("RUST_BACKTRACE").output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The output of a command that must succeed.
fn fine(folder: &Path, args: &[&str]) -> String {
    let output = evo(folder, args);
    assert_eq!(code(&output), 0, "{args:?}\n{}\n{}", out(&output), err(&output));
    out(&output)
}

/// What a command that must be refused says of it.
fn refused(folder: &Path, args: &[&str]) -> String {
    let output = evo(folder, args);
    assert_eq!(code(&output), 2, "{args:?}\n{}\n{}", out(&output), err(&output));
    err(&output)
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

const SEARCHES: &str = r#"
param pull: real = 0.25
model base = llama_tiny { layers: 1, width: 16, heads: 2, feed_forward: 24, context: 64 }
data english = word_problems { language: "en", count: 40, seed: 1 }
train tuned { start: base, on: english, steps: 3, batch: 4 }
task some = likelihood { data: english.first(4) }
genome Mix { weight: real in 0..1.5, method: one_of["near", "far"], order: permutation[3], deep: bool, n: int in 1..=8 }
merge child(g: Mix) = task_arithmetic { base: base, models: [tuned], weight: [g.weight] }
fitness skill(g: Mix) = score(child(g), some)
evolve merged { maximize: skill, by: random_search { }, stop: { evaluations: 6 } }
genome Point { x: real in -1..1, y: real in -1..1 }
fitness slope(p: Point) = if p.x > 0.0 then log(p.x - 2.0) else -(p.x - pull)^2 - p.y^2
evolve climbed { maximize: slope, by: cma_es { population: 6 }, stop: { generations: 4 } }
print table { merged: merged.score, climbed: climbed.score }
"#;

fn run_name(folder: &Path) -> String {
    let mut runs = fs::read_dir(folder.join("runs")).unwrap();
    runs.next().unwrap().unwrap().file_name().into_string().unwrap()
}

#[test]
fn a_candidate_is_repeated_to_the_bit() {
    let folder = folder(&[("s.evo", SEARCHES)]);
    let at = folder.path();
    fine(at, &["run", "s.evo", "--set", "pull=0.125", "--seed", "5"]);
    let name = run_name(at);
    let before = fs::read(at.join("runs").join(&name).join("run.json")).unwrap();
    let models = ["--search", "merged", "--json"];
    for candidate in ["0.0", "0.5"] {
        let json = fine(at, &[&["replay", name.as_str(), "--at", candidate][..], &models].concat());
        let found: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(found["equal"], true, "{json}");
        assert_eq!(found["before"], found["again"]);
        assert!(found["genome"]["order"].as_array().is_some_and(|order| order.len() == 3), "{json}");
        let steps: Vec<&str> = found["steps"].as_array().unwrap().iter().map(|s| s["kind"].as_str().unwrap()).collect();
        assert!(steps.contains(&"task_arithmetic") && steps.contains(&"score"), "{json}");
    }
    // By a part of the name, by its path; numeric code; a candidate that failed.
    let hash = name.rsplit('-').next().unwrap();
    let text = fine(at, &["replay", hash, "--at", "3.2", "--search", "climbed"]);
    assert!(text.contains("candidate 3.2 of `climbed`") && text.contains("equal to the bit"), "{text}");
    let path = format!("runs/{name}/");
    let failed = (0..6).find_map(|i| {
        let candidate = format!("0.{i}");
        let text = fine(at, &["replay", &path, "--at", &candidate, "--search", "climbed"]);
        text.contains("failed with R0502").then_some(text)
    });
    assert!(failed.is_some_and(|text| text.contains("equal to the bit")), "half of all points fail");
    assert_eq!(fs::read(at.join("runs").join(&name).join("run.json")).unwrap(), before, "the run is left as it was");
}

#[test]
fn what_cannot_be_repeated_is_told_with_what_is_near() {
    let folder = folder(&[("s.evo", SEARCHES)]);
    let at = folder.path();
    assert!(refused(at, &["replay", "nothing", "--at", "0.0"]).contains("no run is in `runs`"));
    fine(at, &["run", "s.evo"]);
    let name = run_name(at);
    let near = format!("{}x", &name[..name.len() - 1]);
    assert!(refused(at, &["replay", &near, "--at", "0.0"]).contains(&format!("did you mean `{name}`?")));
    let several = refused(at, &["replay", &name, "--at", "0.0"]);
    assert!(
        several.contains("error[R0517]") && several.contains("--search") && several.contains("`climbed`"),
        "{several}"
    );
    let replay = |place: &str, search: &str| refused(at, &["replay", &name, "--at", place, "--search", search]);
    assert!(replay("0.0", "climbd").contains("did you mean `climbed`?"));
    assert!(replay("9.0", "climbed").contains("its generations are 0 to 3"));
    assert!(replay("1.6", "climbed").contains("generation 1 has candidates 0 to 5"));
    assert!(refused(at, &["replay", &name, "--at", "7"]).contains("write GENERATION.CANDIDATE"));
    let wrong = SEARCHES.replace("0.125", "x").replace("on_failure", "x");
    fs::write(at.join("runs").join(&name).join("program.evo"), wrong.replace("layers: 1", "layers: 2")).unwrap();
    assert!(replay("0.0", "merged").contains("differs in its program"));
}

#[test]
fn a_search_that_fails_prints_the_command_that_repeats_its_candidate() {
    let program = "genome P { x: real in 0..1 }\nfitness f(p: P) = log(p.x - 2.0)\n\
                   evolve e { maximize: f, by: random_search { }, stop: { evaluations: 3 } }\nprint e.score\n";
    let folder = folder(&[("f.evo", program)]);
    let output = evo(folder.path(), &["run", "f.evo"]);
    assert_eq!(code(&output), 3, "{}", err(&output));
    let text = err(&output);
    let command = text.split('`').find(|part| part.starts_with("evo replay ")).unwrap();
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    assert!(fine(folder.path(), &words).contains("failed with R0502"), "{command}");
}

const GOLDEN: &str = "// Two tests.\n\n// --- a sum run\nprint 1 + 1\nprint \"a\"\n// prints: 2\n// prints: a\n\n\
                      // --- a slip check\nlet a = missing\nprint a\n// error[E0201] 1:9 \"unknown name `missing`\"\n";

#[test]
fn programs_are_tests() {
    let folder = folder(&[
        ("good/sum.evo", GOLDEN),
        ("good/holds.evo", "expect 1 + 1 == 2, \"sums\"\n"),
        ("good/library.evo", "fn f(x: real) -> real = x\n"),
        ("bad/sum.evo", &GOLDEN.replace("prints: 2", "prints: 3")),
        ("bad/fails.evo", "expect 1 + 1 == 3, \"a <wrong> sum\"\n"),
        ("bad/slip.evo", "print missing\nexpect true\n"),
        ("bad/runs/left.evo", "expect false\n"),
    ]);
    let at = folder.path();
    let good = fine(at, &["test", "good", "--jobs", "2"]);
    let lines: Vec<&str> = good.lines().map(|line| line.rsplit_once("  ").map_or(line, |(name, _)| name)).collect();
    assert_eq!(lines[..2], ["ok     good/holds.evo", "ok     good/sum.evo · a sum"], "{good}");
    assert!(lines[3].starts_with("3 passed, 0 failed in "), "{good}");
    let bad = evo(at, &["test", "bad", "--junit", "report.xml"]);
    let told = out(&bad);
    assert_eq!(code(&bad), 1, "{told}");
    assert!(told.contains("does not hold: a <wrong> sum") && told.contains("- // prints: 3"), "{told}");
    assert!(told.contains("+ // prints: 2") && told.contains("error[E0201]") && !told.contains("left.evo"), "{told}");
    assert!(told.contains("1 passed, 3 failed"), "{told}");
    let report = fs::read_to_string(at.join("report.xml")).unwrap();
    assert!(report.contains("tests=\"4\" failures=\"3\"") && report.contains("a &lt;wrong&gt; sum"), "{report}");
    assert!(fine(at, &["test", "--filter", "a slip"]).contains("2 passed"));
    assert!(fine(at, &["test", "bad/fails.evo", "--tiny"]).contains("1 passed, 0 failed"));
    assert!(refused(at, &["test", "--filter", "no such"]).contains("error[R0518]"));
    assert!(refused(at, &["test", "good/sums.evo"]).contains("did you mean `sum.evo`?"));
    fine(at, &["test", "bad/sum.evo", "--bless"]);
    assert_eq!(fs::read_to_string(at.join("bad/sum.evo")).unwrap().replace("\n\n", "\n"), GOLDEN.replace("\n\n", "\n"));
    assert!(!at.join("runs").exists(), "tests leave no runs");
}

#[test]
fn declarations_are_shown_with_what_is_near() {
    let program = "/// Twice as much.\nfn twice(x: real) -> real = 2.0 * x\nprint twice(1.0)\n";
    let folder = folder(&[("mine.evo", program)]);
    let at = folder.path();
    let slerp = fine(at, &["doc", "slerp"]);
    assert!(slerp.contains("of the family merge") && slerp.contains("extern merge slerp("), "{slerp}");
    assert!(fine(at, &["doc", "twice", "--file", "mine.evo"]).contains("Twice as much."));
    let unknown = refused(at, &["doc", "slrep"]);
    assert!(unknown.contains("error[E0135]") && unknown.contains("did you mean `slerp`?"), "{unknown}");
    assert!(fine(at, &["doc"]).lines().any(|line| line.starts_with("task ") && line.contains("multiple_choice")));
    let json: serde_json::Value = serde_json::from_str(&fine(at, &["doc", "csv", "--json"])).unwrap();
    assert_eq!(json[0]["params"][1]["name"], "columns");
    fine(at, &["doc", "--out", "site", "--file", "mine.evo"]);
    let page = fs::read_to_string(at.join("site/index.html")).unwrap();
    assert!(
        page.contains("id=\"mine.twice\"") && page.contains("id=\"merge.slerp\"") && page.contains("id=\"search\"")
    );
    let loads = ["src=\"http", "href=\"http", "url(", "@import"];
    assert!(!loads.iter().any(|load| page.contains(load)), "the page needs nothing but itself");
}

#[test]
fn every_template_makes_a_project_that_runs_at_once() {
    let folder = folder(&[]);
    let at = folder.path();
    for line in fine(at, &["new", "--list"]).lines() {
        let template = line.split_whitespace().next().unwrap();
        let name = format!("my-{template}");
        assert!(fine(at, &["new", &name, "--template", template]).contains(&name));
        let project = at.join(&name);
        let checked = evo(&project, &["check", "main.evo"]);
        assert!(code(&checked) == 0 && !err(&checked).contains("warning"), "{template}: {}", err(&checked));
        fine(&project, &["run", "main.evo", "--tiny"]);
        assert!(fine(&project, &["test"]).contains(" 0 failed"));
        assert!(fs::read_to_string(project.join("evo.toml")).unwrap().contains(&name));
        assert!(fs::read_to_string(project.join(".gitignore")).unwrap().contains("/runs/"));
        assert!(refused(at, &["new", &name]).contains("error[E0136]"), "it is not empty");
    }
    assert!(refused(at, &["new", "a", "--template", "qd"]).contains("there are `loss`, `merge`"));
    assert!(refused(at, &["new", "a", "--template", "merg"]).contains("did you mean `merge`?"));
    for name in ["2a", "a b", "..", "a/.b"] {
        assert!(refused(at, &["new", name]).contains("is no name of a project"), "{name}");
    }
    fs::create_dir(at.join("empty")).unwrap();
    fine(at, &["new", "empty"]);
    let left: Vec<String> = fs::read_dir(at)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn plans_are_drawn_and_pages_are_written() {
    let folder = folder(&[("s.evo", SEARCHES)]);
    let at = folder.path();
    fine(at, &["plan", "s.evo", "--svg", "plan.svg"]);
    let svg = fs::read_to_string(at.join("plan.svg")).unwrap();
    assert!(svg.contains(">tuned</text>") && svg.contains("6 evaluations") && svg.contains("class=\"edge\""), "{svg}");
    assert!(fine(at, &["man"]).contains(".TH EVO 1") && fine(at, &["man", "replay"]).contains("evo\\-replay"));
    assert!(refused(at, &["man", "rum"]).contains("did you mean `run`?"));
    fine(at, &["man", "--out", "man"]);
    for page in ["evo.1", "evo-run.1", "evo-test.1", "evo-man.1"] {
        assert!(at.join("man").join(page).exists(), "{page}");
    }
    let script = fine(at, &["completions", "bash"]);
    for word in ["replay", "test", "doc", "new", "man", "--junit", "--svg", "--template"] {
        assert!(script.contains(word), "{word}");
    }
}

#[test]
fn tables_are_read_and_their_faults_have_a_place() {
    let program = |call: &str| format!("data d = {call}\nprint d.first(2)\n");
    let folder = folder(&[
        ("a.csv", "question,answer,choices\n\"1, or 2?\",1,x\n\"two\nlines\",0.5,y\n"),
        ("ragged.csv", "a,b\n1,2\n3\n"),
        ("a.tsv", "Say \"hi\"\t18\nAnd?\t3\n"),
        ("a.parquet", "PAR1 but not really PAR1"),
        ("a.evo", &program("csv(\"a.csv\", columns: [\"answer\", \"question\"])")),
        ("b.evo", &program("tsv(\"a.tsv\", columns: [\"question\", \"answer\"], header: false)")),
        ("c.evo", &program("csv(\"ragged.csv\")")),
        ("d.evo", &program("csv(\"a.csv\", columns: [\"anwser\"])")),
        ("e.evo", &program("parquet(\"a.parquet\")")),
    ]);
    let at = folder.path();
    let csv = fine(at, &["run", "a.evo"]);
    assert!(csv.contains("1, or 2?") && csv.contains("0.5"), "{csv}");
    assert!(fine(at, &["run", "b.evo"]).contains("Say \"hi\""));
    let ragged = refused(at, &["check", "c.evo"]);
    assert!(
        ragged.contains("error[E0426]: line 3 of `ragged.csv`: it has 1 field, not 2") && ragged.contains("c.evo:1:"),
        "{ragged}"
    );
    let missing = refused(at, &["check", "d.evo"]);
    assert!(
        missing.contains("error[E0413]: line 1 of `a.csv` has no `anwser`")
            && missing.contains("did you mean `answer`?")
    );
    assert!(refused(at, &["check", "e.evo"]).contains("error[E0427]"));
}

#[test]
fn a_multiple_choice_task_is_checked_and_scored() {
    let program = "model m = llama_tiny { layers: 1, width: 16, heads: 2, feed_forward: 24, context: 64 }\n\
                   data d = jsonl(\"q.jsonl\", columns: [\"question\", \"choices\", \"answer\"])\n\
                   task t = multiple_choice { data: d, choices: [\" {choices}\"], compare: per_character }\n\
                   print score(m, t) >= 0.0\nprint score(m, t.on(d.first(1))) <= 1.0\n";
    let rows = "{\"question\": \"1+1\", \"choices\": [\"2\", \"three\"], \"answer\": 0}\n\
                {\"question\": \"2+2\", \"choices\": [\"two\", \"4\"], \"answer\": \"B\"}\n";
    let folder = folder(&[
        ("q.jsonl", rows),
        ("a.evo", program),
        ("b.evo", &program.replace("{choices}", "{choice}")),
        ("c.evo", &program.replace("[\" {choices}\"]", "[]")),
    ]);
    let at = folder.path();
    assert_eq!(fine(at, &["run", "a.evo"]).matches("true").count(), 2);
    assert!(refused(at, &["check", "b.evo"]).contains("did you mean `choices`?"));
    assert!(refused(at, &["check", "c.evo"]).contains("a question without choices"));
    fs::write(at.join("q.jsonl"), rows.replace("\"B\"", "\"C\"")).unwrap();
    let wrong = evo(at, &["run", "a.evo"]);
    assert_eq!(code(&wrong), 3);
    assert!(err(&wrong).contains("error[R0516]") && err(&wrong).contains("`two`, `4`"), "{}", err(&wrong));
}
