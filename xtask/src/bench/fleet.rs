//! The servers behind the proxies: real ones, started once and kept, all of them filled with all keys.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use sharding::{Distribution, Hash, Node, Sharder};

use super::load::script::{Dataset, Protocol};
use super::machine;
use crate::started::{self, Folder, Running};

/// Servers of one kind.
pub(crate) struct Fleet {
    running: Vec<Running>,
    pub(crate) addresses: Vec<SocketAddr>,
    filled: HashSet<Dataset>,
}

impl Fleet {
    pub(crate) fn start(protocol: Protocol, servers: usize, folder: &Folder) -> Result<Fleet> {
        let mut fleet =
            Fleet { running: Vec::new(), addresses: Vec::new(), filled: HashSet::new() };
        for _ in 0..servers {
            let address = free_address()?;
            let server = match protocol {
                Protocol::Redis => started::start_redis(address, folder)?,
                Protocol::Memcached => start_memcached(address, folder)?,
            };
            fleet.running.push(server);
            fleet.addresses.push(address);
        }
        Ok(fleet)
    }

    /// Keeps all servers on `cores`.
    pub(crate) fn pin(&self, cores: &[usize]) -> Result<()> {
        self.running.iter().try_for_each(|server| machine::pin(server.id(), cores))
    }

    /// Sets every key on every server, once.
    pub(crate) fn fill(&mut self, dataset: Dataset) -> Result<()> {
        if self.filled.insert(dataset) {
            self.addresses.iter().try_for_each(|address| fill(*address, dataset))?;
        }
        Ok(())
    }

    /// Lets all else go before the last server.
    pub(crate) fn demote_last(&self) -> Result<()> {
        machine::demote(self.running.last().context("no server")?.id())
    }

    /// Stops the last server in its tracks until the value that is returned goes: it holds its connections and says
    /// nothing.
    pub(crate) fn hang_last(&self) -> Result<Hanging> {
        let server = self.running.last().context("no server")?;
        let id = i32::try_from(server.id()).ok().and_then(Pid::from_raw).context("a process")?;
        kill_process(id, Signal::STOP)?;
        Ok(Hanging(id))
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.running.into_iter().try_for_each(Running::stop)
    }
}

/// A server that hangs.
pub(crate) struct Hanging(Pid);

impl Drop for Hanging {
    fn drop(&mut self) {
        if let Err(error) = kill_process(self.0, Signal::CONT) {
            eprintln!("warning: a server hangs for good: {error}");
        }
    }
}

/// Sets every key through `address`, be it a server or a proxy.
pub(crate) fn fill(address: SocketAddr, dataset: Dataset) -> Result<()> {
    let reply = match dataset.protocol {
        Protocol::Redis => "+OK\r\n",
        Protocol::Memcached => "STORED\r\n",
    };
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let keys: Vec<usize> = (0..dataset.keys()).collect();
    // What is under way at a time fits into the buffers of the sockets or is read by the server.
    for keys in keys.chunks(if dataset.value_bytes > 1 << 10 { 1 } else { 100 }) {
        let requests: Vec<u8> = keys.iter().flat_map(|key| dataset.set(*key)).collect();
        stream.write_all(&requests)?;
        let mut replies = vec![0; keys.len() * reply.len()];
        stream.read_exact(&mut replies).with_context(|| format!("{address} did not answer"))?;
        let expected = reply.repeat(keys.len());
        let text = String::from_utf8_lossy(&replies);
        ensure!(text == expected, "{address} answered a request to set a key with {text:?}");
    }
    Ok(())
}

/// What a server is called in configurations: keys go by it, and so to the same server in every run.
pub(crate) fn name(index: usize) -> String {
    format!("server{index:02}")
}

/// Where keys live behind ours and twemproxy.
pub(crate) fn sharder(servers: usize) -> Sharder {
    let names: Vec<String> = (0..servers).map(name).collect();
    let nodes: Vec<_> =
        names.iter().map(|name| Node { name: name.as_bytes(), weight: 1 }).collect();
    Sharder::new(Hash::Fnv1a64, None, Distribution::Ketama, &nodes)
}

fn start_memcached(address: SocketAddr, folder: &Folder) -> Result<Running> {
    let mut command = Command::new("memcached");
    command.args(["-l", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.args(["-U", "0", "-t", "1", "-m", "256", "-c", "8192"]);
    if rustix::process::geteuid().is_root() {
        command.args(["-u", "root"]);
    }
    let log = folder.path().join(format!("memcached-{}.log", address.port()));
    Running::start(format!("memcached on {address}"), &mut command, address, log)
}

pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// So many different ones.
pub(crate) fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    let listeners = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
    Ok(listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}
