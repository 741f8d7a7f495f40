//! The words behind `cargo xtask bench`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::load::script::Protocol;
use super::measure::Pace;
use super::subject::{Build, Peer};

/// Below this a round is too few to be published.
pub(crate) const ROUNDS_MIN: usize = 5;

/// How long a measurement takes: as long as lets a whole run end in half an hour on two cores.
const SECONDS: f64 = 0.8;

pub(crate) const USAGE: &str = "\
usage: cargo xtask bench [OPTION]...

  --case NAME...      only the cases of these names; a name that no case has means all that begin like it
  --rounds N          measure everything N times; 5 if not told
  --seconds S         for so long each time; 0.8 if not told
  --quick             a few cases, once and shortly: to see that it works
  --fresh             begin anew instead of going on with an interrupted run
  --peer NAME=HOST:PORT[:PID]
                      measure what listens there too; with its process its CPU time and memory
  --build NAME=PATH   measure another build of nutcracker too, one from before a change
  --list              only say which cases there are

Tables, figures and plots go to docs/performance if every case has been measured in 5 rounds, else to target/bench.";

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) cases: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) pace: Pace,
    pub(crate) is_quick: bool,
    pub(crate) is_fresh: bool,
    pub(crate) only_list: bool,
    pub(crate) peers: Vec<Peer>,
    pub(crate) builds: Vec<Build>,
}

impl Options {
    /// # Errors
    /// Says what is wrong with the words, and how they are meant.
    pub(crate) fn parse(words: &[&str]) -> Result<Options> {
        let mut options = Options {
            cases: Vec::new(),
            rounds: ROUNDS_MIN,
            pace: Pace::of(SECONDS),
            is_quick: false,
            is_fresh: false,
            only_list: false,
            peers: Vec::new(),
            builds: Vec::new(),
        };
        let (mut rounds, mut seconds) = (None, None);
        let mut words = words.iter().copied().peekable();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
            match word {
                "--rounds" => rounds = Some(value()?.parse().context("--rounds")?),
                "--seconds" => seconds = Some(value()?.parse::<f64>().context("--seconds")?),
                "--peer" => options.peers.push(peer(value()?)?),
                "--build" => options.builds.push(build(value()?)?),
                "--quick" => options.is_quick = true,
                "--fresh" => options.is_fresh = true,
                "--list" => options.only_list = true,
                "--case" => {
                    options.cases.push(value()?.to_owned());
                    while let Some(name) = words.next_if(|word| !word.starts_with("--")) {
                        options.cases.push(name.to_owned());
                    }
                }
                _ => bail!("there is no option `{word}`\n{USAGE}"),
            }
        }
        if options.is_quick {
            options.rounds = 1;
        }
        options.rounds = rounds.unwrap_or(options.rounds);
        options.pace = Pace::of(seconds.unwrap_or(if options.is_quick { 0.2 } else { SECONDS }));
        ensure!(options.rounds > 0, "at least one round");
        ensure!(
            options.pace.span > Duration::from_millis(10),
            "a hundredth of a second is not enough"
        );
        Ok(options)
    }

    /// Whether the case of this name was asked for; `all` are those that there are.
    pub(crate) fn wants(&self, case: &str, all: &[&str]) -> bool {
        self.cases.is_empty()
            || self.cases.iter().any(|name| {
                let is_exact = all.contains(&name.as_str());
                if is_exact { case == name } else { case.starts_with(name.as_str()) }
            })
    }
}

impl Pace {
    /// A quarter more for warming up.
    fn of(seconds: f64) -> Pace {
        let span = Duration::from_secs_f64(seconds.clamp(0.0, 3600.0));
        Pace { warm_up: span / 4, span }
    }
}

fn build(text: &str) -> Result<Build> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains('"'));
    let (name, path) = parts.with_context(|| format!("`{text}` is not NAME=PATH"))?;
    let path = Path::new(path).canonicalize().with_context(|| format!("cannot find {path}"))?;
    Ok(Build { name: name.to_owned(), path })
}

