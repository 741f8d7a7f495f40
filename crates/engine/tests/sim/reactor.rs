//! The reactor of a simulated worker: drives an engine over the simulated network exactly as the real one does over
//! sockets, in the same phases, with reads and writes cut at random.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::counters::Counts;
use engine::topology::{Address, Pool, Topology};
use engine::{Engine, Environment, Event, Flow, Identity, Now, Slot};

use crate::network::{BROKEN_PIPE, Dial, Network, RESET, WireId};
use crate::random::Random;

/// Wall clock at the beginning of virtual time, µs.
const EPOCH_US: u64 = 1_700_000_000_000_000;

/// Open files to lend where a test does not want few.
const FILES: u64 = 1 << 20;

/// A defect put between engine and network on purpose, to see whether the oracle notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// What one client should get goes to another.
    CrossClients,
    /// Something is written to a client twice.
    RepeatWrite,
    /// Something is never written to a client.
    LoseWrite,
    /// A byte on its way to a server changes.
    CorruptRequest,
    /// Something is never written to a server.
    LoseRequest,
    /// Something is written to a server twice.
    RepeatRequest,
}

impl Defect {
    /// Whether it concerns what is written to clients.
    fn is_towards_clients(self) -> bool {
        matches!(self, Defect::CrossClients | Defect::RepeatWrite | Defect::LoseWrite)
    }
}

/// Cuts of reads and writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grain {
    pub(crate) read_max: usize,
    pub(crate) write_max: usize,
    /// Reads of one connection in one turn.
    pub(crate) reads_max: usize,
}

#[derive(Debug)]
struct Port {
    wire: Option<WireId>,
    dial: Option<Dial>,
    accepted: bool,
    paused: bool,
    ended: bool,
    /// Output was left unwritten.
    blocked: bool,
}

/// The end of a connection to a server.
pub(crate) struct Loss {
    /// The name of the pool: its number may change.
    pub(crate) pool: String,
    pub(crate) server: u32,
    pub(crate) text: &'static str,
    /// Unanswered requests.
    pub(crate) requests: u32,
    /// More of them, which were counted as timeouts.
    pub(crate) timed_out: u32,
}

/// A worker: an engine and the sockets it has.
pub(crate) struct Worker {
    pub(crate) engine: Engine,
    pub(crate) counts: Arc<Counts>,
    pub(crate) surroundings: Arc<Surroundings>,
    /// What is published.
    pub(crate) pools: Vec<Arc<Pool>>,
    /// The pool and the server that the network knows an address by.
    places: HashMap<Address, (u32, u32)>,
    ports: Vec<Option<Port>>,
    grain: Grain,
    /// From other workers.
    pub(crate) mail: VecDeque<(Arc<Pool>, Event)>,
    /// Everything this engine told.
    pub(crate) events: Vec<Event>,
    /// Server connections that ended with requests under way.
    pub(crate) losses: Vec<Loss>,
    /// What other workers are to be told, and of which pool it is.
    pub(crate) outbox: Vec<(Arc<Pool>, Event)>,
    pub(crate) defect: Option<Defect>,
}

/// The process around a worker: it says little, and lends so many open files.
#[derive(Default)]
pub(crate) struct Surroundings {
    files: AtomicU64,
    lent: AtomicU64,
}

impl Surroundings {
    /// Changes how many may be lent at once.
    pub(crate) fn set_files(&self, files: u64) {
        self.files.store(files, Ordering::Relaxed);
    }

    /// How many are lent.
    pub(crate) fn lent(&self) -> u64 {
        self.lent.load(Ordering::Relaxed)
    }
}

impl Environment for Surroundings {
    fn lend_file(&self) -> bool {
        let is_free = self.lent.load(Ordering::Relaxed) < self.files.load(Ordering::Relaxed);
        self.lent.fetch_add(u64::from(is_free), Ordering::Relaxed);
        is_free
    }

    fn return_file(&self) {
        self.lent.fetch_sub(1, Ordering::Relaxed);
    }

    fn info(&self, section: Option<&[u8]>, text: &mut String) {
        text.push_str("# Simulated\r\n");
        if let Some(section) = section {
            text.push_str(&String::from_utf8_lossy(section));
        }
    }

    fn stats(&self, tell: &mut dyn FnMut(&str, &str)) {
        tell("simulated", "1");
    }
}

