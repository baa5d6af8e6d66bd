//! Lines to text: what stood in one column on neighbouring lines stands in one column again.
//!
//! A token before which the author put more space than the style has, in the column of a token on a neighbouring line, is
//! aligned. Aligned tokens move together: as far right as the longest of their lines needs.

use unicode_width::UnicodeWidthStr;

use super::layout::Place;
use super::print::{Line, Piece};

/// More columns than this between a line and its comment are an accident.
const FAR: usize = 40;

/// Tokens of neighbouring lines that stand in one column.
#[derive(Clone, Debug, Default)]
struct Run {
    /// The lines and the tokens.
    members: Vec<(usize, usize)>,
    /// The least space before any of them.
    gap: usize,
    /// Where they stand.
    column: usize,
}

/// Writes the lines.
pub(super) fn render(lines: Vec<Line<'_>>, end: &str) -> String {
    let rows = rows(&lines);
    let mut runs = runs(&lines, &rows);
    let columns = settle(&lines, &mut runs);
    let comments = comments(&lines, &rows, &columns);
    let mut out = String::new();
    for ((line, columns), comment) in lines.iter().zip(&columns).zip(comments) {
        if line.pieces.is_empty() {
            continue;
        }
        if line.blank && !out.is_empty() {
            out.push_str(end);
        }
        let mut at = 0;
        for (piece, column) in line.pieces.iter().zip(columns) {
            pad(&mut out, column.saturating_sub(at));
            out.push_str(piece.text);
            at = end_of(*column, piece.text);
        }
        if let Some((text, _)) = line.comment {
            pad(&mut out, comment.saturating_sub(at).max(1));
            out.push_str(text);
        }
        out.push_str(end);
    }
    out
}

fn pad(out: &mut String, spaces: usize) {
    out.extend(std::iter::repeat_n(' ', spaces));
}

/// The column after a text that begins in a column.
fn end_of(column: usize, text: &str) -> usize {
    text.rsplit_once('\n').map_or_else(|| column + text.width(), |(_, last)| last.width())
}

/// Numbers lines of code; a blank line before one counts, comments do not.
fn rows(lines: &[Line<'_>]) -> Vec<usize> {
    let (mut row, mut blank) = (0, false);
    let number = |line: &Line<'_>| {
        blank |= line.blank;
        if !line.is_comment && !line.pieces.is_empty() {
            row += 1 + usize::from(std::mem::take(&mut blank));
        }
        row
    };
    lines.iter().map(number).collect()
}

/// The tokens that may be aligned, of a line without texts of several lines.
fn alignable<'a>(line: &'a Line<'a>) -> impl Iterator<Item = (usize, &'a Piece<'a>, Place, usize)> {
    let simple = !line.is_comment && line.pieces.iter().all(|p| !p.text.contains('\n'));
    line.pieces.iter().enumerate().skip(1).filter_map(move |(i, piece)| {
        let place = piece.place.filter(|_| simple && (piece.space || piece.text == ":"))?;
        Some((i, piece, place, place.gap?)).filter(|(_, piece, _, gap)| *gap > 0 || !piece.space)
    })
}

