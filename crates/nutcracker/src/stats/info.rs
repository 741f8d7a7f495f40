//! The text of INFO: what the proxy knows about itself, in the form Redis clients read.

use std::fmt::Write;
use std::sync::Arc;

use engine::Environment;
use engine::counters::{Counts, PoolCounts};
use engine::topology::{Pool, Server};
use proto::resp::command::REDIS_VERSION;
use reactor::Clock;

use super::catalogue;
use super::past::Past;
use super::published::{Published, Reloads, Snapshot};
use crate::worker::Shared;

/// Reads the counts of all workers.
pub struct Info {
    published: Arc<Published>,
    shared: Arc<Shared>,
    clock: Clock,
    started_us: u64,
}

/// One section: its heading and what writes its lines.
type Section = (&'static str, fn(&Reading<'_>, &mut String) -> std::fmt::Result);

const SECTIONS: [Section; 6] = [
    ("Server", |reading, text| reading.server(text)),
    ("Clients", |reading, text| reading.clients(text)),
    ("Memory", |reading, text| reading.memory(text)),
    ("Stats", |reading, text| reading.stats(text)),
    ("Proxy", |reading, text| reading.proxy(text)),
    ("Keyspace", |_, _| Ok(())),
];

impl Info {
    /// Of what is published.
    #[must_use]
    pub fn new(published: &Arc<Published>, shared: &Arc<Shared>, clock: Clock) -> Info {
        Info {
            published: Arc::clone(published),
            shared: Arc::clone(shared),
            clock,
            started_us: clock.mono_us(),
        }
    }

    fn reading(&self) -> Reading<'_> {
        let (snapshot, past) = self.published.snapshot_and_past();
        Reading { info: self, snapshot, past }
    }
}

/// What is told at one moment.
struct Reading<'i> {
    info: &'i Info,
    snapshot: Arc<Snapshot>,
    past: Past,
}

impl Reading<'_> {
    fn sum(&self, count: impl Fn(&Counts) -> u64) -> u64 {
        self.snapshot.sum(count)
    }

    fn pool_sum(&self, pool: usize, count: impl Fn(&PoolCounts) -> u64) -> u64 {
        self.sum(|worker| count(&worker.pools[pool]))
    }

    /// The metric of that name in [`catalogue::POOL`], over all pools there ever were.
    fn of_pools(&self, name: &'static str) -> (&'static str, u64) {
        let metrics = catalogue::POOL.iter().zip(self.past.pools);
        let named = metrics.filter(|(metric, _)| metric.name == name);
        let values = named.map(|(metric, past)| {
            let of = |worker: &Counts| metric.total(worker.pools.iter().map(|pool| &*pool.pool));
            past.wrapping_add(self.sum(of))
        });
        (name, values.sum())
    }

    /// The metric of that name in [`catalogue::SERVER`], over all servers there ever were.
    fn of_servers(&self, name: &'static str) -> (&'static str, u64) {
        let metrics = catalogue::SERVER.iter().zip(self.past.servers);
        let named = metrics.filter(|(metric, _)| metric.name == name);
        let values = named.map(|(metric, past)| {
            let of = |worker: &Counts| {
                let servers = worker.pools.iter().flat_map(|pool| &pool.servers);
                metric.total(servers.map(|server| &**server))
            };
            past.wrapping_add(self.sum(of))
        });
        (name, values.sum())
    }

    fn server(&self, text: &mut String) -> std::fmt::Result {
        let uptime = (self.info.clock.mono_us() - self.info.started_us) / 1_000_000;
        write!(text, "redis_version:{REDIS_VERSION}\r\n")?;
        write!(text, "redis_mode:standalone\r\n")?;
        write!(text, "proxy:nutcracker\r\n")?;
        write!(text, "proxy_version:{}\r\n", env!("CARGO_PKG_VERSION"))?;
        write!(text, "process_id:{}\r\n", std::process::id())?;
        write!(text, "uptime_in_seconds:{uptime}\r\n")
    }

    fn clients(&self, text: &mut String) -> std::fmt::Result {
        write!(text, "connected_clients:{}\r\n", self.sum(|worker| worker.clients.value()))
    }

    fn memory(&self, text: &mut String) -> std::fmt::Result {
        write!(text, "buffered_bytes:{}\r\n", self.sum(|worker| worker.buffered_bytes.value()))
    }

    fn stats(&self, text: &mut String) -> std::fmt::Result {
        self.totals().iter().try_for_each(|(name, value)| write!(text, "{name}:{value}\r\n"))
    }

    /// Counts summed over workers, pools and servers.
    fn totals(&self) -> [(&'static str, u64); 14] {
        [
            ("total_connections", self.sum(|worker| worker.total_connections.value())),
            ("curr_connections", self.sum(|worker| worker.curr_connections.value())),
            self.of_servers("requests"),
            self.of_servers("responses"),
            ("local_replies", self.sum(|worker| worker.local_replies.value())),
            self.of_pools("forward_error"),
            self.of_pools("client_err"),
            self.of_pools("client_eof"),
            self.of_pools("server_ejects"),
            self.of_servers("server_err"),
            self.of_servers("server_eof"),
            self.of_servers("server_timedout"),
            self.of_servers("server_connections"),
            ("shed", self.sum(|worker| worker.shed.value())),
        ]
    }

    /// COMPAT: the last reload is told in the words in which Redis tells of the last save.
    fn reloads(&self, text: &mut String) -> std::fmt::Result {
        let Reloads { succeeded, failed, last } = self.info.published.reloads();
        write!(text, "config_epoch:{}\r\n", self.snapshot.topology.epoch)?;
        write!(text, "config_reloads:{succeeded}\r\nconfig_reloads_failed:{failed}\r\n")?;
        let status = if last.is_none_or(|last| last.succeeded) { "ok" } else { "err" };
        write!(text, "config_last_reload_status:{status}\r\n")?;
        write!(text, "config_last_reload_time:{}\r\n", last.map_or(0, |last| last.at_s))
    }

    fn proxy(&self, text: &mut String) -> std::fmt::Result {
        let Snapshot { topology, counts } = &*self.snapshot;
        write!(text, "workers:{}\r\n", counts.len())?;
        for worker in 0..counts.len() {
            write!(text, "worker{worker}_clients:{}\r\n", self.info.shared.clients_of(worker))?;
        }
        self.reloads(text)?;
        for (i, pool) in topology.pools.iter().enumerate() {
            let clients = self.pool_sum(i, |pool| pool.client_connections.value());
            let crossed = self.pool_sum(i, |pool| pool.cross_shard.value());
            let split = self.pool_sum(i, |pool| pool.fragments.value());
            let servers = pool.servers.len();
            let name = &pool.name;
            write!(
                text,
                "pool_{name}:servers={servers},clients={clients},fragments={split},cross_shard={crossed}\r\n"
            )?;
        }
        Ok(())
    }
}

