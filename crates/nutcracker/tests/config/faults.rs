//! Bad files: all faults of a file at once, each with line, column, pool, key and a way to mend it.

use crate::scratch::Scratch;

/// What `-t` says about a file, without the name of the file and the verdict.
fn faults(yaml: &str) -> Vec<String> {
    let scratch = Scratch::new();
    let (status, mut said) = scratch.test_conf(yaml.as_bytes());
    assert_eq!(status, 1, "accepted: {yaml}");
    said.pop();
    let file = format!("{}:", scratch.conf_file().display());
    said.iter().map(|line| line.strip_prefix(&file).expect("the file").to_owned()).collect()
}

#[track_caller]
fn only(yaml: &str, expected: &str) {
    assert_eq!(faults(yaml), [expected]);
}

/// A pool with one more key.
#[track_caller]
fn key(line: &str, expected: &str) {
    only(&format!("a:\n  listen: 127.0.0.1:30110\n  {line}\n  servers:\n    - h:1:1\n"), expected);
}

/// A pool with that server beside a good one.
#[track_caller]
fn server(item: &str, expected: &str) {
    only(
        &format!("a:\n  listen: 127.0.0.1:30110\n  servers:\n    - h:1:1\n    - {item}\n"),
        expected,
    );
}

/// A pool that listens there.
#[track_caller]
fn listen(value: &str, expected: &str) {
    only(&format!("a:\n  listen: {value}\n  servers:\n    - h:1:1\n"), expected);
}

#[test]
fn all_faults_are_reported_in_the_order_of_the_file() {
    let yaml = "a:\n  listen: 127.0.0.1:0\n  timeot: 5\n  redis: yes\n  servers:\n    - h:1\n    - h:1:0\nb:\n  hash: MD5\n  servers:\n    - h:1:1\n";
    let found = faults(yaml);
    let starts = [
        "2:11: pool 'a', key 'listen': found '127.0.0.1:0'",
        "3:3: pool 'a', key 'timeot': found unknown key 'timeot'",
        "4:10: pool 'a', key 'redis': found 'yes', expected true or false; fix: write true",
        "6:7: pool 'a', key 'servers': found 'h:1'",
        "7:7: pool 'a', key 'servers': found 'h:1:0', expected a weight from 1",
        "8:1: pool 'b': found no key 'listen'",
        "9:9: pool 'b', key 'hash': found 'MD5'",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}");
    }
}

#[test]
fn unknown_keys_are_met_with_the_nearest_known_one() {
    key(
        "timeot: 1",
        "3:3: pool 'a', key 'timeot': found unknown key 'timeot', expected a key of a pool; fix: did you mean 'timeout'?",
    );
    key(
        "Hash: md5",
        "3:3: pool 'a', key 'Hash': found unknown key 'Hash', expected a key of a pool; fix: did you mean 'hash'?",
    );
    let found = faults("a:\n  listen: 127.0.0.1:30110\n  sentinels: 1\n  servers:\n    - h:1:1\n");
    assert!(found[0].contains("fix: remove it, or use one of listen, redis,"), "{found:?}");
    key(
        "<<: b",
        faults("a:\n  listen: 127.0.0.1:30110\n  <<: b\n  servers:\n    - h:1:1\n")[0].as_str(),
    );
}

#[test]
fn values_of_the_wrong_type_say_what_belongs_there() {
    let number = "expected a whole number from 0 to 2147483647; fix: write digits only, without sign, unit, blank or decimal point";
    key("timeout: 400ms", &format!("3:12: pool 'a', key 'timeout': found '400ms', {number}"));
    key(
        "timeout: 4294967297",
        &format!("3:12: pool 'a', key 'timeout': found '4294967297', {number}"),
    );
    key("backlog: -1", &format!("3:12: pool 'a', key 'backlog': found '-1', {number}"));
    key(
        "redis: True",
        "3:10: pool 'a', key 'redis': found 'True', expected true or false; fix: write true",
    );
    key(
        "preconnect: maybe",
        "3:15: pool 'a', key 'preconnect': found 'maybe', expected true or false; fix: write true or false",
    );
    key(
        "hash: fnv1a64",
        "3:9: pool 'a', key 'hash': found 'fnv1a64', expected one of one_at_a_time, md5, crc16, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, jenkins; fix: did you mean 'fnv1a_64'?",
    );
    key(
        "distribution: consistent",
        "3:17: pool 'a', key 'distribution': found 'consistent', expected one of ketama, modula, random; fix: write for example 'ketama'",
    );
    key(
        "cross_shard: none",
        "3:16: pool 'a', key 'cross_shard': found 'none', expected one of first_key, error; fix: write for example 'first_key'",
    );
    key(
        "max_ejected_percent: 101",
        "3:24: pool 'a', key 'max_ejected_percent': found '101', expected a whole number from 0 to 100; fix: write digits only, without sign, unit, blank or decimal point",
    );
    key(
        "on_eject: errors",
        "3:13: pool 'a', key 'on_eject': found 'errors', expected one of rehash, error, miss; fix: did you mean 'error'?",
    );
    key(
        "hash_tag: '{'",
        "3:13: pool 'a', key 'hash_tag': found '{', expected exactly two characters; fix: write for example \"{}\", with the quotes",
    );
    key(
        "hash_tag: {}",
        "3:13: pool 'a', key 'hash_tag': found a mapping, expected two characters; fix: put it in quotes: hash_tag: \"{}\"",
    );
    let least = "expected a whole number from 1 to 2147483647; fix: write digits only, without sign, unit, blank or decimal point";
    key(
        "server_connections: 0",
        &format!("3:23: pool 'a', key 'server_connections': found '0', {least}"),
    );
}

