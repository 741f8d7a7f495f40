//! In steady state a request costs no allocation, whatever its kind: counted over the whole engine, from the bytes of
//! clients to the bytes for clients. Apart from the simulation because nothing but the engine may allocate here.

mod steady;

use steady::{
    Exchange, Rig, block, bulk, gets, joined_gets, keys, memcached_get, memcached_set, mget, mset,
    request, set, value,
};

/// Rounds before counting, and counted.
const WARM_UP: usize = 300;
const ROUNDS: usize = 100;

/// Allocations of the rounds that are counted, after those that are not.
#[track_caller]
fn assert_no_allocation(exchange: &Exchange) {
    let mut rig = Rig::new(exchange);
    rig.warm_up(exchange);
    for _ in 0..WARM_UP {
        rig.round(exchange);
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..ROUNDS {
            rig.round(exchange);
        }
    });
    assert_eq!(
        counted.count_total, 0,
        "allocations in {ROUNDS} rounds of {} clients",
        exchange.clients
    );
    assert_eq!(rig.engine.buffered_bytes(), 0);
}

/// memcached clients that pipeline `depth` reads of one key over all servers.
fn values(servers: usize, depth: usize) -> Exchange {
    let (mut request, mut replies, mut answer) =
        (Vec::new(), vec![Vec::new(); servers], Vec::new());
    for (key, shard) in keys(servers, depth) {
        request.extend([b"get ", &key[..], b"\r\n"].concat());
        let reply = [&block(&key)[..], b"END\r\n"].concat();
        replies[shard].extend(&reply);
        answer.extend(reply);
    }
    Exchange::new(request, replies, answer).in_memcached()
}

/// memcached clients that ask for `n` keys at once, every fifth of which does not exist.
fn multi_get(servers: usize, n: usize) -> Exchange {
    let (mut request, mut answer) = (b"get".to_vec(), Vec::new());
    let mut replies = vec![Vec::new(); servers];
    for (i, (key, shard)) in keys(servers, n).iter().enumerate() {
        request.extend([b" ", &key[..]].concat());
        if i % 5 != 4 {
            replies[*shard].extend(block(key));
            answer.extend(block(key));
        }
    }
    request.extend(b"\r\n");
    replies.iter_mut().for_each(|reply| reply.extend(b"END\r\n"));
    answer.extend(b"END\r\n");
    Exchange::new(request, replies, answer).in_memcached()
}

/// memcached clients that ask quietly for `n` keys, every other of which does not exist, and end that with `mn`.
fn quiet_gets(servers: usize, n: usize) -> Exchange {
    let (mut request, mut replies, mut answer) =
        (Vec::new(), vec![Vec::new(); servers], Vec::new());
    for (i, (key, shard)) in keys(servers, n).iter().enumerate() {
        request.extend([b"mg ", &key[..], b" v q\r\n"].concat());
        let hit = [b"VA 32\r\n", &value(key)[..], b"\r\n"].concat();
        let reply = if i % 2 == 0 { &hit[..] } else { b"EN\r\n" };
        replies[*shard].extend(reply);
        if i % 2 == 0 {
            answer.extend(reply);
        }
    }
    request.extend(b"mn\r\n");
    answer.extend(b"MN\r\n");
    Exchange::new(request, replies, answer).in_memcached()
}

#[test]
fn a_get_allocates_nothing() {
    assert_no_allocation(&gets(1, 1));
    assert_no_allocation(&gets(1, 1).by(50));
}

#[test]
fn a_set_of_32_bytes_allocates_nothing() {
    assert_no_allocation(&set());
    assert_no_allocation(&set().by(50));
}

#[test]
fn an_mget_of_10_or_100_keys_over_three_servers_allocates_nothing() {
    for n in [10, 100] {
        for clients in [1, 50] {
            assert_no_allocation(&mget(3, n).by(clients));
        }
    }
}

#[test]
fn an_mset_of_10_or_100_keys_over_three_servers_allocates_nothing() {
    for n in [10, 100] {
        for clients in [1, 50] {
            assert_no_allocation(&mset(3, n).by(clients));
        }
    }
}

#[test]
fn pipelines_over_three_servers_that_answer_in_the_wrong_order_allocate_nothing() {
    for depth in [1, 16, 64] {
        for clients in [1, 8, 50] {
            assert_no_allocation(&gets(3, depth).by(clients));
        }
    }
}

#[test]
fn requests_and_replies_in_pieces_allocate_nothing() {
    for piece in [1, 7, 100] {
        assert_no_allocation(&Exchange { piece, ..gets(3, 16).by(8) });
        assert_no_allocation(&Exchange { piece, ..mget(3, 10).by(8) });
    }
}

/// Bytes that a round of `spike` leaves allocated in an engine that has served small requests before.
fn bytes_left_by(spike: &Exchange) -> i64 {
    let mut rig = Rig::new(spike);
    let small = spike.one_by_one();
    for _ in 0..2_500 {
        rig.round(&small);
    }
    allocation_counter::measure(|| {
        rig.round(spike);
        rig.round(&small);
    })
    .bytes_current
}

