//! Servers that fail: the same words to clients, after as many errors, and the same way back.

use super::{Pair, reference};
use crate::harness::{Client, PATIENCE, Pool, Proxy, RealServer, eventually, within};

/// The line that answers a `set`.
#[track_caller]
fn try_set(client: &mut Client, key: &str) -> String {
    client.send(format!("set {key} 0 0 1\r\nx\r\n").as_bytes());
    client.text_line()
}

fn ejecting(servers: &[RealServer], limit: u32, retry_ms: u32) -> String {
    Pool::memcached(servers)
        .set("hash", "murmur")
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", limit)
        .set("server_retry_timeout", retry_ms)
        .set("timeout", 1000)
        .to_string()
}

/// What happens to a key of the second server, which is killed before `start` starts another proxy: the answers to ten
/// sets, and where the key lives then and after the server has come back.
fn outage(start: impl Fn(&[RealServer]) -> Proxy, servers: &mut [RealServer]) -> Vec<String> {
    let before = start(servers);
    let mut client = before.client();
    let key = (0..200).map(|n| format!("key{n}")).find(|key| {
        assert_eq!(try_set(&mut client, key), "STORED");
        is_on(&servers[1], key)
    });
    let key = key.expect("a key of the second server");
    servers[1].stop();
    let proxy = start(servers);
    let mut client = proxy.client();
    let mut told: Vec<String> = (0..10).map(|_| try_set(&mut client, &key)).collect();
    told.push(format!("on the first: {}", is_on(&servers[0], &key)));
    servers[1].start_again();
    let comes_back =
        within(PATIENCE, || try_set(&mut client, &key) == "STORED" && is_on(&servers[1], &key));
    told.push(format!("comes back: {comes_back}"));
    told
}

fn is_on(server: &RealServer, key: &str) -> bool {
    let mut client = server.client();
    client.send(format!("mg {key}\r\n").as_bytes());
    client.text_line() == "HD"
}

#[test]
fn an_outage_costs_clients_what_it_cost_with_0_5() {
    let Some(reference) = reference() else { return };
    for limit in [1, 2, 3] {
        let mut servers = [RealServer::several_memcached(2), RealServer::several_memcached(2)];
        let launch = |servers: &[RealServer]| Proxy::with(ejecting(servers, limit, 1000));
        let ours = outage(|servers| launch(servers).workers(1).start(), &mut servers[0]);
        let theirs =
            outage(|servers| launch(servers).reference(&reference).start(), &mut servers[1]);
        assert_eq!(ours, theirs, "limit {limit}");
        let errors = ours.iter().filter(|line| line.starts_with("SERVER_ERROR ")).count();
        assert_eq!(errors, limit as usize);
    }
}

#[test]
fn a_server_that_hangs_is_told_of_in_the_same_words() {
    let Some(reference) = reference() else { return };
    let mut servers = [RealServer::several_memcached(1), RealServer::several_memcached(1)];
    let pair = Pair::start(&reference, [&servers[0], &servers[1]], |servers| {
        Pool::memcached(servers).set("timeout", 200).to_string()
    });
    let told: Vec<Vec<String>> = [&pair.ours, &pair.theirs]
        .into_iter()
        .zip(&mut servers)
        .map(|(proxy, servers)| {
            let mut client = proxy.client();
            let first = try_set(&mut client, "a");
            servers[0].freeze();
            let late = try_set(&mut client, "a");
            client.send(b"set a 0 0 1 noreply\r\ny\r\n");
            servers[0].thaw();
            let after = eventually("the server answers again", || {
                Some(try_set(&mut client, "a")).filter(|line| line == "STORED")
            });
            vec![first, late, after]
        })
        .collect();
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0][1], "SERVER_ERROR Connection timed out");
}

#[test]
fn preconnect_opens_the_same_connections() {
    let Some(reference) = reference() else { return };
    let servers = [RealServer::several_memcached(2), RealServer::several_memcached(2)];
    let pair = Pair::start(&reference, [&servers[0], &servers[1]], |servers| {
        Pool::memcached(servers).set("preconnect", true).to_string()
    });
    for proxy in [&pair.ours, &pair.theirs] {
        for server in ["server1", "server2"] {
            proxy.await_stat(&[server, "server_connections"], 1);
        }
    }
}