impl Worker {
    /// A worker that serves `topology`. What it wants at once is under way.
    pub(crate) fn new(
        identity: Identity,
        topology: &Topology,
        grain: Grain,
        network: &mut Network,
    ) -> Worker {
        let counts = Counts::for_topology(topology);
        let surroundings =
            Arc::new(Surroundings { files: AtomicU64::new(FILES), ..Surroundings::default() });
        let mut engine = Engine::new(identity, Arc::clone(&surroundings) as Arc<dyn Environment>);
        engine.publish(topology, &counts, now(0));
        let mut places = HashMap::new();
        for (p, pool) in topology.pools.iter().enumerate() {
            for (s, server) in pool.servers.iter().enumerate() {
                places.insert(server.address.clone(), (p as u32, s as u32));
            }
        }
        let mut worker = Worker {
            engine,
            counts,
            surroundings,
            pools: topology.pools.clone(),
            places,
            ports: Vec::new(),
            grain,
            mail: VecDeque::new(),
            events: Vec::new(),
            losses: Vec::new(),
            outbox: Vec::new(),
            defect: None,
        };
        worker.rearrange(network, 0);
        worker
    }

    /// A newer topology; servers at new addresses are added to pool 0 of the network.
    pub(crate) fn publish(&mut self, topology: &Topology, network: &mut Network, now_us: u64) {
        for server in topology.pools.iter().flat_map(|pool| &pool.servers) {
            self.places.entry(server.address.clone()).or_insert_with(|| (0, network.add_server(0)));
        }
        self.take_events();
        self.counts = self.counts.succeed(&self.pools, topology);
        self.pools = topology.pools.clone();
        self.engine.publish(topology, &self.counts, now(now_us));
        self.rearrange(network, now_us);
    }

    fn take_events(&mut self) {
        let mut events = Vec::new();
        self.engine.take_events(&mut events);
        for event in &events {
            let pool = self.engine.pool(event.pool()).expect("the pool of an event");
            if event.concerns_siblings() {
                self.outbox.push((Arc::clone(pool), event.clone()));
            }
            if let Event::LinkBroken { server, text, requests, timed_out, .. } = *event {
                let pool = pool.name.clone();
                self.losses.push(Loss { pool, server, text, requests, timed_out });
            }
        }
        self.events.append(&mut events);
    }

    /// The network knows what is at this address as a server of a pool.
    pub(crate) fn know(&mut self, address: Address, (pool, server): (u32, u32)) {
        self.places.insert(address, (pool, server));
    }

    /// A client connected over `wire`.
    pub(crate) fn accept(&mut self, pool: u32, wire: WireId) {
        let slot = self.engine.accept(pool, Some(peer_of(wire)));
        self.place(slot, Port { wire: Some(wire), ..Port::idle(true) });
    }

    /// The connection behind `wire` was found to come from `peer`.
    pub(crate) fn relabel(&mut self, wire: WireId, peer: Option<SocketAddr>) {
        self.engine.relabel(self.slot_of(wire), peer);
    }

    /// The client behind `wire` was found to do wrong before it sent a request.
    pub(crate) fn turn_away(&mut self, wire: WireId, words: &[u8], network: &mut Network) {
        self.engine.turn_away(self.slot_of(wire), words);
        self.rearrange(network, 0);
    }

    fn slot_of(&self, wire: WireId) -> Slot {
        let is_it = |port: &Option<Port>| port.as_ref().is_some_and(|port| port.wire == Some(wire));
        self.ports.iter().position(is_it).expect("an open connection") as Slot
    }

    /// Puts a connection into its slot, which must be empty.
    fn place(&mut self, slot: Slot, port: Port) {
        let slot = slot as usize;
        if self.ports.len() <= slot {
            self.ports.resize_with(slot + 1, || None);
        }
        assert!(self.ports[slot].is_none(), "slot {slot} is assigned twice");
        self.ports[slot] = Some(port);
    }

    /// Server connections that are established.
    pub(crate) fn established(&self) -> usize {
        let up = |port: &&Port| !port.accepted && port.wire.is_some();
        self.ports.iter().flatten().filter(up).count()
    }

    /// All connections, connects under way included.
    pub(crate) fn connections(&self) -> usize {
        self.ports.iter().flatten().count()
    }

    /// Whether a turn would find something to do.
    pub(crate) fn is_ready(&self, network: &Network, now_us: u64) -> bool {
        !self.mail.is_empty()
            || self.engine.deadline().is_some_and(|due| due <= now_us)
            || self.ports.iter().flatten().any(|port| port.is_ready(network, now_us))
    }

    /// When a turn is due although nothing arrives.
    pub(crate) fn wake_at(&self) -> Option<u64> {
        let dials = self.ports.iter().flatten().filter_map(|port| port.dial?.due);
        self.engine.deadline().into_iter().chain(dials).min()
    }

