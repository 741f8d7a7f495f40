//! Reloading the configuration while clients are served: what a file says holds from then on, and nobody notices who has
//! nothing to do with what changed.

mod files;
mod load;

use rustix::process::Signal;

use crate::harness::{
    Client, Ending, FakeConnection, FakeServer, Gate, PATIENCE, Pool, Proxy, RealServer, Reply,
    WORKER_COUNTS, eventually, requests, spread, unused_port,
};

fn yaml(pools: &[Pool]) -> String {
    pools.iter().map(Pool::to_string).collect()
}

#[test]
fn the_same_file_again_changes_nothing_and_costs_nothing() {
    let servers = RealServer::several(2);
    for workers in WORKER_COUNTS {
        let mut proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        let mut client = proxy.client();
        spread(&mut client, &servers, 1);
        let connections = proxy.stat(&["server1", "server_connections"]);
        let open = proxy.open_files_at_rest();
        for signal in [Signal::HUP, Signal::USR1, Signal::HUP] {
            proxy.reload_by(signal);
            client.expect_usable();
            assert_eq!(client.call(&["SET", "a", "b"]), Reply::ok());
        }
        proxy.await_open_files(open);
        assert_eq!(proxy.stat(&["server1", "server_connections"]), connections);
        assert!(proxy.log().contains("reloaded: nothing has changed"), "{}", proxy.log());
        assert_eq!(proxy.metric("nutcracker_config_epoch"), 1);
    }
}

#[test]
fn a_changed_listen_opens_the_new_address_and_closes_the_old_while_clients_stay() {
    let servers = RealServer::several(2);
    for workers in WORKER_COUNTS {
        let mut proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        // One for each worker, so that all connections to servers are there.
        let mut clients = [proxy.client(), proxy.client()];
        for client in &mut clients {
            assert_eq!(client.call(&["SET", "a", "b"]), Reply::ok());
        }
        let open = proxy.open_files_at_rest();
        proxy.reload(Pool::redis(&servers).listen(1));
        let mut newcomer = proxy.client_of(1);
        assert_eq!(newcomer.call(&["GET", "a"]), Reply::bulk("b"));
        for client in &mut clients {
            assert_eq!(client.call(&["GET", "a"]), Reply::bulk("b"), "it is still served");
        }
        eventually("the old address refuses", || {
            Client::try_connect(proxy.address(0)).is_err().then_some(())
        });
        drop(newcomer);
        proxy.await_open_files(open);
        proxy.reload(Pool::redis(&servers));
        clients.iter_mut().for_each(Client::expect_usable);
        assert_eq!(proxy.client().call(&["GET", "a"]), Reply::bulk("b"));
    }
}

#[test]
fn pools_come_and_go() {
    let servers = RealServer::several(2);
    let alpha = Pool::redis(&servers);
    let beta = Pool::redis(&servers[..1]).named("beta").listen(1);
    for workers in WORKER_COUNTS {
        let mut proxy = Proxy::with(&alpha).workers(workers).start();
        let mut client = proxy.client();
        assert_eq!(client.call(&["SET", "a", "b"]), Reply::ok());
        let open = proxy.open_files_at_rest();
        proxy.reload(yaml(&[alpha.clone(), beta.clone()]));
        let mut of_beta: Vec<Client> = (0..5).map(|_| proxy.client_of(1)).collect();
        for client in &mut of_beta {
            assert_eq!(client.call(&["SET", "a", "b"]), Reply::ok());
        }
        assert_eq!(proxy.stats()["beta"]["client_connections"], 5);
        proxy.reload(&alpha);
        for client in &mut of_beta {
            assert_eq!(client.drain(PATIENCE), (Vec::new(), Ending::Eof));
        }
        assert!(proxy.stats()["beta"].is_null());
        assert_eq!(client.call(&["GET", "a"]), Reply::bulk("b"));
        eventually("the address of the pool refuses", || {
            Client::try_connect(proxy.address(1)).is_err().then_some(())
        });
        proxy.await_open_files(open);
        eventually("its clients are not counted any more", || {
            (proxy.stat(&["client_connections"]) == 1 && proxy.metric("nutcracker_clients") == 1)
                .then_some(())
        });
        let log = proxy.log();
        assert!(log.contains("reloaded: pool added: 'beta'"), "{log}");
        assert!(log.contains("reloaded: pool removed: 'beta'"), "{log}");
    }
}

