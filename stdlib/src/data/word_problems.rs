//! Arithmetic word problems with exact answers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use evo_kernels::rng::Stream;

use super::wordings::{Language, template_count, things, wordings};
use super::{Cell, Data, DataError};

/// What a word problem asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// The sum.
    Add,
    /// The difference: the larger number less the smaller.
    Subtract,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 2] = [Operation::Add, Operation::Subtract];

    /// Its word in data and programs: `add`, `subtract`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operation::Add => "add",
            Operation::Subtract => "subtract",
        }
    }

    /// Reads its word.
    ///
    /// # Errors
    /// [`DataError::BadArgument`].
    pub fn parse(name: &str) -> Result<Operation, DataError> {
        Operation::ALL.into_iter().find(|operation| operation.name() == name).ok_or_else(|| DataError::BadArgument {
            argument: "operations",
            problem: format!("has \"{name}\", it can have \"add\" and \"subtract\""),
        })
    }
}

/// The arguments of [`word_problems`].
#[derive(Debug, Clone, PartialEq)]
pub struct WordProblems {
    /// The language of the questions.
    pub language: Language,
    /// The operations, each equally frequent.
    pub operations: Vec<Operation>,
    /// The first number's range, not below 0.
    pub left: RangeInclusive<i64>,
    /// The second number's range, not below 0.
    pub right: RangeInclusive<i64>,
    /// Which wordings of each operation, within `0..template_count(language)`.
    pub templates: Range<usize>,
    /// The number of problems.
    pub count: usize,
    /// Which draw.
    pub seed: u64,
}

/// One problem: operation, wording and numbers, in the order in which they are asked.
type Problem = (Operation, usize, i64, i64);

/// Draws word problems: columns `question` (text), `answer`, `left`, `right` (int), `operation` (text).
///
/// A problem is drawn from all combinations of operation, wording and numbers *without replacement*, so no combination
/// occurs twice until every one has occurred: parts of one draw share none as long as `count` is within the space (2
/// operations × 2 wordings × 20 × 8 = 640 for the ranges 10..=29 and 2..=9). Beyond it the draw starts over in a new
/// order. The thing that a question is about is drawn for each row. In a subtraction the larger number is asked first, so that
/// no answer is negative; `left` and `right` are the numbers as asked.
///
/// # Errors
/// [`DataError::BadArgument`] for an empty list or range, a negative number, a space or a sum beyond 63 bits, or
/// unknown wordings.
pub fn word_problems(args: &WordProblems) -> Result<Data, DataError> {
    let space = Space::new(args)?;
    let stream = Stream::from_seed(args.seed).child("data.word_problems");
    let mut problems = Vec::with_capacity(args.count);
    for pass in 0.. {
        if problems.len() == args.count {
            break;
        }
        let mut seen = BTreeSet::new();
        let drawn = draw_all(stream.at(pass), space.size).map(|index| space.problem(index));
        let fresh = drawn.filter(|problem| seen.insert(*problem));
        problems.extend(fresh.take(args.count - problems.len()).collect::<Vec<_>>());
    }
    let things = things(args.language);
    let choice = stream.child("things");
    let rows = (0..).zip(problems).map(|(index, problem)| {
        let thing = things.get(choice.below(index, things.len() as u64) as usize);
        row(args.language, problem, thing.copied().unwrap_or_default())
    });
    Data::new(&["question", "answer", "left", "right", "operation"], rows.collect())
}

/// All problems the arguments allow, numbered.
struct Space<'a> {
    args: &'a WordProblems,
    left: u64,
    right: u64,
    size: u64,
}

impl<'a> Space<'a> {
    fn new(args: &'a WordProblems) -> Result<Space<'a>, DataError> {
        let bad = |argument, problem: &str| Err(DataError::BadArgument { argument, problem: problem.to_owned() });
        let wordings = template_count(args.language);
        if args.operations.is_empty() {
            return bad("operations", "is empty");
        }
        if args.templates.is_empty() || args.templates.end > wordings {
            return bad("templates", &format!("must be a range within 0..{wordings}"));
        }
        let left = width("left", &args.left)?;
        let right = width("right", &args.right)?;
        if args.left.end().checked_add(*args.right.end()).is_none() {
            return bad("left", "and `right` have sums beyond 64 bits");
        }
        let choices = (args.operations.len() * args.templates.len()) as u64;
        match left.checked_mul(right).and_then(|pairs| pairs.checked_mul(choices)) {
            Some(size) if size < 1 << 63 => Ok(Space { args, left, right, size }),
            _ => bad("left", "and `right` have too many pairs"),
        }
    }

    fn problem(&self, index: u64) -> Problem {
        let (index, right) = (index / self.right, index % self.right);
        let (index, left) = (index / self.left, index % self.left);
        let templates = self.args.templates.len() as u64;
        let template = self.args.templates.start + (index % templates) as usize;
        let operation = self.args.operations.get((index / templates) as usize).copied().unwrap_or(Operation::Add);
        let (a, b) = (self.args.left.start() + left as i64, self.args.right.start() + right as i64);
        match operation {
            Operation::Subtract if a < b => (operation, template, b, a),
            _ => (operation, template, a, b),
        }
    }
}

fn width(argument: &'static str, range: &RangeInclusive<i64>) -> Result<u64, DataError> {
    let problem = match (range.start(), range.end()) {
        (low, high) if low > high => "is an empty range",
        (low, _) if *low < 0 => "has negative numbers",
        (0, &i64::MAX) => "is too wide",
        (low, high) => return Ok((high - low) as u64 + 1),
    };
    Err(DataError::BadArgument { argument, problem: problem.to_owned() })
}

/// The numbers `0..size` in a random order, computed as far as they are taken (Fisher and Yates, with the swapped
/// places in a map).
fn draw_all(stream: Stream, size: u64) -> impl Iterator<Item = u64> {
    let mut moved: BTreeMap<u64, u64> = BTreeMap::new();
    (0..size).map(move |i| {
        let j = i + stream.below(i, size - i);
        let here = moved.remove(&i).unwrap_or(i);
        if i == j { here } else { moved.insert(j, here).unwrap_or(j) }
    })
}

fn row(language: Language, (operation, template, a, b): Problem, thing: &str) -> Vec<Cell> {
    let wording = wordings(language, operation).get(template).copied().unwrap_or_default();
    let question = wording.replace("{a}", &a.to_string()).replace("{b}", &b.to_string()).replace("{n}", thing);
    let answer = match operation {
        Operation::Add => a + b,
        Operation::Subtract => a - b,
    };
    vec![question.into(), answer.into(), a.into(), b.into(), operation.name().into()]
}

#[cfg(test)]
mod tests {
    use super::super::wordings::JAPANESE_THINGS;
    use super::*;

