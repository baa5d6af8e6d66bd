//! What language a text is in.

use whatlang::Lang;

/// A language that answers must be written in, told by the characters and letter triples of a text (crate `whatlang`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tongue(Lang);

/// The codes of ISO 639-1 for those of ISO 639-3 that the detector has.
const SHORT: &str = "af afr, am amh, ar ara, az aze, be bel, bg bul, bn ben, ca cat, cs ces, da dan, de deu, el ell, en eng, eo epo, es spa, et est, \
    fa pes, fi fin, fr fra, gu guj, he heb, hi hin, hr hrv, hu hun, hy hye, id ind, it ita, ja jpn, jv jav, ka kat, km khm, kn kan, ko kor, la lat, \
    lt lit, lv lav, mk mkd, ml mal, mr mar, my mya, nb nob, ne nep, nl nld, no nob, or ori, pa pan, pl pol, pt por, ro ron, ru rus, si sin, sk slk, \
    sl slv, sn sna, sr srp, sv swe, ta tam, te tel, th tha, tk tuk, tl tgl, tr tur, uk ukr, ur urd, uz uzb, vi vie, yi yid, zh cmn, zu zul";

impl Tongue {
    /// By its code of ISO 639: `ja` or `jpn`. None for one that cannot be told.
    pub fn new(code: &str) -> Option<Self> {
        let code = code.trim().to_ascii_lowercase();
        let long = SHORT.split(", ").find_map(|pair| pair.split_once(' ').filter(|(short, _)| *short == code));
        Lang::from_code(long.map_or(code.as_str(), |(_, long)| long)).map(Self)
    }

    /// Its code of ISO 639-3.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Whether a text is in it. One without words is in none.
    pub fn is_of(self, text: &str) -> bool {
        whatlang::detect_lang(text) == Some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_apart() {
        let is = |code: &str, text: &str| Tongue::new(code).unwrap().is_of(text);
        for text in [
            "答えは27個です。",
            "彼女は毎日3マイル走るので、5日間で15マイル走ります。したがって答えは15です。",
            "カタカナ",
        ] {
            assert!(is("ja", text) && is("jpn", text) && !is("zh", text) && !is("en", text), "{text}");
        }
        for text in ["She runs three miles a day, so the answer is fifteen.", "The answer is 15."] {
            assert!(is("en", text) && !is("ja", text), "{text}");
        }
        assert!(
            is("zh", "她每天跑三英里，所以答案是十五。")
                && is("de", "Sie läuft jeden Tag drei Kilometer, also ist die Antwort fünfzehn.")
        );
        assert!(!is("ja", "15") && !is("en", "") && !is("en", "答えは27個です。"));
        assert_eq!(Tongue::new("xx"), None);
        let all = SHORT.split(", ").all(|pair| Tongue::new(pair.split_once(' ').unwrap().0).is_some());
        assert!(all);
    }
}
