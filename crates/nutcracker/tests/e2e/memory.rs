//! Memory is bounded whatever the peers do, and comes back when they are done.

use std::thread;
use std::time::Duration;

use crate::harness::{
    Client, Ending, Pool, Proxy, Random, RealServer, Reply, WORKER_COUNTS, eventually, request,
    requests,
};

const MIB: u64 = 1 << 20;

/// How long a peer must take nothing before it counts as not reading us any more.
const STUCK: Duration = Duration::from_millis(700);

#[test]
fn a_client_that_never_reads_is_not_read_any_more() {
    let server = RealServer::redis();
    assert_eq!(server.client().call(&["SET", "big", &"v".repeat(2000)]), Reply::ok());
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&[&server])).workers(workers).start();
        let mut other = proxy.client();
        other.expect_usable();
        let before = proxy.resident_bytes();
        // Each request is 24 bytes and its reply 2,000: all of it would be over 6 GB.
        let mut greedy: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        let gets = request(&["GET", "big"]).repeat(800_000);
        let mut blocked = 0;
        for client in &mut greedy {
            client.shrink_receive_buffer(4096);
            blocked += usize::from(client.send_until_blocked(&gets, STUCK) < gets.len());
        }
        let grown = proxy.resident_bytes().saturating_sub(before);
        assert_eq!(blocked, greedy.len(), "a client that does not read is still read");
        assert!(grown < 64 * MIB, "4 clients that do not read cost {grown} bytes");
        assert_eq!(other.call(&["GET", "nosuch"]), Reply::Nil);
        drop(greedy);
        eventually("memory comes back", || {
            (proxy.resident_bytes() < before + 16 * MIB).then_some(())
        });
        assert_eq!(other.call(&["GET", "nosuch"]), Reply::Nil);
    }
}

#[test]
fn a_client_that_stopped_reading_gets_every_reply_once_it_goes_on() {
    const COUNT: usize = 40_000;
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    let text = "v".repeat(1000);
    let mut all = Vec::new();
    for n in 0..COUNT {
        all.extend(request(&["SET", "k", &n.to_string()]));
        all.extend(request(&["GET", "k"]));
        all.extend(request(&["ECHO", &format!("{n} {text}")]));
    }
    let sent = client.send_until_blocked(&all, STUCK);
    assert!(sent < all.len(), "40 MB of replies were buffered for a client that does not read");
    let rest = client.send_in_background(all.split_off(sent));
    for n in 0..COUNT {
        assert_eq!(client.reply(), Reply::ok());
        assert_eq!(client.reply(), Reply::bulk(n.to_string()));
        assert_eq!(client.reply(), Reply::bulk(format!("{n} {text}")));
    }
    rest.join().expect("the rest is sent");
}

#[test]
fn a_frozen_server_costs_bounded_memory_and_all_is_well_when_it_thaws() {
    let mut server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]).set("timeout", 30_000));
    let mut clients: Vec<Client> = (0..16).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call(&["SET", "k", "v"]), Reply::ok());
    }
    let before = proxy.resident_bytes();
    server.freeze();
    let sets = request(&["SET", "k", &"v".repeat(1000)]);
    let burst = sets.repeat(20_000);
    let sent: Vec<usize> = clients
        .iter_mut()
        .map(|client| client.send_until_blocked(&burst, Duration::from_millis(100)))
        .collect();
    let grown = proxy.resident_bytes().saturating_sub(before);
    // 16 clients with 4096 requests of 1 KiB each may be pending, and no more than that.
    assert!(grown < 160 * MIB, "320 MB for a frozen server cost {grown} bytes");
    server.thaw();
    for (client, sent) in clients.iter_mut().zip(sent) {
        let whole = sent / sets.len();
        assert!(client.replies(whole).iter().all(|reply| *reply == Reply::ok()));
        let rest = sets.len() * (whole + 1) - sent;
        client.send(&sets[sets.len() - rest..]);
        assert_eq!(client.reply(), Reply::ok());
        client.expect_usable();
    }
}

#[test]
fn above_the_ceiling_requests_are_refused_and_all_else_is_served() {
    let server = RealServer::redis();
    let yaml = format!("global:\n  max_memory: 16m\n{}", Pool::redis(&[&server]));
    let proxy = Proxy::with(yaml).workers(1).start();
    let mut other = proxy.client();
    other.expect_usable();
    let before = proxy.resident_bytes();
    let set = request(&[b"MSET".as_slice(), b"k", &vec![b'v'; 4 << 20]]);
    let mut clients: Vec<Client> = (0..30).map(|_| proxy.client()).collect();
    for client in &mut clients {
        // All but the last byte: the proxy has to keep what comes, or refuse it.
        let _refused_already = client.try_send(&set[..set.len() - 1]);
    }
    let mut texts = Vec::new();
    eventually("what does not fit is refused", || {
        clients.retain_mut(|client| {
            let (got, ending) = client.drain(Duration::from_millis(1));
            texts.extend(got);
            ending == Ending::Open
        });
        (clients.len() <= 15).then_some(())
    });
    clients.retain_mut(|client| {
        let reply = client.try_send(b"\n").and_then(|()| client.try_reply());
        matches!(reply, Ok(reply) if reply == Reply::ok())
    });
    let refused = 30 - clients.len();
    assert!((15..30).contains(&refused), "{refused} of 30 requests of 4 MiB refused");
    let texts = String::from_utf8_lossy(&texts);
    assert!(texts.contains("max_memory"), "no word of the reason: {texts}");
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MIB, "a ceiling of 16 MiB lets memory grow by {grown} bytes");
    assert_eq!(other.call(&["SET", "k", "v"]), Reply::ok());
    assert_eq!(other.call(&["GET", "k"]), Reply::bulk("v"));
}

