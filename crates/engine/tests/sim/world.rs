//! One run: workers, clients and servers over one network in virtual time, from the first request until all is quiet,
//! and the final reckoning.

use std::collections::HashMap;
use std::sync::Arc;

use engine::counters::{CountedPool, ServerCounts};
use engine::topology::{Pool, Topology};
use engine::{Event, Identity};

use crate::client::SimClient;
use crate::network::Network;
use crate::random::Random;
use crate::reactor::{Defect, Worker};
use crate::scenario::{FACES, Scenario, address, pool};
use crate::server::SimServer;
use crate::truth::{Tally, Truth};

/// Rounds after which a run that does not come to rest is a failure.
const ROUNDS_MAX: u32 = 400_000;
/// Rounds in a row without progress of time that are taken for a busy loop.
const IDLE_ROUNDS_MAX: u32 = 10_000;

/// Everything there is.
pub(crate) struct World {
    parts: Vec<Part>,
    random: Random,
    network: Network,
    workers: Vec<Worker>,
    clients: Vec<SimClient>,
    /// The worker of each client.
    served_by: Vec<usize>,
    now: u64,
    drained: bool,
}

/// One pool.
struct Part {
    scenario: Scenario,
    servers: Vec<SimServer>,
    truth: Truth,
}

/// Runs the scenario of `seed`, with `defect` put in; tells what was wrong.
pub(crate) fn run(seed: u64, defect: Option<Defect>) -> Result<Tally, String> {
    let mut random = Random::new(seed);
    let scenarios = Scenario::all(seed, &mut random);
    let mut world = World::new(scenarios, random, defect);
    if seed.is_multiple_of(7) {
        // Few files, so that large values do not always get a connection of their own.
        world.workers.iter().for_each(|worker| worker.surroundings.set_files(seed / 7 % 4));
    }
    match world.live() {
        Ok(()) => Ok(world.tally()),
        Err(what) => {
            let scenarios: Vec<_> = world.parts.iter().map(|part| &part.scenario).collect();
            Err(format!("{what}\nat {} µs in {scenarios:#?}", world.now))
        }
    }
}

impl World {
    fn new(scenarios: Vec<Scenario>, mut random: Random, defect: Option<Defect>) -> World {
        let servers: Vec<_> = scenarios.iter().map(|one| one.pool.servers.len()).collect();
        let pools = scenarios.iter().map(|one| Arc::new(one.pool.clone())).collect();
        let first = &scenarios[0];
        let mut network = Network::new(&servers, first.room);
        let topology = Topology { epoch: 1, pools, limits: first.limits };
        let mut workers: Vec<_> = (0..first.workers)
            .map(|worker| {
                let identity = Identity { worker, workers: first.workers, seed: random.next() };
                Worker::new(identity, &topology, first.grain, &mut network)
            })
            .collect();
        workers[0].defect = defect;
        for (place, servers) in servers.iter().enumerate() {
            for (face, i) in (0..FACES).flat_map(|face| (0..*servers).map(move |i| (face, i))) {
                for worker in &mut workers {
                    worker.know(address(place, face, i), (place as u32, i as u32));
                }
            }
        }
        let mut clients = Vec::new();
        let mut served_by = Vec::new();
        for (pool, scenario) in (0..).zip(&scenarios) {
            for _ in 0..scenario.clients {
                let wire = network.connect();
                let worker = random.below(workers.len());
                workers[worker].accept(pool, wire);
                let number = clients.len() as u32;
                clients.push(SimClient::new(number, wire, pool, scenario, &mut random));
                served_by.push(worker);
            }
        }
        let part = |(pool, scenario): (u32, Scenario)| Part {
            servers: (0..scenario.pool.servers.len() as u32)
                .map(|index| SimServer::new(pool, index))
                .collect(),
            truth: Truth::new(&scenario),
            scenario,
        };
        World {
            parts: (0..).zip(scenarios).map(part).collect(),
            random,
            network,
            workers,
            clients,
            served_by,
            now: 1,
            drained: false,
        }
    }

