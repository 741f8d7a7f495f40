//! What the table promises to the users of twemproxy 0.5, and to the engine.

use std::collections::{BTreeMap, BTreeSet};

use proto::resp::command::{
    self, Command, KeysRejection, Local, Merge, Policy, Rejection, RequestPolicy, ResponsePolicy,
    Split, Unsupported,
};
use proto::resp::encode;

use crate::{json, request};

/// The policy of a request that has a row, found and checked as the engine does.
fn policy(line: &str) -> Policy {
    let words: Vec<&str> = line.split(' ').collect();
    let (bytes, args) = request(&words);
    let row = command::resolve(&bytes, &args).unwrap_or_else(|error| panic!("{line}: {error:?}"));
    row.policy_for(&bytes, &args)
}

fn refusal(words: &[&str]) -> String {
    let (bytes, args) = request(words);
    let mut reply = Vec::new();
    match command::resolve(&bytes, &args) {
        Err(rejection) => rejection.write_reply(&bytes, &args, &mut reply),
        Ok(row) => panic!("{words:?} is {}", row.name),
    }
    String::from_utf8(reply).expect("text was quoted")
}

fn row(name: &str) -> &'static Command {
    command::find(name.as_bytes()).unwrap_or_else(|| panic!("{name} has no row"))
}

fn outcomes_of_0_5() -> BTreeMap<String, String> {
    let record = json("commands/twemproxy_0_5.json");
    let commands = record["commands"].as_object().expect("words and outcomes");
    let outcome = |(name, outcome): (&String, &serde_json::Value)| {
        (name.to_lowercase(), outcome.as_str().expect("letters").to_owned())
    };
    commands.iter().map(outcome).collect()
}

#[test]
fn the_rows_known_to_0_5_are_its_137_words() {
    let ours: BTreeSet<&str> =
        command::all().iter().filter(|row| row.known_to_0_5).map(|row| row.name).collect();
    let theirs = outcomes_of_0_5();
    assert_eq!(theirs.len(), 137);
    assert_eq!(ours, theirs.keys().map(String::as_str).collect());
}

#[test]
fn what_0_5_forwarded_or_answered_is_still_forwarded_or_answered() {
    for (name, outcome) in outcomes_of_0_5() {
        for (argc, letter) in (1..).zip(outcome.chars()) {
            let mut words = vec![name.as_str()];
            // A number serves scripts as their number of keys and everything else as a key.
            words.resize(argc, "1");
            let (bytes, args) = request(&words);
            let resolved = command::resolve(&bytes, &args);
            let served = resolved
                .is_ok_and(|row| !matches!(row.policy_for(&bytes, &args), Policy::Unsupported(_)));
            // MOVE leaves the pool's database: 0.5 parsed it and then closed the connection.
            match letter {
                'F' | 'L' if below_arity(&name, argc) => assert!(!served, "{name} {argc}"),
                'F' | 'L' if name != "move" => assert!(served, "{name} with {argc} arguments"),
                _ => {}
            }
        }
    }
}

/// 0.5 forwarded many commands with too few arguments, for the server to refuse. They are refused
/// by the proxy now, in the same words.
fn below_arity(name: &str, argc: usize) -> bool {
    argc < usize::from(row(name).arity.unsigned_abs())
}

#[test]
fn ids_are_dense_and_names_unique() {
    let mut names = BTreeSet::new();
    for (id, row) in command::all().iter().enumerate() {
        assert_eq!(usize::from(row.id), id);
        assert!(names.insert(row.name), "{} twice", row.name);
        assert_eq!(row.name, row.name.to_lowercase());
    }
}

#[test]
fn every_name_resolves_to_its_row_in_any_case() {
    for row in command::all() {
        for spelling in [row.name.to_owned(), row.name.to_uppercase()] {
            let mut words: Vec<&str> = spelling.split('|').collect();
            words.resize(usize::from(row.arity.unsigned_abs()).max(words.len()), "1");
            let (bytes, args) = request(&words);
            let found = command::resolve(&bytes, &args).map(|found| found.name);
            // A container without its subcommand has no arity to fit.
            if !row.subcommands().is_empty() && words.len() > 1 {
                assert_eq!(found, Err(Rejection::UnknownSubcommand(row)));
            } else if row.policy == Policy::Split(Split::Mset) || words.len() > 1 || row.arity < 2 {
                assert_eq!(found, Ok(row.name), "{words:?}");
            }
        }
        assert_eq!(row.subcommand().is_none(), command::find(row.name.as_bytes()).is_some());
    }
}

#[test]
fn words_that_only_resemble_a_name_are_unknown() {
    for word in [
        "",
        "g",
        "ge",
        "gett",
        "g\u{0}t",
        "GE\u{14}",
        "bitfield\u{7f}ro",
        "xgroup|create",
        "georadiusbymember_r\u{f}",
        "zrangebyscoreX",
        "georadiuxbymember",
        "@et",
    ] {
        assert_eq!(command::find(word.as_bytes()), None, "{word:?}");
    }
    assert_eq!(command::find(&[b'a'; 1000]), None);
    assert_eq!(command::find(b"BitField_RO").map(|row| row.name), Some("bitfield_ro"));
}

