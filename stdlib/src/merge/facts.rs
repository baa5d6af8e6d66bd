//! What is known of a merge before it runs: its inputs' headers, and whether they can be merged at all.

use std::sync::Arc;

use evo_lang::plan::{Answer, Call, Look, Problem};

use crate::bind::Place;
use crate::model::{DType, ModelError, ModelHeader, check_alike};

/// The header of the merged model is that of its first input; all inputs must be alike.
pub(super) fn merge(_: &Place, call: &Call<'_>, problems: &mut Vec<Problem>) -> Answer {
    let mut inputs: Vec<(&'static str, Look<'_>)> = Vec::new();
    for param in ["base", "a", "b"] {
        inputs.extend(call.arg(param).map(|look| (param, look)));
    }
    for look in call.arg("models").and_then(|look| look.items()).unwrap_or_default() {
        inputs.push(("models", look));
    }
    let known: Vec<(&str, Look<'_>, &Arc<ModelHeader>)> =
        inputs.iter().filter_map(|(p, l)| Some((*p, *l, l.fact::<Arc<ModelHeader>>()?))).collect();
    let Some((_, first, header)) = known.first() else {
        return Answer::Unknown;
    };
    if let Some((param, look, other)) = known.iter().skip(1).find(|(_, _, other)| dtype(other) != dtype(header)) {
        problems.push(unlike_types((first, header), (look, other), param));
    }
    for (param, look, other) in known.iter().skip(1) {
        if let Err(error) = check_alike(&header.tensors, &other.tensors, false) {
            problems.push(unlike(call, param, (first, header), (look, other), &error));
            break;
        }
    }
    check_counts(call, problems);
    Answer::Fact(Arc::new((*header).clone()))
}

/// The element type of a model's weights: that of its embedding.
fn dtype(header: &ModelHeader) -> Option<DType> {
    header.tensors.values().map(|tensor| tensor.dtype).find(|dtype| dtype.is_float())
}

/// Weights of two types are merged as they are; the result is wider than one of the models.
fn unlike_types(
    (first, header): (&Look<'_>, &ModelHeader),
    (look, other): (&Look<'_>, &ModelHeader),
    param: &str,
) -> Problem {
    let name = |header| dtype(header).map_or("none", DType::name);
    Problem {
        code: "E0423",
        warning: true,
        title: format!("`{}` holds {} weights, `{}` {}", first.name(), name(header), look.name(), name(other)),
        label: "models of two element types".into(),
        param: Some(param.to_owned()),
        notes: vec!["the merge is computed and kept in F32".into()],
        help: "convert one of the models first, if the result is to keep its type".into(),
    }
}

fn unlike(
    call: &Call<'_>,
    param: &str,
    (first, header): (&Look<'_>, &ModelHeader),
    (look, other): (&Look<'_>, &ModelHeader),
    error: &ModelError,
) -> Problem {
    let size =
        |h: &ModelHeader| format!("{}, {} × {}", h.config.model_type, h.config.num_layers(), h.config.hidden_size);
    Problem {
        code: "E0304",
        title: "cannot merge models of different shape".into(),
        label: format!("`{}` needs equal tensor shapes", call.ext().name),
        param: Some(param.to_owned()),
        notes: vec![
            format!("`{}` is {}; `{}` is {}", first.name(), size(header), look.name(), size(other)),
            format!("first difference: {error}"),
        ],
        help: "weight merges need models tuned from one ancestor".into(),
        ..Problem::default()
    }
}

/// A list of weights has one entry a model.
fn check_counts(call: &Call<'_>, problems: &mut Vec<Problem>) {
    let Some(models) = call.arg("models").and_then(|look| look.items()) else {
        return;
    };
    for param in ["weight", "density"] {
        let Some(look) = call.arg(param) else {
            continue;
        };
        let count =
            look.items().map(|items| items.len()).or_else(|| look.constant().and_then(|c| c.items()).map(<[_]>::len));
        if let Some(count) = count.filter(|n| *n != models.len()) {
            problems.push(Problem {
                code: "E0405",
                title: format!("{count} entries in `{param}` for {} models", models.len()),
                label: "needs one entry a model".into(),
                param: Some(param.to_owned()),
                help: "give one entry for each model, in their order, or one number for all".into(),
                ..Problem::default()
            });
        }
    }
}
