//! The data of the simulated servers: what a key holds follows from the key, and every request asks for keys that no
//! other request asks for. So a reply tells which request it answers, and one that goes astray is always noticed.

use super::wire_format::{bulk, request};
use crate::random::mix;
use crate::truth::Token;

/// The `index`-th key of a request, holding a value of about `size` bytes.
pub(crate) fn key(token: Token, index: usize, size: usize) -> Vec<u8> {
    let mut key = format!("{}:{}:{index}:{size}:", token.client, token.sequence).into_bytes();
    let salt = hash(&key);
    // Keys may hold any byte.
    key.extend_from_slice(&salt.to_le_bytes()[..(salt % 8) as usize]);
    key
}

/// The request that a key belongs to and the size of its value.
pub(crate) fn token_of(key: &[u8]) -> Option<(Token, usize)> {
    let mut fields = key.split(|byte| *byte == b':').map(|field| std::str::from_utf8(field).ok());
    let mut number = || fields.next()??.parse::<usize>().ok();
    let (client, sequence, index, size) = (number()?, number()?, number()?, number()?);
    let token = Token { client: client as u32, sequence: sequence as u32 };
    (self::key(token, index, size) == key).then_some((token, size))
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| mix(hash ^ u64::from(*byte)))
}

/// What is stored under `key`: itself, then bytes of all sorts.
pub(crate) fn value(key: &[u8]) -> Vec<u8> {
    let size = token_of(key).map_or(0, |(_, size)| size);
    let mut value = key.to_vec();
    let mut state = hash(key);
    while value.len() < size {
        state = mix(state.wrapping_add(1));
        match state % 16 {
            0 => value.extend_from_slice(b"\r\n"),
            1 => value.extend_from_slice(b"$3\r\n"),
            _ => value.extend_from_slice(&state.to_le_bytes()),
        }
    }
    value
}

/// What GET answers: one key in eight does not exist.
pub(crate) fn get(key: &[u8]) -> Vec<u8> {
    match hash(key) % 8 {
        0 => b"$-1\r\n".to_vec(),
        _ => bulk(&value(key)),
    }
}

/// What counting commands answer for one key.
pub(crate) fn number(key: &[u8]) -> u64 {
    hash(key) % 100_000
}

/// What commands over collections answer: nested arrays with everything in them.
pub(crate) fn nested(key: &[u8]) -> Vec<u8> {
    let mut out = b"*5\r\n*2\r\n".to_vec();
    out.extend(bulk(key));
    out.extend_from_slice(b"*0\r\n+a status\r\n*-1\r\n$-1\r\n");
    out.extend_from_slice(format!(":-{}\r\n", number(key)).as_bytes());
    out
}

/// What a server answers to a whole command, `None` for a command that must not reach a server in this form.
pub(crate) fn answer(arguments: &[Vec<u8>]) -> Option<Vec<u8>> {
    let name = arguments[0].to_ascii_lowercase();
    let sum =
        |keys: &[Vec<u8>]| format!(":{}\r\n", keys.iter().map(|key| number(key)).sum::<u64>());
    match (&name[..], &arguments[1..]) {
        (b"get", [key]) => Some(get(key)),
        (b"set", [key, given]) => (*given == value(key)).then(|| b"+OK\r\n".to_vec()),
        (b"incr", [key]) => Some(sum(std::slice::from_ref(key)).into_bytes()),
        (b"hgetall", [key]) => Some(nested(key)),
        (b"sinter", [key, _]) => Some(nested(key)),
        (b"lolwut", []) => Some(bulk(b"a picture")),
        (b"del" | b"unlink" | b"touch" | b"exists", keys) if !keys.is_empty() => {
            Some(sum(keys).into_bytes())
        }
        (b"mget", keys) if !keys.is_empty() => {
            let mut out = format!("*{}\r\n", keys.len()).into_bytes();
            keys.iter().for_each(|key| out.extend(get(key)));
            Some(out)
        }
        (b"mset", pairs) if !pairs.is_empty() && pairs.len().is_multiple_of(2) => {
            let whole = pairs.chunks(2).all(|pair| pair[1] == value(&pair[0]));
            whole.then(|| b"+OK\r\n".to_vec())
        }
        _ => None,
    }
}

/// What MGET and counting commands answer when some keys do not exist.
pub(crate) fn answer_without(
    name: &str,
    keys: &[Vec<u8>],
    is_missed: impl Fn(&Vec<u8>) -> bool,
) -> Vec<u8> {
    let element = |key: &Vec<u8>| if is_missed(key) { b"$-1\r\n".to_vec() } else { get(key) };
    if name == "mget" {
        let header = format!("*{}\r\n", keys.len()).into_bytes();
        return keys.iter().map(element).fold(header, |out, element| [out, element].concat());
    }
    let sum: u64 = keys.iter().filter(|key| !is_missed(key)).map(|key| number(key)).sum();
    format!(":{sum}\r\n").into_bytes()
}

/// The bytes of a command over `keys`, with their values if it stores them.
pub(crate) fn command(name: &str, keys: &[Vec<u8>]) -> Vec<u8> {
    request(&arguments(name, keys).iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The arguments of a command over `keys`, with their values if it stores them.
pub(crate) fn arguments(name: &str, keys: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut arguments = vec![name.as_bytes().to_vec()];
    for key in keys {
        arguments.push(key.clone());
        if name.eq_ignore_ascii_case("set") || name.eq_ignore_ascii_case("mset") {
            arguments.push(value(key));
        }
    }
    arguments
}

#[test]
fn a_key_names_its_request() {
    for sequence in 0..100 {
        let token = Token { client: 7, sequence };
        let key = key(token, 3, 50);
        assert_eq!(token_of(&key), Some((token, 50)));
        assert!(value(&key).len() >= 50);
    }
    assert_eq!(token_of(b"7:1:3:50:x"), None);
}
