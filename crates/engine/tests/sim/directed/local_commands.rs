//! Commands the proxy answers itself, to the byte.

use std::collections::BTreeSet;

use engine::topology::Pool;
use engine::{Event, Identity};
use proto::resp::command::REDIS_VERSION;

use crate::rig::{Rig, bulk, command};
use crate::scenario::pool;

/// What a fresh client of `pool` gets for each request, one after the other.
fn answers(pool: Pool, requests: &[&[&str]]) -> Vec<String> {
    let mut rig = Rig::new(pool);
    let client = rig.client();
    let answers = requests
        .iter()
        .map(|words| {
            rig.send(client, command(words));
            rig.read(client)
        })
        .collect();
    assert!(rig.nobody_connects_to(0));
    rig.assert_at_rest();
    answers
}

fn answer(words: &[&str]) -> String {
    answers(pool(1), &[words]).remove(0)
}

#[test]
fn the_commands_of_connections_are_answered_as_redis_would() {
    assert_eq!(answer(&["PING"]), "+PONG\r\n");
    assert_eq!(answer(&["ping", "hello"]), bulk("hello"));
    let too_many = "-ERR wrong number of arguments for 'ping' command\r\n";
    assert_eq!(answer(&["ping", "hello", "again"]), too_many);
    assert_eq!(answer(&["echo", "a 20 byte long text."]), bulk("a 20 byte long text."));
    assert_eq!(answer(&["select", "0"]), "+OK\r\n");
    assert_eq!(answer(&["select", "x"]), "-ERR value is not an integer or out of range\r\n");
    assert!(answer(&["select", "5"]).starts_with("-ERR "));
    assert_eq!(answer(&["client", "setname", "worker-1"]), "+OK\r\n");
    assert_eq!(answer(&["client", "getname"]), "$-1\r\n");
    assert_eq!(answer(&["client", "setinfo", "lib-name", "x"]), "+OK\r\n");
    assert_eq!(answer(&["reset"]), "+RESET\r\n");
    assert!(answer(&["client", "id"]).starts_with(':'));
    assert!(answer(&["command"]).starts_with('*'));
    assert!(answer(&["command", "docs"]).starts_with('*'));
    assert!(answer(&["command", "count"]).starts_with(':'));
    assert_eq!(answer(&["info"]), bulk("# Simulated\r\n"));
    assert_eq!(answer(&["info", "server"]), bulk("# Simulated\r\nserver"));
    assert_eq!(
        answer(&["command", "getkeys", "mset", "a", "1", "b", "2"]),
        "*2\r\n$1\r\na\r\n$1\r\nb\r\n"
    );
}

#[test]
fn the_list_of_commands_is_filtered() {
    let list = |filter: &[&str]| answer(&[&["command", "list"], filter].concat());
    let by = |kind: &str, value: &str| list(&["FilterBy", kind, value]);
    assert_eq!(by("PATTERN", "?Get"), format!("*2\r\n{}{}", bulk("mget"), bulk("hget")));
    assert_eq!(by("pattern", "xgroup|d*"), {
        let names = ["xgroup|delconsumer", "xgroup|destroy"];
        format!("*2\r\n{}", names.map(bulk).concat())
    });
    assert_eq!(by("pattern", "ping"), format!("*1\r\n{}", bulk("ping")));
    assert_eq!(by("pattern", "subscribe"), "*0\r\n", "it does not work through the proxy");
    let of_hyperloglog = ["pfadd", "pfcount", "pfmerge"].map(bulk).concat();
    assert_eq!(by("aclcat", "HyperLogLog"), format!("*3\r\n{of_hyperloglog}"));
    assert_eq!(by("aclcat", "nonsense"), "*0\r\n");
    assert_eq!(by("module", "json"), "*0\r\n");
    let all = list(&[]);
    assert_eq!(by("pattern", "*"), all);
    assert!(all.contains(&bulk("xgroup")) && all.contains(&bulk("xgroup|create")));
    for wrong in [&["filterby"][..], &["filterby", "pattern"], &["filterby", "x", "y"], &["x"]] {
        assert_eq!(list(wrong), "-ERR syntax error\r\n");
    }
}

