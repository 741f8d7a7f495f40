//! Bounds: clients that ask more than they take, and the memory ceiling.

use engine::topology::{Limits, Pool};

use crate::network::WireId;
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

fn get(key: &str) -> String {
    command(&["get", key])
}

fn requests_in(text: &str) -> usize {
    text.matches("get\r\n").count()
}

/// Answers everything `server` is asked until nothing more comes; returns how many requests that were.
fn answer_all(rig: &mut Rig, server: WireId) -> usize {
    let mut answered = 0;
    loop {
        match requests_in(&rig.read(server)) {
            0 => return answered,
            asked => {
                rig.send(server, "$-1\r\n".repeat(asked));
                answered += asked;
            }
        }
    }
}

#[test]
fn a_new_client_may_have_32_unanswered_requests_and_two_more_with_each_reply() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a").repeat(1_000));
    let server = rig.server(0);
    assert_eq!(requests_in(&rig.read(server)), 32);
    // Read again at half of 64, up to 64.
    rig.send(server, "$-1\r\n".repeat(16));
    assert_eq!(requests_in(&rig.read(server)), 48);
    assert_eq!(rig.read(client), "$-1\r\n".repeat(16));
}

#[test]
fn a_client_is_paused_at_4096_unanswered_requests_and_read_again_below_half() {
    let mut rig = Rig::new(pool(1));
    let (client, other) = (rig.client(), rig.client());
    rig.send(client, get("a").repeat(3_000));
    let server = rig.server(0);
    assert_eq!(answer_all(&mut rig, server), 3_000);
    rig.send(client, get("a").repeat(10_000));
    assert_eq!(requests_in(&rig.read(server)), 4096);
    rig.send(other, get("b"));
    assert_eq!(rig.read(server), get("b"), "others are served");
    rig.send(server, "$-1\r\n".repeat(2048));
    assert_eq!(rig.read(server), "");
    rig.send(server, "$-1\r\n");
    assert_eq!(requests_in(&rig.read(server)), 2049);
    rig.send(server, "$-1\r\n".repeat(2047) + &bulk("b"));
    assert_eq!(rig.read(other), bulk("b"));
    rig.send(server, "$-1\r\n".repeat(2049));
    assert_eq!(answer_all(&mut rig, server), 10_000 - 4096 - 2049);
    assert!(rig.read(client) == "$-1\r\n".repeat(13_000));
    rig.assert_at_rest();
}

#[test]
fn a_client_is_paused_above_a_mebibyte_unsent_and_read_again_at_half() {
    const PIPE: usize = 256 << 10;
    let mut rig = Rig::with(pool(1), Limits::default(), PIPE);
    let client = rig.client();
    rig.send(client, get("a").repeat(100));
    let server = rig.server(0);
    assert_eq!(answer_all(&mut rig, server), 100);
    rig.read(client);
    rig.send(client, get("a").repeat(50));
    assert_eq!(requests_in(&rig.read(server)), 50);
    let value = bulk(&"v".repeat(50_000));
    for _ in 0..50 {
        rig.send(server, &value);
    }
    // More than a mebibyte is held. One more request is read, since only then is there somebody to pause.
    rig.send(client, get("b").repeat(10));
    assert_eq!(requests_in(&rig.read(server)), 1);
    let total = 50 * value.len();
    let (mut taken, mut asked) = (0, 1);
    let mut read_again_at = None;
    while taken < total {
        taken += rig.read(client).len();
        asked += requests_in(&rig.read(server));
        if asked > 1 && read_again_at.is_none() {
            read_again_at = Some((total - taken).saturating_sub(PIPE));
        }
    }
    // A reply of the usual size is still to come, and the pipe drains in steps.
    let read_again_at = read_again_at.expect("read again");
    assert!((200_000..=512 << 10).contains(&read_again_at), "{read_again_at} bytes were held");
    assert_eq!(asked, 10);
    rig.send(server, "$-1\r\n".repeat(10));
    assert_eq!(rig.read(client), "$-1\r\n".repeat(10));
    rig.assert_at_rest();
}

#[test]
fn a_client_that_half_closes_while_paused_gets_every_reply() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, get("a").repeat(6_000));
    rig.half_close(client);
    let server = rig.server(0);
    for _ in 0..10 {
        let asked = requests_in(&rig.read(server));
        rig.send(server, "$-1\r\n".repeat(asked));
    }
    assert_eq!(rig.read(client), "$-1\r\n".repeat(6_000));
    assert!(rig.is_closed(client));
    rig.assert_at_rest();
}

#[test]
fn a_client_that_never_reads_costs_a_bounded_amount_of_memory() {
    let mut rig = Rig::with(Pool { timeout: None, ..pool(1) }, Limits::default(), 100_000);
    let client = rig.client();
    let echo = command(&["echo", &"e".repeat(900)]);
    for _ in 0..20_000 {
        rig.network.send(client, echo.as_bytes());
        rig.settle();
    }
    let held = rig.worker.engine.buffered_bytes();
    assert!(held > 1 << 20 && held < (1 << 20) + (256 << 10), "{held} bytes are held");
    rig.reset(client);
    rig.assert_at_rest();
}

