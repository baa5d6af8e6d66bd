//! What pictures promise: well-formed text, nothing lost, the same bytes every time, no picture that breaks on odd data.

use super::*;
use unicode_width::UnicodeWidthStr;

fn history() -> Vec<Evaluation> {
    (0..40)
        .map(|i| {
            let wave = f64::from((i * 7919) % 13) / 30.0;
            let score = if i == 17 { f64::NAN } else { -2.0 + f64::from(i) / 25.0 + wave };
            Evaluation { generation: i as usize / 10, score }
        })
        .collect()
}

/// Every tag that opens is closed in order, and no text holds a bare `&` or `<`.
fn well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').expect("a tag ends");
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().expect("a tag has a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        for (at, _) in text.match_indices('&') {
            assert!(["&amp;", "&lt;", "&gt;", "&quot;"].iter().any(|entity| text[at..].starts_with(entity)), "{text}");
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn a_history_keeps_every_candidate_and_counts_the_failed() {
    let chart = fitness("skill", &history(), Goal::Maximize);
    let svg = to_svg(&chart);
    well_formed(&svg);
    assert_eq!(svg.matches("<circle").count(), 39 + 1, "39 candidates and the legend's dot");
    assert_eq!(svg.matches(r#"class="band""#).count(), 1);
    assert!(svg.contains("40 evaluations, 1 of them failed"));
    assert!(!svg.contains("NaN"));
}

#[test]
fn the_best_so_far_never_gets_worse() {
    for (goal, sign) in [(Goal::Maximize, 1.0), (Goal::Minimize, -1.0)] {
        let chart = fitness("", &history(), goal);
        let best = &chart.series.last().expect("a series").points;
        assert!(best.windows(2).all(|pair| (pair[1].1 - pair[0].1) * sign >= 0.0));
        let extreme = history().iter().map(|e| e.score * sign).fold(f64::NEG_INFINITY, f64::max) * sign;
        assert_eq!(best.last().copied(), Some((40.0, extreme)));
    }
}

#[test]
fn quartiles_of_a_generation_are_those_of_its_scores() {
    let scores = [4.0, 1.0, 3.0, 2.0, 5.0];
    let history: Vec<Evaluation> =
        (0..2).flat_map(|generation| scores.map(|score| Evaluation { generation, score })).collect();
    let chart = fitness("", &history, Goal::Maximize);
    let middle = &chart.series[1];
    assert_eq!(middle.points, [(3.0, 3.0), (8.0, 3.0)]);
    assert_eq!(middle.band, [(3.0, 2.0, 4.0), (8.0, 2.0, 4.0)]);
}

#[test]
fn odd_data_still_make_a_picture() {
    let odd: [Vec<(f64, f64)>; 7] = [
        vec![],
        vec![(0.0, 0.0)],
        vec![(f64::NAN, 1.0), (1.0, f64::INFINITY)],
        vec![(0.0, f64::MAX), (1.0, f64::MIN)],
        vec![(1e-310, 1e-310), (2e-310, 3e-310)],
        vec![(5.0, 7.0), (5.0, 7.0)],
        (0..20_000).map(|i| (f64::from(i), f64::from(i % 7))).collect(),
    ];
    for points in odd {
        for mark in [Mark::Line, Mark::Steps, Mark::Points] {
            let chart = Chart::new("a <b> & \"c\" 日本語\u{1}").with(Series::new("x<y", mark, points.clone()));
            let svg = to_svg(&chart);
            well_formed(&svg);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{:?}", points.first());
            for (width, height) in [(0, 0), (24, 8), (80, 24), (200, 5)] {
                let text = to_terminal(&chart, width, height);
                assert!(text.lines().count() <= height.max(8), "{text}");
            }
        }
    }
}

#[test]
fn a_terminal_chart_keeps_to_its_size_and_shows_its_ends() {
    let chart = Chart::new("line").axes("x", "y").with(Series::new("rising", Mark::Line, [(0.0, 0.0), (10.0, 5.0)]));
    for (width, height) in [(40, 12), (80, 20), (120, 30)] {
        let text = to_terminal(&chart, width, height);
        assert_eq!(text.lines().count(), height);
        assert!(text.lines().all(|line| line.width() <= width), "{text}");
        let plotted: Vec<&str> = text.lines().filter(|line| line.contains(['│', '┤'])).collect();
        let is_braille = |c: char| ('\u{2801}'..='\u{28ff}').contains(&c);
        assert!(plotted.first().is_some_and(|line| line.ends_with(is_braille)), "top right\n{text}");
        let last = plotted.last().and_then(|line| line.split(['│', '┤']).nth(1));
        assert!(last.is_some_and(|line| line.starts_with(is_braille)), "bottom left\n{text}");
    }
}

fn recipe() -> Heatmap {
    let rows = vec![
        ("calculator · attention".to_owned(), vec![0.9, 0.1, 1.5, 0.7]),
        ("reader · mlp".to_owned(), vec![1.2, 0.0, f64::NAN, 0.3]),
    ];
    Heatmap::new("weights", "layer", rows)
}

#[test]
fn a_heat_map_shows_every_value_once() {
    let svg = recipe().to_svg();
    well_formed(&svg);
    assert_eq!(svg.matches("<rect").count(), 1 + 7 + 32, "the page, seven values, the scale");
    assert!(
        svg.contains("#440154") && svg.contains("#fde725"),
        "the least value and the greatest have the scale's ends"
    );
    let text = recipe().to_terminal(80);
    assert!(text.contains("█1.50") && text.contains("▁0.00") && text.contains('·'), "{text}");
    assert!(text.lines().all(|line| line.width() <= 80));
    let narrow =
        Heatmap::new("wide", "layer", vec![("w".to_owned(), (0..90).map(f64::from).collect())]).to_terminal(40);
    assert!(narrow.contains('…') && narrow.lines().all(|line| line.width() <= 40), "{narrow}");
}

#[test]
fn negative_values_put_zero_in_the_middle() {
    let map = Heatmap::new("", "", vec![("w".to_owned(), vec![-1.0, 0.0, 2.0])]);
    assert!(map.to_svg().contains("#f0f0f0"), "zero is grey");
    let flat = Heatmap::new("", "", vec![("w".to_owned(), vec![1.0, 1.0])]);
    well_formed(&flat.to_svg());
    well_formed(&Heatmap::default().to_svg());
    assert!(Heatmap::default().to_terminal(10).lines().count() <= 3);
}

#[test]
fn the_same_data_give_the_same_bytes() {
    let draw = || {
        let chart = fitness("skill", &history(), Goal::Maximize);
        (to_svg(&chart), to_terminal(&chart, 70, 18), recipe().to_svg())
    };
    assert_eq!(draw(), draw());
}
