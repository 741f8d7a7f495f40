//! Random pipelines of what 0.5 supports, cut anywhere: the same replies, and the same data afterwards.

use super::{Pair, reference};
use crate::harness::{Client, PATIENCE, Pool, Random, RealServer};

const SEEDS: u64 = 60;
const REQUESTS: usize = 120;

/// A request whose reply depends on nothing but the requests before it.
fn random_request(random: &mut Random) -> Vec<u8> {
    let key = |random: &mut Random, kind: &str| format!("{kind}:{}", random.below(30));
    let (s, n) = (key(random, "s"), key(random, "n"));
    let number = random.below(40);
    let length = *random.choice(&[0, 1, 10, 500, 3000, 17_000]);
    let bytes = random.bytes(length);
    let quiet = if random.one_in(4) { " noreply" } else { "" };
    let store = |head: String| [head.as_bytes(), &bytes, b"\r\n"].concat();
    let unique = random.below(400);
    match random.below(20) {
        0..4 => store(format!("set {s} {number} 0 {length}{quiet}\r\n")),
        4 => store(format!("add {s} {number} 0 {length}{quiet}\r\n")),
        5 => store(format!("replace {s} {number} 0 {length}{quiet}\r\n")),
        6 => store(format!("append {s} {number} 0 {length}{quiet}\r\n")),
        7 => store(format!("prepend {s} {number} 0 {length}{quiet}\r\n")),
        8 => store(format!("cas {s} {number} 0 {length} {unique}{quiet}\r\n")),
        9 => format!("get {s}\r\n").into_bytes(),
        10 => format!("gets {n}\r\n").into_bytes(),
        // Numbers never lose a digit: what is left of one depends on whether the server still sends the old value.
        11 => format!("set {n} 0 0 5{quiet}\r\n500{number:02}\r\n").into_bytes(),
        12 => format!("incr {n} {number}{quiet}\r\n").into_bytes(),
        13 => format!("decr {n} {number}{quiet}\r\n").into_bytes(),
        14 => format!("incr {s} 1\r\n").into_bytes(),
        15 => format!("delete {s}{quiet}\r\n").into_bytes(),
        16 => format!("touch {n} {}{quiet}\r\n", number * 100).into_bytes(),
        17 => format!("get {s} {n}  nothing {s}\r\n").into_bytes(),
        _ => {
            let keys: Vec<String> = (0..random.below(50) + 1).map(|_| key(random, "s")).collect();
            format!("gets {}\r\n", keys.join(" ")).into_bytes()
        }
    }
}

/// Sends `stream` in random pieces and returns all that comes back.
fn play(client: &mut Client, stream: &[u8], random: &mut Random) -> Vec<u8> {
    let mut pieces = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let length = *random.choice(&[1, 7, 100, 1400, 16_336, 60_000]);
        let (piece, tail) = rest.split_at(rest.len().min(1 + random.below(length)));
        pieces.push(piece.to_vec());
        rest = tail;
    }
    let sending = client.send_pieces_in_background(pieces);
    sending.join().expect("the sender");
    client.half_close();
    client.drain(PATIENCE).0
}

/// The replies, with the values of each in the order of their keys. COMPAT: when a key is missed, 0.5 lets a later value
/// of the same server move forward; here values keep the order of the request.
fn replies(stream: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut replies = vec![Vec::new()];
    let mut rest = stream;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let line = &rest[..end];
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let is_value = words[0] == b"VALUE";
        let length = words.get(3).filter(|_| is_value).map_or(0, |digits| {
            2 + std::str::from_utf8(digits).expect("digits").parse::<usize>().expect("a length")
        });
        let (block, tail) = rest.split_at(end + 2 + length);
        replies.last_mut().expect("a reply").push(block.to_vec());
        if !is_value {
            replies.push(Vec::new());
        }
        rest = tail;
    }
    replies.iter_mut().for_each(|blocks| blocks.sort());
    replies
}

/// Every key a stream may have used, with its value and flags.
fn contents(server: &RealServer) -> Vec<u8> {
    let mut client = server.client();
    let kinds = ["s", "n"].into_iter();
    let keys: Vec<String> =
        kinds.flat_map(|kind| (0..30).map(move |n| format!("{kind}:{n}"))).collect();
    client.send(format!("gets {}\r\nmn\r\n", keys.join(" ")).as_bytes());
    client.read_through(b"END\r\nMN\r\n").expect("the end of the values")
}

#[test]
fn random_pipelines_give_the_same_replies_and_leave_the_same_data() {
    let Some(reference) = reference() else { return };
    let servers = [RealServer::several_memcached(3), RealServer::several_memcached(3)];
    let pair = Pair::start(&reference, [&servers[0], &servers[1]], |servers| {
        Pool::memcached(servers).set("hash", "murmur").to_string()
    });
    for seed in 0..SEEDS {
        let mut random = Random::seeded(seed);
        let requests: Vec<Vec<u8>> = (0..REQUESTS).map(|_| random_request(&mut random)).collect();
        let stream = requests.concat();
        let theirs = replies(&play(&mut pair.theirs.client(), &stream, &mut random));
        let ours = replies(&play(&mut pair.ours.client(), &stream, &mut random));
        assert_eq!(ours.len(), theirs.len(), "seed {seed}: other counts of replies");
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert!(
                ours == theirs,
                "seed {seed}, reply {at}:\n theirs {}\n ours   {}",
                theirs.concat().escape_ascii(),
                ours.concat().escape_ascii()
            );
        }
    }
    for (ours, theirs) in servers[0].iter().zip(&servers[1]) {
        assert!(contents(ours) == contents(theirs), "the servers hold different data");
    }
}
