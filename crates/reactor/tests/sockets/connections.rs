//! Accepted connections on real sockets: bytes in and out, half closes, pauses, handing over, resets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use crate::rig::{Event, PATIENCE, Rig, connect, pattern, read};
use reactor::{Clock, Close, Errno, Flow, Peer, Stream, Verdict};
use socket2::{Domain, SockRef, Socket, Type};

/// Closes a socket so that its peer sees a reset.
fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

#[test]
fn bytes_come_back_from_an_echoing_core() {
    let rig = Rig::start();
    rig.echo();
    let address = rig.listen();
    let (mut one, _) = rig.client(address);
    let (mut two, _) = rig.client(address);
    for round in 0..100 {
        let text = format!("round {round}");
        for client in [&mut one, &mut two] {
            client.write_all(text.as_bytes()).unwrap();
        }
        for client in [&mut one, &mut two] {
            assert_eq!(read(client, text.len()), text.as_bytes());
        }
    }
}

#[test]
fn a_window_costs_no_bytes() {
    let rig = Rig::start();
    rig.echo();
    rig.order(|probe, _| probe.window = Duration::from_micros(200));
    let (mut client, _) = rig.client(rig.listen());
    for _ in 0..20 {
        client.write_all(b"windowed").unwrap();
        assert_eq!(read(&mut client, 8), b"windowed");
    }
}

#[test]
fn unix_sockets_are_accepted_like_tcp() {
    let rig = Rig::start();
    rig.echo();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("listener");
    let listener = UnixListener::bind(&path).unwrap();
    rig.order(|probe, _| probe.ops.listen.push((7, Socket::from(OwnedFd::from(listener)))));
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"hello").unwrap();
    assert_eq!(read(&mut client, 5), b"hello");
    assert_eq!(rig.event(), Event::Accepted(0, Peer::Unix));
}

#[test]
fn many_connections_are_all_accepted_at_once() {
    let rig = Rig::start();
    rig.echo();
    let address = rig.listen();
    rig.settle();
    let held = rig.hold();
    // More than are accepted in one turn, fewer than the backlog.
    let mut clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    drop(held);
    for client in &mut clients {
        assert_eq!(read(client, 1), b"x");
    }
}

#[test]
fn a_listener_that_was_removed_refuses() {
    let rig = Rig::start();
    let address = rig.listen();
    let _client = rig.client(address);
    rig.order(|probe, _| probe.ops.unlisten.push(0));
    rig.settle();
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn those_who_connected_before_a_listener_was_removed_are_served() {
    let rig = Rig::start();
    let address = rig.listen();
    rig.settle();
    rig.react(|probe, slot, bytes| {
        probe.send(slot, bytes);
        Flow::Continue
    });
    let held = rig.hold();
    // More than are accepted in one turn.
    let mut clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
    rig.order(|probe, _| probe.ops.unlisten.push(0));
    drop(held);
    for client in &mut clients {
        client.write_all(b"x").unwrap();
        assert_eq!(read(client, 1), b"x");
    }
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_half_closed_client_gets_its_replies() {
    let rig = Rig::start();
    let (mut client, slot) = rig.client(rig.listen());
    client.write_all(b"last request").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.received_until_end(slot), b"last request");
    assert!(rig.turns_for_messages(50) <= 60, "a half closed connection keeps the loop busy");
    rig.order(move |probe, _| {
        probe.send(slot, b"late reply");
        probe.close_when_written(slot, Close::Linger);
    });
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"late reply");
}