    fn args() -> WordProblems {
        WordProblems {
            language: Language::Japanese,
            operations: Operation::ALL.to_vec(),
            left: 10..=29,
            right: 2..=9,
            templates: 2..4,
            count: 464,
            seed: 3,
        }
    }

    fn questions(data: &Data) -> BTreeSet<String> {
        data.column("question").unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn questions_do_not_repeat_within_the_space_so_parts_are_disjoint() {
        let data = word_problems(&args()).unwrap();
        assert_eq!(questions(&data).len(), 464);
        let parts = data.split(&[("search", 64), ("test", 400)]).unwrap();
        assert!(questions(&parts[0].1).is_disjoint(&questions(&parts[1].1)));
        let all = word_problems(&WordProblems { count: 640, ..args() }).unwrap();
        assert_eq!(questions(&all).len(), 640);
        assert_eq!(all.first(464), data);
    }

    #[test]
    fn answers_are_exact_and_never_negative() {
        let wide = WordProblems { left: 0..=40, right: 0..=40, templates: 0..4, count: 3000, ..args() };
        for language in [Language::English, Language::Japanese] {
            let data = word_problems(&WordProblems { language, ..wide.clone() }).unwrap();
            for row in data.rows() {
                let [Cell::Text(question), Cell::Int(answer), Cell::Int(a), Cell::Int(b), Cell::Text(operation)] =
                    row.cells()
                else {
                    panic!("{row:?}")
                };
                assert_eq!(*answer, if &**operation == "add" { a + b } else { a - b });
                assert!(*answer >= 0 && !question.contains(['{', '}']));
                let digits = question.split(|c: char| !c.is_ascii_digit()).filter(|d| !d.is_empty());
                assert_eq!(digits.collect::<Vec<_>>(), [a.to_string(), b.to_string()]);
            }
        }
    }

    #[test]
    fn a_draw_beyond_the_space_starts_over() {
        let problems = |data: &Data| {
            let row = |row: &std::sync::Arc<crate::data::Row>| {
                let [Cell::Text(question), _, a, b, _] = row.cells() else { panic!("{row:?}") };
                let thing = JAPANESE_THINGS.iter().find(|n| question.starts_with(**n)).unwrap();
                format!("{a} {b} {}", question.strip_prefix(thing).unwrap())
            };
            data.rows().iter().map(row).collect::<BTreeSet<String>>()
        };
        let small = WordProblems { left: 1..=3, right: 1..=3, operations: vec![Operation::Subtract], ..args() };
        // Six unordered pairs in two wordings.
        let data = word_problems(&WordProblems { count: 30, ..small }).unwrap();
        assert_eq!(problems(&data).len(), 12);
        assert_eq!(problems(&data.first(12)).len(), 12);
        assert_eq!(problems(&data.first(24).last(12)).len(), 12);
        assert_ne!(data.first(12), data.first(24).last(12));
    }

    #[test]
    fn a_seed_fixes_the_draw() {
        assert_eq!(word_problems(&args()).unwrap(), word_problems(&args()).unwrap());
        assert_ne!(word_problems(&args()).unwrap(), word_problems(&WordProblems { seed: 4, ..args() }).unwrap());
        let huge = WordProblems { left: 0..=1 << 40, right: 1..=9, ..args() };
        assert_eq!(questions(&word_problems(&huge).unwrap()).len(), 464);
    }

    #[test]
    fn every_operation_has_at_least_four_distinct_wordings() {
        for language in [Language::English, Language::Japanese] {
            assert!(template_count(language) >= 4);
            let all: BTreeSet<_> = Operation::ALL.iter().flat_map(|&op| wordings(language, op)).collect();
            assert!(all.len() >= 8 && all.iter().all(|w| w.contains("{a}") && w.contains("{b}")));
        }
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "an empty range is what is refused")]
    fn arguments_are_checked() {
        let argument = |args: WordProblems| match word_problems(&args) {
            Err(DataError::BadArgument { argument, .. }) => argument,
            other => panic!("{other:?}"),
        };
        assert_eq!(argument(WordProblems { operations: vec![], ..args() }), "operations");
        assert_eq!(argument(WordProblems { left: 3..=2, ..args() }), "left");
        assert_eq!(argument(WordProblems { right: -1..=2, ..args() }), "right");
        assert_eq!(argument(WordProblems { left: 0..=i64::MAX, ..args() }), "left");
        assert_eq!(argument(WordProblems { left: 1..=i64::MAX, ..args() }), "left");
        assert_eq!(argument(WordProblems { templates: 2..5, ..args() }), "templates");
        assert_eq!(argument(WordProblems { templates: 2..2, ..args() }), "templates");
        assert!(Language::parse("fr").is_err() && Operation::parse("times").is_err());
    }
}
