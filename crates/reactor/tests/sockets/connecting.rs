//! Connections asked for by the core: success, every kind of failure, and the way from one target to the next.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::rig::{Event, Rig, read};
use reactor::{Close, Errno, Target};
use socket2::{Domain, Socket, Type};

/// A port where nobody listens and that nobody else can be given: it is bound as long as the socket lives.
fn refusing() -> (Socket, Target) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, Target::Tcp(address))
}

fn listening(address: &str) -> (TcpListener, Target) {
    let listener = TcpListener::bind(address).unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap());
    (listener, target)
}

fn connecting(rig: &Rig, targets: Vec<Target>) -> Event {
    rig.order(|probe, _| probe.ops.connect.push((3, targets)));
    rig.event()
}

#[test]
fn output_queued_before_the_connection_stands_is_written_when_it_does() {
    let rig = Rig::start();
    let (listener, target) = listening("127.0.0.1:0");
    rig.order(|probe, _| {
        probe.ops.connect.push((3, vec![target]));
        probe.send(3, b"early");
    });
    assert_eq!(rig.event(), Event::Connected(3));
    let (mut server, _) = listener.accept().unwrap();
    assert_eq!(read(&mut server, 5), b"early");
    server.write_all(b"reply").unwrap();
    assert_eq!(rig.event(), Event::Received(3, b"reply".to_vec()));
    drop(server);
    assert_eq!(rig.event(), Event::Ended(3));
}

#[test]
fn a_server_that_greets_and_closes_at_once_is_heard() {
    let rig = Rig::start();
    let (listener, target) = listening("127.0.0.1:0");
    let held = rig.hold();
    rig.order(|probe, _| probe.ops.connect.push((3, vec![target])));
    let greeter =
        std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"bye").unwrap());
    drop(held);
    assert_eq!(rig.event(), Event::Connected(3));
    assert_eq!(rig.received_until_end(3), b"bye");
    greeter.join().unwrap();
}

#[test]
fn nobody_listening_is_a_refusal() {
    let rig = Rig::start();
    let (_held, target) = refusing();
    assert_eq!(connecting(&rig, vec![target]), Event::Failed(3, Errno(libc::ECONNREFUSED)));
}

#[test]
fn the_second_target_is_tried_when_the_first_refuses() {
    let rig = Rig::start();
    let (_held, first) = refusing();
    let (listener, second) = listening("127.0.0.1:0");
    assert_eq!(connecting(&rig, vec![first, second]), Event::Connected(3));
    listener.accept().unwrap();
}

#[test]
fn the_error_of_the_last_target_is_told() {
    let rig = Rig::start();
    let (_held, refused) = refusing();
    let missing = Target::Unix(PathBuf::from("/nonexistent/socket"));
    let event = connecting(&rig, vec![refused.clone(), missing.clone()]);
    assert_eq!(event, Event::Failed(3, Errno(libc::ENOENT)));
    let event = connecting(&rig, vec![missing, refused]);
    assert_eq!(event, Event::Failed(3, Errno(libc::ECONNREFUSED)));
}

#[test]
fn no_target_at_all_is_a_failure() {
    let rig = Rig::start();
    assert_eq!(connecting(&rig, Vec::new()), Event::Failed(3, Errno(libc::EADDRNOTAVAIL)));
}

#[test]
fn unix_sockets_are_connected_like_tcp() {
    let rig = Rig::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server");
    let listener = UnixListener::bind(&path).unwrap();
    assert_eq!(connecting(&rig, vec![Target::Unix(path)]), Event::Connected(3));
    let (mut server, _) = listener.accept().unwrap();
    rig.order(|probe, _| probe.send(3, b"over unix"));
    assert_eq!(read(&mut server, 9), b"over unix");
}

#[test]
fn a_unix_server_with_a_full_backlog_is_a_failure_not_a_wait() {
    let rig = Rig::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server");
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let mut slot = 0;
    let errno = loop {
        let target = Target::Unix(path.clone());
        rig.order(move |probe, _| probe.ops.connect.push((slot, vec![target])));
        match rig.event() {
            Event::Connected(connected) => assert_eq!(connected, slot),
            Event::Failed(_, errno) => break errno,
            other => panic!("unexpected {other:?}"),
        }
        slot += 1;
        assert!(slot < 100, "the backlog never fills");
    };
    let expected = if cfg!(target_os = "linux") { libc::EAGAIN } else { libc::ECONNREFUSED };
    assert_eq!(errno, Errno(expected));
}

