//! Memcached pools: the protocol as memcached has it, and what the proxy adds and refuses.

mod big_items;
mod ejection;
mod errors;
mod health;
mod local;
mod meta;
mod multiget;
mod noreply;
mod replies;
mod script;
mod scripts;

use crate::harness::{Client, FakeServer, Random, RealServer, TextRequest};

/// Sends a `set` and checks that it is stored.
#[track_caller]
fn set(client: &mut Client, key: &str, value: &str) {
    client.ask(format!("set {key} 0 0 {}\r\n{value}\r\n", value.len()), "STORED\r\n");
}

/// What a `get` of one key gives that is there.
fn value(key: &str, value: &str) -> String {
    format!("VALUE {key} 0 {}\r\n{value}\r\nEND\r\n", value.len())
}

/// Whether `server` itself holds `key`.
#[track_caller]
fn holds(server: &RealServer, key: &str) -> bool {
    !held(server, &[key]).is_empty()
}

/// Those of `keys` that `server` itself holds.
#[track_caller]
fn held<K: AsRef<str>>(server: &RealServer, keys: &[K]) -> Vec<String> {
    let mut client = server.client();
    let keys = keys.iter().map(AsRef::as_ref);
    client
        .send(keys.clone().map(|key| format!("touch {key} 0\r\n")).collect::<String>().as_bytes());
    keys.filter(|_| client.text_line() == "TOUCHED").map(str::to_owned).collect()
}

/// Keys that each live on another server: `per_server` for each of `servers`, in that order, found through `proxy`. None
/// of them is stored any more afterwards.
#[track_caller]
fn spread(proxy: &mut Client, servers: &[RealServer], per_server: usize) -> Vec<Vec<String>> {
    let mut random = Random::seeded(7);
    let count = servers.len() * per_server * 8 + 64;
    let names: Vec<String> = (0..count).map(|_| format!("key:{:016x}", random.bits())).collect();
    for name in &names {
        set(proxy, name, "x");
    }
    let on_each = servers.iter().map(|server| {
        let mut keys = held(server, &names);
        server.client().ask("flush_all\r\n", "OK\r\n");
        assert!(keys.len() >= per_server, "only {} keys on a server", keys.len());
        keys.truncate(per_server);
        keys
    });
    on_each.collect()
}

/// A server that has no memory and answers as memcached would: each key is its own value.
fn echo() -> FakeServer {
    FakeServer::answering_memcached(echo_reply)
}

fn echo_reply(request: &TextRequest) -> Vec<u8> {
    let value = |key: &[u8]| {
        [b"VALUE ", key, format!(" 0 {}\r\n", key.len()).as_bytes(), key, b"\r\n"].concat()
    };
    match request.command() {
        b"get" => {
            let values = request.words[1..].iter().flat_map(|key| value(key));
            values.chain(b"END\r\n".iter().copied()).collect()
        }
        b"mg" => {
            let key = request.key();
            [format!("VA {}\r\n", key.len()).as_bytes(), key, b"\r\n"].concat()
        }
        b"version" => b"VERSION 1.6.18\r\n".to_vec(),
        _ if request.is_quiet() => Vec::new(),
        b"incr" | b"decr" => b"1\r\n".to_vec(),
        b"touch" => b"TOUCHED\r\n".to_vec(),
        b"delete" => b"DELETED\r\n".to_vec(),
        _ => b"STORED\r\n".to_vec(),
    }
}