    fn live(&mut self) -> Result<(), String> {
        self.run_until_quiet()?;
        self.heal();
        self.run_until_quiet()?;
        self.check_rest()?;
        for client in self.clients.iter_mut().filter(|client| !client.gone) {
            client.leave(&mut self.network);
        }
        self.run_until_quiet()?;
        self.check_end()
    }

    /// Lets everybody act until nobody has anything to do.
    fn run_until_quiet(&mut self) -> Result<(), String> {
        let mut idle = 0;
        for _ in 0..ROUNDS_MAX {
            let busy = self.round();
            let mut parts = self.parts.iter_mut();
            if let Some(violation) = parts.find_map(|part| part.truth.violation.take()) {
                return Err(violation);
            }
            if busy {
                idle = 0;
                self.now += self.random.below(200) as u64;
                continue;
            }
            match self.wake_at() {
                None => return Ok(()),
                Some(due) if due > self.now => {
                    self.now = due;
                    idle = 0;
                }
                Some(_) => idle += 1,
            }
            if idle > IDLE_ROUNDS_MAX {
                return Err("time stands still: a busy loop".into());
            }
        }
        Err("it never comes to rest".into())
    }

    /// Everybody acts, or not, in any order. Returns whether anybody had something to do.
    fn round(&mut self) -> bool {
        let mut busy = false;
        for client in &mut self.clients {
            let Part { scenario, truth, .. } = &mut self.parts[client.pool as usize];
            let ready = client.is_ready(&self.network, scenario, self.now);
            busy |= ready;
            if ready && self.random.chance(3, 4) {
                client.act(scenario, &mut self.network, truth, &mut self.random, self.now);
            }
        }
        for Part { scenario, servers, truth } in &mut self.parts {
            for server in servers {
                let ready = server.is_ready(&self.network, self.now) || self.network.has_arrivals();
                busy |= ready;
                if ready && self.random.chance(3, 4) {
                    server.act(scenario, &mut self.network, truth, &mut self.random, self.now);
                }
            }
        }
        for worker in &mut self.workers {
            let ready = worker.is_ready(&self.network, self.now);
            busy |= ready;
            if (ready && self.random.chance(3, 4)) || self.random.chance(1, 16) {
                worker.turn(&mut self.network, &mut self.random, self.now);
            }
        }
        self.exchange_events();
        if self.random.chance(self.parts[0].scenario.reloads, 1000) {
            self.reload();
            busy = true;
        }
        if self.parts[0].scenario.faults.drain && !self.drained && self.random.chance(1, 200) {
            self.drained = true;
            for worker in &mut self.workers {
                worker.drain(&mut self.network, self.now);
            }
            busy = true;
        }
        busy
    }

    /// One worker is given another topology; the others, if ever, later and another one. Another pool may come or go.
    fn reload(&mut self) {
        let mut pools: Vec<_> = (self.parts.iter().enumerate())
            .map(|(place, part)| Arc::new(part.scenario.variation(place, &mut self.random)))
            .collect();
        if self.random.chance(1, 2) {
            pools.insert(0, Arc::new(Pool { name: "a".into(), ..pool(1) }));
        }
        let topology = Topology { epoch: 1, pools, limits: self.parts[0].scenario.limits };
        let worker = self.random.below(self.workers.len());
        self.workers[worker].publish(&topology, &mut self.network, self.now);
        for part in &mut self.parts {
            part.servers.iter_mut().for_each(SimServer::note_topology);
        }
        self.parts[0].truth.note_event("a reload");
    }

    /// Workers tell each other what they learned about servers.
    fn exchange_events(&mut self) {
        for from in 0..self.workers.len() {
            for told in std::mem::take(&mut self.workers[from].outbox) {
                for to in (0..self.workers.len()).filter(|to| *to != from) {
                    self.workers[to].mail.push_back(told.clone());
                }
            }
        }
    }

