//! Configuration files and listeners as an operator meets them: what `-t` says, what starts, and what is in the way.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use crate::harness::{
    Client, Location, Pool, Proxy, RealServer, Reply, binary_under_test, eventually, requests,
    unused_port,
};

fn run(arguments: &[&str], file: &str, content: &[u8]) -> Output {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join(file), content).expect("write the file");
    Command::new(binary_under_test())
        .args(arguments)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .expect("run the binary")
}

fn test_conf(content: impl AsRef<[u8]>) -> (Option<i32>, String) {
    let output = run(&["-t", "-c", "conf.yml"], "conf.yml", content.as_ref());
    assert!(output.stdout.is_empty(), "the verdict belongs on standard error");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

const GOOD: &str =
    "alpha:\n  listen: 127.0.0.1:22121\n  redis: true\n  servers:\n   - 127.0.0.1:6379:1\n";

#[test]
fn a_good_file_is_told_so() {
    for text in [
        GOOD.to_owned(),
        GOOD.replace('\n', "\r\n"),
        format!("\u{feff}{GOOD}"),
        GOOD.replace("   - ", "  - "),
        GOOD.replace("   - ", "          - "),
        GOOD.replace("true", "\"true\""),
        GOOD.replace("redis: true", "timeout: \"400\""),
        format!("---\n{GOOD}"),
        format!("# a comment\n{GOOD}...\n"),
        GOOD.replace("redis: true", "hash_tag: \"P:\""),
        GOOD.replace("redis: true", "redis: true\n  redis_auth: 12345"),
        GOOD.replace("redis: true", "client_connections: 1"),
        "a: {listen: '127.0.0.1:1', servers: ['127.0.0.1:6379:1']}\n".to_owned(),
    ] {
        let (code, said) = test_conf(&text);
        assert_eq!(code, Some(0), "{text}\n{said}");
        assert_eq!(
            said.lines()
                .filter(
                    |line| line.contains("nutcracker: configuration file 'conf.yml' syntax is ok")
                )
                .count(),
            1,
            "{said}"
        );
    }
}

#[test]
fn a_bad_file_is_refused_with_the_line_the_key_and_a_reason() {
    let broken = |from: &str, to: &str| GOOD.replace(from, to);
    let cases: [(String, &[&str]); 16] = [
        (broken("redis: true", "redis: yes"), &[":3:", "alpha", "redis", "yes"]),
        (broken("redis: true", "hash: sha1"), &[":3:", "hash", "sha1"]),
        (broken("redis: true", "distribution: ring"), &[":3:", "distribution", "ring"]),
        (broken("redis: true", "timeout: soon"), &[":3:", "timeout", "soon"]),
        (broken("redis: true", "hash_tag: \"{\""), &[":3:", "hash_tag"]),
        (broken("redis: true", "nosuch: 1"), &[":3:", "nosuch"]),
        (broken("redis: true", "redis_auth: x"), &[":3:", "redis_auth"]),
        (broken("redis: true", "server_connections: 0"), &[":3:", "server_connections"]),
        (broken("redis: true", "redis: true\n  redis: true"), &[":4:", "redis"]),
        (broken(":6379:1", ":6379:0"), &[":5:", "weight"]),
        (broken(":6379:1", ":0:1"), &[":5:", "port"]),
        (broken(":6379:1", ":65536:1"), &[":5:", "port"]),
        (broken(":22121", ""), &[":2:", "listen"]),
        (broken(":6379:1", ":6379:1\n   - 127.0.0.1:6379:1"), &["127.0.0.1:6379"]),
        (broken("  servers:\n   - 127.0.0.1:6379:1\n", ""), &["servers"]),
        (format!("{GOOD}{}", GOOD.replace("alpha", "beta")), &["127.0.0.1:22121"]),
    ];
    for (text, expected) in cases {
        let (code, said) = test_conf(&text);
        assert_eq!(code, Some(1), "{text}\n{said}");
        assert!(
            said.contains("nutcracker: configuration file 'conf.yml' syntax is invalid"),
            "{said}"
        );
        for part in expected {
            assert!(said.contains(part), "no {part:?} about\n{text}in\n{said}");
        }
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let text = "alpha:\n  listen: nonsense\n  hash: sha1\n  timeout: soon\n  servers:\n   - 127.0.0.1:6379:0\n";
    let (code, said) = test_conf(text);
    assert_eq!(code, Some(1));
    for line in [":2:", ":3:", ":4:", ":6:"] {
        assert!(said.contains(line), "no {line} in\n{said}");
    }
}

#[test]
fn files_that_are_no_configuration_are_refused() {
    let files: [&[u8]; 8] = [
        b"",
        b"# nothing\n",
        b"- a\n- b\n",
        b"alpha:\n",
        b"\tlisten: x\n",
        b"\xff\xfe\x00",
        b"a: [",
        b"alpha: beta\n",
    ];
    for content in files {
        let (code, said) = test_conf(content);
        assert_eq!(code, Some(1), "{}: {said}", content.escape_ascii());
    }
    let output = run(&["-t", "-c", "missing.yml"], "other.yml", b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("missing.yml"));
}

#[test]
fn many_names_may_share_an_address_and_one_name_may_not_be_shared() {
    let servers: String =
        (0..16).map(|n| format!("   - 127.0.0.1:{}:1 node{n}\n", 6379 + n % 4)).collect();
    let sixteen = GOOD.replace("   - 127.0.0.1:6379:1\n", &servers);
    assert_eq!(test_conf(&sixteen).0, Some(0));
    let (code, said) = test_conf(sixteen.replace("node7", "node8"));
    assert_eq!(code, Some(1));
    assert!(said.contains("node8"), "{said}");
    let unnamed = GOOD.replace("6379:1\n", "6379:1\n   - 127.0.0.1:6379:2\n");
    assert_eq!(test_conf(unnamed).0, Some(1));
}

#[test]
fn a_dangerous_combination_is_warned_about_and_accepted() {
    for (line, word) in [
        ("hash: crc32\n  timeout: 400", "crc32"),
        ("distribution: modula\n  auto_eject_hosts: true\n  timeout: 400", "modula"),
        ("redis: true", "timeout"),
        ("client_connections: 1\n  timeout: 400", "client_connections"),
    ] {
        let two = "127.0.0.1:6379:1\n   - 127.0.0.1:6380:1\n";
        let text = GOOD.replace("127.0.0.1:6379:1\n", two).replace("redis: true", line);
        let (code, said) = test_conf(text);
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.to_lowercase().contains("warning") && said.contains(word),
            "no warning about {word} in\n{said}"
        );
    }
}

#[test]
fn the_resolved_configuration_and_the_route_of_a_key_can_be_asked_for() {
    let servers = "   - 127.0.0.1:6379:1 server1\n   - 127.0.0.1:6380:1 server2\n   - 127.0.0.1:6381:1 server3\n   - 127.0.0.1:6382:1 server4\n";
    let text = GOOD.replace("   - 127.0.0.1:6379:1\n", servers);
    let output = run(&["--print-config", "-c", "conf.yml"], "conf.yml", text.as_bytes());
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{printed}");
    for part in ["alpha:", "hash: fnv1a_64", "distribution: ketama", "server4"] {
        assert!(printed.contains(part), "no {part} in\n{printed}");
    }
    assert_eq!(test_conf(&printed).0, Some(0), "what is printed can be read again:\n{printed}");
    let crc32 = text.replace("redis: true", "hash: crc32");
    let output = run(
        &["--route", "alpha", "key-0", "key-99999", "-c", "conf.yml"],
        "conf.yml",
        crc32.as_bytes(),
    );
    let routes = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(routes.lines().filter(|line| line.contains("server3")).count(), 2, "{routes}");
}

#[test]
fn a_unix_listener_has_exactly_the_permissions_asked_for() {
    let server = RealServer::redis();
    for (permissions, expected) in [(" 0666", Some(0o666)), (" 0600", Some(0o600)), ("", None)] {
        let pools = [
            Pool::redis(&[&server]),
            Pool::redis(&[&server])
                .named("beta")
                .set("listen", format!("@dir/listen.sock{permissions}")),
        ];
        let proxy = Proxy::with(pools.map(|pool| pool.to_string()).concat())
            .under("umask 077")
            .workers(2)
            .start();
        let path = proxy.dir().join("listen.sock");
        let mode = fs::metadata(&path).expect("the socket").permissions().mode() & 0o777;
        assert_eq!(mode, expected.unwrap_or(0o700), "for {permissions:?}");
        let mut client = Client::connect_unix(&path);
        assert_eq!(client.call(&["SET", "k", "v"]), Reply::ok());
        assert_eq!(client.call(&["GET", "k"]), Reply::bulk("v"));
    }
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let server = RealServer::redis();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("listen.sock");
    let pools = [
        Pool::redis(&[&server]),
        Pool::redis(&[&server]).named("beta").set("listen", path.display()),
    ];
    let launch = || Proxy::with(pools.iter().map(Pool::to_string).collect::<String>()).workers(1);
    drop(UnixListener::bind(&path).expect("a socket that nobody serves any more"));
    drop(launch().start());
    let live = {
        let _left_behind = fs::remove_file(&path);
        UnixListener::bind(&path).expect("a socket that is served")
    };
    let (status, log) = launch().run_to_end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("listen.sock"), "{log}");
    drop(live);
    fs::remove_file(&path).expect("the socket is still there");
    fs::write(&path, "precious").expect("write a file");
    let (status, log) = launch().run_to_end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert_eq!(fs::read_to_string(&path).expect("the file is still there"), "precious");
}

