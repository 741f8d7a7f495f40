//! `-t`, `--print-config` and `--route` as they meet the user.

use nutcracker::config;

use crate::scratch::{Scratch, lines};

const TWO_POOLS: &str = "beta:\n  listen: 127.0.0.1:30111\n  redis: true\n  redis_auth: '12345'\n  timeout: 400\n  distribution: random\n  servers:\n    - 127.0.0.1:1:1\n    - 127.0.0.1:2:1\nalpha:\n  listen: '[::1]:30110'\n  redis: true\n  hash_tag: '{}'\n  timeout: 400\n  servers:\n    - 10.0.0.1:6379:1 redis10\n    - '[::1]:6379:1 redis2'\n    - /tmp/r.sock:1 redis1\n";

fn print_config(scratch: &Scratch) -> (u8, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = config::print_config(&scratch.options(), &mut out, &mut err)
        .expect("vectors take any bytes");
    (status, String::from_utf8(out).expect("text"))
}

fn route(scratch: &Scratch, pool: &str, keys: &[&[u8]]) -> (u8, Vec<String>, Vec<String>) {
    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = config::route(&scratch.options(), pool, &keys, &mut out, &mut err)
        .expect("vectors take any bytes");
    (status, lines(&out), lines(&err))
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason_and_the_verdict() {
    let scratch = Scratch::new();
    let (status, said) = crate::scratch::test_conf(&scratch.options());
    let path = scratch.conf_file().display().to_string();
    assert_eq!(status, 1);
    assert!(
        said[0].starts_with(&format!(
            "cannot read configuration file '{path}': No such file or directory; fix: "
        )),
        "{said:?}"
    );
    assert_eq!(said[1], format!("nutcracker: configuration file '{path}' syntax is invalid"));
    assert_eq!(said.len(), 2);
}

#[test]
fn a_folder_in_place_of_the_file_is_an_error() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.conf_file()).expect("the folder can be made");
    let (status, said) = crate::scratch::test_conf(&scratch.options());
    assert_eq!((status, said.len()), (1, 2), "{said:?}");
}

#[test]
fn the_printed_configuration_reads_back_as_the_same_one() {
    let scratch = Scratch::new();
    for text in [TWO_POOLS, ODDITIES, SETTINGS, OLD_GLOBAL] {
        let path = scratch.write(text.as_bytes());
        let config = config::load(&path).expect("a valid file").into_config();
        let (status, printed) = print_config(&scratch);
        assert_eq!(status, 0);
        scratch.write(printed.as_bytes());
        assert_eq!(config::load(&path).expect(&printed).config(), &config, "{printed}");
    }
}

const ODDITIES: &str = "'true':\n  listen: 127.0.0.1:30110\n  redis: true\n  redis_auth: \"a\\0\\\"\\\\ é\\u2028b\"\n  hash_tag: \"é\"\n  servers:\n    - 127.0.0.1:011211:1\n    - '127.0.0.1:30002:7 '\n    - ::1:6379:3\n    - '127.0.0.1:1:1 \"quoted\"'\n\"pool \\\"x\\\": #\":\n  listen: /tmp/a b 0660\n  client_connections: 5\n  servers:\n    - /tmp/s.sock:1\n";

const SETTINGS: &str = "global:\n  workers: 3\n  max_memory: 1000001\n  client_output_max: 3m\n  client_requests_max: 7\n  reload_on_hup: false\n  drain_timeout: 1\n  stats_addr: '::'\n  stats_port: 1\n  stats_interval: 0\n  pid_file: /run/a b.pid\n  log_output: ./log\n  log_level: 99\na:\n  listen: 127.0.0.1:30110\n  servers: [h:1:1]\n";

const OLD_GLOBAL: &str = "global:\n  listen: 127.0.0.1:30110\n  servers:\n    - h:1:1\n";

