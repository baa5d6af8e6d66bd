//! The register of codes. Each has one page in `codes/`, named after it: what the rule is, an example that raises the
//! code, and what to do. The first fence of a page is that example: ` ```evo ` for what the checker finds from the text,
//! ` ```evo plan ` for what needs the files a program names, ` ```evo run ` for what only shows at run time,
//! ` ```evo fault ` for what takes more than a program: a full disk, a damaged file, a command named in its comment.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A stable error code such as `E0201`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(&'static str);

/// The page of a code.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The code.
    pub code: Code,
    /// The page in Markdown: a title line, the rule, an example.
    pub text: &'static str,
}

impl Page {
    /// The title without its mark.
    pub fn title(&self) -> &'static str {
        self.text.lines().next().unwrap_or("").trim_start_matches('#').trim()
    }

    /// The example that raises the code, with the words that follow `evo` on its fence (`""`, `"plan"`, `"run"` or `"fault"`).
    pub fn example(&self) -> Option<(&'static str, &'static str)> {
        let (_, rest) = self.text.split_once("```evo")?;
        let (stage, rest) = rest.split_once('\n')?;
        let (code, _) = rest.split_once("```")?;
        Some((stage.trim(), code))
    }
}

macro_rules! codes {
    ($($code:ident)*) => {
        impl Code {
            $(#[doc = include_str!(concat!("codes/", stringify!($code), ".md"))]
              pub const $code: Code = Code(stringify!($code));)*
        }
        static PAGES: &[Page] = &[$(Page { code: Code::$code, text: include_str!(concat!("codes/", stringify!($code), ".md")) }),*];
    };
}

codes! {
    E0101 E0102 E0103 E0104 E0105 E0106 E0107 E0108 E0109 E0110 E0111 E0112 E0113 E0114 E0115 E0116 E0117 E0118
    E0119 E0120 E0130 E0131 E0135 E0136 E0139 E0140 E0141 E0142 E0143 E0150 E0201 E0202 E0203 E0204 E0205 E0206 E0207 E0208
    E0209 E0210 E0211 E0212 E0213 E0220 E0221 E0222 E0223 E0301 E0302 E0303 E0304 E0305 E0306 E0307 E0308 E0309
    E0310 E0311 E0312 E0313 E0314 E0315 E0316 E0317 E0330 E0331 E0332 E0333 E0334 E0335 E0336 E0337 E0338 E0339 E0340
    E0341 E0350 E0351 E0352 E0353 E0354 E0355 E0401 E0402 E0403 E0405 E0406 E0407 E0408 E0409 E0410 E0411 E0412 E0413 E0414 E0415 E0416 E0417 E0418
    E0419 E0420 E0421 E0422 E0423 E0424 E0425 E0426 E0427 E0431 E0432 E0433 E0434 E0435 E0436 E0437 E0440 E0442 E0443 E0444 E0445 E0450 E0451 E0452 R0500 R0501 R0502 R0503 R0504 R0505 R0506 R0507 R0508
    R0509 R0510 R0511 R0512 R0513 R0514 R0515 R0516 R0517 R0518 R0519 R0520 R0521 R0522 R0523 R0524 R0530 R0531 R0532 R0533 R0534 R0535 R0536 R0537 R0541 R0542 R0543 R0544 R0545 R0546
    R0561 R0562 R0563 R0564 R0565 R0566 R0567 R0568 R0569
}

impl Code {
    /// The code as text.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// The code of that name, if it is registered.
    pub fn find(name: &str) -> Option<Code> {
        PAGES.iter().map(|p| p.code).find(|c| c.0.eq_ignore_ascii_case(name))
    }

    /// The page that explains it.
    pub fn page(self) -> Option<&'static Page> {
        PAGES.iter().find(|p| p.code == self)
    }

    /// All pages, in the order of their codes.
    pub fn pages() -> &'static [Page] {
        PAGES
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Code::find(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown code `{name}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_complete_and_in_order() {
        for page in PAGES {
            assert!(page.text.starts_with(&format!("# {}: ", page.code)), "{}: the title line", page.code);
            let from_text = ["E01", "E02", "E03"].iter().any(|c| page.code.as_str().starts_with(c));
            assert!(!from_text || page.example().is_some(), "{}: an example", page.code);
        }
        assert!(PAGES.is_sorted_by_key(|p| p.code));
    }
}
