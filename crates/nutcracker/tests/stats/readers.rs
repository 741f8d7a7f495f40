//! The document through the eyes of those who read it: what each known kind of collector takes for granted.

use std::io::Read;
use std::net::TcpStream;

use serde_json::{Map, Value};

use super::document::huge;
use super::{document, idle};
use crate::harness::{Client, PATIENCE, Pool, Proxy, RealServer, Reply};

/// What collectors know about the top of the document.
const HEADER: [&str; 7] = [
    "service",
    "source",
    "version",
    "uptime",
    "timestamp",
    "total_connections",
    "curr_connections",
];

const POOL: [&str; 6] = [
    "client_eof",
    "client_err",
    "client_connections",
    "server_ejects",
    "forward_error",
    "fragments",
];

const SERVER: [&str; 13] = [
    "server_eof",
    "server_err",
    "server_timedout",
    "server_connections",
    "server_ejected_at",
    "requests",
    "request_bytes",
    "responses",
    "response_bytes",
    "in_queue",
    "in_queue_bytes",
    "out_queue",
    "out_queue_bytes",
];

/// Two pools of two servers that have served something.
fn used() -> (Vec<RealServer>, Proxy) {
    let servers = RealServer::several(2);
    let [first, second] = [0, 1].map(|n| Pool::redis(&servers).listen(n));
    let proxy = Proxy::start(format!("{first}{}", second.named("beta")));
    for n in 0..2 {
        let mut client = proxy.client_of(n);
        for key in 0..20 {
            assert_eq!(client.call(&["SET", &format!("key{key}"), "value"]), Reply::ok());
        }
    }
    (servers, proxy)
}

fn parsed(document: &str) -> Map<String, Value> {
    match serde_json::from_str(document) {
        Ok(Value::Object(top)) => top,
        other => panic!("{other:?} in {document}"),
    }
}

/// As the later exporter by stuartnelson3 does it: takes out the seven keys it knows, whose types it asserts, and the rest
/// for pools, of which it takes out six and the rest for servers.
#[test]
fn every_key_that_is_not_known_is_a_pool_or_a_server() {
    let (_servers, proxy) = used();
    let mut top = parsed(&document(&proxy));
    for key in HEADER {
        let value = top.remove(key).unwrap_or_else(|| panic!("no {key}"));
        let is_text = ["service", "source", "version"].contains(&key);
        assert!(if is_text { value.is_string() } else { value.is_u64() }, "{key} is {value}");
    }
    let mut requests = 0;
    let names: Vec<_> = top.keys().cloned().collect();
    assert_eq!(names, ["alpha", "beta"]);
    for (name, pool) in top {
        let Value::Object(mut pool) = pool else { panic!("pool {name} is {pool}") };
        for key in POOL {
            assert!(pool.remove(key).is_some_and(|value| value.is_u64()), "no {key} in {name}");
        }
        let names: Vec<_> = pool.keys().cloned().collect();
        assert_eq!(names, ["server1", "server2"]);
        for (server, metrics) in pool {
            for key in SERVER {
                assert!(metrics[key].is_u64(), "no {key} in {name} {server}");
            }
            requests += metrics["requests"].as_u64().expect("a number");
        }
    }
    assert_eq!(requests, 40);
}

/// As telegraf does it: connects, sends nothing, reads to the end, and looks up the pools it is told about.
#[test]
fn every_number_of_a_pool_and_a_server_is_a_field() {
    let (_servers, proxy) = used();
    let top = parsed(&document(&proxy));
    let fields = |object: &Value| object.as_object().expect("an object").clone();
    for name in ["alpha", "beta"] {
        let (servers, numbers): (Vec<_>, Vec<_>) =
            fields(&top[name]).into_iter().partition(|(_, value)| value.is_object());
        assert!(numbers.iter().all(|(_, value)| value.is_f64() || value.is_u64()), "{numbers:?}");
        assert_eq!(numbers.len(), POOL.len());
        for (server, metrics) in servers {
            let metrics = fields(&metrics);
            assert_eq!(metrics.len(), SERVER.len(), "{server}: {metrics:?}");
            assert!(metrics.values().all(Value::is_u64), "{server}: {metrics:?}");
        }
    }
}

/// As scripts with regular expressions do it: by position and by exact text.
#[test]
fn a_script_finds_a_count_by_its_text() {
    let (_servers, proxy) = used();
    let text = document(&proxy);
    assert_eq!(text.matches('\n').count(), 1);
    assert!(text.ends_with("}\n"));
    let counts: Vec<u64> = text
        .split("\"requests\":")
        .skip(1)
        .filter_map(|rest| rest.split(',').next()?.parse().ok())
        .collect();
    assert_eq!(counts.len(), 4);
    assert_eq!(counts.iter().sum::<u64>(), 40);
}