#[test]
fn memory_comes_back_after_a_spike() {
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let mut warm = proxy.client();
    warm.expect_usable();
    let before = proxy.resident_bytes();
    let value = vec![b'v'; 4 << 20];
    let mut clients: Vec<Client> = (0..30).map(|_| proxy.client()).collect();
    // What may be split is kept until it is whole.
    let set = request(&[b"MSET".as_slice(), b"k", &value]);
    for client in &mut clients {
        // All but the last byte: the proxy has to keep what came.
        client.send(&set[..set.len() - 1]);
    }
    eventually("the spike arrives", || (proxy.resident_bytes() > before + 60 * MIB).then_some(()));
    for client in &mut clients {
        client.send(b"\n");
        assert_eq!(client.reply(), Reply::ok());
    }
    // The clients stay connected: idle connections hold no buffers.
    eventually("memory comes back", || (proxy.resident_bytes() < before + 24 * MIB).then_some(()));
    for client in &mut clients {
        client.expect_usable();
    }
}

#[test]
fn an_idle_connection_costs_less_than_a_kibibyte() {
    const COUNT: u64 = 4000;
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&[&server])).workers(workers).start();
        let mut clients: Vec<Client> = (0..200).map(|_| proxy.client()).collect();
        clients.iter_mut().for_each(Client::expect_usable);
        let before = proxy.resident_bytes();
        for _ in 0..COUNT {
            let mut client = proxy.client();
            client.send(&requests("GET a\nPING"));
            client.expect(b"$-1\r\n+PONG\r\n");
            clients.push(client);
        }
        let each = proxy.resident_bytes().saturating_sub(before) / COUNT;
        assert!(each < 1024, "an idle connection costs {each} bytes");
    }
}

fn mixed_load(proxy: &Proxy, seed: u64) {
    thread::scope(|scope| {
        for who in 0..6 {
            scope.spawn(move || {
                let mut random = Random::seeded(seed + who);
                for _ in 0..12 {
                    let mut client = proxy.client();
                    for _ in 0..60 {
                        let key = format!("key{}", random.below(500));
                        let length = *random.choice(&[1, 100, 5000, 40_000]);
                        let value = random.bytes(length);
                        client.send(
                            &[
                                request(&[b"SET".as_slice(), key.as_bytes(), &value]),
                                request(&["MGET", &key, "a", "b", "c"]),
                                request(&["NOSUCH"]),
                            ]
                            .concat(),
                        );
                        assert_eq!(client.reply(), Reply::ok());
                        client.reply();
                        assert!(client.reply().is_error());
                    }
                    if random.one_in(3) {
                        client.send(&request(&["GET", "key1"]).repeat(50));
                        client.reset();
                    }
                }
            });
        }
    });
}

#[test]
fn a_long_mixed_load_costs_no_memory_and_no_descriptors() {
    let servers = RealServer::several(3);
    let proxy = Proxy::with(Pool::redis(&servers)).workers(2).start();
    for seed in [100, 200] {
        mixed_load(&proxy, seed);
    }
    proxy.await_stat(&["client_connections"], 0);
    let (memory, files) = (proxy.resident_bytes(), proxy.open_files_at_rest());
    for seed in [300, 400, 500] {
        mixed_load(&proxy, seed);
    }
    proxy.await_stat(&["client_connections"], 0);
    proxy.await_open_files(files);
    let grown = proxy.resident_bytes().saturating_sub(memory);
    assert!(grown < 16 * MIB, "three more rounds cost {grown} bytes");
}

/// Sends `batches` pipelines of 500 small requests of every kind over a few connections that come and go.
fn small_requests(proxy: &Proxy, batches: usize) {
    let of_each = requests(
        "SET k v\nGET k\nGET nosuch\nMGET k nosuch k2\nMSET k v k2 w\nDEL nosuch k3\nPING\nNOSUCH\nMGET\nINCR k",
    );
    let batch = of_each.repeat(50);
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for n in 0..batches {
        let client = &mut clients[n % 4];
        client.send(&batch);
        let replies = client.replies(500);
        assert_eq!(replies.iter().filter(|reply| reply.is_error()).count(), 150);
        if n % 20 == 19 {
            clients[n % 4] = proxy.client();
        }
    }
}

#[test]
fn hundreds_of_thousands_of_small_requests_leave_nothing_behind() {
    let servers = RealServer::several(2);
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        small_requests(&proxy, 100);
        proxy.await_stat(&["client_connections"], 0);
        let (memory, files) = (proxy.resident_bytes(), proxy.open_files_at_rest());
        small_requests(&proxy, 600);
        proxy.await_stat(&["client_connections"], 0);
        let grown = proxy.resident_bytes().saturating_sub(memory);
        // Eight bytes lost with each request would be more.
        assert!(grown < 2 * MIB, "300,000 more requests cost {grown} bytes");
        proxy.await_open_files(files);
    }
}
