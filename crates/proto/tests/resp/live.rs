//! The command table and every refusal, compared with a Redis server that is asked the same.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use proto::resp::command::{self, Policy, Unsupported};
use proto::resp::inline;

use crate::request;
use crate::server::{Server, Value};

/// Rows that take more than Redis 7.0 does: arity there, and the release that widened it.
const WIDER: [(&str, i64, &str); 4] = [
    ("command|getkeys", -4, "7.2"),
    ("command|getkeysandflags", -4, "7.2"),
    ("zrank", 3, "7.2"),
    ("zrevrank", 3, "7.2"),
];

/// Rows of commands younger than Redis 7.0.
const NEWER: [&str; 29] = [
    "client|capa",
    "client|import-source",
    "client|no-touch",
    "client|setinfo",
    "cluster|myshardid",
    "cluster|slot-stats",
    "commandlog",
    "commandlog|get",
    "commandlog|help",
    "commandlog|len",
    "commandlog|reset",
    "delifeq",
    "hexpire",
    "hexpireat",
    "hexpiretime",
    "hgetdel",
    "hgetex",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "hsetex",
    "httl",
    "script|show",
    "sflush",
    "waitaof",
    "xackdel",
    "xdelex",
];

/// What `COMMAND` says, by full name.
fn commands_of(server: &Server) -> BTreeMap<String, Vec<Value>> {
    fn add(rows: &mut BTreeMap<String, Vec<Value>>, list: &Value) {
        for row in list.list() {
            let row = row.list().to_vec();
            add(rows, &row[9]);
            rows.insert(row[0].text().to_owned(), row);
        }
    }
    let mut rows = BTreeMap::new();
    add(&mut rows, &Value::of(&server.connect().ask(&["COMMAND"])));
    rows
}

/// Flags, tips and key flags are sets; their order is not compared.
fn key_specs(specs: &Value) -> Vec<(Vec<String>, Value, Value)> {
    let spec = |spec: &Value| {
        let part = |name: &str| spec.entry(name).clone();
        (spec.entry("flags").words(), part("begin_search"), part("find_keys"))
    };
    specs.list().iter().map(spec).collect()
}

fn policies(tips: &Value) -> Vec<String> {
    tips.words().into_iter().filter(|tip| tip.contains("_policy:")).collect()
}

fn is_7_0(server: &Server) -> bool {
    let info = server.connect().ask(&["INFO", "server"]);
    String::from_utf8_lossy(&info).contains("redis_version:7.0.")
}

#[test]
fn every_command_of_the_server_has_an_equal_row() {
    let server = Server::start();
    // A newer server may have changed flags and added commands: there, what decides about routing
    // is compared, for the commands there are rows for.
    let exact = is_7_0(&server);
    let rows: BTreeMap<&str, _> = command::all().iter().map(|row| (row.name, row)).collect();
    let theirs = commands_of(&server);
    assert!(theirs.len() > 350);
    for (name, theirs) in &theirs {
        let Some(row) = rows.get(name.as_str()) else {
            assert!(!exact, "{name} has no row");
            continue;
        };
        let mut description = Vec::new();
        row.write_description(&mut description);
        let ours = Value::of(&description);
        let ours = ours.list();
        let wider = WIDER.iter().find(|(wider, ..)| wider == name);
        assert_eq!(ours[0], theirs[0]);
        if exact {
            let arity = wider.map_or(ours[1].integer(), |(_, arity, _)| *arity);
            assert_eq!(arity, theirs[1].integer(), "arity of {name}");
            assert_eq!(ours[2].words(), theirs[2].words(), "flags of {name}");
            assert_eq!(ours[6].words(), theirs[6].words(), "categories of {name}");
            assert_eq!(policies(&ours[7]), policies(&theirs[7]), "tips of {name}");
            assert_eq!(key_specs(&ours[8]), key_specs(&theirs[8]), "key specs of {name}");
            assert!(ours[9].list().len() >= theirs[9].list().len(), "{name}");
        }
        for flag in ["write", "readonly", "movablekeys"] {
            let has = |row: &[Value]| row[2].words().iter().any(|word| word == flag);
            assert_eq!(has(ours), has(theirs), "{flag} of {name}");
        }
        assert_eq!(ours[3..6], theirs[3..6], "first, last and step of {name}");
    }
}

