//! Real redis-server and memcached processes on ports of their own.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::client::Client;
use super::pool::Location;
use super::ports::unused_port;
use super::process::Process;
use super::random::Random;
use super::reply::Reply;
use super::wait::eventually;

#[derive(Clone)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A real server. Its data lives in memory only and goes with it.
pub(crate) struct RealServer {
    process: Process,
    place: Place,
    arguments: Vec<String>,
    dir: TempDir,
}

impl RealServer {
    /// A redis-server on a loopback port.
    #[track_caller]
    pub(crate) fn redis() -> RealServer {
        RealServer::redis_with(&[])
    }

    /// `count` redis-servers on loopback ports.
    #[track_caller]
    pub(crate) fn several(count: usize) -> Vec<RealServer> {
        (0..count).map(|_| RealServer::redis()).collect()
    }

    /// A redis-server on a loopback port with further options, such as `["--requirepass", "secret"]`.
    #[track_caller]
    pub(crate) fn redis_with(options: &[&str]) -> RealServer {
        RealServer::start("redis-server", options, |_| {
            Place::Tcp((Ipv4Addr::LOCALHOST, unused_port()).into())
        })
    }

    /// A redis-server at an address of this machine; `None` when its port is taken there.
    #[track_caller]
    pub(crate) fn redis_at(address: SocketAddr) -> Option<RealServer> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let place = Place::Tcp(address);
        let mut arguments = vec!["redis-server".to_owned()];
        arguments.extend(redis_arguments(&dir, &place));
        let process = launch(&arguments, &place)?;
        Some(RealServer { process, place, arguments, dir })
    }

    /// A redis-server on a unix socket.
    #[track_caller]
    pub(crate) fn redis_on_a_unix_socket(options: &[&str]) -> RealServer {
        RealServer::start("redis-server", options, |dir| Place::Unix(dir.path().join("redis.sock")))
    }

    /// A memcached on a loopback port.
    #[track_caller]
    pub(crate) fn memcached() -> RealServer {
        RealServer::memcached_with(&[])
    }

    /// `count` memcacheds on loopback ports.
    #[track_caller]
    pub(crate) fn several_memcached(count: usize) -> Vec<RealServer> {
        (0..count).map(|_| RealServer::memcached()).collect()
    }

    /// A memcached on a loopback port with further options, such as `["-I", "2m"]`.
    #[track_caller]
    pub(crate) fn memcached_with(options: &[&str]) -> RealServer {
        RealServer::start("memcached", options, |_| {
            Place::Tcp((Ipv4Addr::LOCALHOST, unused_port()).into())
        })
    }

    /// A memcached on a unix socket.
    #[track_caller]
    pub(crate) fn memcached_on_a_unix_socket() -> RealServer {
        RealServer::start("memcached", &[], |dir| Place::Unix(dir.path().join("memcached.sock")))
    }

    #[track_caller]
    fn start(program: &str, options: &[&str], place: impl Fn(&TempDir) -> Place) -> RealServer {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (process, place, arguments) = eventually("a server starts on a free port", || {
            let place = place(&dir);
            let mut arguments = vec![program.to_owned()];
            arguments.extend(match program {
                "memcached" => memcached_arguments(&place),
                _ => redis_arguments(&dir, &place),
            });
            arguments.extend(options.iter().map(|&option| option.to_owned()));
            launch(&arguments, &place).map(|process| (process, place, arguments))
        });
        RealServer { process, place, arguments, dir }
    }

    /// A client straight to this server, around the proxy.
    #[track_caller]
    pub(crate) fn client(&self) -> Client {
        match &self.place {
            Place::Tcp(address) => Client::connect(*address),
            Place::Unix(path) => Client::connect_unix(path),
        }
    }

    /// Its port.
    #[track_caller]
    pub(crate) fn port(&self) -> u16 {
        match &self.place {
            Place::Tcp(address) => address.port(),
            Place::Unix(path) => panic!("{} has no port", path.display()),
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// All keys it holds, sorted.
    #[track_caller]
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<_> =
            self.client().call(&["KEYS", "*"]).array().into_iter().map(Reply::bytes).collect();
        keys.sort();
        keys
    }

    /// How many keys it holds.
    #[track_caller]
    pub(crate) fn key_count(&self) -> i64 {
        self.client().call(&["DBSIZE"]).integer()
    }

    /// Removes every key.
    #[track_caller]
    pub(crate) fn clear(&self) {
        assert_eq!(self.client().call(&["FLUSHALL"]), Reply::ok());
    }

    /// Kills it; its port refuses connections from now on and its data is gone.
    pub(crate) fn stop(&mut self) {
        self.process.kill();
    }

    /// Starts it again in the same place.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.stop();
        self.process =
            eventually("a stopped server starts again", || launch(&self.arguments, &self.place));
    }

    /// Freezes it: connections are accepted by the kernel and nothing is answered.
    pub(crate) fn freeze(&mut self) {
        self.process.freeze();
    }

    /// Ends a freeze.
    pub(crate) fn thaw(&mut self) {
        self.process.signal(Signal::CONT);
    }

    /// Closes the connections of all normal clients, as an idle timeout would.
    #[track_caller]
    pub(crate) fn close_clients(&self) {
        self.client().call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).integer();
    }

    /// A folder that lives as long as this server.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}

