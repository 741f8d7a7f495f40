//! Mailboxes, wakes and deadlines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::rig::{Event, Probe, Rig};
use reactor::{Clock, Reactor};

const SENDERS: u64 = 4;
const EACH: u64 = 2_500;

/// Sends numbered messages from several threads and waits until all are sent.
fn send_from_all(rig: &Rig) {
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let mailbox = rig.mailbox.clone();
            scope.spawn(move || {
                for number in sender * EACH..(sender + 1) * EACH {
                    mailbox.send(Box::new(move |probe: &mut Probe, _| {
                        probe.tell(Event::Noted(number));
                    }));
                }
            });
        }
    });
}

/// Every message once, those of one sender in order.
fn assert_all_arrive(rig: &Rig) {
    let mut next = [0; SENDERS as usize];
    for _ in 0..SENDERS * EACH {
        let Event::Noted(number) = rig.event() else { panic!("unexpected event") };
        let sender = (number / EACH) as usize;
        assert_eq!(number % EACH, next[sender]);
        next[sender] += 1;
    }
}

#[test]
fn messages_of_many_threads_all_arrive_in_each_ones_order() {
    let rig = Rig::start();
    send_from_all(&rig);
    assert_all_arrive(&rig);
}

#[test]
fn messages_that_wait_are_delivered_in_one_turn() {
    let rig = Rig::start();
    let held = rig.hold();
    let before = Arc::new(AtomicU64::new(0));
    let noted = Arc::clone(&before);
    rig.order(move |probe, _| noted.store(probe.turns, Ordering::SeqCst));
    send_from_all(&rig);
    drop(held);
    let after = rig.ask(|probe| probe.turns);
    assert_all_arrive(&rig);
    assert!(after - before.load(Ordering::SeqCst) <= 2);
}

#[test]
fn an_idle_reactor_makes_one_turn_per_message() {
    let rig = Rig::start();
    let _listening = rig.listen();
    rig.settle();
    assert!(rig.turns_for_messages(100) <= 110);
}

#[test]
fn a_deadline_ends_the_wait() {
    let rig = Rig::start();
    rig.order(|probe, now| {
        probe.due_us = Some(now.mono_us + 20_000);
        probe.tell(Event::Noted(now.mono_us + 20_000));
    });
    let Event::Noted(due_us) = rig.event() else { panic!("unexpected event") };
    let Event::Due(now) = rig.event() else { panic!("unexpected event") };
    assert!(now.mono_us >= due_us);
}

#[test]
fn a_deadline_in_the_past_is_due_in_the_same_turn() {
    let rig = Rig::start();
    rig.order(|probe, _| probe.due_us = Some(0));
    assert!(matches!(rig.event(), Event::Due(_)));
}

#[test]
fn messages_to_a_reactor_that_is_gone_are_dropped() {
    let reactor = Reactor::<Probe>::new(Clock::start()).unwrap();
    let mailbox = reactor.mailbox();
    let cargo = Arc::new(());
    let (queued, late) = (Arc::clone(&cargo), Arc::clone(&cargo));
    mailbox.send(Box::new(move |_, _| drop(queued)));
    assert_eq!(Arc::strong_count(&cargo), 3);
    drop(reactor);
    assert_eq!(Arc::strong_count(&cargo), 2);
    mailbox.send(Box::new(move |_, _| drop(late)));
    assert_eq!(Arc::strong_count(&cargo), 1);
}
