//! Multiple choice: which of several continuations of a prompt a model holds the likeliest.
//!
//! As in the Language Model Evaluation Harness (github.com/EleutherAI/lm-evaluation-harness): the log-likelihood of a choice is
//! the sum of its tokens' log-probabilities given the prompt; `acc` takes the highest sum, `acc_norm` the highest quotient of sum
//! and length of the choice in characters. Ties go to the first choice. The harness joins prompt and choice with a space that the
//! length does not count; here a template writes that space, and white space around a choice is not counted.

use super::TaskError;
use crate::data::{Cell, Data, Template};

/// What of a choice's log-likelihood is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// All of it: the harness's `acc`.
    Total,
    /// Its share of a character (Unicode scalar value): the harness's `acc_norm`.
    PerCharacter,
    /// Its share of a byte of UTF-8.
    PerByte,
}

/// What an expected answer says of the right choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerForm {
    /// Whatever it can be; where it could be two choices, it is refused.
    Any,
    /// The choice's place, from 0.
    Index,
    /// The choice's letter, from A.
    Letter,
    /// The choice's own text.
    Text,
}

/// The choices of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    /// One template a choice; or a single one that names a column of lists: a choice for each text of the list.
    pub templates: Vec<Template>,
    /// How choices of unequal length are compared.
    pub compare: Compare,
    /// How the expected answer is read.
    pub answer: AnswerForm,
}

/// The choices of a row, in the tokens of a tokenizer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Options {
    pub(super) texts: Vec<String>,
    pub(super) tokens: Vec<Vec<u32>>,
    divisors: Vec<f64>,
    pub(super) right: usize,
}

/// Gives a text of a row its tokens.
type Encode<'a> = &'a dyn Fn(usize, &str) -> Result<Vec<u32>, TaskError>;

impl Options {
    /// The choice with the highest log-likelihood, the first of equals.
    pub(super) fn chosen(&self, sums: &[f64]) -> usize {
        let values = sums.iter().zip(&self.divisors).map(|(sum, by)| sum / by);
        values
            .enumerate()
            .fold((0, f64::NEG_INFINITY), |best, (i, value)| if value > best.1 { (i, value) } else { best })
            .0
    }
}

impl Choices {
    /// Whether the templates' columns exist.
    pub(super) fn check(&self, data: &Data) -> Result<(), TaskError> {
        Ok(self.templates.iter().try_for_each(|template| template.check(data))?)
    }

    /// The choices of every row; `expected` holds its answers, `encode` gives a text of a row its tokens.
    pub(super) fn options(
        &self,
        data: &Data,
        expected: &[String],
        encode: Encode<'_>,
    ) -> Result<Vec<Options>, TaskError> {
        let rows = self.texts(data)?.into_iter().zip(expected).enumerate();
        rows.map(|(row, (texts, answer))| {
            if texts.len() < 2 {
                return Err(TaskError::FewChoices { row, found: texts.len() });
            }
            let right = self.right(row, &texts, answer)?;
            let tokens = texts.iter().map(|text| encode(row, text)).collect::<Result<_, _>>()?;
            let divisors = texts.iter().map(|text| self.divisor(text.trim())).collect();
            Ok(Options { texts, tokens, divisors, right })
        })
        .collect()
    }

    /// The texts of the choices, row by row.
    fn texts(&self, data: &Data) -> Result<Vec<Vec<String>>, TaskError> {
        if let [template] = self.templates.as_slice()
            && let Some(spread) = template.render_spread(data)?
        {
            return Ok(spread);
        }
        let columns = self.templates.iter().map(|t| t.render_all(data)).collect::<Result<Vec<_>, _>>()?;
        Ok((0..data.len()).map(|row| columns.iter().filter_map(|column| column.get(row).cloned()).collect()).collect())
    }

    fn divisor(&self, text: &str) -> f64 {
        let length = match self.compare {
            Compare::Total => 1,
            Compare::PerCharacter => text.chars().count(),
            Compare::PerByte => text.len(),
        };
        length.max(1) as f64
    }

    /// The place of the right choice.
    fn right(&self, row: usize, texts: &[String], answer: &str) -> Result<usize, TaskError> {
        let answer = answer.trim();
        let text = || texts.iter().position(|text| text.trim() == answer);
        let index = || answer.parse::<usize>().ok().filter(|i| *i < texts.len());
        let letter = || match answer.as_bytes() {
            [c] if c.is_ascii_alphabetic() => {
                Some(usize::from(c.to_ascii_uppercase() - b'A')).filter(|i| *i < texts.len())
            }
            _ => None,
        };
        let found: Vec<usize> = match self.answer {
            AnswerForm::Any => [text(), letter(), index()].into_iter().flatten().collect(),
            AnswerForm::Index => index().into_iter().collect(),
            AnswerForm::Letter => letter().into_iter().collect(),
            AnswerForm::Text => text().into_iter().collect(),
        };
        match found.as_slice() {
            [first, rest @ ..] if rest.iter().all(|other| other == first) => Ok(*first),
            _ => Err(TaskError::NoChoice {
                row,
                answer: answer.to_owned(),
                choices: texts.iter().map(|text| text.trim().to_owned()).collect(),
                several: !found.is_empty(),
            }),
        }
    }
}