#[test]
fn ipv6_is_connected_where_there_is_any() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let rig = Rig::start();
    let target = Target::Tcp(listener.local_addr().unwrap());
    assert_eq!(connecting(&rig, vec![target]), Event::Connected(3));
}

#[test]
fn a_connection_closed_before_its_outcome_is_told_is_not_heard_of_again() {
    let rig = Rig::start();
    let missing = Target::Unix(PathBuf::from("/nonexistent/socket"));
    rig.order(move |probe, _| {
        probe.ops.connect.extend([(3, vec![missing]), (4, Vec::new()), (5, Vec::new())]);
        // Whichever outcome is told first ends the others.
        probe.grief = Some(Box::new(|ops, failed| {
            ops.close
                .extend((3..6).filter(|&slot| slot != failed).map(|slot| (slot, Close::Linger)));
        }));
    });
    assert!(matches!(rig.event(), Event::Failed(..)));
    rig.settle();
    assert_eq!(rig.events.try_iter().next(), None);
}

#[test]
fn a_connection_closed_while_it_is_being_established_is_not_heard_of_again() {
    let rig = Rig::start();
    // A server whose backlog is full leaves the next client waiting.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap().as_socket().unwrap());
    rig.order(move |probe, _| {
        probe.ops.connect.extend((0..8).map(|slot| (slot, vec![target.clone()])));
    });
    rig.order(|probe, _| (0..8).for_each(|slot| probe.close(slot, Close::Linger)));
    rig.settle();
    let told: Vec<_> = rig.events.try_iter().collect();
    assert!(
        told.len() < 8 && told.iter().all(|event| matches!(event, Event::Connected(_))),
        "{told:?}"
    );
    rig.settle();
    assert_eq!(rig.events.try_iter().next(), None);
}

#[test]
fn a_core_may_connect_again_and_needlessly_close_while_it_is_told_of_a_failure() {
    let rig = Rig::start();
    let (_listener, target) = listening("127.0.0.1:0");
    rig.order(|probe, _| {
        probe.grief = Some(Box::new(move |ops, failed| {
            ops.close.push((failed, Close::Now));
            ops.connect.push((failed, vec![target.clone()]));
        }));
    });
    assert_eq!(connecting(&rig, Vec::new()), Event::Failed(3, Errno(libc::EADDRNOTAVAIL)));
    assert_eq!(rig.event(), Event::Connected(3));
}

#[test]
fn connecting_again_on_every_failure_leaves_the_loop_responsive() {
    let rig = Rig::start();
    let missing = Target::Unix(PathBuf::from("/nonexistent/socket"));
    let again = missing.clone();
    assert_eq!(connecting(&rig, vec![missing]), Event::Failed(3, Errno(libc::ENOENT)));
    rig.order(move |probe, _| {
        probe.ops.connect.extend((0..50).map(|slot| (slot, vec![again.clone()])));
    });
    for _ in 0..50 {
        assert!(matches!(rig.event(), Event::Failed(_, Errno(libc::ENOENT))));
    }
    assert!(rig.turns_for_messages(50) <= 60);
}

#[test]
fn replies_of_a_paused_server_survive_its_reset() {
    let rig = Rig::start();
    rig.react(|_, _, _| reactor::Flow::Pause);
    let (listener, target) = listening("127.0.0.1:0");
    assert_eq!(connecting(&rig, vec![target]), Event::Connected(3));
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"first").unwrap();
    assert_eq!(rig.event(), Event::Received(3, b"first".to_vec()));
    server.write_all(b"second").unwrap();
    socket2::SockRef::from(&server).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(server);
    rig.settle();
    assert_eq!(rig.events.try_iter().next(), None, "paused, yet read");
    rig.react(|_, _, _| reactor::Flow::Continue);
    rig.order(|probe, _| probe.ops.resume.push(3));
    assert_eq!(rig.event(), Event::Received(3, b"second".to_vec()));
    assert_eq!(rig.event(), Event::Failed(3, Errno(libc::ECONNRESET)));
}

#[test]
fn a_lingering_close_of_a_server_connection_ends_it_cleanly() {
    let rig = Rig::start();
    let (listener, target) = listening("127.0.0.1:0");
    assert_eq!(connecting(&rig, vec![target]), Event::Connected(3));
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(crate::rig::PATIENCE)).unwrap();
    rig.order(|probe, _| {
        probe.send(3, b"QUIT");
        probe.close_when_written(3, Close::Linger);
    });
    let mut all = Vec::new();
    server.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"QUIT");
}
