//! Publication: a topology takes the place of the one before, and nothing that is in flight is lost.
//!
//! ```text
//!   self.pools:  pools of the topology, in its order │ remnants: what earlier ones left behind, until it is done
//! ```
//!
//! A pool goes on as the one of the same name: its clients stay, and so does each connection to a server that is still
//! asked for. What is not asked for any more stays behind in a remnant, which is the pool as it was: connections there
//! get no new request, deliver what they owe and close; clients of a pool that is gone are answered and closed. Apart
//! from `pools` because nothing here happens while requests are served.

use std::sync::Arc;

use crate::actions::{Close, Event, Owner};
use crate::client::Ending;
use crate::counters::{CountedPool, Counts};
use crate::link::Break;
use crate::pipeline::NONE;
use crate::pools::{PoolState, ServerState};
use crate::topology::{Pool, Server, Topology};
use crate::{Engine, Now};

/// How long clients have, once the connections they waited for were cut, to read what that answered them.
const LAST_WORDS_US: u64 = 100_000;

/// What is left of a pool: an entry for each of `Engine::pools` behind those of the topology.
#[derive(Debug)]
pub(crate) struct Remnant {
    /// When it is cut.
    until: u64,
    /// The pool has no successor, so its clients are here.
    has_clients: bool,
}

/// What becomes of what belonged to a pool.
enum Fate {
    /// Nothing changes but the pool's index.
    Stays { pool: u32 },
    /// Another set of servers, or other settings.
    Changes {
        pool: u32,
        remnant: u32,
        /// The new index of each old server whose connections stay, [`NONE`] for others.
        servers: Vec<u32>,
        /// Connections to each server that stay.
        lanes: u32,
        /// Requests may go another way than before.
        reroutes: bool,
    },
    /// No pool continues it.
    Ends { remnant: u32 },
}

/// One topology following another.
struct Succession {
    /// By the old indices of pools.
    fates: Vec<Fate>,
    /// What stays behind of pools that change, in their order; indices begin behind the topology's pools.
    left: Vec<PoolState>,
    first_remnant: u32,
    /// Servers that have no connection from before: pool, server.
    fresh: Vec<(u32, u32)>,
}

impl Succession {
    fn of(old_pools: usize, topology: &Topology) -> Succession {
        Succession {
            fates: (0..old_pools).map(|_| Fate::Ends { remnant: NONE }).collect(),
            left: Vec::new(),
            first_remnant: topology.pools.len() as u32,
            fresh: Vec::new(),
        }
    }

    /// The state of `pool`, which continues `known`, an old pool and its index, if there is one.
    fn state_of(
        &mut self,
        pool: &Arc<Pool>,
        counts: &CountedPool,
        known: Option<(usize, PoolState)>,
        index: u32,
    ) -> PoolState {
        let servers = 0..pool.servers.len() as u32;
        let Some((at, mut state)) = known else {
            self.fresh.extend(servers.map(|server| (index, server)));
            return PoolState::new(pool, counts);
        };
        if state.pool == *pool {
            self.fates[at] = Fate::Stays { pool: index };
            state.pool = Arc::clone(pool);
            return state;
        }
        let (state, rest, stay) = state.change_to(pool, counts);
        self.fresh.extend(servers.filter(|s| !stay.contains(s)).map(|server| (index, server)));
        self.fates[at] = Fate::Changes {
            pool: index,
            remnant: self.first_remnant + self.left.len() as u32,
            servers: stay,
            lanes: state.lanes().min(rest.lanes()),
            reroutes: !rest.pool.routes_as(pool),
        };
        self.left.push(rest);
        state
    }
}

impl Engine {
    /// Begins to serve `topology`, counting into `counts`, which must have its shape and, where pools and servers stay,
    /// the cells in use. To be called at first, and again with every newer topology; events not taken before are lost.
    ///
    /// A client with requests under way is not served further until they are answered if requests of its pool may go
    /// another way now: they might overtake each other.
    pub fn publish(&mut self, topology: &Topology, counts: &Counts, now: Now) {
        self.events.clear();
        self.limits = topology.limits;
        self.counts = Arc::clone(&counts.worker);
        self.stop_probes(now);
        let Succession { fates, fresh, .. } = self.succeed(topology, counts, now);
        self.move_links(&fates);
        self.move_clients(&fates);
        for fate in &fates {
            if let Fate::Changes { pool, .. } = fate
                && self.pools[*pool as usize].is_any_ejected()
            {
                self.rebuild(*pool, now);
            }
        }
        for state in &self.pools[..self.published] {
            // Where other rules put every server back in its place.
            state.servers.iter().for_each(ServerState::count_standing);
        }
        for (pool, server) in fresh {
            self.preconnect(pool, server, now);
        }
        self.stir_streams();
        self.sweep_remnants(now);
    }

