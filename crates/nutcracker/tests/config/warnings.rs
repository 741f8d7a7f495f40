//! Dangerous files: accepted, each with its warning at the right place.

use nutcracker::cli::Options;

use crate::scratch::{Scratch, test_conf};

/// The warnings for a pool `a` with these lines added, without the name of the file; the missing timeout is not one.
fn warnings(lines: &str) -> Vec<String> {
    let yaml = format!("a:\n  listen: 127.0.0.1:30110\n  timeout: 400\n{lines}");
    warnings_of(&yaml, Options::default())
}

fn warnings_of(yaml: &str, options: Options) -> Vec<String> {
    let scratch = Scratch::new();
    let path = scratch.write(yaml.as_bytes());
    let (status, mut said) = test_conf(&Options { conf_file: Some(path.clone()), ..options });
    assert_eq!(status, 0, "{said:?}");
    said.pop();
    let file = format!("{}:", path.display());
    said.iter().map(|line| line.strip_prefix(&file).expect("the file").to_owned()).collect()
}

#[track_caller]
fn only(found: &[String], start: &str) {
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(start), "{found:?}");
}

const ONE: &str = "  servers:\n    - h:1:1\n";
const TWO: &str = "  servers:\n    - h:1:1\n    - h:2:1\n";

#[test]
fn a_sound_pool_raises_none() {
    assert_eq!(warnings(TWO), [""; 0]);
}

#[test]
fn a_missing_or_zero_timeout_is_one() {
    let without = format!("a:\n  listen: 127.0.0.1:30110\n{ONE}");
    only(&warnings_of(&without, Options::default()), "1:1: warning: pool 'a': no timeout");
    let zero = format!("a:\n  listen: 127.0.0.1:30110\n  timeout: 0\n{ONE}");
    only(&warnings_of(&zero, Options::default()), "3:12: warning: pool 'a': no timeout");
}

#[test]
fn crc32_with_ketama_is_one_and_only_with_several_servers() {
    only(
        &warnings(&format!("  hash: crc32\n{TWO}")),
        "4:9: warning: pool 'a', key 'hash': crc32 gives",
    );
    assert_eq!(warnings(&format!("  hash: crc32\n{ONE}")), [""; 0]);
    assert_eq!(warnings(&format!("  hash: crc32a\n{TWO}")), [""; 0]);
    assert_eq!(warnings(&format!("  hash: crc32\n  distribution: modula\n{TWO}")), [""; 0]);
}

#[test]
fn modula_with_ejection_is_one() {
    let found = warnings(&format!("  distribution: modula\n  auto_eject_hosts: true\n{TWO}"));
    only(&found, "5:21: warning: pool 'a', key 'auto_eject_hosts': with modula");
}

#[test]
fn modula_with_ejection_that_moves_no_key_is_none() {
    let lines = "  distribution: modula\n  auto_eject_hosts: true\n  on_eject: error\n";
    assert_eq!(warnings(&format!("{lines}{TWO}")), [""; 0]);
}

#[test]
fn a_key_about_ejected_servers_is_one_where_none_is_ejected() {
    for line in ["on_eject: rehash", "on_eject: miss", "probe: false", "max_ejected_percent: 50"] {
        let (key, value) = line.split_once(": ").expect("a key and its value");
        let column = 3 + line.len() - value.len();
        let found = warnings(&format!("  {line}\n{TWO}"));
        let expected = format!("4:{column}: warning: pool 'a', key '{key}': the key has no effect");
        only(&found, &expected);
        assert_eq!(warnings(&format!("  auto_eject_hosts: true\n  {line}\n{TWO}")), [""; 0]);
    }
}

#[test]
fn a_share_of_servers_below_one_server_is_one() {
    let with = |percent: u8, servers: &str| {
        warnings(&format!("  auto_eject_hosts: true\n  max_ejected_percent: {percent}\n{servers}"))
    };
    let expected = "5:24: warning: pool 'a', key 'max_ejected_percent': the share is less than one";
    only(&with(49, TWO), expected);
    only(&with(99, ONE), expected);
    assert_eq!(with(50, TWO), [""; 0]);
}

