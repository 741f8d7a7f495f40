//! The golden placement data of `testdata/placement`, all rows of it, and the placements that users have published.
//!
//! Apart from the unit tests beside the code because it checks the whole line from key to shard, on server lists as
//! they stand in configuration files.

use std::path::Path;

use serde_json::Value;

use crate::{Distribution, Hash, HashTag, Node, Sharder, compare_names};

/// A server list of the golden data.
pub(crate) struct List {
    pub(crate) title: String,
    /// Sorted names and weights.
    pub(crate) servers: Vec<(Vec<u8>, u32)>,
    pub(crate) json: Value,
}

impl List {
    pub(crate) fn nodes(&self) -> Vec<Node<'_>> {
        self.servers.iter().map(|(name, weight)| Node { name, weight: *weight }).collect()
    }

    /// Keys of the `dispatch` rows with the expected shard for each of `hashes`.
    fn rows<'l>(&'l self, hashes: &'l [Hash]) -> impl Iterator<Item = (Vec<u8>, Hash, usize)> + 'l {
        let rows = self.json["dispatch"].as_array().expect("rows");
        assert!(!rows.is_empty());
        rows.iter().flat_map(move |row| {
            let key = unhex(&row[0]);
            let shards = row.as_array().expect("row")[1..].iter().map(number);
            assert_eq!(shards.len(), hashes.len());
            hashes.iter().zip(shards).map(move |(&hash, shard)| (key.clone(), hash, shard))
        })
    }
}

pub(crate) fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/placement").join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("valid JSON")
}

pub(crate) fn lists(file: &str) -> Vec<List> {
    let json = read(file);
    let lists = json["lists"].as_array().expect("lists");
    assert!(!lists.is_empty());
    lists.iter().map(list).collect()
}

fn list(json: &Value) -> List {
    let mut servers: Vec<_> =
        array(json, "servers_config_order").iter().map(|line| server(text(line))).collect();
    servers.sort_by(|(a, _), (b, _)| compare_names(a, b));
    List {
        title: format!("{} {}", text(&json["name"]), json["ejected_indices"]),
        servers,
        json: json.clone(),
    }
}

/// Name and weight of a line `HOST:PORT:WEIGHT NAME` or `PATH:WEIGHT NAME`, where the name may be missing.
fn server(line: &str) -> (Vec<u8>, u32) {
    let (address, name) = match line.rsplit_once(' ') {
        Some((address, name)) => (address, Some(name)),
        None => (line, None),
    };
    let (address, weight) = address.rsplit_once(':').expect("a weight");
    let default = match address.rsplit_once(':') {
        Some((host, port)) if port.parse() == Ok(11211u16) => host.to_owned(),
        Some(_) => address.to_owned(),
        None => format!("{address}:"),
    };
    (name.unwrap_or(&default).as_bytes().to_vec(), weight.parse().expect("a weight"))
}

pub(crate) fn array<'j>(json: &'j Value, field: &str) -> &'j [Value] {
    json[field].as_array().unwrap_or_else(|| panic!("no array {field}"))
}

pub(crate) fn text(json: &Value) -> &str {
    json.as_str().expect("text")
}

pub(crate) fn number(json: &Value) -> usize {
    json.as_u64().expect("number") as usize
}

/// The only one of `all` that has this name.
fn called<T: Copy>(all: &[T], name: fn(T) -> &'static str, wanted: &str) -> T {
    let found: Vec<T> = all.iter().copied().filter(|one| name(*one) == wanted).collect();
    assert_eq!(found.len(), 1, "{wanted}");
    found[0]
}

