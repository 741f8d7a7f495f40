//! A pool at run time: its table of live servers, their health and their connections.

use std::sync::Arc;

use sharding::Sharder;

use crate::actions::Event;
use crate::counters::{CountedPool, PoolCounts, ServerCounts};
use crate::health::{Failure, Health};
use crate::pipeline::NONE;
use crate::topology::{Ejection, Pool, Server};
use crate::{Engine, Now};

/// One pool as one worker sees it.
#[derive(Debug)]
pub(crate) struct PoolState {
    pub(crate) pool: Arc<Pool>,
    pub(crate) counts: Arc<PoolCounts>,
    pub(crate) sharder: Sharder,
    pub(crate) servers: Vec<ServerState>,
    pub(crate) timeout_us: Option<u64>,
    /// When the first ejected server may return.
    next_rebuild: Option<u64>,
    /// No server was live at the last rebuild.
    is_dead: bool,
    /// Commands already warned about.
    pub(crate) cross_shard_told: Vec<&'static str>,
}

/// One server as one worker sees it.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub(crate) counts: Arc<ServerCounts>,
    pub(crate) health: Health,
    /// `server_connections` lanes: the connection of each, [`NONE`] while it has none.
    pub(crate) links: Box<[u32]>,
    /// Private connections beside them.
    pub(crate) private: Vec<u32>,
    /// Connections that have left their lanes, until they have answered what they were asked.
    pub(crate) detached: Vec<u32>,
    /// It was seen to answer a request that wanted no reply.
    pub(crate) answers_noreply: bool,
}

impl PoolState {
    pub(crate) fn new(pool: &Arc<Pool>, counts: &CountedPool) -> PoolState {
        let nodes: Vec<_> = pool.servers.iter().map(Server::node).collect();
        let sharder = Sharder::new(pool.hash, pool.hash_tag, pool.distribution, &nodes);
        PoolState::with_sharder(pool, counts, sharder)
    }

    /// As [`PoolState::new`], where the ring is known.
    pub(crate) fn with_sharder(
        pool: &Arc<Pool>,
        counts: &CountedPool,
        sharder: Sharder,
    ) -> PoolState {
        let lanes = pool.server_connections.max(1) as usize;
        let server = |counts: &Arc<ServerCounts>| ServerState {
            counts: Arc::clone(counts),
            health: Health::default(),
            links: vec![NONE; lanes].into(),
            private: Vec::new(),
            detached: Vec::new(),
            answers_noreply: false,
        };
        PoolState {
            pool: Arc::clone(pool),
            counts: Arc::clone(&counts.pool),
            sharder,
            servers: counts.servers.iter().map(server).collect(),
            timeout_us: pool.timeout.map(|timeout| timeout.as_micros() as u64),
            next_rebuild: None,
            is_dead: false,
            cross_shard_told: Vec::new(),
        }
    }

    /// Whether the keys of an ejected server go to the others.
    fn rehashes(&self) -> bool {
        self.pool.ejection.is_none_or(|ejection| !ejection.keeps_keys())
    }

    /// Whether no more of the servers than allowed are ejected when `server` is, too.
    fn may_eject(&self, server: u32, ejection: &Ejection) -> bool {
        let others = (0..).zip(&self.servers).filter(|(other, _)| *other != server);
        let ejected = 1 + others.filter(|(_, other)| other.health.is_ejected()).count();
        ejected * 100 <= self.servers.len() * usize::from(ejection.max_ejected_percent)
    }

    /// Whether any of its servers is out of the ring.
    pub(crate) fn is_any_ejected(&self) -> bool {
        self.servers.iter().any(|server| server.health.is_ejected())
    }

    /// When what is asked now has to be answered, µs; `u64::MAX` without a timeout.
    #[inline]
    pub(crate) fn due_by(&self, now: Now) -> u64 {
        self.timeout_us.map_or(u64::MAX, |timeout_us| now.mono_us + timeout_us)
    }

    /// Whether requests may be sent without a look at the table of live servers.
    #[inline]
    pub(crate) fn is_settled(&self, now: Now) -> bool {
        !self.is_dead && self.next_rebuild.is_none_or(|at| now.mono_us <= at)
    }

    /// Whether a key decides which server a request goes to.
    pub(crate) fn is_hashed(&self) -> bool {
        self.servers.len() > 1 && self.pool.distribution != sharding::Distribution::Random
    }
}

impl ServerState {
    /// The connection of the clients with this affinity, if there is one and the server is live and has no other that
    /// they might have to use.
    #[inline]
    pub(crate) fn usual_link(&self, affinity: u32) -> Option<u32> {
        let l = self.links[self.lane_of(affinity)];
        (l != NONE && self.detached.is_empty() && !self.health.is_ejected()).then_some(l)
    }

    /// The lane of the clients with this affinity.
    #[inline]
    pub(crate) fn lane_of(&self, affinity: u32) -> usize {
        match self.links.len() {
            1 => 0,
            lanes => affinity as usize % lanes,
        }
    }

    /// Brings the gauge of its standing up to date, and counts its return.
    pub(crate) fn count_standing(&self) {
        let ejected = u64::from(self.health.is_ejected());
        if self.counts.ejected.value() > ejected {
            self.counts.restores.add(1);
        }
        self.counts.ejected.set(ejected);
    }
}

impl Engine {
    /// Opens one connection to a server if its pool asks for that, as 0.5 does when it starts.
    pub(crate) fn preconnect(&mut self, pool: u32, server: u32, now: Now) {
        let state = &self.pools[pool as usize];
        if state.pool.preconnect && state.servers[server as usize].health.retry_at().is_none() {
            self.open_link(pool, server, 0, now);
        }
    }

