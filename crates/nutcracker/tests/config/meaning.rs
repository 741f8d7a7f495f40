//! What accepted files mean: names, order, types, addresses, and the topology they become.

use std::path::PathBuf;
use std::time::Duration;

use engine::topology::{Address, CrossShard, Ejection, Limits, OnEject, Protocol};
use nutcracker::cli::{Options, Workers};
use nutcracker::config::{self, Config, Listen, Pool, Settings};
use sharding::{Distribution, Hash, HashTag};

use crate::scratch::Scratch;

fn load(yaml: &str) -> Config {
    let scratch = Scratch::new();
    let path = scratch.write(yaml.as_bytes());
    config::load(&path).unwrap_or_else(|error| panic!("{error}\n{yaml}")).into_config()
}

/// The only pool of a file with those lines and one server.
fn pool(lines: &str) -> Pool {
    let mut config =
        load(&format!("a:\n  listen: 127.0.0.1:30110\n{lines}  servers:\n    - h:1:1\n"));
    config.pools.remove(0)
}

fn servers(items: &[&str]) -> Vec<engine::topology::Server> {
    let lines: String = items.iter().map(|item| format!("    - {item}\n")).collect();
    let mut config = load(&format!("a:\n  listen: 127.0.0.1:30110\n  servers:\n{lines}"));
    config.pools.remove(0).servers
}

fn names(items: &[&str]) -> Vec<String> {
    servers(items).into_iter().map(|server| server.name).collect()
}

fn listen(value: &str) -> Listen {
    load(&format!("a:\n  listen: {value}\n  servers:\n    - h:1:1\n")).pools.remove(0).listen
}

#[test]
fn absent_keys_have_the_defaults_of_twemproxy() {
    let pool = pool("");
    assert_eq!(pool.protocol, Protocol::Memcached);
    assert_eq!(
        (pool.hash, pool.distribution, pool.hash_tag),
        (Hash::Fnv1a64, Distribution::Ketama, None)
    );
    assert_eq!((pool.timeout, pool.backlog, pool.redis_db), (None, 512, 0));
    assert_eq!((pool.server_connections, pool.server_failure_limit), (1, 2));
    assert_eq!(pool.server_retry_timeout, Duration::from_secs(30));
    assert_eq!(
        (pool.tcpkeepalive, pool.reuseport, pool.preconnect, pool.auto_eject_hosts),
        (false, false, false, false)
    );
    assert_eq!((pool.redis_auth, pool.max_clients, pool.client_connections), (None, 0, 0));
    assert_eq!(pool.cross_shard, CrossShard::FirstKey);
    assert_eq!(pool.on_eject, OnEject::Rehash);
    assert_eq!((pool.probe, pool.max_ejected_percent), (false, 100));
}

#[test]
fn every_key_reaches_its_place() {
    let pool = pool(
        "  redis: true\n  redis_auth: 12345\n  redis_db: 3\n  hash: murmur\n  hash_tag: '{}'\n  distribution: modula\n  timeout: '400'\n  backlog: 7\n  client_connections: 8\n  max_clients: 9\n  tcpkeepalive: true\n  reuseport: true\n  preconnect: 'true'\n  server_connections: 2\n  auto_eject_hosts: true\n  server_retry_timeout: 10\n  server_failure_limit: 0\n  cross_shard: error\n  on_eject: miss\n  probe: true\n  max_ejected_percent: 40\n",
    );
    assert_eq!(pool.protocol, Protocol::Redis);
    assert_eq!(pool.redis_auth.as_deref(), Some(&b"12345"[..]));
    assert_eq!(
        (pool.redis_db, pool.hash, pool.distribution),
        (3, Hash::Murmur, Distribution::Modula)
    );
    assert_eq!(pool.hash_tag, Some(HashTag { open: b'{', close: b'}' }));
    assert_eq!((pool.timeout, pool.backlog), (Some(Duration::from_millis(400)), 7));
    assert_eq!((pool.client_connections, pool.max_clients, pool.server_connections), (8, 9, 2));
    assert_eq!(
        (pool.tcpkeepalive, pool.reuseport, pool.preconnect, pool.auto_eject_hosts),
        (true, true, true, true)
    );
    assert_eq!(
        (pool.server_retry_timeout, pool.server_failure_limit),
        (Duration::from_millis(10), 0)
    );
    assert_eq!(pool.cross_shard, CrossShard::Error);
    assert_eq!(pool.on_eject, OnEject::Miss);
    let ejection = Ejection {
        failure_limit: 0,
        retry_timeout: Duration::from_millis(10),
        on_eject: OnEject::Miss,
        probe: true,
        max_ejected_percent: 40,
    };
    assert_eq!(pool.topology().ejection, Some(ejection));
}

