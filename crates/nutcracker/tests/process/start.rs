//! Starting in the foreground: what is said, what is left behind, and what a failure looks like.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use crate::rig::{Place, output, stderr, wait_until};

#[test]
fn the_banner_names_version_system_and_pid() {
    let place = Place::new();
    let proxy = place.start(&["-o", "n.log", "-v", "0"]);
    let log = place.read("n.log");
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].contains(" nutcracker-0.5.0 built for "), "{log}");
    assert!(lines[0].ends_with(&format!(" started on pid {}", proxy.pid())), "{log}");
    assert!(lines[1].contains(" run, rabbit run"), "{log}");
    assert_eq!(lines.len(), 2, "level 0 shows nothing else: {log}");
}

#[test]
fn level_6_shows_limits_and_listeners_in_the_known_form() {
    let place = Place::new();
    let _proxy = place.start(&["-o", "n.log", "-v", "6", "--workers", "2"]);
    let listening = format!(
        " listening on '{}' in redis pool 0 'alpha' with 1 servers\n",
        place.path("x.sock").display()
    );
    // The line follows the listening that the start waits for.
    wait_until(&listening, || place.read("n.log").contains(&listening));
    let log = place.read("n.log");
    assert!(log.contains(" max fds "), "{log}");
    assert!(log.contains(" max server conns 3\n"), "{log}");
}

#[test]
fn the_limit_on_open_files_is_raised_to_the_hard_one() {
    let place = Place::new();
    let raised = place.command_after(
        "ulimit -Sn 100 && ulimit -Hn 1000",
        &["-o", "n.log", "-v", "6", "--workers", "1"],
    );
    let _proxy = place.start_command(raised);
    let log = place.read("n.log");
    assert!(log.contains(" max fds 1000 max client conns 966 max server conns 2\n"), "{log}");
}

#[test]
fn too_few_open_files_are_warned_about() {
    let place = Place::new();
    let cramped = place.command_after("ulimit -n 40", &["-o", "n.log", "--workers", "1"]);
    let _proxy = place.start_command(cramped);
    let log = place.read("n.log");
    assert!(
        log.contains(
            " only 6 client connections fit beside 2 server connections into 40 open files; raise"
        ),
        "{log}"
    );
}

#[test]
fn a_log_that_cannot_be_opened_ends_the_start() {
    let place = Place::new();
    let output = place.output(&["-o", "missing/n.log"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(
        "opening log file 'missing/n.log' failed: No such file or directory; see that its folder exists and lets this user \
         write, or name another file with -o\n"
    ));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_bad_configuration_is_told_on_standard_error_and_in_the_log() {
    let place = Place::new();
    fs::write(place.path("n.yml"), "alpha\n").unwrap();
    let output = place.output(&["-o", "n.log"]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.ends_with("nutcracker: configuration file 'n.yml' syntax is invalid\n"), "{told}");
    assert!(told.contains("n.yml:1:"), "{told}");
    let log = place.read("n.log");
    assert!(log.contains("n.yml:1:"), "{log}");
    assert!(log.ends_with("done, rabbit done\n"), "{log}");
}

#[test]
fn a_missing_configuration_is_named() {
    let place = Place::new();
    let output = place.output(&["-c", "other.yml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("'other.yml'"), "{}", stderr(&output));
}

#[test]
fn a_port_in_use_ends_the_start_and_leaves_nothing() {
    let place = Place::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    place.configure(&address);
    let output = place.output(&["-o", "n.log", "-p", "n.pid"]);
    assert_eq!(output.status.code(), Some(1));
    let reason = format!("bind on '{address}' in pool 'alpha' failed: Address already in use; ");
    assert!(stderr(&output).contains(&reason), "{}", stderr(&output));
    let log = place.read("n.log");
    assert!(log.contains(&reason) && log.ends_with("done, rabbit done\n"), "{log}");
    assert!(!place.path("n.pid").exists());
}

#[test]
fn a_second_instance_is_refused_and_the_first_keeps_its_pid_file() {
    let place = Place::new();
    let first = place.start(&["-o", "n.log", "-p", "n.pid"]);
    assert_eq!(place.read("n.pid"), first.pid().to_string());
    let second = place.output(&["-p", "n.pid"]);
    assert_eq!(second.status.code(), Some(1));
    let reason = format!("pid file 'n.pid' is held by a running process, pid {}; ", first.pid());
    assert!(stderr(&second).contains(&reason), "{}", stderr(&second));
    assert_eq!(place.read("n.pid"), first.pid().to_string());
    UnixStream::connect(place.path("x.sock")).unwrap();
}

#[test]
fn what_a_killed_instance_leaves_is_in_nobodys_way() {
    let place = Place::new();
    let mut first = place.start(&["-p", "n.pid"]);
    first.signal(Signal::KILL);
    first.wait();
    assert!(place.path("n.pid").exists() && place.path("x.sock").exists());
    let second = place.start(&["-p", "n.pid"]);
    wait_until("the pid file names the second", || place.read("n.pid") == second.pid().to_string());
}

#[test]
fn a_socket_has_its_mode_under_a_strict_umask_and_the_default_without_one() {
    let place = Place::new();
    let socket = place.path("x.sock");
    let mode = || fs::metadata(&socket).unwrap().permissions().mode() & 0o7777;
    let strict = || place.command_after("umask 077", &[]);
    let proxy = place.start_command(strict());
    assert_eq!(mode(), 0o700);
    drop(proxy);
    place.configure(&format!("{} 0666", socket.display()));
    let _proxy = place.start_command(strict());
    assert_eq!(mode(), 0o666);
}

#[test]
fn a_closed_standard_error_stops_nothing() {
    let place = Place::new();
    let bad = output(place.command_after("exec 2>&-", &["-c", "missing.yml"]));
    assert_eq!(bad.status.code(), Some(1));
    let _proxy = place.start_command(place.command_after("exec 2>&-", &[]));
}
