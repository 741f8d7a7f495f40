//! One run: workers, clients and servers over one network in virtual time, from the first request until all is quiet,
//! and the final reckoning.

use std::collections::HashMap;

use engine::counters::{CountedPool, ServerCounts};
use engine::{Event, Identity};

use crate::client::SimClient;
use crate::network::Network;
use crate::random::Random;
use crate::reactor::{Defect, Worker};
use crate::scenario::{FACES, Scenario, address};
use crate::server::SimServer;
use crate::truth::{Tally, Truth};

/// Rounds after which a run that does not come to rest is a failure.
const ROUNDS_MAX: u32 = 400_000;
/// Rounds in a row without progress of time that are taken for a busy loop.
const IDLE_ROUNDS_MAX: u32 = 10_000;

/// Everything there is.
pub(crate) struct World {
    scenario: Scenario,
    random: Random,
    network: Network,
    workers: Vec<Worker>,
    clients: Vec<SimClient>,
    /// The worker of each client.
    served_by: Vec<usize>,
    servers: Vec<SimServer>,
    truth: Truth,
    now: u64,
    drained: bool,
}

/// Runs the scenario of `seed`, with `defect` put in; tells what was wrong.
pub(crate) fn run(seed: u64, defect: Option<Defect>) -> Result<Tally, String> {
    let mut random = Random::new(seed);
    let scenario = Scenario::draw(&mut random);
    run_scenario(scenario, random, defect)
}

/// Runs `scenario`.
pub(crate) fn run_scenario(
    scenario: Scenario,
    random: Random,
    defect: Option<Defect>,
) -> Result<Tally, String> {
    let mut world = World::new(scenario, random, defect);
    match world.live() {
        Ok(()) => Ok(world.tally()),
        Err(what) => Err(format!("{what}\nat {} µs in {:#?}", world.now, world.scenario)),
    }
}

