//! Commands over keys of several shards: split, merged in the order of the keys, and failing as one.

use std::thread;

use crate::harness::{
    Client, FakeServer, HASHES, Location, Pool, Proxy, Random, RealServer, Reply, WORKER_COUNTS,
    eventually, request, requests, spread, unused_port,
};

#[test]
fn mget_keeps_order_misses_and_duplicates_with_every_hash_and_with_tags() {
    let servers = RealServer::several(3);
    let mut yaml = String::new();
    let mut tags = Vec::new();
    for hash in HASHES {
        for tag in [None, Some("\"{}\"")] {
            let name = format!("pool{}", tags.len());
            let pool = Pool::redis(&servers).named(&name).listen(tags.len()).set("hash", hash);
            yaml += &tag.map_or(pool.clone(), |tag| pool.set("hash_tag", tag)).to_string();
            tags.push(tag);
        }
    }
    let proxy = Proxy::start(yaml);
    for n in 0..tags.len() {
        let mut client = proxy.client_of(n);
        let set = requests("MSET {a}1 one {b}1 two {a}2 three plain four {}5 five");
        client.send(
            &[set, requests("MGET {a}1 {b}1 nosuch {a}2 {b}1 plain {}5 nosuch {a}1")].concat(),
        );
        client
            .expect(b"+OK\r\n*9\r\n$3\r\none\r\n$3\r\ntwo\r\n$-1\r\n$5\r\nthree\r\n$3\r\ntwo\r\n");
        client.expect(b"$4\r\nfour\r\n$4\r\nfive\r\n$-1\r\n$3\r\none\r\n");
        client.send(&requests(
            "EXISTS {a}1 {b}1 nosuch {a}1\nTOUCH {a}1 {b}1 nosuch\nUNLINK {a}1 {b}1",
        ));
        client.expect(b":3\r\n:2\r\n:2\r\n");
        client.send(&requests("DEL {a}1 {a}2 plain {}5 {}5\nEXISTS {a}1 {a}2 plain {}5"));
        client.expect(b":3\r\n:0\r\n");
    }
}

#[test]
fn parts_go_to_the_servers_in_lower_case_with_their_keys_in_order() {
    let server = FakeServer::answering(|words| match words[0].as_slice() {
        b"mset" => b"+OK\r\n".to_vec(),
        b"mget" => [b"*3\r\n".to_vec(), b"$-1\r\n".repeat(3)].concat(),
        _ => format!(":{}\r\n", words.len() - 1).into_bytes(),
    });
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    for (sent, forwarded) in [
        ("MGET a b a", "mget a b a"),
        ("DEL a b", "del a b"),
        ("Unlink a b c", "unlink a b c"),
        ("TOUCH b a", "touch b a"),
        ("MSET a 1 b 2", "mset a 1 b 2"),
        ("DeL a", "DeL a"),
        ("SeT a 1", "SeT a 1"),
    ] {
        server.forget();
        client.call(&sent.split(' ').collect::<Vec<_>>());
        assert_eq!(
            server.received().escape_ascii().to_string(),
            requests(forwarded).escape_ascii().to_string(),
            "for {sent}"
        );
    }
}

#[test]
fn a_dead_shard_fails_what_touches_it_and_nothing_else() {
    let mut servers = RealServer::several(3);
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers, 2);
        servers[1].stop();
        let (alive, dead) = ([&keys[0][0], &keys[2][0], &keys[0][1]], &keys[1][0]);
        eventually("the proxy sees the server go", || {
            (proxy.stat(&["server2", "server_connections"]) == 0).then_some(())
        });
        for command in ["MGET", "DEL", "UNLINK", "TOUCH", "EXISTS"] {
            client.send_request(&[command, alive[0], dead, alive[1]]);
            client.expect(b"-ERR Connection refused\r\n");
            assert!(!client.call(&[command, alive[0], alive[1]]).is_error());
        }
        client.send_request(&["MSET", alive[0], "1", dead, "2", alive[1], "3"]);
        client.expect(b"-ERR Connection refused\r\n");
        client.send(
            &[
                request(&["SET", alive[2], "v"]),
                request(&["MGET", alive[0], dead]),
                request(&["GET", alive[2]]),
            ]
            .concat(),
        );
        client.expect(b"+OK\r\n-ERR Connection refused\r\n$1\r\nv\r\n");
        client.expect_usable();
        servers[1].start_again();
        eventually("the pool is whole again", || {
            (client.call(&["SET", dead, "v"]) == Reply::ok()).then_some(())
        });
        servers.iter().for_each(RealServer::clear);
    }
}

#[test]
fn the_error_of_a_part_is_forwarded_in_the_words_of_its_server() {
    let broken = FakeServer::answering(|words| match words[0].to_ascii_lowercase().as_slice() {
        b"set" => b"+OK\r\n".to_vec(),
        _ => b"-READONLY You can't write against a read only replica.\r\n".to_vec(),
    });
    let good = RealServer::redis();
    let pool = Pool::redis::<&str>(&[])
        .server(format!("{}:1 good", good.location()))
        .server(format!("{}:1 broken", broken.address()));
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    let mut random = Random::seeded(3);
    let names: Vec<String> = (0..64).map(|_| format!("{:x}", random.bits())).collect();
    for name in &names {
        client.send_request(&["SET", name, "x"]);
    }
    client.replies(names.len());
    let held = good.keys();
    assert!(!held.is_empty() && held.len() < names.len(), "both servers hold keys");
    for command in ["DEL", "MGET", "TOUCH", "EXISTS"] {
        let mut words = vec![command];
        words.extend(names.iter().map(String::as_str));
        client.send_request(&words);
        client.expect(b"-READONLY You can't write against a read only replica.\r\n");
    }
    client.expect_usable();
}