    fn wake_at(&self) -> Option<u64> {
        let clients = self.clients.iter().filter_map(|client| client.wake_at(self.now));
        let servers =
            self.parts.iter().flat_map(|part| &part.servers).filter_map(SimServer::wake_at);
        let workers = self.workers.iter().filter_map(Worker::wake_at);
        clients.chain(servers).chain(workers).min()
    }

    /// The faults end; what would stay silent for ever breaks.
    fn heal(&mut self) {
        self.clients.iter_mut().for_each(|client| client.healed = true);
        for Part { servers, truth, .. } in &mut self.parts {
            servers.iter_mut().for_each(|server| server.heal(&mut self.network, truth));
        }
        for worker in &mut self.workers {
            worker.give_up_dials(self.now);
        }
    }

    /// Everybody who is still connected is at rest, and rest costs nothing.
    fn check_rest(&mut self) -> Result<(), String> {
        for (number, client) in self.clients.iter().enumerate().filter(|(_, client)| !client.gone) {
            if !client.expected.is_empty() {
                let owed = client.expected.len();
                let next = &client.expected[0];
                return Err(format!(
                    "client {number} still waits for {owed} replies, first {next:?}"
                ));
            }
            if client.half_closed {
                return Err(format!("client {number} has half closed and is not closed"));
            }
        }
        for (number, worker) in self.workers.iter().enumerate() {
            self.check_gauges(number).map_err(|what| format!("worker {number}: {what}"))?;
            for (place, part) in self.parts.iter().enumerate() {
                let counts = self.counted(worker, place);
                let ejected = counts.servers.iter().any(|server| server.ejected.value() > 0);
                if ejected && part.scenario.probes() && !self.drained {
                    return Err(format!("worker {number}: every server works and one is ejected"));
                }
            }
        }
        self.parts.iter_mut().try_for_each(|part| part.truth.check_silences())
    }

    /// Nobody is left.
    fn check_end(&self) -> Result<(), String> {
        for number in 0..self.workers.len() {
            let at_end = |what| format!("worker {number} at the end: {what}");
            self.check_gauges(number).map_err(at_end)?;
            for pool in 0..self.parts.len() {
                self.check_sums(number, pool).map_err(at_end)?;
            }
        }
        Ok(())
    }

    /// What happened, for the statistics of many runs.
    fn tally(self) -> Tally {
        let mut tally = Tally::new();
        for (kind, n) in self.parts.into_iter().flat_map(|part| part.truth.tally) {
            *tally.entry(kind).or_default() += n;
        }
        for event in self.workers.iter().flat_map(|worker| &worker.events) {
            let kind = match event {
                Event::Ejected { .. } => "an ejection",
                Event::Restored { .. } => "a restoration",
                Event::EjectionPrevented { .. } => "an ejection prevented",
                Event::StillDown { .. } => "a trial lost",
                Event::Readmitted { .. } => "a trial passed",
                Event::PasswordNotNeeded { .. } => "a needless password",
                Event::Malformed { .. } => "a malformed request",
                Event::IncompleteRequest { .. } => "an incomplete request",
                _ => continue,
            };
            *tally.entry(kind.into()).or_default() += 1;
        }
        tally
    }

