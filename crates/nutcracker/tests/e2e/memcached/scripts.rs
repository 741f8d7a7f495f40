//! The scripts, played against a memcached and against the proxy before one and before three of them: whole, step by
//! step and byte by byte. The replies have to be the same bytes.

use super::script::{CUTS, Case, Cut, Side};
use crate::harness::{Client, Pool, Proxy, RealServer};

/// A memcached of its own for each kind of access, so that none sees what another has done.
struct Stage {
    direct: RealServer,
    proxied: Vec<RealServer>,
    /// Before the first of `proxied`, and before the other three.
    proxies: [Proxy; 2],
}

/// Cases that fail before the rest is left out: each may wait for a reply that never comes.
const FAULTS_MAX: usize = 5;

impl Stage {
    fn set() -> Stage {
        let proxied = RealServer::several_memcached(4);
        let start = |servers: &[RealServer], workers| {
            Proxy::with(Pool::memcached(servers)).workers(workers).start()
        };
        let proxies = [start(&proxied[..1], 1), start(&proxied[1..], 2)];
        Stage { direct: RealServer::memcached(), proxied, proxies }
    }

    fn clear(&self) {
        for server in self.proxied.iter().chain([&self.direct]) {
            server.client().ask("flush_all\r\n", "OK\r\n");
        }
    }

    /// Plays `case` everywhere and returns what went wrong.
    fn play(&self, case: &Case, cut: Cut) -> Result<(), String> {
        self.clear();
        let mut client: Client = self.direct.client();
        let direct =
            case.play(Side::Direct, cut, &mut client).map_err(|e| format!("direct, {e}"))?;
        for (proxy, servers) in self.proxies.iter().zip([1, 3]) {
            let got = case
                .play(Side::Proxied, cut, &mut proxy.client())
                .map_err(|error| format!("through the proxy to {servers}, {error}"))?;
            if got != direct && !case.differs {
                let (got, direct) = (got.escape_ascii(), direct.escape_ascii());
                return Err(format!(
                    "{servers} servers: {got} through the proxy, {direct} directly"
                ));
            }
        }
        Ok(())
    }
}

#[track_caller]
fn play_all(file: &str) {
    let stage = Stage::set();
    let mut faults = Vec::new();
    for case in Case::read(file) {
        for cut in CUTS.into_iter().filter(|&cut| case.allows(cut)) {
            if faults.len() < FAULTS_MAX
                && let Err(fault) = stage.play(&case, cut)
            {
                faults.push(format!("{} ({cut:?}): {fault}", case.name));
            }
        }
    }
    assert!(faults.is_empty(), "{file}:\n{}", faults.join("\n"));
}

#[test]
fn classic_commands_are_answered_as_memcached_answers_them() {
    play_all("classic.script");
}

#[test]
fn commands_without_replies_leave_none() {
    play_all("noreply.script");
}

#[test]
fn meta_commands_are_answered_as_memcached_answers_them() {
    play_all("meta.script");
}

#[test]
fn bad_requests_are_answered_as_memcached_answers_them() {
    play_all("errors.script");
}

#[test]
fn values_of_any_bytes_and_size_come_back() {
    play_all("values.script");
}
