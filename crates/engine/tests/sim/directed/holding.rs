//! How long the replies to a pipeline wait for each other.

use engine::topology::Limits;

use crate::network::WireId;
use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

/// Clients that make a worker busy, and how long their server takes, µs.
const CROWD: usize = 12;
const ROUND_TRIP_US: u64 = 100;
/// Longest hold, whatever the round trip.
const HOLD_US_MAX: u64 = 500;

/// A client that has sent two requests to the one server, when `others` were active with it.
fn pipeline(rig: &mut Rig, others: usize) -> (WireId, WireId) {
    // A time at which nobody can have been active before.
    rig.pass_ms(10);
    let clients: Vec<_> = (0..others + 1).map(|_| rig.client()).collect();
    let (client, others) = clients.split_first().expect("there is one");
    rig.send(*client, command(&["get", "a"]));
    let server = rig.server(0);
    others.iter().for_each(|other| rig.send(*other, command(&["get", "b"])));
    rig.read(server);
    rig.pass(ROUND_TRIP_US);
    rig.send(server, bulk("v").repeat(1 + others.len()));
    assert_eq!(rig.read(*client), bulk("v"));
    rig.send(*client, command(&["get", "a"]) + &command(&["get", "b"]));
    rig.read(server);
    (*client, server)
}

#[test]
fn at_low_load_a_reply_goes_as_soon_as_nothing_else_is_there() {
    let mut rig = Rig::new(pool(1));
    let (client, server) = pipeline(&mut rig, 0);
    rig.send(server, bulk("1"));
    assert_eq!(rig.read(client), bulk("1"));
}

#[test]
fn under_load_replies_to_a_pipeline_go_together() {
    let mut rig = Rig::new(pool(1));
    let (client, server) = pipeline(&mut rig, CROWD);
    rig.send(server, bulk("1"));
    assert_eq!(rig.read(client), "");
    rig.pass(ROUND_TRIP_US / 2);
    assert_eq!(rig.read(client), "");
    rig.send(server, bulk("2"));
    assert_eq!(rig.read(client), bulk("1") + &bulk("2"));
    rig.pass(HOLD_US_MAX);
    rig.assert_at_rest();
}

#[test]
fn a_reply_is_held_for_two_round_trips_at_most() {
    let mut rig = Rig::new(pool(1));
    let (client, server) = pipeline(&mut rig, CROWD);
    rig.send(server, bulk("1"));
    assert_eq!(rig.read(client), "");
    rig.pass(2 * ROUND_TRIP_US);
    assert_eq!(rig.read(client), bulk("1"));
    rig.send(server, bulk("2"));
    assert_eq!(rig.read(client), bulk("2"));
}

#[test]
fn without_a_window_nothing_waits_while_nothing_comes() {
    let limits = Limits { window_us_max: 0, ..Limits::default() };
    let mut rig = Rig::with(pool(1), limits, 1 << 20);
    let (client, server) = pipeline(&mut rig, CROWD);
    rig.send(server, bulk("1"));
    assert_eq!(rig.read(client), bulk("1"));
}

#[test]
fn the_last_reply_waits_for_nothing() {
    let mut rig = Rig::new(pool(1));
    let (client, server) = pipeline(&mut rig, CROWD);
    rig.send(server, bulk("1") + &bulk("2"));
    assert_eq!(rig.read(client), bulk("1") + &bulk("2"));
}