#[test]
fn a_row_has_keys_exactly_if_it_is_routed_by_keys() {
    for row in command::all() {
        match row.policy {
            Policy::SingleShard | Policy::Split(_) => {
                assert!(!row.key_specs.is_empty(), "{} has no keys", row.name);
            }
            Policy::Keyless | Policy::Local(_) => {
                assert!(row.key_specs.is_empty(), "{} has keys", row.name);
            }
            Policy::Unsupported(_) => {}
        }
    }
}

#[test]
fn what_is_split_is_what_redis_calls_multi_shard() {
    for row in command::all() {
        let Policy::Split(split) = row.policy else { continue };
        assert_eq!(split.name(), row.name);
        let mut bulk = Vec::new();
        encode::bulk(&mut bulk, split.name().as_bytes());
        assert_eq!(split.bulk(), bulk);
        assert_eq!(row.request_policy, RequestPolicy::MultiShard);
        let merge = match row.response_policy {
            ResponsePolicy::Default => Merge::Default,
            ResponsePolicy::AggSum => Merge::AggSum,
            ResponsePolicy::AllSucceeded => Merge::AllSucceeded,
            other => panic!("{} merges by {other:?}", row.name),
        };
        assert_eq!(split.merge(), merge);
        let step = match row.key_specs[0].find_keys {
            command::FindKeys::Range { keystep, .. } => usize::from(keystep),
            other => panic!("{} finds keys by {other:?}", row.name),
        };
        assert_eq!(split.values_per_key() + 1, step);
    }
    let split = command::all().iter().filter(|row| matches!(row.policy, Policy::Split(_)));
    assert_eq!(split.count(), 6);
}

#[test]
fn arguments_decide_about_streams_and_scripts() {
    let session = Policy::Unsupported(Unsupported::Session);
    assert_eq!(policy("XREAD COUNT 1 STREAMS a 0"), Policy::SingleShard);
    assert_eq!(policy("XREAD COUNT 1 block 0 STREAMS a 0"), session);
    assert_eq!(policy("XREAD STREAMS block 0"), Policy::SingleShard);
    assert_eq!(policy("XREAD COUNT block STREAMS a 0"), Policy::SingleShard);
    assert_eq!(policy("XREADGROUP GROUP block block STREAMS a >"), Policy::SingleShard);
    assert_eq!(policy("XREADGROUP GROUP g c NOACK BLOCK 5 STREAMS a >"), session);
    assert_eq!(policy("EVAL s 0"), Policy::Keyless);
    assert_eq!(policy("EVAL s 0 x"), Policy::Keyless);
    assert_eq!(policy("EVALSHA s 1 a"), Policy::SingleShard);
    assert_eq!(policy("FCALL_RO f 0"), Policy::Keyless);
}

#[test]
fn policies_follow_what_a_command_needs() {
    assert_eq!(policy("PING"), Policy::Local(Local::Ping));
    assert_eq!(policy("client setinfo lib-name x"), Policy::Local(Local::Client));
    assert_eq!(policy("COMMAND DOCS"), Policy::Local(Local::Command));
    assert_eq!(policy("COMMAND"), Policy::Local(Local::Command));
    assert_eq!(policy("LOLWUT VERSION 5"), Policy::Keyless);
    assert_eq!(policy("XINFO HELP"), Policy::Keyless);
    assert_eq!(policy("OBJECT ENCODING a"), Policy::SingleShard);
    assert_eq!(policy("RENAME a b"), Policy::SingleShard);
    for line in ["MULTI", "WATCH a", "SUBSCRIBE a", "MONITOR", "BLPOP a 0", "WAIT 1 0"] {
        assert_eq!(policy(line), Policy::Unsupported(Unsupported::Session), "{line}");
    }
    for line in ["FLUSHALL", "KEYS *", "DBSIZE", "SCRIPT LOAD x", "CONFIG SET a b", "PUBLISH a b"] {
        assert_eq!(policy(line), Policy::Unsupported(Unsupported::Broadcast), "{line}");
    }
    assert_eq!(policy("SCAN 0"), Policy::Unsupported(Unsupported::Cursor));
    for line in ["SHUTDOWN", "REPLICAOF a 1", "DEBUG x", "CLUSTER SLOTS", "SWAPDB 0 1", "MOVE a 1"]
    {
        assert_eq!(policy(line), Policy::Unsupported(Unsupported::Admin), "{line}");
    }
}

#[test]
fn requests_of_one_key_are_told_from_those_of_several() {
    for name in ["get", "set", "hset", "zadd", "expire", "dump", "bitfield"] {
        assert!(row(name).is_single_key(), "{name}");
    }
    for name in ["mget", "exists", "rename", "eval", "sort", "xread", "zunionstore", "ping", "lcs"]
    {
        assert!(!row(name).is_single_key(), "{name}");
    }
}

