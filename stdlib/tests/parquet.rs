//! Parquet files as published datasets are written (`tests/conformance/parquet`, made by pyarrow), whole and damaged.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};

use evo_kernels::rng::Stream;
use evo_stdlib::data::{At, Cell, Data, DataError, jsonl, parquet};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance/parquet")
}

fn rows(columns: &[&str]) -> Data {
    let text = fs::read(folder().join("rows.jsonl")).unwrap();
    jsonl(&text[..], "rows.jsonl", columns, usize::MAX).unwrap()
}

#[test]
fn every_codec_and_page_version_holds_the_rows() {
    for name in ["none", "snappy", "gzip", "zstd", "v2"] {
        let path = folder().join(format!("rows.{name}.parquet"));
        assert_eq!(parquet(&path, &[], usize::MAX).unwrap(), rows(&[]), "{name}");
        let some = parquet(&path, &["answer", "question"], 30).unwrap();
        assert_eq!(some, rows(&["answer", "question"]).first(30), "{name}");
    }
    let first = parquet(&folder().join("rows.zstd.parquet"), &["choices", "short"], 1).unwrap();
    assert_eq!(first.rows()[0].cells(), [Cell::List(["0".into(), "0".into()].into()), Cell::Real(0.1)]);
}

#[test]
fn what_a_table_cannot_hold_is_refused_where_it_is_asked_for() {
    let read = |column: &str, limit| parquet(&folder().join("nested.parquet"), &[column], limit);
    assert_eq!(read("question", 1).unwrap().len(), 1);
    for (column, row, what) in [
        ("question", 2, "null"),
        ("numbers", 1, "a list of what is no text and no message"),
        ("struct", 1, "an object"),
        ("bytes", 1, "bytes"),
    ] {
        match read(column, 9) {
            Err(DataError::NotScalar { at: At::Row(at), found, .. }) => assert_eq!((at, found), (row, what)),
            other => panic!("{column}: {other:?}"),
        }
    }
    match read("qestion", 1) {
        Err(DataError::MissingColumn { suggestion, .. }) => assert_eq!(suggestion.as_deref(), Some("question")),
        other => panic!("{other:?}"),
    }
    let brotli = parquet(&folder().join("rows.brotli.parquet"), &[], 1).unwrap_err();
    assert!(matches!(brotli, DataError::BadParquet { .. }), "{brotli}");
    let missing = parquet(&folder().join("rows.parquet"), &[], 1);
    assert!(matches!(missing, Err(DataError::Unreadable { .. })));
}

/// Every cut, and thousands of changed bytes: an answer or an error, whatever the footer says.
#[test]
fn damaged_files_are_errors() {
    std::panic::set_hook(Box::new(|_| {})); // the reader's own panics are caught, and told as errors
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("damaged.parquet");
    let mut refused = 0;
    for name in ["snappy", "v2"] {
        let whole = fs::read(folder().join(format!("rows.{name}.parquet"))).unwrap();
        for cut in (0..whole.len()).step_by(whole.len() / 40) {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(parquet(&path, &[], usize::MAX).is_err(), "{name} cut at {cut}");
        }
        for i in 0..600 {
            let stream = Stream::from_seed(7).child(name).at(i);
            let mut bytes = whole.clone();
            for change in 0..=i % 4 {
                let at = stream.below(2 * change, bytes.len() as u64) as usize;
                bytes[at] = stream.below(2 * change + 1, 256) as u8;
            }
            fs::write(&path, &bytes).unwrap();
            refused += usize::from(parquet(&path, &[], usize::MAX).is_err());
        }
        // A footer that lies about its own length.
        for length in [0_u32, 1, 0x7FFF_FFFF, u32::MAX] {
            let mut bytes = whole.clone();
            let at = bytes.len() - 8;
            bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
            fs::write(&path, &bytes).unwrap();
            assert!(parquet(&path, &[], 3).is_err());
        }
    }
    assert!(refused > 300, "{refused}");
}