impl Template {
    /// If a column that the template names holds lists: for each row, the template filled with each text of the list.
    fn render_spread(&self, data: &Data) -> Result<Option<Vec<Vec<String>>>, TaskError> {
        let mut list = None;
        for name in self.columns() {
            if data.column(name)?.iter().any(|cell| matches!(cell, Cell::List(_))) {
                list = Some(name);
                break;
            }
        }
        let Some(name) = list else { return Ok(None) };
        let at = data.column_index(name)?;
        let columns: Vec<&str> = data.columns().iter().map(String::as_str).collect();
        let rows = data.rows().iter().map(|row| {
            let items: Vec<Cell> = match row.cells().get(at) {
                Some(Cell::List(items)) => items.iter().map(|text| Cell::Text(text.clone())).collect(),
                other => other.cloned().into_iter().collect(),
            };
            let with = |item: Cell| {
                let mut cells = row.cells().to_vec();
                if let Some(cell) = cells.get_mut(at) {
                    *cell = item;
                }
                cells
            };
            Ok(self.render_all(&Data::new(&columns, items.into_iter().map(with).collect())?)?)
        });
        rows.collect::<Result<Vec<_>, TaskError>>().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(templates: &[&str], compare: Compare, answer: AnswerForm) -> Choices {
        Choices { templates: templates.iter().map(|t| Template::parse(t).unwrap()).collect(), compare, answer }
    }

    fn data() -> Data {
        let list = |items: &[&str]| Cell::List(items.iter().map(|&t| t.into()).collect());
        let rows = vec![
            vec!["q1".into(), list(&["one", "två", "3"]), "b".into(), 2.into()],
            vec!["q2".into(), list(&["yes", "no"]), "no".into(), 1.into()],
        ];
        Data::new(&["q", "options", "letter", "index"], rows).unwrap()
    }

    #[test]
    fn a_list_is_spread_and_several_templates_are_one_choice_each() {
        let spread = choices(&[" {options}."], Compare::Total, AnswerForm::Any).texts(&data()).unwrap();
        assert_eq!(spread, [vec![" one.", " två.", " 3."], vec![" yes.", " no."]]);
        let fixed = choices(&["A", "{q}"], Compare::Total, AnswerForm::Any).texts(&data()).unwrap();
        assert_eq!(fixed, [["A", "q1"], ["A", "q2"]]);
        let unknown = choices(&["{option}"], Compare::Total, AnswerForm::Any).check(&data());
        assert!(matches!(unknown, Err(TaskError::Data(crate::data::DataError::UnknownColumn { .. }))));
    }

    #[test]
    fn an_answer_is_a_place_a_letter_or_a_text() {
        let texts: Vec<String> = [" one", " two", " 1"].map(str::to_owned).to_vec();
        let right = |form, answer| choices(&[], Compare::Total, form).right(7, &texts, answer).ok();
        assert_eq!(right(AnswerForm::Any, "two"), Some(1));
        assert_eq!(right(AnswerForm::Any, " B "), Some(1));
        assert_eq!(right(AnswerForm::Any, "2"), Some(2));
        assert_eq!(right(AnswerForm::Any, "1"), None, "the text of one choice, the place of another");
        assert_eq!(right(AnswerForm::Index, "1"), Some(1));
        assert_eq!(right(AnswerForm::Text, "1"), Some(2));
        assert_eq!(right(AnswerForm::Letter, "c"), Some(2));
        for (form, answer) in [(AnswerForm::Any, "four"), (AnswerForm::Index, "3"), (AnswerForm::Letter, "d")] {
            assert_eq!(right(form, answer), None);
        }
        let error = choices(&[], Compare::Total, AnswerForm::Any).right(7, &texts, "1").unwrap_err();
        assert!(error.to_string().contains("row 7"), "{error}");
    }

    #[test]
    fn lengths_are_those_of_the_choice_without_space_around_it() {
        let options = |compare| {
            let choices = choices(&[" {options}"], compare, AnswerForm::Any);
            let expected = ["b".to_owned(), "no".to_owned()];
            choices.options(&data(), &expected, &|_, text| Ok(vec![text.len() as u32])).unwrap()
        };
        assert_eq!(options(Compare::Total)[0].divisors, [1.0; 3]);
        assert_eq!(options(Compare::PerCharacter)[0].divisors, [3.0, 3.0, 1.0]);
        assert_eq!(options(Compare::PerByte)[0].divisors, [3.0, 4.0, 1.0]);
        assert_eq!((options(Compare::Total)[0].right, options(Compare::Total)[1].right), (1, 1));
        // Three times as long and twice as unlikely: only the plain sum prefers the short one.
        let sums = [-6.0, -7.0, -3.0];
        assert_eq!(options(Compare::Total)[0].chosen(&sums), 2);
        assert_eq!(options(Compare::PerCharacter)[0].chosen(&sums), 0);
        assert_eq!(options(Compare::PerCharacter)[0].chosen(&[-9.0, -9.0, -3.0]), 0, "the first of equals");
    }
}