#[test]
fn ipv6_listeners_and_servers_work_with_and_without_brackets() {
    let server = RealServer::redis_with(&["--bind", "127.0.0.1", "::1"]);
    let port = server.location().rsplit(':').next().expect("a port").to_owned();
    for (listen, target) in [("::1", "::1"), ("[::1]", "[::1]"), ("127.0.0.1", "localhost")] {
        let own = unused_port();
        let pools = [
            Pool::redis(&[&server]),
            Pool::redis::<&str>(&[])
                .named("six")
                .set("listen", format!("'{listen}:{own}'"))
                .server(format!("'{target}:{port}:1 name'")),
        ];
        let _proxy = Proxy::start(pools.map(|pool| pool.to_string()).concat());
        let host = if listen == "127.0.0.1" { "127.0.0.1" } else { "[::1]" };
        let address = format!("{host}:{own}").parse().expect("an address");
        let mut client = eventually("it listens", || Client::try_connect(address).ok());
        client.send(&requests("SET k v\nGET k"));
        client.expect(b"+OK\r\n$1\r\nv\r\n");
    }
}

#[test]
fn an_address_in_use_is_named_and_ends_the_start() {
    let server = RealServer::redis();
    let taken = Proxy::start(Pool::redis(&[&server]));
    let address = taken.address(0).to_string();
    let (status, log) = Proxy::with(Pool::redis(&[&server]).set("listen", &address)).run_to_end();
    assert_eq!(status.code(), Some(1));
    assert!(log.contains(&address) && log.contains("in use"), "{log}");
}

#[test]
fn surplus_clients_are_told_so() {
    let server = RealServer::redis();
    let proxy = Proxy::with(Pool::redis(&[&server]).set("max_clients", 3)).workers(2).start();
    proxy.await_stat(&["client_connections"], 0);
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(Client::expect_usable);
    let mut surplus = proxy.client();
    let (got, _) = surplus.drain(crate::harness::PATIENCE);
    assert!(got.starts_with(b"-ERR max number of clients reached"), "{}", got.escape_ascii());
    let told = "in pool 'alpha' (3 connected, as many as 'max_clients' allows), refusing new ones";
    eventually("the log names the pool", || proxy.log().contains(told).then_some(()));
    drop(clients.pop());
    eventually("a place is free again", || {
        let mut client = proxy.client();
        client.try_send(b"*1\r\n$4\r\nPING\r\n").ok()?;
        (client.try_reply().ok()? == Reply::Simple("PONG".into())).then_some(())
    });
    clients.iter_mut().for_each(Client::expect_usable);
}
