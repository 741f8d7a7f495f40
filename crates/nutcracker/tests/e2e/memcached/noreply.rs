//! Requests that want no reply get none, whatever happens to them, and never take the place of another one's.

use crate::harness::{
    Client, FakeServer, Pool, Proxy, RealServer, WORKER_COUNTS, eventually, unused_port,
};

use super::{echo_reply, set, spread, value};

#[test]
fn a_request_without_reply_to_a_dead_server_leaves_no_bytes_behind() {
    for workers in WORKER_COUNTS {
        let mut servers = RealServer::several_memcached(2);
        let proxy = Proxy::with(Pool::memcached(&servers)).workers(workers).start();
        let mut client = proxy.client();
        let keys = spread(&mut client, &servers, 2);
        let (alive, dead) = (&keys[0][0], &keys[1][0]);
        servers[1].stop();
        proxy.await_stat(&["server2", "server_connections"], 0);
        for request in [
            format!("set {dead} 0 0 1 noreply\r\nx\r\n"),
            format!("delete {dead} noreply\r\n"),
            format!("incr {dead} 1 noreply\r\n"),
            format!("touch {dead} 1 noreply\r\n"),
            format!("cas {dead} 0 0 1 1 noreply\r\nx\r\n"),
            format!("append {dead} 0 0 1 noreply\r\nx\r\n").repeat(50),
        ] {
            client.send(request.as_bytes());
            set(&mut client, alive, "v");
            client.ask(format!("get {alive}\r\n"), value(alive, "v"));
        }
        client.ask(format!("get {dead}\r\n"), "SERVER_ERROR Connection refused\r\n");
        client.ask(format!("get {alive}\r\nmn\r\n"), format!("{}MN\r\n", value(alive, "v")));
    }
}

#[test]
fn without_any_server_there_is_no_reply_either() {
    let proxy = Proxy::start(
        Pool::memcached(&[format!("127.0.0.1:{}", unused_port())])
            .set("auto_eject_hosts", true)
            .set("server_failure_limit", 1)
            .set("server_retry_timeout", 60_000),
    );
    let mut client = proxy.client();
    for _ in 0..20 {
        client.send(b"set a 0 0 1 noreply\r\nx\r\ndelete a noreply\r\nmn\r\n");
        client.expect(b"MN\r\n");
    }
    client.ask("get a\r\n", "SERVER_ERROR Connection refused\r\n");
}

#[test]
fn one_reply_for_a_silent_delete_a_silent_set_and_a_get() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several_memcached(3);
        let proxy = Proxy::with(Pool::memcached(&servers)).workers(workers).start();
        let mut client = proxy.client();
        for n in 0..50 {
            let key = format!("foo{n}");
            let stream =
                format!("delete {key} noreply\r\nset {key} 0 0 5 noreply\r\nval{n:02}\r\n");
            client.send(format!("{stream}get {key}\r\n").as_bytes());
            client.expect(value(&key, &format!("val{n:02}")).as_bytes());
            client.send(format!("delete {key} noreply\r\nget {key}\r\n").as_bytes());
            client.expect(b"END\r\n");
        }
    }
}

/// memcached answers some errors although it was asked not to answer.
#[test]
fn an_error_that_comes_unasked_reaches_nobody() {
    for workers in WORKER_COUNTS {
        let server = RealServer::memcached();
        let pool = Pool::memcached(&[&server]).set("timeout", 10_000);
        let proxy = Proxy::with(pool).workers(workers).start();
        let mut silent = proxy.client();
        let mut other = proxy.client();
        set(&mut other, "text", "hi");
        let big = format!("set big 0 0 1100000 noreply\r\n{}\r\n", "x".repeat(1_100_000));
        for _ in 0..5 {
            silent.send(b"incr text 1 noreply\r\nincr nothing 1 noreply\r\n");
            silent.send(big.as_bytes());
            // Whether these succeed may depend on a connection that had to be given up; a false reply never comes.
            for client in [&mut other, &mut silent] {
                client.send(b"get text\r\n");
                let line = client.text_line();
                if line == "VALUE text 0 2" {
                    client.expect(b"hi\r\nEND\r\n");
                } else {
                    assert_eq!(line, "SERVER_ERROR Invalid argument");
                }
            }
        }
        eventually("the server is in step", || {
            other.send(b"get text\r\n");
            let line = other.text_line();
            let is_found = line == "VALUE text 0 2";
            if is_found {
                other.expect(b"hi\r\nEND\r\n");
            }
            is_found.then_some(())
        });
        silent.ask("get text\r\nmn\r\n", format!("{}MN\r\n", value("text", "hi")));
    }
}

/// A server that does not know the word and answers all the same.
#[test]
fn a_server_that_answers_what_it_should_not_answers_nobody() {
    let server = FakeServer::answering_memcached(|request| match request.command() {
        b"set" => b"STORED\r\n".to_vec(),
        b"delete" => b"NOT_FOUND\r\n".to_vec(),
        _ => echo_reply(request),
    });
    let proxy = Proxy::start(Pool::memcached(&[&server]).set("timeout", 2000));
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client()).collect();
    for turn in 0..40 {
        for (n, client) in clients.iter_mut().enumerate() {
            let key = format!("key{n}-{turn}");
            client.send(format!("set {key} 0 0 1 noreply\r\nx\r\nget {key}\r\n").as_bytes());
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let key = format!("key{n}-{turn}");
            let line = client.text_line();
            if line.starts_with("SERVER_ERROR ") {
                continue;
            }
            assert_eq!(line, format!("VALUE {key} 0 {}", key.len()), "somebody else's reply");
            client.expect(format!("{key}\r\nEND\r\n").as_bytes());
        }
    }
    eventually("the server is in step", || {
        clients[0].send(b"get a\r\n");
        let is_found = clients[0].text_line() == "VALUE a 0 1";
        is_found.then(|| clients[0].expect(b"a\r\nEND\r\n"))
    });
}

#[test]
fn a_thousand_silent_sets_are_all_carried_out() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several_memcached(3);
        let proxy = Proxy::with(Pool::memcached(&servers)).workers(workers).start();
        let mut client = proxy.client();
        let sets: String =
            (0..1000).map(|n| format!("set k{n} 0 0 4 noreply\r\n{n:04}\r\n")).collect();
        client.send(sets.as_bytes());
        let keys: Vec<String> = (0..1000).map(|n| format!("k{n}")).collect();
        client.send(format!("get {}\r\n", keys.join(" ")).as_bytes());
        for n in 0..1000 {
            client.expect(format!("VALUE k{n} 0 4\r\n{n:04}\r\n").as_bytes());
        }
        client.expect(b"END\r\n");
        for server in ["server1", "server2", "server3"] {
            for gauge in ["in_queue", "in_queue_bytes", "out_queue", "out_queue_bytes"] {
                proxy.await_stat(&[server, gauge], 0);
            }
        }
    }
}
