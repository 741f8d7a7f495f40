//! The shape of one line: time stamp, place in the source, message. Apart because it is pure but for the clock.

use std::fmt::Write as _;

use jiff::Zoned;

/// Longest line with its line end. COMPAT: 0.5 cuts at 256 bytes, which loses the end of many of its own messages.
pub(super) const LINE_BYTES_MAX: usize = 4096;

/// `[YYYY-MM-DD HH:MM:SS.mmm] file.rs:12 message` in local time, with its line end.
pub(super) fn stamped(file: &str, line: u32, message: &str) -> Vec<u8> {
    let now = Zoned::now();
    bounded(
        format!("[{}] {}:{line} ", now.strftime("%Y-%m-%d %H:%M:%S%.3f"), short_name(file)),
        message,
    )
}

/// The same with 23 dots for the time and no place.
pub(super) fn signal(message: &str) -> Vec<u8> {
    bounded(format!("[{}] ", ".".repeat(23)), message)
}

/// The file's own name; a module's root file keeps its directory, as all of them are called the same.
fn short_name(file: &str) -> &str {
    let own_name = |path: &str| path.rfind('/').map_or(0, |slash| slash + 1);
    let start = own_name(file);
    match &file[start..] {
        "mod.rs" if start > 0 => &file[own_name(&file[..start - 1])..],
        name => name,
    }
}

/// Appends the message and the line end within [`LINE_BYTES_MAX`]. Control characters are escaped: a message may quote
/// a peer, and nobody but us begins a line in the log.
fn bounded(mut line: String, message: &str) -> Vec<u8> {
    for character in message.chars() {
        let start = line.len();
        if character.is_control() {
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
        if line.len() >= LINE_BYTES_MAX {
            line.truncate(start);
            break;
        }
    }
    line.push('\n');
    line.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_local_time_place_and_message() {
        let month = || Zoned::now().strftime("[%Y-%m-").to_string();
        let before = month();
        let line = String::from_utf8(stamped("crates/x/src/worker.rs", 12, "hello")).unwrap();
        let (stamp, rest) = line.split_at(26);
        assert_eq!(rest, "worker.rs:12 hello\n");
        let shape: String =
            stamp.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(shape, "[9999-99-99 99:99:99.999] ");
        assert!(
            stamp.starts_with(&before) || stamp.starts_with(&month()),
            "{stamp} is not of {before}"
        );
    }

    #[test]
    fn a_signal_line_has_dots_for_the_time() {
        assert_eq!(signal("up log level to 6"), b"[.......................] up log level to 6\n");
    }

    #[test]
    fn a_module_root_is_named_with_its_directory() {
        assert_eq!(short_name("crates/nutcracker/src/control/mod.rs"), "control/mod.rs");
        assert_eq!(short_name("src/app.rs"), "app.rs");
        assert_eq!(short_name("app.rs"), "app.rs");
        assert_eq!(short_name("mod.rs"), "mod.rs");
    }

    #[test]
    fn control_characters_cannot_forge_a_line() {
        assert_eq!(
            signal("'a\r\n[b\u{7}é'"),
            "[.......................] 'a\\r\\n[b\\u{7}é'\n".as_bytes()
        );
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_keeps_its_end() {
        for padding in 0..4 {
            let line = signal(&format!("{}{}", "x".repeat(padding), "é".repeat(LINE_BYTES_MAX)));
            assert!(
                line.len() <= LINE_BYTES_MAX && line.len() >= LINE_BYTES_MAX - 1,
                "{}",
                line.len()
            );
            assert!(String::from_utf8(line).unwrap().ends_with("é\n"));
        }
    }
}
