//! What a process is to its system: pid file, detachment, limits, service manager. Knows nothing of proxying.

pub mod daemon;
pub mod limits;
pub mod notify;
pub mod pid_file;

use std::io::{self, Write};

/// The words of a system error alone, without the "(os error N)" that operators cannot use.
#[must_use]
pub fn os_error_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) if error.raw_os_error().is_some() => text[..end].to_owned(),
        _ => text,
    }
}

/// Says one line on standard error, behind the program's name.
pub fn complain(line: &str) {
    tell(&format!("nutcracker: {line}\n"));
}

/// Writes to standard error. Nobody may be reading any more, which is no reason to panic.
pub fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_error_is_shown_by_its_words() {
        assert_eq!(os_error_text(&io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(os_error_text(&io::Error::other("own words")), "own words");
    }
}