#[test]
fn commands_without_keys_are_told_from_those_that_lack_them() {
    let keys = |words: &[&str]| answer(&[&["command", "getkeys"], words].concat());
    for words in [&["eval", "s", "0"][..], &["eval", "s", "x"], &["fcall_ro", "f", "2", "a"]] {
        assert_eq!(keys(words), "*0\r\n", "{words:?}");
    }
    assert_eq!(keys(&["ping"]), "-ERR The command has no key arguments\r\n");
    assert_eq!(keys(&["time", "x"]), "-ERR The command has no key arguments\r\n");
    let refusal = "-ERR Invalid number of arguments specified for command\r\n";
    assert_eq!(keys(&["get", "a", "b"]), refusal);
    assert_eq!(keys(&["zunion", "0", "a"]), "-ERR Invalid arguments specified for command\r\n");
}

#[test]
fn each_key_is_told_with_what_the_command_does_to_it() {
    let told = |words: &[&str]| answer(&[&["command", "getkeysandflags"], words].concat());
    let key = |name: &str, flags: &[&str]| {
        let words: String = flags.iter().map(|flag| format!("+{flag}\r\n")).collect();
        format!("*2\r\n{}*{}\r\n{words}", bulk(name), flags.len())
    };
    assert_eq!(told(&["get", "a"]), format!("*1\r\n{}", key("a", &["RO", "access"])));
    let (taken, given) = (["RW", "access", "delete"], ["RW", "insert"]);
    let moved = format!("*2\r\n{}{}", key("a", &taken), key("b", &given));
    assert_eq!(told(&["lmove", "a", "b", "left", "left"]), moved);
    let sorted = [key("a", &["RO", "access"]), key("d", &["OW", "update"])].concat();
    assert_eq!(told(&["sort", "a", "store", "d"]), format!("*2\r\n{sorted}"));
}

#[test]
fn time_is_that_of_the_wall_clock() {
    let mut rig = Rig::new(pool(1));
    rig.pass(1_500_000);
    let client = rig.client();
    rig.send(client, command(&["time"]));
    assert_eq!(rig.read(client), "*2\r\n$10\r\n1700000001\r\n$6\r\n500000\r\n");
}

#[test]
fn a_name_is_kept_and_reset_forgets_it() {
    let requests: [&[&str]; 4] =
        [&["client", "setname", "me"], &["client", "getname"], &["reset"], &["client", "getname"]];
    let answers = answers(pool(1), &requests);
    assert_eq!(answers[1], bulk("me"));
    assert_eq!(answers[3], "$-1\r\n");
}

#[test]
fn commands_that_are_not_served_and_wrong_arities_are_answered_and_the_connection_stays() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    rig.send(client, command(&["nonsense", "a", "b"]) + &command(&["ping"]));
    let text = "-ERR unknown command 'nonsense', with args beginning with: 'a' 'b' \r\n";
    assert_eq!(rig.read(client), format!("{text}+PONG\r\n"));
    assert!(matches!(rig.events()[..], [Event::UnsupportedCommand { .. }]));
    for words in [&["MULTI"][..], &["Config", "get", "*"], &["cluster", "nonsense"]] {
        rig.send(client, command(words));
        assert!(rig.read(client).starts_with("-ERR "));
        let events = rig.events();
        let [Event::UnsupportedCommand { command, .. }] = &events[..] else { panic!("{events:?}") };
        assert_eq!(command.as_str(), words[0], "named as it was sent, as 0.5 does");
    }
    for words in [&["mget"][..], &["mset", "a"], &["mset", "a", "b", "c"], &["get"], &["set", "a"]]
    {
        let text = format!("-ERR wrong number of arguments for '{}' command\r\n", words[0]);
        rig.send(client, command(words) + &command(&["ping"]));
        assert_eq!(rig.read(client), text + "+PONG\r\n");
    }
    assert!(rig.nobody_connects_to(0));
}

