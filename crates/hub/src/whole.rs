//! Files and links that appear under their name at once or not at all, but for a power cut: nothing waits for the disk.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Calls `make` with a name beside `path` that nobody else uses, and gives what it made the name `path`, in place of what has it.
/// Nothing is left behind when it fails; a process that is killed meanwhile leaves a hidden `.part`.
pub(crate) fn appear(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let fresh = path.with_file_name(fresh_name());
    let made = make(&fresh).and_then(|()| fs::rename(&fresh, path));
    if made.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&fresh);
    }
    made
}

/// Threads of a process have the count, processes of a machine the id, containers that share a folder the time.
fn fresh_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(".{}-{now}-{count}.part", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_write_the_same_name_at_once_all_succeed_and_leave_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("main");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        appear(&path, |fresh| fs::write(fresh, "1234567")).expect("written");
                    }
                });
            }
        });
        assert_eq!(crate::cache::names(folder.path()), ["main"]);
        assert_eq!(fs::read_to_string(&path).expect("read"), "1234567");
    }

    #[test]
    fn a_failure_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("main");
        fs::write(&path, "before").expect("written");
        let cut = appear(&path, |fresh| fs::write(fresh, "aft").and(Err(io::ErrorKind::StorageFull.into())));
        assert_eq!(cut.expect_err("full").kind(), io::ErrorKind::StorageFull);
        assert_eq!(crate::cache::names(folder.path()), ["main"]);
        assert_eq!(fs::read_to_string(&path).expect("read"), "before");
    }
}
