//! Large replies flow through: they cost the proxy little memory, and nobody else waits for them.

use std::thread;

use crate::harness::{Pool, Proxy, RealServer, Reply, WORKER_COUNTS};

const SIZE: usize = 64 << 20;
const GROWTH_MAX: u64 = 16 << 20;

/// A server with the value `big`.
fn server() -> RealServer {
    let server = RealServer::redis();
    let last = (SIZE - 1).to_string();
    assert_eq!(server.client().call(&["SETRANGE", "big", &last, "x"]).integer() as usize, SIZE);
    server
}

#[test]
fn a_large_value_costs_little_memory() {
    let server = server();
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&[&server])).workers(workers).start();
        let mut client = proxy.client();
        client.expect_usable();
        let before = proxy.peak_resident_bytes();
        for _ in 0..3 {
            let value = client.call(&["GET", "big"]).bytes();
            assert_eq!((value.len(), value.last()), (SIZE, Some(&b'x')));
        }
        client.expect_usable();
        let grown = proxy.peak_growth_since(before);
        assert!(grown < GROWTH_MAX, "{SIZE} bytes cost {grown}");
    }
}

#[test]
fn a_large_value_for_a_client_that_stalls_costs_little_memory_and_others_are_answered() {
    let server = server();
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&[&server])).workers(workers).start();
        let mut other = proxy.client();
        other.expect_usable();
        let before = proxy.peak_resident_bytes();
        let mut slow = proxy.client();
        slow.shrink_receive_buffer(128 << 10);
        slow.send_request(&["GET", "big"]);
        // What the server is asked behind the value before the proxy knows its size has to wait for all of it.
        slow.await_input();
        for n in 0..500 {
            let value = n.to_string();
            assert_eq!(other.call(&["SET", "small", &value]), Reply::ok());
            assert_eq!(other.call(&["GET", "small"]), Reply::bulk(&value));
        }
        // It goes on as slowly as it can while others are served.
        let busy = thread::spawn(move || {
            let first = other.call(&["INCR", "count"]).integer();
            for n in 1..500 {
                assert_eq!(other.call(&["INCR", "count"]).integer(), first + n);
            }
            other
        });
        let value = slow.reply().bytes();
        assert_eq!((value.len(), value.last()), (SIZE, Some(&b'x')));
        let mut other = busy.join().expect("the other client is answered");
        let grown = proxy.peak_growth_since(before);
        assert!(grown < GROWTH_MAX, "{SIZE} bytes cost {grown}");
        other.expect_usable();
        slow.expect_usable();
    }
}

#[test]
fn a_list_of_many_elements_costs_little_memory() {
    let server = RealServer::redis();
    let mut pusher = server.client();
    let element = "e".repeat(100);
    for _ in 0..200 {
        let mut words = vec!["RPUSH", "list"];
        words.extend(std::iter::repeat_n(element.as_str(), 1000));
        pusher.call(&words).integer();
    }
    let proxy = Proxy::with(Pool::redis(&[&server])).workers(1).start();
    let mut client = proxy.client();
    client.expect_usable();
    let before = proxy.peak_resident_bytes();
    let elements = client.call(&["LRANGE", "list", "0", "-1"]).array();
    assert_eq!(elements.len(), 200_000);
    assert!(elements.iter().all(|element| matches!(element, Reply::Bulk(_))));
    let grown = proxy.peak_growth_since(before);
    assert!(grown < GROWTH_MAX, "20 MB in small elements cost {grown}");
    client.expect_usable();
}

#[test]
fn a_large_item_of_memcached_costs_little_memory() {
    let server = RealServer::memcached_with(&["-I", "32m", "-m", "256"]);
    let size = 30 << 20;
    let set = format!("set big 0 0 {size}\r\n{}\r\n", "v".repeat(size));
    server.client().ask(set, "STORED\r\n");
    let proxy = Proxy::with(Pool::memcached(&[&server])).workers(1).start();
    let mut client = proxy.client();
    client.ask("get nosuch\r\n", "END\r\n");
    let before = proxy.peak_resident_bytes();
    for (ask, head, end) in [
        ("get big\r\n", format!("VALUE big 0 {size}\r\n"), "\r\nEND\r\n"),
        ("mg big v\r\n", format!("VA {size}\r\n"), "\r\n"),
    ] {
        client.send(ask.as_bytes());
        let whole = head.len() + size + end.len();
        let reply = client.read_up_to(whole);
        let begin = String::from_utf8_lossy(&reply[..reply.len().min(100)]);
        assert!(begin.starts_with(&head), "{ask:?} is answered {begin:?}");
        assert_eq!(reply.len(), whole, "{ask:?}");
        assert!(reply.ends_with(end.as_bytes()), "{ask:?}");
        client.ask("get nosuch\r\n", "END\r\n");
    }
    let grown = proxy.peak_growth_since(before);
    assert!(grown < GROWTH_MAX, "an item of {size} bytes costs {grown}");
}
