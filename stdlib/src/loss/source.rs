//! A loss as the text of a program: with its values written out, and as a file.

use std::path::Path;
use std::sync::Arc;

use evo_lang::plan::Const;

use super::Loss;
use crate::cx::{Card, Failure};
use crate::files::write_whole;

/// The declared name, followed by the settings if there are any: the last of the values.
pub(super) fn title(name: &Arc<str>, settings: &[Arc<str>], values: &[Const]) -> Arc<str> {
    if settings.is_empty() {
        return name.clone();
    }
    let values = values.iter().skip(values.len().saturating_sub(settings.len()));
    let shown = settings.iter().zip(values).map(|(name, value)| match literal(value) {
        Ok(literal) => format!("{name}: {literal}"),
        Err(_) => format!("{name}: …"),
    });
    format!("{name}({})", shown.collect::<Vec<_>>().join(", ")).into()
}

/// The pieces of a text with values between them.
///
/// # Errors
/// No pieces, or a value without a literal: why there is no text.
pub(super) fn filled(pieces: &[Arc<str>], values: &[Const]) -> Result<Arc<str>, String> {
    let Some((last, pieces)) = pieces.split_last() else {
        return Err("it reads more than numbers of its own program: another program, a model, or the seed".to_owned());
    };
    let mut text = String::new();
    for (piece, value) in pieces.iter().zip(values) {
        text.push_str(piece);
        text.push_str(&literal(value)?);
    }
    text.push_str(last);
    Ok(text.into())
}

/// A value as it is written in a program.
fn literal(value: &Const) -> Result<String, String> {
    let all = |items: &[Const]| items.iter().map(literal).collect::<Result<Vec<_>, _>>();
    Ok(match value {
        Const::Int(i) => i.to_string(),
        Const::Real(x) if x.is_finite() => format!("{x:?}"),
        Const::Real(x) => return Err(format!("it reads the number {x}, which has no literal")),
        Const::Bool(b) => b.to_string(),
        Const::Case(_, word) => word.to_string(),
        Const::List(items) => format!("[{}]", all(items)?.join(", ")),
        Const::Tuple(items) => format!("({})", all(items)?.join(", ")),
        Const::Record(fields) => {
            let fields = fields.iter().map(|(name, value)| Ok(format!("{name}: {}", literal(value)?)));
            format!("{{ {} }}", fields.collect::<Result<Vec<_>, String>>()?.join(", "))
        }
        _ => return Err("it reads what is no number".to_owned()),
    })
}

/// Writes the program that declares a loss, whole or not at all.
pub(super) fn save(loss: &Loss, path: &Path, card: &Card) -> Result<(), Failure> {
    if path.extension().is_none_or(|e| e != "evo") {
        let title =
            format!("the loss `{}` is saved as a program, and `{}` is no name of one", loss.name, path.display());
        return Err(Failure::new("R0511", title).help("name a file that ends in `.evo`"));
    }
    let source = match &loss.source {
        Ok(source) => source,
        Err(why) => {
            return Err(Failure::new("R0511", format!("the loss `{}` cannot be saved", loss.name))
                .note(why.to_string())
                .help("declare what it needs beside it, with numbers only"));
        }
    };
    let tiny = if card.tiny { ", in a tiny run" } else { "" };
    let text = format!("//! The loss `{}`, saved by the program `{}`{tiny}.\n\n{source}", loss.name, card.program);
    write_whole(path, text.as_bytes()).map_err(|e| {
        Failure::new("R0512", format!("`{}` cannot be written: {e}", path.display()))
            .help("choose another place with `--out`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_literals() {
        let text = |value: Const| literal(&value);
        assert_eq!(text(Const::Real(1.0)).unwrap(), "1.0");
        assert_eq!(text(Const::Real(-2.5e-7)).unwrap(), "-2.5e-7");
        assert_eq!(text(Const::Real(1e300)).unwrap(), "1e300");
        let list = Const::List([Const::Int(1), Const::Bool(true)].into());
        assert_eq!(text(Const::Record([("a".into(), list)].into())).unwrap(), "{ a: [1, true] }");
        assert!(text(Const::Real(f64::NAN)).is_err());
    }

    #[test]
    fn a_text_without_pieces_is_none() {
        assert!(filled(&[], &[]).is_err());
        let pieces = ["let k = ".into(), "\n".into()];
        assert_eq!(&*filled(&pieces, &[Const::Real(0.5)]).unwrap(), "let k = 0.5\n");
        assert_eq!(&*title(&"f".into(), &["b".into()], &[Const::Int(1), Const::Real(2.0)]), "f(b: 2.0)");
    }
}
