//! Models of the resolver: names asked for from two threads while its own threads come, end or are refused. An answer
//! that never comes is a deadlock, which the model checker reports; one that comes twice does not compile.

use loom::sync::mpsc::{Receiver, channel};

use super::*;
use crate::sync::model::{check, start};
use crate::sync::thread::refuse;

/// Asks for a name; returns where the answer arrives, `true` for an address.
fn ask(resolver: &Resolver, host: &str) -> Receiver<bool> {
    let (sender, receiver) = channel();
    let answer = move |found: Result<_, _>| sender.send(found.is_ok()).expect("awaited");
    resolver.resolve(host, 6379, Box::new(answer));
    receiver
}

/// Asks for these names from two threads, lets all idle threads of the resolver end, and returns both answers.
fn ask_from_two_threads(hosts: [&'static str; 2]) -> [bool; 2] {
    let found = |_: &str, port| Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))]);
    let resolver = Resolver::with_lookup(PATIENCE, found);
    let other = resolver.clone();
    let asking = start(move || ask(&other, hosts[0]));
    let second = ask(&resolver, hosts[1]);
    let state = resolver.shared.state();
    resolver.shared.work.pass_time();
    drop(state);
    let first = asking.join().expect("asked");
    [first, second].map(|answer| answer.recv().expect("an answer"))
}

#[test]
fn two_names_are_both_answered_while_threads_end() {
    check(2, || assert_eq!(ask_from_two_threads(["a", "b"]), [true; 2]));
}

#[test]
fn all_who_ask_for_one_name_are_answered() {
    check(2, || assert_eq!(ask_from_two_threads(["a", "a"]), [true; 2]));
}

#[test]
fn names_are_answered_with_an_error_where_the_system_gives_no_thread() {
    for hosts in [["a", "b"], ["a", "a"]] {
        check(2, move || {
            refuse(true);
            assert_eq!(ask_from_two_threads(hosts), [false; 2]);
        });
    }
}
