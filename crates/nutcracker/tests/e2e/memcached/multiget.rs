//! Reads of many keys: split over the servers, merged into one reply in the order of the keys.

use crate::harness::{
    Client, FakeServer, Pool, Proxy, Random, RealServer, WORKER_COUNTS, eventually,
};

use super::{echo_reply, held, set, spread, value};

const HASHES: [&str; 4] = ["fnv1a_64", "murmur", "md5", "crc32"];

#[test]
fn a_hundred_keys_with_misses_and_duplicates_come_in_their_order() {
    let servers = RealServer::several_memcached(4);
    let pools = HASHES.iter().enumerate().map(|(n, hash)| {
        let pool = Pool::memcached(&servers).named(&format!("pool{n}")).listen(n).set("hash", hash);
        if n % 2 == 1 { pool.set("hash_tag", "\"{}\"") } else { pool }.to_string()
    });
    let proxy = Proxy::with(pools.collect::<String>()).workers(2).start();
    for n in 0..HASHES.len() {
        let mut client = proxy.client_of(n);
        let mut random = Random::seeded(n as u64);
        let keys: Vec<String> = (0..100).map(|n| format!("{{tag{}}}key{n}", n % 7)).collect();
        let is_set: Vec<bool> = keys.iter().map(|_| !random.one_in(3)).collect();
        for (key, _) in keys.iter().zip(&is_set).filter(|(_, is_set)| **is_set) {
            set(&mut client, key, &format!("value of {key}"));
        }
        let asked: Vec<usize> = (0..150).map(|_| random.below(keys.len())).collect();
        let words: Vec<&str> = asked.iter().map(|&index| keys[index].as_str()).collect();
        let expected: String = asked
            .iter()
            .filter(|&&index| is_set[index])
            .map(|&index| {
                value(&keys[index], &format!("value of {}", keys[index])).replace("END\r\n", "")
            })
            .collect();
        client.ask(format!("get {}\r\n", words.join(" ")), format!("{expected}END\r\n"));
        client.ask(format!("gat 0 {}\r\n", words.join(" ")), format!("{expected}END\r\n"));
        client.send_byte_by_byte(format!("get {}\r\n", words.join(" ")).as_bytes());
        client.expect(format!("{expected}END\r\n").as_bytes());
        servers.iter().for_each(|server| server.client().ask("flush_all\r\n", "OK\r\n"));
    }
}

/// What a memcached counts under `name`.
#[track_caller]
fn stat_of(server: &RealServer, name: &str) -> u64 {
    let mut client = server.client();
    client.send(b"stats\r\n");
    let mut found = None;
    loop {
        let line = client.text_line();
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("END"), ..) => return found.expect("a stat of that name"),
            (_, Some(stat), Some(number)) if stat == name => found = number.parse().ok(),
            _ => {}
        }
    }
}

#[test]
fn gets_that_come_together_reach_the_server_as_few_and_each_is_answered() {
    let servers = RealServer::several_memcached(2);
    for (name, join) in [("joined", true), ("apart", false)] {
        let pool = Pool::memcached(&servers).set("join_gets", join);
        let proxy = Proxy::with(pool).workers(1).start();
        let mut client = proxy.client();
        let keys: Vec<String> = (0..50).map(|n| format!("{name}{n}")).collect();
        let content = |n: usize| format!("END\r\nVALUE {name}{} 0 1\r\n", "x".repeat(n));
        for (n, key) in keys.iter().enumerate().filter(|(n, _)| n % 3 != 0) {
            set(&mut client, key, &content(n));
        }
        let counted = |server: &RealServer| {
            let stats = ["cmd_get", "get_misses", "bytes_read"];
            stats.map(|stat| stat_of(server, stat))
        };
        let before: Vec<_> = servers.iter().map(counted).collect();
        let mut random = Random::seeded(3);
        let asked: Vec<usize> = (0..2000).map(|_| random.below(keys.len())).collect();
        let reply = |n: usize| match n % 3 {
            0 => "END\r\n".to_owned(),
            _ => value(&keys[n], &content(n)),
        };
        let requests: String = asked.iter().map(|&n| format!("get {}\r\n", keys[n])).collect();
        client.ask(&requests, asked.iter().map(|&n| reply(n)).collect::<String>());
        let after: Vec<_> = servers.iter().map(counted).collect();
        let grown = |at: usize| -> u64 {
            let pairs = before.iter().zip(&after);
            pairs.map(|(before, after)| after[at] - before[at]).sum()
        };
        assert_eq!(grown(0), 2000, "every get is a get of the server");
        assert_eq!(grown(1), asked.iter().filter(|&&n| n % 3 == 0).count() as u64);
        let per_key = "get ".len() + "\r\n".len() - " ".len();
        let spared = (requests.len() as u64).saturating_sub(grown(2)) / per_key as u64;
        match join {
            true => assert!(spared > 1000, "{spared} of 2000 were joined"),
            false => assert_eq!(spared, 0),
        }
        let sent: i64 =
            ["server1", "server2"].iter().map(|name| proxy.stat(&[name, "requests"])).sum();
        assert_eq!(sent, 2000 + keys.iter().enumerate().filter(|(n, _)| n % 3 != 0).count() as i64);
    }
}

