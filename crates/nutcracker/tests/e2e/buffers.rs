//! Values and keys of every size: no length is special, whatever the buffers are.

use crate::harness::{Client, Pool, Proxy, RealServer, Reply, WORKER_COUNTS, eventually, request};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + n / 251) as u8).collect()
}

#[track_caller]
fn set_and_get(client: &mut Client, key: &[u8], value: &[u8]) {
    client.send(
        &[request(&[b"SET".as_slice(), key, value]), request(&[b"GET".as_slice(), key])].concat(),
    );
    assert_eq!(client.reply(), Reply::ok(), "SET of {} bytes", value.len());
    assert!(
        client.reply() == Reply::bulk(value),
        "another value than the {} bytes set",
        value.len()
    );
}

#[test]
fn values_of_every_length_survive() {
    let servers = RealServer::several(2);
    let mut lengths: Vec<usize> = (0..600).chain((600..70_000).step_by(97)).collect();
    lengths.extend([16306, 16307, 32642, 32643, 48978, 48979, 65314, 65315]);
    lengths.extend((1..=4).flat_map(|n| (n * 16384 - 80)..(n * 16384 + 8)));
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        let mut client = proxy.client();
        for &length in &lengths {
            set_and_get(&mut client, b"0123456789", &pattern(length));
        }
    }
}

#[test]
fn values_of_every_length_survive_with_the_smallest_buffers() {
    let servers = RealServer::several(2);
    let proxy = Proxy::with(Pool::redis(&servers)).arguments(&["-m", "512"]).workers(1).start();
    let mut client = proxy.client();
    for length in (0..2000).chain([16_384, 70_000, 1 << 20]) {
        set_and_get(&mut client, b"0123456789", &pattern(length));
    }
}

#[test]
fn keys_are_not_tied_to_the_buffers() {
    let servers = RealServer::several(2);
    for size in ["512", "16384"] {
        let proxy = Proxy::with(Pool::redis(&servers)).arguments(&["-m", size]).workers(1).start();
        let mut client = proxy.client();
        for length in (1..40).chain(440..530).chain([16_335, 16_336, 16_384, 1 << 20]) {
            set_and_get(&mut client, &vec![b'k'; length], b"v");
        }
        let keys: Vec<Vec<u8>> =
            (0..20).map(|n| [format!("{n}:").into_bytes(), vec![b'k'; 500 + n]].concat()).collect();
        let mset: Vec<&[u8]> = std::iter::once(b"MSET".as_slice())
            .chain(keys.iter().flat_map(|key| [key.as_slice(), key]))
            .collect();
        assert_eq!(client.call(&mset), Reply::ok());
        let mget: Vec<&[u8]> =
            std::iter::once(b"MGET".as_slice()).chain(keys.iter().map(Vec::as_slice)).collect();
        assert_eq!(client.call(&mget), Reply::Array(keys.iter().map(Reply::bulk).collect()));
    }
}

#[test]
fn a_command_of_half_a_megabyte_passes() {
    let servers = RealServer::several(2);
    let proxy = Proxy::start(Pool::redis(&servers));
    let mut client = proxy.client();
    let mut words = vec!["HMSET".to_owned(), "hash".to_owned()];
    words.extend((0..5000).flat_map(|n| [format!("field{n}"), format!("{n:090}")]));
    assert_eq!(client.call(&words), Reply::ok());
    assert_eq!(client.call(&["HGETALL", "hash"]).array().len(), 10_000);
    assert_eq!(client.call(&["HLEN", "hash"]), Reply::Integer(5000));
}

#[test]
fn a_slow_reader_of_a_big_reply_delays_nobody_and_its_memory_comes_back() {
    const SIZE: usize = 32 << 20;
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&[&server])).workers(workers).start();
        let mut other = proxy.client();
        let before = proxy.resident_bytes();
        assert_eq!(
            server.client().call(&["SETRANGE", "big", &(SIZE - 1).to_string(), "x"]).integer()
                as usize,
            SIZE
        );
        let mut slow = proxy.client();
        slow.shrink_receive_buffer(128 << 10);
        slow.send_request(&["GET", "big"]);
        // What the server is asked behind the value before the proxy knows its size has to wait for all of it.
        slow.await_input();
        for n in 0..200 {
            let value = n.to_string();
            assert_eq!(other.call(&["SET", "small", &value]), Reply::ok());
            assert_eq!(other.call(&["GET", "small"]), Reply::bulk(&value));
        }
        let grown = proxy.resident_bytes().saturating_sub(before);
        assert!(grown < (SIZE / 2) as u64, "one reply of {SIZE} bytes costs {grown}");
        assert_eq!(slow.reply().bytes().len(), SIZE);
        drop(slow);
        eventually("memory comes back", || {
            (proxy.resident_bytes() < before + (8 << 20)).then_some(())
        });
    }
}
