//! What can be told of a file without reading it, and when a change of it has come to rest.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How often a watched file is looked at.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// A file at a moment, links followed: another file in its place or another content makes another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds of the last change of content, and of anything.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    /// The state of the file at `path`; `None` where there is none to be seen.
    pub(super) fn of(path: &Path) -> Option<FileState> {
        let found = fs::metadata(path).ok()?;
        Some(FileState {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    /// Whether it has been as it is for longer than `pause`.
    pub(super) fn is_older_than(&self, pause: Duration) -> bool {
        let (seconds, nanos) = self.modified.max(self.changed);
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
            return true;
        };
        let at = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        // What is from the future may be of this moment.
        SystemTime::now().duration_since(at).is_ok_and(|age| age > pause)
    }
}

/// Looks at a file now and then.
#[derive(Debug)]
pub(super) struct Watch {
    path: PathBuf,
    /// The state that was read last.
    read: Option<FileState>,
    /// Another one, seen at the last look.
    seen: Option<FileState>,
    next_look: Instant,
}

impl Watch {
    /// Of the file at `path`, whose state was this when it was read.
    pub(super) fn new(path: &Path, read: Option<FileState>) -> Watch {
        let next_look = Instant::now() + LOOK_PAUSE;
        Watch { path: path.to_owned(), read, seen: None, next_look }
    }

    /// The file was read, in this state.
    pub(super) fn note_read(&mut self, state: Option<FileState>) {
        self.read = state;
        self.seen = None;
    }

    /// Whether the file is another one than was read and has been the same for two looks. A file that is missing may be
    /// about to be replaced.
    pub(super) fn has_changed(&mut self, now: Instant) -> bool {
        if now < self.next_look {
            return false;
        }
        self.next_look = now + LOOK_PAUSE;
        let state = FileState::of(&self.path);
        let is_other = state.is_some() && state != self.read;
        let rests = is_other && state == self.seen;
        self.seen = if is_other { state } else { None };
        rests
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Whether each of some looks, a while apart, finds a change; `before` is done before each.
    fn looks(watch: &mut Watch, count: u32, mut before: impl FnMut(u32)) -> Vec<bool> {
        let look = |n| {
            before(n);
            watch.has_changed(watch.next_look)
        };
        (0..count).map(look).collect()
    }

    #[test]
    fn a_change_is_told_when_it_has_come_to_rest_and_once_it_was_read_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "a").unwrap();
        let mut watch = Watch::new(&path, FileState::of(&path));
        assert_eq!(looks(&mut watch, 2, |_| {}), [false, false]);
        let write = |n: u32| {
            if n < 3 {
                fs::write(&path, "b".repeat(n as usize + 2)).unwrap();
            }
        };
        assert_eq!(looks(&mut watch, 5, write), [false, false, false, true, true]);
        watch.note_read(FileState::of(&path));
        assert_eq!(looks(&mut watch, 2, |_| {}), [false, false]);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_a_change_and_a_missing_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let [path, one, other] = ["link", "one", "other"].map(|name| folder.path().join(name));
        fs::write(&one, "a").unwrap();
        fs::write(&other, "a").unwrap();
        symlink(&one, &path).unwrap();
        let mut watch = Watch::new(&path, FileState::of(&path));
        fs::remove_file(&path).unwrap();
        assert_eq!(looks(&mut watch, 3, |_| {}), [false, false, false]);
        symlink(&other, &path).unwrap();
        assert_eq!(looks(&mut watch, 2, |_| {}), [false, true]);
    }

    #[test]
    fn the_age_of_a_file_is_that_of_its_last_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "a").unwrap();
        let state = FileState::of(&path).unwrap();
        assert!(!state.is_older_than(Duration::from_secs(600)));
        let old = FileState { modified: (1, 0), changed: (1, 0), ..state };
        assert!(old.is_older_than(Duration::from_secs(600)));
    }
}