impl World {
    fn new(scenario: Scenario, mut random: Random, defect: Option<Defect>) -> World {
        let servers = scenario.pool.servers.len();
        let mut network = Network::new(&[servers], scenario.room);
        let topology = scenario.topology();
        let mut workers: Vec<_> = (0..scenario.workers)
            .map(|worker| {
                let identity = Identity { worker, workers: scenario.workers, seed: random.next() };
                Worker::new(identity, &topology, scenario.grain, &mut network)
            })
            .collect();
        workers[0].defect = defect;
        for worker in &mut workers {
            for (face, i) in (0..FACES).flat_map(|face| (0..servers).map(move |i| (face, i))) {
                worker.know(address(face, i), i as u32);
            }
        }
        let mut clients = Vec::new();
        let mut served_by = Vec::new();
        for number in 0..scenario.clients {
            let wire = network.connect();
            let worker = random.below(workers.len());
            workers[worker].accept(0, wire);
            clients.push(SimClient::new(number, wire, &scenario, &mut random));
            served_by.push(worker);
        }
        World {
            truth: Truth::new(&scenario),
            servers: (0..servers).map(|index| SimServer::new(index as u32)).collect(),
            scenario,
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
            if let Some(violation) = self.truth.violation.take() {
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
            let ready = client.is_ready(&self.network, &self.scenario, self.now);
            busy |= ready;
            if ready && self.random.chance(3, 4) {
                let (truth, random) = (&mut self.truth, &mut self.random);
                client.act(&self.scenario, &mut self.network, truth, random, self.now);
            }
        }
        for server in &mut self.servers {
            let ready = server.is_ready(&self.network, self.now) || self.network.has_arrivals();
            busy |= ready;
            if ready && self.random.chance(3, 4) {
                let (truth, random) = (&mut self.truth, &mut self.random);
                server.act(&self.scenario, &mut self.network, truth, random, self.now);
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
        if self.random.chance(self.scenario.reloads, 1000) {
            self.reload();
            busy = true;
        }
        if self.scenario.faults.drain && !self.drained && self.random.chance(1, 200) {
            self.drained = true;
            for worker in &mut self.workers {
                worker.drain(&mut self.network, self.now);
            }
            busy = true;
        }
        busy
    }

    /// One worker is given another topology; the others, if ever, later and another one.
    fn reload(&mut self) {
        let topology = self.scenario.variation(&mut self.random);
        let worker = self.random.below(self.workers.len());
        self.workers[worker].publish(&topology, &mut self.network, self.now);
        self.servers.iter_mut().for_each(SimServer::note_topology);
        *self.truth.tally.entry("a reload".into()).or_default() += 1;
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
        let servers = self.servers.iter().filter_map(SimServer::wake_at);
        let workers = self.workers.iter().filter_map(Worker::wake_at);
        clients.chain(servers).chain(workers).min()
    }

    /// The faults end; what would stay silent for ever breaks.
    fn heal(&mut self) {
        self.clients.iter_mut().for_each(|client| client.healed = true);
        for server in &mut self.servers {
            server.heal(&mut self.network, &mut self.truth);
        }
        for worker in &mut self.workers {
            worker.give_up_dials(self.now);
        }
    }

    /// Everybody who is still connected is at rest, and rest costs nothing.
    fn check_rest(&self) -> Result<(), String> {
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
            let connected = |(client, by): &(&SimClient, &usize)| !client.gone && **by == number;
            let clients = self.clients.iter().zip(&self.served_by).filter(connected).count();
            check_gauges(worker, clients).map_err(|what| format!("worker {number}: {what}"))?;
            let ejected = worker.counts.pools[0].servers.iter().any(|s| s.ejected.value() > 0);
            if ejected && self.scenario.probes() && !self.drained {
                return Err(format!("worker {number}: every server works and one is ejected"));
            }
        }
        Ok(())
    }

    /// Nobody is left.
    fn check_end(&self) -> Result<(), String> {
        for (number, worker) in self.workers.iter().enumerate() {
            check_gauges(worker, 0)
                .map_err(|what| format!("worker {number} at the end: {what}"))?;
            self.check_sums(worker)
                .map_err(|what| format!("worker {number} at the end: {what}"))?;
        }
        Ok(())
    }

    /// What happened, for the statistics of many runs.
    fn tally(mut self) -> Tally {
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
            *self.truth.tally.entry(kind.into()).or_default() += 1;
        }
        self.truth.tally
    }

    /// Every request of a server was answered or is accounted for.
    fn check_sums(&self, worker: &Worker) -> Result<(), String> {
        let mut lost: HashMap<u32, u64> = HashMap::new();
        let mut timed_out_links: HashMap<u32, u64> = HashMap::new();
        for event in &worker.events {
            if let Event::LinkBroken { server, text, requests, .. } = event {
                *lost.entry(*server).or_default() += u64::from(*requests);
                if *text == engine::fault::TIMED_OUT {
                    *timed_out_links.entry(*server).or_default() += 1;
                }
            }
        }
        let vanished = self.scenario.faults.vanishing_clients > 0;
        for (index, server) in counted(worker).servers.iter().enumerate() {
            let of = |counts: &HashMap<u32, u64>| counts.get(&(index as u32)).copied().unwrap_or(0);
            let requests = server.requests.value();
            let most = server.responses.value() + of(&lost) + server.server_timedout.value();
            // A connect that times out counts once more.
            let least = most.saturating_sub(of(&timed_out_links));
            if requests < least || (requests > most && !vanished) {
                return Err(format!("server {index}: {requests} requests, {least}..={most} ends"));
            }
        }
        Ok(())
    }
}

/// The counts of the pool that has the clients: another one may stand before it.
fn counted(worker: &Worker) -> &CountedPool {
    worker.counts.pools.last().expect("a pool")
}

/// Whether a worker at rest with `clients` connected clients holds what it must and nothing else.
fn check_gauges(worker: &Worker, clients: usize) -> Result<(), String> {
    let counts = &worker.counts;
    let established = worker.established() as u64;
    let sum = |of: fn(&ServerCounts) -> u64| {
        counted(worker).servers.iter().map(|server| of(server)).sum::<u64>()
    };
    let is = |what: &str, value: u64, wanted: u64| match value == wanted {
        true => Ok(()),
        false => Err(format!("{what} is {value}, not {wanted}")),
    };
    is("clients()", worker.engine.clients() as u64, clients as u64)?;
    is("clients", counts.clients.value(), clients as u64)?;
    is("client_connections", counted(worker).client_connections.value(), clients as u64)?;
    is("curr_connections", counts.curr_connections.value(), worker.connections() as u64)?;
    is("server_connections", sum(|server| server.server_connections.value()), established)?;
    is("in_queue", sum(|server| server.in_queue.value()), 0)?;
    is("in_queue_bytes", sum(|server| server.in_queue_bytes.value()), 0)?;
    is("out_queue", sum(|server| server.out_queue.value()), 0)?;
    is("out_queue_bytes", sum(|server| server.out_queue_bytes.value()), 0)?;
    is("buffered_bytes()", worker.engine.buffered_bytes() as u64, 0)
}
