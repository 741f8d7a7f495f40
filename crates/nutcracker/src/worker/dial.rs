//! From a server of the topology to addresses a reactor can connect to; names are resolved elsewhere, on every connect.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use engine::topology::Address;
use reactor::{Mailbox, Slot, Target};

use super::Message;

/// Resolves names without blocking the caller.
pub trait Resolve: Send + Sync {
    /// Calls `answer` once, from any thread, with the addresses of `host`; `None` when it has none.
    fn resolve(
        &self,
        host: &str,
        port: u16,
        answer: Box<dyn FnOnce(Option<Vec<SocketAddr>>) + Send>,
    );
}

/// The answer to a name that a worker asked for.
#[derive(Debug)]
pub struct Resolved {
    /// The connection it is for.
    pub(super) slot: Slot,
    /// Which attempt of that slot.
    ticket: u64,
    addresses: Option<Vec<SocketAddr>>,
}

/// What to do with an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nobody waits for it any more.
    Stale,
    /// Connect to these, in order.
    Targets(Vec<Target>),
    /// The name has no address.
    Unknown,
}

/// The connects under way in one worker.
pub(super) struct Dialer {
    resolve: Arc<dyn Resolve>,
    mailbox: Mailbox<Message>,
    under_way: HashMap<Slot, Dial>,
    /// Which of its addresses the next connect to a name begins with, where the last one failed. Connects that are under
    /// way together begin with the same.
    first: HashMap<(String, u16), usize>,
    last_ticket: u64,
}

#[derive(Debug)]
struct Dial {
    /// The name and port that are connected to, where they have to be resolved.
    name: Option<(String, u16)>,
    /// Set while the name is being resolved.
    ticket: Option<u64>,
    /// Which of the name's addresses it begins with.
    first: usize,
}

impl Dialer {
    pub(super) fn new(resolve: Arc<dyn Resolve>, mailbox: Mailbox<Message>) -> Dialer {
        Dialer {
            resolve,
            mailbox,
            under_way: HashMap::new(),
            first: HashMap::new(),
            last_ticket: 0,
        }
    }

    /// Begins to connect `slot` to a server. Returns where to, or `None` when its name has to be resolved first.
    pub(super) fn dial(&mut self, slot: Slot, server: &Address) -> Option<Vec<Target>> {
        let known = match server {
            Address::Unix(path) => Ok(Target::Unix(path.clone())),
            Address::Tcp { host, port } => match host.parse::<IpAddr>() {
                Ok(ip) => Ok(Target::Tcp(SocketAddr::new(ip, *port))),
                Err(_) => Err((host, *port)),
            },
        };
        match known {
            Ok(target) => {
                self.under_way.insert(slot, Dial { name: None, ticket: None, first: 0 });
                Some(vec![target])
            }
            Err((host, port)) => {
                self.last_ticket += 1;
                let ticket = Some(self.last_ticket);
                self.ask(slot, self.last_ticket, host, port);
                let name = (host.clone(), port);
                let first = self.first.get(&name).copied().unwrap_or(0);
                self.under_way.insert(slot, Dial { name: Some(name), ticket, first });
                None
            }
        }
    }

    fn ask(&self, slot: Slot, ticket: u64, host: &str, port: u16) {
        let mailbox = self.mailbox.clone();
        let answer =
            move |addresses| mailbox.send(Message::Resolved(Resolved { slot, ticket, addresses }));
        self.resolve.resolve(host, port, Box::new(answer));
    }

    /// A name was resolved, or not.
    pub(super) fn resolved(&mut self, resolved: Resolved) -> Outcome {
        let Some(dial) = self.under_way.get_mut(&resolved.slot) else { return Outcome::Stale };
        if dial.ticket != Some(resolved.ticket) {
            return Outcome::Stale;
        }
        dial.ticket = None;
        match resolved.addresses {
            Some(mut addresses) if !addresses.is_empty() => {
                let first = dial.first % addresses.len();
                addresses.rotate_left(first);
                Outcome::Targets(addresses.into_iter().map(Target::Tcp).collect())
            }
            _ => {
                self.under_way.remove(&resolved.slot);
                Outcome::Unknown
            }
        }
    }