#[test]
fn what_needs_a_session_is_refused_and_the_connection_stays() {
    let requests: [&[&str]; 5] =
        [&["multi"], &["exec"], &["subscribe", "a"], &["blpop", "a", "0"], &["ping"]];
    let answers = answers(pool(1), &requests);
    for (words, answer) in requests.iter().zip(&answers).take(4) {
        let text =
            format!("-ERR command '{}' is not supported through this proxy yet\r\n", words[0]);
        assert_eq!(*answer, text);
    }
    assert_eq!(answers[4], "+PONG\r\n");
}

#[test]
fn a_pool_without_a_password_says_so() {
    let text = "-ERR Client sent AUTH, but no password is set\r\n";
    assert_eq!(answer(&["auth", "x"]), text);
    assert_eq!(answer(&["auth", "default", "x"]), text);
}

#[test]
fn nothing_is_served_before_the_right_password_or_after_a_wrong_one() {
    let pool = Pool { redis_auth: Some(b"secret"[..].into()), ..pool(1) };
    let no_auth = "-NOAUTH Authentication required\r\n";
    let steps: [(&[&str], &str); 15] = [
        (&["ping"], no_auth),
        (&["get", "a"], no_auth),
        (&["mget", "a", "b"], no_auth),
        (&["auth", "wrong"], "-ERR invalid password\r\n"),
        (&["auth", "secrex"], "-ERR invalid password\r\n"),
        // Two letters are off by the same.
        (&["auth", "sfcrft"], "-ERR invalid password\r\n"),
        (&["auth", "secret"], "+OK\r\n"),
        (&["ping"], "+PONG\r\n"),
        (&["auth", "wrong"], "-ERR invalid password\r\n"),
        (&["ping"], no_auth),
        (
            &["auth", "other", "secret"],
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        ),
        (&["auth", "default", "secret"], "+OK\r\n"),
        (&["ping"], "+PONG\r\n"),
        (&["reset"], "+RESET\r\n"),
        (&["ping"], no_auth),
    ];
    let answers = answers(pool, &steps.map(|(words, _)| words));
    for ((words, wanted), answer) in steps.iter().zip(answers) {
        assert_eq!(answer, *wanted, "{words:?}");
    }
}

#[test]
fn hello_speaks_version_two_only_and_may_authenticate() {
    let unknown = "-ERR unknown command 'HELLO', with args beginning with: '3' \r\n";
    assert_eq!(answer(&["hello", "3"]), unknown);
    assert_eq!(answer(&["hello", "3", "auth", "default", "secret"]), unknown);
    assert_eq!(answer(&["hello", "4"]), "-NOPROTO unsupported protocol version\r\n");
    let bad_version = "-ERR Protocol version is not an integer or out of range\r\n";
    assert_eq!(answer(&["hello", "two"]), bad_version);
    let told = answers(pool(1), &[&["client", "id"], &["hello", "2"], &["hello"]]);
    let fields = [bulk("server"), bulk("redis"), bulk("version"), bulk(REDIS_VERSION)].concat();
    let fields = [fields, bulk("proto") + ":2\r\n", bulk("id") + &told[0]].concat();
    let fields = [fields, bulk("mode"), bulk("standalone"), bulk("role"), bulk("master")].concat();
    let whole = format!("*14\r\n{fields}{}*0\r\n", bulk("modules"));
    assert_eq!(told[1..], [whole.clone(), whole]);
    let pool = || Pool { redis_auth: Some(b"secret"[..].into()), ..pool(1) };
    let steps: [&[&str]; 5] = [
        &["hello", "2"],
        &["hello", "2", "auth", "default", "wrong"],
        &["ping"],
        &["hello", "2", "auth", "default", "secret", "setname", "me"],
        &["client", "getname"],
    ];
    let answers = answers(pool(), &steps);
    assert!(answers[0].starts_with("-NOAUTH HELLO must be called"));
    assert!(answers[1].starts_with("-WRONGPASS"));
    assert!(answers[2].starts_with("-NOAUTH"));
    assert!(answers[3].starts_with("*14\r\n"));
    assert_eq!(answers[4], bulk("me"));
}