#[test]
fn a_pool_that_is_gone_answers_what_is_in_flight_first() {
    for workers in WORKER_COUNTS {
        let answer = Gate::closed();
        let gate = answer.clone();
        let server = FakeServer::start(move |connection| {
            while connection.request().is_some() {
                gate.pass();
                connection.send(b"+late\r\n");
            }
        });
        let beta = Pool::redis(&[&server]).named("beta").listen(1);
        let alpha = Pool::redis(&[&server]);
        let mut proxy = Proxy::with(yaml(&[alpha.clone(), beta])).workers(workers).start();
        let mut client = proxy.client_of(1);
        client.send(&requests("GET a\nGET b"));
        eventually("the requests are in flight", || (!server.received().is_empty()).then_some(()));
        proxy.reload(alpha);
        answer.open();
        client.expect_then_closed(b"+late\r\n+late\r\n");
    }
}

#[test]
fn what_a_pool_that_is_gone_does_not_finish_is_cut_after_the_drain_timeout() {
    let server = FakeServer::start(FakeConnection::never_answer);
    let beta = Pool::redis(&[&server]).named("beta").listen(1);
    let alpha = Pool::redis(&[&server]);
    let global = "global:\n  drain_timeout: 50\n";
    let mut proxy = Proxy::start(format!("{global}{}", yaml(&[alpha.clone(), beta])));
    let mut client = proxy.client_of(1);
    client.send(&requests("GET a"));
    eventually("the request is in flight", || (!server.received().is_empty()).then_some(()));
    proxy.reload(format!("{global}{alpha}"));
    client.expect_then_closed(b"-ERR Connection timed out\r\n");
}