    /// Names may have changed: every one begins with its first address again.
    pub(super) fn forget_order(&mut self) {
        self.first.clear();
    }

    /// The connection is established.
    pub(super) fn succeeded(&mut self, slot: Slot) {
        if let Some(Dial { name: Some(name), .. }) = self.under_way.remove(&slot) {
            self.first.remove(&name);
        }
    }

    /// The connection is not wanted any more, or failed. Returns whether its name was still being resolved, so that the
    /// reactor has never heard of it.
    pub(super) fn forget(&mut self, slot: Slot) -> bool {
        let Some(dial) = self.under_way.remove(&slot) else { return false };
        let is_resolving = dial.ticket.is_some();
        if let Some(name) = dial.name.filter(|_| !is_resolving) {
            self.first.insert(name, dial.first.wrapping_add(1));
        }
        is_resolving
    }
}

#[cfg(test)]
mod tests {
    use reactor::{Clock, Reactor};

    use super::super::WorkerCore;
    use super::*;

    /// Never answers.
    struct Deaf;

    impl Resolve for Deaf {
        fn resolve(&self, _: &str, _: u16, _: Box<dyn FnOnce(Option<Vec<SocketAddr>>) + Send>) {}
    }

    fn dialer() -> Dialer {
        let reactor = Reactor::<WorkerCore>::new(Clock::start()).expect("an event queue");
        Dialer::new(Arc::new(Deaf), reactor.mailbox())
    }

    fn addresses() -> Vec<SocketAddr> {
        [[127, 0, 0, 1], [127, 0, 0, 2]].map(|ip| SocketAddr::from((ip, 6379))).to_vec()
    }

    /// Asks for the server's name under `slot`.
    fn ask(dialer: &mut Dialer, slot: Slot) -> Resolved {
        let server = Address::Tcp { host: "two.faces".into(), port: 6379 };
        assert_eq!(dialer.dial(slot, &server), None, "a name has to be resolved");
        Resolved { slot, ticket: dialer.last_ticket, addresses: Some(addresses()) }
    }

    /// The address that `asked` is to connect to first.
    fn first_of(dialer: &mut Dialer, asked: Resolved) -> usize {
        let Outcome::Targets(targets) = dialer.resolved(asked) else { panic!("stale") };
        let first = |address: &SocketAddr| Target::Tcp(*address) == targets[0];
        addresses().iter().position(first).expect("one of them")
    }

    #[test]
    fn connects_under_way_together_begin_with_the_same_address() {
        let mut dialer = dialer();
        let (a, b) = (ask(&mut dialer, 1), ask(&mut dialer, 2));
        assert_eq!((first_of(&mut dialer, a), first_of(&mut dialer, b)), (0, 0));
        assert!(!dialer.forget(1) && !dialer.forget(2));
        let (a, b) = (ask(&mut dialer, 1), ask(&mut dialer, 2));
        assert_eq!((first_of(&mut dialer, a), first_of(&mut dialer, b)), (1, 1));
    }

    #[test]
    fn after_a_success_the_order_is_the_name_services_again() {
        let mut dialer = dialer();
        let asked = ask(&mut dialer, 1);
        first_of(&mut dialer, asked);
        dialer.forget(1);
        let asked = ask(&mut dialer, 1);
        assert_eq!(first_of(&mut dialer, asked), 1);
        dialer.succeeded(1);
        let asked = ask(&mut dialer, 1);
        assert_eq!(first_of(&mut dialer, asked), 0);
    }

    #[test]
    fn an_answer_that_nobody_waits_for_any_more_is_stale() {
        let mut dialer = dialer();
        let old = ask(&mut dialer, 1);
        assert!(dialer.forget(1), "the reactor has never heard of it");
        let new = ask(&mut dialer, 1);
        assert_eq!(dialer.resolved(old), Outcome::Stale);
        assert_eq!(first_of(&mut dialer, new), 0);
    }
}