#[test]
fn scalars_stay_text_whatever_they_look_like() {
    for (written, meant) in [
        ("12345", "12345"),
        ("~", "~"),
        ("null", "null"),
        ("yes", "yes"),
        ("1e3", "1e3"),
        ("0x10", "0x10"),
        ("foo bar", "foo bar"),
        ("a#b", "a#b"),
        ("a b # comment", "a b"),
        ("'it''s'", "it's"),
        ("\"\\x41\\t\"", "A\t"),
        ("\"a\\0b\"", "a\0b"),
        ("127.0.0.1:6379:1", "127.0.0.1:6379:1"),
    ] {
        let pool = pool(&format!("  redis: true\n  redis_auth: {written}\n"));
        assert_eq!(pool.redis_auth.as_deref(), Some(meant.as_bytes()), "{written}");
    }
}

#[test]
fn any_two_bytes_make_a_hash_tag() {
    for (written, open, close) in [
        ("'{}'", b'{', b'}'),
        ("$$", b'$', b'$'),
        ("'P:'", b'P', b':'),
        ("'  '", b' ', b' '),
        ("é", 0xc3, 0xa9),
    ] {
        assert_eq!(
            pool(&format!("  hash_tag: {written}\n")).hash_tag,
            Some(HashTag { open, close }),
            "{written}"
        );
    }
}

#[test]
fn a_timeout_of_zero_is_none() {
    assert_eq!(pool("  timeout: 0\n").timeout, None);
}

#[test]
fn servers_and_pools_are_in_order_of_length_then_bytes() {
    assert_eq!(
        names(&["h:10:1 redis10", "h:2:1 redis2", "h:1:1 redis1"]),
        ["redis1", "redis2", "redis10"]
    );
    assert_eq!(
        names(&["192.168.9.11:1:1", "192.168.9.8:1:1"]),
        ["192.168.9.8:1", "192.168.9.11:1"]
    );
    let pool = |name: &str, port: u16| {
        format!("{name}:\n  listen: 127.0.0.1:{port}\n  servers:\n    - h:1:1\n")
    };
    let text: String = ["zeta", "aa", "alpha1", "b", "a"]
        .iter()
        .zip(1..)
        .map(|(name, port)| pool(name, port))
        .collect();
    let found: Vec<String> = load(&text).pools.into_iter().map(|pool| pool.name).collect();
    assert_eq!(found, ["a", "b", "aa", "zeta", "alpha1"]);
}

#[test]
fn a_server_is_named_by_its_address_as_written() {
    assert_eq!(names(&["10.0.0.1:6379:1"]), ["10.0.0.1:6379"]);
    assert_eq!(names(&["10.0.0.1:06379:1"]), ["10.0.0.1:06379"]);
    assert_eq!(
        names(&["10.0.0.1:11211:1", "10.0.0.1:11212:1", "b:011211:1"]),
        ["b", "10.0.0.1", "10.0.0.1:11212"]
    );
    assert_eq!(names(&["/tmp/r.sock:1"]), ["/tmp/r.sock:"]);
    assert_eq!(names(&["::1:6379:1"]), ["::1:6379"]);
    assert_eq!(names(&["'[::1]:6379:1'"]), ["[::1]:6379"]);
}

#[test]
fn a_given_name_is_everything_after_the_last_blank() {
    assert_eq!(names(&["10.0.0.1:6379:1 \"shard01\""]), ["\"shard01\""]);
    assert_eq!(names(&["10.0.0.1:6379:1 a:b"]), ["a:b"]);
    assert_eq!(names(&["/tmp/r.sock:1 x"]), ["x"]);
    assert_eq!(names(&["'10.0.0.1:6379:1 '"]), [""]);
}

#[test]
fn a_server_keeps_address_weight_and_what_people_know_it_by() {
    let found = servers(&["10.0.0.1:06379:39 x"]);
    assert_eq!(found[0].address, Address::Tcp { host: "10.0.0.1".into(), port: 6379 });
    assert_eq!((found[0].weight, found[0].display_name.as_str()), (39, "10.0.0.1:06379:39"));
    for item in ["::1:6379:1", "'[::1]:6379:1 x'"] {
        assert_eq!(
            servers(&[item])[0].address,
            Address::Tcp { host: "::1".into(), port: 6379 },
            "{item}"
        );
    }
    assert_eq!(
        servers(&["/tmp/r.sock:2 x"])[0].address,
        Address::Unix(PathBuf::from("/tmp/r.sock"))
    );
    assert_eq!(servers(&["h:1:2147483647"])[0].weight, 2147483647);
}

#[test]
fn sixteen_names_may_share_four_addresses() {
    let items: Vec<String> =
        (0..16).map(|number| format!("10.0.0.{}:6379:1 n{number}", number % 4)).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    assert_eq!(servers(&items).len(), 16);
}