    /// Returns ejected servers whose time has come, then tells whether the pool has any server.
    pub(crate) fn is_any_server_live(&mut self, pool: u32, now: Now) -> bool {
        if self.pools[pool as usize].next_rebuild.is_some_and(|at| now.mono_us > at) {
            self.rebuild(pool, now);
        }
        !self.pools[pool as usize].is_dead
    }

    /// Builds the table of live servers anew, unless keys stay where they are. When none is live the old table stays and
    /// requests are refused.
    pub(crate) fn rebuild(&mut self, pool: u32, now: Now) {
        let state = &mut self.pools[pool as usize];
        if !state.rehashes() {
            return;
        }
        let ejected = |servers: &[ServerState]| {
            servers.iter().filter(|server| server.health.is_ejected()).count()
        };
        let before = ejected(&state.servers);
        let by_time = state.pool.ejection.is_none_or(|ejection| ejection.returns_by_time());
        let is_live = |server: &mut ServerState| match by_time {
            true => server.health.restore_if_due(now.mono_us),
            false => !server.health.is_ejected(),
        };
        let live: Vec<bool> = state.servers.iter_mut().map(is_live).collect();
        state.is_dead = !live.contains(&true);
        if !state.is_dead {
            state.sharder.rebuild(&live);
        }
        let due = state.servers.iter().filter_map(|server| server.health.retry_at());
        state.next_rebuild = if by_time { due.min() } else { None };
        let restored = before.saturating_sub(ejected(&state.servers)) as u32;
        state.servers.iter().for_each(ServerState::count_standing);
        if restored > 0 {
            self.events.push(Event::Restored { pool, servers: restored });
        }
    }

    /// Counts a failure of a server and ejects it when it is one too many.
    pub(crate) fn note_failure(&mut self, pool: u32, server: u32, failure: Failure, now: Now) {
        if self.is_remnant(pool) {
            return;
        }
        self.last_event += 1;
        let state = &mut self.pools[pool as usize];
        let health = &mut state.servers[server as usize].health;
        if !health.note(failure, now.mono_us, self.last_event) {
            return;
        }
        let Some(ejection) = state.pool.ejection else { return };
        if health.is_ejected() && !ejection.returns_by_time() {
            return self.fail_trial(pool, server, failure.reason(), now);
        }
        let is_over = health.is_over(&ejection);
        if !is_over || !state.may_eject(server, &ejection) {
            let since = failure.since(now.mono_us);
            self.events.push(Event::Failed { pool, server, since });
            let health = &mut state.servers[server as usize].health;
            if is_over && !std::mem::replace(&mut health.is_ejection_prevented, true) {
                state.counts.ejects_prevented.add(1);
                self.events.push(Event::EjectionPrevented { pool, server });
            }
            return;
        }
        let retry_at = now.mono_us + self.retry_pause(&ejection);
        let state = &self.pools[pool as usize];
        let (ejected, known) =
            (&state.servers[server as usize], &state.pool.servers[server as usize]);
        let heard_of = ejected.health.known_retry_at;
        if self.environment.is_first_ejection(&state.pool, known, heard_of, retry_at) {
            state.counts.server_ejects.add(1);
        }
        ejected.counts.server_ejected_at.set(now.wall_us);
        self.events.push(Event::Ejected { pool, server, retry_at });
        self.eject(pool, server, retry_at, now);
    }

    fn eject(&mut self, pool: u32, server: u32, retry_at: u64, now: Now) {
        let state = &mut self.pools[pool as usize];
        let health = &mut state.servers[server as usize].health;
        health.known_retry_at = health.known_retry_at.max(retry_at);
        health.eject_until(retry_at);
        state.servers[server as usize].count_standing();
        if state.pool.ejection.is_some_and(|ejection| ejection.probe) {
            self.probe_at = self.probe_at.min(retry_at);
        }
        self.rebuild(pool, now);
    }

    /// Another worker told of an event that [concerns its siblings](Event::concerns_siblings); others are ignored.
    pub fn heed(&mut self, event: &Event, now: Now) {
        match *event {
            Event::Failed { pool, server, since } => {
                self.last_event += 1;
                let event = self.last_event;
                if let Some(health) = self.health_of(pool, server) {
                    health.note_elsewhere(since, now.mono_us, event);
                }
            }
            Event::Replied { pool, server } => {
                if let Some(health) = self.health_of(pool, server) {
                    health.note_reply();
                }
            }
            Event::Ejected { pool, server, retry_at } => {
                self.last_event += 1;
                let event = self.last_event;
                let Some(health) = self.health_of(pool, server) else { return };
                health.known_retry_at = health.known_retry_at.max(retry_at);
                let own = health.retry_at();
                // Where servers return by time, one that is out here has failed again over there, before a request made
                // this worker see that its time had come.
                if own.is_none() || self.returns_by_time(pool) {
                    let retry_at = self.own_retry_at(pool, retry_at, now).max(own.unwrap_or(0));
                    self.pools[pool as usize].servers[server as usize]
                        .health
                        .note_outage(now.mono_us, event);
                    self.eject(pool, server, retry_at, now);
                }
            }
            Event::Trial { pool, server, until } => {
                if let Some(health) = self.health_of(pool, server) {
                    health.postpone_trial(until);
                }
            }
            Event::Readmitted { pool, server } => self.heed_readmission(pool, server, now),
            _ => {}
        }
    }

    fn returns_by_time(&self, pool: u32) -> bool {
        self.pools[pool as usize].pool.ejection.is_some_and(|ejection| ejection.returns_by_time())
    }

    pub(crate) fn health_of(&mut self, pool: u32, server: u32) -> Option<&mut Health> {
        let server = self.pools.get_mut(pool as usize)?.servers.get_mut(server as usize)?;
        Some(&mut server.health)
    }
}