    /// Connects that nothing will ever answer come to the system's own time limit.
    pub(crate) fn give_up_dials(&mut self, now_us: u64) {
        for port in self.ports.iter_mut().flatten() {
            if let Some(Dial { due: due @ None, .. }) = &mut port.dial {
                *due = Some(now_us);
            }
        }
    }

    /// The process is asked to end.
    pub(crate) fn drain(&mut self, network: &mut Network, now_us: u64) {
        self.engine.drain();
        self.rearrange(network, now_us);
    }

    /// One turn of the loop.
    pub(crate) fn turn(&mut self, network: &mut Network, random: &mut Random, now_us: u64) {
        // Time passes anyway.
        let _ = self.engine.window_us(now(now_us));
        while let Some((pool, event)) = self.mail.pop_front() {
            self.engine.heed_from(&pool, &event, now(now_us));
            self.rearrange(network, now_us);
        }
        self.end_phase(network, random, now_us);
        for accepted in [true, false] {
            let of_side = |port: &Port| port.accepted == accepted && port.is_ready(network, now_us);
            let mut slots: Vec<usize> = (0..self.ports.len())
                .filter(|slot| self.ports[*slot].as_ref().is_some_and(of_side))
                .collect();
            random.shuffle(&mut slots);
            for slot in slots {
                self.serve(slot, network, random, now_us);
            }
            self.end_phase(network, random, now_us);
        }
        self.engine.turn(now(now_us));
        self.rearrange(network, now_us);
        self.end_phase(network, random, now_us);
        self.take_events();
    }

    /// Does what one connection is ready for.
    fn serve(&mut self, slot: usize, network: &mut Network, random: &mut Random, now_us: u64) {
        let Some(port) = &mut self.ports[slot] else { return };
        if let Some(dial) = port.dial {
            if dial.due.is_some_and(|due| due <= now_us) {
                self.settle(slot, dial, network, now_us);
            }
            return;
        }
        for _ in 0..random.within(1..=self.grain.reads_max) {
            self.read(slot, network, random, now_us);
        }
        if self.ports[slot].as_ref().is_some_and(|port| port.blocked) {
            self.write(slot, network, random, now_us);
        }
    }

    fn settle(&mut self, slot: usize, dial: Dial, network: &mut Network, now_us: u64) {
        // A server that hangs is given up by the system.
        let outcome = match network.door(dial.pool, dial.server) {
            crate::network::Door::Hangs => Err(engine::fault::TIMED_OUT),
            _ => network.settle(dial),
        };
        match (outcome, &mut self.ports[slot]) {
            (Ok(wire), Some(port)) => {
                port.dial = None;
                port.wire = Some(wire);
                self.engine.connected(slot as Slot);
                self.rearrange(network, now_us);
            }
            (Err(text), _) => self.fail(slot, text, network, now_us),
            (Ok(_), None) => {}
        }
    }

    fn read(&mut self, slot: usize, network: &mut Network, random: &mut Random, now_us: u64) {
        let Some(port) = &mut self.ports[slot] else { return };
        let Some(id) = port.wire else { return };
        let wire = network.wire(id);
        if let Some(text) = wire.broken
            && (port.paused || port.ended || wire.to_engine.is_empty() || random.chance(1, 4))
        {
            return self.fail(slot, text, network, now_us);
        }
        if port.paused {
            return;
        }
        let bytes = wire.to_engine.pull(random.within(1..=self.grain.read_max));
        if !bytes.is_empty() {
            let flow = self.engine.received(slot as Slot, &bytes, now(now_us));
            self.rearrange(network, now_us);
            if let Some(port) = &mut self.ports[slot] {
                port.paused = flow == Flow::Pause;
            }
        } else if wire.to_engine.ended && !port.ended {
            port.ended = true;
            self.engine.ended(slot as Slot, now(now_us));
            self.rearrange(network, now_us);
        }
    }

    fn write(&mut self, slot: usize, network: &mut Network, random: &mut Random, now_us: u64) {
        let Some(Port { wire: Some(id), accepted, .. }) = self.ports[slot] else { return };
        let wire = network.wire(id);
        if wire.broken.is_some() {
            // Reading will tell.
            return;
        }
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = self.engine.output(slot as Slot, &mut slices);
        let mut bytes: Vec<u8> =
            slices[..filled].iter().flat_map(|slice| slice.iter().copied()).collect();
        let ready = bytes.len();
        let room = if wire.peer_gone { ready } else { wire.to_peer.free() };
        bytes.truncate(room.min(random.within(1..=self.grain.write_max)));
        if let Some(port) = &mut self.ports[slot] {
            port.blocked = bytes.len() < ready;
        }
        if bytes.is_empty() {
            return;
        }
        if wire.peer_gone {
            // Reading will tell the engine.
            wire.broken = Some(random.pick(&[BROKEN_PIPE, RESET]));
        } else {
            self.carry(id, accepted, &bytes, network, random);
        }
        self.engine.written(slot as Slot, bytes.len());
        self.rearrange(network, now_us);
    }