#[test]
fn the_printed_configuration_shows_every_default() {
    let scratch = Scratch::new();
    scratch.write(b"a:\n  listen: 127.0.0.1:30110\n  servers:\n  - 127.0.0.1:11211:1\n");
    let (_, printed) = print_config(&scratch);
    for line in [
        "a:",
        "  listen: \"127.0.0.1:30110\"",
        "  redis: false",
        "  # redis_auth: none",
        "  redis_db: 0",
        "  hash: fnv1a_64",
        "  # hash_tag: none",
        "  distribution: ketama",
        "  # timeout: none",
        "  backlog: 512",
        "  client_connections: 0",
        "  max_clients: 0",
        "  tcpkeepalive: false",
        "  reuseport: false",
        "  preconnect: false",
        "  server_connections: 1",
        "  auto_eject_hosts: false",
        "  server_retry_timeout: 30000",
        "  server_failure_limit: 2",
        "  cross_shard: first_key",
        "  on_eject: rehash",
        "  probe: false",
        "  max_ejected_percent: 100",
        "  # listen resolves to 127.0.0.1:30110",
        "    - \"127.0.0.1:11211:1 127.0.0.1\"",
        "  # workers: auto",
        "  client_output_max: 1m",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "no line '{line}' in:\n{printed}");
    }
}

#[test]
fn keys_are_routed_to_the_servers_that_twemproxy_chooses() {
    let scratch = Scratch::new();
    let servers = (1..=4)
        .map(|number| format!("  - 127.0.0.1:{number}:1 server{number}\n"))
        .collect::<String>();
    scratch.write(
        format!("a:\n  listen: 127.0.0.1:30110\n  hash: crc32\n  servers:\n{servers}").as_bytes(),
    );
    for key in ["key-0", "key-1", "key-99999"] {
        let (status, out, err) = route(&scratch, "a", &[key.as_bytes()]);
        assert_eq!((status, out, err.len()), (0, vec![format!("{key}\tserver3\t127.0.0.1:3")], 0));
    }
}

#[test]
fn crc32a_spreads_the_same_keys_as_twemproxy_does() {
    let scratch = Scratch::new();
    let servers = (1..=4)
        .map(|number| format!("  - 127.0.0.1:{number}:1 server{number}\n"))
        .collect::<String>();
    scratch.write(
        format!("a:\n  listen: 127.0.0.1:30110\n  hash: crc32a\n  servers:\n{servers}").as_bytes(),
    );
    let keys: Vec<String> = (0..100_000).map(|number| format!("key-{number}")).collect();
    let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
    let (_, out, _) = route(&scratch, "a", &keys);
    let count =
        |server: &str| out.iter().filter(|line| line.split('\t').nth(1) == Some(server)).count();
    assert_eq!(
        ["server1", "server2", "server3", "server4"].map(count),
        [24681, 26138, 25148, 24033]
    );
}

#[test]
fn routing_follows_hash_tags_and_escapes_what_would_break_a_line() {
    let scratch = Scratch::new();
    scratch.write(TWO_POOLS.as_bytes());
    let (status, out, _) = route(&scratch, "alpha", &[b"x{k}y", b"{k}", b"a\tb\n\xff\\"]);
    assert_eq!(status, 0);
    let tail = |line: &String| line.split_once('\t').expect("a tab").1.to_owned();
    assert_eq!(tail(&out[0]), tail(&out[1]));
    assert!(out[2].starts_with("a\\tb\\n\\xff\\\\\t"), "{}", out[2]);
    assert_eq!(out.len(), 3);
}

#[test]
fn an_unknown_pool_is_answered_with_the_names_of_all() {
    let scratch = Scratch::new();
    scratch.write(TWO_POOLS.as_bytes());
    let (status, out, err) = route(&scratch, "gamma", &[b"k"]);
    assert_eq!((status, out.len()), (1, 0));
    assert_eq!(err, ["nutcracker: no pool 'gamma'; fix: use one of 'beta', 'alpha'"]);
}

#[test]
fn a_pool_that_distributes_at_random_routes_no_key() {
    let scratch = Scratch::new();
    scratch.write(TWO_POOLS.as_bytes());
    let (status, out, err) = route(&scratch, "beta", &[b"k"]);
    assert_eq!((status, out.len(), err.len()), (1, 0, 1));
}

#[test]
fn modes_that_show_something_refuse_an_invalid_file() {
    let scratch = Scratch::new();
    scratch.write(b"a: b\n");
    assert_eq!(print_config(&scratch), (1, String::new()));
    let (status, out, err) = route(&scratch, "a", &[b"k"]);
    assert_eq!((status, out.len(), err.len()), (1, 0, 1));
}
