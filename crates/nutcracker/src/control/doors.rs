//! The listeners of the pools from one configuration to the next: which stay open, which are new, which close. Apart from
//! `listeners` because that knows one listener at a time.

use std::collections::HashMap;
use std::os::fd::AsRawFd;

use engine::topology::Protocol;
use socket2::Socket;

use super::listeners::{BindError, Endpoint, Listener, ListenerSpec, Owner};
use crate::config::{Config, Listen, Pool};
use crate::worker::Accepting;

/// The open listeners.
#[derive(Debug, Default)]
pub(super) struct Doors {
    open: Vec<Door>,
    /// The number that the next new one gets.
    next: u32,
}

/// One listener and the pool it leads to.
#[derive(Debug)]
struct Door {
    /// Never used again.
    number: u32,
    /// Number of the pool's gate.
    gate: u64,
    spec: ListenerSpec,
    listener: Listener,
}

/// The listeners of a configuration, all bound, in the order of its pools. Dropping it closes the new ones.
#[derive(Debug)]
pub(super) struct DoorPlan(Vec<(ListenerSpec, Source)>);

#[derive(Debug)]
enum Source {
    /// An open one goes on.
    Open(u32),
    /// Bound for this, and what its worker gets of it.
    Bound(Listener, Socket),
}

/// What follows from a change.
#[derive(Debug)]
pub(super) struct Change {
    /// To be accepted from.
    pub(super) opened: Vec<Accepting>,
    /// To be closed: their sockets here are closed by dropping them, their socket files removed.
    pub(super) closed: Vec<(u32, Listener)>,
    /// Where every listener leads, those that close included: the number of a gate by that of a listener.
    pub(super) leading: HashMap<u32, u64>,
}

impl Doors {
    /// Binds what `config` needs and is not open. A pool gets the listener of its address, whichever pool had it before.
    ///
    /// # Errors
    /// One of them cannot be had; nothing has changed then.
    pub(super) fn plan(&self, config: &Config) -> Result<DoorPlan, BindError> {
        let mut taken = Vec::new();
        let mut plan = Vec::new();
        for (index, pool) in config.pools.iter().enumerate() {
            let spec = listener_spec(pool);
            let goes_on = |door: &&Door| !taken.contains(&door.number) && door.serves(&spec);
            let source = match self.open.iter().find(goes_on) {
                Some(door) => {
                    taken.push(door.number);
                    Source::Open(door.number)
                }
                None => bind(&spec, index, pool)?,
            };
            plan.push((spec, source));
        }
        Ok(DoorPlan(plan))
    }

    /// Carries out a plan made of these doors; `gates` are the numbers of the pools' gates, in their order.
    pub(super) fn change(&mut self, plan: DoorPlan, gates: &[u64]) -> Change {
        let mut before = std::mem::take(&mut self.open);
        let mut opened = Vec::new();
        for ((spec, source), gate) in plan.0.into_iter().zip(gates) {
            let known = |number| before.iter().position(|door| door.number == number);
            let door = match source {
                Source::Open(number) => {
                    let Some(at) = known(number) else { continue };
                    before.swap_remove(at).lead_to(*gate, spec)
                }
                Source::Bound(listener, socket) => {
                    let number = self.next;
                    self.next += 1;
                    opened.push(Accepting { listener: number, socket });
                    Door { number, gate: *gate, spec, listener }
                }
            };
            self.open.push(door);
        }
        let leading =
            self.open.iter().chain(&before).map(|door| (door.number, door.gate)).collect();
        let closed = before.into_iter().map(|door| (door.number, door.listener)).collect();
        Change { opened, closed, leading }
    }

    /// Whether clients still find all of them.
    pub(super) fn are_reachable(&self) -> bool {
        self.open.iter().all(|door| door.listener.is_reachable())
    }

    /// Closes all of them and removes their socket files.
    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }
}

impl Door {
    /// Whether it can serve as the listener that `spec` asks for.
    fn serves(&self, spec: &ListenerSpec) -> bool {
        let is_there = match (&self.spec.endpoint, &spec.endpoint) {
            (Endpoint::Tcp(mine), Endpoint::Tcp(wanted)) => mine == wanted,
            (Endpoint::Unix { path: mine, .. }, Endpoint::Unix { path: wanted, .. }) => {
                mine == wanted
            }
            _ => false,
        };
        is_there && self.listener.is_reachable()
    }

    /// The same listener for another pool or with other settings.
    fn lead_to(mut self, gate: u64, spec: ListenerSpec) -> Door {
        self.listener.adjust(&self.spec, &spec);
        self.gate = gate;
        self.spec = spec;
        self
    }
}

fn bind(spec: &ListenerSpec, index: usize, pool: &Pool) -> Result<Source, BindError> {
    let listener = Listener::bind(spec)?;
    let socket = listener.share(spec)?;
    let protocol = match pool.protocol {
        Protocol::Redis => "redis",
        Protocol::Memcached => "memcache",
    };
    log::info!(
        "p {} listening on '{}' in {protocol} pool {index} '{}' with {} servers",
        listener.socket.as_raw_fd(),
        pool.listen.text(),
        pool.name,
        pool.servers.len()
    );
    Ok(Source::Bound(listener, socket))
}

fn listener_spec(pool: &Pool) -> ListenerSpec {
    let endpoint = match &pool.listen {
        Listen::Tcp { resolved, .. } => Endpoint::Tcp(*resolved),
        Listen::Unix { path, mode, .. } => Endpoint::Unix { path: path.clone(), mode: *mode },
    };
    ListenerSpec {
        owner: Owner::Pool(pool.name.clone()),
        text: pool.listen.text().to_owned(),
        endpoint,
        backlog: pool.backlog,
        reuseport: pool.reuseport,
    }
}
