//! The document through the eyes of those who read it: what each known kind of collector takes for granted.

use serde_json::{Map, Value};

use super::{document, idle};
use crate::harness::{Client, Pool, Proxy, RealServer, Reply};

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

/// As the exporter for Prometheus by stuartnelson3 does it: removes what it knows, and takes the rest for pools and
/// their servers.
#[test]
fn every_key_that_is_not_known_is_a_pool_or_a_server() {
    let (_servers, proxy) = used();
    let mut top = parsed(&document(&proxy));
    for key in HEADER {
        assert!(top.remove(key).is_some_and(|value| !value.is_object()), "no {key}");
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

/// As PCP does it: one receive of at most 10240 bytes, which has to bring a small document whole.
#[test]
fn a_small_document_comes_in_one_piece() {
    let proxy = idle().start();
    let mut stream = std::net::TcpStream::connect(proxy.stats_address()).expect("connect");
    stream.set_read_timeout(Some(crate::harness::PATIENCE)).expect("a read timeout");
    let mut buffer = vec![0; 10240];
    let count = std::io::Read::read(&mut stream, &mut buffer).expect("read");
    parsed(std::str::from_utf8(&buffer[..count]).expect("UTF-8"));
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
