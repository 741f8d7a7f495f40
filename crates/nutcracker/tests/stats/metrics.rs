//! `/metrics`: a scrape read as strictly as Prometheus reads it, and held against the stats document.

use std::collections::BTreeMap;

use nutcracker::stats::metrics::families;
use serde_json::Value;

use super::document::huge;
use super::idle;
use super::readers::http;
use crate::harness::{Pool, Proxy, RealServer, Reply, WORKER_COUNTS};

/// Labels of a sample, by name.
type Labels = BTreeMap<String, String>;

/// A family as it was scraped.
#[derive(Debug, Default)]
struct Scraped {
    kind: String,
    samples: Vec<(Labels, f64)>,
}

/// A whole scrape, by the name of the family.
struct Scrape(BTreeMap<String, Scraped>);

impl Scrape {
    #[track_caller]
    fn of(proxy: &Proxy) -> Scrape {
        let (head, body) = http(proxy, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        Scrape::parse(&body)
    }

    /// Two comment lines, then the samples, of one family after the other.
    #[track_caller]
    fn parse(body: &str) -> Scrape {
        let mut families: BTreeMap<String, Scraped> = BTreeMap::new();
        let mut current = String::new();
        let mut lines = body.strip_suffix('\n').expect("a line feed at the end").split('\n');
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, doc) = help.split_once(' ').expect("a name and a text");
                assert!(!doc.is_empty(), "{line}");
                let kind = lines.next().and_then(|line| line.strip_prefix("# TYPE "));
                let kind = kind.and_then(|rest| rest.strip_prefix(name)).expect("its type");
                let scraped = Scraped { kind: kind.trim().into(), samples: Vec::new() };
                assert!(families.insert(name.to_owned(), scraped).is_none(), "{name} comes twice");
                current = name.to_owned();
            } else {
                let (name, labels, value) = sample(line);
                assert_eq!(name, current, "a sample outside of its family");
                let samples = &mut families.get_mut(&name).expect("its family").samples;
                assert!(samples.iter().all(|(other, _)| *other != labels), "twice: {line}");
                samples.push((labels, value));
            }
        }
        Scrape(families)
    }

    /// The value of the sample with exactly these labels.
    #[track_caller]
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let family = self.0.get(name).unwrap_or_else(|| panic!("no family {name}"));
        let wanted: Labels = labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let found = family.samples.iter().find(|(labels, _)| *labels == wanted);
        found.unwrap_or_else(|| panic!("no {wanted:?} in {name}: {family:?}")).1
    }
}

/// Name, labels and value of a line.
#[track_caller]
fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    let Some((name, rest)) = series.split_once('{') else {
        return (series.to_owned(), Labels::new(), value);
    };
    let mut labels = Labels::new();
    let mut rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("no end: {line}"));
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
        let (text, after) = quoted(after);
        assert!(labels.insert(label.to_owned(), text).is_none(), "a label comes twice: {line}");
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    (name.to_owned(), labels, value)
}

/// The text up to the closing quote, and what follows that.
#[track_caller]
fn quoted(text: &str) -> (String, &str) {
    let mut characters = text.char_indices();
    let mut value = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                other => panic!("no escape: {other:?} in {text}"),
            },
            _ => value.push(character),
        }
    }
    panic!("no closing quote: {text}")
}

#[test]
fn a_scrape_has_every_family_of_the_catalogue_and_no_other() {
    let proxy = idle().start();
    let scrape = Scrape::of(&proxy);
    let known = families();
    assert_eq!(scrape.0.len(), known.len());
    for family in known {
        let scraped = &scrape.0[&*family.name];
        assert_eq!(scraped.kind, family.kind, "{family:?}");
        assert!(!scraped.samples.is_empty(), "{family:?}");
        for (labels, _) in &scraped.samples {
            assert_eq!(labels.len(), family.labels.len(), "{labels:?} of {family:?}");
            assert!(family.labels.iter().all(|&label| labels.contains_key(label)), "{labels:?}");
        }
    }
}

