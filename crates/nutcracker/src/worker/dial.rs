//! From a server of the topology to addresses a reactor can connect to; names are resolved elsewhere, on every connect.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use engine::topology::{Address, Topology};
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
    topology: Arc<Topology>,
    resolve: Arc<dyn Resolve>,
    mailbox: Mailbox<Message>,
    under_way: HashMap<Slot, Dial>,
    /// Which of its addresses the next connect to a server begins with, where the last one failed. Connects that are
    /// under way together begin with the same.
    first: HashMap<(u32, u32), usize>,
    last_ticket: u64,
}

#[derive(Clone, Copy, Debug)]
struct Dial {
    pool: u32,
    server: u32,
    /// Set while the name is being resolved.
    ticket: Option<u64>,
    /// Which of the server's addresses it begins with.
    first: usize,
}

impl Dialer {
    pub(super) fn new(
        topology: &Arc<Topology>,
        resolve: Arc<dyn Resolve>,
        mailbox: Mailbox<Message>,
    ) -> Dialer {
        Dialer {
            topology: Arc::clone(topology),
            resolve,
            mailbox,
            under_way: HashMap::new(),
            first: HashMap::new(),
            last_ticket: 0,
        }
    }

    /// Begins to connect `slot` to a server. Returns where to, or `None` when its name has to be resolved first.
    pub(super) fn dial(&mut self, slot: Slot, pool: u32, server: u32) -> Option<Vec<Target>> {
        let first = self.first.get(&(pool, server)).copied().unwrap_or(0);
        let (targets, ticket) =
            match &self.topology.pools[pool as usize].servers[server as usize].address {
                Address::Unix(path) => (Some(vec![Target::Unix(path.clone())]), None),
                Address::Tcp { host, port } => match host.parse::<IpAddr>() {
                    Ok(ip) => (Some(vec![Target::Tcp(SocketAddr::new(ip, *port))]), None),
                    Err(_) => {
                        self.last_ticket += 1;
                        self.ask(slot, self.last_ticket, host, *port);
                        (None, Some(self.last_ticket))
                    }
                },
            };
        self.under_way.insert(slot, Dial { pool, server, ticket, first });
        targets
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

    /// The connection is established.
    pub(super) fn succeeded(&mut self, slot: Slot) {
        if let Some(dial) = self.under_way.remove(&slot) {
            self.first.remove(&(dial.pool, dial.server));
        }
    }

    /// The connection is not wanted any more, or failed. Returns whether its name was still being resolved, so that the
    /// reactor has never heard of it.
    pub(super) fn forget(&mut self, slot: Slot) -> bool {
        let Some(dial) = self.under_way.remove(&slot) else { return false };
        let is_resolving = dial.ticket.is_some();
        if !is_resolving {
            self.first.insert((dial.pool, dial.server), dial.first.wrapping_add(1));
        }
        is_resolving
    }
}

#[cfg(test)]
mod tests {
    use engine::topology::{CrossShard, FlushAll, Limits, Pool, Protocol, Server};
    use reactor::{Clock, Reactor};
    use sharding::{Distribution, Hash};

    use super::super::WorkerCore;
    use super::*;

    /// Never answers.
    struct Deaf;

    impl Resolve for Deaf {
        fn resolve(&self, _: &str, _: u16, _: Box<dyn FnOnce(Option<Vec<SocketAddr>>) + Send>) {}
    }

    fn dialer() -> Dialer {
        let server = Server {
            name: "server".into(),
            display_name: "two.faces:6379:1".into(),
            address: Address::Tcp { host: "two.faces".into(), port: 6379 },
            weight: 1,
        };
        let pool = Pool {
            name: "pool".into(),
            protocol: Protocol::Redis,
            hash: Hash::Fnv1a64,
            hash_tag: None,
            distribution: Distribution::Ketama,
            timeout: None,
            redis_auth: None,
            redis_db: 0,
            preconnect: false,
            server_connections: 2,
            ejection: None,
            retry_timeout: std::time::Duration::ZERO,
            cross_shard: CrossShard::Error,
            flush_all: FlushAll::Refuse,
            item_bytes_max: u32::MAX,
            servers: vec![server],
        };
        let pools = vec![Arc::new(pool)];
        let topology = Arc::new(Topology { epoch: 1, pools, limits: Limits::default() });
        let reactor = Reactor::<WorkerCore>::new(Clock::start()).expect("an event queue");
        Dialer::new(&topology, Arc::new(Deaf), reactor.mailbox())
    }

    fn addresses() -> Vec<SocketAddr> {
        [[127, 0, 0, 1], [127, 0, 0, 2]].map(|ip| SocketAddr::from((ip, 6379))).to_vec()
    }

    /// Asks for the server's name under `slot`.
    fn ask(dialer: &mut Dialer, slot: Slot) -> Resolved {
        assert_eq!(dialer.dial(slot, 0, 0), None, "a name has to be resolved");
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
