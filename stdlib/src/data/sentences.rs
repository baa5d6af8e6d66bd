//! Short natural sentences from small grammars, for next-token training and demonstrations.

use evo_kernels::rng::Stream;

use super::{Data, DataError, Language};

/// The arguments of [`sentences`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentences {
    /// The language.
    pub language: Language,
    /// The number of sentences.
    pub count: usize,
    /// Which draw.
    pub seed: u64,
}

/// Draws sentences, independently of one another: one column, `text`.
///
/// A sentence says when, who, where and what: about 17,000 different ones in each language.
///
/// # Errors
/// None today; the type leaves room for it.
pub fn sentences(args: &Sentences) -> Result<Data, DataError> {
    let stream = Stream::from_seed(args.seed).child("data.sentences");
    let rows = (0..args.count as u64).map(|index| {
        let mut words = Words { stream: stream.at(index), drawn: 0 };
        let text = match args.language {
            Language::English => english(&mut words),
            Language::Japanese => japanese(&mut words),
        };
        vec![text.into()]
    });
    Data::new(&["text"], rows.collect())
}

/// The draws of one sentence.
struct Words {
    stream: Stream,
    drawn: u64,
}

impl Words {
    fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        let index = self.stream.below(self.drawn, from.len() as u64);
        self.drawn += 1;
        from.get(index as usize).copied().unwrap_or_default()
    }
}

fn english(words: &mut Words) -> String {
    let who = words.pick(&[
        "my sister",
        "the old man",
        "our teacher",
        "a small dog",
        "the farmer",
        "her friend",
        "the cat",
        "a boy",
    ]);
    let (verb, things): (&str, &[&str]) = words.pick(&[
        ("found", &["a red ball", "a gold ring", "an empty box", "a warm coat", "a lost key"]),
        ("saw", &["a white bird", "the first star", "a long train", "a black horse", "two rabbits"]),
        ("brought", &["fresh bread", "some flowers", "a heavy bag", "a cup of tea", "a letter"]),
        ("watched", &["the rain", "the children", "the river", "an old film", "the clouds"]),
    ]);
    let thing = words.pick(things);
    let place = words.pick(&[
        "in the garden",
        "near the lake",
        "at the station",
        "under the bridge",
        "behind the house",
        "on the hill",
    ]);
    let time = words.pick(&["yesterday", "this morning", "last night", "after school", "before lunch", "on Sunday"]);
    let sentence = match words.pick(&[0, 1, 2]) {
        0 => format!("{time} {who} {verb} {thing} {place}."),
        1 => format!("{who} {verb} {thing} {place} {time}."),
        _ => format!("{time}, {place}, {who} {verb} {thing}."),
    };
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn japanese(words: &mut Words) -> String {
    let who = words.pick(&["妹", "先生", "おじいさん", "小さな犬", "農夫", "友だち", "猫", "男の子"]);
    let (verb, things): (&str, &[&str]) = words.pick(&[
        ("見つけた", &["赤いボール", "金の指輪", "空の箱", "古い地図", "なくした鍵"]),
        ("見た", &["白い鳥", "一番星", "長い列車", "黒い馬", "二羽の兎"]),
        ("持ってきた", &["焼きたてのパン", "花", "重い荷物", "お茶", "手紙"]),
        ("眺めた", &["雨", "子どもたち", "川", "海", "雲"]),
    ]);
    let thing = words.pick(things);
    let place = words.pick(&["庭", "湖のそば", "駅", "橋の下", "家の裏", "丘の上"]);
    let time = words.pick(&["昨日", "今朝", "昨夜", "放課後", "昼前", "日曜日"]);
    match words.pick(&[0, 1, 2]) {
        0 => format!("{time}、{who}は{place}で{thing}を{verb}。"),
        1 => format!("{who}は{time}、{place}で{thing}を{verb}。"),
        _ => format!("{time}、{place}で{who}が{thing}を{verb}。"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn sentences_are_whole_varied_and_fixed_by_their_seed() {
        for (language, end) in [(Language::English, '.'), (Language::Japanese, '。')] {
            let args = Sentences { language, count: 500, seed: 1 };
            let data = sentences(&args).unwrap();
            let texts: BTreeSet<String> = data.column("text").unwrap().iter().map(ToString::to_string).collect();
            assert!(texts.len() > 450, "{}", texts.len());
            assert!(texts.iter().all(|t| t.ends_with(end) && t.matches(end).count() == 1));
            assert_eq!(sentences(&Sentences { count: 20, ..args.clone() }).unwrap(), data.first(20));
            assert_ne!(sentences(&Sentences { seed: 2, ..args }).unwrap(), data);
        }
    }
}
