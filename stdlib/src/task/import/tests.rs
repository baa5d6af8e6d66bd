//! Task files become the prompts that the harness makes of them, or faults with their line.

use std::fs;
use std::path::Path;

use super::*;
use crate::data::Cell;
use crate::task::{Compare, Method};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn asked(folder: &Path, (metric, filter): (&str, &str)) -> Result<Task, Fault> {
    let locate = |name: &str| folder.join("elsewhere").join(name);
    let ask = Ask { metric, filter, rows: usize::MAX, max_tokens: usize::MAX, locate: &locate };
    import(&folder.join("task.yaml"), &ask).map(|imported| imported.task)
}

fn column(task: &Task, name: &str) -> Vec<Cell> {
    task.data.column(name).unwrap().into_iter().cloned().collect()
}

fn texts(task: &Task, name: &str) -> Vec<String> {
    column(task, name).iter().map(Cell::to_string).collect()
}

fn list(items: &[&str]) -> Cell {
    Cell::List(items.iter().map(|&item| item.into()).collect())
}

const CHOICE: &str = r#"
task: places
tag: [mine]
dataset_path: json
dataset_kwargs: {data_files: {train: train.json, test: test.jsonl}}
test_split: test
fewshot_split: train
output_type: multiple_choice
description: "Questions about {{topic}}.\n\n"
doc_to_text: "Question: {{question.strip()}}\nAnswer:"
doc_to_choice: "{{choices.text}}"
doc_to_target: "{{choices.label.index(answerKey)}}"
num_fewshot: 2
fewshot_config: {sampler: first_n}
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"#;

fn places() -> tempfile::TempDir {
    folder(&[
        (
            "train.json",
            r#"[{"topic": "t", "question": " A? ", "choices": {"text": ["x", "it's"], "label": ["A", "B"]}, "answerKey": "B"},
                {"topic": "t", "question": "B?", "choices": {"text": ["p", "q"], "label": ["1", "2"]}, "answerKey": "1"},
                {"topic": "t", "question": "C?", "choices": {"text": ["p", "q"], "label": ["1", "2"]}, "answerKey": "1"}]"#,
        ),
        (
            "test.jsonl",
            "{\"topic\": \"cities\", \"question\": \"D?\", \"choices\": {\"text\": [\"Rome\", \"Köln\", \"L'A\"], \"label\": [\"A\", \"B\", \"C\"]}, \"answerKey\": \"B\"}\n",
        ),
        ("task.yaml", CHOICE),
    ])
}

#[test]
fn multiple_choice_is_asked_as_the_harness_asks() {
    let folder = places();
    let task = asked(folder.path(), ("", "")).unwrap();
    let prompt =
        "Questions about cities.\n\nQuestion: A?\nAnswer: it's\n\nQuestion: B?\nAnswer: p\n\nQuestion: D?\nAnswer:";
    assert_eq!(texts(&task, "prompt"), [prompt]);
    assert_eq!(column(&task, "choices"), [list(&[" Rome", " Köln", " L'A"])]);
    assert_eq!(column(&task, "target"), [Cell::Int(1)]);
    let compared = |metric| match asked(folder.path(), (metric, "")).unwrap().method {
        Method::MultipleChoice(choices) => choices.compare,
        other => panic!("{other:?}"),
    };
    assert_eq!((compared(""), compared("acc_norm")), (Compare::Total, Compare::PerCharacter));
    assert!(asked(folder.path(), ("f1", "")).unwrap_err().help.contains("`acc_norm`"));
    task.check().unwrap();
}