#[test]
fn a_pool_that_changes_its_protocol_starts_anew_at_its_address() {
    let (redis, memcached) = (RealServer::redis(), RealServer::memcached());
    for workers in WORKER_COUNTS {
        let mut proxy = Proxy::with(Pool::redis(&[&redis])).workers(workers).start();
        let mut client = proxy.client();
        client.expect_usable();
        proxy.reload(Pool::memcached(&[&memcached]));
        assert_eq!(client.drain(PATIENCE), (Vec::new(), Ending::Eof));
        proxy.client().ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
        proxy.client().ask("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    }
}

#[test]
fn pools_may_swap_their_addresses() {
    let servers = RealServer::several(2);
    let pools = |alpha: usize, beta: usize| {
        let pool = |n: usize| Pool::redis(&servers[n..=n]);
        yaml(&[pool(0).listen(alpha), pool(1).named("beta").listen(beta)])
    };
    for (n, server) in servers.iter().enumerate() {
        server.client().call(&["SET", "who", &n.to_string()]);
    }
    for workers in WORKER_COUNTS {
        let mut proxy = Proxy::with(pools(0, 1)).workers(workers).start();
        let mut clients = [proxy.client_of(0), proxy.client_of(1)];
        proxy.reload(pools(1, 0));
        for (n, client) in clients.iter_mut().enumerate() {
            let expected = n.to_string();
            assert_eq!(client.call(&["GET", "who"]), Reply::bulk(&expected), "of the same pool");
            let newcomer = proxy.client_of(1 - n).call(&["GET", "who"]);
            assert_eq!(newcomer, Reply::bulk(&expected), "of the other pool");
        }
    }
}

#[test]
fn a_unix_listener_gets_other_permissions_and_moves() {
    use std::os::unix::fs::PermissionsExt;
    let server = RealServer::redis();
    let pool = |listen: &str| Pool::redis(&[&server]).set("listen", listen);
    let mut proxy = Proxy::start(pool("@dir/a.sock 0600"));
    let (a, b) = (proxy.dir().join("a.sock"), proxy.dir().join("b.sock"));
    let mode = |path: &std::path::Path| {
        let found = std::fs::metadata(path).map(|found| found.permissions().mode() & 0o777);
        found.unwrap_or_default()
    };
    eventually("the socket is there", || (mode(&a) == 0o600).then_some(()));
    let mut client = Client::connect_unix(&a);
    client.expect_usable();
    proxy.reload(pool("@dir/a.sock 0660"));
    assert_eq!(mode(&a), 0o660);
    Client::connect_unix(&a).expect_usable();
    std::fs::remove_file(&a).expect("remove the socket");
    proxy.reload_by(Signal::HUP);
    assert_eq!(mode(&a), 0o660, "a socket that somebody removed is made again");
    Client::connect_unix(&a).expect_usable();
    proxy.reload(pool("@dir/b.sock"));
    Client::connect_unix(&b).expect_usable();
    assert!(!a.exists(), "the old one is gone");
    client.expect_usable();
}

#[test]
fn an_address_that_cannot_be_had_leaves_everything_as_it_was() {
    let server = RealServer::redis();
    let taken = eventually("a free port", || {
        std::net::TcpListener::bind(("127.0.0.1", unused_port())).ok()
    });
    let taken_address = taken.local_addr().expect("an address");
    let alpha = Pool::redis(&[&server]);
    let beta = Pool::redis(&[&server]).named("beta").listen(1);
    let mut proxy = Proxy::start(&alpha);
    let open = proxy.open_files_at_rest();
    let mut client = proxy.client();
    client.expect_usable();
    let other = server_at(taken_address);
    proxy.rewrite(yaml(&[alpha.clone().listen(2), beta.clone(), other]));
    proxy.signal(Signal::USR1);
    eventually("the reload fails", || (proxy.reloads() == (0, 1)).then_some(()));
    let log = proxy.log();
    assert!(log.contains("in use") && log.contains("the running configuration stays"), "{log}");
    client.expect_usable();
    proxy.client().expect_usable();
    assert!(Client::try_connect(proxy.address(1)).is_err(), "what was bound is closed again");
    drop(client);
    proxy.await_open_files(open);
    proxy.reload(yaml(&[alpha, beta]));
    proxy.client_of(1).expect_usable();
}

fn server_at(address: std::net::SocketAddr) -> Pool {
    Pool::redis(&["127.0.0.1:1"]).named("gamma").set("listen", address)
}

#[test]
fn a_server_that_moves_takes_its_keys_along_and_the_old_connection_closes() {
    let servers = RealServer::several(3);
    let pool = |first: &RealServer| {
        Pool::redis(&[first, &servers[1]]).set("distribution", "ketama").set("hash", "murmur")
    };
    for workers in WORKER_COUNTS {
        let mut proxy = Proxy::with(pool(&servers[0])).workers(workers).start();
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers[..2], 1);
        assert_eq!(client.call(&["SET", &keys[1][0], "x"]), Reply::ok());
        let mut direct = servers[0].client();
        proxy.reload(pool(&servers[2]));
        assert_eq!(client.call(&["SET", &keys[0][0], "new"]), Reply::ok());
        assert_eq!(servers[2].client().call(&["GET", &keys[0][0]]), Reply::bulk("new"));
        assert_eq!(client.call(&["GET", &keys[1][0]]), Reply::bulk("x"), "the other stays");
        eventually("nobody but us is connected to where it was", || {
            let list = direct.call(&["CLIENT", "LIST"]).text();
            (list.lines().count() == 1).then_some(())
        });
        servers.iter().for_each(RealServer::clear);
    }
}

#[test]
fn an_ejected_server_stays_ejected_until_it_moves() {
    let mut servers = RealServer::several(2);
    let replacement = RealServer::redis();
    let pool = |first: &dyn Fn() -> String| {
        Pool::redis(&[first(), crate::harness::Location::location(&servers[1])])
            .set("auto_eject_hosts", true)
            .set("server_failure_limit", 1)
            .set("server_retry_timeout", 600_000)
    };
    let location = |server: &RealServer| crate::harness::Location::location(server);
    let (old, new) = (location(&servers[0]), location(&replacement));
    let (before, after) = (pool(&|| old.clone()), pool(&|| new.clone()));
    let mut proxy = Proxy::with(&before).workers(2).start();
    let mut client = proxy.client();
    let key = spread(&mut client, &servers, 1)[0][0].clone();
    servers[0].stop();
    eventually("the server is ejected", || {
        (client.call(&["SET", &key, "x"]) == Reply::ok()).then_some(())
    });
    assert_eq!(proxy.stat(&["server_ejects"]), 1);
    proxy.reload(before.set("timeout", 5000));
    for _ in 0..10 {
        assert_eq!(client.call(&["SET", &key, "y"]), Reply::ok());
        assert_eq!(proxy.client().call(&["GET", &key]), Reply::bulk("y"));
    }
    proxy.reload(after);
    assert_eq!(client.call(&["SET", &key, "z"]), Reply::ok());
    assert_eq!(replacement.client().call(&["GET", &key]), Reply::bulk("z"));
    assert_eq!(proxy.stat(&["server_ejects"]), 1, "the count goes on");
}

#[test]
fn counts_go_on_and_follow_what_is_served() {
    let servers = RealServer::several(3);
    for workers in WORKER_COUNTS {
        let mut proxy = Proxy::with(Pool::redis(&servers[..2])).workers(workers).start();
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers[..2], 1);
        assert_eq!(client.call(&["SET", &keys[0][0], "x"]), Reply::ok());
        let requests = proxy.stat(&["server1", "requests"]);
        let total = proxy.stats()["total_connections"].as_i64();
        proxy.reload(Pool::redis(&servers).set("distribution", "modula"));
        assert_eq!(proxy.stat(&["server1", "requests"]), requests);
        assert_eq!(proxy.stat(&["server3", "requests"]), 0);
        assert_eq!(proxy.stats()["total_connections"].as_i64(), total);
        assert_eq!(proxy.metric("nutcracker_config_epoch"), 2);
        proxy.reload(Pool::redis(&servers[..1]));
        assert!(proxy.stats()["alpha"]["server2"].is_null());
        assert_eq!(client.call(&["GET", &keys[0][0]]), Reply::bulk("x"));
        assert_eq!(proxy.stat(&["server1", "requests"]), requests + 1);
        let info = client.call(&["INFO", "proxy"]).text();
        for line in ["config_epoch:3", "config_reloads:2", "config_last_reload_status:ok"] {
            assert!(info.contains(line), "{line} in {info}");
        }
        servers.iter().for_each(RealServer::clear);
    }
}