#[test]
fn listen_is_resolved_when_the_file_is_read() {
    let Listen::Tcp { host, port, resolved, text } = listen("127.0.0.1:30110") else {
        panic!("a TCP address")
    };
    assert_eq!((host.as_str(), port, text.as_str()), ("127.0.0.1", 30110, "127.0.0.1:30110"));
    assert_eq!(resolved.to_string(), "127.0.0.1:30110");
    let Listen::Tcp { resolved, .. } = listen("localhost:30110") else { panic!("a TCP address") };
    assert!(resolved.ip().is_loopback());
    let Listen::Tcp { resolved, .. } = listen("0:30110") else { panic!("a TCP address") };
    assert_eq!(resolved.to_string(), "0.0.0.0:30110");
    let Listen::Tcp { resolved, .. } = listen("'*:30110'") else { panic!("a TCP address") };
    assert!(resolved.ip().is_loopback());
}

#[test]
fn both_ways_to_write_ipv6_are_one_address() {
    for value in ["'::1:30110'", "'[::1]:30110'"] {
        let Listen::Tcp { host, port, resolved, .. } = listen(value) else {
            panic!("a TCP address")
        };
        assert_eq!(
            (host.as_str(), port, resolved.to_string().as_str()),
            ("::1", 30110, "[::1]:30110"),
            "{value}"
        );
    }
    let Listen::Tcp { resolved, .. } = listen("':::30110'") else { panic!("a TCP address") };
    assert_eq!(resolved.to_string(), "[::]:30110");
}

#[test]
fn permissions_of_a_unix_socket_are_octal_and_may_be_absent() {
    for (value, path, mode) in [
        ("/tmp/u.sock", "/tmp/u.sock", None),
        ("/tmp/u.sock 0666", "/tmp/u.sock", Some(0o666)),
        ("/tmp/u.sock 660", "/tmp/u.sock", Some(0o660)),
        ("/tmp/u.sock 0", "/tmp/u.sock", None),
        ("/tmp/u.sock 0668", "/tmp/u.sock", Some(0o66)),
        ("/tmp/u.sock 0888", "/tmp/u.sock", None),
        ("/tmp/u.sock abc", "/tmp/u.sock", None),
        ("/tmp/u.sock  0660", "/tmp/u.sock ", Some(0o660)),
    ] {
        let expected = Listen::Unix { path: PathBuf::from(path), mode, text: value.into() };
        assert_eq!(listen(value), expected, "{value}");
    }
}

#[test]
fn the_ways_to_write_the_same_file_mean_the_same() {
    let plain =
        "a:\n  listen: 127.0.0.1:30110\n  hash: md5\n  servers:\n    - h:1:1\n    - h:2:1\n";
    let expected = load(plain);
    for other in [
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        format!("\u{feff}{plain}"),
        format!("---\n{plain}...\n"),
        plain.trim_end().to_owned(),
        plain.replace("    - ", "  - "),
        plain.replace("    - ", "              - "),
        plain.replace("  servers:\n    - h:1:1\n    - h:2:1\n", "  servers: [h:1:1, 'h:2:1']\n"),
        "{a: {listen: 127.0.0.1:30110, hash: md5, servers: [h:1:1, h:2:1]}}".to_owned(),
        "\"a\":\n  'listen': \"127.0.0.\\x31:30110\"\n  ? hash\n  : md5\n  servers: # two\n   # one\n   - h:1:1 # one\n\n   - >-\n     h:2:1\n".to_owned(),
        "a:\n  servers:\n  - h:2:1\n  - h:1:1\n  listen:\n    127.0.0.1:30110\n  hash: md5\n".to_owned(),
    ] {
        assert_eq!(load(&other), expected, "{other:?}");
    }
    let scratch = Scratch::new();
    for (mark, unit) in
        [([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]), ([0xfe, 0xff], u16::to_be_bytes)]
    {
        let mut bytes = mark.to_vec();
        bytes.extend(plain.encode_utf16().flat_map(unit));
        let path = scratch.write(&bytes);
        assert_eq!(config::load(&path).expect("UTF-16").into_config(), expected);
    }
}

#[test]
fn a_quoted_value_may_go_on_at_the_left_margin() {
    let pool = pool("  redis: true\n  redis_auth: 'a\nb'#c\n");
    assert_eq!(pool.redis_auth.as_deref(), Some(&b"a b"[..]));
}

#[test]
fn tabs_may_stand_between_a_key_and_its_value_on_any_number_of_lines() {
    let plain = "alpha:\n  listen: 127.0.0.1:30110\n  hash: md5\n  redis: true\n  redis_auth: 'a\tb'\n  timeout: 400\n  servers:\n    - h:1:1\n";
    let tabs = plain.replace(": ", ":\t\t");
    assert_eq!(load(&tabs), load(plain));
    let pools = |text: &str| -> String {
        (0..600)
            .map(|n| {
                text.replace("alpha", &format!("é{n}")).replace("30110", &format!("{}", 30110 + n))
            })
            .collect()
    };
    assert_eq!(load(&pools(&tabs)), load(&pools(plain)));
}

