//! Leaving the foreground (`-d`): the start goes on in a process of its own session while the original one waits for
//! its verdict. Apart because of the three processes involved:
//!
//! ```text
//! foreground ── fork ── session leader ── fork ── daemon: binds, serves
//!     │                      └ exits at once         │
//!     └──── waits on the pipe ◄──── one byte: status ┘   (end of file: it died, status 1)
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use reactor::process::{Fork, fork};
use rustix::fs::Mode;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, setsid, umask, waitpid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// The side of [`detach`] the caller is on.
#[derive(Debug)]
pub enum Detached {
    /// The start is over for this process: exit with this status, which is that of the daemon's start.
    Foreground(u8),
    /// This is the daemon; go on, and tell the foreground process the outcome.
    Daemon(Notifier),
}

/// The daemon's line to the foreground process. Dropped without a verdict it means failure.
#[derive(Debug)]
pub struct Notifier {
    pipe: File,
    foreground: u32,
}

/// Goes on in a process that has no terminal, in a session of its own, with umask 0 and the same working directory.
/// Standard input and outputs stay until [`Notifier::ready`], so that errors of the start are seen.
///
/// # Errors
/// Those of the system calls, and threads that are running already.
pub fn detach() -> io::Result<Detached> {
    let foreground = std::process::id();
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    if let Fork::Parent { child } = fork()? {
        drop(writer);
        return Ok(Detached::Foreground(verdict(reader.into(), child)));
    }
    drop(reader);
    setsid()?;
    if let Fork::Parent { .. } = fork()? {
        return Ok(Detached::Foreground(0)); // nobody looks at this one's status
    }
    umask(Mode::empty());
    Ok(Detached::Daemon(Notifier { pipe: writer.into(), foreground }))
}

impl Notifier {
    /// Everything is up: standard input and outputs become `/dev/null`, and the foreground process exits with 0.
    ///
    /// # Errors
    /// `/dev/null` cannot be opened; the foreground process then reports failure.
    pub fn ready(mut self) -> io::Result<()> {
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        dup2_stderr(&null)?;
        // Who started us may have been stopped meanwhile; that changes nothing for the daemon.
        let _ = self.pipe.write_all(&[0]);
        Ok(())
    }

    /// Process id of the foreground process.
    #[must_use]
    pub fn foreground(&self) -> u32 {
        self.foreground
    }
}

fn verdict(mut reader: File, session_leader: u32) -> u8 {
    let mut status = [1];
    let told = reader.read_exact(&mut status);
    if let Some(pid) = i32::try_from(session_leader).ok().and_then(Pid::from_raw) {
        let _ = waitpid(Some(pid), WaitOptions::empty());
    }
    if told.is_ok() { status[0] } else { 1 }
}
