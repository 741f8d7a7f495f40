//! In steady state a request costs no allocation, whatever its kind: counted over the whole engine, from the bytes of
//! clients to the bytes for clients. Apart from the simulation because nothing but the engine may allocate here.

mod steady;

use engine::topology::Protocol;
use steady::{Exchange, Rig, bulk, gets, memcached_get, memcached_set, mget, mset, request, set};

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
fn gets_and_sets_of_memcached_allocate_nothing() {
    // The keys and the three parts of a long get take a large buffer each, of which the pool keeps 128.
    for clients in [1, 25] {
        assert_no_allocation(&memcached_set().by(clients));
        for n in [1, 10, 100] {
            assert_no_allocation(&memcached_get(3, n).by(clients));
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
    let (protocol, replies) = (Protocol::Redis, vec![Vec::new()]);
    Exchange { protocol, request, replies, answer, clients: 1, piece: usize::MAX }
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