const WRITTEN: &str = r#####"
include: base.yaml
doc_to_text: question
doc_to_target: answer
fewshot_delimiter: "\n##\n"
num_fewshot: 3
generation_kwargs: {until: ["\n\n", "Q:"], max_gen_toks: 12, do_sample: false, temperature: 0.7}
filter_list:
  - name: strict
    filter:
      - {function: regex, regex_pattern: "#### (\\-?[0-9\\.\\,]+)"}
      - {function: take_first}
  - name: flexible
    filter: [{function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"}, {function: take_first}]
metric_list:
  - metric: exact_match
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore: [",", "\\$", "(?s).*#### ", "\\.$"]
"#####;

#[test]
fn written_answers_are_asked_and_filtered_as_in_the_harness() {
    let rows: String = (0..10).map(|i| format!("{{\"question\": \"Q{i}\", \"answer\": \"so #### {i}\"}}\n")).collect();
    let base = "dataset_path: json\ndataset_kwargs: {data_files: rows.jsonl}\ntest_split: train\ntask: base\n";
    let folder = folder(&[("rows.jsonl", &rows), ("base.yaml", base), ("task.yaml", WRITTEN)]);
    let task = asked(folder.path(), ("", "")).unwrap();
    // In CPython, `random.Random(1234)` draws four of ten for each question in turn, of which three that are not the question are shown.
    let prompts = texts(&task, "prompt");
    for (row, shown) in [(0, [7, 1, 9]), (1, [9, 0, 8]), (2, [5, 3, 0])] {
        let examples: String = shown.map(|i| format!("Q{i} so #### {i}\n##\n")).concat();
        assert_eq!(prompts[row], format!("{examples}Q{row}"));
    }
    assert_eq!(texts(&task, "target")[4], "so #### 4");
    let Method::Filtered(filtered) = &task.method else { panic!("{:?}", task.method) };
    assert_eq!((filtered.max_tokens, filtered.by.stop.as_slice()), (12, &["\n\n".to_owned(), "Q:".to_owned()][..]));
    assert_eq!(filtered.by.sampling.temperature, 0.0);
    assert!(filtered.is_right("I say #### 1,204 or #### 3", "so #### 1204"));
    assert!(!filtered.is_right("I say 1204", "so #### 1204"));
    let flexible = asked(folder.path(), ("", "flexible")).unwrap();
    let Method::Filtered(filtered) = &flexible.method else { panic!("{:?}", flexible.method) };
    assert!(filtered.is_right("first 7, then $1,204.", "so #### 1204"));
    assert!(asked(folder.path(), ("", "none")).unwrap_err().help.contains("`strict`, `flexible`"));
}

#[test]
fn examples_are_those_that_python_draws() {
    let mut random = random::Random::new(1234);
    assert_eq!(random.sample(10, 3), [7, 1, 0]);
    assert_eq!(random.sample(1000, 6), [92, 932, 965, 961, 826, 596]);
    assert_eq!(random.sample(100, 8), [4, 85, 88, 10, 12, 98, 45, 30]);
    assert_eq!(random.sample(5, 5), [0, 4, 3, 1, 2]);
}

const SMALL: &str = "dataset_path: csv\ndataset_kwargs: {data_files: rows.csv}\ntest_split: train\ndoc_to_text: 'Q: {{q}}'\ndoc_to_target: a\n";

/// A task of two rows, with more fields.
fn small(more: &str) -> Result<Task, Fault> {
    let folder = folder(&[("rows.csv", "q,a,n\nx ,yes,1\ny,no,0\n"), ("task.yaml", &format!("{SMALL}{more}"))]);
    asked(folder.path(), ("", ""))
}

#[test]
fn targets_are_texts_places_and_lists() {
    assert_eq!(texts(&small("").unwrap(), "target"), ["yes", "no"]);
    let choices = small("output_type: multiple_choice\ndoc_to_choice: ['no', 'yes']\n").unwrap();
    assert_eq!(column(&choices, "target"), [Cell::Int(1), Cell::Int(0)]);
    // White space at the end of the prompt goes before the choice.
    assert_eq!(texts(&choices, "prompt"), ["Q: x", "Q: y"]);
    assert_eq!(column(&choices, "choices"), [list(&["  no", "  yes"]), list(&[" no", " yes"])]);
    let several = small("fewshot_config: {samples: [{q: z, a: w}]}\nnum_fewshot: 1\n").unwrap();
    assert_eq!(texts(&several, "prompt"), ["Q: z w\n\nQ: x ", "Q: z w\n\nQ: y"]);
    let several = small("fewshot_config: {sampler: first_n, samples: [{q: z, a: w}]}\nnum_fewshot: 1\n").unwrap();
    assert_eq!(texts(&several, "prompt"), ["Q: z w\n\nQ: x ", "Q: z w\n\nQ: y"]);
}

#[test]
fn what_would_change_results_is_refused_at_its_line() {
    for (more, line, words) in [
        ("process_docs: !function utils.process", 6, "Python function `utils.process`"),
        ("gen_prefix: 'So'", 6, "`gen_prefix`"),
        ("task: t\nrepeats: 3", 7, "`repeats`"),
        ("output_type: loglikelihood_rolling", 6, "`output_type`"),
        ("output_type: multiple_choice", 4, "without `doc_to_choice`"),
        ("output_type: multiple_choice\ndoc_to_choice: [no, yes]", 7, "not a text"),
        ("output_type: multiple_choice\ndoc_to_choice: ['a', 'b']", 5, "row 0 is none of its 2 choices"),
        ("output_type: multiple_choice\ndoc_to_choice: '{{q}}'", 7, "no list"),
        ("metric_list: [{metric: bleu}]", 6, "`bleu`"),
        ("metric_list: [{metric: exact_match, aggregation: max}]", 6, "`mean`"),
        ("metric_list: [{metric: exact_match, weight: 2}]", 6, "`metric_list.weight`"),
        (
            "filter_list:\n  - name: f\n    filter:\n      - function: regex\n        regex_pattern: '('",
            10,
            "regular expression",
        ),
        ("filter_list: [{name: f, filter: [{function: custom}]}]", 6, "`regex`, `take_first`"),
        ("generation_kwargs: {do_sample: true}", 6, "temperature"),
        ("generation_kwargs: {num_beams: 4}", 6, "`generation_kwargs.num_beams`"),
        ("num_fewshot: 9", 6, "9 examples of 2 rows"),
        ("num_fewshot: -1", 6, "`num_fewshot`"),
        ("validation_split: dev\nfewshot_split: dev\nnum_fewshot: 1", 2, "no split `dev`"),
        ("include: other.yaml", 1, "cannot be read"),
        ("description: '{{ nothing }}'", 6, "row 0"),
        ("description: '{% if %}'", 6, "no template"),
        ("doc_to_text: again", 6, "twice"),
    ] {
        let fault = small(more).unwrap_err();
        assert!(fault.line == line && format!("{} {}", fault.title, fault.help).contains(words), "{more}: {fault:?}");
    }
    let remote = folder(&[("task.yaml", "task: t\ndataset_path: allenai/ai2_arc\n")]);
    let fault = asked(remote.path(), ("", "")).unwrap_err();
    assert!(fault.line == 2 && fault.help.contains("data_files"), "{fault:?}");
    let circle = folder(&[("task.yaml", "include: task.yaml\n")]);
    assert!(asked(circle.path(), ("", "")).unwrap_err().title.contains("without end"));
}