#[test]
fn tabs_and_comments_without_blanks_do_not_cost_time_that_grows_with_the_file_twice() {
    // Read again after each of them, this would be a hundred gigabytes.
    let lines: String = (0..50_000).map(|n| format!("  k{n}:\t\tx\n  q{n}: 'x'# c\n")).collect();
    let text = format!("a:\n{lines}\ta: b\n");
    let scratch = Scratch::new();
    let fault = config::load(&scratch.write(text.as_bytes())).expect_err("a tab as indentation");
    assert!(fault.to_string().contains(":100002:2: "), "{fault}");
}

#[test]
fn a_list_of_one_stands_for_a_scalar_where_it_did_in_twemproxy() {
    let config = load("a:\n  listen: 127.0.0.1:30110\n  servers: h:1:1\n  hash:\n    - md5\n");
    assert_eq!((config.pools[0].hash, config.pools[0].servers.len()), (Hash::Md5, 1));
}

#[test]
fn global_holds_settings_unless_it_is_a_pool() {
    let config = load(
        "global:\n  workers: 4\n  max_memory: 1g\na:\n  listen: 127.0.0.1:30110\n  servers:\n    - h:1:1\n",
    );
    assert_eq!(config.pools.len(), 1);
    assert_eq!(config.global.max_memory_bytes, 1 << 30);
    let old = load("global:\n  listen: 127.0.0.1:30110\n  servers:\n    - h:1:1\n");
    assert_eq!((old.pools[0].name.as_str(), &old.global), ("global", &config::Global::default()));
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let config = load(
        "global:\n  workers: 4\n  stats_addr: 127.0.0.1\n  stats_port: 1\n  stats_interval: 5\n  pid_file: /a\n  log_output: /b\n  log_level: 99\na:\n  listen: 127.0.0.1:30110\n  servers:\n    - h:1:1\n",
    );
    let file = Settings::resolve(&Options::default(), &config.global);
    assert_eq!((file.stats_addr.as_str(), file.stats_port, file.log_level), ("127.0.0.1", 1, 11));
    assert_eq!((file.pid_file, file.log_output), (Some("/a".into()), Some("/b".into())));
    assert_eq!(file.stats_interval, Duration::from_millis(5));
    let options = Options {
        workers: Some(Workers::Auto),
        stats_addr: Some("::1".into()),
        stats_port: Some(2),
        log_level: Some(3),
        log_output: Some("".into()),
        stats_interval_ms: Some(0),
        ..Options::default()
    };
    let flags = Settings::resolve(&options, &config.global);
    assert_eq!(
        (flags.workers, flags.stats_addr.as_str(), flags.stats_port),
        (Workers::Auto, "::1", 2)
    );
    assert_eq!(
        (flags.log_level, flags.log_output, flags.stats_interval),
        (3, None, Duration::ZERO)
    );
    let defaults = Settings::resolve(&Options::default(), &config::Global::default());
    assert_eq!(
        (defaults.stats_addr.as_str(), defaults.stats_port, defaults.log_level),
        ("0.0.0.0", 22222, 5)
    );
    assert_eq!(
        (defaults.pid_file, defaults.log_output, defaults.stats_interval),
        (None, None, Duration::from_secs(30))
    );
}

#[test]
fn the_topology_says_what_the_file_says() {
    let config = load(
        "global:\n  drain_timeout: 3000\n  max_memory: 1000\n  client_output_max: 2k\n  client_requests_max: 5\n  batch_window_us: 50\na:\n  listen: 127.0.0.1:30110\n  redis: true\n  auto_eject_hosts: true\n  server_failure_limit: 3\n  server_retry_timeout: 7\n  servers:\n    - h:2:1\n    - h:1:1\nb:\n  listen: 127.0.0.1:30111\n  servers:\n    - h:1:1\n",
    );
    let topology = config.topology(9, 3);
    assert_eq!(topology.epoch, 9);
    let expected = Limits {
        client_output_bytes_max: 2048,
        client_requests_max: 5,
        worker_memory_bytes_max: 334,
        window_us_max: 50,
        drain_us_max: 3_000_000,
        ..Limits::default()
    };
    assert_eq!(topology.limits, expected);
    let [a, b] = topology.pools.as_slice() else { panic!("two pools") };
    let ejection = a.ejection.expect("ejection is on");
    assert_eq!((ejection.failure_limit, ejection.retry_timeout), (3, Duration::from_millis(7)));
    assert_eq!((a.servers[0].name.as_str(), a.servers[1].name.as_str()), ("h:1", "h:2"));
    assert_eq!((b.ejection, b.protocol), (None, Protocol::Memcached));
}
