//! Mapping files into memory: the only unsafe operation of this family.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps `file` read-only. The caller keeps the promise that nothing shortens or rewrites the file while it is mapped.
#[expect(unsafe_code, reason = "a mapping is as safe as the file is stable; no safe interface can promise that")]
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: model files are replaced by renaming, never rewritten in place, by everything in this workspace; the data are
    // read as plain numbers, of which every bit pattern is valid.
    unsafe { Mmap::map(file) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    #[test]
    fn a_map_shows_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"weights").unwrap();
        assert_eq!(&super::map(&file).unwrap()[..], b"weights");
    }
}