/// Requests that reach no server.
fn local(request: Vec<u8>, answer: Vec<u8>) -> Exchange {
    Exchange::new(request, vec![Vec::new()], answer)
}

#[test]
fn a_large_message_that_the_proxy_echoes_leaves_nothing_behind() {
    let message = vec![b'x'; 8 << 20];
    let request = request(&[b"ECHO", &message]);
    let echo = Exchange { piece: 64 << 10, ..local(request, bulk(&message)) };
    let left = bytes_left_by(&echo);
    assert!(left < 256 << 10, "{left} bytes");
}

#[test]
fn a_spike_of_requests_leaves_little_behind() {
    let left = bytes_left_by(&Exchange { piece: 64 << 10, ..gets(1, 4_000).by(40) });
    assert!(left < 8 << 20, "{left} bytes");
}

/// memcached clients that ask for one key of 250 bytes that does not exist, by `command`, which makes `lines` for the server.
fn misses(command: &str, lines: usize) -> Exchange {
    let request = format!("{command} {}\r\n", "k".repeat(250)).into_bytes();
    let misses = Exchange::new(request, vec![b"END\r\n".repeat(lines)], b"END\r\n".to_vec());
    Exchange { joined: true, ..misses.in_memcached() }.by(2_000)
}

#[test]
fn a_spike_of_joined_gets_of_long_keys_leaves_little_behind() {
    let mut rig = Rig::new(&misses("gets", 2_000));
    rig.round(&misses("gets", 2_000));
    // Five such keys make a line.
    let left = allocation_counter::measure(|| rig.round(&misses("get", 400))).bytes_current;
    assert!(left < 64 << 10, "{left} bytes");
}

#[test]
fn commands_the_proxy_answers_itself_allocate_nothing() {
    let request = [
        request(&[b"PING"]),
        request(&[b"ECHO", b"hello"]),
        request(&[b"nonsense"]),
        b"ping\r\n".to_vec(),
    ];
    let unknown = "-ERR unknown command 'nonsense', with args beginning with: \r\n";
    let answer = format!("+PONG\r\n$5\r\nhello\r\n{unknown}+PONG\r\n").into_bytes();
    assert_no_allocation(&local(request.concat(), answer).by(8));
}

#[test]
fn reads_of_one_key_from_memcached_allocate_nothing() {
    for clients in [1, 50] {
        assert_no_allocation(&memcached_get(1, 1).by(clients));
        assert_no_allocation(&values(3, 16).by(clients));
    }
    assert_no_allocation(&joined_gets(16));
}

#[test]
fn a_multi_get_of_100_keys_over_three_servers_allocates_nothing() {
    // Each holds three buffers of 16 KiB (keys, and parts that wait for the last one), and the pool keeps 128.
    for clients in [1, 40] {
        assert_no_allocation(&multi_get(3, 100).by(clients));
    }
}

#[test]
fn memcached_sets_with_and_without_a_reply_allocate_nothing() {
    let (key, _) = keys(1, 1).remove(0);
    let silent = [b"set ", &key[..], b" 0 0 32 noreply\r\n", &value(&key), b"\r\n"].concat();
    let silent = Exchange::new(silent.repeat(8), vec![Vec::new()], Vec::new()).in_memcached();
    for clients in [1, 50] {
        assert_no_allocation(&memcached_set().by(clients));
        assert_no_allocation(&silent.clone().by(clients));
    }
}

#[test]
fn meta_gets_loud_and_quiet_ones_ended_by_mn_allocate_nothing() {
    let (key, _) = keys(1, 1).remove(0);
    let request = [b"mg ", &key[..], b" v k t O7\r\n"].concat();
    let reply = [b"VA 32 k", &key[..], b" t-1 O7\r\n", &value(&key), b"\r\n"].concat();
    let loud = Exchange::new(request, vec![reply.clone()], reply).in_memcached();
    for clients in [1, 50] {
        assert_no_allocation(&loud.clone().by(clients));
        assert_no_allocation(&quiet_gets(3, 30).by(clients));
    }
}

#[test]
fn memcached_requests_and_replies_in_pieces_allocate_nothing() {
    for piece in [1, 7, 100] {
        assert_no_allocation(&Exchange { piece, ..values(3, 16).by(8) });
        assert_no_allocation(&Exchange { piece, ..multi_get(3, 10).by(8) });
        assert_no_allocation(&Exchange { piece, ..quiet_gets(3, 10).by(8) });
        assert_no_allocation(&Exchange { piece, ..joined_gets(8) });
    }
}

#[test]
fn what_the_proxy_answers_memcached_clients_itself_allocates_nothing() {
    let request = b"verbosity 1\r\nbogus\r\nset a x 0 3\r\nabc\r\nmn\r\nstats\r\n".to_vec();
    let refused = "CLIENT_ERROR bad command line format\r\n";
    let answer = format!("OK\r\nERROR\r\n{refused}MN\r\nEND\r\n").into_bytes();
    assert_no_allocation(&local(request, answer).in_memcached().by(8));
}
