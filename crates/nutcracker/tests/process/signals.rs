//! What signals do to a running proxy.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::rig::{Place, Proxy, wait_until};

const DOTS: &str = "[.......................] ";

#[test]
fn term_and_int_end_with_status_0_and_leave_nothing() {
    for (signal, line) in [
        (Signal::TERM, "signal 15 (SIGTERM) received, exiting"),
        (Signal::INT, "signal 2 (SIGINT) received, exiting"),
    ] {
        let place = Place::new();
        let mut proxy = place.start(&["-o", "n.log", "-p", "n.pid"]);
        assert!(place.path("n.pid").exists());
        proxy.signal(signal);
        assert_eq!(proxy.wait().code(), Some(0));
        assert!(!place.path("n.pid").exists() && !place.path("x.sock").exists());
        let log = place.read("n.log");
        assert!(log.contains(&format!("{DOTS}{line}\n")), "{log}");
        assert!(log.ends_with("done, rabbit done\n"), "{log}");
    }
}

/// A proxy with a request in flight to a server that never answers, and the two connections that make it so.
fn with_a_request_in_flight(
    place: &Place,
    drain_timeout_ms: u32,
) -> (Proxy, TcpStream, UnixStream) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = place.path("x.sock").display().to_string();
    place.configure_with(&socket, &server.local_addr().unwrap().to_string(), drain_timeout_ms);
    let proxy = place.start(&["-o", "n.log", "-p", "n.pid"]);
    let mut client = UnixStream::connect(place.path("x.sock")).unwrap();
    client.write_all(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n").unwrap();
    let (connection, _) = server.accept().unwrap();
    connection.peek(&mut [0]).unwrap(); // returns once the request is on its way
    (proxy, connection, client)
}

#[test]
fn draining_waits_for_a_reply_only_as_long_as_it_may() {
    let place = Place::new();
    let (mut proxy, _server, _client) = with_a_request_in_flight(&place, 50);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!place.path("n.pid").exists());
}

#[test]
fn a_second_signal_ends_the_wait_for_what_is_in_flight() {
    let place = Place::new();
    let (mut proxy, _server, _client) = with_a_request_in_flight(&place, 1_000_000);
    proxy.signal(Signal::TERM);
    wait_until("draining", || place.read("n.log").contains("no longer accepting"));
    assert!(UnixStream::connect(place.path("x.sock")).is_err(), "the socket goes first");
    assert!(place.path("n.pid").exists(), "the pid file goes last");
    proxy.signal(Signal::INT);
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!place.path("n.pid").exists());
    assert!(place.read("n.log").contains("it is cut off\n"));
}

#[test]
fn hup_moves_on_to_a_new_log_file() {
    let place = Place::new();
    let proxy = place.start(&["-o", "n.log"]);
    fs::rename(place.path("n.log"), place.path("n.log.1")).unwrap();
    proxy.signal(Signal::HUP);
    wait_until("the new log exists", || place.path("n.log").exists());
    assert!(
        place
            .read("n.log.1")
            .ends_with(&format!("{DOTS}signal 1 (SIGHUP) received, reopening log file\n"))
    );
    proxy.signal(Signal::TTIN);
    wait_until("the new log is written", || place.read("n.log").ends_with("up log level to 6\n"));
    assert!(place.read("n.log").starts_with(DOTS), "the new file starts with what came after");
}

#[test]
fn hup_without_a_file_to_open_keeps_the_old_one() {
    let place = Place::new();
    fs::create_dir(place.path("logs")).unwrap();
    let proxy = place.start(&["-o", "logs/n.log"]);
    fs::rename(place.path("logs"), place.path("moved")).unwrap();
    proxy.signal(Signal::HUP);
    let complaint = format!(
        "{DOTS}opening log file 'logs/n.log' failed: No such file or directory; the old file stays in use\n"
    );
    wait_until("the failure is told", || place.read("moved/n.log").contains(&complaint));
    proxy.signal(Signal::USR1);
    wait_until("the log goes on", || place.read("moved/n.log").ends_with("(SIGUSR1) received\n"));
}

#[test]
fn ttin_and_ttou_move_the_level_within_its_bounds() {
    let place = Place::new();
    let proxy = place.start(&["-o", "n.log", "-v", "10"]);
    // At these levels there are lines about other things, too.
    let about_signals = || -> String {
        let log = place.read("n.log");
        log.split_inclusive('\n').filter(|line| line.starts_with(DOTS)).collect()
    };
    let expect = |signal: Signal, lines: &[&str]| {
        let before = about_signals().len();
        proxy.signal(signal);
        let expected: String = lines.iter().map(|line| format!("{DOTS}{line}\n")).collect();
        wait_until(&expected, || about_signals()[before..].len() >= expected.len());
        assert_eq!(about_signals()[before..], expected);
    };
    let (up, down) = (
        "signal 21 (SIGTTIN) received, up logging level",
        "signal 22 (SIGTTOU) received, down logging level",
    );
    expect(Signal::TTIN, &[up, "up log level to 11"]);
    expect(Signal::TTIN, &[up]);
    for level in (0..=10).rev() {
        expect(Signal::TTOU, &[down, &format!("down log level to {level}")]);
    }
    expect(Signal::TTOU, &[down]);
    expect(Signal::TTIN, &[up, "up log level to 1"]);
}

#[test]
fn usr2_and_pipe_change_nothing() {
    let place = Place::new();
    let mut proxy = place.start(&["-o", "n.log"]);
    proxy.signal(Signal::PIPE);
    let line = "signal 12 (SIGUSR2) received\n";
    proxy.signal(Signal::USR2);
    wait_until(line, || place.read("n.log").ends_with(&format!("{DOTS}{line}")));
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
}
