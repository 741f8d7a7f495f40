//! The binary protocol, which the proxy does not speak: a client that tries it is told so in it.

const REQUEST_MAGIC: u8 = 0x80;
const RESPONSE_MAGIC: u8 = 0x81;
/// Status of a response: not supported.
const NOT_SUPPORTED: u16 = 0x83;
const TEXT: &str =
    "this proxy speaks the text and meta protocols only: switch the client to the text protocol";

/// Whether a request that begins with `first` is one of the binary protocol.
#[inline]
pub(super) const fn is_magic(first: u8) -> bool {
    first == REQUEST_MAGIC
}

/// Appends an error response: the opcode and the opaque of the request where `received`, its
/// beginning, reaches so far, and a text about what to do.
pub fn refusal(received: &[u8], out: &mut Vec<u8>) {
    let opcode = received.get(1).copied().unwrap_or_default();
    let opaque = received.get(12..16).unwrap_or(&[0; 4]);
    let body_len = u32::try_from(TEXT.len()).unwrap_or_default();
    // Magic, opcode, key length, extras length, data type, status, body length, opaque, CAS.
    out.extend_from_slice(&[RESPONSE_MAGIC, opcode, 0, 0, 0, 0]);
    out.extend_from_slice(&NOT_SUPPORTED.to_be_bytes());
    out.extend_from_slice(&body_len.to_be_bytes());
    out.extend_from_slice(opaque);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(TEXT.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{TEXT, refusal};

    #[test]
    fn a_refusal_is_a_response_to_its_request() {
        let mut out = b"kept".to_vec();
        refusal(b"\x80\x0a\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04\0\0\0\0\0\0\0\0", &mut out);
        let header = b"kept\x81\x0a\0\0\0\0\0\x83\0\0\0\x5a\x01\x02\x03\x04\0\0\0\0\0\0\0\0";
        assert_eq!(out, [header, TEXT.as_bytes()].concat());
    }

    #[test]
    fn what_of_the_request_has_not_arrived_is_zero_in_its_refusal() {
        for received in [&b"\x80"[..], b"\x80\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x03"] {
            let mut out = Vec::new();
            refusal(received, &mut out);
            assert_eq!(out[..2], *b"\x81\0");
            assert_eq!(out[12..16], [0; 4]);
        }
    }
}
