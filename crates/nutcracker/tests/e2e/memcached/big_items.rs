//! Values that are too large, for a server or for the pool: refused, swallowed, and nobody else's business.

use crate::harness::{Client, FakeServer, Pool, Proxy, RealServer, WORKER_COUNTS, eventually};

use super::{echo, set, value};

const TOO_LARGE: &str = "SERVER_ERROR object too large for cache\r\n";

/// Two megabytes are twice what a memcached takes.
fn two_megabytes(command: &str) -> Vec<u8> {
    let body = vec![b'x'; 2 << 20];
    [format!("{command} 0 0 {}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat()
}

/// Writes and reads keys of its own until `done`.
fn work(client: &mut Client, who: usize, done: &std::sync::atomic::AtomicBool) {
    let mut turn = 0;
    while !done.load(std::sync::atomic::Ordering::SeqCst) || turn < 20 {
        let (key, text) = (format!("key{who}"), format!("value {who} {turn}"));
        set(client, &key, &text);
        client.ask(format!("get {key}\r\n"), value(&key, &text));
        turn += 1;
    }
}

#[test]
fn a_value_too_large_for_the_server_is_the_setters_error_alone() {
    for workers in WORKER_COUNTS {
        let server = RealServer::memcached();
        let pool = Pool::memcached(&[&server])
            .set("auto_eject_hosts", true)
            .set("server_failure_limit", 1)
            .set("server_retry_timeout", 60_000)
            .set("timeout", 10_000);
        let proxy = Proxy::with(pool).workers(workers).start();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for who in 0..50 {
                let (mut client, done) = (proxy.client(), &done);
                scope.spawn(move || work(&mut client, who, done));
            }
            let mut setter = proxy.client();
            for command in ["set big", "add big", "set big", "cas big"] {
                let mut request = two_megabytes(command);
                if command == "cas big" {
                    let line_end = request.windows(2).position(|pair| pair == b"\r\n");
                    request.splice(line_end.expect("a line")..line_end.expect("a line"), *b" 7");
                }
                setter.ask(request, TOO_LARGE);
            }
            setter.ask("get big\r\n", "END\r\n");
            done.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        for count in ["server_ejects", "forward_error"] {
            assert_eq!(proxy.stat(&[count]), 0, "{count}");
        }
        for count in ["server_err", "server_eof", "server_timedout"] {
            assert_eq!(proxy.stat(&["server1", count]), 0, "{count}");
        }
    }
}

#[test]
fn a_pipeline_goes_on_behind_a_value_that_is_too_large() {
    let server = RealServer::memcached();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    let stream = [
        b"set a 0 0 1\r\nA\r\n".to_vec(),
        two_megabytes("set a"),
        b"get a\r\nset a 0 0 1\r\nB\r\nget a\r\n".to_vec(),
    ];
    let sending = client.send_in_background(stream.concat());
    client.expect(format!("STORED\r\n{TOO_LARGE}END\r\nSTORED\r\n{}", value("a", "B")).as_bytes());
    sending.join().expect("the sender");
}

/// A server that answers as soon as it knows the length, before it has read the value.
#[test]
fn an_answer_that_comes_before_the_value_is_read_belongs_to_its_request() {
    let server = FakeServer::start(|connection| {
        while let Some(line) = connection.line() {
            let length = line.rsplit(|&byte| byte == b' ').next().expect("a word");
            let length: Option<usize> =
                std::str::from_utf8(length).ok().and_then(|digits| digits.parse().ok());
            match length {
                Some(length) if line.starts_with(b"set ") => {
                    connection.send(TOO_LARGE.as_bytes());
                    if !connection.skip(length + 2) {
                        return;
                    }
                }
                _ => connection.send(b"END\r\n"),
            }
        }
    });
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut other = proxy.client();
    other.ask("get a\r\n", "END\r\n");
    let mut client = proxy.client();
    client.send(b"set big 0 0 2000000\r\n");
    client.send(&vec![b'x'; 1 << 20]);
    other.ask("get a\r\n", "END\r\n");
    client.send(&vec![b'x'; 2_000_000 - (1 << 20)]);
    client.send(b"\r\nget a\r\n");
    client.expect(format!("{TOO_LARGE}END\r\n").as_bytes());
    other.ask("get a\r\n", "END\r\n");
    assert_eq!(server.connection_count(), 1);
}

#[test]
fn a_pool_can_refuse_large_values_itself() {
    let server = echo();
    let proxy = Proxy::start(Pool::memcached(&[&server]).set("max_item_size", 1000));
    let mut client = proxy.client();
    let request =
        |command: &str, length: usize| format!("{command} {length}\r\n{}\r\n", "x".repeat(length));
    client.ask(request("set a 0 0", 1000), "STORED\r\n");
    let received = server.received();
    for (length, command) in [(1001, "set a 0 0"), (100_000, "append a 0 0"), (5000, "ms a")] {
        client.ask(request(command, length), TOO_LARGE);
    }
    client.send_byte_by_byte(request("add a 0 0", 1001).as_bytes());
    client.expect(TOO_LARGE.as_bytes());
    client.send(format!("set a 0 0 1001 noreply\r\n{}\r\n", "x".repeat(1001)).as_bytes());
    assert_eq!(server.received(), received, "it is refused before it is forwarded");
    client.ask("get a\r\n", value("a", "a"));
}

#[test]
fn a_megabyte_passes_with_every_number_of_servers() {
    for count in [1, 3] {
        let servers = RealServer::several_memcached(count);
        let proxy = Proxy::with(Pool::memcached(&servers)).workers(2).start();
        let mut client = proxy.client();
        let text: String = (0..1_000_000_u32).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
        for n in 0..4 {
            set(&mut client, &format!("big{n}"), &text);
        }
        let keys: Vec<String> = (0..4).map(|n| format!("big{n}")).collect();
        client.send(format!("get {}\r\n", keys.join(" ")).as_bytes());
        for key in &keys {
            client.expect(format!("VALUE {key} 0 1000000\r\n{text}\r\n").as_bytes());
        }
        client.expect(b"END\r\n");
    }
}

#[test]
fn the_body_behind_a_key_that_is_too_long_is_swallowed() {
    let server = echo();
    let proxy = Proxy::start(Pool::memcached(&[&server]));
    let mut client = proxy.client();
    for length in [251, 252, 300, 1500] {
        let key = "k".repeat(length);
        for command in ["set", "add", "replace", "append", "prepend"] {
            client.send(format!("{command} {key} 0 0 11\r\nget a\r\nquit\r\n").as_bytes());
            assert!(client.text_line().starts_with("CLIENT_ERROR "));
        }
        client.send(format!("ms {key} 11\r\nget a\r\nquit\r\nget a\r\n").as_bytes());
        assert!(client.text_line().starts_with("CLIENT_ERROR "));
        client.expect(value("a", "a").as_bytes());
        client.send_byte_by_byte(format!("cas {key} 0 0 11 1\r\nget a\r\nquit\r\n").as_bytes());
        assert!(client.text_line().starts_with("CLIENT_ERROR "));
        client.send(format!("set {key} 0 0 100000\r\n").as_bytes());
        assert!(client.text_line().starts_with("CLIENT_ERROR "));
        client.send(&[b'x'; 100_000]);
        client.ask("\r\nget b\r\n", value("b", "b"));
    }
    let received = server.received();
    assert!(!received.windows(3).any(|three| three == b"kkk"), "a server has seen the key");
    let key = "k".repeat(250);
    client.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    eventually("the server has the key", || {
        server.received().ends_with(b"\r\nx\r\n").then_some(())
    });
}