impl Environment for Info {
    fn is_first_ejection(&self, of: &Pool, server: &Server, known: u64, retry_at: u64) -> bool {
        self.shared.is_first_ejection(of, server, known, retry_at)
    }

    fn lend_file(&self) -> bool {
        self.shared.lend_file()
    }

    fn return_file(&self) {
        self.shared.return_file();
    }

    /// Process-wide counts only: collectors of memcached statistics expect numbers under plain names.
    fn stats(&self, tell: &mut dyn FnMut(&str, &str)) {
        let now = self.clock.now();
        let reading = self.reading();
        tell("pid", &std::process::id().to_string());
        tell("uptime", &((now.mono_us - self.started_us) / 1_000_000).to_string());
        tell("time", &(now.wall_us / 1_000_000).to_string());
        tell("version", concat!("nutcracker-", env!("CARGO_PKG_VERSION")));
        tell("pointer_size", &usize::BITS.to_string());
        tell("threads", &reading.snapshot.counts.len().to_string());
        let clients = reading.sum(|worker| worker.clients.value());
        tell("clients", &clients.to_string());
        for (name, value) in reading.totals() {
            tell(name, &value.to_string());
        }
        tell("buffered_bytes", &reading.sum(|worker| worker.buffered_bytes.value()).to_string());
    }

    fn info(&self, section: Option<&[u8]>, text: &mut String) {
        let all = section.is_none_or(|name| {
            ["default", "all", "everything"]
                .iter()
                .any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
        });
        let reading = self.reading();
        for (name, write_lines) in SECTIONS {
            if all || section.is_some_and(|wanted| wanted.eq_ignore_ascii_case(name.as_bytes())) {
                let separator = if text.is_empty() { "" } else { "\r\n" };
                // Writing to a string does not fail.
                let _ = write!(text, "{separator}# {name}\r\n");
                let _ = write_lines(&reading, text);
            }
        }
    }
}