#[test]
fn a_sole_key_is_the_first_and_the_only_one_whatever_the_arguments_are() {
    let rows = command::all().iter();
    let with_sole_key: Vec<_> = rows.filter(|row| row.sole_key().is_some()).collect();
    assert!(with_sole_key.len() > 100);
    for row in with_sole_key {
        for argument in ["0", "BLOCK", "STORE", "x"] {
            let words: Vec<&str> = row.name.split('|').chain([argument; 8]).collect();
            let (bytes, args) = request(&words);
            let mut keys = Vec::new();
            row.keys(&bytes, &args, &mut keys).expect("one key");
            assert_eq!(keys, [row.sole_key().expect("a key") as u32], "{}", row.name);
            assert_eq!(row.first_key(&bytes, &args), row.sole_key(), "{}", row.name);
            assert_eq!(row.policy_for(&bytes, &args), Policy::SingleShard, "{}", row.name);
        }
    }
}

#[test]
fn what_more_has_to_be_known_of_has_no_sole_key() {
    for name in ["mget", "del", "migrate", "sort", "eval", "xread", "ping", "rename", "auth"] {
        assert_eq!(row(name).sole_key(), None, "{name}");
    }
    for name in ["get", "set", "incr", "hgetall", "setex"] {
        assert_eq!(row(name).sole_key(), Some(1), "{name}");
    }
}

#[test]
fn the_sorted_set_algebra_is_routed_by_a_key_and_not_by_the_number_of_keys() {
    for (line, first) in [("ZUNION 2 a b", 2), ("ZUNIONSTORE d 2 a b", 1), ("EVAL s 1 a", 3)] {
        let words: Vec<&str> = line.split(' ').collect();
        let (bytes, args) = request(&words);
        let row = command::resolve(&bytes, &args).expect("a well formed request");
        assert_eq!(row.first_key(&bytes, &args), Some(first), "{line}");
    }
}

#[test]
fn a_number_of_keys_is_held_against_the_arguments_there_are() {
    use KeysRejection::{
        MoreKeysThanArgs, NegativeNumkeys, NoInputKey, NotAnInteger, NumkeysNotPositive, Syntax,
    };
    for (line, expected) in [
        ("SINTERCARD 2 a b", Ok(&[2, 3][..])),
        ("SINTERCARD 3 a b", Err(MoreKeysThanArgs)),
        ("SINTERCARD 0 a", Err(NumkeysNotPositive)),
        ("SINTERCARD 01 a", Err(NumkeysNotPositive)),
        ("LMPOP 2 a LEFT", Ok(&[2, 3])),
        ("LMPOP 3 a LEFT", Err(Syntax)),
        ("EVAL s 2 a b", Ok(&[3, 4])),
        ("EVAL s 3 a b", Err(MoreKeysThanArgs)),
        ("EVAL s 01 a b", Err(NotAnInteger)),
        ("EVAL s -1 a b", Err(NegativeNumkeys)),
        ("ZUNION 2 a b", Ok(&[2, 3])),
        ("ZUNION 3 a b", Err(Syntax)),
        ("ZUNION 0 a b", Err(NoInputKey("zunion"))),
        ("ZUNION 1x a b", Err(NotAnInteger)),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let (bytes, args) = request(&words);
        let row = command::resolve(&bytes, &args).expect("a well formed request");
        let mut keys = Vec::new();
        let found = row.keys(&bytes, &args, &mut keys);
        assert_eq!(found.map(|()| &keys[..]), expected, "{line}");
    }
}

#[test]
fn a_failed_search_for_keys_leaves_no_keys_behind() {
    let (bytes, args) = request(&["ZUNIONSTORE", "d", "x", "a"]);
    let mut found = vec![7];
    let rejection = row("zunionstore").keys(&bytes, &args, &mut found);
    assert_eq!(rejection, Err(KeysRejection::NotAnInteger));
    assert_eq!(found, [7]);
}

#[test]
fn refusals_are_worded_as_redis_words_them() {
    assert_eq!(
        refusal(&["Foo", "a", "b"]),
        "-ERR unknown command 'Foo', with args beginning with: 'a' 'b' \r\n"
    );
    assert_eq!(refusal(&["MGET"]), "-ERR wrong number of arguments for 'mget' command\r\n");
    assert_eq!(
        refusal(&["MSET", "a", "a", "a"]),
        "-ERR wrong number of arguments for 'mset' command\r\n"
    );
    assert_eq!(
        refusal(&["xgroup", "create"]),
        "-ERR wrong number of arguments for 'xgroup|create' command\r\n"
    );
    assert_eq!(refusal(&["xgroup", "x"]), "-ERR unknown subcommand 'x'. Try XGROUP HELP.\r\n");
    assert_eq!(refusal(&[""]), "-ERR unknown command '', with args beginning with: \r\n");
}

#[test]
fn a_refusal_quotes_no_line_end_and_not_without_bound() {
    let long = "x".repeat(10_000);
    assert_eq!(
        refusal(&["a\r\n+OK\r\n\u{1b}[2J", "b\0c"]),
        "-ERR unknown command 'a  +OK   [2J', with args beginning with: 'b' \r\n"
    );
    let quoted = "x".repeat(128);
    assert_eq!(
        refusal(&[&long, &long, "y"]),
        format!("-ERR unknown command '{quoted}', with args beginning with: '{quoted}' \r\n")
    );
}