#[test]
fn client_connections_is_one_whatever_its_value() {
    for value in ["0", "75000"] {
        let found = warnings(&format!("  client_connections: {value}\n{TWO}"));
        only(&found, "4:23: warning: pool 'a', key 'client_connections': the key has no effect");
    }
}

#[test]
fn a_server_that_gets_no_key_is_one() {
    let found = warnings("  servers:\n    - h:1:100000\n    - h:2:1 tiny\n");
    only(&found, "6:7: warning: pool 'a', key 'servers': server 'tiny' weighs 1,");
}

#[test]
fn the_address_of_the_stats_listener_is_one() {
    let at = |port: u16, addr: &str| Options {
        stats_port: Some(port),
        stats_addr: Some(addr.into()),
        ..Options::default()
    };
    let yaml = format!("a:\n  listen: 127.0.0.1:30110\n  timeout: 400\n{ONE}");
    for addr in ["0.0.0.0", "127.0.0.1"] {
        only(
            &warnings_of(&yaml, at(30110, addr)),
            "2:11: warning: pool 'a', key 'listen': '127.0.0.1:30110' is also",
        );
    }
    assert_eq!(warnings_of(&yaml, at(30111, "0.0.0.0")), [""; 0]);
    assert_eq!(warnings_of(&yaml, at(30110, "127.0.0.2")), [""; 0]);
    let own = yaml.replace("30110", "22222");
    only(&warnings_of(&own, Options::default()), "2:11: warning: pool 'a', key 'listen'");
    let moved = format!("global: {{stats_port: 22223}}\n{own}");
    assert_eq!(warnings_of(&moved, Options::default()), [""; 0]);
}

#[test]
fn an_empty_server_name_is_one() {
    let found = warnings("  servers:\n    - 'h:1:1 '\n");
    only(&found, "5:7: warning: pool 'a', key 'servers': the blank at the end");
}

#[test]
fn a_listener_on_a_star_is_one() {
    let found =
        warnings_of(&format!("a:\n  listen: '*:30110'\n  timeout: 1\n{ONE}"), Options::default());
    only(&found, "2:11: warning: pool 'a', key 'listen': the host '*'");
}

#[test]
fn permissions_that_are_not_octal_are_one() {
    for (text, read) in [("0668", "0066"), ("abc", "not given"), ("0888", "not given")] {
        let yaml = format!("a:\n  listen: /tmp/u.sock {text}\n  timeout: 1\n{ONE}");
        let found = warnings_of(&yaml, Options::default());
        only(&found, "2:11: warning: pool 'a', key 'listen'");
        assert!(found[0].contains(&format!("read as {read};")), "{found:?}");
    }
}

#[test]
fn a_database_in_a_memcached_pool_is_one() {
    only(&warnings(&format!("  redis_db: 3\n{ONE}")), "4:13: warning: pool 'a', key 'redis_db'");
    assert_eq!(warnings(&format!("  redis_db: 3\n  redis: true\n{ONE}")), [""; 0]);
}

#[test]
fn a_choice_about_keys_on_several_servers_in_a_memcached_pool_is_one() {
    let told = warnings(&format!("  cross_shard: error\n{ONE}"));
    only(&told, "4:16: warning: pool 'a', key 'cross_shard'");
    assert_eq!(warnings(&format!("  cross_shard: error\n  redis: true\n{ONE}")), [""; 0]);
}

#[test]
fn a_key_of_memcached_in_a_redis_pool_is_one() {
    for (key, value) in [("allow_flush", "true"), ("max_item_size", "1m"), ("join_gets", "false")] {
        let written = format!("  {key}: {value}\n");
        let told = warnings(&format!("{written}  redis: true\n{ONE}"));
        only(&told, &format!("4:{}: warning: pool 'a', key '{key}'", key.len() + 5));
        assert_eq!(warnings(&format!("{written}{ONE}")), [""; 0]);
    }
}