#[test]
fn a_part_of_the_wrong_type_is_an_error_and_never_garbage() {
    for wrong in [
        "*-1\r\n",
        "+OK\r\n",
        ":1\r\n",
        "$1\r\nx\r\n",
        "*1\r\n$1\r\nx\r\n",
        "*65\r\n:1\r\n",
        "$-1\r\n",
    ] {
        let wrong = wrong.replace("*65\r\n:1\r\n", &format!("*65\r\n{}", ":1\r\n".repeat(65)));
        let answer = wrong.clone();
        let servers = [0; 2].map(|_| {
            let answer = answer.clone();
            FakeServer::answering(move |words| match words[0].as_slice() {
                b"GET" => b"$2\r\nok\r\n".to_vec(),
                _ => answer.as_bytes().to_vec(),
            })
        });
        let proxy = Proxy::start(Pool::redis(&servers).set("timeout", 5000));
        let mut client = proxy.client();
        let mut random = Random::seeded(4);
        let keys: Vec<String> = (0..64).map(|_| format!("{:x}", random.bits())).collect();
        for command in ["MGET", "DEL", "MSET"] {
            let mut words = vec![command.to_owned()];
            words.extend(keys.iter().cloned());
            let fits = matches!((command, wrong.as_str()), ("DEL", ":1\r\n") | ("MSET", "+OK\r\n"));
            let reply = client.call(&words);
            assert_eq!(
                reply.is_error(),
                !fits,
                "{command} answered with {wrong:?} gives {reply:?}"
            );
        }
        assert!(servers.iter().all(|server| !server.received().is_empty()), "both have a part");
        assert_eq!(client.call(&["GET", "a"]), Reply::bulk("ok"));
    }
}

#[test]
fn with_every_server_dead_there_are_errors_and_no_end() {
    let nobody: Vec<_> = (0..3).map(|_| format!("127.0.0.1:{}", unused_port())).collect();
    for eject in [false, true] {
        let pool = Pool::redis(&nobody).set("auto_eject_hosts", eject).set("timeout", 2000);
        let proxy = Proxy::with(pool).workers(2).start();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = proxy.client();
                    let burst = requests("MSET a 1 b 2 c 3 d 4\nMGET a b c d\nGET a").repeat(50);
                    for _ in 0..5 {
                        client.send(&burst);
                        assert!(client.replies(150).iter().all(Reply::is_error));
                    }
                    client.expect_usable();
                });
            }
        });
    }
}

#[test]
fn names_that_do_not_resolve_fail_at_once() {
    let nowhere = ["no.such.host.invalid:6379", "no.such.host2.invalid:6379"];
    let proxy = Proxy::start(Pool::redis(&nowhere));
    let mut client = proxy.client();
    for _ in 0..3 {
        client.send(&requests("MGET a b c d e f g h\nGET a\nMSET a 1 b 2"));
        client.expect(&b"-ERR Host is down\r\n".repeat(3));
    }
    client.expect_usable();
}

fn big_mget(client: &mut Client, count: usize) {
    let keys: Vec<String> = (0..count).map(|n| format!("key:{n}")).collect();
    for chunk in keys.chunks(5000) {
        let mut words = vec!["MSET".to_owned()];
        words.extend(chunk.iter().flat_map(|key| [key.clone(), format!("value of {key}")]));
        assert_eq!(client.call(&words), Reply::ok());
    }
    let mut words = vec!["MGET".to_owned()];
    words.extend(keys.iter().cloned());
    let values = client.call(&words).array();
    assert_eq!(values.len(), count);
    for (key, value) in keys.iter().zip(values) {
        assert_eq!(value, Reply::bulk(format!("value of {key}")));
    }
    words[0] = "DEL".into();
    assert_eq!(client.call(&words), Reply::Integer(i64::try_from(count).expect("a small number")));
}

#[test]
fn an_mget_of_a_hundred_thousand_keys_is_whole_and_its_memory_comes_back() {
    let servers = RealServer::several(4);
    let proxy = Proxy::start(Pool::redis(&servers));
    let mut client = proxy.client();
    big_mget(&mut client, 10_000);
    big_mget(&mut client, 100_000);
    drop(client);
    eventually("memory comes back", || (proxy.resident_bytes() < 48 << 20).then_some(()));
}

#[test]
fn repeated_msets_of_big_values_leave_no_memory_behind() {
    let servers = RealServer::several(3);
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        let mut client = proxy.client();
        let value = vec![b'v'; 1 << 20];
        let keys: Vec<String> = (0..50).map(|n| format!("key:{n}")).collect();
        let mut words = vec![b"MSET".as_slice()];
        words.extend(keys.iter().flat_map(|key| [key.as_bytes(), &value]));
        let mset = request(&words);
        let mut round = || {
            client.send(&mset);
            assert_eq!(client.reply(), Reply::ok());
        };
        (0..15).for_each(|_| round());
        // One request, and what the allocator keeps for the next one.
        let held = proxy.resident_bytes();
        assert!(held < 160 << 20, "15 rounds of 50 MB each left {held} bytes");
        client.expect_usable();
    }
}
