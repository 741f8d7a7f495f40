//! Where lines go: standard error, or a file that can be opened again under its name. Apart to keep system calls out
//! of the rest.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The output of the log.
#[derive(Debug)]
pub(super) enum Sink {
    Stderr,
    File { path: PathBuf, file: File },
}

impl Sink {
    /// Standard error for `None`.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Sink> {
        match path {
            None => Ok(Sink::Stderr),
            Some(path) => Ok(Sink::File { path: path.into(), file: open_file(path)? }),
        }
    }

    /// The file's name; `None` for standard error.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Sink::Stderr => None,
            Sink::File { path, .. } => Some(path),
        }
    }

    /// Opens the file again; on failure the old one stays.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Sink::File { path, file } = self {
            *file = open_file(path)?;
        }
        Ok(())
    }

    /// Writes a line with a single call. A log that cannot be written must not stop the proxy: errors are ignored.
    pub(super) fn write(&mut self, line: &[u8]) {
        let mut write_once = || match self {
            Sink::Stderr => io::stderr().write(line),
            Sink::File { file, .. } => file.write(line),
        };
        while write_once().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {}
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o644).open(path)
}
