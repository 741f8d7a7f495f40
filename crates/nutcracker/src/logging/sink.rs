//! Where lines go: standard error, or a file that can be opened again under its name. Apart to keep system calls out
//! of the rest.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a reader of the log, at the other end of a pipe, may take to make room for a line. One that has stopped
/// reading costs this once, and the lines until it reads again.
const PATIENCE_NS: i64 = 200_000_000;

/// A pipe that is ready takes so many bytes at once without waiting.
const PIECE_BYTES: usize = 4096;

/// The output of the log.
#[derive(Debug)]
pub(super) struct Sink {
    target: Target,
    /// The last line found no room.
    is_stuck: bool,
}

#[derive(Debug)]
enum Target {
    Stderr,
    File { path: PathBuf, file: File },
}

impl Sink {
    /// Standard error for `None`.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Sink> {
        let target = match path {
            None => Target::Stderr,
            Some(path) => Target::File { path: path.into(), file: open_file(path)? },
        };
        Ok(Sink { target, is_stuck: false })
    }

    /// The file's name; `None` for standard error.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.target {
            Target::Stderr => None,
            Target::File { path, .. } => Some(path),
        }
    }

    /// Opens the file again; on failure the old one stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Target::File { path, file } = &mut self.target {
            *file = open_file(path)?;
        }
        Ok(())
    }

    /// Writes a line, with a single call unless it is very long. A log that cannot be written must not stop the proxy:
    /// errors are ignored, and so is the line if there is no room for it.
    pub(super) fn write(&mut self, line: &[u8]) {
        for piece in line.chunks(PIECE_BYTES) {
            self.is_stuck = !self.waits_for_room();
            if self.is_stuck {
                return;
            }
            let mut write_once = || match &mut self.target {
                Target::Stderr => io::stderr().write(piece),
                Target::File { file, .. } => file.write(piece),
            };
            while write_once().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {}
        }
    }

    /// Whether there is room for a piece, at once or soon.
    fn waits_for_room(&self) -> bool {
        let tv_nsec = if self.is_stuck { 0 } else { PATIENCE_NS };
        let timeout = Timespec { tv_sec: 0, tv_nsec };
        let stderr = io::stderr();
        let output = match &self.target {
            Target::Stderr => stderr.as_fd(),
            Target::File { file, .. } => file.as_fd(),
        };
        let mut watched = [PollFd::from_borrowed_fd(output, PollFlags::OUT)];
        // What cannot be watched is written to.
        !matches!(poll(&mut watched, Some(&timeout)), Ok(0))
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_reader_that_stops_reading_costs_lines_and_nothing_else() {
        let (mut reader, writer) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(writer));
        let mut sink =
            Sink { target: Target::File { path: PathBuf::new(), file }, is_stuck: false };
        // More than any pipe holds: without care for that this never ends.
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        for _ in 0..4_000 {
            sink.write(&line);
        }
        assert!(sink.is_stuck);
        let mut taken = vec![0; 60_000];
        reader.read_exact(&mut taken).unwrap();
        sink.write(b"heard again\n");
        drop(sink);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("x\nheard again\n"), "{rest}");
    }
}
