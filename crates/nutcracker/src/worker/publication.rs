//! What a worker is given with each topology, and how many clients of which pool it has, across all of them.

use std::collections::HashMap;
use std::sync::Arc;

use engine::counters::{Counts, PoolCounts};
use engine::topology::Topology;

use super::Gate;

/// What a worker serves from now on.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Pools and servers.
    pub topology: Arc<Topology>,
    /// Where the worker counts, in the shape of the topology.
    pub counts: Arc<Counts>,
    /// The gate of each pool, in the order of the topology; a pool that goes on keeps its number.
    pub gates: Arc<[Arc<Gate>]>,
    /// Where each listener leads: the number of a gate, by the number of the listener.
    pub doors: Arc<HashMap<u32, u64>>,
}

/// The pools of a worker as its clients come and go.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    doors: Arc<HashMap<u32, u64>>,
    /// In the order of the topology.
    current: Vec<Attended>,
    /// Pools that are gone and still have clients.
    departing: Vec<Attended>,
    /// Clients in all of them.
    admitted: u64,
    /// The highest number of a gate so far.
    newest: u64,
}

#[derive(Debug)]
struct Attended {
    gate: Arc<Gate>,
    counts: Arc<PoolCounts>,
    /// Clients that this worker was given and has not reported gone.
    admitted: u64,
}

impl Attendance {
    /// Follows a publication.
    pub(super) fn follow(&mut self, publication: &Publication) {
        let mut before = std::mem::take(&mut self.current);
        self.doors = Arc::clone(&publication.doors);
        for (gate, counts) in publication.gates.iter().zip(&publication.counts.pools) {
            let known = before.iter().position(|pool| pool.gate.number() == gate.number());
            self.newest = self.newest.max(gate.number());
            let admitted = known.map_or(0, |at| before.swap_remove(at).admitted);
            let (gate, counts) = (Arc::clone(gate), Arc::clone(&counts.pool));
            self.current.push(Attended { gate, counts, admitted });
        }
        self.departing.append(&mut before);
    }

    /// Where `listener` leads: the index of the pool and its gate; `None` when its pool is gone.
    pub(super) fn door(&self, listener: u32) -> Option<(u32, &Arc<Gate>)> {
        let index = self.index_of(*self.doors.get(&listener)?)?;
        Some((index, self.gate(index)))
    }

    /// The index of the pool with this gate.
    pub(super) fn index_of(&self, number: u64) -> Option<u32> {
        let at = self.current.iter().position(|pool| pool.gate.number() == number)?;
        Some(at as u32)
    }

    /// Whether the gate with this number belongs to a publication that is still on its way here.
    pub(super) fn is_to_come(&self, number: u64) -> bool {
        number > self.newest
    }

    pub(super) fn gate(&self, pool: u32) -> &Arc<Gate> {
        &self.current[pool as usize].gate
    }

    /// The worker was given a client of a pool.
    pub(super) fn admit(&mut self, pool: u32) {
        self.admitted += 1;
        self.current[pool as usize].admitted += 1;
    }

    /// Reports those who have gone since the last call, `clients` being left.
    pub(super) fn count_departures(&mut self, clients: u64, mut report: impl FnMut(&Gate, u64)) {
        if self.admitted == clients {
            return;
        }
        for pool in self.current.iter_mut().chain(&mut self.departing) {
            let left = pool.admitted - pool.counts.client_connections.value();
            if left > 0 {
                pool.admitted -= left;
                self.admitted -= left;
                report(&pool.gate, left);
            }
        }
        self.departing.retain(|pool| pool.admitted > 0);
    }
}

#[cfg(test)]
mod tests {
    use engine::counters::CountedPool;
    use engine::topology::Limits;

    use super::super::Admission;
    use super::*;

    /// Pools with gates of these numbers. Their settings are not asked for here.
    fn publication(gates: &[u64]) -> Publication {
        let counted = |_: &u64| CountedPool { pool: Arc::default(), servers: Vec::new() };
        let pools = gates.iter().map(counted).collect();
        Publication {
            topology: Arc::new(Topology { epoch: 1, pools: Vec::new(), limits: Limits::default() }),
            counts: Arc::new(Counts { pools, ..Counts::default() }),
            gates: gates.iter().map(|number| Gate::new(*number, Admission::up_to(0, 0))).collect(),
            doors: Arc::default(),
        }
    }

    #[test]
    fn a_gate_that_is_to_come_is_told_from_one_that_is_gone() {
        let mut attendance = Attendance::default();
        attendance.follow(&publication(&[1, 2]));
        assert!(attendance.is_to_come(3));
        attendance.follow(&publication(&[3]));
        assert!((1..=3).all(|number| !attendance.is_to_come(number)));
        attendance.follow(&publication(&[1]));
        assert!(!attendance.is_to_come(3));
    }
}
