//! System errors as the number the system gave: small, comparable and free of text, which is the business of whoever
//! reports them.
#![forbid(unsafe_code)]

use std::io;

/// An operating system error number, as in `errno.h` of this platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// The number.
    #[must_use]
    pub fn raw(self) -> i32 {
        self.0
    }
}

/// Errors that carry no number (made up by a library, not reported by the system) become `EIO`.
impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        Errno::from(&error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::Errno;

    #[test]
    fn the_systems_number_survives_the_way_through_an_io_error() {
        let errno = Errno::from(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        assert_eq!(errno.raw(), libc::ECONNREFUSED);
    }

    #[test]
    fn an_error_without_a_number_is_an_input_output_error() {
        assert_eq!(Errno::from(io::Error::other("made up")), Errno(libc::EIO));
    }
}
