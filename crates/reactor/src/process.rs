//! The two calls about the process itself that need `unsafe`: fork, and handing freed memory back to the system.
//!
//! They have nothing to do with the loop; they live here because this is the only crate that may hold `unsafe`.

use std::io;

/// The side of [`fork`] the caller is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The original process.
    Parent {
        /// Process id of the new process.
        child: u32,
    },
    /// The new process.
    Child,
}

/// Splits the process in two, each going on from here with its own copy of memory and the same open files.
///
/// # Errors
/// Those of fork(2), and [`io::ErrorKind::Unsupported`] when the process has more than one thread: only the calling
/// one would exist in the child, with whatever the others held left locked for ever.
pub fn fork() -> io::Result<Fork> {
    if !single_threaded() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "cannot fork once threads are running",
        ));
    }
    // SAFETY: the process has a single thread, checked above, so no lock can be held by a thread that vanishes in the
    // child, and the child may go on to do everything the parent could.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent { child: child.unsigned_abs() }),
    }
}

/// Hands memory that was freed but is still held by the allocator back to the system. Takes milliseconds on a large
/// heap and locks the allocator meanwhile, so it belongs after a spike, not into a loop.
pub fn release_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim has no precondition; it only unmaps pages that no allocation uses.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Keeps the allocator from holding on to what is freed. By itself the GNU C library raises these bounds to what it has
/// seen, up to 64 MiB on top of each thread's heap, which [`release_free_memory`] cannot reach. To be called before
/// threads start; where it is refused, memory comes back later, that is all.
pub fn bound_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, bytes) in [(libc::M_MMAP_THRESHOLD, 4 << 20), (libc::M_TRIM_THRESHOLD, 8 << 20)]
    {
        // SAFETY: mallopt takes any two numbers and refuses what it does not know.
        unsafe {
            libc::mallopt(parameter, bytes);
        }
    }
}

#[cfg(target_os = "linux")]
fn single_threaded() -> bool {
    // Without /proc (a bare chroot) the count is unknown; the one caller forks first thing, before any thread.
    std::fs::read_dir("/proc/self/task").map_or(true, |tasks| tasks.count() == 1)
}

#[cfg(not(target_os = "linux"))]
fn single_threaded() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn fork_is_refused_while_another_thread_exists() {
        let refused = std::thread::spawn(|| fork().map_err(|error| error.kind())).join().unwrap();
        assert_eq!(refused, Err(io::ErrorKind::Unsupported));
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn freed_memory_goes_back_to_the_system() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        // Blocks below the allocator's mmap threshold, with one survivor on top that pins the heap's end.
        let blocks: Vec<Vec<u8>> = (0..4096).map(|i| vec![i as u8; 16 * 1024]).collect();
        let survivor = vec![1_u8; 16 * 1024];
        drop(blocks);
        let before = resident();
        release_free_memory();
        assert!(resident() + (32 << 20) < before, "{before} -> {}", resident());
        drop(survivor);
    }
}
