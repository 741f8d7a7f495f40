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
    /// For each server that did not answer its last connects: how many. Each begins with another of its addresses.
    fruitless: HashMap<(u32, u32), usize>,
    last_ticket: u64,
}

#[derive(Clone, Copy, Debug)]
struct Dial {
    pool: u32,
    server: u32,
    /// Set while the name is being resolved.
    ticket: Option<u64>,
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
            fruitless: HashMap::new(),
            last_ticket: 0,
        }
    }

    /// Begins to connect `slot` to a server. Returns where to, or `None` when its name has to be resolved first.
    pub(super) fn dial(&mut self, slot: Slot, pool: u32, server: u32) -> Option<Vec<Target>> {
        let mut dial = Dial { pool, server, ticket: None };
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
        dial.ticket = ticket;
        self.under_way.insert(slot, dial);
        *self.fruitless.entry((pool, server)).or_default() += 1;
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
        let server = (dial.pool, dial.server);
        match resolved.addresses {
            Some(mut addresses) if !addresses.is_empty() => {
                let tries = self.fruitless.get(&server).map_or(0, |tries| tries.saturating_sub(1));
                let first = tries % addresses.len();
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
            self.fruitless.remove(&(dial.pool, dial.server));
        }
    }

    /// The connection is not wanted any more, or failed. Returns whether its name was still being resolved, so that the
    /// reactor has never heard of it.
    pub(super) fn forget(&mut self, slot: Slot) -> bool {
        self.under_way.remove(&slot).is_some_and(|dial| dial.ticket.is_some())
    }
}
