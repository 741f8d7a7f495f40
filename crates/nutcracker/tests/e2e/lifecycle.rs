//! Connections over time: limits on descriptors, idle ends, resets, half-closes, restarts, order and balance.

use std::fs;
use std::thread;

use crate::harness::{
    Client, FakeServer, Pool, Proxy, RealServer, Reply, WORKER_COUNTS, eventually, request,
    requests, spread,
};

#[test]
fn running_out_of_descriptors_hurts_only_the_surplus_and_passes() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let proxy =
            Proxy::with(Pool::redis(&[&server])).workers(workers).under("ulimit -n 128").start();
        let mut first = proxy.client();
        assert_eq!(first.call(&["SET", "k", "v"]), Reply::ok());
        let mut crowd: Vec<Client> =
            (0..400).filter_map(|_| Client::try_connect(proxy.address(0)).ok()).collect();
        for _ in 0..20 {
            assert_eq!(first.call(&["GET", "k"]), Reply::bulk("v"));
        }
        crowd.clear();
        eventually("a newcomer is served again", || {
            let mut client = Client::try_connect(proxy.address(0)).ok()?;
            client.try_send(b"*1\r\n$4\r\nPING\r\n").ok()?;
            (client.try_reply().ok()? == Reply::Simple("PONG".into())).then_some(())
        });
        assert_eq!(first.call(&["GET", "k"]), Reply::bulk("v"));
    }
}

#[test]
fn a_crowd_at_the_door_leaves_servers_their_descriptors() {
    let servers = RealServer::several(3);
    for workers in WORKER_COUNTS {
        let pool = Pool::redis(&servers).set("hash", "murmur");
        let proxy = Proxy::with(pool).workers(workers).under("ulimit -n 96").start();
        let mut early: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
        for client in &mut early {
            client.expect_usable();
        }
        // They stay open after they were told that there is no room.
        let _crowd: Vec<Client> =
            (0..400).filter_map(|_| Client::try_connect(proxy.address(0)).ok()).collect();
        for client in &mut early {
            for key in (0..50).map(|n| format!("key:{n}")) {
                assert_eq!(client.call(&["SET", &key, "v"]), Reply::ok());
            }
        }
    }
}

/// The timer column of the kernel's table for the connection whose far end has `port`: 2 is a keepalive timer.
fn has_keepalive_timer(listener: u16, port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let ends = (format!(":{listener:04X}"), format!(":{port:04X}"));
    table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|column| {
        column.len() > 5
            && column[1].ends_with(&ends.0)
            && column[2].ends_with(&ends.1)
            && column[5].starts_with("02:")
    })
}

#[test]
fn tcpkeepalive_reaps_vanished_clients() {
    let server = RealServer::redis();
    let pools = [
        Pool::redis(&[&server]).set("tcpkeepalive", true),
        Pool::redis(&[&server]).named("beta").listen(1),
    ];
    let proxy = Proxy::start(pools.map(|pool| pool.to_string()).concat());
    for (n, expected) in [(0, true), (1, false)] {
        let mut client = proxy.client_of(n);
        client.expect_usable();
        let seen = || has_keepalive_timer(proxy.address(n).port(), client.local_port());
        if expected {
            eventually("a keepalive timer runs", || seen().then_some(()));
        } else {
            assert!(!seen(), "a keepalive timer nobody asked for");
        }
    }
}

#[test]
fn a_server_that_closes_idle_connections_is_no_failure() {
    let server = RealServer::redis();
    let pool = Pool::redis(&[&server])
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", 1)
        .set("server_retry_timeout", 60_000);
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(&pool).workers(workers).start();
        let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        for _ in 0..10 {
            for client in &mut clients {
                assert_eq!(client.call(&["SET", "k", "v"]), Reply::ok());
            }
            server.close_clients();
            proxy.await_stat(&["server1", "server_connections"], 0);
        }
        assert_eq!(proxy.stat(&["server_ejects"]), 0);
        assert_eq!(proxy.stat(&["forward_error"]), 0);
    }
}

#[test]
fn connections_that_break_together_are_one_failure() {
    let server = FakeServer::answering(|_| b"+OK\r\n".to_vec());
    let pool = Pool::redis(&[&server])
        .set("server_connections", 20)
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", 3)
        .set("server_retry_timeout", 60_000);
    let proxy = Proxy::start(pool);
    let mut clients: Vec<Client> = (0..40).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call(&["GET", "a"]), Reply::ok());
    }
    assert!(server.connection_count() >= 5, "{} server connections", server.connection_count());
    server.reset_connections();
    proxy.await_stat(&["server1", "server_connections"], 0);
    for client in &mut clients {
        assert_eq!(client.call(&["GET", "a"]), Reply::ok());
    }
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
}

