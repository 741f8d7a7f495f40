//! The stats document: all counts of the process as one line of JSON.
//!
//! COMPAT: keys, their order and the blanks between them are those of twemproxy 0.5. Readers take every further key at
//! the top for a pool and every further key of a pool for a server, so nothing may be added at these two levels.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use engine::topology::Pool;

use super::catalogue::{self, Metric};
use super::metrics::{self, Scrape};
use super::published::{Published, Snapshot};

/// Makes the document from the counts of all workers, live.
#[derive(Debug)]
pub struct Document {
    published: Arc<Published>,
    source: String,
    version: &'static str,
    started: Instant,
}

impl Document {
    /// Of what is published. Uptime begins now.
    #[must_use]
    pub fn new(published: &Arc<Published>, version: &'static str) -> Document {
        Document {
            published: Arc::clone(published),
            source: host_name(),
            version,
            started: Instant::now(),
        }
    }

    /// The document as of now, with the line feed that ends it.
    #[must_use]
    pub fn text(&self) -> String {
        let (snapshot, listeners) = self.published.snapshot_and_listeners();
        let pools = &snapshot.topology.pools;
        let servers: usize = pools.iter().map(|pool| pool.servers.len()).sum();
        let mut text = String::with_capacity(512 * (1 + pools.len() + servers));
        // Writing to a string does not fail.
        let _ = self.write(&snapshot, listeners, &mut text);
        text
    }

    /// The same counts, and those that 0.5 did not have, as Prometheus reads them.
    #[must_use]
    pub fn metrics(&self) -> String {
        let snapshot = self.published.snapshot();
        let (uptime, reloads) = (self.started.elapsed(), self.published.reloads());
        let Snapshot { topology, counts } = &*snapshot;
        metrics::text(Scrape { topology, counts, uptime, reloads })
    }

    fn write(&self, snapshot: &Snapshot, listeners: u64, text: &mut String) -> fmt::Result {
        let uptime = self.started.elapsed().as_secs();
        let timestamp = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since_1970| since_1970.as_secs());
        // COMPAT: 0.5 holds a connection object for every listener of a pool and counts it.
        let total = listeners + snapshot.sum(|worker| worker.total_connections.value());
        let listening = snapshot.topology.pools.len() as u64;
        let open = listening.wrapping_add(snapshot.sum(|worker| worker.curr_connections.value()));
        write!(text, "{{\"service\":\"nutcracker\", \"source\":")?;
        string(text, &self.source)?;
        write!(text, ", \"version\":\"{}\"", self.version)?;
        write!(text, ", \"uptime\":{uptime}, \"timestamp\":{timestamp}")?;
        write!(text, ", \"total_connections\":{total}, \"curr_connections\":{open}")?;
        for (index, pool) in snapshot.topology.pools.iter().enumerate() {
            text.write_str(if index == 0 { ", " } else { "," })?;
            write_pool(snapshot, text, index, pool)?;
        }
        text.write_str("}\n")
    }
}

fn write_pool(snapshot: &Snapshot, text: &mut String, index: usize, pool: &Pool) -> fmt::Result {
    let counts = || snapshot.counts.iter().map(|worker| &worker.pools[index]);
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
