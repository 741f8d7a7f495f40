//! Models of the mailbox: every interleaving of two senders and the reactor.

use std::sync::Arc;

use loom::thread;

use crate::model::Receiver;

/// How many messages each of two senders has.
const SENT: [u32; 2] = [2, 1];

#[test]
fn no_wake_up_is_lost_and_each_sender_is_heard_in_its_order() {
    loom::model(|| {
        let receiver = Receiver::<(usize, u32)>::default();
        let start = |sender: usize| {
            let mailbox = receiver.mailbox();
            thread::spawn(move || (0..SENT[sender]).for_each(|n| mailbox.send((sender, n))))
        };
        let senders = [start(0), start(1)];
        let mut next = [0; 2];
        let mut batches = 0;
        while next != SENT {
            let messages = receiver.wait();
            batches += usize::from(!messages.is_empty());
            for (sender, n) in messages {
                assert_eq!(n, next[sender], "the next one of this sender");
                next[sender] += 1;
            }
        }
        senders.into_iter().for_each(|sender| sender.join().expect("sent"));
        assert_eq!(receiver.wakes(), batches, "one wake for what is taken at once");
        assert!(receiver.poll().is_empty(), "nothing arrives twice");
    });
}

#[test]
fn what_is_sent_to_a_reactor_that_ends_is_dropped_in_any_case() {
    loom::model(|| {
        let receiver = Receiver::<Arc<()>>::default();
        let socket = Arc::new(());
        let senders: Vec<_> = SENT
            .iter()
            .map(|_| {
                let (mailbox, socket) = (receiver.mailbox(), Arc::clone(&socket));
                thread::spawn(move || {
                    mailbox.send(socket);
                    mailbox
                })
            })
            .collect();
        drop(receiver.poll());
        drop(receiver);
        let mailboxes: Vec<_> = senders.into_iter().map(|sender| sender.join()).collect();
        assert_eq!(Arc::strong_count(&socket), 1, "although mailboxes are still there");
        drop(mailboxes);
    });
}