#[test]
fn the_rows_an_older_server_lacks_are_listed() {
    let server = Server::start();
    if !is_7_0(&server) {
        // The list is of what Redis 7.0 lacks.
        return;
    }
    let theirs = commands_of(&server);
    let newer: Vec<_> = command::all()
        .iter()
        .filter(|row| !theirs.contains_key(row.name))
        .map(|row| row.name)
        .collect();
    let mut sorted = newer.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, NEWER);
    for name in newer {
        let row = command::all().iter().find(|row| row.name == name).expect("listed from there");
        assert!(row.since >= "7.2", "{name} came with {}", row.since);
    }
}

/// One request per shape of key specification, and some that are easily misread.
const KEYED: [&str; 49] = [
    "GET a",
    "SET a 1 EX 5",
    "MGET a b c",
    "MSET a 1 b 2",
    "DEL a b",
    "EXISTS a a b",
    "BITOP AND d a b",
    "BITFIELD a GET u8 0",
    "LCS a b",
    "SMOVE a b m",
    "RPOPLPUSH a b",
    "LMOVE a b LEFT RIGHT",
    "BLMOVE a b LEFT RIGHT 0",
    "BLPOP a b 0",
    "BZPOPMIN a 0",
    "LMPOP 2 a b LEFT",
    "BLMPOP 0 2 a b LEFT COUNT 3",
    "ZMPOP 1 a MIN",
    "BZMPOP 0 1 a MIN",
    "SINTERCARD 2 a b LIMIT 1",
    "SDIFFSTORE d a b",
    "SUNION a b c",
    "PFCOUNT a b",
    "PFMERGE d a b",
    "ZUNION 2 a b WITHSCORES",
    "ZINTERCARD 1 a",
    "ZDIFFSTORE d 2 a b",
    "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
    "ZRANGESTORE d a 0 1",
    "GEORADIUS a 1 2 3 km",
    "GEORADIUS a 1 2 3 km ASC STORE d",
    "GEORADIUSBYMEMBER a m 3 km STOREDIST d",
    "GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 km",
    "SORT a BY w_* GET # STORE d",
    "SORT a LIMIT 0 1 ALPHA",
    "SORT a BY STORE GET STORE STORE d STORE e",
    "SORT a STORE d GET STORE BY STORE ALPHA",
    "SORT a STORE d LIMIT STORE STORE ASC",
    "SORT a STORE d ASC ALPHA",
    "XREAD COUNT 2 STREAMS a b 0 0",
    "XREAD BLOCK 0 STREAMS a 0",
    "XREADGROUP GROUP g c NOACK STREAMS a b > >",
    "XGROUP CREATE a g $",
    "OBJECT ENCODING a",
    "MEMORY USAGE a",
    "EVAL s 2 a b x",
    "FCALL_RO f 1 a",
    "MIGRATE h 1 a 0 1 COPY",
    "MSETNX a 1 b 2",
];

