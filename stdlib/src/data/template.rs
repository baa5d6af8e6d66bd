//! Text with holes: `"{question}\n"`.

use super::{Data, DataError, DataFacts};

/// A text in which `{column}` stands for a row's cell, and `{{` and `}}` for braces.
///
/// ```
/// use evo_stdlib::data::{Data, Template};
/// let data = Data::new(&["question"], vec![vec!["1+1?".into()]])?;
/// assert_eq!(Template::parse("{question}\n")?.render_all(&data)?, ["1+1?\n"]);
/// # Ok::<(), evo_stdlib::data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`DataError::BadTemplate`] for a brace that is not closed, not opened, or empty.
    pub fn parse(source: &str) -> Result<Template, DataError> {
        let fault = |problem, offset| Err(DataError::BadTemplate { problem, offset });
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut chars = source.char_indices().peekable();
        while let Some((offset, c)) = chars.next() {
            match c {
                '{' | '}' if chars.next_if(|&(_, next)| next == c).is_some() => text.push(c),
                '}' => return fault("a `}` that closes nothing", offset),
                '{' => {
                    let mut name = String::new();
                    loop {
                        match chars.next() {
                            Some((_, '}')) => break,
                            Some((_, c)) if c != '{' && c != '\n' => name.push(c),
                            _ => return fault("a `{` that is not closed", offset),
                        }
                    }
                    if name.trim().is_empty() {
                        return fault("`{}` without a column", offset);
                    }
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    parts.push(Part::Column(name.trim().to_owned()));
                }
                c => text.push(c),
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Template { parts })
    }

    /// The columns it names, in order of appearance.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Column(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The column, if it is one and nothing else.
    pub fn only_column(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Column(name)] => Some(name),
            _ => None,
        }
    }

    /// Whether `data` has every column it names.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`] for the first it lacks.
    pub fn check(&self, data: &Data) -> Result<(), DataError> {
        self.columns().try_for_each(|name| data.column_index(name).map(drop))
    }

    /// Whether `data` has every column it names, but for one hole that something else fills.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`] for the first it lacks.
    pub fn check_beside(&self, data: &Data, hole: &str) -> Result<(), DataError> {
        self.columns().filter(|name| *name != hole).try_for_each(|name| data.column_index(name).map(drop))
    }

    /// A bound on the bytes of every row's text, where the longest cells of data are known; columns that they lack count for nothing.
    pub fn longest(&self, data: &DataFacts) -> Option<usize> {
        let longest = data.longest.as_ref()?;
        let cell = |name: &str| longest.get(data.columns.iter().position(|column| column == name)?).copied();
        let bytes = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Column(name) => cell(name).unwrap_or(0),
        });
        Some(bytes.sum())
    }

    /// The text of every row of `data`, in order.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`].
    pub fn render_all(&self, data: &Data) -> Result<Vec<String>, DataError> {
        render(&self.parts, data)
    }

    /// The text of every row of `data` around a hole that something else fills: the pieces between its places, one more than
    /// there are.
    ///
    /// # Errors
    /// [`DataError::UnknownColumn`].
    pub fn render_around(&self, data: &Data, hole: &str) -> Result<Vec<Vec<String>>, DataError> {
        let mut out = vec![Vec::new(); data.len()];
        for parts in self.parts.split(|part| matches!(part, Part::Column(name) if name == hole)) {
            out.iter_mut().zip(render(parts, data)?).for_each(|(row, piece)| row.push(piece));
        }
        Ok(out)
    }
}

fn render(parts: &[Part], data: &Data) -> Result<Vec<String>, DataError> {
    let mut out = vec![String::new(); data.len()];
    for part in parts {
        match part {
            Part::Text(text) => out.iter_mut().for_each(|row| row.push_str(text)),
            Part::Column(name) => {
                for (row, cell) in out.iter_mut().zip(data.column(name)?) {
                    row.push_str(&cell.to_string());
                }
            }
        }
    }
    Ok(out)
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Part::Column(name) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Data {
        Data::new(&["question", "answer"], vec![vec!["3 {and} 4?".into(), 7.into()]]).unwrap()
    }

    #[test]
    fn holes_are_filled_once_and_braces_escape() {
        let template = Template::parse("Q: {question} {{x}}\n{ answer }").unwrap();
        assert_eq!(template.render_all(&table()).unwrap(), ["Q: 3 {and} 4? {x}\n7"]);
        assert_eq!(template.columns().collect::<Vec<_>>(), ["question", "answer"]);
        let facts = |longest| DataFacts { columns: table().columns().to_vec(), rows: None, longest, chats: None };
        assert_eq!(template.longest(&facts(Some(table().longest()))), Some("Q: 3 {and} 4? {x}\n7".len()));
        assert_eq!(template.longest(&facts(None)), None);
        assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
        let around = Template::parse("{question}{hole}!{hole}{answer}").unwrap();
        assert_eq!(around.render_around(&table(), "hole").unwrap(), [["3 {and} 4?", "!", "7"]]);
        assert!(around.check(&table()).is_err() && around.check_beside(&table(), "hole").is_ok());
    }

    #[test]
    fn faults_have_a_place() {
        let at = |source| match Template::parse(source) {
            Err(DataError::BadTemplate { offset, .. }) => offset,
            other => panic!("{other:?}"),
        };
        assert_eq!(at("ab {question"), 3);
        assert_eq!(at("答}"), 3);
        assert_eq!(at("a {}"), 2);
        assert_eq!(at("{a{b}"), 0);
        let unknown = Template::parse("{questoin}").unwrap().check(&table());
        assert!(matches!(unknown, Err(DataError::UnknownColumn { suggestion: Some(s), .. }) if s == "question"));
    }
}
