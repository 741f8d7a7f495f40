//! The data of the simulated memcached servers: all of it follows from the key, and every request has keys of its own. So
//! most replies tell which request they answer.

use super::wire_format::Request;
use crate::random::mix;
use crate::truth::Token;

/// The `index`-th key of a request, for a value of about `size` bytes: of any bytes if it will be sent in base64, else
/// without blanks and control bytes.
pub(crate) fn key(token: Token, index: usize, size: usize, any_bytes: bool) -> Vec<u8> {
    let mut key = format!("{}:{}:{index}:{size}:", token.client, token.sequence).into_bytes();
    let salt = hash(&key);
    for byte in &salt.to_le_bytes()[..(salt % 8) as usize] {
        let is_plain = *byte > b' ' && *byte != 0x7f;
        key.push(if any_bytes || is_plain { *byte } else { b'.' });
    }
    key
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, byte| mix(hash ^ u64::from(*byte)))
}

/// What is stored under the key that is written as `word`: bytes that look like the protocol.
pub(crate) fn value(word: &[u8], size: usize) -> Vec<u8> {
    let mut value = word.to_vec();
    let mut state = hash(word);
    while value.len() < size {
        state = mix(state.wrapping_add(1));
        match state % 16 {
            0 => value.extend_from_slice(b"\r\n"),
            1 => value.extend_from_slice(b"\r\nEND\r\n"),
            2 => value.extend_from_slice(b"\r\nset a 0 0 1\r\n"),
            _ => value.extend_from_slice(&state.to_le_bytes()),
        }
    }
    value
}

/// The size that is in the key `word`, or at least some size.
fn size_of(word: &[u8]) -> usize {
    let fields: Vec<_> = word.split(|byte| *byte == b':').collect();
    let size = fields.get(3).and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
    size.unwrap_or((hash(word) % 60) as usize)
}

/// Whether the item is there: one in four is not.
fn exists(word: &[u8]) -> bool {
    !hash(word).is_multiple_of(4)
}

fn one_of<'r>(word: &[u8], replies: &[&'r str]) -> &'r str {
    replies[(mix(hash(word)) % replies.len() as u64) as usize]
}

/// What a server answers to a request, whether or not it asks for silence; `None` for one that must not reach a server.
pub(crate) fn answer(request: &Request) -> Option<Vec<u8>> {
    let word = request.words.get(1).map_or(&[][..], Vec::as_slice);
    let line = match request.name() {
        "get" | "gets" => return Some(values(request, 1, |_| false)),
        "gat" | "gats" => return Some(values(request, 2, |_| false)),
        "set" => "STORED",
        "add" | "replace" | "append" | "prepend" => one_of(word, &["STORED", "NOT_STORED"]),
        "cas" => one_of(word, &["STORED", "EXISTS", "NOT_FOUND"]),
        "incr" | "decr" if exists(word) => return Some(format!("{}\r\n", hash(word)).into_bytes()),
        "incr" | "decr" => "NOT_FOUND",
        "touch" => one_of(word, &["TOUCHED", "NOT_FOUND"]),
        "delete" => one_of(word, &["DELETED", "NOT_FOUND"]),
        "mg" if exists(word) => return Some(meta_item(request, &value(word, size_of(word)), "HD")),
        "mg" => return Some(miss(request)),
        "me" if exists(word) => {
            return Some([b"ME ", word, b" exp=-1 la=0 cas=7 fetch=no cls=1 size=63\r\n"].concat());
        }
        "me" => return Some(b"EN\r\n".to_vec()),
        "ma" if exists(word) => {
            return Some(meta_item(request, hash(word).to_string().as_bytes(), "HD"));
        }
        "ma" => return Some(meta_line(request, "NF")),
        "ms" => return Some(meta_line(request, one_of(word, &["HD", "NS", "EX", "NF"]))),
        "md" => return Some(meta_line(request, one_of(word, &["HD", "NF", "EX"]))),
        "version" => "VERSION 1.6.18",
        "flush_all" => "OK",
        _ => return None,
    };
    Some(format!("{line}\r\n").into_bytes())
}

/// The values of the keys from word `first` on, without those that exist but are missed.
pub(crate) fn values(
    request: &Request,
    first: usize,
    is_missed: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    for word in request.words[first..].iter().filter(|word| exists(word) && !is_missed(word)) {
        out.extend(block(word, request.name().ends_with('s')));
    }
    out.extend_from_slice(b"END\r\n");
    out
}

/// One value, with its number for `cas` if that was asked for.
fn block(word: &[u8], has_unique: bool) -> Vec<u8> {
    let value = value(word, size_of(word));
    let flags = hash(word) % 65_536;
    let unique = if has_unique { format!(" {}", mix(hash(word))) } else { String::new() };
    let header = format!(" {flags} {}{unique}\r\n", value.len());
    [b"VALUE ", word, header.as_bytes(), &value, b"\r\n"].concat()
}

/// What `mg` and `me` answer when there is no such item.
pub(crate) fn miss(request: &Request) -> Vec<u8> {
    let mut out = b"EN".to_vec();
    if request.name() == "mg" {
        out.extend(returned(request, "kO"));
    }
    [&out[..], b"\r\n"].concat()
}

/// A line of a status and what was asked to be given back.
fn meta_line(request: &Request, status: &str) -> Vec<u8> {
    [status.as_bytes(), &returned(request, "kO"), b"\r\n"].concat()
}

/// An item with its value, if flag `v` asks for that.
fn meta_item(request: &Request, value: &[u8], status: &str) -> Vec<u8> {
    let returned = returned(request, "kOts");
    match request.words.iter().skip(2).any(|word| word == b"v") {
        false => [status.as_bytes(), &returned, b"\r\n"].concat(),
        true => {
            let header = format!("VA {}", value.len());
            [header.as_bytes(), &returned, b"\r\n", value, b"\r\n"].concat()
        }
    }
}

/// What the flags among `known` give back, in the order of the flags.
fn returned(request: &Request, known: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let key = &request.words[1];
    let first = if request.name() == "ms" { 3 } else { 2 };
    for flag in request.words.iter().skip(first).filter(|flag| known.contains(flag[0] as char)) {
        out.push(b' ');
        match flag[0] {
            b'k' => {
                let is_base64 = request.words.iter().any(|word| word == b"b");
                let mark: &[u8] = if is_base64 { b" b" } else { b"" };
                out.extend([b"k", &key[..], mark].concat());
            }
            b't' => out.extend(b"t-1"),
            b's' => out.extend(format!("s{}", size_of(key)).into_bytes()),
            _ => out.extend(flag),
        }
    }
    out
}

/// Whether a server that is asked for silence keeps `reply` to `name` to itself.
pub(crate) fn is_kept_quiet(name: &str, reply: &[u8]) -> bool {
    match (name, &reply[..reply.len().min(2)]) {
        ("mg", status) => status == b"EN" && reply.get(2).is_none_or(|byte| *byte != b'D'),
        ("ms" | "md", status) => status == b"HD",
        ("ma", status) => matches!(status, b"HD" | b"VA"),
        _ => false,
    }
}
