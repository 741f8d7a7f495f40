//! Tests of the listeners, on loopback addresses and socket files of their own.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use tempfile::TempDir;

use super::*;

fn spec(endpoint: Endpoint) -> ListenerSpec {
    let text = match &endpoint {
        Endpoint::Tcp(address) => address.to_string(),
        Endpoint::Unix { path, .. } => path.display().to_string(),
    };
    ListenerSpec {
        owner: Owner::Pool("alpha".into()),
        text,
        endpoint,
        backlog: 512,
        reuseport: false,
    }
}

fn tcp(address: &str) -> ListenerSpec {
    spec(Endpoint::Tcp(address.parse().unwrap()))
}

fn unix(path: &Path, mode: Option<u32>) -> ListenerSpec {
    spec(Endpoint::Unix { path: path.into(), mode })
}

fn address_of(listener: &Listener) -> SocketAddr {
    listener.socket.local_addr().unwrap().as_socket().unwrap()
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_tcp_listener_accepts_without_blocking_and_is_not_inherited() {
    let listener = Listener::bind(&tcp("127.0.0.1:0")).unwrap();
    assert_eq!(listener.socket.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let flags = rustix::io::fcntl_getfd(listener.socket.as_fd()).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let _client = TcpStream::connect(address_of(&listener)).unwrap();
    listener.socket.accept().unwrap();
}

#[test]
fn the_ipv6_wildcard_takes_ipv4_clients_too() {
    let Ok(listener) = Listener::bind(&spec(Endpoint::Tcp((Ipv6Addr::UNSPECIFIED, 0).into())))
    else {
        return; // a machine without IPv6
    };
    let port = address_of(&listener).port();
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    TcpStream::connect(("::1", port)).unwrap();
}

#[test]
fn a_port_in_use_names_address_pool_and_fix() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let error = Listener::bind(&tcp(&address)).unwrap_err().to_string();
    let known = format!("bind on '{address}' in pool 'alpha' failed: Address already in use; ");
    assert!(error.starts_with(&known), "{error}");
}

#[test]
fn a_port_with_clients_in_time_wait_can_be_bound_again() {
    let listener = Listener::bind(&tcp("127.0.0.1:0")).unwrap();
    let address = address_of(&listener);
    let client = TcpStream::connect(address).unwrap();
    // The side that closes first is the one left in TIME_WAIT.
    drop(listener.socket.accept().unwrap());
    drop(client);
    drop(listener);
    Listener::bind(&tcp(&address.to_string())).unwrap();
}

#[test]
fn an_address_of_no_interface_is_refused() {
    let error = Listener::bind(&tcp("203.0.113.7:0")).unwrap_err().to_string();
    assert!(error.contains("belongs to no interface"), "{error}");
}

#[test]
fn reuseport_shares_a_port() {
    let shared = |address: &str| Listener::bind(&ListenerSpec { reuseport: true, ..tcp(address) });
    let first = shared("127.0.0.1:0").unwrap();
    let address = address_of(&first).to_string();
    shared(&address).unwrap();
    assert!(Listener::bind(&tcp(&address)).is_err(), "only among those that ask for it");
}

#[test]
fn a_unix_socket_has_exactly_the_mode_asked_for_and_goes_with_its_listener() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("x.sock");
    for mode in [0o666, 0o600, 0o777, 0o040] {
        let listener = Listener::bind(&unix(&path, Some(mode))).unwrap();
        assert_eq!(mode_of(&path), mode);
        drop(listener);
        assert!(!path.exists());
    }
}

#[test]
fn a_unix_socket_without_a_mode_has_the_system_s_default() {
    let directory = TempDir::new().unwrap();
    let (ours, reference) = (directory.path().join("x.sock"), directory.path().join("y.sock"));
    let _listener = Listener::bind(&unix(&ours, None)).unwrap();
    let _reference = UnixListener::bind(&reference).unwrap();
    assert_eq!(mode_of(&ours), mode_of(&reference));
    UnixStream::connect(&ours).unwrap();
}

#[test]
fn a_stale_socket_is_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("x.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let _listener = Listener::bind(&unix(&path, None)).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_live_socket_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("x.sock");
    let _live = UnixListener::bind(&path).unwrap();
    let error = Listener::bind(&unix(&path, Some(0o666))).unwrap_err().to_string();
    assert!(error.contains("in pool 'alpha' failed: another process listens there"), "{error}");
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_live_socket_with_a_full_backlog_is_left_alone_at_once() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("x.sock");
    let live = Listener::bind(&ListenerSpec { backlog: 0, ..unix(&path, None) }).unwrap();
    let mut clients = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        if client.connect(&SockAddr::unix(&path).unwrap()).is_err() {
            break;
        }
        clients.push(client);
    }
    assert!(Listener::bind(&unix(&path, None)).is_err());
    assert!(path.exists());
    drop(live);
}

#[test]
fn a_socket_of_another_type_and_a_file_are_left_alone() {
    let directory = TempDir::new().unwrap();
    let (datagram, file) = (directory.path().join("d.sock"), directory.path().join("file"));
    let _datagram = UnixDatagram::bind(&datagram).unwrap();
    fs::write(&file, "precious").unwrap();
    assert!(Listener::bind(&unix(&datagram, None)).is_err());
    let error = Listener::bind(&unix(&file, None)).unwrap_err().to_string();
    assert!(error.contains("no socket is in the way"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(datagram.exists());
}

#[test]
fn a_socket_that_took_the_place_of_ours_stays() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("x.sock");
    let listener = Listener::bind(&unix(&path, None)).unwrap();
    fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    drop(listener);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn an_impossible_path_is_an_error_that_names_it() {
    let missing =
        Listener::bind(&unix(Path::new("/nonexistent/x.sock"), None)).unwrap_err().to_string();
    assert!(
        missing.starts_with("bind on '/nonexistent/x.sock' in pool 'alpha' failed: No such file"),
        "{missing}"
    );
    let long = Listener::bind(&unix(&Path::new("/tmp").join("x".repeat(120)), None))
        .unwrap_err()
        .to_string();
    assert!(long.contains("too long"), "{long}");
}
