//! Golden configuration files given to the real binary: the verdict of `-t`, and whether the proxy comes up and stays.

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Process, binary_under_test, eventually, unused_port};

/// Files that twemproxy 0.5 rejects and this program accepts, each with the reason.
const ACCEPTED: [(&str, &str); 3] = [
    ("doc start", "document markers are accepted"),
    ("flow seq", "flow style is accepted"),
    ("listen ipv6 [::1]", "brackets around an IPv6 address are accepted"),
];

/// The one file whose listeners are in each other's way.
const CLASHES_WITH_ITSELF: &str = "dup listen alias";

struct Case {
    name: String,
    content: Vec<u8>,
    accepted: bool,
    starts: bool,
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../../../testdata/config/config_vectors.json");
    let json: Value = serde_json::from_str(text).expect("the vectors are JSON");
    let case = |case: &Value| {
        let name = case["name"].as_str().expect("a name").to_owned();
        let beyond = ACCEPTED.iter().any(|(accepted, _)| *accepted == name);
        Case {
            content: content_of(case),
            accepted: beyond || case["test_conf_exit"] == 0,
            starts: beyond || case["starts"] == true,
            name,
        }
    };
    json["cases"].as_array().expect("a list of cases").iter().map(case).collect()
}

fn content_of(case: &Value) -> Vec<u8> {
    let Some(hex) = case["yaml_hex"].as_str() else {
        return case["yaml"].as_str().expect("text").as_bytes().to_vec();
    };
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hex"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

/// Replaces `from`, in UTF-8 and in UTF-16.
fn replaced(content: &[u8], from: &str, to: &str) -> Vec<u8> {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let narrow = replaced_bytes(content, from.as_bytes(), to.as_bytes());
    replaced_bytes(&narrow, &wide(from), &wide(to))
}

fn replaced_bytes(content: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(&first) = rest.first() {
        match rest.strip_prefix(from) {
            Some(after) => {
                out.extend_from_slice(to);
                rest = after;
            }
            None => {
                out.push(first);
                rest = &rest[1..];
            }
        }
    }
    out
}

/// The case's file with ports and paths that are free here.
fn localised(case: &Case, dir: &Path) -> Vec<u8> {
    let dir = dir.display().to_string();
    let mut content = case.content.clone();
    for (from, to) in [
        ("30110", unused_port().to_string()),
        ("30002", unused_port().to_string()),
        ("/tmp/nutcracker-test", dir.clone()),
        ("/tmp/mc.sock", format!("{dir}/absent.sock")),
        // Another way to write the same address, wherever the name may lead.
        ("localhost", "127.1".to_owned()),
    ] {
        content = replaced(&content, from, &to);
    }
    content
}

fn exit_of_test_conf(dir: &Path) -> Option<i32> {
    let mut command = Command::new(binary_under_test());
    command.args(["-t", "-c", "conf.yml"]).current_dir(dir).stdin(Stdio::null());
    command.output().expect("run the binary").status.code()
}

/// How many bytes `address` sends to who connects.
fn read_all(address: SocketAddr) -> io::Result<usize> {
    TcpStream::connect(address)?.read_to_end(&mut Vec::new())
}

/// Starts the proxy on `conf.yml` in `dir`. `Ok` when it came up, and then ended as asked; else its log.
fn start(dir: &Path) -> Result<(), String> {
    let stats: SocketAddr = ([127, 0, 0, 1], unused_port()).into();
    let mut command = Command::new(binary_under_test());
    command.args(["-c", "conf.yml", "-o", "log", "-a", "127.0.0.1"]);
    command.arg("-s").arg(stats.port().to_string());
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::spawn(&mut command);
    // The statistics answer last, when all listeners are bound; who connects earlier waits.
    let ended = eventually("it comes up or ends", || match process.ended() {
        Some(status) => Some(Some(status)),
        None => matches!(read_all(stats), Ok(1..)).then_some(None),
    });
    let log = || fs::read_to_string(dir.join("log")).unwrap_or_default();
    if let Some(status) = ended {
        assert_eq!(status.code(), Some(1), "{}", log());
        return Err(log());
    }
    process.signal(Signal::TERM);
    assert_eq!(process.wait().code(), Some(0), "{}", log());
    Ok(())
}

/// As [`start`], again with other ports when somebody else took one of them first.
fn start_localised(case: &Case) -> Result<(), String> {
    let mut outcome = Ok(());
    for _ in 0..10 {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("conf.yml"), localised(case, dir.path()))
            .expect("write the configuration");
        let verdict = exit_of_test_conf(dir.path());
        assert_eq!(verdict, Some(i32::from(!case.accepted)), "-t of '{}'", case.name);
        outcome = start(dir.path());
        let taken = matches!(&outcome, Err(log) if log.contains("in use"));
        if !taken || case.name == CLASHES_WITH_ITSELF {
            break;
        }
    }
    outcome
}

#[test]
fn what_starts_with_twemproxy_starts_and_what_does_not_says_why() {
    let cases = cases();
    assert!(cases.len() > 100);
    for case in &cases {
        match start_localised(case) {
            Ok(()) => assert!(case.starts, "'{}' starts", case.name),
            Err(log) => {
                assert!(!case.starts, "'{}' does not start: {log}", case.name);
                assert!(!log.trim().is_empty(), "'{}' does not start and says nothing", case.name);
            }
        }
    }
}