    /// Replaces the pools.
    fn succeed(&mut self, topology: &Topology, counts: &Counts, now: Now) -> Succession {
        let mut old: Vec<Option<PoolState>> =
            std::mem::take(&mut self.pools).into_iter().map(Some).collect();
        let mut succession = Succession::of(old.len(), topology);
        for (pool, counts) in topology.pools.iter().zip(&counts.pools) {
            let continues = |state: &Option<PoolState>| {
                state.as_ref().is_some_and(|state| state.pool.continues_as(pool))
            };
            let known = old[..self.published].iter().position(continues);
            let known = known.and_then(|at| Some((at, old[at].take()?)));
            self.pools.push(succession.state_of(pool, counts, known, self.pools.len() as u32));
        }
        let until = now.mono_us.saturating_add(self.limits.drain_us_max);
        let earlier = std::mem::take(&mut self.remnants);
        for state in std::mem::take(&mut succession.left) {
            self.pools.push(state);
            self.remnants.push(Remnant { until, has_clients: false });
        }
        for (at, state) in old.drain(..self.published).enumerate() {
            let Some(state) = state else { continue };
            succession.fates[at] = Fate::Ends { remnant: self.pools.len() as u32 };
            self.pools.push(state);
            self.remnants.push(Remnant { until, has_clients: true });
        }
        for (at, (state, remnant)) in old.into_iter().flatten().zip(earlier).enumerate() {
            let pool = self.pools.len() as u32;
            succession.fates[self.published + at] = Fate::Stays { pool };
            self.pools.push(state);
            self.remnants.push(remnant);
        }
        self.published = topology.pools.len();
        succession
    }

    /// Gives every server connection its new place.
    fn move_links(&mut self, fates: &[Fate]) {
        for (_, link) in &mut self.links {
            match &fates[link.pool as usize] {
                Fate::Stays { pool } | Fate::Ends { remnant: pool } => link.pool = *pool,
                Fate::Changes { pool, remnant, servers, lanes, .. } => {
                    match servers[link.server as usize] {
                        server
                            if server != NONE
                                && (link.lane < *lanes
                                    || link.is_detached
                                    || link.is_private()) =>
                        {
                            (link.pool, link.server) = (*pool, server);
                        }
                        _ => link.pool = *remnant,
                    }
                }
            }
        }
        for (slot, pool, server) in &mut self.actions.connect {
            if let Owner::Link(l) = self.slots.owner(*slot) {
                let link = &self.links[l as usize];
                (*pool, *server) = (link.pool, link.server);
            }
        }
    }

    /// Gives every client its new place; those of pools that are gone are answered and closed.
    fn move_clients(&mut self, fates: &[Fate]) {
        let (mut unsettled, mut ending) = (Vec::new(), Vec::new());
        for (c, client) in &mut self.clients {
            match &fates[client.pool as usize] {
                Fate::Stays { pool } => client.pool = *pool,
                Fate::Changes { pool, reroutes, .. } => {
                    client.pool = *pool;
                    if *reroutes {
                        unsettled.push(c as u32);
                    }
                }
                Fate::Ends { remnant } => {
                    client.pool = *remnant;
                    ending.push(c as u32);
                }
            }
        }
        for c in unsettled {
            self.settle_client(c);
        }
        for c in ending {
            self.stop_reading(c, Ending::ByClient);
        }
    }

    /// Whether `pool` is a remnant: nothing that happens there says anything of the topology's servers.
    pub(crate) fn is_remnant(&self, pool: u32) -> bool {
        pool as usize >= self.published
    }

    /// Closes what is done in the remnants and cuts what takes too long.
    pub(crate) fn sweep_remnants(&mut self, now: Now) {
        self.remnants_due = u64::MAX;
        for remnant in 0..self.remnants.len() {
            let pool = self.published + remnant;
            if self.remnants[remnant].until <= now.mono_us {
                self.cut(pool, now);
                self.remnants[remnant].until = now.mono_us.saturating_add(LAST_WORDS_US);
            } else {
                self.close_links(pool, now, |engine, l| engine.links[l as usize].is_done());
            }
            if !self.is_empty(pool) {
                self.remnants_due = self.remnants_due.min(self.remnants[remnant].until);
            }
        }
        // Events name their pools by index: they are to be taken first.
        while self.events.is_empty()
            && !self.remnants.is_empty()
            && self.is_empty(self.pools.len() - 1)
        {
            self.pools.pop();
            self.remnants.pop();
        }
    }

    fn is_empty(&self, pool: usize) -> bool {
        let state = &self.pools[pool];
        let has_clients = self.remnants[pool - self.published].has_clients;
        state.servers.iter().all(|server| server.open_links().next().is_none())
            && !(has_clients && state.counts.client_connections.value() > 0)
    }

    /// Ends the server connections of a remnant or, when there are none, its clients.
    fn cut(&mut self, pool: usize, now: Now) {
        if self.close_links(pool, now, |_, _| true) > 0 {
            return;
        }
        let of_pool = |(_, client): &(usize, &crate::client::Client)| client.pool as usize == pool;
        let clients: Vec<u32> =
            self.clients.iter().filter(of_pool).map(|(c, _)| c as u32).collect();
        for c in clients {
            self.actions.close.push((self.clients[c as usize].slot, Close::Linger));
            self.forget_client(c, Ending::ByFault);
        }
    }

