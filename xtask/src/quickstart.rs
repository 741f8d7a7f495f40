//! The addresses in `conf/quickstart.yml`: the demo starts what the file says, so that editing the file is enough.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};

/// Where the demo listens and where its servers are.
pub(crate) struct Quickstart {
    /// The pool.
    pub(crate) listen: SocketAddr,
    /// The statistics.
    pub(crate) stats: SocketAddr,
    /// The Redis servers, as the file names them.
    pub(crate) servers: Vec<(String, SocketAddr)>,
}

impl Quickstart {
    /// Reads the file. Only its own simple form is understood: `key: value` lines and `- HOST:PORT:WEIGHT NAME` items.
    pub(crate) fn parse(text: &str) -> Result<Quickstart> {
        let value = |key: &str| {
            let line =
                text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
            line.map(str::trim).with_context(|| format!("conf/quickstart.yml has no `{key}:`"))
        };
        let stats = format!("{}:{}", value("stats_addr")?, value("stats_port")?);
        let items = text.lines().filter_map(|line| line.trim().strip_prefix("- "));
        let servers = items.map(server).collect::<Result<Vec<_>>>()?;
        ensure!(!servers.is_empty(), "conf/quickstart.yml lists no servers");
        Ok(Quickstart { listen: address(value("listen")?)?, stats: address(&stats)?, servers })
    }
}

fn server(item: &str) -> Result<(String, SocketAddr)> {
    let Some((place, name)) = item.split_once(' ') else {
        bail!("the server `{item}` has no name")
    };
    let Some((place, _weight)) = place.rsplit_once(':') else {
        bail!("the server `{item}` has no weight")
    };
    Ok((name.to_owned(), address(place)?))
}

fn address(text: &str) -> Result<SocketAddr> {
    let address: SocketAddr = text.parse().with_context(|| format!("`{text}` is no address"))?;
    ensure!(address.ip().is_loopback(), "the demo stays on this machine, and {address} does not");
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::Quickstart;

    #[test]
    fn the_file_of_the_project_is_understood() {
        let demo =
            Quickstart::parse(include_str!("../../conf/quickstart.yml")).expect("a simple file");
        assert_eq!(demo.servers.len(), 3);
        assert!(
            demo.servers
                .iter()
                .all(|(_, address)| *address != demo.listen && *address != demo.stats)
        );
    }

    #[test]
    fn addresses_off_this_machine_are_refused() {
        let text =
            include_str!("../../conf/quickstart.yml").replace("127.0.0.1:22131", "192.0.2.1:22131");
        assert!(Quickstart::parse(&text).is_err());
    }
}