#[test]
fn keys_are_the_ones_the_server_finds() {
    let server = Server::start();
    let connection = server.connect();
    let of_several = [
        "MIGRATE h 1 - 0 1 AUTH KEYS KEYS a keys b",
        "MIGRATE h 1 - 0 1 AUTH2 KEYS KEYS KEYS a b",
        "MIGRATE h 1 - 0 1 REPLACE KEYS a b",
    ];
    let of_several = of_several.map(|line| line.split(' ').map(|word| word.trim_matches('-')));
    let keyed = KEYED.iter().map(|line| line.split(' ').collect::<Vec<_>>());
    for words in keyed.chain(of_several.map(Iterator::collect)) {
        let (bytes, args) = request(&words);
        let row = command::resolve(&bytes, &args).expect("these requests are well formed");
        let mut keys = Vec::new();
        row.keys(&bytes, &args, &mut keys).expect("their keys can be told");
        let mut ours: Vec<_> = keys.iter().map(|key| words[*key as usize].to_owned()).collect();
        let question: Vec<&str> = ["COMMAND", "GETKEYS"].into_iter().chain(words.clone()).collect();
        // Some of Redis' own rules list keys in another order.
        let answer = Value::of(&connection.ask(&question));
        assert!(matches!(answer, Value::List(_)), "{words:?}: {answer:?}");
        let theirs = answer.words();
        ours.sort();
        assert_eq!(ours, theirs, "{words:?}");
        assert_eq!(row.first_key(&bytes, &args), keys.first().map(|key| *key as usize));
    }
}

/// What these do to their key depends on what follows it.
const DECIDED_BY_ARGUMENTS: [&str; 14] = [
    "SET a 1",
    "SET a GET",
    "SET a 1 get",
    "SET a 1 NX GET EX 5",
    "BITFIELD a",
    "BITFIELD a get u8 0 OVERFLOW WRAP GET i5 #1",
    "BITFIELD a GET u8",
    "BITFIELD a GET u8 0 GET u8",
    "BITFIELD a OVERFLOW",
    "BITFIELD a OVERFLOW SAT",
    "BITFIELD a GET SET SET",
    "BITFIELD a GET u8 0 SET u8 0 1",
    "BITFIELD a INCRBY u8 0 1 GET u8 0",
    "BITFIELD a FOO",
];

#[test]
fn what_a_command_does_to_each_key_is_what_the_server_says() {
    let server = Server::start();
    if !is_7_0(&server) {
        // Later versions say more of some commands.
        return;
    }
    let connection = server.connect();
    for line in KEYED.iter().chain(&DECIDED_BY_ARGUMENTS) {
        let words: Vec<&str> = line.split(' ').collect();
        let (bytes, args) = request(&words);
        let row = command::resolve(&bytes, &args).expect("these requests are well formed");
        let mut keys = Vec::new();
        row.keys_and_flags(&bytes, &args, &mut keys).expect("their keys can be told");
        let mut ours: Vec<_> = keys
            .iter()
            .map(|(key, flags)| {
                (words[*key as usize].to_owned(), flags.words().collect::<Vec<_>>())
            })
            .map(|(key, mut flags)| {
                flags.sort_unstable();
                (key, flags.into_iter().map(String::from).collect::<Vec<_>>())
            })
            .collect();
        let question: Vec<&str> = ["COMMAND", "GETKEYSANDFLAGS"].into_iter().chain(words).collect();
        let answer = Value::of(&connection.ask(&question));
        let pair = |pair: &Value| (pair.list()[0].text().to_owned(), pair.list()[1].words());
        let mut theirs: Vec<_> = answer.list().iter().map(pair).collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{line}");
    }
}

/// The proxy's answer to a request it does not forward for its form.
fn refusal(words: &[Vec<u8>]) -> Option<Vec<u8>> {
    let (bytes, args) = request(words);
    let mut reply = Vec::new();
    match command::resolve(&bytes, &args) {
        Err(rejection) => rejection.write_reply(&bytes, &args, &mut reply),
        Ok(row) => row.keys(&bytes, &args, &mut Vec::new()).err()?.write_reply(&mut reply),
    }
    Some(reply)
}

