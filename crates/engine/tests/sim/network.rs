//! The simulated network: wires of two bounded pipes between an engine and its peers, and the doors of the servers.
//!
//! Nothing here knows a protocol or an engine. Peers write and read their ends; the reactor has the other ends.

use std::collections::VecDeque;

/// Names a wire for as long as the network exists.
pub(crate) type WireId = usize;

/// One direction: bytes sent and not read yet, at most `room` of them, as with socket buffers.
#[derive(Debug)]
pub(crate) struct Pipe {
    bytes: VecDeque<u8>,
    room: usize,
    /// Nothing follows the bytes.
    pub(crate) ended: bool,
}

impl Pipe {
    fn new(room: usize) -> Pipe {
        Pipe { bytes: VecDeque::new(), room, ended: false }
    }

    pub(crate) fn free(&self) -> usize {
        self.room.saturating_sub(self.bytes.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes as many of `bytes` as there is room for.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.free());
        self.bytes.extend(&bytes[..taken]);
        taken
    }

    pub(crate) fn pull(&mut self, max: usize) -> Vec<u8> {
        let n = max.min(self.bytes.len());
        self.bytes.drain(..n).collect()
    }
}

/// A connection. Its engine's side is handled by the reactor.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) to_peer: Pipe,
    pub(crate) to_engine: Pipe,
    /// The error the engine's side meets.
    pub(crate) broken: Option<&'static str>,
    /// The peer closed both directions: what the engine writes is answered by a reset.
    pub(crate) peer_gone: bool,
    /// The engine's side closed.
    pub(crate) engine_gone: bool,
}

/// How a server meets connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Accepted after so many µs.
    Open(u64),
    /// Fails at once with this text.
    Refuses(&'static str),
    /// Never answered.
    Hangs,
}

/// A connect under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial {
    pub(crate) pool: u32,
    pub(crate) server: u32,
    /// When it comes to its end, `None` for never.
    pub(crate) due: Option<u64>,
}

/// All wires, and the doors of each pool's servers.
pub(crate) struct Network {
    wires: Vec<Wire>,
    doors: Vec<Vec<Door>>,
    /// Connections made and not noticed by their servers yet: pool, server.
    arrivals: Vec<(u32, u32, WireId)>,
    /// Bytes a pipe holds.
    pub(crate) room: usize,
}

impl Network {
    /// `servers` of each pool.
    pub(crate) fn new(servers: &[usize], room: usize) -> Network {
        let doors = servers.iter().map(|n| vec![Door::Open(0); *n]).collect();
        Network { wires: Vec::new(), doors, arrivals: Vec::new(), room }
    }

    /// One more server of a pool; returns its number.
    pub(crate) fn add_server(&mut self, pool: u32) -> u32 {
        let doors = &mut self.doors[pool as usize];
        doors.push(Door::Open(0));
        doors.len() as u32 - 1
    }

    /// A connected wire.
    pub(crate) fn connect(&mut self) -> WireId {
        let (to_peer, to_engine) = (Pipe::new(self.room), Pipe::new(self.room));
        let wire = Wire { to_peer, to_engine, broken: None, peer_gone: false, engine_gone: false };
        self.wires.push(wire);
        self.wires.len() - 1
    }

    pub(crate) fn wire(&mut self, id: WireId) -> &mut Wire {
        &mut self.wires[id]
    }

    pub(crate) fn look(&self, id: WireId) -> &Wire {
        &self.wires[id]
    }

    pub(crate) fn set_door(&mut self, pool: u32, server: u32, door: Door) {
        self.doors[pool as usize][server as usize] = door;
    }

    pub(crate) fn door(&self, pool: u32, server: u32) -> Door {
        self.doors[pool as usize][server as usize]
    }

    pub(crate) fn dial(&self, pool: u32, server: u32, now: u64) -> Dial {
        let due = match self.door(pool, server) {
            Door::Open(delay) => Some(now + delay),
            Door::Refuses(_) => Some(now),
            Door::Hangs => None,
        };
        Dial { pool, server, due }
    }

    /// The end of a connect that was due.
    pub(crate) fn settle(&mut self, dial: Dial) -> Result<WireId, &'static str> {
        match self.door(dial.pool, dial.server) {
            Door::Refuses(text) => Err(text),
            Door::Open(_) | Door::Hangs => {
                let wire = self.connect();
                self.arrivals.push((dial.pool, dial.server, wire));
                Ok(wire)
            }
        }
    }

    /// The next connection a server has not noticed yet.
    pub(crate) fn accept(&mut self, pool: u32, server: u32) -> Option<WireId> {
        let at = self.arrivals.iter().position(|(p, s, _)| (*p, *s) == (pool, server))?;
        Some(self.arrivals.remove(at).2)
    }

    pub(crate) fn has_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// A peer sends; returns how many bytes were taken.
    pub(crate) fn send(&mut self, id: WireId, bytes: &[u8]) -> usize {
        let wire = self.wire(id);
        match wire.engine_gone {
            true => bytes.len(),
            false => wire.to_engine.push(bytes),
        }
    }

    /// A peer reads.
    pub(crate) fn read(&mut self, id: WireId, max: usize) -> Vec<u8> {
        self.wire(id).to_peer.pull(max)
    }

    /// Whether a peer has read everything and nothing follows.
    pub(crate) fn is_at_end(&self, id: WireId) -> bool {
        let wire = self.look(id);
        wire.to_peer.is_empty() && wire.to_peer.ended
    }

    /// A peer will send nothing more but goes on reading.
    pub(crate) fn half_close(&mut self, id: WireId) {
        self.wire(id).to_engine.ended = true;
    }

    /// A peer closes; what it has sent still arrives.
    pub(crate) fn close(&mut self, id: WireId) {
        let wire = self.wire(id);
        wire.to_engine.ended = true;
        wire.peer_gone = true;
    }

    /// A peer resets; what it has sent may arrive, or may not.
    pub(crate) fn reset(&mut self, id: WireId) {
        let wire = self.wire(id);
        wire.peer_gone = true;
        wire.broken = Some(RESET);
    }
}

/// What the engine is told of a reset.
pub(crate) const RESET: &str = "Connection reset by peer";
/// What it is told when it writes after that.
pub(crate) const BROKEN_PIPE: &str = "Broken pipe";
