//! Commands over several shards: what the servers receive, and what the client gets for what they answer.

use std::time::Duration;

use engine::topology::{Ejection, Pool};

use super::{INVALID, REFUSED, RESET, TIMED_OUT};
use crate::network::{Door, WireId};
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

/// Three servers with a connection each, and a client.
struct Three {
    rig: Rig,
    client: WireId,
    servers: [WireId; 3],
    /// One key of each shard.
    keys: [String; 3],
}

impl Three {
    fn new() -> Three {
        let mut rig = Rig::new(pool(3));
        let client = rig.client();
        let keys = [rig.key(0, 0), rig.key(1, 0), rig.key(2, 0)];
        let servers = [0, 1, 2].map(|shard| {
            rig.send(client, command(&["get", &keys[shard]]));
            let server = rig.server(shard as u32);
            rig.send(server, bulk("warm"));
            rig.read(server);
            server
        });
        rig.read(client);
        Three { rig, client, servers, keys }
    }

    /// Sends `name` over one key of each shard and has each server answer; returns what the client gets.
    fn merge(&mut self, name: &str, order: [usize; 3], answers: [&str; 3]) -> String {
        let [a, b, c] = &self.keys;
        let words = match name {
            "mset" => vec![name, a, "1", b, "2", c, "3"],
            _ => vec![name, a, b, c],
        };
        self.rig.send(self.client, command(&words));
        for shard in order {
            assert_eq!(self.rig.read(self.client), "");
            self.rig.send(self.servers[shard], answers[shard]);
        }
        self.rig.read(self.client)
    }
}

/// All orders in which three servers can answer.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

#[test]
fn mget_answers_in_the_order_of_its_keys_whatever_order_servers_answer_in() {
    for order in ORDERS {
        let mut three = Three::new();
        let rig = &mut three.rig;
        let [a, b, c] = three.keys.clone();
        let a2 = rig.key(0, 1);
        rig.send(three.client, command(&["MGET", &c, &a, &b, &a, &a2, &c]));
        let requests = three.servers.map(|server| rig.read(server));
        assert_eq!(requests[0], command(&["mget", &a, &a, &a2]));
        assert_eq!(requests[1], command(&["mget", &b]));
        assert_eq!(requests[2], command(&["mget", &c, &c]));
        let answers = [
            "*3\r\n$1\r\n0\r\n$1\r\n1\r\n$-1\r\n",
            "*1\r\n$0\r\n\r\n",
            "*2\r\n$2\r\n\r\n\r\n-WRONGTYPE\r\n",
        ];
        for shard in order {
            assert_eq!(rig.read(three.client), "");
            rig.send(three.servers[shard], answers[shard]);
        }
        let merged = "*6\r\n$2\r\n\r\n\r\n$1\r\n0\r\n$0\r\n\r\n$1\r\n1\r\n$-1\r\n-WRONGTYPE\r\n";
        assert_eq!(rig.read(three.client), merged);
        rig.assert_at_rest();
    }
}

#[test]
fn counting_commands_add_up() {
    for name in ["del", "unlink", "touch", "exists"] {
        for order in ORDERS {
            let mut three = Three::new();
            let answer = three.merge(name, order, [":1\r\n", ":0\r\n", ":41\r\n"]);
            assert_eq!(answer, ":42\r\n", "{name}");
            let again = three.merge(name, order, [":1\r\n", ":1\r\n", ":1\r\n"]);
            assert_eq!(again, ":3\r\n", "{name}");
        }
    }
}

#[test]
fn a_number_that_cannot_be_added_fails_its_command_and_is_passed_on_where_nothing_is_added() {
    for number in [":99999999999999999999\r\n", ":\r\n", ":--5\r\n"] {
        let mut three = Three::new();
        assert_eq!(three.merge("del", ORDERS[3], [":1\r\n", number, ":1\r\n"]), INVALID);
        assert_eq!(three.merge("del", ORDERS[3], [":1\r\n", ":2\r\n", ":3\r\n"]), ":6\r\n");
        let Three { mut rig, client, servers, keys } = three;
        rig.read(servers[1]);
        rig.send(client, command(&["incr", &keys[1]]));
        assert_eq!(rig.read(servers[1]), command(&["incr", &keys[1]]), "over the same connection");
        rig.send(servers[1], number);
        assert_eq!(rig.read(client), number);
        rig.assert_at_rest();
    }
}