#[test]
fn requests_are_refused_in_the_words_of_the_server() {
    let server = Server::start();
    let connection = server.connect();
    let mut lines: Vec<String> = [
        "FOO",
        "foo bar",
        "FOO a b c d e f",
        "XGROUP",
        "XGROUP FOO",
        "xgroup create",
        "object nope a b",
        "CLIENT NOPE",
        "COMMAND nope",
        "CONFIG",
        "GET",
        "GET a b",
        "get",
        "MGET",
        "MSET a",
        "MSET a 1 b",
        "PING",
        "SET a",
        "EXISTS",
        "ZUNION 2",
        "XREAD COUNT 1 FOO a",
        "XREAD COUNT 2 STREAMS",
        "XREADGROUP GROUP g c FOO BAR BAZ",
    ]
    .map(str::to_owned)
    .to_vec();
    for number in ["x", "0", "-1", "9", "99999999999999999999", "01", "+1", "-0", " 1"] {
        for form in [
            "EVAL|return 1|N|a",
            "EVAL_RO|return 1|N|a",
            "ZUNION|N|a|b",
            "ZDIFF|N|a",
            "ZINTERCARD|N|a",
            "ZUNIONSTORE|d|N|a|b",
            "SINTERCARD|N|a",
            "LMPOP|N|a|LEFT",
            "ZMPOP|N|a|MIN",
            "BLMPOP|0|N|a|LEFT",
        ] {
            lines.push(form.replace('N', number));
        }
    }
    let mut compared = 0;
    for line in lines {
        let separator = if line.contains('|') { '|' } else { ' ' };
        let words: Vec<Vec<u8>> = line.split(separator).map(Into::into).collect();
        if let Some(refusal) = refusal(&words) {
            let theirs = connection.ask(&words);
            assert_eq!(
                String::from_utf8_lossy(&refusal),
                String::from_utf8_lossy(&theirs),
                "{line}"
            );
            compared += 1;
        }
    }
    assert!(compared > 90, "{compared} refusals");
}

#[test]
fn unknown_commands_are_quoted_and_cut_as_the_server_does() {
    let server = Server::start();
    let connection = server.connect();
    // Other control bytes pass through a server; here they become blanks.
    let printed = || any::<u8>().prop_map(|byte| if byte < 32 { b'\r' } else { byte.max(b' ') });
    let word = || prop_oneof![vec(printed(), 0..20), vec(printed(), 100..160)];
    TestRunner::default()
        .run(&vec(word(), 0..12), |mut words| {
            words.insert(
                0,
                words.first().map_or(b"nope".to_vec(), |word| [b"no-", &word[..]].concat()),
            );
            let words: Vec<Vec<u8>> = words
                .into_iter()
                .map(|word| {
                    word.into_iter().map(|byte| if byte == 127 { b'~' } else { byte }).collect()
                })
                .collect();
            let ours = refusal(&words).expect("no command begins with no-");
            prop_assert_eq!(ours, connection.ask(&words));
            Ok(())
        })
        .expect("our words are the server's");
}

#[test]
fn inline_requests_are_split_as_the_server_splits_them() {
    let server = Server::start();
    let compare = |line: &[u8]| {
        let mut array = Vec::new();
        let ours = match inline::encode(line, &mut array) {
            Ok(()) => Value::of(&array),
            Err(malformed) => {
                let mut reply = Vec::new();
                malformed.write_reply(&mut reply);
                Value::of(&reply)
            }
        };
        // The server closes a connection after an error: each line gets its own.
        (ours, Value::of(&server.connect().send(line)))
    };
    // What a script got as its arguments is what the line was split into.
    let script = "EVAL \"return ARGV\" 0 ";
    let part = prop_oneof![
        "[a-z\"' \\\\]{1,6}",
        "\"[a-z ]{0,4}\" ",
        "'[a-z ]{0,4}' ",
        "\"(\\\\[nrtbaxq\"\\\\]|\\\\x[0-9a-fA-F]{2}|\\\\x[0-9g]{1,2}){1,3}\" ",
        "[\t ]{1,3}",
    ];
    TestRunner::default()
        .run(&vec(part, 0..6), |parts| {
            let line = format!("{script}{}\r\n", parts.concat());
            let (ours, theirs) = compare(line.as_bytes());
            let ours = match ours {
                Value::List(words) => Value::List(words[3..].to_vec()),
                error => error,
            };
            prop_assert_eq!(ours, theirs, "{}", line);
            Ok(())
        })
        .expect("our words are the server's");
}