#[test]
fn hello_refuses_in_the_words_of_redis() {
    let syntax = |option: &str| format!("-ERR Syntax error in HELLO option '{option}'\r\n");
    assert_eq!(answer(&["hello", "2", "FOO"]), syntax("FOO"));
    assert_eq!(answer(&["hello", "2", "a\r\nb"]), syntax("a  b"));
    assert_eq!(answer(&["hello", "2", "AUTH", "default"]), syntax("AUTH"));
    assert_eq!(answer(&["hello", "2", "setname"]), syntax("setname"));
    assert_eq!(answer(&["hello", "2", "setname", "a", "b"]), syntax("b"));
    assert_eq!(answer(&["hello", "2", "setname", "a", "setname", "b", "c"]), syntax("c"));
    for version in ["4", "1", "0", "-2"] {
        assert_eq!(answer(&["hello", version]), "-NOPROTO unsupported protocol version\r\n");
    }
    for version in ["", "x", "02", "+2", " 2", "99999999999999999999"] {
        let refusal = "-ERR Protocol version is not an integer or out of range\r\n";
        assert_eq!(answer(&["hello", version]), refusal, "{version:?}");
    }
}

#[test]
fn what_hello_has_done_stays_done_when_it_is_refused() {
    let pool = Pool { redis_auth: Some(b"secret"[..].into()), ..pool(1) };
    let steps: [&[&str]; 3] = [
        &["hello", "2", "auth", "default", "secret", "setname", "me", "FOO"],
        &["client", "getname"],
        &["hello", "2", "auth", "default", "wrong"],
    ];
    let answers = answers(pool, &steps);
    assert!(answers[0].starts_with("-ERR Syntax error"));
    assert_eq!(answers[1], bulk("me"));
    assert!(answers[2].starts_with("-WRONGPASS"));
}

#[test]
fn the_handshake_of_a_client_library_is_answered_in_one_go() {
    let mut rig = Rig::new(pool(1));
    let client = rig.client();
    let hello: [&[&str]; 5] = [
        &["HELLO", "3"],
        &["CLIENT", "SETINFO", "LIB-NAME", "x"],
        &["CLIENT", "SETINFO", "LIB-VER", "1"],
        &["SELECT", "0"],
        &["PING"],
    ];
    rig.send(client, hello.map(command).concat());
    let answers = "-ERR unknown command 'HELLO', with args beginning with: '3' \r\n+OK\r\n+OK\r\n+OK\r\n+PONG\r\n";
    assert_eq!(rig.read(client), answers);
}

#[test]
fn select_accepts_the_database_of_the_pool() {
    let pool = Pool { redis_db: 7, ..pool(1) };
    let answers = answers(pool, &[&["select", "7"], &["select", "0"]]);
    assert_eq!(answers[0], "+OK\r\n");
    assert!(answers[1].starts_with("-ERR this pool serves database 7 only"));
    for number in ["+0", "00", "", "x"] {
        let refusal = "-ERR value is not an integer or out of range\r\n";
        assert_eq!(answer(&["select", number]), refusal, "{number:?}");
    }
}

#[test]
fn client_numbers_are_unique_over_all_workers() {
    let workers = 3;
    let mut numbers = BTreeSet::new();
    for worker in 0..workers {
        let mut rig = Rig::of(Identity { worker, workers, seed: 1 }, pool(1));
        for _ in 0..10 {
            let client = rig.client();
            rig.send(client, command(&["client", "id"]));
            let number = rig.read(client);
            assert!(numbers.insert(number.clone()), "{number} twice, worker {worker}");
        }
    }
}
