//! What the store promises: whole or not at all, checked on reading, bounded by cleaning.

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn key(n: u64) -> Key {
    Key::of("test", &[&n.to_le_bytes()])
}

fn make_model(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::write(path.join("config.json"), b"{}")?;
    fs::create_dir(path.join("shards"))?;
    fs::write(path.join("shards/one"), vec![7; 100_000])
}

#[test]
fn values_come_back_small_and_large() {
    let (_folder, store) = store();
    assert_eq!(store.get(&key(0)).unwrap(), Found::Absent);
    assert!(!store.has(&key(1)).unwrap());
    for (n, length) in [(1, 0), (2, 5), (3, INLINE), (4, INLINE + 1)] {
        let value = vec![n as u8; length];
        store.put(&key(n), &value).unwrap();
        store.put(&key(n), &value).unwrap();
        assert_eq!(store.get(&key(n)).unwrap(), Found::Value(value));
        assert!(store.has(&key(n)).unwrap());
    }
    assert_eq!(store.size().unwrap(), Size { entries: 4, bytes: 5 + 2 * INLINE as u64 + 1 });
}

#[test]
fn a_directory_is_there_whole_for_another_opener_too() {
    let (folder, store) = store();
    let path = store.put_artifact(&key(1), make_model).unwrap();
    assert_eq!(fs::read(path.join("shards/one")).unwrap().len(), 100_000);
    let other = Store::open(folder.path()).unwrap();
    assert_eq!(other.get(&key(1)).unwrap(), Found::Artifact(path.clone()));
    assert_eq!(other.put_artifact(&key(1), make_model).unwrap(), path);
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_failed_maker_leaves_nothing() {
    let (folder, store) = store();
    let error = store.put_artifact(&key(1), |path| {
        make_model(path)?;
        fs::write("/dev/full", b"x") // the kernel answers "no space left on device"
    });
    assert!(matches!(error, Err(DiskError::Full { .. })), "{error:?}");
    assert_eq!(store.get(&key(1)).unwrap(), Found::Absent);
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path().join("objects")).unwrap().count(), 0);
}

#[test]
fn a_full_index_is_an_error_of_its_own_and_what_was_there_stays() {
    let (_folder, store) = store();
    store.put(&key(0), b"before").unwrap();
    let pages: i64 = store.index().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.index().pragma_update(None, "max_page_count", pages + 1).unwrap();
    let error = (1..200).map(|n| store.put(&key(n), &[1; 4000])).find_map(Result::err).unwrap();
    assert!(matches!(error, DiskError::Full { .. }), "{error:?}");
    assert_eq!(error.code().as_str(), "R0541");
    assert_eq!(store.get(&key(0)).unwrap(), Found::Value(b"before".to_vec()));
}

#[test]
fn what_does_not_match_its_checksum_is_dropped_and_can_be_put_again() {
    let (folder, store) = store();
    store.put(&key(1), b"value").unwrap();
    store.put(&key(2), &vec![2; INLINE + 1]).unwrap();
    let model = store.put_artifact(&key(3), make_model).unwrap();
    drop(store);
    let index = Connection::open(folder.path().join("index.db")).unwrap();
    index.execute("UPDATE entries SET value = x'00' WHERE key = ?1", [key(1).0]).unwrap();
    drop(index);
    let store = Store::open(folder.path()).unwrap();
    fs::write(store.object(&key(2)), b"short").unwrap();
    fs::write(model.join("shards/one"), vec![8; 100_000]).unwrap();
    for n in 1..=3 {
        assert!(matches!(store.get(&key(n)).unwrap(), Found::Damaged(_)), "{n}");
        assert_eq!(store.get(&key(n)).unwrap(), Found::Absent, "{n}");
    }
    store.put_artifact(&key(3), make_model).unwrap();
    assert_eq!(store.get(&key(3)).unwrap(), Found::Artifact(model.clone()));
    fs::remove_dir_all(&model).unwrap();
    let again = Store::open(folder.path()).unwrap();
    assert_eq!(again.get(&key(3)).unwrap(), Found::Damaged(GONE.into()));
}

#[test]
fn a_damaged_index_is_begun_anew() {
    let (folder, store) = store();
    store.put(&key(1), b"value").unwrap();
    drop(store);
    for suffix in ["", "-wal", "-shm"] {
        let path = folder.path().join(format!("index.db{suffix}"));
        if path.exists() {
            fs::write(path, vec![0xa5; 8192]).unwrap();
        }
    }
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.get(&key(1)).unwrap(), Found::Absent);
    store.put(&key(1), b"value").unwrap();
    assert_eq!(store.get(&key(1)).unwrap(), Found::Value(b"value".to_vec()));
}

#[test]
fn what_a_killed_writer_left_is_replaced_and_swept() {
    let (folder, store) = store();
    let orphan = store.object(&key(1));
    fs::create_dir_all(&orphan).unwrap();
    fs::write(orphan.join("half"), b"half").unwrap();
    assert_eq!(store.get(&key(1)).unwrap(), Found::Absent);
    let path = store.put_artifact(&key(1), make_model).unwrap();
    assert!(!path.join("half").exists());
    let other = store.object(&key(2));
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("half"), b"half").unwrap();
    fs::write(folder.path().join("tmp/x.1-2.tmp"), b"123").unwrap();
    drop(store);
    let report = Store::clean(folder.path(), Keep::default()).unwrap().unwrap();
    assert_eq!((report.removed_entries, report.rubbish_bytes), (0, 7));
    assert!(!other.exists() && path.exists());
}

#[test]
fn cleaning_keeps_what_was_used_last_and_never_under_a_run() {
    let (folder, store) = store();
    for n in 0..4 {
        store.put(&key(n), &[0; 100]).unwrap();
        let used = params![key(n).0, clock::now_ms() - (1_000_000 - n as i64)];
        store.index().execute("UPDATE entries SET used = ?2 WHERE key = ?1", used).unwrap();
    }
    store.get(&key(0)).unwrap(); // now it is the one used last
    let bound = Keep { max_bytes: Some(250), ..Keep::default() };
    assert_eq!(Store::clean(folder.path(), bound).unwrap(), None);
    let look = Store::clean(folder.path(), Keep { dry_run: true, ..bound }).unwrap().unwrap();
    assert_eq!((look.entries, look.bytes, look.removed_bytes), (4, 400, 200));
    assert_eq!(store.size().unwrap().entries, 4);
    drop(store);
    assert_eq!(Store::clean(folder.path(), bound).unwrap(), Some(look));
    let store = Store::open(folder.path()).unwrap();
    let there: Vec<u64> = (0..4).filter(|n| store.get(&key(*n)).unwrap() != Found::Absent).collect();
    assert_eq!(there, [0, 3]);
    drop(store);
    let all = Store::clean(folder.path(), Keep { max_bytes: Some(0), ..Keep::default() }).unwrap().unwrap();
    assert_eq!(all.removed_entries, 2);
}

#[test]
fn many_threads_and_openers_make_one_thing() {
    let (folder, _store) = store();
    let paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let spawn = |_| {
            scope.spawn(|| {
                let store = Store::open(folder.path()).unwrap();
                let path = store.put_artifact(&key(9), make_model).unwrap();
                store.put(&key(10), b"same").unwrap();
                assert!(matches!(store.get(&key(9)).unwrap(), Found::Artifact(_)));
                path
            })
        };
        let threads: Vec<_> = (0..8).map(spawn).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(paths.iter().all(|path| *path == paths[0]));
}