/// The number that `gets` tells for a key.
#[track_caller]
fn unique(line: &str, key: &str) -> u64 {
    let number = line.strip_prefix(&format!("VALUE {key} 0 1 "));
    number.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn gets_of_keys_on_several_servers_tells_each_number_for_cas() {
    let servers = RealServer::several_memcached(3);
    let proxy = Proxy::start(Pool::memcached(&servers));
    let mut client = proxy.client();
    let keys: Vec<String> = (0..30).map(|n| format!("key{n}")).collect();
    keys.iter().for_each(|key| set(&mut client, key, "1"));
    for command in ["gets", "gats 0"] {
        client.send(format!("{command} {}\r\n", keys.join(" ")).as_bytes());
        let mut numbers = Vec::new();
        for key in &keys {
            numbers.push(unique(&client.text_line(), key));
            client.expect(b"1\r\n");
        }
        client.expect(b"END\r\n");
        for (key, number) in keys.iter().zip(numbers) {
            client.ask(format!("cas {key} 0 0 1 {number}\r\n1\r\n"), "STORED\r\n");
            client.ask(format!("cas {key} 0 0 1 {number}\r\n2\r\n"), "EXISTS\r\n");
        }
    }
}

#[test]
fn gat_of_keys_on_several_servers_touches_all() {
    let servers = RealServer::several_memcached(3);
    let proxy = Proxy::start(Pool::memcached(&servers));
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 2).concat();
    keys.iter().for_each(|key| set(&mut client, key, "x"));
    let all: String = keys
        .iter()
        .map(|key| value(key, "x").replace("END\r\n", ""))
        .chain(["END\r\n".into()])
        .collect();
    client.ask(format!("gat -1 {}\r\n", keys.join(" ")), all);
    for server in &servers {
        assert_eq!(held(server, &keys), Vec::<String>::new());
    }
    client.ask(format!("get {}\r\n", keys.join(" ")), "END\r\n");
}

/// Asks for `count` keys of which every third is missing; checks all of the reply.
fn ask_for_many(client: &mut Client, count: usize) {
    for from in (0..count).step_by(1000) {
        let sets: String = (from..from + 1000)
            .filter(|n| n % 3 != 0)
            .map(|n| format!("set key:{n} 0 0 8 noreply\r\n{n:08}\r\n"))
            .collect();
        client.ask(format!("{sets}mn\r\n"), "MN\r\n");
    }
    let keys: Vec<String> = (0..count).map(|n| format!("key:{n}")).collect();
    let sending = client.send_in_background(format!("get {}\r\n", keys.join(" ")).into_bytes());
    let expected: String = (0..count)
        .filter(|n| n % 3 != 0)
        .map(|n| format!("VALUE key:{n} 0 8\r\n{n:08}\r\n"))
        .chain(["END\r\n".into()])
        .collect();
    client.expect(expected.as_bytes());
    sending.join().expect("the sender");
}

#[test]
fn ten_thousand_keys_in_one_request_come_in_their_order() {
    let servers = RealServer::several_memcached(4);
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::memcached(&servers)).workers(workers).start();
        ask_for_many(&mut proxy.client(), 10_000);
    }
    let proxy = Proxy::start(Pool::memcached(&servers[..1]));
    ask_for_many(&mut proxy.client(), 10_000);
}

#[test]
fn a_hundred_thousand_keys_in_one_request_are_served_and_their_memory_comes_back() {
    let servers = RealServer::several_memcached(3);
    let proxy = Proxy::start(Pool::memcached(&servers));
    ask_for_many(&mut proxy.client(), 100_000);
    eventually("the memory is given back", || (proxy.resident_bytes() < 64 << 20).then_some(()));
}

#[test]
fn each_server_is_asked_once_for_its_keys_in_their_order() {
    let fakes: Vec<FakeServer> =
        (0..2).map(|_| FakeServer::answering_memcached(echo_reply)).collect();
    let proxy = Proxy::start(Pool::memcached(&fakes).set("hash", "md5"));
    let mut client = proxy.client();
    let keys: Vec<String> = (0..20).map(|n| format!("key{n}")).collect();
    let expected: String = keys.iter().map(|key| value(key, key).replace("END\r\n", "")).collect();
    client.ask(format!("get {}\r\n", keys.join(" ")), format!("{expected}END\r\n"));
    let mut asked = Vec::new();
    for fake in &fakes {
        let received = String::from_utf8(fake.received()).expect("text");
        let line = received.strip_suffix(" \r\n").expect("a blank before the line end, as in 0.5");
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "get");
        let order = words[1..].iter().map(|word| keys.iter().position(|key| key == word));
        let order: Vec<usize> = order.map(|place| place.expect("a key")).collect();
        assert!(order.is_sorted() && !order.is_empty(), "{order:?}");
        asked.extend(order);
    }
    asked.sort_unstable();
    assert_eq!(asked, (0..20).collect::<Vec<_>>());
    assert_eq!(proxy.stat(&["fragments"]), 2);
}

