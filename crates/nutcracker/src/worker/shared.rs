//! What the workers of a process share: who serves how many clients, and the gates of the pools. Touched when a client
//! comes or goes, never by a request.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};

use engine::Event;
use engine::topology::{Pool, Protocol, Server};
use reactor::Mailbox;

use super::{Addresses, Ejections, Message};
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard};

/// Hosts remembered to speak memcached's binary protocol; further ones are not logged.
const BINARY_HOSTS_MAX: usize = 1024;

/// What a pool does with new clients.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// Clients of the pool at once, 0 for any number.
    pub clients_max: u64,
    /// Clients of one address at once, 0 for any number.
    pub clients_per_address_max: u32,
    /// `SO_KEEPALIVE` on client sockets.
    pub keepalive: bool,
    /// Whether every client is announced by a PROXY header.
    pub proxy_protocol: bool,
    /// Decides the wording of refusals.
    pub protocol: Protocol,
}

#[cfg(test)]
impl Admission {
    /// That of a plain pool which lets in so many clients, 0 for any number.
    pub(super) fn up_to(clients_max: u64, clients_per_address_max: u32) -> Admission {
        Admission {
            clients_max,
            clients_per_address_max,
            keepalive: false,
            proxy_protocol: false,
            protocol: Protocol::Redis,
        }
    }
}

/// A pool as those who accept its clients know it, whatever its index in the topology of the moment.
#[derive(Debug)]
pub struct Gate {
    /// Never that of another pool, not even of a later one with the same name.
    number: u64,
    admission: Admission,
    clients: Arc<AtomicU64>,
    addresses: Arc<Addresses>,
    /// A client was refused for `max_clients` since one left.
    refused: Arc<AtomicBool>,
}

impl Gate {
    /// For a new pool; no other gate may have or get `number`.
    #[must_use]
    pub fn new(number: u64, admission: Admission) -> Arc<Gate> {
        let addresses = Addresses::new(admission.clients_per_address_max);
        let refused = Arc::new(AtomicBool::new(false));
        Arc::new(Gate { number, admission, clients: Arc::default(), addresses, refused })
    }

    /// The same pool with other settings; its clients are counted together.
    #[must_use]
    pub fn with(&self, admission: Admission) -> Arc<Gate> {
        self.addresses.set_max(admission.clients_per_address_max);
        let (clients, addresses) = (Arc::clone(&self.clients), Arc::clone(&self.addresses));
        let refused = Arc::clone(&self.refused);
        Arc::new(Gate { number: self.number, admission, clients, addresses, refused })
    }

    /// Which pool it is.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The clients of the pool by address.
    pub(super) fn addresses(&self) -> &Arc<Addresses> {
        &self.addresses
    }
}

/// What the workers of a process share.
#[derive(Debug)]
pub struct Shared {
    /// One for each worker; set once all exist.
    mailboxes: OnceLock<Vec<Mailbox<Message>>>,
    /// Clients that each worker serves or is about to. They become more only under the lock of `present`.
    clients: Vec<AtomicU64>,
    /// Which workers take new clients: all that have not ended.
    present: Mutex<Vec<bool>>,
    /// Clients of the process at once: what open files allow.
    clients_max: AtomicU64,
    /// Of these, how many are lent to connections to servers that were not planned with. They become more only under the
    /// lock of `present`.
    lent: AtomicU64,
    /// A client was refused for want of files since one left.
    refused: AtomicBool,
    /// Hosts whose clients were told of in the log to speak memcached's binary protocol.
    binary: Mutex<HashSet<Option<IpAddr>>>,
    ejections: Ejections,
}

impl Shared {
    /// For `workers` workers.
    #[must_use]
    pub fn new(workers: usize, clients_max: u64) -> Arc<Shared> {
        Arc::new(Shared {
            mailboxes: OnceLock::new(),
            clients: std::iter::repeat_with(AtomicU64::default).take(workers).collect(),
            present: Mutex::new(vec![true; workers]),
            clients_max: AtomicU64::new(clients_max),
            lent: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            binary: Mutex::default(),
            ejections: Ejections::default(),
        })
    }

    /// Changes how many clients fit.
    pub fn limit_clients(&self, clients_max: u64) {
        self.clients_max.store(clients_max, Ordering::Relaxed);
    }

    /// Whether an event has to be logged: all but the binary protocol from a host known for it, which tries again and
    /// again.
    pub(super) fn is_news(&self, event: &Event) -> bool {
        let Event::BinaryProtocol { peer, .. } = event else { return true };
        let Ok(mut hosts) = self.binary.lock() else { return true };
        hosts.len() < BINARY_HOSTS_MAX && hosts.insert(peer.map(|peer| peer.ip()))
    }

    /// [`engine::Environment::is_first_ejection`] for all workers.
    #[must_use]
    pub fn is_first_ejection(&self, of: &Pool, server: &Server, known: u64, retry_at: u64) -> bool {
        self.ejections.is_first(&of.name, &server.name, known, retry_at)
    }