#[test]
fn mset_is_ok_once_all_parts_are_and_carries_each_value_with_its_key() {
    let mut three = Three::new();
    assert_eq!(three.merge("mset", [2, 0, 1], ["+OK\r\n"; 3]), "+OK\r\n");
    for (shard, value) in ["1", "2", "3"].into_iter().enumerate() {
        let request = command(&["mset", &three.keys[shard], value]);
        assert_eq!(three.rig.read(three.servers[shard]), request);
    }
}

#[test]
fn the_error_of_the_lowest_shard_is_the_commands_error() {
    for order in ORDERS {
        for name in ["mget", "mset", "del"] {
            let mut three = Three::new();
            let answers = ["*-1\r\n", "-ERR second\r\n", "-OOM third\r\n"];
            assert_eq!(three.merge(name, order, answers), "-ERR second\r\n", "{name}");
            three.rig.assert_at_rest();
            assert_eq!(three.rig.worker.counts.pools[0].forward_error.value(), 0);
        }
    }
}

#[test]
fn a_part_of_the_wrong_type_fails_the_command_and_nothing_else() {
    let cases: [(&str, &[&str]); 3] = [
        ("mget", &["*-1\r\n", "$-1\r\n", "+OK\r\n", ":1\r\n", "*0\r\n", "*2\r\n:1\r\n:2\r\n"]),
        ("del", &["*-1\r\n", "+OK\r\n", "$1\r\n1\r\n", "*1\r\n:1\r\n"]),
        ("mset", &["*-1\r\n", ":1\r\n", "$2\r\nOK\r\n", "+QUEUED\r\n"]),
    ];
    for (name, wrongs) in cases {
        let right = match name {
            "mget" => "*1\r\n$1\r\nx\r\n",
            "mset" => "+OK\r\n",
            _ => ":1\r\n",
        };
        for wrong in wrongs {
            let mut three = Three::new();
            assert_eq!(
                three.merge(name, [0, 1, 2], [right, wrong, right]),
                INVALID,
                "{name} {wrong}"
            );
            three.rig.send(three.client, command(&["get", &three.keys[1]]));
            three.rig.send(three.servers[1], bulk("fine"));
            assert_eq!(three.rig.read(three.client), bulk("fine"));
            three.rig.assert_at_rest();
        }
    }
}

#[test]
fn a_part_that_cannot_be_sent_fails_the_command_after_the_others_were_executed() {
    let mut rig = Rig::new(pool(3));
    let client = rig.client();
    let keys = [rig.key(0, 0), rig.key(1, 0), rig.key(2, 0)];
    rig.set_door(1, Door::Refuses(engine::fault::CONNECTION_REFUSED));
    rig.send(client, command(&["get", &keys[1]]));
    assert_eq!(rig.read(client), REFUSED);
    // The server is left alone now: its part fails at once.
    rig.send(client, command(&["del", &keys[0], &keys[1], &keys[2]]));
    let (first, third) = (rig.server(0), rig.server(2));
    assert_eq!(rig.read(first), command(&["del", &keys[0]]));
    assert_eq!(rig.read(third), command(&["del", &keys[2]]));
    rig.send(first, ":1\r\n");
    assert_eq!(rig.read(client), "");
    rig.send(third, ":1\r\n");
    assert_eq!(rig.read(client), REFUSED);
    assert_eq!(rig.worker.counts.pools[0].forward_error.value(), 2);
    rig.assert_at_rest();
}

#[test]
fn a_command_none_of_whose_parts_can_be_sent_fails_once() {
    let mut rig = Rig::new(pool(2));
    let client = rig.client();
    let keys = [rig.key(0, 0), rig.key(1, 0)];
    for server in [0, 1] {
        rig.set_door(server, Door::Refuses(engine::fault::CONNECTION_REFUSED));
    }
    for _ in 0..3 {
        rig.send(client, command(&["mget", &keys[0], &keys[1]]));
        assert_eq!(rig.read(client), REFUSED);
    }
    rig.assert_at_rest();
}

#[test]
fn the_first_cause_with_a_name_is_the_commands_fault() {
    let mut three = Three::new();
    let [a, b, c] = three.keys.clone();
    three.rig.send(three.client, command(&["mget", &a, &b, &c]));
    three.rig.reset(three.servers[2]);
    three.rig.close(three.servers[0]);
    three.rig.send(three.servers[1], "*1\r\n$-1\r\n");
    assert_eq!(three.rig.read(three.client), RESET, "the end of file of a lower shard has no name");
    three.rig.assert_at_rest();
}

