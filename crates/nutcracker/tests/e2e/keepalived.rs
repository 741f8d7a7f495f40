//! A pair of proxies behind a virtual address, as `dist/keepalived` sets it up: the address follows the proxy that
//! answers. Both hosts are networks of their own, and so is the place of the client, where a bridge joins them.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{PrivateNetwork, Process, Proxy, RealServer, eventually, skip};

/// Those of `dist/keepalived/keepalived.conf`, which documentation reserves and nobody has.
const VIRTUAL: &str = "192.0.2.100";
const OF_CLIENT: &str = "192.0.2.1";
const OF_FIRST: &str = "192.0.2.11";
const OF_SECOND: &str = "192.0.2.12";

/// The port of the pool that the check asks.
const PORT: u16 = 22121;

/// How long the client waits before it tries another connection.
const CLIENT_PATIENCE: Duration = Duration::from_millis(500);

#[test]
fn the_address_leaves_a_dead_proxy_and_comes_back_and_the_client_goes_on() {
    if Command::new("keepalived").arg("--version").stderr(Stdio::null()).status().is_err() {
        return skip("keepalived is not installed");
    }
    let Some(site) = Site::build() else { return };
    let _server = site.clients.inside(|| {
        RealServer::redis_at(format!("{OF_CLIENT}:6379").parse().expect("an address"))
            .expect("a free port in a new network")
    });
    let mut on_first = site.first.proxy();
    let _on_second = site.second.proxy();
    let files = Files::prepare();
    let _first = site.first.keepalived(&files, Host::First);
    let _second = site.second.keepalived(&files, Host::Second);
    let (first, second) = (&site.first, &site.second);
    let mut client = Visitor { network: &site.clients, stream: None, visits: 0 };
    client.visit_until("the address is on the first host", || first.has_address());

    on_first.signal(Signal::KILL);
    on_first.wait_for_end();
    client.visit_until("it moves to the second host", || {
        second.has_address() && !first.has_address()
    });

    let _on_first = first.proxy();
    client.visit_until("it comes back", || first.has_address() && !second.has_address());
}

/// Two hosts, and clients on the bridge between them.
struct Site {
    clients: PrivateNetwork,
    first: ProxyHost,
    second: ProxyHost,
}

struct ProxyHost(PrivateNetwork);

#[derive(Clone, Copy, PartialEq)]
enum Host {
    First,
    Second,
}

impl Site {
    fn build() -> Option<Site> {
        let clients = PrivateNetwork::create()?;
        let first = ProxyHost(PrivateNetwork::create()?);
        let second = ProxyHost(PrivateNetwork::create()?);
        let mut wires = format!(
            "ip link add br0 type bridge && ip link set br0 up && ip addr add {OF_CLIENT}/24 dev br0"
        );
        for (host, end) in [(&first, "to-first"), (&second, "to-second")] {
            let id = host.0.id();
            wires += &format!(
                " && ip link add {end} type veth peer name eth0 netns {id} \
                 && ip link set {end} master br0 up"
            );
        }
        if !clients.inside(|| shell(&wires)) {
            skip("bridges and virtual links are not allowed here");
            return None;
        }
        for (host, address) in [(&first, OF_FIRST), (&second, OF_SECOND)] {
            let up = format!("ip addr add {address}/24 dev eth0 && ip link set eth0 up");
            assert!(host.0.inside(|| shell(&up)), "{up}");
        }
        Some(Site { clients, first, second })
    }
}

impl ProxyHost {
    fn proxy(&self) -> Proxy {
        let yaml = format!(
            "alpha:\n  listen: 0.0.0.0:{PORT}\n  redis: true\n  servers:\n    - {OF_CLIENT}:6379:1 one\n"
        );
        self.0.inside(|| Proxy::start(yaml))
    }

