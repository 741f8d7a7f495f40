//! The scripts, played against a memcached and against the proxy before one and before three of them: whole, step by
//! step and byte by byte. The replies have to be the same bytes.

use super::script::{CUTS, Case, Cut, Side};
use crate::harness::{Client, Pool, Proxy, RealServer};

/// A memcached of its own for each kind of access, so that none sees what another has done.
struct Stage {
    /// One straight to a server, one through the proxy before one server, one through that before three.
    clients: [Client; 3],
    /// Straight to every server, for emptying it.
    sweepers: Vec<Client>,
    _proxies: [Proxy; 2],
    _servers: Vec<RealServer>,
}

/// Cases that fail before the rest is left out: each may wait for a reply that never comes.
const FAULTS_MAX: usize = 5;

const WAYS: [(&str, Side); 3] = [
    ("directly", Side::Direct),
    ("through the proxy to 1", Side::Proxied),
    ("through the proxy to 3", Side::Proxied),
];

impl Stage {
    fn set() -> Stage {
        let servers = RealServer::several_memcached(5);
        let start = |servers: &[RealServer], workers| {
            Proxy::with(Pool::memcached(servers)).workers(workers).start()
        };
        let proxies = [start(&servers[1..2], 1), start(&servers[2..], 2)];
        Stage {
            clients: [servers[0].client(), proxies[0].client(), proxies[1].client()],
            sweepers: servers.iter().map(RealServer::client).collect(),
            _proxies: proxies,
            _servers: servers,
        }
    }

    /// Plays `case` everywhere and returns what went wrong, after which the stage is of no further use.
    fn play(&mut self, case: &Case, cut: Cut) -> Result<(), String> {
        for sweeper in &mut self.sweepers {
            sweeper.ask("flush_all\r\n", "OK\r\n");
        }
        let mut first: Option<Vec<u8>> = None;
        for ((way, side), client) in WAYS.into_iter().zip(&mut self.clients) {
            let got = case.play(side, cut, client).map_err(|fault| format!("{way}: {fault}"))?;
            match &first {
                Some(direct) if got != *direct && !case.differs => {
                    let (got, direct) = (got.escape_ascii(), direct.escape_ascii());
                    return Err(format!("{way}: {got} and not {direct}"));
                }
                Some(_) => {}
                None => first = Some(got),
            }
        }
        Ok(())
    }
}

#[track_caller]
fn play_all(file: &str) {
    let mut stage = Stage::set();
    let mut faults = Vec::new();
    for case in Case::read(file) {
        for cut in CUTS.into_iter().filter(|&cut| case.allows(cut)) {
            if faults.len() < FAULTS_MAX
                && let Err(fault) = stage.play(&case, cut)
            {
                faults.push(format!("{} ({cut:?}) {fault}", case.name));
                stage = Stage::set();
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