fn unhex(json: &Value) -> Vec<u8> {
    let digits = text(json).as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

fn no_draw() -> u32 {
    panic!("only random draws")
}

fn sharder(hash: Hash, distribution: Distribution, servers: &[&str]) -> Sharder {
    let mut servers: Vec<_> = servers.iter().map(|line| server(line)).collect();
    servers.sort_by(|(a, _), (b, _)| compare_names(a, b));
    let nodes: Vec<_> =
        servers.iter().map(|(name, weight)| Node { name, weight: *weight }).collect();
    Sharder::new(hash, None, distribution, &nodes)
}

fn assert_dispatch(file: &str, distribution: Distribution) {
    let order: Vec<Hash> = array(&read(file), "hash_order")
        .iter()
        .map(|name| called(&Hash::ALL, Hash::name, text(name)))
        .collect();
    assert_eq!(order.len(), 12);
    for list in lists(file) {
        let sorted = array(&list.json, "servers_sorted");
        let names: Vec<_> =
            sorted.iter().map(|server| text(&server["name"]).as_bytes().to_vec()).collect();
        let weights: Vec<_> =
            sorted.iter().map(|server| number(&server["weight"]) as u32).collect();
        assert_eq!(
            list.servers,
            names.into_iter().zip(weights).collect::<Vec<_>>(),
            "{}",
            list.title
        );
        let sharders = Hash::ALL.map(|hash| Sharder::new(hash, None, distribution, &list.nodes()));
        for (key, hash, shard) in list.rows(&order) {
            let found = sharders[hash as usize].shard(&key, no_draw);
            assert_eq!(found, shard, "{} {} {}", list.title, hash.name(), key.escape_ascii());
        }
    }
}

#[test]
fn every_golden_hash_is_reproduced() {
    let json = read("hash_vectors.json");
    let rows = array(&json, "vectors");
    assert_eq!(rows.len(), number(&json["count"]));
    for row in rows {
        let key = unhex(&row["key"]);
        for hash in Hash::ALL {
            let expected = number(&row[hash.name()]) as u32;
            assert_eq!(hash.of(&key), expected, "{} {}", hash.name(), key.escape_ascii());
        }
    }
}

#[test]
fn every_golden_tag_is_reproduced() {
    let json = read("hash_tag_vectors.json");
    for row in array(&json, "vectors") {
        let &[open, close] = text(&row[0]).as_bytes() else { panic!("a tag of two bytes") };
        let key = unhex(&row[1]);
        assert_eq!(HashTag { open, close }.hashed_part(&key), unhex(&row[2]), "{row}");
    }
    assert_eq!(array(&json, "vectors").len(), 59);
}

#[test]
fn every_golden_key_finds_its_ketama_shard_with_every_hash() {
    assert_dispatch("ketama_vectors.json", Distribution::Ketama);
}

#[test]
fn every_golden_key_finds_its_modula_shard_with_every_hash() {
    assert_dispatch("modula_vectors.json", Distribution::Modula);
}

#[test]
fn every_golden_key_finds_its_shard_while_servers_are_ejected() {
    let hashes = [Hash::Fnv1a64, Hash::Murmur, Hash::Md5];
    for list in lists("eject_vectors.json") {
        let distribution =
            called(&Distribution::ALL, Distribution::name, text(&list.json["distribution"]));
        let mut live = vec![true; list.servers.len()];
        array(&list.json, "ejected_indices")
            .iter()
            .for_each(|ejected| live[number(ejected)] = false);
        let sharders = hashes.map(|hash| {
            let mut sharder = Sharder::new(hash, None, distribution, &list.nodes());
            assert!(sharder.rebuild(&live));
            sharder
        });
        for (shard, points) in array(&list.json, "points_per_server").iter().enumerate() {
            assert_eq!(
                sharders[0].points_of(shard) as usize,
                number(points),
                "{} {shard}",
                list.title
            );
        }
        for (key, hash, shard) in list.rows(&hashes) {
            let at = hashes.iter().position(|&h| h == hash).expect("one of the three");
            let found = sharders[at].shard(&key, no_draw);
            assert_eq!(found, shard, "{} {} {}", list.title, hash.name(), key.escape_ascii());
        }
    }
}

const FOUR_NAMED: [&str; 4] = [
    "127.0.0.1:6380:1 server1",
    "127.0.0.1:6381:1 server2",
    "127.0.0.1:6382:1 server3",
    "127.0.0.1:6383:1 server4",
];

fn counts_of_hundred_thousand_keys(hash: Hash) -> [u32; 4] {
    let sharder = sharder(hash, Distribution::Ketama, &FOUR_NAMED);
    let mut counts = [0; 4];
    for number in 0..100_000 {
        counts[sharder.shard(format!("key-{number}").as_bytes(), no_draw)] += 1;
    }
    counts
}

#[test]
fn crc32_with_ketama_sends_every_key_to_one_server() {
    assert_eq!(counts_of_hundred_thousand_keys(Hash::Crc32), [0, 0, 100_000, 0]);
}

#[test]
fn crc32a_with_ketama_spreads_keys_as_published() {
    assert_eq!(counts_of_hundred_thousand_keys(Hash::Crc32a), [24_681, 26_138, 25_148, 24_033]);
}

#[test]
fn modula_follows_the_sorted_order_of_names_not_the_file() {
    let lines = ["10.0.0.1:6379:1 redis10", "10.0.0.2:6379:1 redis2", "10.0.0.3:6379:1 redis1"];
    let sharder = sharder(Hash::Fnv1a64, Distribution::Modula, &lines);
    assert_eq!(sorted_names(&lines), ["redis1", "redis2", "redis10"]);
    for key in ["foo", "bar", "key-1"] {
        assert_eq!(
            sharder.shard(key.as_bytes(), no_draw),
            Hash::Fnv1a64.of(key.as_bytes()) as usize % 3
        );
    }
}

fn sorted_names(lines: &[&str]) -> Vec<String> {
    let mut names: Vec<_> = lines.iter().map(|line| server(line).0).collect();
    names.sort_by(|a, b| compare_names(a, b));
    names.into_iter().map(|name| String::from_utf8(name).expect("UTF-8")).collect()
}

#[test]
fn the_colon_of_unnamed_unix_sockets_and_the_quotes_of_names_decide_placement() {
    let moved = |a: &[&str], b: &[&str]| {
        let (a, b) = (
            sharder(Hash::Fnv1a64, Distribution::Ketama, a),
            sharder(Hash::Fnv1a64, Distribution::Ketama, b),
        );
        let keys = (0..10_000).map(|number| format!("key-{number}"));
        keys.filter(|key| a.shard(key.as_bytes(), no_draw) != b.shard(key.as_bytes(), no_draw))
            .count()
    };
    let unnamed = [
        "/tmp/redis_6380.sock:1",
        "/tmp/redis_6381.sock:1",
        "/tmp/redis_6382.sock:1",
        "/tmp/redis_6383.sock:1",
    ];
    let colonless: Vec<_> =
        unnamed.iter().map(|line| format!("{line} {}", line.trim_end_matches(":1"))).collect();
    let colonless: Vec<_> = colonless.iter().map(String::as_str).collect();
    assert!((6_500..8_500).contains(&moved(&unnamed, &colonless)));
    let plain = ["h:1:1 shard01", "h:2:1 shard02", "h:3:1 shard03"];
    let quoted = ["h:1:1 \"shard01\"", "h:2:1 \"shard02\"", "h:3:1 \"shard03\""];
    assert!((5_500..8_000).contains(&moved(&plain, &quoted)));
}

#[test]
fn a_light_server_beside_a_heavy_one_owns_no_point_and_gets_no_key() {
    let omega = sharder(
        Hash::Hsieh,
        Distribution::Ketama,
        &["127.0.0.1:11214:100000", "127.0.0.1:11215:1"],
    );
    assert_eq!([omega.points_of(0), omega.points_of(1)], [316, 0]);
    let three =
        sharder(Hash::Fnv1a64, Distribution::Ketama, &["h:1:1 a", "h:2:5 b", "h:3:100000 c"]);
    assert_eq!([three.points_of(0), three.points_of(1), three.points_of(2)], [0, 0, 476]);
    for number in 0..10_000 {
        assert_eq!(three.shard(format!("key-{number}").as_bytes(), no_draw), 2);
    }
}