#[test]
fn a_scrape_and_the_document_say_the_same() {
    for workers in WORKER_COUNTS {
        let servers = RealServer::several(2);
        let proxy = Proxy::with(Pool::redis(&servers)).workers(workers).start();
        for n in 0..10 {
            let mut client = proxy.client();
            assert_eq!(client.call(&["SET", &format!("key{n}"), "value"]), Reply::ok());
            assert_eq!(client.call(&["MGET", "key1", "key2", "key3"]).array().len(), 3);
        }
        proxy.await_stat(&["client_connections"], 0);
        let (stats, scrape) = (proxy.stats(), Scrape::of(&proxy));
        let pool = stats["alpha"].as_object().expect("a pool");
        for (key, value) in pool {
            let Value::Object(server) = value else {
                assert_eq!(
                    of_document(&scrape, "pool_", key, &[("pool", "alpha")]),
                    *value,
                    "{key}"
                );
                continue;
            };
            for (name, value) in server {
                let labels = [("pool", "alpha"), ("server", key.as_str())];
                assert_eq!(of_document(&scrape, "server_", name, &labels), *value, "{name}");
            }
        }
        assert_eq!(
            stats["curr_connections"],
            1 + scrape.value("nutcracker_connections", &[]) as u64
        );
        assert_eq!(scrape.value("nutcracker_workers", &[]), f64::from(workers));
        let requests = ["server1", "server2"].map(|server| {
            let labels = [("pool", "alpha"), ("server", server)];
            scrape.value("nutcracker_server_requests_total", &labels)
        });
        assert!(requests.iter().sum::<f64>() >= 20.0, "{requests:?}");
    }
}

/// What the scrape says about a key of the document, in the document's unit.
#[track_caller]
fn of_document(scrape: &Scrape, scope: &str, key: &str, labels: &[(&str, &str)]) -> Value {
    let stem = format!("nutcracker_{scope}{}", key.strip_prefix(scope).unwrap_or(key));
    let scaled =
        [("", 1.0), ("_total", 1.0), ("_seconds", 1e6)].into_iter().find_map(|(end, by)| {
            let name = format!("{stem}{end}");
            scrape.0.contains_key(&name).then(|| scrape.value(&name, labels) * by)
        });
    Value::from(scaled.unwrap_or_else(|| panic!("no family for {key}")).round() as u64)
}

#[test]
fn the_process_tells_its_version_its_age_and_what_it_holds() {
    let server = RealServer::redis();
    let proxy = Proxy::with(Pool::redis(&[&server])).workers(2).start();
    let mut client = proxy.client();
    assert_eq!(client.call(&["PING"]), Reply::Simple("PONG".into()));
    proxy.await_stat(&["client_connections"], 1);
    let scrape = Scrape::of(&proxy);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(scrape.value("nutcracker_build_info", &version), 1.0);
    let location = crate::harness::Location::location(&server);
    let server =
        [("pool", "alpha"), ("server", "server1"), ("address", &*location), ("weight", "1")];
    assert_eq!(scrape.value("nutcracker_server_info", &server), 1.0);
    assert_eq!(scrape.value("nutcracker_clients", &[]), 1.0);
    let of = |worker| scrape.value("nutcracker_worker_clients", &[("worker", worker)]);
    assert_eq!(of("0") + of("1"), 1.0);
    assert_eq!(scrape.value("nutcracker_local_replies_total", &[]), 1.0);
    assert_eq!(scrape.value("nutcracker_shed_total", &[]), 0.0);
    let uptime = scrape.value("nutcracker_uptime_seconds", &[]);
    crate::harness::eventually("the uptime grows", || {
        (Scrape::of(&proxy).value("nutcracker_uptime_seconds", &[]) > uptime).then_some(())
    });
}

#[test]
fn names_with_quotes_and_backslashes_are_escaped() {
    let pool = Pool::redis::<&str>(&[]).named(r#"'a"b\c'"#).server(r#"127.0.0.1:1:1 q"u\oé"#);
    let proxy = Proxy::start(pool);
    let scrape = Scrape::of(&proxy);
    let requests = &scrape.0["nutcracker_server_requests_total"].samples;
    let (labels, _) = &requests[0];
    assert_eq!((&*labels["pool"], &*labels["server"]), (r#"a"b\c"#, r#"q"u\oé"#));
}

#[test]
fn two_hundred_pools_of_fifty_servers_can_be_scraped() {
    let proxy = Proxy::start(huge(200, 50));
    let (_, body) = http(&proxy, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let count = |name: &str| body.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(count("nutcracker_server_requests_total{"), 200 * 50);
    assert_eq!(count("nutcracker_pool_client_eof_total{"), 200);
    assert!(body.ends_with(" 0\n"));
}

#[test]
fn the_head_of_a_scrape_has_its_length_and_no_body() {
    let proxy = idle().start();
    let (head, body) = http(&proxy, "HEAD /metrics?x HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.is_empty(), "{head}{body}");
    let length = head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
    assert!(length.and_then(|length| length.parse().ok()) > Some(1000), "{head}");
}
