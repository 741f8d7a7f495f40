//! Running out of descriptors. A process of its own, started by the test with a low limit, since the limit is the
//! process's.

#[expect(dead_code, reason = "this test needs a part of the rig only")]
#[path = "sockets/rig/mod.rs"]
mod rig;

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use reactor::{Close, Errno, Target};
use rig::{Event, Rig, connect};
use socket2::Socket;

const INSIDE: &str = "REACTOR_TEST_LOW_LIMIT";

/// Runs one test of this file again in a process that may open 64 descriptors. True in that process.
fn inside_low_limit(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

/// Opens files until no descriptor is left.
fn fill() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn a_listener_outlives_a_shortage_of_descriptors() {
    if !inside_low_limit("a_listener_outlives_a_shortage_of_descriptors") {
        return;
    }
    let rig = Rig::start();
    let address = rig.listen();
    let (_first, slot) = rig.client(address);
    rig.settle();
    let held = rig.hold();
    let (_second, _third) = (connect(address), connect(address));
    let mut files = fill();
    drop(held);

    assert_eq!(rig.event(), Event::AcceptFailed(0, Errno(libc::EMFILE)));
    // A descriptor freed behind the reactor's back is found by time.
    files.pop();
    let accepted = next_accepted(&rig);
    // One freed by the reactor is used at once.
    rig.order(move |probe, _| probe.close(slot, Close::Now));
    assert_ne!(next_accepted(&rig), accepted);
}

/// The next accepted slot, shortages told before left out.
fn next_accepted(rig: &Rig) -> u32 {
    loop {
        match rig.event() {
            Event::Accepted(slot, _) => return slot,
            Event::AcceptFailed(0, Errno(libc::EMFILE)) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[test]
fn a_connection_without_a_descriptor_fails() {
    if !inside_low_limit("a_connection_without_a_descriptor_fails") {
        return;
    }
    let rig = Rig::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap());
    let again = target.clone();
    let files = fill();
    rig.order(|probe, _| probe.ops.connect.push((0, vec![target])));
    assert_eq!(rig.event(), Event::Failed(0, Errno(libc::EMFILE)));
    drop(files);
    rig.order(|probe, _| probe.ops.connect.push((0, vec![again])));
    assert_eq!(rig.event(), Event::Connected(0));
}

#[test]
fn a_lingering_connection_gives_way_to_a_new_one() {
    if !inside_low_limit("a_lingering_connection_gives_way_to_a_new_one") {
        return;
    }
    let rig = Rig::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    rig.order(|probe, _| probe.ops.listen.push((0, Socket::from(OwnedFd::from(listener)))));
    let (_first, slot) = rig.client(address);
    rig.settle();
    let held = rig.hold();
    rig.order(move |probe, _| probe.close(slot, Close::Linger));
    let _second = connect(address);
    let _files = fill();
    drop(held);
    assert!(matches!(rig.event(), Event::Accepted(..)), "accepted without a failure before");
}