#[test]
fn a_pipeline_stays_in_order_over_several_server_connections() {
    let servers = RealServer::several(2);
    for workers in WORKER_COUNTS {
        let pool = Pool::redis(&servers).set("server_connections", 4);
        let proxy = Proxy::with(pool).workers(workers).start();
        thread::scope(|scope| {
            for who in 0..4 {
                let mut client = proxy.client();
                scope.spawn(move || {
                    let key = format!("k{who}");
                    let pair = [
                        request(&["ZADD", &key, "1", "a"]),
                        request(&["ZREMRANGEBYSCORE", &key, "1", "1"]),
                    ];
                    for _ in 0..50 {
                        client.send(&pair.concat().repeat(50));
                        client.expect(&b":1\r\n:1\r\n".repeat(50));
                    }
                });
            }
        });
    }
}

#[test]
fn replies_keep_the_order_of_requests_over_several_shards() {
    let servers = RealServer::several(3);
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        thread::scope(|scope| {
            for who in 0..6 {
                let mut client = proxy.client();
                scope.spawn(move || {
                    let names: Vec<String> = (0..500).map(|n| format!("{who}:{n}")).collect();
                    for name in &names {
                        client.send_request(&["SET", name, name]);
                        client.send_request(&["GET", name]);
                        client.send_request(&["ECHO", name]);
                    }
                    for name in &names {
                        assert_eq!(client.reply(), Reply::ok());
                        assert_eq!(client.reply(), Reply::bulk(name));
                        assert_eq!(client.reply(), Reply::bulk(name));
                    }
                });
            }
        });
    }
}

#[test]
fn a_half_closed_client_gets_every_reply_and_then_the_end() {
    let servers = RealServer::several(2);
    for workers in WORKER_COUNTS {
        let proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        servers.iter().for_each(RealServer::clear);
        let mut client = proxy.client();
        client.send(&requests("DEL key\nSET key val\nGET key\nMGET key nosuch\nPING"));
        client.half_close();
        client.expect_then_closed(b":0\r\n+OK\r\n$3\r\nval\r\n*2\r\n$3\r\nval\r\n$-1\r\n+PONG\r\n");
        let mut client = proxy.client();
        client.send(
            &[requests("GET key").repeat(3000), b"*2\r\n$3\r\nGET\r\n$3\r\nke".to_vec()].concat(),
        );
        client.half_close();
        client.expect_then_closed(&b"$3\r\nval\r\n".repeat(3000));
        proxy.await_stat(&["client_connections"], 0);
    }
}

#[test]
fn requests_of_a_vanished_client_are_carried_out_and_confuse_nobody() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        server.clear();
        let proxy = Proxy::with(Pool::redis(&[&server])).workers(workers).start();
        let mut other = proxy.client();
        for n in 0..50 {
            let mut vanishing = proxy.client();
            vanishing.send(&requests("INCR counter\nSET mine x\nGET mine\nMGET mine a b"));
            assert_eq!(vanishing.reply(), Reply::Integer(n + 1));
            vanishing.send(&requests("GET mine").repeat(20));
            vanishing.reset();
            other.send(&requests("ECHO mine\nGET nosuch"));
            other.expect(b"$4\r\nmine\r\n$-1\r\n");
        }
        proxy.await_stat(&["client_connections"], 1);
    }
}

#[test]
fn many_clients_at_once_eject_nobody() {
    let servers = RealServer::several(3);
    let pool = Pool::redis(&servers)
        .set("timeout", 10_000)
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", 1);
    let proxy = Proxy::with(pool).workers(2).start();
    let value = "v".repeat(4096);
    let mut clients: Vec<Client> = (0..600).map(|_| proxy.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(
            &(0..8)
                .flat_map(|k| request(&["SET", &format!("{n}:{k}"), &value]))
                .collect::<Vec<_>>(),
        );
    }
    for client in &mut clients {
        client.expect(&b"+OK\r\n".repeat(8));
    }
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
    assert_eq!(servers.iter().map(RealServer::key_count).sum::<i64>(), 4800);
}

