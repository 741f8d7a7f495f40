//! Writes RESP: every function appends one element, or the header of one, to `out`.

/// `*n\r\n`: an array of `n` elements follows.
#[inline]
pub fn array_header(out: &mut Vec<u8>, n: usize) {
    out.push(b'*');
    decimal(out, n as u64);
    out.extend_from_slice(b"\r\n");
}

/// `$len\r\n`: `len` bytes and CR LF follow.
#[inline]
pub fn bulk_header(out: &mut Vec<u8>, len: usize) {
    out.push(b'$');
    decimal(out, len as u64);
    out.extend_from_slice(b"\r\n");
}

/// A whole bulk string.
#[inline]
pub fn bulk(out: &mut Vec<u8>, payload: &[u8]) {
    bulk_header(out, payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// The null bulk of RESP2, `$-1\r\n`.
pub fn null_bulk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"$-1\r\n");
}

/// `:value\r\n`.
#[inline]
pub fn integer(out: &mut Vec<u8>, value: i64) {
    out.push(b':');
    if value < 0 {
        out.push(b'-');
    }
    decimal(out, value.unsigned_abs());
    out.extend_from_slice(b"\r\n");
}

/// `+text\r\n`. CR and LF in `text` become blanks: they would end the reply early.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    line(out, b'+', text);
}

/// `-text\r\n`, where `text` begins with the error's code (`ERR …`). CR and LF become blanks.
pub fn error(out: &mut Vec<u8>, text: &str) {
    line(out, b'-', text);
}

fn line(out: &mut Vec<u8>, mark: u8, text: &str) {
    out.push(mark);
    out.extend(text.bytes().map(on_one_line));
    out.extend_from_slice(b"\r\n");
}

/// A byte as it may appear inside a one-line reply.
pub(super) fn on_one_line(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
}

/// The digits of `value`, without leading zeros.
#[inline]
pub fn decimal(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0'.wrapping_add(value as u8));
        return;
    }
    let mut digits = [0_u8; 20];
    let mut rest = value;
    let mut unused = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((rest % 10) as u8);
        rest /= 10;
        unused = unused.saturating_sub(1);
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(unused..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::{array_header, bulk, decimal, error, integer, null_bulk, simple};

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("only text is written here")
    }

    #[test]
    fn numbers_are_written_as_the_standard_library_writes_them() {
        let powers = (0..20).map(|exponent| 10_u64.pow(exponent));
        for n in powers.flat_map(|p| [p - 1, p, p + 1]).chain([u64::MAX, u64::MAX - 1]) {
            assert_eq!(written(|out| decimal(out, n)), n.to_string());
        }
        for n in [0, 1, -1, 42, i64::MAX, i64::MIN] {
            assert_eq!(written(|out| integer(out, n)), format!(":{n}\r\n"));
        }
    }

    #[test]
    fn elements_are_framed() {
        assert_eq!(written(|out| array_header(out, 12)), "*12\r\n");
        assert_eq!(written(|out| bulk(out, b"")), "$0\r\n\r\n");
        assert_eq!(written(|out| bulk(out, b"a\r\nb")), "$4\r\na\r\nb\r\n");
        assert_eq!(written(null_bulk), "$-1\r\n");
        assert_eq!(written(|out| simple(out, "OK")), "+OK\r\n");
    }

    #[test]
    fn a_line_end_inside_an_error_cannot_end_the_reply() {
        assert_eq!(written(|out| error(out, "ERR a\r\n+OK")), "-ERR a  +OK\r\n");
    }
}
