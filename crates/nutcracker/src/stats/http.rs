//! The little of HTTP that the stats port speaks. Most of its readers speak none, so the first question is which kind
//! this one is.

use std::fmt::Write;

use super::{Export, metrics};

/// A longer request than this is answered without reading on.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// The way out for whoever guessed wrong.
const NO_SUCH_PAGE: &str = "no such page; there are / and /metrics\n";

/// Who is at the other end, from the first bytes received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It may become a request.
    Incomplete,
    /// No request: the reader wants the document alone.
    Plain,
    /// A whole request.
    Http(Request),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    method: Method,
    page: Page,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Head,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Stats,
    Metrics,
    Unknown,
}

/// Judges all that was received so far.
pub(super) fn opening(received: &[u8]) -> Opening {
    let Some((method, rest)) = method(received) else {
        let may_become = [&b"GET "[..], b"HEAD "].iter().any(|word| word.starts_with(received));
        return if may_become { Opening::Incomplete } else { Opening::Plain };
    };
    let too_long = received.len() > REQUEST_BYTES_MAX;
    let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
        return if too_long { Opening::Plain } else { Opening::Incomplete };
    };
    let line = rest[..end].trim_ascii();
    let Some(space) = line.iter().position(|&byte| byte == b' ') else { return Opening::Plain };
    let (target, version) = (&line[..space], line[space..].trim_ascii());
    if !version.starts_with(b"HTTP/") {
        return Opening::Plain;
    }
    if !too_long && !has_empty_line(&rest[end..]) {
        return Opening::Incomplete;
    }
    Opening::Http(Request { method, page: page(target) })
}

fn method(received: &[u8]) -> Option<(Method, &[u8])> {
    let get = received.strip_prefix(b"GET ").map(|rest| (Method::Get, rest));
    get.or_else(|| received.strip_prefix(b"HEAD ").map(|rest| (Method::Head, rest)))
}

fn has_empty_line(lines: &[u8]) -> bool {
    lines.windows(2).any(|pair| pair == b"\n\n") || lines.windows(3).any(|three| three == b"\n\r\n")
}

fn page(target: &[u8]) -> Page {
    let path = target.split(|&byte| byte == b'?').next().unwrap_or(target);
    match path {
        b"/" | b"/stats" => Page::Stats,
        b"/metrics" => Page::Metrics,
        _ => Page::Unknown,
    }
}

/// The whole answer, with the counts as `export` gives them.
pub(super) fn response(request: Request, export: impl Fn(Export) -> String) -> String {
    let (status, content_type, body) = match request.page {
        Page::Stats => ("200 OK", "application/json", export(Export::Document)),
        Page::Metrics => ("200 OK", metrics::CONTENT_TYPE, export(Export::Metrics)),
        Page::Unknown => ("404 Not Found", "text/plain", NO_SUCH_PAGE.to_owned()),
    };
    let mut text = String::with_capacity(body.len() + 128);
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if request.method == Method::Get {
        text.push_str(&body);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"GET /stats?x=1 HTTP/1.1\r\nHost: x\r\n\r\n";

    fn page_of(request: &[u8]) -> Option<Page> {
        match opening(request) {
            Opening::Http(request) => Some(request.page),
            Opening::Incomplete | Opening::Plain => None,
        }
    }

    #[test]
    fn no_part_of_a_request_is_taken_for_anything_else() {
        for length in 0..WHOLE.len() {
            assert_eq!(opening(&WHOLE[..length]), Opening::Incomplete, "{length} bytes");
        }
        assert_eq!(page_of(WHOLE), Some(Page::Stats));
    }

    #[test]
    fn a_request_without_headers_or_carriage_returns_is_whole() {
        for request in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"HEAD / HTTP/1.1\n\n"] {
            assert_eq!(page_of(request), Some(Page::Stats));
        }
    }

    #[test]
    fn only_three_paths_are_known() {
        for (target, page) in [
            ("/", Page::Stats),
            ("/?", Page::Stats),
            ("/stats", Page::Stats),
            ("/metrics", Page::Metrics),
            ("/metrics?name[]=x", Page::Metrics),
            ("/stats/", Page::Unknown),
            ("/metric", Page::Unknown),
            ("//", Page::Unknown),
            ("*", Page::Unknown),
        ] {
            assert_eq!(page_of(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes()), Some(page));
        }
    }

    #[test]
    fn what_is_no_request_is_plain() {
        for bytes in
            [&b"x"[..], b"get / HTTP/1.1\r\n\r\n", b"GET /\r\n", b"GET / FTP/1\r\n", b"HEADER"]
        {
            assert_eq!(opening(bytes), Opening::Plain, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_endless_request_is_not_waited_for() {
        let line = [&b"GET /"[..], &[b'x'; REQUEST_BYTES_MAX]].concat();
        assert_eq!(opening(&line), Opening::Plain);
        let headers = [&b"GET / HTTP/1.1\r\n"[..], &[b'x'; REQUEST_BYTES_MAX]].concat();
        assert_eq!(page_of(&headers), Some(Page::Stats));
    }
}
