//! Random pipelines of what 0.5 supports, cut anywhere: the same replies, byte for byte, and the same data afterwards.

use super::{Pair, reference};
use crate::harness::{Client, Pool, Random, RealServer, Reply, request};

const SEEDS: u64 = 60;
const REQUESTS: usize = 120;

/// A request whose reply depends on nothing but the requests before it.
fn random_request(random: &mut Random) -> Vec<u8> {
    let key = |random: &mut Random, kind: &str| format!("{kind}:{}", random.below(30));
    let number = |random: &mut Random| (random.below(40)).to_string();
    let (s, h, l, z, i) =
        (key(random, "s"), key(random, "h"), key(random, "l"), key(random, "z"), key(random, "i"));
    let n = number(random);
    let m = number(random);
    let length = *random.choice(&[0, 1, 10, 500, 3000, 17_000]);
    let value = random.bytes(length);
    let text = |words: &[&str]| request(words);
    match random.below(40) {
        0 => text(&["PING"]),
        1 => text(&["GET", &s]),
        2..=4 => request(&[b"SET".as_slice(), s.as_bytes(), &value]),
        5 => text(&["APPEND", &s, &n]),
        6 => text(&["STRLEN", &s]),
        7 => text(&["GETRANGE", &s, "0", &n]),
        8 => text(&["INCR", &i]),
        9 => text(&["DECRBY", &i, &n]),
        10 => text(&["hset", &h, &n, &m]),
        11 => text(&["HGETALL", &h]),
        12 => text(&["HMGET", &h, &n, &m, "nosuch"]),
        13 => text(&["HDEL", &h, &n]),
        14 => text(&["RPUSH", &l, &n, &m]),
        15 => text(&["LRANGE", &l, "0", "-1"]),
        16 => text(&["LPOP", &l]),
        17 => text(&["ZADD", &z, &n, &m]),
        18 => text(&["ZRANGE", &z, "0", "-1", "WITHSCORES"]),
        19 => text(&["ZSCORE", &z, &m]),
        20 => text(&["ZREM", &z, &m]),
        21 => text(&["TYPE", &h]),
        22 => text(&["TTL", &s]),
        23 => text(&["PERSIST", &s]),
        24 => text(&["SETEX", &s, "1000", &n]),
        25 => text(&["EVAL", "return {KEYS[1], ARGV[1], {1, 2, {3}}}", "1", &s, &n]),
        26 => text(&["EVAL", "return redis.error_reply('MY ' .. ARGV[1])", "1", &s, &n]),
        27 => text(&["GETBIT", &s, &n]),
        28 => text(&["INCR", &l]),
        29 => text(&["LPUSH", &s, &n]),
        30 => text(&["SET", &s, &n, "NOSUCHOPTION"]),
        31 => text(&["SUNION", &i, &s]),
        32 => text(&["AUTH", "x"]),
        33 => text(&["MGET", &s, &i, &key(random, "s"), "nosuch", &s]),
        34 => {
            let words: Vec<String> = (0..random.below(60) + 1).map(|_| key(random, "s")).collect();
            request(&[vec!["mget".to_owned()], words].concat())
        }
        35 => text(&["DEL", &s, &key(random, "h"), &key(random, "l"), &s]),
        36 => text(&["UNLINK", &i, &key(random, "z")]),
        37 => text(&["TOUCH", &s, &i, &l, &s]),
        38 => text(&["MSET", &s, &n, &key(random, "s"), &m, &i, "7"]),
        _ => {
            let name = key(random, "s");
            request(&[b"MSET".as_slice(), name.as_bytes(), &value, s.as_bytes(), &value])
        }
    }
}

/// Sends `stream` in random pieces and returns all that comes back.
fn play(client: &mut Client, stream: &[u8], random: &mut Random) -> Vec<u8> {
    let mut rest = stream;
    while !rest.is_empty() {
        let length = *random.choice(&[1, 7, 100, 1400, 16_336, 60_000]);
        let (piece, tail) = rest.split_at(rest.len().min(1 + random.below(length)));
        client.send(piece);
        rest = tail;
    }
    client.half_close();
    client.drain(crate::harness::PATIENCE).0
}

/// Every key with its serialised value.
fn contents(server: &RealServer) -> Vec<(Vec<u8>, Reply)> {
    let mut client = server.client();
    let dump = |key: Vec<u8>| {
        let value = client.call(&[b"DUMP".as_slice(), &key]);
        (key, value)
    };
    server.keys().into_iter().map(dump).collect()
}

#[test]
fn random_pipelines_give_the_same_bytes_and_leave_the_same_data() {
    let Some(reference) = reference() else { return };
    let servers = [RealServer::several(3), RealServer::several(3)];
    let pair = Pair::start(&reference, [&servers[0], &servers[1]], |servers| {
        Pool::redis(servers).to_string()
    });
    for seed in 0..SEEDS {
        let mut random = Random::seeded(seed);
        let requests: Vec<Vec<u8>> = (0..REQUESTS).map(|_| random_request(&mut random)).collect();
        let stream = requests.concat();
        let theirs = play(&mut pair.theirs.client(), &stream, &mut random);
        let ours = play(&mut pair.ours.client(), &stream, &mut random);
        if ours != theirs {
            let at = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            let around = |bytes: &[u8]| {
                bytes[at.saturating_sub(60)..bytes.len().min(at + 60)].escape_ascii().to_string()
            };
            panic!(
                "seed {seed}, byte {at}:\n theirs {}\n ours   {}",
                around(&theirs),
                around(&ours)
            );
        }
    }
    for (ours, theirs) in servers[0].iter().zip(&servers[1]) {
        assert!(contents(ours) == contents(theirs), "the servers hold different data");
    }
}