    /// Brings bytes to the peer's end, unless a defect has other plans.
    fn carry(
        &mut self,
        id: WireId,
        accepted: bool,
        bytes: &[u8],
        network: &mut Network,
        random: &mut Random,
    ) {
        let strikes = self
            .defect
            .is_some_and(|defect| accepted == defect.is_towards_clients() && random.chance(1, 8));
        let defect = if strikes { self.defect } else { None };
        match defect {
            None => drop(network.wire(id).to_peer.push(bytes)),
            Some(Defect::LoseWrite | Defect::LoseRequest) => self.defect = None,
            Some(Defect::RepeatWrite | Defect::RepeatRequest) => {
                network.wire(id).to_peer.push(bytes);
                if network.wire(id).to_peer.push(bytes) == bytes.len() {
                    self.defect = None;
                }
            }
            Some(Defect::CorruptRequest) => {
                let mut bytes = bytes.to_vec();
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
                network.wire(id).to_peer.push(&bytes);
                self.defect = None;
            }
            Some(Defect::CrossClients) => {
                let other =
                    |port: &&Port| port.accepted && port.wire.is_some_and(|wire| wire != id);
                let to = self.ports.iter().flatten().find(other).and_then(|port| port.wire);
                if to.is_some() {
                    self.defect = None;
                }
                network.wire(to.unwrap_or(id)).to_peer.push(bytes);
            }
        }
    }

    fn fail(&mut self, slot: usize, text: &'static str, network: &mut Network, now_us: u64) {
        if let Some(Port { wire: Some(id), .. }) = self.ports[slot].take() {
            let wire = network.wire(id);
            wire.engine_gone = true;
            wire.to_peer.ended = true;
        }
        self.engine.failed(slot as Slot, text, now(now_us));
        self.rearrange(network, now_us);
    }

    /// Closes and opens what the engine asked for in its last call.
    fn rearrange(&mut self, network: &mut Network, now_us: u64) {
        let actions = self.engine.actions();
        let close = std::mem::take(&mut actions.close);
        let connect = std::mem::take(&mut actions.connect);
        for (slot, _) in close {
            let port = self.ports.get_mut(slot as usize).and_then(Option::take);
            if let Some(Port { wire: Some(id), .. }) = port {
                let wire = network.wire(id);
                wire.engine_gone = true;
                wire.to_peer.ended = true;
            }
        }
        for (slot, pool, server) in connect {
            let address = &self.engine.pool(pool).expect("a pool").servers[server as usize].address;
            let (pool, server) = self.places[address];
            let dial = network.dial(pool, server, now_us);
            self.place(slot, Port { dial: Some(dial), ..Port::idle(false) });
        }
    }

    /// Does what the engine wants, until it wants nothing more.
    fn end_phase(&mut self, network: &mut Network, random: &mut Random, now_us: u64) {
        loop {
            self.engine.end_phase();
            let actions = self.engine.actions();
            let resume = std::mem::take(&mut actions.resume);
            let flush = std::mem::take(&mut actions.flush);
            if resume.is_empty() && flush.is_empty() {
                return;
            }
            for slot in resume {
                if let Some(Some(port)) = self.ports.get_mut(slot as usize) {
                    port.paused = false;
                }
            }
            for slot in flush {
                self.write(slot as usize, network, random, now_us);
            }
        }
    }
}

impl Port {
    fn idle(accepted: bool) -> Port {
        Port { wire: None, dial: None, accepted, paused: false, ended: false, blocked: false }
    }

    fn is_ready(&self, network: &Network, now_us: u64) -> bool {
        if let Some(dial) = self.dial {
            return dial.due.is_some_and(|due| due <= now_us);
        }
        let Some(id) = self.wire else { return false };
        let wire = network.look(id);
        let readable =
            !self.paused && (!wire.to_engine.is_empty() || (wire.to_engine.ended && !self.ended));
        let writable = self.blocked && (wire.peer_gone || wire.to_peer.free() > 0);
        wire.broken.is_some() || readable || writable
    }
}

/// Where the client behind `wire` comes from.
pub(crate) fn peer_of(wire: WireId) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, 1), wire as u16).into()
}

fn now(mono_us: u64) -> Now {
    Now { mono_us, wall_us: EPOCH_US + mono_us }
}