impl Location for RealServer {
    fn location(&self) -> String {
        match &self.place {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(path) => path.display().to_string(),
        }
    }
}

fn redis_arguments(dir: &TempDir, place: &Place) -> Vec<String> {
    let mut arguments: Vec<String> = match place {
        Place::Tcp(address) => {
            let (port, ip) = (address.port().to_string(), address.ip().to_string());
            vec!["--port".into(), port, "--bind".into(), ip]
        }
        Place::Unix(path) => {
            vec!["--port".into(), "0".into(), "--unixsocket".into(), path.display().to_string()]
        }
    };
    let dir = dir.path().display().to_string();
    arguments.extend(["--save", "", "--appendonly", "no", "--databases", "64"].map(str::to_owned));
    // Some are bound to addresses of private networks, where only the test reaches them.
    arguments.extend(["--protected-mode", "no", "--dir"].map(str::to_owned));
    arguments.push(dir);
    arguments
}

fn memcached_arguments(place: &Place) -> Vec<String> {
    let mut arguments: Vec<String> = match place {
        Place::Tcp(address) => {
            let (port, ip) = (address.port().to_string(), address.ip().to_string());
            vec!["-p".into(), port, "-l".into(), ip]
        }
        Place::Unix(path) => vec!["-s".into(), path.display().to_string()],
    };
    // As root it wants to be told who to be; elsewhere it takes no notice.
    arguments.extend(["-u", "root", "-t", "1"].map(str::to_owned));
    arguments
}

/// Starts it and waits until it accepts connections; `None` when it ended instead, as it does on a taken port.
fn launch(arguments: &[String], place: &Place) -> Option<Process> {
    let (program, arguments) = arguments.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::spawn(&mut command);
    let accepts = eventually("a server accepts connections", || {
        if process.ended().is_some() {
            return Some(false);
        }
        let reached = match place {
            Place::Tcp(address) => TcpStream::connect(address).is_ok(),
            Place::Unix(path) => UnixStream::connect(path).is_ok(),
        };
        reached.then_some(true)
    });
    accepts.then_some(process)
}

/// Keys that each live on another server: finds, through `proxy`, one key per server of `servers`, in that order.
///
/// The servers hold the found keys, and no others, afterwards.
#[track_caller]
pub(crate) fn spread(
    proxy: &mut Client,
    servers: &[RealServer],
    per_server: usize,
) -> Vec<Vec<String>> {
    let mut random = Random::seeded(7);
    let count = servers.len() * per_server * 8 + 64;
    let names: Vec<String> = (0..count).map(|_| format!("key:{:016x}", random.bits())).collect();
    for name in &names {
        proxy.send_request(&["SET", name, "x"]);
    }
    for _ in &names {
        assert_eq!(proxy.reply(), Reply::ok());
    }
    let on_each = servers.iter().map(|server| {
        let mut keys: Vec<String> = server
            .keys()
            .into_iter()
            .map(|key| String::from_utf8(key).expect("the keys set above"))
            .collect();
        server.clear();
        assert!(keys.len() >= per_server, "only {} keys on {}", keys.len(), server.location());
        keys.truncate(per_server);
        keys
    });
    on_each.collect()
}
