//! Requests of many megabytes flow through the proxy: it does not hold them, and nobody waits for them.

use std::time::Duration;

use crate::harness::{
    Client, FakeServer, Pool, Proxy, Random, RealServer, Reply, WORKER_COUNTS, eventually, request,
};

const MIB: usize = 1 << 20;
const SIZE: usize = 64 * MIB;
/// What a request of any size may cost in memory.
const COST_MAX: u64 = 16 * MIB as u64;

/// How a client sends its value.
#[derive(Clone, Copy, PartialEq)]
enum Pace {
    Fast,
    /// Stops in the middle, and goes on when others have been served.
    Stalling,
}

/// Sends `bytes` while `others` are served.
fn send(client: &mut Client, bytes: &[u8], pace: Pace, mut others: impl FnMut()) {
    let half = if pace == Pace::Stalling { bytes.len() / 2 } else { 0 };
    client.send(&bytes[..half]);
    others();
    let rest = client.send_in_background(bytes[half..].to_vec());
    while !rest.is_finished() {
        others();
    }
    rest.join().expect("the rest is sent");
}

#[test]
fn a_value_of_64_mib_is_set_in_bounded_memory_while_others_are_served() {
    for (workers, pace) in
        WORKER_COUNTS.iter().flat_map(|n| [(*n, Pace::Fast), (*n, Pace::Stalling)])
    {
        let server = RealServer::redis();
        let pool = Pool::redis(&[&server]).set("timeout", 20_000);
        let proxy = Proxy::with(pool).workers(workers).start();
        let (mut client, mut other) = (proxy.client(), proxy.client());
        client.expect_usable();
        other.expect_usable();
        let value = Random::seeded(7).bytes(SIZE);
        let set = request(&[&b"SET"[..], b"big", &value]);
        let before = proxy.peak_resident_bytes();
        let mut turns = 0;
        send(&mut client, &set, pace, || {
            turns += 1;
            let text = turns.to_string();
            assert_eq!(other.call(&["SET", "small", &text]), Reply::ok());
            assert_eq!(other.call(&["GET", "small"]), Reply::bulk(&text));
        });
        assert_eq!(client.reply(), Reply::ok());
        let cost = proxy.peak_growth_since(before);
        assert!(cost < COST_MAX, "a value of {SIZE} bytes costs {cost}");
        assert!(server.client().call(&["GET", "big"]).bytes() == value, "another value");
        client.expect_usable();
        eventually("the private connection is gone", || {
            let clients = server.client().call(&["CLIENT", "LIST"]).text();
            (clients.lines().count() <= 1 + workers as usize).then_some(())
        });
    }
}

#[test]
fn the_same_holds_for_memcached() {
    for pace in [Pace::Fast, Pace::Stalling] {
        let server = RealServer::memcached_with(&["-I", "128m", "-m", "512"]);
        let pool = Pool::memcached(&[&server]).set("timeout", 20_000);
        let proxy = Proxy::with(pool).workers(1).start();
        let (mut client, mut other) = (proxy.client(), proxy.client());
        other.ask("set small 0 0 1\r\nv\r\n", "STORED\r\n");
        let value = Random::seeded(9).bytes(SIZE);
        let set = [format!("set big 0 0 {SIZE}\r\n").as_bytes(), &value, b"\r\n"].concat();
        let before = proxy.peak_resident_bytes();
        send(&mut client, &set, pace, || {
            other.ask("get small\r\n", "VALUE small 0 1\r\nv\r\nEND\r\n");
        });
        client.expect(b"STORED\r\n");
        let cost = proxy.peak_growth_since(before);
        assert!(cost < COST_MAX, "a value of {SIZE} bytes costs {cost}");
        let mut direct = server.client();
        let whole = [format!("VALUE big 0 {SIZE}\r\n").as_bytes(), &value, b"\r\nEND\r\n"].concat();
        direct.ask("get big\r\n", &whole);
        client.ask("get small\r\n", "VALUE small 0 1\r\nv\r\nEND\r\n");
    }
}

#[test]
fn a_frozen_server_holds_up_its_uploaders_and_takes_no_memory() {
    let mut server = RealServer::redis();
    let proxy = Proxy::with(Pool::redis(&[&server]).set("timeout", 30_000)).workers(1).start();
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(Client::expect_usable);
    let before = proxy.peak_resident_bytes();
    server.freeze();
    let set = request(&[&b"SET"[..], b"big", &vec![b'v'; 32 * MIB]]);
    let sent: Vec<usize> = (clients.iter_mut())
        .map(|client| client.send_until_blocked(&set, Duration::from_millis(100)))
        .collect();
    // The kernel may keep the whole of one where receive buffers can grow as large.
    let held_up = sent.iter().filter(|sent| **sent < set.len()).count();
    assert!(held_up > clients.len() / 2, "a frozen server takes nothing, {held_up} are held up");
    server.thaw();
    for (client, sent) in clients.iter_mut().zip(sent) {
        client.send(&set[sent..]);
        assert_eq!(client.reply(), Reply::ok());
        client.expect_usable();
    }
    let cost = proxy.peak_growth_since(before);
    assert!(cost < COST_MAX, "8 values of 32 MiB cost {cost} bytes");
}

#[test]
fn a_server_that_breaks_off_fails_the_upload_alone() {
    let server = FakeServer::start(move |connection| {
        let _begun = connection.line();
        connection.reset();
    });
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    let set = request(&[&b"SET"[..], b"big", &vec![b'v'; 8 * MIB]]);
    client.send(&set);
    assert!(client.reply().is_error());
    assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
}

#[test]
fn many_large_values_at_once_leave_the_open_files_that_servers_need() {
    for workers in WORKER_COUNTS {
        let servers = [RealServer::redis(), RealServer::redis(), RealServer::redis()];
        let pool = Pool::redis(&[&servers[0], &servers[1], &servers[2]]).set("timeout", 20_000);
        let pool = pool.set("auto_eject_hosts", true).set("server_failure_limit", 1);
        let proxy = Proxy::with(pool).workers(workers).under("ulimit -n 90").start();
        let value = vec![b'v'; 3 * MIB];
        let set = |n: usize| request(&[&b"SET"[..], format!("big{n}").as_bytes(), &value]);
        // Nearly as many as fit: there are no files for one more connection each.
        let mut clients: Vec<_> = (0..40).map(|_| proxy.client()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.expect_usable();
            client.send(&set(n)[..1000]);
        }
        let sending: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(n, client)| client.send_in_background(set(n)[1000..].to_vec()))
            .collect();
        for client in &mut clients {
            assert_eq!(client.reply(), Reply::ok());
        }
        sending.into_iter().for_each(|thread| thread.join().expect("all is sent"));
        drop(clients);
        let mut other = eventually("there is room for a client", || {
            let mut client = proxy.client();
            (client.call(&["GET", "none"]) == Reply::Nil).then_some(client)
        });
        other.expect_usable();
        let log = proxy.log();
        assert!(!log.contains("Too many open files"), "{log}");
    }
}