#[test]
fn framing_errors_are_in_the_words_of_the_server() {
    let server = Server::start();
    for bytes in [
        &b"*2\r\n$3\r\nGET\r\n:1\r\n"[..],
        b"*1\r\n~4\r\n",
        b"*99999999999\r\n",
        b"*x\r\n",
        b"*1\r\n$-5\r\n",
        b"*1\r\n$99999999999\r\n",
        b"*1\r\n$x\r\n",
        b"GET \"a\r\n",
    ] {
        let mut reply = Vec::new();
        match proto::resp::RequestScanner::default().scan(bytes, &mut Vec::new()) {
            proto::resp::Scan::Malformed(malformed) => malformed.write_reply(&mut reply),
            proto::resp::Scan::Inline(len) => {
                let malformed = inline::encode(&bytes[..len], &mut Vec::new());
                malformed.expect_err("the quote is open").write_reply(&mut reply);
            }
            other => panic!("{other:?}"),
        }
        let theirs = server.connect().send(bytes);
        assert_eq!(String::from_utf8_lossy(&reply), String::from_utf8_lossy(&theirs));
    }
}

#[test]
fn what_blocks_a_connection_is_never_forwarded() {
    let server = Server::start();
    for (name, theirs) in commands_of(&server) {
        if theirs[2].words().contains(&"blocking".to_owned()) && !name.starts_with("xread") {
            let row = command::find(name.as_bytes()).expect("compared by another test");
            assert_eq!(row.policy, Policy::Unsupported(Unsupported::Session), "{name}");
        }
    }
}