#[test]
fn empty_values_are_named() {
    let expected = "found nothing, expected milliseconds; fix: write a value, or remove the key to get the default";
    for line in ["timeout:", "timeout: ''", "timeout: \"\""] {
        let found =
            faults(&format!("a:\n  listen: 127.0.0.1:30110\n  {line}\n  servers:\n    - h:1:1\n"));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains(&format!("pool 'a', key 'timeout': {expected}")), "{found:?}");
        assert!(found[0].starts_with("3:"), "{found:?}");
    }
    let found = faults("a:\n  listen: 127.0.0.1:30110\n  servers:\n    - h:1:1\n    -\n");
    assert!(found[0].contains("found nothing, expected HOST:PORT:WEIGHT"), "{found:?}");
}

#[test]
fn duplicates_name_the_line_of_the_first() {
    key(
        "listen: 127.0.0.1:30112",
        "3:3: pool 'a', key 'listen': found the key a second time, expected it once (first on line 2); fix: keep one of the two",
    );
    server(
        "h:1:5",
        "5:7: pool 'a', key 'servers': found a second server named 'h:1', expected unique names (first on line 4); fix: remove one, or put a name of its own after the weight: 'h:1:5 NAME'",
    );
    let pool = "a:\n  listen: 127.0.0.1:30110\n  servers:\n    - h:1:1\n";
    only(
        &format!("{pool}{pool}"),
        "5:1: pool 'a': found a second pool of this name, expected unique names (first on line 1); fix: rename one of the two",
    );
    let other = pool.replace("a:\n", "b:\n");
    only(
        &format!("{pool}{other}"),
        "6:11: pool 'b', key 'listen': found '127.0.0.1:30110', expected an address no other pool uses (pool 'a' does, on line 2); fix: choose another port or path",
    );
}

#[test]
fn addresses_say_which_part_is_wrong() {
    let forms = "expected HOST:PORT, [IPV6]:PORT or /PATH";
    listen(
        "localhost",
        &format!(
            "2:11: pool 'a', key 'listen': found 'localhost', {forms}; fix: add ':' and a port, as in 127.0.0.1:22121"
        ),
    );
    listen(
        "127.0.0.1:65536",
        &format!(
            "2:11: pool 'a', key 'listen': found '127.0.0.1:65536', {forms}; fix: end with ':' and a port from 1 to 65535, digits only"
        ),
    );
    listen(
        "':22121'",
        &format!(
            "2:11: pool 'a', key 'listen': found ':22121', {forms}; fix: write 0.0.0.0 or :: in front of the port to listen on every address"
        ),
    );
    listen(
        "/tmp/u.sock 1000",
        "2:11: pool 'a', key 'listen': found '/tmp/u.sock 1000', expected octal permissions from 0001 to 0777 after the socket path; fix: write for example '/run/nutcracker.sock 0660'",
    );
    let long = format!("/{}", "x".repeat(107));
    assert!(
        faults(&format!("a:\n  listen: {long}\n  servers:\n    - h:1:1\n"))[0]
            .contains("expected a socket path shorter than 108 bytes")
    );
    let unresolved = faults("a:\n  listen: no.such.host.invalid:1\n  servers:\n    - h:1:1\n");
    assert!(
        unresolved[0].starts_with(
            "2:11: pool 'a', key 'listen': found host 'no.such.host.invalid' without an address ("
        ),
        "{unresolved:?}"
    );
}

