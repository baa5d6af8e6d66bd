//! Why scripts are refused: the engine's errors in words of losses.

use rhai::{Dynamic, EvalAltResult, ParseError, ParseErrorType, Position};

use super::natives::{Condition, Number};
use super::{Limits, Reason, Rejected};

/// How to choose by a symbol.
const WHERE: &str = "choose with `where(condition, a, b)`, which takes both sides; join conditions with `&` and `|`";

/// How to divide.
const DIVIDE: &str = "write one of them with a point, as in `1.0 / 2.0`";

/// A rejection that a native hands through the engine, which no script can catch.
#[derive(Clone, Debug)]
pub(super) struct Refusal(pub(super) Rejected);

impl Refusal {
    /// As an error that ends the script.
    pub(super) fn ended(self) -> Box<EvalAltResult> {
        Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(self), Position::NONE))
    }

    pub(super) fn time(ms: u64) -> Refusal {
        Refusal(Rejected::new(
            Reason::Time,
            format!("the script takes longer than {ms} ms"),
            "a loss is a formula: leave loops out",
        ))
    }

    pub(super) fn division() -> Refusal {
        Refusal(Rejected::new(Reason::IntegerDivision, "whole numbers are divided, which drops the remainder", DIVIDE))
    }

    pub(super) fn power() -> Refusal {
        Refusal(Rejected::new(Reason::Unknown, "`^` is no power in this language", "write `x ** 2.0` or `pow(x, 2.0)`"))
    }

    pub(super) fn nodes(most: usize) -> Refusal {
        Refusal(nodes(most))
    }

    pub(super) fn infinite(x: f64) -> Refusal {
        Refusal(Rejected::new(
            Reason::Arithmetic,
            format!("the number {x} is not finite"),
            "keep plain numbers finite, as with `max(x, 1e-9)` before a division",
        ))
    }

    pub(super) fn no_number(what: &str) -> Refusal {
        Refusal(match what.ends_with("Condition") {
            true => Rejected::new(Reason::Value, "a condition stands where a number belongs", WHERE),
            false => Rejected::new(
                Reason::Value,
                format!("a value of type `{}` stands where a number belongs", shown(what)),
                "let the script end with its loss: a formula of its inputs, or `[chosen, rejected]`",
            ),
        })
    }

    pub(super) fn no_condition(what: &str) -> Refusal {
        Refusal(Rejected::new(
            Reason::Value,
            format!("`where` chooses by a condition, and this is a `{}`", shown(what)),
            "compare two numbers: `where(z > 0.0, a, b)`",
        ))
    }
}

/// More nodes than there may be.
pub(super) fn nodes(most: usize) -> Rejected {
    Rejected::new(
        Reason::Nodes,
        format!("the loss has more than {most} steps"),
        "write the formula itself, not a loop that repeats it",
    )
}

/// A script that ends without a value.
pub(super) fn nothing() -> Rejected {
    Rejected::new(
        Reason::Value,
        "the script has no value",
        "let it end with its loss, without a semicolon, or declare one function `loss`",
    )
}

/// A value that is the same for all rows.
pub(super) fn constant() -> Rejected {
    Rejected::new(Reason::Value, "the loss is the same for every row", "let its value depend on one of the inputs")
}

/// An array that is not one number for each of the two answers.
pub(super) fn length(found: usize) -> Rejected {
    let message = format!("the script ends with an array of {found}");
    Rejected::new(Reason::Value, message, "give one number a row, or two: `[chosen, rejected]`")
}

/// A parameter of the script's function that is no input.
pub(super) fn parameter(function: &str, name: &str, inputs: &[String]) -> Rejected {
    let message = format!("the parameter `{name}` of `{function}` is no input of a loss");
    let help = format!("the inputs are {}; write other numbers into the function", inputs.join(", "));
    Rejected::new(Reason::Unknown, message, help)
}