fn peer(text: &str) -> Result<Peer> {
    let wrong = || format!("`{text}` is not NAME=HOST:PORT[:PID]");
    let (name, rest) = text.split_once('=').with_context(wrong)?;
    ensure!(!name.is_empty() && !name.contains('"'), wrong());
    // An address of IPv6 stands in brackets.
    let host = if rest.starts_with('[') { rest.find(']').map(|at| at + 1) } else { rest.find(':') };
    let (host, rest) = rest.split_at(host.with_context(wrong)?);
    let mut numbers = rest.split(':').skip(1);
    let port = numbers.next().with_context(wrong)?;
    let process = numbers.next().map(str::parse).transpose().with_context(wrong)?;
    ensure!(numbers.next().is_none(), wrong());
    let place = format!("{host}:{port}");
    let address = place.to_socket_addrs().with_context(wrong)?.next().with_context(wrong)?;
    Ok(Peer { name: name.to_owned(), address, process, protocol: protocol_of(address)? })
}

/// Asks what listens there which protocol it speaks: both know a word that the other one does not.
fn protocol_of(address: SocketAddr) -> Result<Protocol> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("nobody at {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"version\r\n")?;
    let mut answer = [0; 7];
    let read = stream.read(&mut answer).unwrap_or(0);
    let is_memcached = [&b"VERSION"[..], b"ERROR\r\n"].contains(&&answer[..read]);
    Ok(if is_memcached { Protocol::Memcached } else { Protocol::Redis })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::{Options, peer};
    use crate::bench::load::script::Protocol;

    #[test]
    fn nothing_said_means_all_cases_five_times() {
        let options = Options::parse(&[]).expect("no words are fine");
        assert_eq!((options.rounds, options.pace.span), (5, Duration::from_millis(800)));
        assert!(options.wants("anything", &["anything"]));
    }

    #[test]
    fn cases_are_named_in_full_or_by_their_beginning() {
        let words = ["--case", "get-32-c50-p1", "set", "--quick", "--rounds", "2"];
        let options = Options::parse(&words).expect("options");
        let all = ["get-32-c50-p1", "get-32-c50-p16", "set-32-c1", "set-32-c50", "churn"];
        let wanted: Vec<_> = all.into_iter().filter(|case| options.wants(case, &all)).collect();
        assert_eq!(wanted, ["get-32-c50-p1", "set-32-c1", "set-32-c50"]);
        assert_eq!((options.rounds, options.is_quick), (2, true));
    }

    #[test]
    fn what_nobody_knows_is_an_error() {
        for words in [&["--round"][..], &["--rounds"], &["--rounds", "0"], &["--seconds", "no"]] {
            assert!(Options::parse(words).is_err(), "{words:?}");
        }
    }

    /// Answers one client.
    fn listener(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            let mut request = [0; 9];
            client.read_exact(&mut request).expect("a request");
            client.write_all(answer).expect("an answer");
        });
        address
    }

    #[test]
    fn a_peer_has_a_name_an_address_and_perhaps_a_process() {
        let address = listener(b"-ERR unknown command\r\n");
        let found = peer(&format!("predixy={address}:42")).expect("a peer");
        assert_eq!((found.name.as_str(), found.process), ("predixy", Some(42)));
        assert_eq!((found.address.to_string(), found.protocol), (address, Protocol::Redis));
        let address = listener(b"VERSION 1.6\r\n");
        let found = peer(&format!("other={address}")).expect("a peer");
        assert_eq!((found.process, found.protocol), (None, Protocol::Memcached));
        for text in ["127.0.0.1:1", "=127.0.0.1:1", "a=127.0.0.1", "a=127.0.0.1:1:2:3"] {
            assert!(peer(text).is_err(), "{text}");
        }
    }
}
