//! HTTP where a request should be. A browser can be made to send one anywhere, with lines in its body that are requests
//! of either protocol, so both scanners stop at what every such request begins with.

/// Whether `word`, at the front of a line, is one that no client of ours sends and a browser cannot leave out: `POST`
/// begins a request with a body of any page's choice, and `Host:` comes before that body whatever the method is.
#[cold]
pub(crate) fn is_http(word: &[u8]) -> bool {
    [&b"POST"[..], b"Host:"].iter().any(|name| name.eq_ignore_ascii_case(word))
}