/// Finds what is aligned: chains over neighbouring lines, of which one token has more space before it than it needs.
fn runs(lines: &[Line<'_>], rows: &[usize]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    // The tokens of the last line of code with their runs.
    let mut above: Vec<(Place, &str, usize)> = Vec::new();
    let mut last = 0;
    for (l, line) in lines.iter().enumerate() {
        if line.is_comment || line.pieces.is_empty() {
            continue;
        }
        let row = rows.get(l).copied().unwrap_or(0);
        let neighbours = if row == last + 1 { std::mem::take(&mut above) } else { Vec::new() };
        above.clear();
        for (i, piece, place, gap) in alignable(line) {
            let stands_under = |(up, text, _): &&(Place, &str, usize)| {
                up.row + 1 == place.row && up.column == place.column && alike(text, piece.text)
            };
            let run = neighbours.iter().find(stands_under).map(|(.., run)| *run).unwrap_or_else(|| {
                runs.push(Run { gap, ..Run::default() });
                runs.len() - 1
            });
            if let Some(run) = runs.get_mut(run) {
                run.members.push((l, i));
                run.gap = run.gap.min(gap);
            }
            above.push((place, piece.text, run));
        }
        last = row;
    }
    let spaced = |&(l, i): &(usize, usize)| {
        let piece = lines.get(l).and_then(|line| line.pieces.get(i));
        piece.is_some_and(|p| p.place.and_then(|p| p.gap).unwrap_or(0) > usize::from(p.space))
    };
    runs.retain(|run| run.members.len() > 1 && run.members.iter().any(spaced));
    runs
}

/// Whether one may stand under the other: equal symbols, or what is no symbol.
fn alike(above: &str, below: &str) -> bool {
    let is_symbol = |text: &str| text.starts_with(|c: char| "=:<>+*/^|.!".contains(c)) || text == "-" || text == "->";
    if is_symbol(above) || is_symbol(below) { above == below } else { true }
}

/// Columns of all tokens: each as far left as its line and its run allow.
fn settle(lines: &[Line<'_>], runs: &mut [Run]) -> Vec<Vec<usize>> {
    let mut member: Vec<Vec<Option<usize>>> = lines.iter().map(|line| vec![None; line.pieces.len()]).collect();
    for (r, run) in runs.iter().enumerate() {
        for &(l, i) in &run.members {
            if let Some(slot) = member.get_mut(l).and_then(|m| m.get_mut(i)) {
                *slot = Some(r);
            }
        }
    }
    let mut columns: Vec<Vec<usize>> = lines.iter().map(|line| vec![0; line.pieces.len()]).collect();
    // Columns only grow, and each line asks for a finite one: this ends.
    let mut moved = true;
    while std::mem::take(&mut moved) {
        for ((line, member), columns) in lines.iter().zip(&member).zip(&mut columns) {
            let mut at = line.indent;
            for ((piece, run), column) in line.pieces.iter().zip(member).zip(columns) {
                let natural = at + usize::from(piece.space);
                *column = natural;
                if let Some(run) = run.and_then(|r| runs.get_mut(r)) {
                    let least = if piece.space { natural } else { natural + run.gap.min(1) };
                    moved |= least > run.column;
                    run.column = run.column.max(least);
                    *column = run.column;
                }
                at = end_of(*column, piece.text);
            }
        }
    }
    columns
}

/// The column of each line's comment. Comments of neighbouring lines that stood in one column stay in one; a comment with
/// more than a space before it stays where it was, if its line leaves it the place.
fn comments(lines: &[Line<'_>], rows: &[usize], columns: &[Vec<usize>]) -> Vec<usize> {
    let mut out = vec![0; lines.len()];
    let mut run: Vec<usize> = Vec::new();
    let mut end = 0;
    let mut above: Option<(usize, Place)> = None;
    let mut finish = |run: &mut Vec<usize>, end: usize, place: Option<(usize, Place)>| {
        let apart = |l: &usize| lines.get(*l).and_then(|line| line.comment?.1.gap).is_some_and(|gap| gap > 1);
        let stood = place.filter(|_| run.iter().any(apart)).map_or(0, |(_, place)| place.column);
        let column = if stood > end && stood - end <= FAR { stood } else { end + 1 };
        for l in run.drain(..) {
            if let Some(slot) = out.get_mut(l) {
                *slot = column;
            }
        }
    };
    for (l, line) in lines.iter().enumerate() {
        let Some((_, place)) = line.comment else { continue };
        let row = rows.get(l).copied().unwrap_or(0);
        let joins = above.is_some_and(|(r, up)| r + 1 == row && up.row + 1 == place.row && up.column == place.column);
        if !joins {
            finish(&mut run, end, above);
            end = 0;
        }
        let last = line.pieces.last().zip(columns.get(l).and_then(|c| c.last()));
        end = end.max(last.map_or(0, |(piece, column)| end_of(*column, piece.text)));
        run.push(l);
        above = Some((row, place));
    }
    finish(&mut run, end, above);
    out
}