#[test]
fn a_dead_server_fails_what_touches_it_and_nothing_else() {
    for workers in WORKER_COUNTS {
        let mut servers = RealServer::several_memcached(3);
        let proxy = Proxy::with(Pool::memcached(&servers)).workers(workers).start();
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers, 2);
        for key in keys.iter().flatten() {
            set(&mut client, key, "x");
        }
        servers[2].stop();
        proxy.await_stat(&["server3", "server_connections"], 0);
        let all = keys.concat().join(" ");
        client.ask(format!("get {all}\r\n"), "SERVER_ERROR Connection refused\r\n");
        client.ask(format!("gets {all}\r\n"), "SERVER_ERROR Connection refused\r\n");
        let (a, b) = (&keys[0][0], &keys[1][1]);
        let both = format!("{}{}", value(a, "x").replace("END\r\n", ""), value(b, "x"));
        client.ask(format!("get {a} {b}\r\n"), &both);
        client.send(format!("get {all}\r\nget {a} {b}\r\nget {all}\r\n").as_bytes());
        let error = "SERVER_ERROR Connection refused\r\n";
        client.expect(format!("{error}{both}{error}").as_bytes());
    }
}

/// As memcached does when one part of a request is refused for lack of memory.
#[test]
fn the_error_of_a_part_is_forwarded_in_the_words_of_its_server() {
    let sound = FakeServer::answering_memcached(echo_reply);
    let failing = FakeServer::answering_memcached(|request| match request.key() {
        b"probe" => b"END\r\n".to_vec(),
        _ => b"SERVER_ERROR out of memory writing get response\r\n".to_vec(),
    });
    let proxy = Proxy::start(Pool::memcached(&[&sound, &failing]).set("hash", "md5"));
    let mut client = proxy.client();
    let keys: Vec<String> = (0..30).map(|n| format!("key{n}")).collect();
    for _ in 0..3 {
        client.ask(
            format!("get {}\r\n", keys.join(" ")),
            "SERVER_ERROR out of memory writing get response\r\n",
        );
    }
    assert_eq!(failing.connection_count(), 1);
    assert_eq!(proxy.stat(&["server2", "server_err"]), 0);
}

#[test]
fn names_that_do_not_resolve_fail_at_once() {
    let pool = Pool::memcached::<&str>(&[])
        .server("no.such.host.invalid:11211:1 a")
        .server("no.such.host.either.invalid:11211:1 b");
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    client.ask("get a b c d e f g h\r\n", "SERVER_ERROR Host is down\r\n");
    client.ask("get a\r\nset a 0 0 1\r\nx\r\n", "SERVER_ERROR Host is down\r\n".repeat(2));
    client.ask("mn\r\n", "MN\r\n");
}

#[test]
fn a_server_that_answers_for_keys_it_was_not_asked_for_misleads_nobody() {
    let liar = FakeServer::answering_memcached(|request| match request.key() {
        b"a" => b"VALUE z 0 1\r\nz\r\nVALUE a 0 1\r\na\r\nEND\r\n".to_vec(),
        b"b" => b"VALUE b 0 1\r\nb\r\nVALUE b 0 1\r\nb\r\nVALUE b 0 1\r\nb\r\nEND\r\n".to_vec(),
        b"c" => b"STORED\r\n".to_vec(),
        b"d" => b"VALUE d 0 1\r\nd\r\nSTORED\r\n".to_vec(),
        _ => echo_reply(request),
    });
    let proxy = Proxy::start(Pool::memcached(&[&liar]).set("timeout", 5000));
    let mut other = proxy.client();
    for request in ["get a b", "get b a", "get c x", "get d x"] {
        let mut client = proxy.client();
        client.send(format!("{request}\r\nmn\r\n").as_bytes());
        let mut lines = vec![client.text_line()];
        while lines.last().is_some_and(|line| line != "MN") {
            lines.push(client.text_line());
        }
        let ends = lines.iter().filter(|line| *line == "END" || line.contains("ERROR")).count();
        assert_eq!(ends, 1, "{request}: {lines:?}");
        eventually("the server is in step", || {
            other.send(b"get x\r\n");
            let is_found = other.text_line() == "VALUE x 0 1";
            is_found.then(|| other.expect(b"x\r\nEND\r\n"))
        });
    }
}
