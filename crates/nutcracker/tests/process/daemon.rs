//! `-d`: the foreground process speaks for the daemon, and the daemon has left the terminal.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::rig::{Daemon, Place, send, stderr, wait_until};

#[test]
fn success_means_that_everything_is_up() {
    let place = Place::new();
    let output = place.output(&["-d", "-o", "n.log", "-p", "n.pid"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let daemon = Daemon::of(&place.path("n.pid"));
    assert!(daemon.is_alive());
    UnixStream::connect(place.path("x.sock")).unwrap();
    let log = place.read("n.log");
    assert!(log.contains(&format!("started on pid {}\n", daemon.0)), "{log}");

    send(daemon.0, Signal::TERM);
    wait_until("the pid file is gone", || !place.path("n.pid").exists());
    assert!(!place.path("x.sock").exists());
    wait_until("the daemon is gone", || !daemon.is_alive());
}

#[cfg(target_os = "linux")]
#[test]
fn the_daemon_has_a_session_of_its_own_no_terminal_and_the_same_directory() {
    let place = Place::new();
    assert_eq!(place.output(&["-d", "-p", "n.pid"]).status.code(), Some(0));
    let daemon = Daemon::of(&place.path("n.pid"));
    let process = |entry: &str| format!("/proc/{}/{entry}", daemon.0);
    for descriptor in ["fd/0", "fd/1", "fd/2"] {
        assert_eq!(fs::read_link(process(descriptor)).unwrap().to_str(), Some("/dev/null"));
    }
    let directory = fs::canonicalize(place.path(".")).unwrap();
    assert_eq!(fs::read_link(process("cwd")).unwrap(), directory);
    let stat = fs::read_to_string(process("stat")).unwrap();
    let session: u32 =
        stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap().parse().unwrap();
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let own_session: u32 =
        own.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap().parse().unwrap();
    assert_ne!(session, own_session);
    assert_ne!(session, daemon.0, "a session leader could acquire a terminal");
}

#[test]
fn a_bad_configuration_fails_in_the_foreground() {
    let place = Place::new();
    fs::write(place.path("n.yml"), "alpha\n").unwrap();
    let output = place.output(&["-d", "-o", "n.log", "-p", "n.pid"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("configuration file 'n.yml' syntax is invalid\n"));
    assert!(!place.path("n.pid").exists());
}

#[test]
fn a_port_in_use_fails_in_the_foreground() {
    let place = Place::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    place.configure(&address);
    // With a log file the reason has to come on both ways, without one on the only way.
    for log in [&["-o", "n.log"][..], &[]] {
        let output = place.output(&[&["-d", "-p", "n.pid"], log].concat());
        assert_eq!(output.status.code(), Some(1));
        let told = stderr(&output);
        assert_eq!(
            told.matches(&format!("bind on '{address}' in pool 'alpha' failed")).count(),
            1,
            "{told}"
        );
        assert!(!place.path("n.pid").exists());
    }
    assert!(place.read("n.log").contains("Address already in use"));
}

#[test]
fn a_held_pid_file_fails_in_the_foreground() {
    let place = Place::new();
    let first = place.start(&["-p", "n.pid"]);
    let output = place.output(&["-d", "-p", "n.pid"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output)
            .contains(&format!("'n.pid' is held by a running process, pid {}", first.pid()))
    );
    assert_eq!(place.read("n.pid"), first.pid().to_string());
}
