//! The counts in the text format of Prometheus, for `/metrics` on the stats port.
//!
//! Apart from the stats document because that one is frozen: whatever is counted beyond twemproxy 0.5 is shown here. A
//! row in the catalogue, or in the table below for what belongs to the process, is all that a new metric takes; its name,
//! its help, its samples and its line in `docs/metrics.md` follow from it.
//!
//! COMPAT: version 0.0.4 of the format, which every collector reads whatever it asks for. No client library writes the
//! counts, because those at hand write OpenMetrics only and keep cells of their own, while ours are in the workers.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use engine::counters::{Counts, PoolCounts, ServerCounts};
use engine::topology::Topology;

use super::catalogue::{self, Kind, Metric};
use super::published::{Reload, Reloads};

/// `Content-Type` of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is shown, as of one moment.
#[derive(Clone, Copy, Debug)]
pub struct Scrape<'a> {
    /// What is served.
    pub topology: &'a Topology,
    /// What each worker counts, in the shape of the topology.
    pub counts: &'a [Arc<Counts>],
    /// Since the start.
    pub uptime: Duration,
    /// How reloads fared since then.
    pub reloads: Reloads,
}

/// A metric as its readers know it.
#[derive(Clone, Debug)]
pub struct Family {
    /// Under which it is stored, with its unit and, for a counter, `_total` at the end.
    pub name: Cow<'static, str>,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// What its samples are told apart by.
    pub labels: &'static [&'static str],
    /// One line for people.
    pub doc: &'static str,
}

/// A family of the process, which is in no catalogue of counts, and what writes its samples.
type Process =
    (&'static str, &'static [&'static str], &'static str, fn(&mut Writer<'_>) -> fmt::Result);

const PROCESS: [Process; 9] = [
    ("nutcracker_build_info", &["version"], "always 1; which version this is", |out| {
        out.sample(&[env!("CARGO_PKG_VERSION")], 1)
    }),
    ("nutcracker_uptime_seconds", &[], "time since the start", |out| {
        out.sample(&[], out.scrape.uptime.as_secs())
    }),
    ("nutcracker_workers", &[], "worker threads", |out| {
        out.sample(&[], out.scrape.counts.len() as u64)
    }),
    ("nutcracker_worker_clients", &["worker"], "clients that a worker serves now", |out| {
        let mut workers = out.scrape.counts.iter().enumerate();
        workers.try_for_each(|(index, worker)| {
            out.sample(&[&index.to_string()], worker.clients.value())
        })
    }),
    (
        "nutcracker_config_epoch",
        &[],
        "how many configurations have been published since the start",
        |out| out.sample(&[], out.scrape.topology.epoch),
    ),
    (
        "nutcracker_config_reloads_total",
        &["result"],
        "reloads of the configuration: carried out (ok), or given up because something was wrong (failed)",
        |out| {
            let Reloads { succeeded, failed, .. } = out.scrape.reloads;
            out.sample(&["ok"], succeeded)?;
            out.sample(&["failed"], failed)
        },
    ),
    (
        "nutcracker_config_last_reload_successful",
        &[],
        "1 unless the last reload of the configuration failed",
        |out| {
            let is_fine = |last: Reload| last.succeeded;
            out.sample(&[], u8::from(out.scrape.reloads.last.is_none_or(is_fine)))
        },
    ),
    (
        "nutcracker_config_last_reload_seconds",
        &[],
        "when the configuration was last reloaded, or that tried; 0 for never",
        |out| out.sample(&[], out.scrape.reloads.last.map_or(0, |last| last.at_s)),
    ),
    (
        "nutcracker_server_info",
        &["pool", "server", "address", "weight"],
        "always 1; where a server is",
        |out| {
            for pool in &out.scrape.topology.pools {
                for server in &pool.servers {
                    let (address, weight) = (server.address.to_string(), server.weight.to_string());
                    out.sample(&[&pool.name, &server.name, &address, &weight], 1)?;
                }
            }
            Ok(())
        },
    ),
];

/// All families, in the order of the text.
#[must_use]
pub fn families() -> Vec<Family> {
    let process = PROCESS.iter().map(Family::of_process);
    let workers = catalogue::WORKER.iter().map(|metric| Family::new("", metric, &[]));
    let pools = catalogue::POOL.iter().chain(&catalogue::POOL_BEYOND_0_5);
    let pools = pools.map(|metric| Family::new("pool_", metric, &["pool"]));
    let servers = catalogue::SERVER.iter().chain(&catalogue::SERVER_BEYOND_0_5);
    let servers = servers.map(|metric| Family::new("server_", metric, &["pool", "server"]));
    process.chain(workers).chain(pools).chain(servers).collect()
}

/// The whole answer to a scrape.
#[must_use]
pub fn text(scrape: Scrape<'_>) -> String {
    let mut out = Writer { scrape, text: String::new(), name: Cow::Borrowed(""), labels: &[] };
    // Writing to a string does not fail.
    let _ = out.write();
    out.text
}

impl Family {
    fn of_process(&(name, labels, doc, _): &Process) -> Family {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        Family { name: name.into(), kind, labels, doc }
    }

    /// Names are those of the stats document: units and endings as Prometheus wants them, and no word twice.
    fn new<C>(scope: &str, metric: &Metric<C>, labels: &'static [&'static str]) -> Family {
        let name = metric.name.strip_prefix(scope).unwrap_or(metric.name);
        let (kind, ending) = match metric.kind {
            Kind::Counter if name.ends_with("_total") => ("counter", ""),
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Timestamp => ("gauge", "_seconds"),
        };
        let name = format!("nutcracker_{scope}{name}{ending}").into();
        Family { name, kind, labels, doc: metric.doc }
    }
}

/// The text so far, and the family that is being written.
struct Writer<'a> {
    scrape: Scrape<'a>,
    text: String,
    name: Cow<'static, str>,
    labels: &'static [&'static str],
}