    /// Dropping it ends it and what it started: it is the first process of a process tree of its own.
    fn keepalived(&self, files: &Files, host: Host) -> Process {
        let configuration = files.configuration(host);
        let beside = |extension| configuration.with_extension(extension);
        let log = fs::File::create(beside("log")).expect("a log");
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "keepalived", "--vrrp"]);
        command.args(["--dont-fork", "--log-console", "--log-detail"]);
        command.arg("--use-file").arg(&configuration);
        command.arg("--pid").arg(beside("pid")).arg("--vrrp_pid").arg(beside("vrrp-pid"));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
        self.0.inside(|| Process::spawn(&mut command))
    }

    fn has_address(&self) -> bool {
        let output = self.0.inside(|| {
            Command::new("ip").args(["-o", "-4", "addr", "show", "dev", "eth0"]).output()
        });
        let output = output.expect("ip can be run");
        String::from_utf8_lossy(&output.stdout).contains(&format!(" {VIRTUAL}/"))
    }
}

fn shell(line: &str) -> bool {
    Command::new("sh").args(["-c", line]).status().is_ok_and(|status| status.success())
}

/// The files of `dist/keepalived` in a folder that the user of the check may look into.
struct Files(TempDir);

impl Files {
    fn prepare() -> Files {
        let dir = tempfile::tempdir().expect("a folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let check = dir.path().join("check-nutcracker");
        fs::copy(dist().join("check-nutcracker"), check).expect("a copy");
        Files(dir)
    }

    /// The configuration of `dist`, with the script where it is here. On the second host it is changed as its own
    /// comments say.
    fn configuration(&self, host: Host) -> PathBuf {
        let text = fs::read_to_string(dist().join("keepalived.conf")).expect("a configuration");
        let here = format!("{}/", self.0.path().display());
        // Moving takes some of these intervals; shorter ones spare the test some waiting.
        let text = replace(&text, "/usr/local/lib/nutcracker/", &here);
        let text = replace(&text, "advert_int 1", "advert_int 0.2");
        let (name, text) = match host {
            Host::First => ("first.conf", text),
            Host::Second => ("second.conf", text.lines().map(on_the_second_host).collect()),
        };
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("a configuration");
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if thread::panicking() {
            for log in ["first.log", "second.log"] {
                let text = fs::read_to_string(self.0.path().join(log)).unwrap_or_default();
                eprintln!("--- {log} ---\n{text}");
            }
        }
    }
}

fn replace(text: &str, part: &str, by: &str) -> String {
    assert!(text.contains(part), "no {part} in {text}");
    text.replace(part, by)
}

/// `priority 150   # second: 100` becomes `priority 100`.
fn on_the_second_host(line: &str) -> String {
    let Some((own, value)) = line.split_once("# second: ") else { return format!("{line}\n") };
    let own = own.trim_end();
    let words = own.rfind(' ').map_or("", |end| &own[..=end]);
    format!("{words}{value}\n")
}

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/keepalived")
}

/// A client of the virtual address that connects anew whenever something goes wrong.
struct Visitor<'a> {
    network: &'a PrivateNetwork,
    stream: Option<TcpStream>,
    visits: u32,
}

impl Visitor<'_> {
    /// Writes and reads a value; whether that worked.
    fn visit(&mut self) -> bool {
        self.stream = self.stream.take().or_else(|| self.network.inside(connect).ok());
        self.visits += 1;
        let value = format!("{:08}", self.visits);
        let outcome = self.stream.as_mut().is_some_and(|stream| exchange(stream, &value).is_ok());
        if !outcome {
            self.stream = None;
        }
        outcome
    }

    /// Visits all the time, whether or not that works, until `reached`; after that it has to work again.
    #[track_caller]
    fn visit_until(&mut self, what: &str, reached: impl Fn() -> bool) {
        eventually(what, || {
            self.visit();
            reached().then_some(())
        });
        eventually("the client gets through", || self.visit().then_some(()));
    }
}

fn connect() -> io::Result<TcpStream> {
    let address = format!("{VIRTUAL}:{PORT}").parse().expect("an address");
    let stream = TcpStream::connect_timeout(&address, CLIENT_PATIENCE)?;
    stream.set_read_timeout(Some(CLIENT_PATIENCE))?;
    Ok(stream)
}

fn exchange(stream: &mut TcpStream, value: &str) -> io::Result<()> {
    write!(stream, "SET visits {value}\r\nGET visits\r\n")?;
    let expected = format!("+OK\r\n$8\r\n{value}\r\n");
    let mut reply = vec![0; expected.len()];
    stream.read_exact(&mut reply)?;
    assert_eq!(String::from_utf8_lossy(&reply), expected);
    Ok(())
}
