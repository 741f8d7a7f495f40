//! The pid file: held under a lock while the process lives, so that a second instance notices the first one and
//! neither overwrites nor removes its file. Apart because the order of the steps is what makes it safe.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::os_error_text;

/// A pid file of this process. Dropping it removes the file, unless the name has come to mean another one.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Keeps the lock.
    file: File,
}

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another process runs with this pid file.
    #[error(
        "pid file '{}' is held by a running process{}; stop it first or give this one its own file with -p",
        path.display(),
        pid.map_or_else(|| " that wrote no pid".to_owned(), |pid| format!(", pid {pid}"))
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// What it says.
        pid: Option<u32>,
    },
    /// The system refuses.
    #[error(
        "opening pid file '{}' failed: {}; see that its folder exists and lets this user write, or name another file with -p",
        path.display(), os_error_text(cause)
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: io::Error,
    },
}

impl PidFile {
    /// Writes the decimal pid, without a line end, to the file at `path`, created with mode 0644 or truncated.
    ///
    /// A file left behind by a process that is gone is taken over. One that nobody locks but that names a living
    /// process called like this one is respected too: twemproxy 0.5 does not lock. `related` are pids that belong to
    /// this start, such as the foreground process that waits for it.
    ///
    /// # Errors
    /// Another process holds the file, or it cannot be opened, locked or written.
    pub fn create(path: &Path, related: &[u32]) -> Result<PidFile, PidFileError> {
        let io_error = |cause| PidFileError::Io { path: path.into(), cause };
        let mut file = lock(path)?;
        if let Some(pid) = read_pid(&mut file)
            && pid != std::process::id()
            && !related.contains(&pid)
            && is_namesake(pid)
        {
            return Err(PidFileError::Held { path: path.into(), pid: Some(pid) });
        }
        write_pid(&mut file).map_err(io_error)?;
        Ok(PidFile { path: path.into(), file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Removed before the lock goes with the file: who waits for the lock finds that the name is gone, and starts over.
        if self
            .file
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && is_at(&self.path, &metadata))
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens the file and locks it, making sure that it still has its name once the lock is ours.
fn lock(path: &Path) -> Result<File, PidFileError> {
    let io_error = |cause| PidFileError::Io { path: path.into(), cause };
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let mut file = options.open(path).map_err(io_error)?;
        let metadata = file.metadata().map_err(io_error)?;
        if !metadata.is_file() {
            return Ok(file); // /dev/null and the like are nobody's
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_at(path, &metadata) => return Ok(file),
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(PidFileError::Held { path: path.into(), pid: read_pid(&mut file) });
            }
            Err(errno) => return Err(io_error(errno.into())),
        }
    }
}

fn is_at(path: &Path, metadata: &Metadata) -> bool {
    fs::metadata(path)
        .is_ok_and(|found| (found.dev(), found.ino()) == (metadata.dev(), metadata.ino()))
}

fn read_pid(file: &mut File) -> Option<u32> {
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return None;
    }
    let mut text = String::new();
    Read::take(file, 32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
        io::Seek::rewind(file)?;
    }
    file.write_all(std::process::id().to_string().as_bytes())
}

/// Whether a living process has the name of this one. Pids are reused: one that names somebody else's process is stale.
/// Where there is no `/proc` the lock alone decides.
fn is_namesake(pid: u32) -> bool {
    name_of(&pid.to_string()).is_some_and(|name| name_of("self") == Some(name))
}

/// The name of a process; `None` when there is none, or only a dead one that nobody has reaped.
fn name_of(pid: &str) -> Option<String> {
    // pid (name) state …, where the name may hold anything
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, rest) = stat.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    (!rest.starts_with(['Z', 'X'])).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tempfile::TempDir;

    use super::*;

    fn place() -> (TempDir, PathBuf) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("proxy.pid");
        (directory, path)
    }

    #[test]
    fn it_holds_the_pid_without_a_line_end_and_goes_with_its_owner() {
        let (_directory, path) = place();
        let pid_file = PidFile::create(&path, &[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(pid_file);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_holder_is_refused_and_leaves_the_file_alone() {
        let (_directory, path) = place();
        let _first = PidFile::create(&path, &[]).unwrap();
        let refusal = PidFile::create(&path, &[]).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(
            refusal
                .contains(&format!("'{}' is held by a running process, pid {pid}", path.display())),
            "{refusal}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), pid.to_string());
    }

    #[test]
    fn a_stale_file_is_taken_over() {
        let (_directory, path) = place();
        // Longer than any pid written over it, garbage, and the pid of a living process of another name.
        for stale in ["4194305000", "not a pid", "", "1"] {
            fs::write(&path, stale).unwrap();
            let pid_file = PidFile::create(&path, &[]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
            drop(pid_file);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_living_namesake_is_respected_without_a_lock_unless_it_belongs_to_this_start() {
        let (directory, path) = place();
        // A process that carries this one's name: the kernel takes it from the file name.
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let program = directory.path().join(name.trim_end());
        fs::copy("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();
        let pid = child.id();
        fs::write(&path, pid.to_string()).unwrap();
        let refused = PidFile::create(&path, &[]);
        let related = PidFile::create(&path, &[pid]).map(drop);
        child.kill().unwrap();
        let killed = Instant::now();
        while name_of(&pid.to_string()).is_some() {
            assert!(killed.elapsed() < Duration::from_secs(20), "it does not die");
            std::thread::yield_now();
        }
        fs::write(&path, pid.to_string()).unwrap();
        let unreaped = PidFile::create(&path, &[]);
        child.wait().unwrap();
        assert!(
            matches!(refused, Err(PidFileError::Held { pid: Some(named), .. }) if named == pid),
            "{refused:?}"
        );
        assert!(related.is_ok());
        assert!(unreaped.is_ok(), "the process is dead");
    }

    #[test]
    fn a_file_put_in_its_place_is_not_removed() {
        let (_directory, path) = place();
        let pid_file = PidFile::create(&path, &[]).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "1").unwrap();
        drop(pid_file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1");
    }

    #[test]
    fn a_device_is_written_and_stays() {
        let first = PidFile::create(Path::new("/dev/null"), &[]).unwrap();
        drop(PidFile::create(Path::new("/dev/null"), &[]).unwrap());
        drop(first);
        assert!(Path::new("/dev/null").exists());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = PidFile::create(Path::new("/nonexistent/a.pid"), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "opening pid file '/nonexistent/a.pid' failed: No such file or directory; see that its folder exists and lets \
             this user write, or name another file with -p"
        );
    }
}