/// What the parser says.
pub(super) fn parsing(error: &ParseError) -> Rejected {
    use ParseErrorType as P;
    let text = error.err_type().to_string();
    let (reason, help) = match error.err_type() {
        P::ExprTooDeep => (Reason::Depth, "give parts of the formula names with `let`"),
        P::TooManyFunctions | P::LiteralTooLarge(..) => (Reason::Size, "a loss is a few lines"),
        P::BadInput(rhai::LexError::StringTooLong(_)) => (Reason::Size, "a loss needs no text"),
        P::VariableUndefined(_) | P::Reserved(_) | P::ForbiddenVariable(_) | P::ModuleUndefined(_) => {
            (Reason::Unknown, "a loss has numbers, its inputs, arithmetic, comparisons and `where`")
        }
        P::BadInput(rhai::LexError::ImproperSymbol(_, why)) if why.contains("disabled") => {
            (Reason::Unknown, "a loss has numbers, its inputs, arithmetic, comparisons and `where`")
        }
        _ => (Reason::Syntax, "write it in rhai: `let m = sigmoid(z); m * softplus(-z)`"),
    };
    Rejected {
        place: place(error.position()),
        ..Rejected::new(reason, format!("the script cannot be read: {}", lower(&text)), help)
    }
}

/// What ended a running script.
pub(super) fn evaluation(error: &EvalAltResult, limits: &Limits) -> Rejected {
    use EvalAltResult as E;
    let rejected = match error {
        E::ErrorInFunctionCall(_, _, inner, _) => return evaluation(inner, limits),
        E::ErrorTerminated(token, _) => match token.clone().try_cast::<Refusal>() {
            Some(refusal) => refusal.0,
            None => Rejected::new(Reason::Thrown, "the script ended itself", "let it end with its loss"),
        },
        E::ErrorParsing(..) => Rejected::new(Reason::Syntax, lower(&error.to_string()), "write it in rhai"),
        E::ErrorMismatchDataType(wanted, found, _) if wanted == "bool" && is_symbol(found) => {
            Rejected::new(Reason::Branch, "the script branches on what differs from row to row", WHERE)
        }
        E::ErrorTooManyOperations(_) => Rejected::new(
            Reason::Operations,
            format!("the script takes more than {} operations", limits.operations),
            "a loss is a formula: leave loops out",
        ),
        E::ErrorStackOverflow(_) => Rejected::new(
            Reason::Depth,
            format!("functions call each other more than {} levels deep", limits.calls),
            "let functions not call themselves",
        ),
        E::ErrorTooManyVariables(_) => Rejected::new(
            Reason::Size,
            format!("the script has more than {} variables", limits.variables),
            "a loss is a few lines",
        ),
        E::ErrorDataTooLarge(what, _) => {
            Rejected::new(Reason::Size, format!("a value is too large: {}", lower(what)), "build no texts and lists")
        }
        E::ErrorArithmetic(what, _) => {
            Rejected::new(Reason::Arithmetic, lower(what), "write numbers with a point: those do not overflow")
        }
        E::ErrorRuntime(what, _) => {
            Rejected::new(Reason::Thrown, format!("the script gives up: {what}"), "let it end with its loss")
        }
        E::ErrorFunctionNotFound(signature, _) => Rejected::new(
            Reason::Unknown,
            format!("there is no function `{}` here", readable(signature)),
            "there are arithmetic, comparisons, `where`, `exp`, `log`, `sqrt`, `pow`, `abs`, `min`, `max`, `clamp`, `sigmoid`, `log_sigmoid`, `softplus`, `relu`, `tanh` and the `batch_` functions",
        ),
        other => Rejected::new(
            Reason::Unknown,
            lower(&strip_place(&other.to_string())),
            "a loss has numbers, its inputs, arithmetic, comparisons and `where`",
        ),
    };
    Rejected { place: rejected.place.or(place(error.position())), ..rejected }
}

fn is_symbol(ty: &str) -> bool {
    ty == std::any::type_name::<Number>() || ty == std::any::type_name::<Condition>()
}

/// A type's name as it is told.
fn shown(ty: &str) -> &str {
    match ty.rsplit("::").next().unwrap_or(ty) {
        "Number" => "number of the row",
        "Condition" => "condition",
        "&str" | "string" | "ImmutableString" => "text",
        "i64" => "whole number",
        "f64" => "number",
        "()" => "nothing",
        other => other,
    }
}

/// A call's signature with types as they are told.
fn readable(signature: &str) -> String {
    let symbols = [std::any::type_name::<Number>(), std::any::type_name::<Condition>(), "i64", "f64"];
    symbols.iter().fold(signature.to_owned(), |text, ty| text.replace(ty, shown(ty)))
}

fn place(position: Position) -> Option<(usize, usize)> {
    Some((position.line()?, position.position().unwrap_or(1).max(1)))
}

/// Without the place that the engine writes behind its messages.
fn strip_place(text: &str) -> String {
    text.split(" (line ").next().unwrap_or(text).to_owned()
}

/// A sentence that goes on behind another one.
fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
