//! The stats server, from its settings to a running thread. Apart from the pools' listeners because its host is resolved
//! only when the proxy starts, and apart from `stats` because that knows neither settings nor workers.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;

use super::fleet::Fleet;
use super::listeners::{Endpoint, Listener, ListenerSpec, Owner};
use super::resolver::ResolveError;
use super::startup::StartError;
use crate::cli::COMPATIBLE_VERSION;
use crate::config::Settings;
use crate::process::os_error_text;
use crate::stats::Export;
use crate::stats::document::Document;
use crate::stats::port::Port;

/// As many connections ready to be accepted as the system allows; it caps the number itself.
const BACKLOG: u32 = i32::MAX as u32;

/// The running stats server. Dropping it closes its connections and removes its socket file.
#[derive(Debug)]
pub(super) struct StatsServer {
    /// Ends before the listener goes.
    _port: Port,
    _listener: Listener,
}

/// Makes the listener. Whoever connects already waits until the server starts.
pub(super) fn bind(settings: &Settings) -> Result<Listener, StartError> {
    let host = settings.stats_addr.as_str();
    let (endpoint, text) = if host.starts_with('/') {
        (Endpoint::Unix { path: host.into(), mode: None }, host.to_owned())
    } else {
        let address = resolve(host, settings.stats_port).map_err(StartError::StatsAddress)?;
        (Endpoint::Tcp(address), format!("{host}:{}", settings.stats_port))
    };
    let spec =
        ListenerSpec { owner: Owner::Stats, text, endpoint, backlog: BACKLOG, reuseport: false };
    let listener = Listener::bind(&spec)?;
    log::info!("m {} listening on stats server '{}'", listener.socket.as_raw_fd(), spec.text);
    Ok(listener)
}

impl StatsServer {
    /// Serves the counts of `fleet` on `listener`.
    pub(super) fn start(listener: Listener, fleet: &Fleet) -> std::io::Result<StatsServer> {
        let document = Document::new(fleet.published(), COMPATIBLE_VERSION);
        let export = move |export| match export {
            Export::Document => document.text(),
            Export::Metrics => document.metrics(),
        };
        let port = Port::open(listener.socket.try_clone()?, export)?;
        Ok(StatsServer { _port: port, _listener: listener })
    }
}

/// COMPAT: no host means every address, as in twemproxy 0.5.
fn resolve(host: &str, port: u16) -> Result<SocketAddr, ResolveError> {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let host = if literal.is_empty() { "0.0.0.0" } else { literal };
    let error = |reason| ResolveError { host: host.to_owned(), port, reason };
    let found = (host, port).to_socket_addrs().map_err(|cause| error(os_error_text(&cause)))?;
    found.into_iter().next().ok_or_else(|| error("it has no address".into()))
}
