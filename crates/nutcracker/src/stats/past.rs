//! What pools and servers counted that a reload took away. Apart from what is served because no export tells of them by
//! name; they are a part of the sums over all pools, which would go back without them.

use std::array;
use std::collections::HashSet;
use std::sync::Arc;

use engine::counters::{Counts, PoolCounts, ServerCounts};

use super::catalogue::{Kind, Metric, POOL, SERVER};

/// Values of the counters of [`POOL`] and [`SERVER`], each in its place; 0 in the places of others.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// Of pools.
    pub(super) pools: [u64; POOL.len()],
    /// Of servers.
    pub(super) servers: [u64; SERVER.len()],
}

/// The past, a part of which still goes on: a worker finishes what is in flight at a pool that is gone.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    over: Past,
    pools: Vec<Arc<PoolCounts>>,
    servers: Vec<Arc<ServerCounts>>,
}

impl Past {
    fn add(&mut self, pools: &[PoolCounts], servers: &[ServerCounts]) {
        self.pools = sums(&self.pools, &POOL, || pools.iter());
        self.servers = sums(&self.servers, &SERVER, || servers.iter());
    }
}

impl Leaving {
    /// Workers change from the counts `before` to those `after`, one of each for every worker.
    pub(super) fn follow(&mut self, before: &[Arc<Counts>], after: &[Arc<Counts>]) {
        let kept: HashSet<_> = pools(after).map(Arc::as_ptr).collect();
        self.pools.extend(pools(before).filter(|of| !kept.contains(&Arc::as_ptr(of))).cloned());
        let kept: HashSet<_> = servers(after).map(Arc::as_ptr).collect();
        let gone = servers(before).filter(|of| !kept.contains(&Arc::as_ptr(of)));
        self.servers.extend(gone.cloned());
    }

    /// Adds up what no worker counts in any more, so that the past needs no memory for each reload.
    pub(super) fn settle(&mut self) {
        self.over.add(&unshared(&mut self.pools), &unshared(&mut self.servers));
    }

    /// All of it as of now.
    pub(super) fn past(&self) -> Past {
        Past {
            pools: sums(&self.over.pools, &POOL, || self.pools.iter().map(|of| &**of)),
            servers: sums(&self.over.servers, &SERVER, || self.servers.iter().map(|of| &**of)),
        }
    }
}

fn pools(counts: &[Arc<Counts>]) -> impl Iterator<Item = &Arc<PoolCounts>> {
    counts.iter().flat_map(|worker| &worker.pools).map(|pool| &pool.pool)
}

fn servers(counts: &[Arc<Counts>]) -> impl Iterator<Item = &Arc<ServerCounts>> {
    counts.iter().flat_map(|worker| &worker.pools).flat_map(|pool| &pool.servers)
}

/// Takes those out of `counts` that nobody else holds.
fn unshared<C>(counts: &mut Vec<Arc<C>>) -> Vec<C> {
    let mut alone = Vec::new();
    let mut shared = Vec::new();
    for of in counts.drain(..) {
        match Arc::try_unwrap(of) {
            Ok(of) => alone.push(of),
            Err(of) => shared.push(of),
        }
    }
    *counts = shared;
    alone
}

/// `known` with what the counters of `metrics` read in `counts`.
fn sums<'c, C: 'c, I: Iterator<Item = &'c C>, const N: usize>(
    known: &[u64; N],
    metrics: &[Metric<C>; N],
    counts: impl Fn() -> I,
) -> [u64; N] {
    array::from_fn(|at| match metrics[at].kind {
        Kind::Counter => known[at].wrapping_add(metrics[at].total(counts())),
        Kind::Gauge | Kind::Timestamp => 0,
    })
}