/// As Datadog's check does it: small receives up to the end of the stream, then every object at the top is a pool, every
/// object in a pool a server, of which it submits twelve metrics by name.
#[test]
fn a_reader_of_small_pieces_finds_the_metrics_it_knows() {
    let (_servers, proxy) = used();
    let mut stream = TcpStream::connect(proxy.stats_address()).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    let (mut text, mut chunk) = (Vec::new(), [0; 1024]);
    loop {
        match stream.read(&mut chunk).expect("read") {
            0 => break,
            count => text.extend_from_slice(&chunk[..count]),
        }
    }
    let top = parsed(std::str::from_utf8(&text).expect("UTF-8"));
    for key in ["total_connections", "curr_connections"] {
        assert!(top[key].is_u64(), "{key}");
    }
    let mut submitted = 0;
    for pool in top.values().filter_map(Value::as_object) {
        submitted += POOL.iter().filter(|key| pool[**key].is_u64()).count();
        for server in pool.values().filter_map(Value::as_object) {
            let known = SERVER.iter().filter(|key| **key != "server_ejected_at");
            submitted += known.filter(|key| server[**key].is_u64()).count();
        }
    }
    assert_eq!(submitted, 2 * POOL.len() + 4 * 12);
}

/// As PCP's agent does it: one receive of at most 10240 bytes, which has to bring the whole of a document that fits, and
/// then the 26 metrics it has numbers for, by name.
#[test]
fn a_document_of_less_than_ten_kibibytes_comes_in_one_piece() {
    let proxy = Proxy::start(huge(3, 9));
    let mut stream = TcpStream::connect(proxy.stats_address()).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    let mut buffer = vec![0; 10240];
    let count = stream.read(&mut buffer).expect("read");
    assert!(count > 7000, "only {count} bytes");
    let top = parsed(std::str::from_utf8(&buffer[..count]).expect("UTF-8"));
    for key in ["source", "service", "version"] {
        assert!(top[key].is_string(), "{key}");
    }
    for key in ["uptime", "timestamp", "total_connections", "curr_connections"] {
        assert!(top[key].is_u64(), "{key}");
    }
    for pool in ["pool1", "pool2", "pool3"] {
        assert!(POOL.iter().all(|key| top[pool][key].is_u64()), "{pool}");
        for n in 1..=9 {
            let server = &top[pool][format!("server{n}")];
            assert!(SERVER.iter().all(|key| server[key].is_u64()), "{server}");
        }
    }
    assert_eq!(HEADER.len() + POOL.len() + SERVER.len(), 26);
}

/// As the first exporter by stuartnelson3 does it: Go's client asks for the root, and one value is decoded from the body.
#[test]
fn a_client_of_go_decodes_the_body_of_its_request() {
    let (_servers, proxy) = used();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n",
        proxy.stats_address()
    );
    let (head, body) = http(&proxy, &request);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(!head.contains("Content-Encoding"), "{head}");
    let top = parsed(&body);
    assert!(POOL.iter().all(|key| top["alpha"][key].is_f64() || top["alpha"][key].is_u64()));
}

/// `curl` and browsers refuse an answer that is no HTTP.
#[test]
fn an_http_client_gets_http() {
    let proxy = idle().start();
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
        "GET /stats?pretty HTTP/1.0\r\n\r\n",
    ] {
        let (head, body) = http(&proxy, request);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for header in ["Content-Type: application/json", "Connection: close"] {
            assert!(head.contains(&format!("\r\n{header}\r\n")), "no {header} in {head}");
        }
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert_eq!(parsed(&body)["service"], "nutcracker");
    }
    let (head, body) = http(&proxy, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.is_empty(), "{head}{body}");
    let (head, body) = http(&proxy, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
}

/// Head and body of the answer to `request`. A client whose request was held up, as on a busy machine, asks again.
pub(super) fn http(proxy: &Proxy, request: &str) -> (String, String) {
    crate::harness::eventually("an answer in HTTP", || {
        let mut client = Client::connect(proxy.stats_address());
        client.send(request.as_bytes());
        let answer = super::read_plain(client);
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((format!("{head}\r\n"), body.to_owned()))
    })
}

/// Whoever sends something else than HTTP gets what a silent reader gets, and no reset takes it away.
#[test]
fn other_bytes_do_not_matter() {
    let proxy = idle().start();
    for sent in
        [&b"\n"[..], b"status\r\n", b"GET", b"GET /\r\n", b"POST / HTTP/1.1\r\n\r\n", &[0; 100_000]]
    {
        let mut client = Client::connect(proxy.stats_address());
        let _taken_in_part = client.try_send(sent);
        let text = super::read_plain(client);
        assert!(text.starts_with("{\"service\":\"nutcracker\""), "{text}");
        parsed(&text);
    }
}

#[test]
fn a_reader_that_ends_its_direction_first_is_served() {
    let proxy = idle().start();
    let mut client = Client::connect(proxy.stats_address());
    client.half_close();
    parsed(&super::read_plain(client));
}