#[test]
fn servers_say_which_part_is_wrong() {
    let forms = "expected HOST:PORT:WEIGHT [NAME] or /PATH:WEIGHT [NAME]";
    let weight = "expected a weight from 1 to 2147483647";
    server(
        "10.0.0.1:6379",
        &format!(
            "5:7: pool 'a', key 'servers': found '10.0.0.1:6379', {forms}; fix: write host, port and weight, as in 127.0.0.1:6379:1"
        ),
    );
    server(
        "10.0.0.1",
        &format!(
            "5:7: pool 'a', key 'servers': found '10.0.0.1', {forms}; fix: end with ':1' for a weight of 1"
        ),
    );
    server(
        "/tmp/r.sock",
        &format!(
            "5:7: pool 'a', key 'servers': found '/tmp/r.sock', {forms}; fix: end with ':1' for a weight of 1"
        ),
    );
    server(
        "10.0.0.1:0:1",
        &format!(
            "5:7: pool 'a', key 'servers': found '10.0.0.1:0:1', {forms}; fix: write a port from 1 to 65535 between the colons"
        ),
    );
    server(
        "10.0.0.1:6379:0",
        &format!(
            "5:7: pool 'a', key 'servers': found '10.0.0.1:6379:0', {weight}; fix: write 1 or more; to take a server out, remove its line"
        ),
    );
    server(
        "10.0.0.1:6379:1  x",
        &format!(
            "5:7: pool 'a', key 'servers': found '10.0.0.1:6379:1  x', {weight}; fix: put exactly one blank between weight and name, and none inside the name"
        ),
    );
    server(
        "10.0.0.1:6379:1.5",
        &format!(
            "5:7: pool 'a', key 'servers': found '10.0.0.1:6379:1.5', {weight}; fix: write the weight after the last colon in digits, 1 for equal shares"
        ),
    );
    server(
        "/tmp/a:b:1",
        &format!(
            "5:7: pool 'a', key 'servers': found '/tmp/a:b:1', {forms}; fix: the path of a unix socket must not hold a colon or a blank"
        ),
    );
}

#[test]
fn shapes_that_are_no_configuration_are_explained() {
    only(
        "",
        "1:1: found 0 YAML documents, expected exactly 1; fix: add a pool with 'listen' and 'servers'",
    );
    let pool = "a:\n  listen: 127.0.0.1:30110\n  servers:\n    - h:1:1\n";
    only(
        &format!("{pool}---\n{pool}"),
        "5:1: found 2 YAML documents, expected exactly 1; fix: remove the second '---' and what follows it",
    );
    only(
        "a: b\n",
        "1:4: pool 'a': found 'b', expected the keys of a pool as 'key: value'; fix: write 'key: value' lines, with a blank after the colon and equal indentation",
    );
    only(
        "- a\n",
        "1:1: found a list, expected pools as 'name:' with indented keys below; fix: write 'key: value' lines, with a blank after the colon and equal indentation",
    );
    only(
        "global:\n  workers: 2\n",
        "1:1: found no pool, expected at least one; fix: add a pool with 'listen' and 'servers'",
    );
    only(
        "a:\n  listen: 127.0.0.1:30110\n",
        "1:1: pool 'a': found no key 'servers', expected every pool to have one; fix: add 'servers:' and '- HOST:PORT:WEIGHT'",
    );
    let list = "expected a list with at least one server; fix: write each server on a line of its own: '- HOST:PORT:WEIGHT [NAME]'";
    only(
        "a:\n  listen: 127.0.0.1:30110\n  servers: h:1:1\n",
        &format!("3:12: pool 'a', key 'servers': found 'h:1:1', {list}"),
    );
    only(
        "a:\n  listen: 127.0.0.1:30110\n  servers: []\n",
        &format!("3:12: pool 'a', key 'servers': found an empty list, {list}"),
    );
    server(
        "h: 6379:1",
        "5:7: pool 'a', key 'servers': found a mapping, expected HOST:PORT:WEIGHT [NAME] or /PATH:WEIGHT [NAME]; fix: write one server per line without a blank after its colons",
    );
}

#[test]
fn features_of_yaml_that_configurations_do_without_are_named() {
    key(
        "hash: &x md5",
        "3:9: found an anchor (&), expected a plain value; fix: remove it; a value that starts with '&' needs quotes",
    );
    key(
        "hash: !!str md5",
        "3:9: found a tag (!), expected a plain value; fix: remove it; a value that starts with '!' needs quotes",
    );
    only(
        "%YAML 1.1\n---\na: b\n",
        "1:1: found a YAML directive, expected a plain value; fix: remove the line that starts with '%'",
    );
}