/// The counters of INFO, and the one at the top of the stats document.
fn counters(proxy: &Proxy, client: &mut Client) -> Vec<(String, u64)> {
    let info = client.call(&["INFO", "stats"]).text();
    let lines = info.lines().filter_map(|line| line.split_once(':'));
    let counters =
        lines.filter(|(name, _)| !["curr_connections", "server_connections"].contains(name));
    let mut counters: Vec<(String, u64)> =
        counters.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect();
    let total = proxy.stats()["total_connections"].as_u64().expect("a number");
    counters.push(("connections in the document".into(), total));
    counters
}

#[test]
fn sums_over_pools_never_go_back_when_pools_and_servers_leave() {
    let servers = RealServer::several(2);
    let alpha = Pool::redis(&servers);
    let beta = Pool::redis(&servers[1..]).named("beta").listen(1);
    for workers in WORKER_COUNTS {
        let mut proxy = Proxy::with(yaml(&[alpha.clone(), beta.clone()])).workers(workers).start();
        let mut client = proxy.client();
        for key in spread(&mut client, &servers, 5).concat() {
            assert_eq!(client.call(&["SET", &key, "x"]), Reply::ok());
        }
        let mut of_beta = proxy.client_of(1);
        assert!(!of_beta.call(&["GET", "a"]).is_error());
        drop(of_beta);
        eventually("the end of its client is counted", || {
            (proxy.stats()["beta"]["client_connections"] == 0).then_some(())
        });
        let least = counters(&proxy, &mut client);
        let fewer_servers = Pool::redis(&servers[..1]);
        for (next, more) in [(&alpha, 1), (&fewer_servers, 2), (&alpha, 3)] {
            proxy.reload(next);
            let now = counters(&proxy, &mut client);
            for ((name, least), (_, now)) in least.iter().zip(&now) {
                assert!(now >= least, "{name} was {least} and is {now} after reload {more}");
            }
            let requests = |of: &[(String, u64)]| of[2].clone();
            assert_eq!(requests(&now), requests(&least), "nothing was requested");
        }
        servers.iter().for_each(RealServer::clear);
    }
}

