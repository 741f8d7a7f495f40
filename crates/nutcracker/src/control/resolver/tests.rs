//! Tests of the resolver: the system's one for what it must know everywhere, injected ones for the rest.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

type Outcome = Result<Vec<SocketAddr>, ResolveError>;

const DEADLINE: Duration = Duration::from_secs(20);

fn ask(resolver: &Resolver, host: &str) -> Receiver<Outcome> {
    let (sender, receiver) = channel();
    resolver.resolve(host, 6379, Box::new(move |outcome| sender.send(outcome).unwrap()));
    receiver
}

fn address(last: u8) -> Vec<SocketAddr> {
    vec![SocketAddr::from(([10, 0, 0, last], 6379))]
}

/// A lookup that says which name it began with and then hangs until the gate opens: by a message or by being dropped.
fn gated() -> (Box<Lookup>, Receiver<String>, Sender<()>) {
    let (began, beginnings) = channel();
    let (gate, gate_end) = channel::<()>();
    let (began, gate_end) = (Mutex::new(began), Mutex::new(gate_end));
    let lookup = move |host: &str, _| {
        let _ = began.lock().unwrap().send(host.to_owned());
        if host.starts_with("slow") {
            let _ = gate_end.lock().unwrap().recv();
        }
        Ok(address(1))
    };
    (Box::new(lookup), beginnings, gate)
}

#[test]
fn localhost_is_a_loopback_address() {
    let found = ask(&Resolver::new(), "localhost").recv_timeout(DEADLINE).unwrap().unwrap();
    assert!(!found.is_empty());
    assert!(
        found.iter().all(|address| address.ip().is_loopback() && address.port() == 6379),
        "{found:?}"
    );
}

#[test]
fn a_name_that_does_not_exist_is_an_error_naming_it() {
    let error =
        ask(&Resolver::new(), "no.such.host.invalid").recv_timeout(DEADLINE).unwrap().unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(
            "address resolution of node 'no.such.host.invalid' service '6379' failed: "
        ),
        "{text}"
    );
    assert!(!text.contains("lookup address"), "{text}");
}

#[test]
fn an_address_literal_needs_no_lookup() {
    let resolver = Resolver::with_lookup(PATIENCE, |_, _| panic!("looked up"));
    assert_eq!(ask(&resolver, "::1").try_recv(), Ok(Ok(vec!["[::1]:6379".parse().unwrap()])));
    assert_eq!(ask(&resolver, "10.0.0.1").try_recv(), Ok(Ok(address(1))));
}

#[test]
fn a_name_that_hangs_does_not_hold_up_another() {
    let (lookup, beginnings, gate) = gated();
    let resolver = Resolver::with_lookup(PATIENCE, lookup);
    let slow = ask(&resolver, "slow");
    assert_eq!(beginnings.recv_timeout(DEADLINE).unwrap(), "slow");
    for round in 0..40 {
        let fast = ask(&resolver, &format!("fast{round}"));
        assert_eq!(fast.recv_timeout(DEADLINE).unwrap(), Ok(address(1)));
    }
    assert!(slow.try_recv().is_err());
    drop(gate);
    assert_eq!(slow.recv_timeout(DEADLINE).unwrap(), Ok(address(1)));
}

#[test]
fn requests_for_one_name_share_a_lookup() {
    let (lookup, beginnings, gate) = gated();
    let resolver = Resolver::with_lookup(DEADLINE, lookup);
    let waiting: Vec<_> = (0..10).map(|_| ask(&resolver, "slow")).collect();
    drop(gate);
    for outcome in waiting {
        assert_eq!(outcome.recv_timeout(DEADLINE).unwrap(), Ok(address(1)));
    }
    assert_eq!(beginnings.try_iter().count(), 1);
    assert_eq!(ask(&resolver, "slow").recv_timeout(DEADLINE).unwrap(), Ok(address(1)));
    assert_eq!(beginnings.try_iter().count(), 1, "a later request looks up again");
}

#[test]
fn an_answer_that_panics_leaves_the_others_theirs() {
    let (lookup, _beginnings, gate) = gated();
    let resolver = Resolver::with_lookup(DEADLINE, lookup);
    for round in 0..LOOKUPS_MAX * 2 {
        resolver.resolve(&format!("slow{round}"), 6379, Box::new(|_| panic!("on purpose")));
    }
    let other = ask(&resolver, "slow0");
    drop(gate);
    assert_eq!(other.recv_timeout(DEADLINE).unwrap(), Ok(address(1)));
    assert_eq!(ask(&resolver, "slow").recv_timeout(DEADLINE).unwrap(), Ok(address(1)));
}

#[test]
fn more_hanging_names_than_threads_are_all_answered_in_the_end() {
    let (lookup, _beginnings, gate) = gated();
    let resolver = Resolver::with_lookup(PATIENCE, lookup);
    let waiting: Vec<_> =
        (0..LOOKUPS_MAX * 3).map(|i| ask(&resolver, &format!("slow{i}"))).collect();
    assert_eq!(resolver.shared.state().threads, LOOKUPS_MAX);
    drop(gate);
    for outcome in waiting {
        assert_eq!(outcome.recv_timeout(DEADLINE).unwrap(), Ok(address(1)));
    }
}

#[test]
fn the_last_good_answer_serves_when_the_resolver_fails() {
    let calls = AtomicUsize::new(0);
    let resolver =
        Resolver::with_lookup(PATIENCE, move |_, _| match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Err(io::Error::other("not yet")),
            1 => Ok(address(1)),
            2 => Err(io::Error::other("not any more")),
            3 => Ok(Vec::new()),
            _ => Ok(address(2)),
        });
    let outcomes: Vec<_> =
        (0..5).map(|_| ask(&resolver, "name").recv_timeout(DEADLINE).unwrap()).collect();
    assert_eq!(outcomes[0].as_ref().unwrap_err().reason, "not yet");
    assert_eq!(outcomes[1..], [Ok(address(1)), Ok(address(1)), Ok(address(1)), Ok(address(2))]);
}

#[test]
fn the_last_good_answer_serves_when_the_resolver_hangs() {
    let (began, beginnings) = channel();
    let (gate, gate_end) = channel::<()>();
    let (began, gate_end) = (Mutex::new(began), Mutex::new(gate_end));
    let calls = AtomicUsize::new(0);
    let resolver = Resolver::with_lookup(Duration::ZERO, move |_, _| {
        began.lock().unwrap().send(()).unwrap();
        if calls.fetch_add(1, Ordering::Relaxed) == 1 {
            let _ = gate_end.lock().unwrap().recv();
        }
        Ok(address(1))
    });
    assert_eq!(ask(&resolver, "name").recv_timeout(DEADLINE).unwrap(), Ok(address(1)));
    let hanging = ask(&resolver, "name");
    assert_eq!((beginnings.recv(), beginnings.recv()), (Ok(()), Ok(())));
    assert_eq!(ask(&resolver, "name").try_recv(), Ok(Ok(address(1))));
    drop(gate);
    assert_eq!(hanging.recv_timeout(DEADLINE).unwrap(), Ok(address(1)));
}