impl Writer<'_> {
    fn write(&mut self) -> fmt::Result {
        for process in &PROCESS {
            self.begin(Family::of_process(process))?;
            (process.3)(self)?;
        }
        let counts = self.scrape.counts;
        for metric in &catalogue::WORKER {
            self.begin(Family::new("", metric, &[]))?;
            self.total(&[], metric, counts.iter().map(|worker| &*worker.worker))?;
        }
        catalogue::POOL.iter().try_for_each(|metric| self.pools(metric))?;
        catalogue::POOL_BEYOND_0_5.iter().try_for_each(|metric| self.pools(metric))?;
        catalogue::SERVER.iter().try_for_each(|metric| self.servers(metric))?;
        catalogue::SERVER_BEYOND_0_5.iter().try_for_each(|metric| self.servers(metric))
    }

    fn pools(&mut self, metric: &Metric<PoolCounts>) -> fmt::Result {
        self.begin(Family::new("pool_", metric, &["pool"]))?;
        let Scrape { topology, counts, .. } = self.scrape;
        topology.pools.iter().enumerate().try_for_each(|(index, pool)| {
            self.total(
                &[&pool.name],
                metric,
                counts.iter().map(|worker| &*worker.pools[index].pool),
            )
        })
    }

    fn servers(&mut self, metric: &Metric<ServerCounts>) -> fmt::Result {
        self.begin(Family::new("server_", metric, &["pool", "server"]))?;
        let Scrape { topology, counts, .. } = self.scrape;
        for (index, pool) in topology.pools.iter().enumerate() {
            for (at, server) in pool.servers.iter().enumerate() {
                let of_workers = counts.iter().map(|worker| &*worker.pools[index].servers[at]);
                self.total(&[&pool.name, &server.name], metric, of_workers)?;
            }
        }
        Ok(())
    }

    /// The lines above the samples of `family`.
    fn begin(&mut self, family: Family) -> fmt::Result {
        let Family { name, kind, labels, doc } = family;
        write!(self.text, "# HELP {name} {doc}\n# TYPE {name} {kind}\n")?;
        (self.name, self.labels) = (name, labels);
        Ok(())
    }

    /// One sample: the sum over the workers.
    fn total<'c, C: 'c>(
        &mut self,
        values: &[&str],
        metric: &Metric<C>,
        counts: impl Iterator<Item = &'c C>,
    ) -> fmt::Result {
        let total = metric.total(counts);
        match metric.kind {
            Kind::Counter => self.sample(values, total),
            // What one worker puts in another may take out, so between two reads a sum may fall below zero.
            Kind::Gauge => self.sample(values, total.cast_signed()),
            Kind::Timestamp => {
                let (seconds, micros) = (total / 1_000_000, total % 1_000_000);
                self.sample(values, format_args!("{seconds}.{micros:06}"))
            }
        }
    }

    /// One sample, told apart by `values` of the labels.
    fn sample(&mut self, values: &[&str], value: impl fmt::Display) -> fmt::Result {
        self.text.write_str(&self.name)?;
        let mut separator = '{';
        for (label, value) in self.labels.iter().zip(values) {
            write!(self.text, "{separator}{label}=\"")?;
            escape(&mut self.text, value)?;
            self.text.write_char('"')?;
            separator = ',';
        }
        let end = if values.is_empty() { "" } else { "}" };
        writeln!(self.text, "{end} {value}")
    }
}

/// Writes the value of a label.
fn escape(text: &mut String, value: &str) -> fmt::Result {
    value.chars().try_for_each(|character| match character {
        '\n' => text.write_str("\\n"),
        '"' | '\\' => write!(text, "\\{character}"),
        _ => text.write_char(character),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_end_as_their_kind_demands() {
        let mut seen = HashSet::new();
        for family in families() {
            assert_eq!(family.name.ends_with("_total"), family.kind == "counter", "{family:?}");
            assert!(family.name.starts_with("nutcracker_"), "{family:?}");
            let is_sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(family.name.chars().all(is_sound), "{family:?}");
            assert!(!family.doc.contains(['\n', '\\']), "{family:?}");
            assert!(seen.insert(family.name.clone()), "{family:?} is there twice");
        }
    }

    #[test]
    fn no_word_of_a_name_is_doubled() {
        for family in families() {
            let words: Vec<&str> = family.name.split('_').collect();
            assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "{}", family.name);
        }
    }

    #[test]
    fn values_of_labels_are_escaped() {
        let mut text = String::new();
        escape(&mut text, "a\"b\\c\nd é").expect("a string");
        assert_eq!(text, "a\\\"b\\\\c\\nd é");
    }
}