#[test]
fn a_slow_reader_gets_a_long_output_whole() {
    const LENGTH: usize = 12 * 1024 * 1024;
    let rig = Rig::start();
    let (mut client, slot) = rig.client(rig.listen());
    rig.order(move |probe, _| {
        probe.slice = 1000;
        probe.send(slot, &pattern(LENGTH));
    });
    rig.settle();
    let left = rig.ask(move |probe| probe.outputs[&slot].len());
    assert!(left > 0, "the output is too short to fill the socket");
    assert!(rig.turns_for_messages(50) <= 60, "waiting for room keeps the loop busy");
    assert!(read(&mut client, LENGTH) == pattern(LENGTH));
    let written: Vec<_> = rig
        .events
        .try_iter()
        .map(|event| match event {
            Event::Written(_, n) => n,
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(written.iter().sum::<usize>(), LENGTH);
    assert!(written.iter().all(|&n| n > 0));
}

#[test]
fn a_fast_reader_does_not_hold_the_loop() {
    const LENGTH: usize = 32 * 1024 * 1024;
    let rig = Rig::start();
    let address = rig.listen();
    let (mut fast, slot) = rig.client(address);
    let (mut other, _) = rig.client(address);
    let reader = std::thread::spawn(move || read(&mut fast, LENGTH));
    rig.echo();
    rig.order(move |probe, _| {
        probe.slice = 16 * 1024;
        probe.send(slot, &pattern(LENGTH));
    });
    other.write_all(b"me too").unwrap();
    assert_eq!(read(&mut other, 6), b"me too");
    assert!(reader.join().unwrap() == pattern(LENGTH));
    // A share before the reads and one after, each at most one write too long.
    let most = rig.ask(|probe| probe.most_written);
    assert!(most <= 4 * 1024 * 1024, "{most} bytes in one turn");
}

#[test]
fn a_paused_connection_is_not_read_and_loses_nothing() {
    const LENGTH: usize = 1024 * 1024;
    let rig = Rig::start();
    rig.react(|_, _, _| Flow::Pause);
    let (mut client, slot) = rig.client(rig.listen());
    let writer = std::thread::spawn(move || {
        client.write_all(&pattern(LENGTH)).unwrap();
        client
    });
    let Event::Received(_, mut all) = rig.event() else { panic!("nothing received") };
    assert!(all.len() <= 128 * 1024);
    rig.settle();
    assert_eq!(rig.events.try_iter().next(), None, "paused, yet read");

    rig.order(move |probe, _| probe.ops.resume.push(slot));
    let Event::Received(_, more) = rig.event() else { panic!("nothing more received") };
    all.extend(more);
    rig.settle();
    assert_eq!(rig.events.try_iter().next(), None, "paused again, yet read");

    rig.react(|_, _, _| Flow::Continue);
    rig.order(move |probe, _| probe.ops.resume.push(slot));
    writer.join().unwrap().shutdown(Shutdown::Write).unwrap();
    all.extend(rig.received_until_end(slot));
    assert!(all == pattern(LENGTH));
}

#[test]
fn the_end_is_told_after_a_pause_during_which_it_came() {
    let rig = Rig::start();
    rig.react(|_, _, _| Flow::Pause);
    let (mut client, slot) = rig.client(rig.listen());
    client.write_all(b"one").unwrap();
    assert_eq!(rig.event(), Event::Received(slot, b"one".to_vec()));
    client.write_all(b"two").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(rig.turns_for_messages(50) <= 60, "a paused, ended connection keeps the loop busy");
    rig.react(|_, _, _| Flow::Continue);
    rig.order(move |probe, _| probe.ops.resume.push(slot));
    assert_eq!(rig.received_until_end(slot), b"two");
}

#[test]
fn a_stream_handed_to_another_reactor_is_served_there() {
    let clock = Clock::start();
    let (first, second) = (Rig::start_at(clock), Rig::start_at(clock));
    second.react(|probe, slot, bytes| {
        probe.tell(Event::Noted(probe.turns));
        probe.send(slot, bytes);
        Flow::Continue
    });
    let there = second.mailbox.clone();
    first.order(move |probe, _| {
        probe.reception = Some(Box::new(move |_, _, stream: Stream| {
            there.send(Box::new(move |probe, _| {
                probe.ops.attach.push((42, stream));
                probe.tell(Event::Noted(probe.turns));
            }));
            Verdict::Gone
        }));
    });
    let address = first.listen();
    first.settle();
    let held = second.hold();
    let mut client = connect(address);
    client.write_all(b"early").unwrap();
    assert!(matches!(first.event(), Event::Accepted(..)));
    drop(held);
    assert_eq!(read(&mut client, 5), b"early");
    client.write_all(b"later").unwrap();
    assert_eq!(read(&mut client, 5), b"later");
    let Event::Noted(attached) = second.event() else { panic!("not attached first") };
    assert_eq!(second.event(), Event::Received(42, b"early".to_vec()));
    assert_eq!(second.event(), Event::Noted(attached), "read in the turn it was attached in");
    assert_eq!(first.events.try_iter().next(), None);
}

#[test]
fn a_slot_used_again_hears_nothing_of_its_former_connection() {
    let rig = Rig::start();
    let address = rig.listen();
    let ((mut one, slot_one), (mut two, slot_two)) = (rig.client(address), rig.client(address));
    let (ours, mut third) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut replacement = Some(Stream::from(OwnedFd::from(ours)));
    // Whichever of the two is read first takes the other's slot away and puts a third connection there.
    rig.react(move |probe, slot, _| {
        if let Some(stream) = replacement.take() {
            let other = if slot == slot_one { slot_two } else { slot_one };
            probe.close(other, Close::Now);
            probe.ops.attach.push((other, stream));
        }
        Flow::Continue
    });
    rig.settle();
    let held = rig.hold();
    one.write_all(b"old").unwrap();
    two.write_all(b"old").unwrap();
    drop(held);
    let Event::Received(first, _) = rig.event() else { panic!("nothing received") };
    let reused = if first == slot_one { slot_two } else { slot_one };
    rig.settle();
    assert_eq!(rig.events.try_iter().next(), None, "the former connection was heard");
    third.write_all(b"new").unwrap();
    assert_eq!(rig.event(), Event::Received(reused, b"new".to_vec()));
}

#[test]
fn a_slot_closed_while_its_successor_is_accepted_serves_the_successor() {
    let rig = Rig::start();
    rig.echo();
    let address = rig.listen();
    let (mut first, slot) = rig.client(address);
    rig.order(move |probe, _| {
        probe.reception = Some(Box::new(move |ops, _, stream| {
            ops.close.push((slot, Close::Now));
            Verdict::Keep(slot, stream)
        }));
    });
    rig.settle();
    let (mut second, _) = rig.client(address);
    second.write_all(b"mine").unwrap();
    assert_eq!(read(&mut second, 4), b"mine");
    assert_eq!(first.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_stream_attached_by_one_message_and_closed_by_the_next_is_closed() {
    for same_call in [true, false] {
        let rig = Rig::start();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.set_read_timeout(Some(PATIENCE)).unwrap();
        let stream = Stream::from(OwnedFd::from(ours));
        let held = rig.hold();
        rig.order(move |probe, _| {
            probe.ops.attach.push((5, stream));
            if same_call {
                probe.close(5, Close::Now);
            }
        });
        if !same_call {
            rig.order(|probe, _| probe.close(5, Close::Now));
        }
        drop(held);
        assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 0);
    }
}

#[test]
fn what_was_sent_before_a_reset_arrives_before_the_failure() {
    for output in [&b""[..], b"cannot be delivered"] {
        let rig = Rig::start();
        let (mut client, slot) = rig.client(rig.listen());
        rig.settle();
        let held = rig.hold();
        if !output.is_empty() {
            // Written before anything is read, so that the error is met by the write.
            rig.order(move |probe, _| probe.send(slot, output));
        }
        client.write_all(b"already on the way").unwrap();
        reset(client);
        drop(held);
        assert_eq!(rig.event(), Event::Received(slot, b"already on the way".to_vec()));
        let Event::Failed(failed, errno) = rig.event() else { panic!("no failure told") };
        assert_eq!(failed, slot);
        assert!([libc::ECONNRESET, libc::EPIPE].contains(&errno.raw()), "{errno:?}");
        rig.settle();
        assert_eq!(rig.events.try_iter().next(), None);
    }
}

#[test]
fn a_paused_client_that_resets_fails_at_once() {
    let rig = Rig::start();
    rig.react(|_, _, _| Flow::Pause);
    let (mut client, slot) = rig.client(rig.listen());
    client.write_all(b"x").unwrap();
    assert_eq!(rig.event(), Event::Received(slot, b"x".to_vec()));
    client.write_all(b"unread").unwrap();
    reset(client);
    assert_eq!(rig.event(), Event::Failed(slot, Errno(libc::ECONNRESET)));
}

#[test]
fn an_ended_client_that_resets_fails() {
    let rig = Rig::start();
    let (client, slot) = rig.client(rig.listen());
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.event(), Event::Ended(slot));
    reset(client);
    assert!(matches!(rig.event(), Event::Failed(failed, _) if failed == slot));
}

/// A client whose request is longer than what the core reads before it answers and closes.
fn client_of_a_core_that_closes_early(rig: &Rig, how: Close) -> TcpStream {
    rig.react(move |probe, slot, _| {
        probe.send(slot, b"the last words");
        probe.close_when_written(slot, how);
        Flow::Continue
    });
    let (mut client, _) = rig.client(rig.listen());
    rig.settle();
    let held = rig.hold();
    client.write_all(&[b'x'; 200 * 1024]).unwrap();
    drop(held);
    assert!(matches!(rig.event(), Event::Received(..)));
    client
}

#[test]
fn a_lingering_close_lets_a_client_that_still_sends_read_its_reply_to_the_end() {
    let rig = Rig::start();
    let mut client = client_of_a_core_that_closes_early(&rig, Close::Linger);
    for _ in 0..64 {
        client.write_all(&[b'x'; 1024]).unwrap();
        rig.settle();
    }
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).expect("the end, not a reset");
    assert_eq!(reply, b"the last words");
    assert!(rig.turns_for_messages(50) <= 60, "a lingering connection keeps the loop busy");
}

#[test]
fn at_the_end_of_the_loop_a_client_that_still_sends_reads_its_reply_to_the_end() {
    /// More than the client's system takes before the client reads, less than ours keeps.
    const REPLY: usize = 256 << 10;
    let rig = Rig::start();
    rig.react(|probe, slot, _| {
        probe.send(slot, &pattern(REPLY));
        probe.close_when_written(slot, Close::Linger);
        probe.running = false;
        Flow::Continue
    });
    let address = rig.listen();
    rig.settle();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = TcpStream::from(socket);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(rig.event(), Event::Accepted(..)));
    let held = rig.hold();
    client.write_all(&[b'x'; 200 * 1024]).unwrap();
    drop(held);
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).expect("the end, not a reset");
    assert!(reply == pattern(REPLY), "{} bytes", reply.len());
}

#[test]
fn closing_at_once_resets_a_client_that_still_sends() {
    let rig = Rig::start();
    let mut client = client_of_a_core_that_closes_early(&rig, Close::Now);
    let end = client.read_to_end(&mut Vec::new());
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_refused_client_reads_why_though_it_sent_something() {
    let rig = Rig::start();
    rig.order(|probe, _| {
        probe.reception = Some(Box::new(|_, _, stream| Verdict::Refuse(b"-ERR full\r\n", stream)));
    });
    let address = rig.listen();
    rig.settle();
    let held = rig.hold();
    let mut client = connect(address);
    client.write_all(b"PING\r\n").unwrap();
    drop(held);
    assert!(matches!(rig.event(), Event::Accepted(..)));
    client.write_all(b"PING\r\n").unwrap();
    let mut reply = Vec::new();
    client.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"-ERR full\r\n");
}
