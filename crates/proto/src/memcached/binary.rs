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
