//! The stats document: all counts of the process as one line of JSON.
//!
//! COMPAT: keys, their order and the blanks between them are those of twemproxy 0.5. Readers take every further key at
//! the top for a pool and every further key of a pool for a server, so nothing may be added at these two levels.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use engine::counters::{Counts, WorkerCounts};
use engine::topology::{Pool, Topology};

use super::catalogue::{self, Metric};
use super::metrics::{self, Scrape};

/// Makes the document from the counts of all workers, live.
#[derive(Debug)]
pub struct Document {
    topology: Arc<Topology>,
    counts: Vec<Arc<Counts>>,
    source: String,
    version: &'static str,
    started: Instant,
}

impl Document {
    /// For the workers that count what happens to `topology` into `counts`. Uptime begins now.
    #[must_use]
    pub fn new(
        topology: &Arc<Topology>,
        counts: &[Arc<Counts>],
        version: &'static str,
    ) -> Document {
        Document {
            topology: Arc::clone(topology),
            counts: counts.to_vec(),
            source: host_name(),
            version,
            started: Instant::now(),
        }
    }

    /// The document as of now, with the line feed that ends it.
    #[must_use]
    pub fn text(&self) -> String {
        let servers: usize = self.topology.pools.iter().map(|pool| pool.servers.len()).sum();
        let mut text = String::with_capacity(512 * (1 + self.topology.pools.len() + servers));
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    /// The same counts, and those that 0.5 did not have, as Prometheus reads them.
    #[must_use]
    pub fn metrics(&self) -> String {
        let uptime = self.started.elapsed();
        metrics::text(Scrape { topology: &self.topology, counts: &self.counts, uptime })
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let uptime = self.started.elapsed().as_secs();
        let timestamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since_1970| since_1970.as_secs());
        // COMPAT: 0.5 holds a connection object for every listener of a pool and counts it.
        let listeners = self.topology.pools.len() as u64;
        let total = listeners + self.sum(|worker| worker.total_connections.value());
        let open = listeners.wrapping_add(self.sum(|worker| worker.curr_connections.value()));
        write!(text, "{{\"service\":\"nutcracker\", \"source\":")?;
        string(text, &self.source)?;
        write!(text, ", \"version\":\"{}\"", self.version)?;
        write!(text, ", \"uptime\":{uptime}, \"timestamp\":{timestamp}")?;
        write!(text, ", \"total_connections\":{total}, \"curr_connections\":{open}")?;
        for (index, pool) in self.topology.pools.iter().enumerate() {
            text.write_str(if index == 0 { ", " } else { "," })?;
            self.write_pool(text, index, pool)?;
        }
        text.write_str("}\n")
    }

    fn write_pool(&self, text: &mut String, index: usize, pool: &Pool) -> fmt::Result {
        let counts = || self.counts.iter().map(|worker| &worker.pools[index]);
        string(text, &pool.name)?;
        text.write_str(": {")?;
        metrics(text, &catalogue::POOL, || counts().map(|counted| &*counted.pool))?;
        for (index, server) in pool.servers.iter().enumerate() {
            text.write_str(if index == 0 { ", " } else { "," })?;
            string(text, &server.name)?;
            text.write_str(": {")?;
            metrics(text, &catalogue::SERVER, || counts().map(|counted| &*counted.servers[index]))?;
            text.write_char('}')?;
        }
        text.write_char('}')
    }

    fn sum(&self, count: impl Fn(&WorkerCounts) -> u64) -> u64 {
        self.counts.iter().map(|counts| count(counts)).fold(0, u64::wrapping_add)
    }
}

fn metrics<'a, C: 'a, I: Iterator<Item = &'a C>>(
    text: &mut String,
    metrics: &[Metric<C>],
    counts: impl Fn() -> I,
) -> fmt::Result {
    for (index, metric) in metrics.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(text, "{separator}\"{}\":{}", metric.name, metric.total(counts()))?;
    }
    Ok(())
}

/// Writes `value` as a JSON string.
fn string(text: &mut String, value: &str) -> fmt::Result {
    text.write_char('"')?;
    for character in value.chars() {
        match character {
            '"' | '\\' => write!(text, "\\{character}")?,
            '\0'..='\x1f' => write!(text, "\\u{:04x}", u32::from(character))?,
            _ => text.write_char(character)?,
        }
    }
    text.write_char('"')
}

fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    if name.is_empty() { "unknown".into() } else { name.into_owned() }
}
