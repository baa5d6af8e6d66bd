//! What the tests of the whole house share: where the repository is, which files belong to it, the pages that are generated, and the code in pages.

pub mod book;
pub mod fences;
pub mod house;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
///
/// # Panics
/// If the tests were built outside a repository.
pub fn root() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().expect("the tests are a member of a workspace").to_path_buf()
}

/// Every file that belongs to the repository, tracked or about to be, as paths relative to [`root`] with `/` between
/// their parts, in order.
///
/// # Panics
/// If `git` cannot list them.
pub fn files() -> Vec<String> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .expect("`git ls-files` runs");
    assert!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
    let mut files: Vec<String> = String::from_utf8(listing.stdout)
        .expect("paths are UTF-8")
        .split_terminator('\0')
        .map(str::to_owned)
        .filter(|path| root().join(path).exists())
        .collect();
    files.sort();
    files.dedup();
    files
}

/// The text of a file of the repository; `None` where it is not UTF-8 text.
pub fn text(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}