#[test]
fn a_part_that_times_out_fails_the_command_and_its_late_reply_is_swallowed() {
    let mut three = Three::new();
    let [a, b, _] = three.keys.clone();
    three.rig.send(three.client, command(&["del", &a, &b]));
    three.rig.send(three.servers[0], ":1\r\n");
    three.rig.pass_ms(400);
    assert_eq!(three.rig.read(three.client), TIMED_OUT);
    three.rig.send(three.client, command(&["get", &b]));
    three.rig.send(three.servers[1], ":1\r\n".to_owned() + &bulk("b"));
    assert_eq!(three.rig.read(three.client), bulk("b"));
    three.rig.assert_at_rest();
}

#[test]
fn keys_that_share_a_shard_make_one_fragment_and_a_single_key_goes_as_it_came() {
    let mut three = Three::new();
    let keys = [three.rig.key(1, 0), three.rig.key(1, 1)];
    let single = command(&["MgEt", &keys[0]]);
    three.rig.send(three.client, command(&["MgEt", &keys[0], &keys[1]]) + &single);
    let fragment = command(&["mget", &keys[0], &keys[1]]);
    assert_eq!(three.rig.read(three.servers[1]), fragment + &single);
    three.rig.send(three.servers[1], "*2\r\n$-1\r\n:5\r\n+anything\r\n");
    assert_eq!(three.rig.read(three.client), "*2\r\n$-1\r\n:5\r\n+anything\r\n");
    let single = command(&["MSET", &keys[0], "value"]);
    three.rig.send(three.client, &single);
    assert_eq!(three.rig.read(three.servers[1]), single);
}

#[test]
fn splits_keep_their_place_in_the_pipeline() {
    let mut three = Three::new();
    let [a, b, c] = three.keys.clone();
    let pipeline = command(&["get", &c])
        + &command(&["mget", &a, &b])
        + &command(&["ping"])
        + &command(&["get", &a]);
    three.rig.send(three.client, pipeline);
    three.rig.send(three.servers[0], "*1\r\n$1\r\na\r\n".to_owned() + &bulk("second a"));
    three.rig.send(three.servers[1], "*1\r\n$1\r\nb\r\n");
    assert_eq!(three.rig.read(three.client), "");
    three.rig.send(three.servers[2], bulk("c"));
    let all = bulk("c") + "*2\r\n$1\r\na\r\n$1\r\nb\r\n+PONG\r\n" + &bulk("second a");
    assert_eq!(three.rig.read(three.client), all);
    three.rig.assert_at_rest();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_split_leaves_nothing_behind() {
    let mut three = Three::new();
    let [a, b, c] = three.keys.clone();
    let mget = command(&["mget", &a, &b, &c]);
    // One complete but not its turn, one half answered, one not at all.
    three.rig.send(three.client, command(&["get", &a]) + &command(&["mget", &b, &c]) + &mget);
    three.rig.send(three.servers[1], "*1\r\n$1\r\nb\r\n".repeat(2));
    three.rig.send(three.servers[2], "*1\r\n$1\r\nc\r\n");
    three.rig.reset(three.client);
    three.rig.send(three.servers[0], bulk("a") + "*1\r\n$1\r\na\r\n");
    three.rig.send(three.servers[2], "*1\r\n$1\r\nc\r\n");
    three.rig.assert_at_rest();
    assert_eq!(three.rig.worker.engine.clients(), 0);
    let other = three.rig.client();
    three.rig.send(other, command(&["get", &b]));
    three.rig.send(three.servers[1], bulk("b"));
    assert_eq!(three.rig.read(other), bulk("b"));
}

#[test]
fn a_split_over_a_ring_that_changes_meanwhile_is_still_merged_right() {
    let ejection =
        Ejection { failure_limit: 1, retry_timeout: Duration::from_secs(1), ..Ejection::default() };
    let mut rig = Rig::new(Pool { ejection: Some(ejection), ..pool(3) });
    let client = rig.client();
    let keys = [rig.key(0, 0), rig.key(1, 0), rig.key(2, 0)];
    rig.send(client, command(&["del", &keys[0], &keys[1], &keys[2]]));
    let servers = [rig.server(0), rig.server(1), rig.server(2)];
    rig.send(client, command(&["get", &keys[2]]));
    rig.reset(servers[2]);
    rig.send(servers[0], ":1\r\n");
    rig.send(servers[1], ":1\r\n");
    assert_eq!(rig.read(client), RESET.repeat(2));
    rig.assert_at_rest();
}