    /// Every request of a server was answered or is accounted for.
    fn check_sums(&self, worker: usize, pool: usize) -> Result<(), String> {
        let mut lost: HashMap<u32, u64> = HashMap::new();
        let mut timed_out_links: HashMap<u32, u64> = HashMap::new();
        let mut timed_out: HashMap<u32, u64> = HashMap::new();
        let name = &self.parts[pool].scenario.pool.name;
        for loss in self.workers[worker].losses.iter().filter(|loss| loss.pool == *name) {
            *lost.entry(loss.server).or_default() += u64::from(loss.requests);
            *timed_out.entry(loss.server).or_default() += u64::from(loss.timed_out);
            if loss.text == engine::fault::TIMED_OUT {
                *timed_out_links.entry(loss.server).or_default() += 1;
            }
        }
        let faults = &self.parts[pool].scenario.faults;
        let was_cut = self.clients_of(worker, pool).any(|client| client.was_cut);
        // A request that flowed to a server was counted there although its client never finished it.
        let gave_up = was_cut || faults.malformed_clients > 0 || faults.drain;
        let vanished = faults.vanishing_clients > 0 || gave_up;
        let silences: u64 = self.clients_of(worker, pool).map(|client| client.silences).sum();
        let counted = self.counted(&self.workers[worker], pool);
        for (index, server) in counted.servers.iter().enumerate() {
            let of = |counts: &HashMap<u32, u64>| counts.get(&(index as u32)).copied().unwrap_or(0);
            let requests = server.requests.value();
            let ends = server.responses.value() + of(&lost) + server.server_timedout.value();
            if of(&timed_out) > server.server_timedout.value() {
                return Err(format!("server {index} of pool {pool}: timeouts that nobody counted"));
            }
            // A connect that times out counts once more, and what wants no reply is a request that has none.
            let (least, most) = (ends.saturating_sub(of(&timed_out_links)), ends + silences);
            if requests < least || (requests > most && !vanished) {
                return Err(format!(
                    "server {index} of pool {pool}: {requests} requests, {least}..={most} ends"
                ));
            }
        }
        Ok(())
    }

    /// The counts of a pool that has clients: another one may stand before these.
    fn counted<'w>(&self, worker: &'w Worker, pool: usize) -> &'w CountedPool {
        let pools = &worker.counts.pools;
        &pools[pools.len() - self.parts.len() + pool]
    }

    fn clients_of(&self, worker: usize, pool: usize) -> impl Iterator<Item = &SimClient> {
        let all = self.clients.iter().zip(&self.served_by);
        let own = all.filter(move |(client, by)| **by == worker && client.pool as usize == pool);
        own.map(|(client, _)| client)
    }

    /// Whether a worker at rest holds what it must and nothing else.
    fn check_gauges(&self, number: usize) -> Result<(), String> {
        let worker = &self.workers[number];
        let counts = &worker.counts;
        let established = worker.established() as u64;
        let sum = |of: fn(&ServerCounts) -> u64| {
            let servers = |pool: &CountedPool| pool.servers.iter().map(|s| of(s)).sum::<u64>();
            counts.pools.iter().map(servers).sum::<u64>()
        };
        let is = |what: &str, value: u64, wanted: u64| match value == wanted {
            true => Ok(()),
            false => Err(format!("{what} is {value}, not {wanted}")),
        };
        let mut clients = 0;
        for pool in 0..self.parts.len() {
            let counted = self.counted(worker, pool);
            let connected =
                self.clients_of(number, pool).filter(|client| !client.gone).count() as u64;
            is("client_connections", counted.client_connections.value(), connected)?;
            clients += connected;
        }
        is("clients()", worker.engine.clients() as u64, clients)?;
        is("clients", counts.clients.value(), clients)?;
        is("curr_connections", counts.curr_connections.value(), worker.connections() as u64)?;
        is("server_connections", sum(|server| server.server_connections.value()), established)?;
        is("in_queue", sum(|server| server.in_queue.value()), 0)?;
        is("in_queue_bytes", sum(|server| server.in_queue_bytes.value()), 0)?;
        is("out_queue", sum(|server| server.out_queue.value()), 0)?;
        is("out_queue_bytes", sum(|server| server.out_queue_bytes.value()), 0)?;
        is("files lent", worker.surroundings.lent(), 0)?;
        is("connections()", worker.engine.connections() as u64, worker.connections() as u64)?;
        is("requests()", worker.engine.requests() as u64, 0)?;
        is("buffered_bytes()", worker.engine.buffered_bytes() as u64, 0)
    }
}
