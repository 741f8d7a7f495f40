//! Commands with several keys that are not split: where they go, and what `cross_shard` makes of them.

use crate::harness::{Pool, Proxy, RealServer, Reply, spread};

#[test]
fn by_default_the_first_key_decides_as_in_twemproxy() {
    let servers = RealServer::several(3);
    let proxy = Proxy::start(Pool::redis(&servers));
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 1);
    let (first, second) = (&keys[0][0], &keys[1][0]);
    client.call(&["SADD", first, "a", "b"]);
    client.call(&["SADD", second, "b", "c"]);
    // The server of the first key does not hold the second one.
    assert_eq!(client.call(&["SINTERSTORE", first, first, second]), Reply::Integer(0));
    assert!(proxy.log().to_lowercase().contains("sinterstore"), "one warning names the command");
}

#[test]
fn cross_shard_error_refuses_what_would_be_wrong() {
    let servers = RealServer::several(3);
    let pool = Pool::redis(&servers).set("cross_shard", "error").set("hash_tag", "\"{}\"");
    let proxy = Proxy::start(pool);
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 1);
    let (first, second) = (&keys[0][0], &keys[1][0]);
    let crossing = "CROSSSLOT Keys in request don't hash to the same shard";
    for words in [
        vec!["SUNION", first, second],
        vec!["PFCOUNT", first, second],
        vec!["RPOPLPUSH", first, second],
        vec!["SMOVE", first, second, "m"],
        vec!["ZUNIONSTORE", first, "2", first, second],
        vec!["EVAL", "return 1", "2", first, second],
    ] {
        assert_eq!(client.call(&words).error(), crossing, "{words:?}");
    }
    assert!(!client.call(&["SUNION", first, first]).is_error());
    assert!(!client.call(&["SUNION", "{x}1", "{x}2", "{x}3"]).is_error());
    assert_eq!(client.call(&["EVAL", "return 1", "2", "{x}1", "{x}2"]), Reply::Integer(1));
}

#[test]
fn commands_twemproxy_did_not_know_never_cross_shards() {
    let servers = RealServer::several(3);
    let proxy = Proxy::start(Pool::redis(&servers));
    let mut client = proxy.client();
    let keys = spread(&mut client, &servers, 1);
    let (first, second) = (&keys[0][0], &keys[1][0]);
    let crossing = "CROSSSLOT Keys in request don't hash to the same shard";
    assert_eq!(client.call(&["RENAME", first, second]).error(), crossing);
    assert_eq!(client.call(&["SINTERCARD", "2", first, second]).error(), crossing);
    assert_eq!(client.call(&["SET", first, "v"]), Reply::ok());
    assert_eq!(client.call(&["RENAME", first, first]), Reply::ok());
}

#[test]
fn a_count_of_keys_is_not_mistaken_for_a_key() {
    let servers = RealServer::several(3);
    let proxy = Proxy::start(Pool::redis(&servers));
    let mut client = proxy.client();
    for key in spread(&mut client, &servers, 2).concat() {
        assert_eq!(client.call(&["ZADD", &key, "1", "m"]), Reply::Integer(1));
        for command in ["ZUNION", "ZINTER"] {
            assert_eq!(client.call(&[command, "1", &key]), Reply::Array(vec![Reply::bulk("m")]));
        }
        assert_eq!(client.call(&["ZDIFF", "1", &key]), Reply::Array(vec![Reply::bulk("m")]));
    }
}

#[test]
fn newer_single_shard_commands_are_forwarded() {
    let servers = RealServer::several(2);
    let proxy = Proxy::start(Pool::redis(&servers));
    let mut client = proxy.client();
    assert_eq!(client.call(&["SET", "k", "v", "EX", "100"]), Reply::ok());
    assert_eq!(client.call(&["EXPIRE", "k", "200", "GT"]), Reply::Integer(1));
    assert!(client.call(&["EXPIRETIME", "k"]).integer() > 1_000_000_000);
    assert_eq!(client.call(&["OBJECT", "ENCODING", "k"]), Reply::bulk("embstr"));
    assert!(matches!(client.call(&["XADD", "stream", "*", "f", "v"]), Reply::Bulk(_)));
    assert_eq!(client.call(&["XLEN", "stream"]), Reply::Integer(1));
    assert_eq!(client.call(&["SETBIT", "b", "7", "1"]), Reply::Integer(0));
    assert_eq!(
        client.call(&["BITFIELD_RO", "b", "GET", "u8", "0"]),
        Reply::Array(vec![Reply::Integer(1)])
    );
    assert_eq!(client.call(&["EVAL_RO", "return 7", "1", "k"]), Reply::Integer(7));
    assert_eq!(client.call(&["SUBSTR", "k", "0", "0"]), Reply::bulk("v"));
}
