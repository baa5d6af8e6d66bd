//! What of the environment a worker sees: an allow list, so that keys and other secrets never reach it, whatever their
//! names are.

use std::ffi::OsString;

/// Where programs, libraries and temporary files are, which language and time zone to use, which devices and how
/// many threads to take. Not `RUST_BACKTRACE`: a panic for want of memory would ask for more to print its way, and wait for ever.
const ALLOWED: &[&str] = &[
    "CUDA_VISIBLE_DEVICES",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "RAYON_NUM_THREADS",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "TZ",
];

/// The variables of this process that a worker may see.
pub(crate) fn allowed() -> Vec<(OsString, OsString)> {
    chosen(std::env::vars_os())
}

fn chosen(vars: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    vars.filter(|(name, _)| name.to_str().is_some_and(|name| ALLOWED.contains(&name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_passes() {
        let vars =
            ["PATH", "OPENAI_API_KEY", "EVO_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "LD_PRELOAD", "TZ", "path"];
        let seen = chosen(vars.iter().map(|name| ((*name).into(), "x".into())));
        assert_eq!(seen.iter().map(|(name, _)| name.to_str().unwrap()).collect::<Vec<_>>(), ["PATH", "TZ"]);
    }
}
