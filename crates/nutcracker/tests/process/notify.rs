//! What the service manager is told, by a stand-in for it: a datagram socket of the test.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;

use rustix::process::Signal;

use crate::rig::{DEADLINE, Daemon, Place, send, stderr};

/// Stands in for a service manager: receives what it would, and is named to the proxy as one is.
struct Notified {
    socket: UnixDatagram,
    name: String,
}

impl Notified {
    fn at_path(place: &Place) -> Notified {
        let path = place.path("notify.sock");
        Notified::new(UnixDatagram::bind(&path).unwrap(), path.display().to_string())
    }

    fn new(socket: UnixDatagram, name: String) -> Notified {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Notified { socket, name }
    }

    fn watches(&self, mut command: Command) -> Command {
        command.env("NOTIFY_SOCKET", &self.name);
        command
    }

    /// The next message.
    fn told(&self) -> String {
        let mut buffer = [0; 1024];
        let received = loop {
            match self.socket.recv(&mut buffer) {
                // A signal that another test of this process raised.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received,
            }
        };
        let length = received.expect("the proxy says something in time");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }
}

#[test]
fn readiness_is_told_once_it_listens_and_a_stop_before_it_ends() {
    let place = Place::new();
    let manager = Notified::at_path(&place);
    let mut proxy = place.spawn(manager.watches(place.command(&["--workers", "2"])));
    assert_eq!(manager.told(), "READY=1\nSTATUS=serving 1 pool with 2 workers\n");
    // No patience: who has been told may connect.
    let client = UnixStream::connect(place.path("x.sock")).unwrap();
    UnixStream::connect(place.path("stats.sock")).unwrap();

    proxy.signal(Signal::TERM);
    let stopping = manager.told();
    assert!(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=11000000\n"), "{stopping}");
    drop(client);
    assert_eq!(proxy.wait().code(), Some(0));
}

/// Both signals that reload, a good file and a bad one: the manager waits for READY whatever came of it.
#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let place = Place::new();
    let manager = Notified::at_path(&place);
    let command = place.command(&["--workers", "1", "-o", "n.log"]);
    let proxy = place.spawn(manager.watches(command));
    assert!(manager.told().starts_with("READY=1\n"));
    let good = place.read("n.yml");
    for (signal, text) in [(Signal::HUP, &*good), (Signal::USR1, &*good), (Signal::HUP, "alpha\n")]
    {
        fs::write(place.path("n.yml"), text).unwrap();
        let before = monotonic_us();
        proxy.signal(signal);
        let reloading = manager.told();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let time: i64 = time.trim_end().parse().unwrap();
        // systemd tells by this which of its reloads is meant.
        assert!((before..=monotonic_us()).contains(&time), "{time}");
        assert_eq!(manager.told(), "READY=1\nSTATUS=serving 1 pool with 1 worker\n");
    }
    let log = place.read("n.log");
    assert!(log.contains("not reloaded; the running configuration stays"), "{log}");
}

fn monotonic_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_socket_is_told_too() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let place = Place::new();
    let name = place.path("abstract").display().to_string();
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    let manager = Notified::new(socket, format!("@{name}"));
    let _proxy = place.spawn(manager.watches(place.command(&[])));
    assert!(manager.told().starts_with("READY=1\n"));
}

#[test]
fn the_daemon_reports_for_itself_and_its_pid_file_is_there_when_the_foreground_returns() {
    let place = Place::new();
    let manager = Notified::at_path(&place);
    let output = crate::rig::output(manager.watches(place.command(&["-d", "-p", "n.pid"])));
    let daemon = Daemon::of(&place.path("n.pid"));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(daemon.is_alive());
    assert!(manager.told().starts_with("READY=1\n"));
    send(daemon.0, Signal::TERM);
    assert!(manager.told().starts_with("STOPPING=1\n"));
}

#[test]
fn the_watchdog_hears_of_it_again_and_again() {
    let place = Place::new();
    let manager = Notified::at_path(&place);
    let mut command = manager.watches(place.command(&["--workers", "2"]));
    command.env("WATCHDOG_USEC", "90000");
    let _proxy = place.spawn(command);
    assert!(manager.told().starts_with("READY=1\n"));
    for _ in 0..4 {
        assert_eq!(manager.told(), "WATCHDOG=1\n");
    }
}

#[test]
fn a_service_manager_out_of_reach_stops_nobody_from_serving() {
    for name in ["/nonexistent/notify.sock", "vsock:2:1234", "notify.sock", ""] {
        let place = Place::new();
        let mut command = place.command(&["-o", "n.log"]);
        command.env("NOTIFY_SOCKET", name);
        let mut proxy = place.start_command(command);
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.wait().code(), Some(0));
        let complaints = fs::read_to_string(place.path("n.log"))
            .unwrap()
            .lines()
            .filter(|line| line.contains("service manager could") || line.contains("NOTIFY_SOCKET"))
            .count();
        assert_eq!(complaints, usize::from(!name.is_empty()), "{}", place.read("n.log"));
    }
}