    /// Closes the server connections of a remnant that `which` picks, and returns how many.
    fn close_links(&mut self, pool: usize, now: Now, which: fn(&Engine, u32) -> bool) -> usize {
        let servers = self.pools[pool].servers.iter();
        let open = servers.flat_map(ServerState::open_links);
        let closing: Vec<u32> = open.filter(|l| which(self, *l)).collect();
        for l in &closing {
            self.break_link(*l, Break::Retired, now);
        }
        closing.len()
    }

    /// The pool that an index in an action or an event names, until the next publication.
    pub fn pool(&self, pool: u32) -> Option<&Arc<Pool>> {
        self.pools.get(pool as usize).map(|state| &state.pool)
    }

    /// What [`Engine::heed`] does with an event of a worker that may serve another topology at this moment: there, the
    /// event's pool is `pool`. An event about a server that is not served here is ignored.
    pub fn heed_from(&mut self, pool: &Pool, event: &Event, now: Now) {
        let mut event = event.clone();
        let Some((of, at)) = event.server_mut() else { return };
        let Some(there) = pool.servers.get(*at as usize) else { return };
        let published = self.pools[..self.published].iter();
        let Some(p) = published.clone().position(|state| state.pool.continues_as(pool)) else {
            return;
        };
        let here = &self.pools[p].pool.servers;
        let Some(s) = here.iter().position(|server| server.is_at_the_place_of(there)) else {
            return;
        };
        (*of, *at) = (p as u32, s as u32);
        self.heed(&event, now);
    }
}

impl PoolState {
    /// This pool as `pool`, what stays behind of it, and the new index of each old server whose connections stay.
    fn change_to(
        mut self,
        pool: &Arc<Pool>,
        counts: &CountedPool,
    ) -> (PoolState, PoolState, Vec<u32>) {
        let mut next = if self.pool.places_as(pool) && !self.is_any_ejected() {
            // Building it anew takes milliseconds when there are hundreds of servers.
            PoolState::with_sharder(pool, counts, self.sharder.clone())
        } else {
            PoolState::new(pool, counts)
        };
        next.cross_shard_told = std::mem::take(&mut self.cross_shard_told);
        let mut servers = vec![NONE; self.servers.len()];
        let greets_alike = self.pool.greets_as(pool);
        for (new, state) in next.servers.iter_mut().enumerate() {
            let stays = |server: &Server| server.is_at_the_place_of(&pool.servers[new]);
            let Some(old) = self.pool.servers.iter().position(stays) else { continue };
            let known = &mut self.servers[old];
            if self.pool.ejection == pool.ejection {
                // Other rules begin with every server in its place.
                std::mem::swap(&mut state.health, &mut known.health);
            }
            state.answers_noreply = known.answers_noreply;
            if greets_alike {
                state.take_links(known);
                servers[old] = new as u32;
            }
        }
        (next, self, servers)
    }

    /// Connections to each server.
    fn lanes(&self) -> u32 {
        self.servers.first().map_or(0, |server| server.links.len() as u32)
    }
}

impl ServerState {
    /// Its connections, in a lane or not.
    fn open_links(&self) -> impl Iterator<Item = u32> {
        let beside = self.detached.iter().chain(&self.private);
        self.links.iter().chain(beside).copied().filter(|l| *l != NONE)
    }

    /// Takes over as many connections as there is room for, and those that are in no lane.
    fn take_links(&mut self, from: &mut ServerState) {
        self.detached = std::mem::take(&mut from.detached);
        self.private = std::mem::take(&mut from.private);
        for (to, from) in self.links.iter_mut().zip(&mut from.links) {
            *to = std::mem::replace(from, NONE);
        }
    }
}

impl Pool {
    /// Whether connections to its servers begin as those of `other` do.
    fn greets_as(&self, other: &Pool) -> bool {
        (&self.redis_auth, self.redis_db) == (&other.redis_auth, other.redis_db)
    }

    /// Whether every request goes where it would go in `other`, over the same connection.
    fn routes_as(&self, other: &Pool) -> bool {
        self.greets_as(other)
            && self.server_connections == other.server_connections
            && self.servers == other.servers
            && self.places_as(other)
    }

    /// Whether every key has the shard that it has in `other`.
    fn places_as(&self, other: &Pool) -> bool {
        (self.hash, self.hash_tag, self.distribution)
            == (other.hash, other.hash_tag, other.distribution)
            && self.servers.iter().map(Server::node).eq(other.servers.iter().map(Server::node))
    }
}

impl Server {
    /// Whether it is reached where `other` is, under the same name.
    fn is_at_the_place_of(&self, other: &Server) -> bool {
        self.name == other.name && self.address == other.address
    }
}