/// Reads of keys that do not exist, every command that reads at least once.
const READS: [&str; 114] = [
    "BITCOUNT no",
    "BITCOUNT no 0 -1 BIT",
    "BITFIELD_RO no",
    "BITFIELD_RO no GET u8 0 GET i16 #2 OVERFLOW SAT get u1 7",
    "BITPOS no 0",
    "BITPOS no 1",
    "BITPOS no 0 2 3 BIT",
    "DUMP no",
    "EXISTS no",
    "EXISTS no no",
    "EXPIRETIME no",
    "GEODIST no a b KM",
    "GEOHASH no",
    "GEOHASH no a b",
    "GEOPOS no",
    "GEOPOS no a b c",
    "GEORADIUS_RO no 1 2 3 km WITHCOORD",
    "GEORADIUSBYMEMBER_RO no a 3 km",
    "GEOSEARCH no FROMLONLAT 1 2 BYRADIUS 1 km ASC",
    "GEOSEARCH no FROMMEMBER a BYBOX 1 2 km",
    "GET no",
    "get no",
    "GETBIT no 9",
    "GETRANGE no 0 -1",
    "HEXISTS no f",
    "HEXPIRETIME no FIELDS 2 f g",
    "HGET no f",
    "HGETALL no",
    "HKEYS no",
    "HLEN no",
    "HMGET no f",
    "HMGET no f g f",
    "HPEXPIRETIME no FIELDS 1 f",
    "HPTTL no FIELDS 1 f",
    "HRANDFIELD no",
    "HRANDFIELD no 5",
    "HRANDFIELD no -5 WITHVALUES",
    "HSCAN no 0 MATCH a* COUNT 5",
    "HSTRLEN no f",
    "HTTL no FIELDS 1 f",
    "HVALS no",
    "LCS no nor",
    "LCS no nor LEN",
    "LCS no nor IDX MINMATCHLEN 2 WITHMATCHLEN",
    "LINDEX no 0",
    "LLEN no",
    "LPOS no a",
    "LPOS no a RANK 1 MAXLEN 0",
    "LPOS no count COUNT 0 RANK -1",
    "LPOS no count",
    "LRANGE no 0 -1",
    "MEMORY USAGE no",
    "MEMORY USAGE no SAMPLES 5",
    "MGET no",
    "MGET no nor no",
    "OBJECT ENCODING no",
    "OBJECT FREQ no",
    "OBJECT IDLETIME no",
    "object refcount no",
    "PEXPIRETIME no",
    "PFCOUNT no",
    "PFCOUNT no nor",
    "PTTL no",
    "SCARD no",
    "SDIFF no",
    "SDIFF no nor",
    "SINTER no nor",
    "SINTERCARD 2 no nor LIMIT 1",
    "SISMEMBER no a",
    "SMEMBERS no",
    "SMISMEMBER no a b",
    "SORT_RO no",
    "SORT_RO no LIMIT 0 5 ALPHA DESC",
    "SRANDMEMBER no",
    "SRANDMEMBER no 3",
    "SSCAN no 0",
    "STRLEN no",
    "SUBSTR no 0 1",
    "SUNION no nor",
    "TOUCH no",
    "TOUCH no nor",
    "TTL no",
    "TYPE no",
    "XINFO CONSUMERS no g",
    "XINFO GROUPS no",
    "XINFO STREAM no",
    "XINFO STREAM no FULL COUNT 2",
    "XLEN no",
    "XPENDING no g",
    "XPENDING no gr - + 5 c",
    "XRANGE no - + COUNT 2",
    "XREAD COUNT 2 STREAMS no nor 0 0",
    "XREVRANGE no + -",
    "ZCARD no",
    "ZCOUNT no -inf +inf",
    "ZDIFF 2 no nor WITHSCORES",
    "ZINTER 1 no",
    "ZINTERCARD 1 no",
    "ZLEXCOUNT no - +",
    "ZMSCORE no a b",
    "ZRANDMEMBER no",
    "ZRANDMEMBER no 2 WITHSCORES",
    "ZRANGE no 0 -1 REV WITHSCORES",
    "ZRANGEBYLEX no - + LIMIT 0 2",
    "ZRANGEBYSCORE no 0 (1 WITHSCORES",
    "ZRANK no a",
    "ZREVRANGE no 0 -1",
    "ZREVRANGEBYLEX no + -",
    "ZREVRANGEBYSCORE no 1 0",
    "ZREVRANK no a",
    "ZSCAN no 0",
    "ZSCORE no a",
    "ZUNION 2 no nor",
    "ZRANK no a WITHSCORE",
];

#[test]
fn a_miss_is_what_the_server_answers_for_missing_keys() {
    let server = Server::start();
    let connection = server.connect();
    let theirs = commands_of(&server);
    let is_7_0 = is_7_0(&server);
    let mut read = Vec::new();
    for line in READS {
        let words: Vec<&str> = line.split(' ').collect();
        let (bytes, args) = request(&words);
        let row = command::resolve(&bytes, &args).expect("these requests are well formed");
        let mut miss = Vec::new();
        assert!(row.write_miss(&bytes, &args, &mut miss), "{line}");
        read.push(row.name);
        if !theirs.contains_key(row.name) || (is_7_0 && line.ends_with(" WITHSCORE")) {
            continue;
        }
        let answer = connection.ask(&words);
        assert_eq!(String::from_utf8_lossy(&miss), String::from_utf8_lossy(&answer), "{line}");
    }
    for row in command::all() {
        let (bytes, args) = request(&[""; 9]);
        let has_miss = row.write_miss(&bytes, &args, &mut Vec::new()) || row.name == "bitfield_ro";
        assert_eq!(has_miss, read.contains(&row.name), "{} is compared", row.name);
    }
}