#[test]
fn above_the_memory_ceiling_requests_are_refused_and_large_replies_dropped() {
    let limits = Limits { worker_memory_bytes_max: 100_000, ..Limits::default() };
    let mut rig = Rig::with(pool(1), limits, 10_000);
    let (reader, other) = (rig.client(), rig.client());
    for _ in 0..41 {
        rig.send(reader, get("a").repeat(5));
    }
    let server = rig.server(0);
    let value = bulk(&"v".repeat(1_000));
    for _ in 0..200 {
        rig.read(server);
        rig.send(server, &value);
    }
    assert!(rig.worker.engine.buffered_bytes() > 100_000);
    rig.send(other, get("b") + "ping\r\n");
    let shed = "-ERR max_memory of the proxy is reached, try again later\r\n";
    assert_eq!(rig.read(other), shed.to_owned() + "+PONG\r\n");
    rig.send(server, bulk(&"v".repeat(5_000)) + &value.repeat(4));
    let mut replies = rig.read(reader);
    while rig.worker.engine.buffered_bytes() > 0 {
        replies += &rig.read(reader);
    }
    replies += &rig.read(reader);
    let dropped = "-ERR max_memory of the proxy is reached, reply dropped\r\n";
    assert!(replies == value.repeat(200) + dropped + &value.repeat(4));
    assert_eq!(rig.worker.counts.shed.value(), 2);
    assert_eq!(rig.read(server), "");
    rig.send(other, get("b"));
    assert_eq!(rig.read(server), get("b"), "there is room again");
}

/// A worker with this ceiling, and a server of it that has taken so many requests, from clients with 20 each, and answers
/// none.
fn burdened(worker_memory_bytes_max: usize, requests: usize) -> (Rig, WireId) {
    let limits = Limits { worker_memory_bytes_max, ..Limits::default() };
    let mut rig = Rig::with(Pool { timeout: None, ..pool(1) }, limits, 64 << 20);
    for _ in 0..requests / 20 {
        let client = rig.client();
        rig.send(client, get("a").repeat(20));
    }
    let server = rig.server(0);
    assert_eq!(requests_in(&rig.read(server)), requests);
    assert_eq!(rig.worker.engine.buffered_bytes(), 0);
    assert_eq!(rig.worker.counts.shed.value(), 0);
    (rig, server)
}

const SHED: &str = "-ERR max_memory of the proxy is reached, try again later\r\n";

#[test]
fn requests_that_wait_for_a_server_fill_the_memory_ceiling_although_their_bytes_are_gone() {
    let (mut rig, server) = burdened(60 * 1024, 840);
    let (one, other) = (rig.client(), rig.client());
    for _ in 0..30 {
        rig.send(one, get("b"));
    }
    rig.send(other, get("b"));
    assert_eq!(rig.read(other), SHED);
    let taken = 840 + requests_in(&rig.read(server));
    assert!((841..870).contains(&taken), "{taken} requests in 60 KiB");
}

#[test]
fn a_client_that_is_refused_for_want_of_memory_is_not_read_on_before_all_it_asked_is_answered() {
    let (mut rig, server) = burdened(60 * 1024, 840);
    let client = rig.client();
    rig.send(client, get("b").repeat(100));
    let asked = requests_in(&rig.read(server));
    assert!((1..20).contains(&asked), "{asked} fitted");
    rig.send(client, get("c").repeat(100));
    assert_eq!(rig.worker.counts.shed.value(), 1, "the others wait");
    rig.send(server, "$-1\r\n".repeat(840 + asked));
    let answered = answer_all(&mut rig, server);
    assert_eq!(answered, 200 - asked - 1);
    assert_eq!(rig.worker.counts.shed.value(), 1);
    let replies = rig.read(client);
    assert_eq!(replies, "$-1\r\n".repeat(asked) + SHED + &"$-1\r\n".repeat(answered));
    rig.assert_at_rest();
}

#[test]
fn many_arguments_of_a_byte_count_with_what_they_take_here() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, "*1000000\r\n$4\r\nmget\r\n");
    let mut bytes = 0;
    for _ in 0..20 {
        let some = "$1\r\na\r\n".repeat(1_000);
        bytes += some.len();
        rig.send(client, some);
    }
    let lists = 20_000 * size_of::<[u32; 2]>();
    let held = rig.worker.engine.buffered_bytes();
    assert!(held > bytes + lists && held < 2 * (bytes + lists) + 5_000, "{held} are counted");
    rig.reset(client);
    rig.assert_at_rest();
}

#[test]
fn above_the_memory_ceiling_an_endless_request_is_cut_off() {
    let upload_bytes_min = usize::MAX;
    let limits = Limits { worker_memory_bytes_max: 100_000, upload_bytes_min, ..Limits::default() };
    let mut rig = Rig::with(pool(1), limits, 64 << 20);
    let client = rig.client();
    rig.send(
        client,
        "*3\r\n$3\r\nset\r\n$1\r\na\r\n$500000000\r\n".to_owned() + &"x".repeat(300_000),
    );
    rig.send(client, "x".repeat(1_000));
    let shed = "-ERR max_memory of the proxy is reached, try again later\r\n";
    assert_eq!(rig.read(client), shed);
    assert!(rig.is_closed(client));
    assert!(rig.nobody_connects_to(0));
    rig.assert_at_rest();
}

#[test]
fn an_announced_size_is_not_reserved() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, "*3\r\n$3\r\nset\r\n$1\r\na\r\n$500000000\r\nx");
    assert!(rig.worker.engine.buffered_bytes() < 10_000);
    rig.send(client, "y");
    assert!(rig.worker.engine.buffered_bytes() < 10_000);
    let other = rig.client();
    rig.send(other, get("b"));
    let server = rig.server(0);
    rig.send(server, "$500000000\r\nx");
    rig.send(server, "y");
    assert!(rig.worker.engine.buffered_bytes() < 20_000);
}
