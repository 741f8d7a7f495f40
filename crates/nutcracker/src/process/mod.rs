//! What a process is to its system: pid file, detachment, limits, service manager. Knows nothing of proxying.

pub mod daemon;
pub mod limits;
pub mod notify;
pub mod pid_file;

use std::io::{self, Write};

/// The words of the system alone, without what the standard library puts around them: the "(os error N)" that operators
/// cannot use, and what is said before the reason why a name has no address.
#[must_use]
pub fn os_error_text(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    match words.rfind(" (os error ") {
        Some(end) if error.raw_os_error().is_some() => words[..end].to_owned(),
        _ => words.to_owned(),
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
    use std::net::ToSocketAddrs;

    use super::*;

    #[test]
    fn a_system_error_is_shown_by_its_words() {
        assert_eq!(os_error_text(&io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(os_error_text(&io::Error::other("own words")), "own words");
    }

    #[test]
    fn a_name_without_an_address_is_told_by_the_words_of_the_resolver() {
        let error = "no.such.name.invalid:1".to_socket_addrs().expect_err("reserved for that");
        let text = os_error_text(&error);
        assert!(!text.is_empty() && !text.contains("lookup"), "{text}");
    }
}
