//! What signals do to a running proxy.

use std::fs;

use rustix::process::Signal;

use crate::rig::{Place, wait_until};

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
    let expect = |signal: Signal, lines: &[&str]| {
        let before = place.read("n.log").len();
        proxy.signal(signal);
        let expected: String = lines.iter().map(|line| format!("{DOTS}{line}\n")).collect();
        wait_until(&expected, || place.read("n.log")[before..].len() >= expected.len());
        assert_eq!(place.read("n.log")[before..], expected);
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
fn usr1_usr2_and_pipe_change_nothing() {
    let place = Place::new();
    let mut proxy = place.start(&["-o", "n.log"]);
    proxy.signal(Signal::PIPE);
    for (signal, line) in [
        (Signal::USR1, "signal 10 (SIGUSR1) received\n"),
        (Signal::USR2, "signal 12 (SIGUSR2) received\n"),
    ] {
        proxy.signal(signal);
        wait_until(line, || place.read("n.log").ends_with(&format!("{DOTS}{line}")));
    }
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.wait().code(), Some(0));
}