    /// Other rules may apply from now on: every server begins in its place.
    pub fn forget_ejections(&self) {
        self.ejections.forget();
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> usize {
        self.clients.len()
    }

    /// Makes the workers known to each other.
    pub(super) fn introduce(&self, mailboxes: Vec<Mailbox<Message>>) {
        let _ = self.mailboxes.set(mailboxes);
    }

    /// The mailbox of a worker; none before all are introduced.
    pub(super) fn mailbox(&self, worker: usize) -> Option<&Mailbox<Message>> {
        self.mailboxes.get()?.get(worker)
    }

    /// [`engine::Environment::lend_file`] for all workers.
    #[must_use]
    pub fn lend_file(&self) -> bool {
        // Those who ask again and again while there is none need no lock for it.
        if self.is_full() {
            return false;
        }
        let _present = self.present();
        let is_free = !self.is_full();
        self.lent.fetch_add(u64::from(is_free), Ordering::Relaxed);
        is_free
    }

    /// [`engine::Environment::return_file`] for all workers.
    pub fn return_file(&self) {
        self.lent.fetch_sub(1, Ordering::Relaxed);
        self.refused.store(false, Ordering::Relaxed);
    }

    /// Clients connected, or about to be.
    fn clients(&self) -> u64 {
        (0..self.clients.len()).map(|worker| self.clients_of(worker)).sum()
    }

    /// Whether clients, and what was lent of theirs, have all the files there are for them.
    fn is_full(&self) -> bool {
        let taken = self.clients() + self.lent.load(Ordering::Relaxed);
        taken >= self.clients_max.load(Ordering::Relaxed)
    }

    /// Clients that worker `worker` serves.
    #[must_use]
    pub fn clients_of(&self, worker: usize) -> u64 {
        self.clients[worker].load(Ordering::Relaxed)
    }

    /// The worker to serve one more client that came through `gate`, if it fits: the one with the fewest, `me` among
    /// equals. The client is counted there, and the worker does not end before it was handed over and is gone.
    pub(super) fn admit(&self, gate: &Gate, me: usize) -> Option<usize> {
        // Two that accept at the same time must neither take the same last place nor mistake each other's choice.
        let present = self.present();
        let pool_max = gate.admission.clients_max;
        let fits =
            !self.is_full() && (pool_max == 0 || gate.clients.load(Ordering::Relaxed) < pool_max);
        if fits {
            let load = |worker: &usize| (self.clients_of(*worker), *worker != me);
            let workers = (0..self.clients.len()).filter(|worker| present[*worker]);
            let worker = workers.min_by_key(load).unwrap_or(me);
            gate.clients.fetch_add(1, Ordering::Relaxed);
            self.clients[worker].fetch_add(1, Ordering::Relaxed);
            return Some(worker);
        }
        None
    }

    /// Tells in the log, once until a client leaves, which limit refused a client of `pool`.
    pub(super) fn tell_refusal(&self, gate: &Gate, pool: &str) {
        let by_files = self.is_full();
        let told = if by_files { &self.refused } else { &gate.refused };
        if told.swap(true, Ordering::Relaxed) {
            return;
        }
        if by_files {
            let clients = self.clients();
            log::warn!(
                "max number of clients reached ({clients} connected, as many as open files allow), refusing new ones; \
                 raise the limit (ulimit -n, LimitNOFILE)"
            );
        } else {
            let clients = gate.clients.load(Ordering::Relaxed);
            log::warn!(
                "max number of clients reached in pool '{pool}' ({clients} connected, as many as 'max_clients' allows), \
                 refusing new ones"
            );
        }
    }

    /// Whether worker `worker` may end because it serves nobody and nobody is on the way to it. From then on none is sent.
    pub(super) fn leave(&self, worker: usize) -> bool {
        let mut present = self.present();
        let is_free = self.clients_of(worker) == 0;
        present[worker] &= !is_free;
        is_free
    }

    /// Worker `worker` has ended, whoever was on the way to it.
    pub(super) fn end(&self, worker: usize) {
        self.present()[worker] = false;
    }

    /// A worker that panicked in here left it in order: each change is a single one.
    fn present(&self) -> MutexGuard<'_, Vec<bool>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `n` clients that came through `gate` left worker `worker`.
    pub(super) fn dismiss(&self, gate: &Gate, worker: usize, n: u64) {
        gate.clients.fetch_sub(n, Ordering::Relaxed);
        self.clients[worker].fetch_sub(n, Ordering::Relaxed);
        gate.refused.store(false, Ordering::Relaxed);
        self.refused.store(false, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn clients_and_files_that_were_lent_share_what_there_is_for_clients() {
        let gate = Gate::new(1, Admission::up_to(0, 0));
        let shared = Shared::new(2, 3);
        assert!(shared.lend_file());
        let workers = [shared.admit(&gate, 0), shared.admit(&gate, 0)];
        assert_eq!(workers, [Some(0), Some(1)]);
        assert_eq!(shared.admit(&gate, 0), None, "the third file is lent");
        assert!(!shared.lend_file());
        shared.return_file();
        assert_eq!(shared.admit(&gate, 1), Some(1));
        assert!(!shared.lend_file());
        shared.dismiss(&gate, 1, 1);
        assert!(shared.lend_file());
    }
}