#[test]
fn limits_on_clients_change_and_count_those_who_are_there() {
    let server = RealServer::redis();
    let pool = |max: u32| Pool::redis(&[&server]).set("max_clients", max);
    for workers in WORKER_COUNTS {
        let mut proxy = Proxy::with(pool(0)).workers(workers).start();
        let mut clients: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
        for client in &mut clients {
            client.expect_usable();
        }
        proxy.reload(pool(4));
        let mut last = proxy.client();
        last.expect_usable();
        let mut surplus = proxy.client();
        surplus.expect_then_closed(b"-ERR max number of clients reached\r\n");
        proxy.reload(pool(5));
        proxy.client().expect_usable();
        for client in &mut clients {
            client.expect_usable();
        }
    }
}

#[test]
fn settings_that_hold_until_the_end_are_named() {
    let server = RealServer::redis();
    let pool = Pool::redis(&[&server]);
    let mut proxy = Proxy::with(&pool).start();
    proxy.reload(format!("global:\n  workers: 7\n  max_memory: 100m\n{pool}"));
    let log = proxy.log();
    assert!(log.contains("'workers' has changed, which takes effect with the next start"), "{log}");
    assert!(!log.contains("'max_memory' has changed"), "{log}");
    assert!(log.contains("reloaded: settings of the process changed"), "{log}");
}

#[test]
fn hup_reloads_unless_the_file_says_that_it_does_not() {
    let server = RealServer::redis();
    let pool = Pool::redis(&[&server]);
    let mut proxy = Proxy::start(&pool);
    proxy.rewrite(format!("global:\n  reload_on_hup: false\n{pool}"));
    proxy.reload_by(Signal::HUP);
    std::fs::rename(proxy.dir().join("log"), proxy.dir().join("log.1")).expect("rename the log");
    proxy.signal(Signal::HUP);
    eventually("the log is opened again", || proxy.dir().join("log").exists().then_some(()));
    proxy.reload_by(Signal::USR1);
    assert_eq!(proxy.reloads(), (2, 0), "HUP was none");
}

#[test]
fn signals_that_come_together_end_with_the_file_as_it_is() {
    let server = RealServer::redis();
    let pool = |n: usize| Pool::redis(&[&server]).set("listen", format!("@{n}"));
    let mut proxy = Proxy::with(pool(0)).workers(2).start();
    for round in 0..10 {
        let n = round % 4;
        proxy.rewrite(pool(n));
        for _ in 0..5 {
            proxy.signal(Signal::USR1);
            proxy.signal(Signal::HUP);
        }
        eventually("the newest address accepts", || {
            Client::try_connect(proxy.address(n)).is_ok().then_some(())
        });
    }
    assert_eq!(proxy.reloads().1, 0);
}

#[test]
fn two_processes_may_overlap_on_one_port() {
    let server = RealServer::redis();
    let address = format!("127.0.0.1:{}", unused_port());
    let pool = Pool::redis(&[&server]).set("listen", &address).set("reuseport", true);
    let mut first = Proxy::start(&pool);
    let address = address.parse().expect("an address");
    eventually("the first one accepts", || Client::try_connect(address).is_ok().then_some(()));
    let second = Proxy::start(&pool);
    eventually("the second one is up", || {
        Client::try_connect(second.stats_address()).is_ok().then_some(())
    });
    eventually("the second one accepts, too", || {
        Client::connect(address).expect_usable();
        (second.stat(&["client_eof"]) > 0).then_some(())
    });
    first.signal(Signal::TERM);
    first.wait_for_end();
    for _ in 0..20 {
        Client::connect(address).expect_usable();
    }
}
