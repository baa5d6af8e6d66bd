//! The shell against vectors of the real one, against hostile scripts, and against scraps of syntax.

use super::{Files, Limits, Outcome, Stopped, run};
use proptest::prelude::*;
use serde_json::Value;

const VECTORS: &str = include_str!("../../../../tests/conformance/shell/vectors.json");
const SETUP: &str = include_str!("../../../../tests/conformance/shell/setup.sh");

fn fresh(script: &str) -> Outcome {
    run(script, &mut Files::new(), &Limits::default())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn scripts_print_and_end_as_bash_and_coreutils_do() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() > 100, "the vectors are there");
    let mut base = Files::new();
    assert_eq!(run(SETUP, &mut base, &Limits::default()).status, 0);
    let mut wrong = Vec::new();
    for case in cases {
        let script = case["script"].as_str().unwrap();
        let mut files = base.clone();
        let outcome = run(script, &mut files, &Limits::default());
        let (want, got) = (case["stdout"].as_str().unwrap(), text(&outcome.stdout));
        let same = want == got && i64::from(outcome.status) == case["status"].as_i64().unwrap();
        if !same {
            let said = text(&outcome.stderr);
            wrong.push(format!("{script}\n-- wanted\n{want}-- got (status {})\n{got}{said}", outcome.status));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n======\n"));
}

#[test]
fn a_run_twice_gives_the_same_bytes_and_files() {
    let script = "for i in {1..20}; do echo $RANDOM; done | sort > f; mktemp; ls -la; stat -c %Y f; cat f";
    let (mut one, mut two) = (Files::new(), Files::new());
    let (first, second) = (run(script, &mut one, &Limits::default()), run(script, &mut two, &Limits::default()));
    assert_eq!(first, second);
    assert_eq!(one, two);
    assert!(first.stdout.len() > 100 && first.lacking.is_empty());
}

#[test]
fn hostile_scripts_are_stopped_within_their_limits() {
    let deep = format!("{}echo x{}", "( ".repeat(20_000), " )".repeat(20_000));
    let parameters = format!("echo {}x{}", "${a:-".repeat(20_000), "}".repeat(20_000));
    let wide = format!("echo {}", "{a,b}".repeat(64));
    let scripts: Vec<(&str, &[Stopped])> = vec![
        ("while true; do :; done", &[Stopped::Steps]),
        ("until false; do x=1; done", &[Stopped::Steps]),
        ("for ((;;)); do :; done", &[Stopped::Steps]),
        ("while :; do echo x; done", &[Stopped::Steps, Stopped::OutputBytes]),
        ("f() { f; }; f", &[Stopped::Depth]),
        ("f() { echo $(f); }; f", &[Stopped::Depth]),
        (":(){ :|:& };:", &[Stopped::Depth, Stopped::Steps]),
        ("x=a; while :; do x=$x$x; done", &[Stopped::Steps, Stopped::OutputBytes]),
        ("x=a; while :; do eval v$((i++))=$x; x=$x$x; done", &[Stopped::Steps, Stopped::OutputBytes]),
        ("yes", &[Stopped::Steps, Stopped::OutputBytes]),
        ("yes | wc -l", &[Stopped::Steps, Stopped::OutputBytes]),
        ("yes > f", &[Stopped::FileBytes, Stopped::Steps]),
        ("while :; do cat f f > g; cat g >> f; echo x >> f; done", &[Stopped::FileBytes, Stopped::Steps]),
        ("echo {1..1000000000}", &[Stopped::Steps]),
        ("seq 1 1000000000000", &[Stopped::Steps, Stopped::OutputBytes]),
        ("while :; do touch f$((i++)); done", &[Stopped::Files, Stopped::Steps]),
        ("while :; do mkdir d; cd d; done", &[Stopped::Files, Stopped::Steps]),
        ("truncate -s 99G f", &[Stopped::FileBytes]),
        ("eval 'eval \"$(declare -f)\"'; f() { eval f; }; f", &[Stopped::Depth]),
        ("echo 'bash s' > s; bash s", &[Stopped::Depth]),
        ("sed ':a;s/^/x/;ba' <<< y", &[Stopped::Steps, Stopped::OutputBytes]),
        ("sed ':a;ba' <<< y", &[Stopped::Steps]),
        ("sed ':a;G;h;ba' <<< yyyyyyyyyyyyyyyy", &[Stopped::Steps, Stopped::OutputBytes]),
        (
            "printf '%1000000000d%1000000000d' 1 2; while :; do printf '%65536d' 1; done",
            &[Stopped::OutputBytes, Stopped::Steps],
        ),
        ("x=$(printf '%60000d' 1); echo ${x// /$x}", &[Stopped::Steps, Stopped::OutputBytes]),
        ("x=$(printf '%60000d' 1); echo ${x//*1*2/}", &[Stopped::Steps]),
        (&deep, &[Stopped::Depth]),
        (&parameters, &[Stopped::Depth]),
        (&wide, &[Stopped::Steps, Stopped::Depth]),
    ];
    for (script, limits) in scripts {
        let outcome = fresh(script);
        let start: String = script.chars().take(80).collect();
        assert!(outcome.stopped.is_some_and(|stopped| limits.contains(&stopped)), "{start}: {:?}", outcome.stopped);
        assert_eq!(outcome.status, 137, "{start}");
        assert!(outcome.stdout.len() <= Limits::default().output_bytes, "{start}");
    }
}

#[test]
fn there_is_nothing_to_climb_out_to() {
    let climbs = [
        ("cd ../../../..; pwd; ls", "/\nbin\ndev\nhome\ntmp\n", 0),
        ("cat /etc/passwd", "", 1),
        ("ls /proc; cat /proc/self/environ", "", 1),
        ("cat ../../../../../etc/shadow", "", 1),
        ("ln -s / up; ls up/etc", "", 2),
        ("echo < /dev/tcp/localhost/80", "", 1),
        ("rm -rf /; ls /", "bin\ndev\nhome\ntmp\n", 0),
        ("rm -rf --no-preserve-root /tmp /home; ls /", "bin\ndev\n", 0),
        ("ln -s loop loop; cat loop", "", 1),
        ("/usr/bin/python3 -c 'print(1)'", "", 127),
    ];
    for (script, stdout, status) in climbs {
        let outcome = fresh(script);
        assert_eq!((text(&outcome.stdout).as_str(), outcome.status), (stdout, status), "{script}");
        assert_eq!(outcome.stopped, None, "{script}");
    }
}

#[test]
fn what_is_lacking_is_said() {
    let lacks = [
        ("python3 x.py", "python3"),
        ("date", "date"),
        ("df -h", "df"),
        ("tar czf a.tgz .", "tar"),
        ("ls --zero", "ls --zero"),
        ("sort -T x f", "sort -T"),
        ("trap 'rm f' EXIT", "trap"),
        ("select x in a b; do :; done", "syntax: select, coproc"),
        ("echo ${x@Q}", "syntax: ${x@…}"),
        ("find . -mtime 1", "find -mtime"),
    ];
    for (script, what) in lacks {
        let outcome = fresh(script);
        assert_eq!(outcome.lacking, [what], "{script}");
        assert!(outcome.status != 0 && !outcome.stderr.is_empty(), "{script}");
    }
    assert_eq!(fresh("nosuch").status, 127);
}

#[test]
fn a_reader_that_has_enough_ends_an_endless_writer() {
    let cases = [
        ("yes | head -2", "y\ny\n"),
        ("yes | cat | head -1", "y\n"),
        ("while :; do echo a; done | head -3 | tail -1", "a\n"),
        ("seq 1 999999999 | sed 3q | tail -1", "3\n"),
        ("yes | grep -m1 y", "y\n"),
        ("yes | { read x; echo $x; }", "y\n"),
    ];
    for (script, stdout) in cases {
        let outcome = fresh(script);
        assert_eq!((text(&outcome.stdout).as_str(), outcome.stopped), (stdout, None), "{script}");
    }
}

#[test]
fn files_given_are_seen_and_files_made_are_kept() {
    let mut files = Files::new();
    assert!(files.write("/home/user/a/in.txt", b"x\n"));
    assert!(!files.write("/home/user/a", b"a directory stands here"));
    let outcome = run("cp a/in.txt out; chmod 600 out; ln -s out link; rm -r a", &mut files, &Limits::default());
    assert_eq!((outcome.status, text(&outcome.stderr).as_str()), (0, ""));
    assert_eq!(files.read("/home/user/link").as_deref(), Some(&b"x\n".to_vec()));
    assert_eq!(files.size(), 2);
    let made: Vec<(String, u32)> = files.entries().into_iter().map(|(path, mode, _)| (text(&path), mode)).collect();
    assert!(made.contains(&("/home/user/out".to_owned(), 0o600)));
    assert!(made.contains(&("/home/user/link".to_owned(), 0o777)));
    assert!(!made.iter().any(|(path, _)| path == "/home/user/a"));
}

/// Scraps of scripts, parted by `¦`.
const SCRAPS: &str = "echo¦cat¦x=1¦$x¦${x¦${x:-¦}¦{¦(¦)¦((¦))¦[[¦]]¦[¦]¦if¦then¦fi¦else¦for i in¦do¦done¦while¦case¦esac¦\
in¦;;¦;¦&&¦||¦|¦&¦>¦<¦<<E¦E\n¦<<<¦2>&1¦'¦\"¦`¦$(¦$((¦\\¦\n¦ ¦*¦?¦{a,b}¦{1..3}¦~¦#¦!¦a¦0¦-n¦${#x}¦\
${x//a/b}¦${x%¦${x:1:-9}¦f()¦return¦break 2¦local¦set -e¦read¦printf %d¦sed s/a/b/¦sed -n '/a/,$p'¦\
grep -o¦find . -exec¦xargs¦sort -k¦cut -f¦tr a-z¦seq¦expr 1 +¦test 1 -eq¦é¦\u{0}¦$1}'¦declare -A m¦\
m[a]=¦${m[@]}¦unset¦shift¦getopts ab: o -a¦eval¦mkdir d¦cd¦rm -rf¦ls -la¦diff";

fn fragments() -> impl Strategy<Value = String> {
    let words: Vec<&'static str> = SCRAPS.split('¦').collect();
    proptest::collection::vec((proptest::sample::select(words), any::<bool>()), 0..24).prop_map(|parts| {
        parts.into_iter().map(|(word, gap)| if gap { format!("{word} ") } else { word.to_owned() }).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_script_panics(script in fragments()) {
        let limits = Limits { steps: 3_000, output_bytes: 1 << 16, file_bytes: 1 << 16, files: 100, depth: 20 };
        let outcome = run(&script, &mut Files::new(), &limits);
        prop_assert!(outcome.stdout.len() <= limits.output_bytes);
    }

    #[test]
    fn no_expression_panics(text in "[-a-z0-9$*.+?^()\\[\\]{}|\\\\/;,&!\n ]{0,24}") {
        let limits = Limits { steps: 3_000, output_bytes: 1 << 16, file_bytes: 1 << 16, files: 100, depth: 20 };
        let quoted = text.replace('\'', "");
        for tool in ["grep", "grep -E", "sed", "sed -E", "tr", "printf", "find .", "expr", "cut -f", "echo $((", "[["] {
            let script = format!("echo abc | {tool} '{quoted}'; echo abc | {tool} {quoted}");
            let outcome = run(&script, &mut Files::new(), &limits);
            prop_assert!(outcome.stdout.len() <= limits.output_bytes);
        }
    }
}