#[test]
fn a_server_may_come_and_go_without_leaking_anything() {
    const ROUNDS: usize = 60;
    let mut servers = RealServer::several(2);
    for workers in WORKER_COUNTS {
        let pool = Pool::redis(&servers).set("server_retry_timeout", 100);
        let proxy = Proxy::with(pool).workers(workers).start();
        let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        let keys = spread(&mut clients[0], &servers, 1);
        let (steady, flapping) = (&keys[0][0], &keys[1][0]);
        let (mut files, mut memory) = (0, 0);
        for round in 0..ROUNDS {
            servers[1].stop();
            for client in &mut clients {
                eventually("the loss is noticed", || {
                    client.call(&["SET", flapping, "v"]).is_error().then_some(())
                });
                assert_eq!(client.call(&["SET", steady, "v"]), Reply::ok());
            }
            servers[1].start_again();
            for client in &mut clients {
                eventually("the server is used again", || {
                    (client.call(&["SET", flapping, "v"]) == Reply::ok()).then_some(())
                });
            }
            if round == 4 {
                files = proxy.open_files_at_rest();
                memory = proxy.resident_bytes();
            }
        }
        proxy.await_open_files(files);
        let grown = proxy.resident_bytes().saturating_sub(memory);
        assert!(grown < 4 << 20, "a server that comes and goes cost {grown} bytes");
        clients.iter_mut().for_each(Client::expect_usable);
    }
}

#[test]
fn hundreds_of_lost_connections_leave_one_good_connection_behind() {
    let server = RealServer::redis();
    for workers in WORKER_COUNTS {
        let pool = Pool::redis(&[&server]).set("server_retry_timeout", 100);
        let proxy = Proxy::with(pool).workers(workers).start();
        let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
        let mut use_all = || {
            for client in &mut clients {
                // A connection may be closed under a request, which is then answered with an error.
                eventually("the server is used again", || {
                    (client.call(&["SET", "k", "v"]) == Reply::ok()).then_some(())
                });
            }
        };
        use_all();
        let files = proxy.open_files_at_rest();
        for _ in 0..300 {
            server.close_clients();
            use_all();
        }
        proxy.await_stat(&["server1", "server_connections"], i64::from(workers));
        proxy.await_open_files(files);
    }
}

#[test]
fn clients_are_spread_evenly_over_the_workers() {
    for workers in [2, 3, 4] {
        let server = RealServer::redis();
        let proxy = Proxy::with(Pool::redis(&[&server])).workers(workers).start();
        let mut clients = vec![proxy.client()];
        // The connection that found out whether the proxy accepts.
        clients_of_workers(&mut clients, workers);
        for count in [2, 7, 30, 31, 64] {
            while clients.len() < count {
                let mut client = proxy.client();
                client.expect_usable();
                clients.push(client);
            }
            let counts = clients_of_workers(&mut clients, workers);
            assert!(most_beyond_fewest(&counts) <= 1, "{count} clients are spread as {counts:?}");
        }
    }
}

#[test]
fn clients_that_arrive_go_where_others_have_left_until_the_spread_is_even_again() {
    for workers in [2, 4] {
        let server = RealServer::redis();
        let proxy = Proxy::with(Pool::redis(&[&server])).workers(workers).start();
        let mut clients = vec![proxy.client()];
        clients_of_workers(&mut clients, workers);
        clients.extend((1..40).map(|_| proxy.client()));
        clients.iter_mut().for_each(Client::expect_usable);
        // Clients arrived at the workers in turn, so this leaves one of them with all of its clients.
        let mut number = 0;
        clients.retain(|_| {
            number += 1;
            (number - 1) % workers == 0
        });
        let before = clients_of_workers(&mut clients, workers);
        assert!(most_beyond_fewest(&before) > 1, "nothing to even out: {before:?}");
        while clients.len() < 40 {
            let mut client = proxy.client();
            client.expect_usable();
            clients.push(client);
        }
        let counts = clients_of_workers(&mut clients, workers);
        assert!(most_beyond_fewest(&counts) <= 1, "{before:?} has become {counts:?}");
    }
}

/// How many of `clients`, which are all there are, each worker serves.
fn clients_of_workers(clients: &mut [Client], workers: u32) -> Vec<usize> {
    eventually("the clients are counted", || {
        let text = clients[0].call(&["INFO"]).text();
        let held = |worker: u32| -> usize {
            let field = format!("worker{worker}_clients:");
            let value = text.lines().find_map(|line| line.strip_prefix(&field));
            value
                .and_then(|value| value.parse().ok())
                .unwrap_or_else(|| panic!("no {field} in {text}"))
        };
        let counts: Vec<usize> = (0..workers).map(held).collect();
        (counts.iter().sum::<usize>() == clients.len()).then_some(counts)
    })
}

fn most_beyond_fewest(counts: &[usize]) -> usize {
    let (most, fewest) = (counts.iter().max(), counts.iter().min());
    most.expect("a worker") - fewest.expect("a worker")
}
