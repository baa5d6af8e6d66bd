//! Long lines cut around what is told of them, so that a rendering fits a terminal.

use miette::{MietteError, MietteSpanContents, NamedSource, SourceCode, SourceSpan, SpanContents};

/// Characters of the longest line that is shown whole.
const LONGEST: usize = 120;
/// Characters that are left of a longer one.
const KEPT: usize = 100;
/// Stands for what is cut off.
const MARK: char = '…';

/// A text whose long lines are cut, which tells the columns of the whole one.
#[derive(Debug)]
pub(super) struct Source {
    text: NamedSource<String>,
    name: String,
    /// Where the first place begins in the cut text, and its column, from 0, in the whole one.
    first: Option<(usize, usize)>,
}

impl Source {
    /// The text cut around `places`, of which the first matters most, and where they are in it.
    pub(super) fn of(name: &str, text: &str, places: &[SourceSpan]) -> (Self, Vec<SourceSpan>) {
        let (cut, moved) = cut(text, places);
        let column = |place: &SourceSpan| {
            let before = text.get(..place.offset()).unwrap_or(text);
            before.rsplit('\n').next().unwrap_or("").chars().count()
        };
        let first = moved.first().zip(places.first()).map(|(new, old)| (new.offset(), column(old)));
        (Self { text: NamedSource::new(name, cut), name: name.to_owned(), first }, moved)
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.text.read_span(span, before, after)?;
        let column = self.first.filter(|(at, _)| *at == span.offset() && before == 0 && after == 0);
        let Some((_, column)) = column else { return Ok(found) };
        let (line, lines) = (found.line(), found.line_count());
        let name = self.name.clone();
        Ok(Box::new(MietteSpanContents::new_named(name, found.data(), *found.span(), line, column, lines)))
    }
}

fn cut(text: &str, places: &[SourceSpan]) -> (String, Vec<SourceSpan>) {
    let mut out = String::with_capacity(text.len());
    let mut moved = places.to_vec();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        let ends_here = |place: &SourceSpan| place.offset() < end || end == text.len() && !line.ends_with('\n');
        let here: Vec<usize> = places
            .iter()
            .enumerate()
            .filter(|(_, place)| at <= place.offset() && ends_here(place))
            .map(|(i, _)| i)
            .collect();
        let whole = line.len() <= LONGEST || line.trim_end().chars().count() <= LONGEST;
        let kept = (!whole)
            .then(|| Window::of(line.trim_end(), &here.iter().map(|&i| local(places, i, at)).collect::<Vec<_>>()));
        for i in here {
            let Some(place) = moved.get_mut(i) else { continue };
            let (start, length) = local(places, i, at);
            *place = match &kept {
                Some(window) => {
                    let (from, to) = (window.moved(start), window.moved(start + length));
                    let least = if length > 0 { window.least(start) } else { 0 };
                    (out.len() + from, (to - from).max(least)).into()
                }
                None => (out.len() + start, length).into(),
            };
        }
        match &kept {
            Some(window) => {
                out.extend([&*window.shown(line.trim_end()), line.get(line.trim_end().len()..).unwrap_or("")])
            }
            None => out.push_str(line),
        }
        at = end;
    }
    for (place, old) in moved.iter_mut().zip(places) {
        if old.offset() >= text.len() && text.ends_with('\n') {
            *place = (out.len(), 0).into();
        }
    }
    (out, moved)
}

/// A place in its line, which begins at `at`.
fn local(places: &[SourceSpan], index: usize, at: usize) -> (usize, usize) {
    places.get(index).map_or((0, 0), |place| (place.offset() - at, place.len()))
}

/// What is kept of a line: bytes on character boundaries.
struct Window {
    from: usize,
    to: usize,
    /// Of the whole line.
    length: usize,
}

impl Window {
    /// Around the first of the places, and the others as far as they fit.
    fn of(line: &str, places: &[(usize, usize)]) -> Self {
        let ends: Vec<usize> = line.char_indices().map(|(i, _)| i).chain([line.len()]).collect();
        let count = ends.len() - 1;
        let column = |byte: usize| ends.partition_point(|end| *end < byte).min(count);
        let mut wanted: Option<(usize, usize)> = None;
        for (start, length) in places {
            let (start, end) = (column(*start), column(start + length));
            let both = wanted.map_or((start, end), |(a, b)| (a.min(start), b.max(end)));
            if wanted.is_none() || both.1 - both.0 <= KEPT {
                wanted = Some(both);
            }
        }
        let (start, end) = wanted.unwrap_or((0, 0));
        let spare = KEPT.saturating_sub(end - start) / 2;
        let from = start.saturating_sub(spare).min(count.saturating_sub(KEPT));
        let byte = |column: usize| ends.get(column).copied().unwrap_or(line.len());
        Window { from: byte(from), to: byte((from + KEPT).min(count)), length: line.len() }
    }

    fn head(&self) -> usize {
        if self.from > 0 { MARK.len_utf8() } else { 0 }
    }

    /// Where a byte of the line is in what is shown: what is cut off is at its mark.
    fn moved(&self, byte: usize) -> usize {
        match byte {
            _ if byte < self.from => 0,
            _ if byte > self.to => self.head() + (self.to - self.from),
            _ => self.head() + (byte - self.from),
        }
    }

    /// The length of the shortest place that begins at the byte: one that is cut off marks the mark.
    fn least(&self, byte: usize) -> usize {
        if byte < self.from || byte >= self.to { MARK.len_utf8() } else { 1 }
    }

    fn shown(&self, line: &str) -> String {
        let mut out = String::new();
        out.extend((self.from > 0).then_some(MARK));
        out.push_str(line.get(self.from..self.to).unwrap_or(line));
        out.extend((self.to < self.length).then_some(MARK));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_at(text: &str, places: &[(usize, usize)]) -> (String, Vec<String>) {
        let places: Vec<SourceSpan> = places.iter().map(|p| (*p).into()).collect();
        let (out, moved) = cut(text, &places);
        let marked = moved.iter().map(|m| out[m.offset()..m.offset() + m.len()].to_owned()).collect();
        (out, marked)
    }

    #[test]
    fn a_long_line_keeps_what_is_told_of() {
        let line = format!("{}here{}", "あ".repeat(200), "b".repeat(200));
        let text = format!("short\n{line}\r\nlast");
        let at = text.find("here").unwrap();
        let (out, marked) = cut_at(&text, &[(at, 4), (0, 5), (text.len() - 4, 4)]);
        assert_eq!(marked, ["here", "short", "last"]);
        let lines: Vec<&str> = out.split('\n').collect();
        assert_eq!((lines.len(), lines[1].chars().count()), (3, KEPT + 3));
        assert!(lines[1].starts_with("…あ") && lines[1].ends_with("b…\r"));
    }

    #[test]
    fn ends_are_not_marked_and_far_places_are_at_the_mark() {
        let text = format!("start {} end", "x ".repeat(100));
        let end = text.len() - 3;
        let (out, marked) = cut_at(&text, &[(0, 5), (end, 3)]);
        assert!(out.starts_with("start x") && out.ends_with('…'));
        assert_eq!(marked, ["start", "…"]);
        let (out, marked) = cut_at(&text, &[(end, 3), (0, 5)]);
        assert!(out.starts_with('…') && out.ends_with(" end"));
        assert_eq!(marked, ["end", "…"]);
        assert_eq!(cut_at(&text, &[(0, text.len())]).0.chars().count(), KEPT + 1);
        assert_eq!(cut_at("short\n", &[(6, 0)]), ("short\n".to_owned(), vec![String::new()]));
    }
}
