//! Commands of several keys that cannot be split.

use engine::Event;
use engine::topology::{CrossShard, Pool};
use sharding::{Distribution, HashTag};

use crate::rig::{Rig, command};
use crate::scenario::pool;

const CROSS_SLOT: &str = "-CROSSSLOT Keys in request don't hash to the same shard\r\n";

fn strict() -> Pool {
    Pool { cross_shard: CrossShard::Error, ..pool(2) }
}

#[test]
fn first_key_sends_the_whole_command_to_its_shard_and_tells_once() {
    let mut rig = Rig::new(pool(2));
    let (client, a, b) = (rig.client(), rig.key(0, 0), rig.key(1, 0));
    let sinter = command(&["sinter", &b, &a]);
    rig.send(client, sinter.repeat(3) + &command(&["sunion", &b, &a]));
    let server = rig.server(1);
    assert_eq!(rig.read(server), sinter.repeat(3) + &command(&["sunion", &b, &a]));
    assert!(rig.nobody_connects_to(0));
    let told = |command| Event::CrossShard { pool: 0, command };
    assert_eq!(rig.events(), [told("sinter"), told("sunion")]);
    assert_eq!(rig.worker.counts.pools[0].cross_shard.value(), 4);
}

#[test]
fn error_refuses_the_command_in_its_place_and_sends_nothing() {
    let mut rig = Rig::new(strict());
    let (client, a, b) = (rig.client(), rig.key(0, 0), rig.key(1, 0));
    rig.send(client, command(&["get", &a]) + &command(&["sinter", &a, &b]));
    let server = rig.server(0);
    assert_eq!(rig.read(server), command(&["get", &a]));
    rig.send(server, "$-1\r\n");
    assert_eq!(rig.read(client), "$-1\r\n".to_owned() + CROSS_SLOT);
    assert!(rig.nobody_connects_to(1));
    assert_eq!(rig.worker.counts.pools[0].cross_shard.value(), 0);
}

#[test]
fn keys_of_one_shard_pass_under_either_policy() {
    for pool in [pool(2), strict()] {
        let mut rig = Rig::new(pool);
        let client = rig.client();
        let sinter = command(&["sinter", &rig.key(1, 0), &rig.key(1, 1), &rig.key(1, 2)]);
        rig.send(client, &sinter);
        let server = rig.server(1);
        assert_eq!(rig.read(server), sinter);
        assert_eq!(rig.events(), []);
    }
}

#[test]
fn commands_that_0_5_did_not_know_never_cross_shards() {
    let mut rig = Rig::new(pool(2));
    let (client, a, b) = (rig.client(), rig.key(0, 0), rig.key(1, 0));
    rig.send(client, command(&["sintercard", "2", &a, &b]));
    assert_eq!(rig.read(client), CROSS_SLOT);
    let same = command(&["sintercard", "2", &a, &rig.key(0, 1)]);
    rig.send(client, &same);
    let server = rig.server(0);
    assert_eq!(rig.read(server), same);
}

#[test]
fn keys_that_cannot_be_told_are_refused_unless_0_5_left_them_to_the_server() {
    let mut rig = Rig::new(pool(2));
    let (client, d) = (rig.client(), rig.key(1, 0));
    let zunionstore = command(&["zunionstore", &d, "9", "a", "b"]);
    rig.send(client, &zunionstore);
    let server = rig.server(1);
    assert_eq!(rig.read(server), zunionstore);
    assert!(rig.nobody_connects_to(0));
    let mut rig = Rig::new(strict());
    let client = rig.client();
    rig.send(client, &zunionstore);
    assert_eq!(rig.read(client), "-ERR syntax error\r\n");
    assert!(rig.nobody_connects_to(1));
}

#[test]
fn zunion_goes_to_the_shard_of_its_first_key_and_not_of_its_number() {
    let mut rig = Rig::new(strict());
    let client = rig.client();
    for shard in [0, 1] {
        let zunion = command(&["zunion", "2", &rig.key(shard, 0), &rig.key(shard, 1)]);
        rig.send(client, &zunion);
        let server = rig.server(shard as u32);
        assert_eq!(rig.read(server), zunion);
    }
}

#[test]
fn a_hash_tag_brings_keys_together() {
    let hash_tag = Some(HashTag { open: b'{', close: b'}' });
    let mut rig = Rig::new(Pool { hash_tag, ..strict() });
    let client = rig.client();
    for tag in 0..20 {
        rig.send(client, command(&["sinter", &format!("a{{{tag}}}"), &format!("b{{{tag}}}")]));
    }
    assert_eq!(rig.read(client), "");
    let both =
        [rig.server(0), rig.server(1)].map(|server| rig.read(server).matches("sinter").count());
    assert_eq!(both[0] + both[1], 20);
}

#[test]
fn where_keys_do_not_decide_nothing_crosses() {
    for pool in [
        Pool { servers: pool(1).servers, ..strict() },
        Pool { distribution: Distribution::Random, ..strict() },
    ] {
        let mut rig = Rig::new(pool);
        let client = rig.client();
        for n in 0..20 {
            rig.send(client, command(&["sinter", &format!("a{n}"), &format!("b{n}")]));
        }
        assert_eq!(rig.read(client), "");
    }
}