#[test]
fn faults_behind_tabs_are_placed_where_they_are() {
    key(
        "hash:\t\t!!str md5",
        "3:10: found a tag (!), expected a plain value; fix: remove it; a value that starts with '!' needs quotes",
    );
    key(
        "'hash':\t'md5'#\t\n  timeout:\t&x 400",
        "4:12: found an anchor (&), expected a plain value; fix: remove it; a value that starts with '&' needs quotes",
    );
}

#[test]
fn text_that_is_not_yaml_is_placed() {
    let tabs = faults("a:\n\tlisten: 127.0.0.1:30110\n");
    assert!(
        tabs[0].starts_with("2:") && tabs[0].ends_with("fix: indent with blanks, not with tabs"),
        "{tabs:?}"
    );
    let unindented = faults("a:\n  listen: 127.0.0.1:30110\n hash: md5\n");
    assert!(unindented[0].starts_with("3:"), "{unindented:?}");
    let scratch = Scratch::new();
    let (_, said) = scratch.test_conf(b"a:\n  listen: \xff\n");
    assert!(
        said[0].contains(":2:11: found the byte 0xFF, expected text in UTF-8 or UTF-16"),
        "{said:?}"
    );
    let (_, said) = scratch.test_conf(b"a:\n  listen: x\x01\n");
    assert!(said[0].contains(":2:12: found the control character U+0001"), "{said:?}");
    let (_, said) = scratch.test_conf(b"\xff\xfea\0:");
    assert!(said[0].contains(":1:1: found broken UTF-16"), "{said:?}");
}

#[test]
fn a_password_needs_a_redis_pool_and_is_never_shown() {
    key(
        "redis_auth: hunter2",
        "3:15: pool 'a', key 'redis_auth': found a password in a memcached pool, expected 'redis: true' beside it; fix: add 'redis: true' or remove 'redis_auth'",
    );
    let found = faults(
        "a:\n  listen: 127.0.0.1:30110\n  redis: yes\n  redis_auth: hunter2\n  servers:\n    - h:1:1\n",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    let found = faults(
        "a:\n  listen: 127.0.0.1:30110\n  redis: true\n  redis_auth: [hunter2, x]\n  servers:\n    - h:1:1\n",
    );
    assert!(found.iter().all(|line| !line.contains("hunter2")), "{found:?}");
}

#[test]
fn settings_of_the_process_are_checked_like_those_of_a_pool() {
    let yaml = "global:\n  workers: 0\n  max_memory: 1tb\n  worker: 3\n  stats_port: 0\n  log_level: x\n  log_level: 3\n  servers_: 1\na:\n  listen: 127.0.0.1:30110\n  servers:\n    - h:1:1\n";
    let found = faults(yaml);
    let starts = [
        "2:12: pool 'global', key 'workers': found '0', expected auto or a number from 1 to 1024; fix: write auto",
        "3:15: pool 'global', key 'max_memory': found '1tb', expected a number of bytes, perhaps with k, m or g",
        "4:3: pool 'global', key 'worker': found unknown key 'worker', expected a key of 'global'; fix: did you mean 'workers'?",
        "5:15: pool 'global', key 'stats_port': found '0', expected a port from 1 to 65535",
        "6:14: pool 'global', key 'log_level': found 'x'",
        "7:3: pool 'global', key 'log_level': found the key a second time",
        "8:3: pool 'global', key 'servers_': found unknown key",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(starts) {
        assert!(found.starts_with(start), "{found}");
    }
}

#[test]
fn a_nul_is_refused_except_in_a_password() {
    let found = faults(
        "a:\n  listen: 127.0.0.1:30110\n  hash: \"md5\\0\"\n  servers:\n    - \"h:1:1 x\\0\"\n",
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found.iter().all(|line| line.contains("expected text without NUL characters")),
        "{found:?}"
    );
}

#[test]
fn what_is_shown_of_the_file_cannot_drive_a_terminal() {
    let found =
        faults("a:\n  listen: 127.0.0.1:30110\n  hash: \"\\e[2J\\n\"\n  servers:\n    - h:1:1\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("found '\\u{1b}[2J\\n'"), "{found:?}");
    let long = "x".repeat(100_000);
    assert!(faults(&format!("a:\n  {long}: 1\n")).iter().all(|line| line.len() < 1000));
}
