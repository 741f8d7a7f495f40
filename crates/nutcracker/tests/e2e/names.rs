//! Names of servers that change, appear late, or take for ever to resolve.
//!
//! The proxy asks the system's resolver, so it runs in a mount namespace of its own with its own `/etc/hosts` and
//! `/etc/resolv.conf`. That takes root; elsewhere these tests say that they were left out.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::harness::{Client, Location, Pool, Proxy, RealServer, Reply, eventually};

/// Files that stand in for the system's.
struct Names {
    dir: tempfile::TempDir,
}

impl Names {
    /// `None`, and a line that says so, where no mount namespace can be made; CI has to have one.
    fn new() -> Option<Names> {
        let tried = Command::new("unshare").args(["--mount", "true"]).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            assert!(std::env::var_os("CI").is_none(), "CI runs as root, with mount namespaces");
            println!("left out: no mount namespace without root");
            return None;
        }
        let names = Names { dir: tempfile::tempdir().expect("a temporary directory") };
        names.hosts("");
        names.name_server(Ipv4Addr::LOCALHOST);
        Some(names)
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.dir.path().join(file)
    }

    /// What `/etc/hosts` holds from now on. Written in place, since a mount follows the file and not its name.
    fn hosts(&self, lines: &str) {
        fs::write(self.path("hosts"), lines).expect("write the hosts");
    }

    fn name_server(&self, address: Ipv4Addr) {
        let text = format!("nameserver {address}\noptions timeout:30 attempts:1\n");
        fs::write(self.path("resolv.conf"), text).expect("write the resolver's configuration");
    }

    /// Shell lines that start the proxy among these files.
    fn shell(&self) -> String {
        let bind = |file: &str| {
            let path = self.path(file);
            format!("mount --bind {} /etc/{file}", Path::new(&path).display())
        };
        let mounts = format!("{} && {}", bind("hosts"), bind("resolv.conf"));
        format!("exec unshare --mount sh -c '{mounts} && exec \"$0\" \"$@\"' \"$0\" \"$@\"")
    }
}

/// Serves one connection: every request is answered with `answer`. Both sockets close with it.
fn serve_once(listener: TcpListener, answer: &'static str) -> thread::JoinHandle<TcpStream> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the proxy connects");
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).expect("a request");
        assert!(chunk[..count].ends_with(b"\r\n"));
        write!(stream, "${}\r\n{answer}\r\n", answer.len()).expect("the proxy reads");
        stream
    })
}

#[test]
fn a_name_that_moved_is_followed_on_the_next_connect() {
    let Some(names) = Names::new() else { return };
    let first = TcpListener::bind("127.0.0.2:0").expect("an address");
    let port = first.local_addr().expect("an address").port();
    let second = TcpListener::bind(SocketAddr::from(([127, 0, 0, 3], port))).expect("an address");
    names.hosts("127.0.0.2 moving.test\n");
    let pool = Pool::redis::<&str>(&[])
        .server(format!("moving.test:{port}:1 moving"))
        .set("auto_eject_hosts", true)
        .set("server_failure_limit", 1)
        .set("timeout", 5000);
    let proxy = Proxy::with(pool).under(&names.shell()).workers(1).start();
    let mut client = proxy.client();
    let old = serve_once(first, "old");
    assert_eq!(client.call(&["GET", "k"]), Reply::bulk("old"));
    names.hosts("127.0.0.3 moving.test\n");
    // The old server goes away; an idle close is no failure, so nobody is ejected.
    drop(old.join().expect("the old server"));
    proxy.await_stat(&["moving", "server_eof"], 1);
    let new = serve_once(second, "new");
    assert_eq!(client.call(&["GET", "k"]), Reply::bulk("new"));
    assert_eq!(proxy.stat(&["server_ejects"]), 0);
    drop(new.join().expect("the new server"));
}

#[test]
fn a_name_may_appear_after_the_start() {
    let Some(names) = Names::new() else { return };
    let server = RealServer::redis();
    let at = server.location();
    let port = at.rsplit(':').next().expect("a port");
    let pool = Pool::redis::<&str>(&[]).server(format!("late.test:{port}:1")).set("timeout", 5000);
    let proxy = Proxy::with(pool).under(&names.shell()).workers(1).start();
    let mut client = proxy.client();
    assert_eq!(client.call(&["SET", "k", "v"]).error(), "ERR Host is down");
    names.hosts("127.0.0.1 late.test\n");
    eventually("the name is found", || {
        (client.call(&["SET", "k", "v"]) == Reply::ok()).then_some(())
    });
}

#[test]
fn a_resolver_that_hangs_delays_only_the_server_it_is_asked_for() {
    let Some(names) = Names::new() else { return };
    // Takes questions and never answers.
    let silent = Ipv4Addr::new(127, 0, 0, 53);
    let _name_server = UdpSocket::bind((silent, 53)).expect("root may bind port 53");
    names.name_server(silent);
    let server = RealServer::redis();
    let pool = Pool::redis(&[&server]).server("slow.test:6379:1 slow").set("timeout", 1500);
    let proxy = Proxy::with(pool).under(&names.shell()).workers(1).start();
    let mut clients: Vec<_> = (0..64).map(|_| proxy.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send_request(&["SET", &format!("key:{n}"), "v"]);
    }
    // All that belongs to the healthy server is answered while the rest still waits for the resolver.
    let waiting = eventually("the healthy server answers", || {
        let waiting = proxy.stat(&["slow", "in_queue"]);
        (proxy.stat(&["server1", "responses"]) + waiting == 64).then_some(waiting)
    });
    assert!(waiting > 0 && waiting < 64, "{waiting} of 64 requests wait for the resolver");
    let refused = clients.iter_mut().map(Client::reply).filter(Reply::is_error);
    assert_eq!(i64::try_from(refused.count()), Ok(waiting));
    assert_eq!(server.key_count(), 64 - waiting);
}
