//! The two cases about memory and large values: clients that do not read what they asked for, and a value of 512 MiB
//! that passes while others send small requests.
//!
//! They stand apart because a measurement is a story here: before, while, and after.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use socket2::{Domain, Socket, Type};

use super::cases::{Case, Verb};
use super::fleet::{self, Fleet};
use super::load::{Load, REQUESTS_MIN, Shape};
use super::machine;
use super::measure::{self, Setting};
use super::samples::{Metric, Sample};
use super::subject::{Serving, Subject};

/// How little a slow reader's side of a connection takes.
const RECEIVE_BUFFER: usize = 4096;
const SEGMENT: u32 = 1024;
/// The part of what was asked for that must have come into the proxy for the burst to be whole, and how long it may take:
/// a proxy may wait for a reader before it takes more than a part of a value from the server.
const WHOLE: f64 = 0.95;
const GROWING_MAX: Duration = Duration::from_secs(15);
/// Less than this is noise.
const NOISE_KIB: f64 = 1024.0;
/// How long memory has to come back, and when it has.
const RETURN_MAX: Duration = Duration::from_secs(10);
pub(super) const BACK_KIB: f64 = 32.0 * 1024.0;

/// The huge value.
pub(super) const HUGE_BYTES: usize = 512 << 20;
const CHUNK: usize = 1 << 20;
/// Small requests meanwhile, per second.
const RATE: f64 = 1_000.0;
/// How long nothing may come of a huge value, and how many are to pass while others are measured.
const TRANSFER_STALLED: Duration = Duration::from_secs(10);
const TRANSFERS: usize = 2;

/// Every client asks for one value, reads nothing and goes once no more comes into the proxy's memory.
///
/// # Errors
/// When a connection fails, or the proxy's process is unknown.
pub(super) fn slow_readers(
    case: &Case,
    serving: &Serving,
    setting: &Setting<'_>,
    sample: &mut Sample,
) -> Result<()> {
    let process = serving.process.context("the memory of an unknown process cannot be measured")?;
    let script = setting.script;
    let at_start = machine::memory(process)?.resident_kib;
    let address = *serving.listen.first().context("no address")?;
    let mut clients: Vec<TcpStream> =
        (0..case.connections).map(|_| slow_reader(address)).collect::<Result<_>>()?;
    for (number, client) in clients.iter_mut().enumerate() {
        let request = number % script.len();
        let end = if request + 1 == script.len() {
            script.bytes.len()
        } else {
            script.start(request + 1)
        };
        client.write_all(&script.bytes[script.start(request)..end])?;
    }
    let whole = WHOLE * (case.connections * script.reply.len) as f64 / 1024.0;
    let begun = Instant::now();
    let mut resident = at_start;
    while resident < at_start + whole && begun.elapsed() < GROWING_MAX {
        thread::sleep(Duration::from_millis(50));
        resident = machine::memory(process)?.resident_kib;
    }
    drop(clients);
    let gone = Instant::now();
    let mut back = None;
    while gone.elapsed() < RETURN_MAX && resident > at_start + NOISE_KIB {
        thread::sleep(Duration::from_millis(50));
        resident = machine::memory(process)?.resident_kib;
        if resident <= at_start + BACK_KIB {
            back = back.or(Some(gone.elapsed()));
        }
    }
    sample.set(Metric::ResidentSettled, resident);
    if let Some(back) = back {
        sample.set(Metric::Return, back.as_secs_f64());
    }
    Ok(())
}

/// With a small receive buffer and small segments: else the kernel's buffers on both sides would take the value.
fn slow_reader(address: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_tcp_mss(SEGMENT)?;
    socket.connect(&address.into()).with_context(|| format!("cannot connect to {address}"))?;
    Ok(socket.into())
}

/// Small requests to all servers but the last, first alone, then while huge values go to or come from the last.
///
/// # Errors
/// When a huge value does not pass, or small requests fail.
pub(super) fn huge(
    case: &Case,
    verb: Verb,
    (subject, serving): (&Subject, &Serving),
    setting: &Setting<'_>,
    sample: &mut Sample,
) -> Result<()> {
    let last = *setting.fleet.addresses.last().context("no server")?;
    let key = key(setting.fleet);
    prepare(last, &key)?;
    let address = if *subject == Subject::Direct {
        last
    } else {
        *serving.listen.first().context("no address")?
    };
    let load = Load {
        targets: &serving.listen,
        script: setting.script,
        connections: case.connections,
        shape: Shape::Open { rate: RATE },
        cores: &setting.cores.load[..1],
        warm_up: setting.pace.warm_up,
        span: setting.pace.span,
        requests_min: REQUESTS_MIN,
        while_set: None,
    };
    let calm = load.run(|| Ok(()))?;
    let metrics = [Metric::CalmP50, Metric::CalmP99, Metric::CalmP999, Metric::CalmMax];
    measure::record(&calm.latency, metrics, sample);
    let (is_wanted, is_awaited) = (AtomicBool::new(true), AtomicBool::new(true));
    thread::scope(|scope| {
        let transfers = scope.spawn(|| {
            let outcome = machine::demote_this_thread()
                .and_then(|()| machine::pin_this_thread(&setting.cores.load))
                .and_then(|()| pass(verb, address, &key, &is_wanted, &is_awaited));
            is_awaited.store(false, Ordering::Relaxed);
            outcome
        });
        let disturbed = Load { while_set: Some(&is_awaited), ..load }.run(|| Ok(()));
        is_wanted.store(false, Ordering::Relaxed);
        let took = transfers.join().map_err(|_| anyhow!("a huge value panicked"))?;
        let disturbed = disturbed?;
        let metrics = [Metric::P50, Metric::P99, Metric::P999, Metric::Max];
        measure::record(&disturbed.latency, metrics, sample);
        sample.set(Metric::Transfer, took?.as_secs_f64());
        ensure!(
            disturbed.unanswered == 0,
            "{} small requests were not answered",
            disturbed.unanswered
        );
        Ok(())
    })
}

/// A key that lives on the last server.
fn key(fleet: &Fleet) -> String {
    let servers = fleet.addresses.len();
    let sharder = fleet::sharder(servers);
    let mut keys = (0..).map(|number| format!("huge:{number}"));
    keys.find(|key| sharder.shard(key.as_bytes(), || 0) + 1 == servers).unwrap_or_default()
}

/// Sees to it that the server has the value.
fn prepare(server: SocketAddr, key: &str) -> Result<()> {
    let mut stream = stalling(server)?;
    write!(stream, "*2\r\n$6\r\nSTRLEN\r\n${}\r\n{key}\r\n", key.len())?;
    let mut reply = [0; 32];
    let read = stream.read(&mut reply)?;
    if reply[..read] != *format!(":{HUGE_BYTES}\r\n").as_bytes() {
        set(&mut stream, key, &vec![b'x'; CHUNK])?;
    }
    Ok(())
}

/// Lets huge values pass one after the other, until enough have or none is wanted any more; returns how long one took.
fn pass(
    verb: Verb,
    address: SocketAddr,
    key: &str,
    is_wanted: &AtomicBool,
    is_awaited: &AtomicBool,
) -> Result<Duration> {
    let mut chunk = vec![b'x'; CHUNK];
    let begun = Instant::now();
    let mut passed = 0;
    while passed == 0 || is_wanted.load(Ordering::Relaxed) {
        let mut stream = stalling(address)?;
        match verb {
            Verb::Get => get(&mut stream, key, &mut chunk),
            Verb::Set => set(&mut stream, key, &chunk),
        }
        .with_context(|| format!("512 MiB did not pass, after {:.0?}", begun.elapsed()))?;
        passed += 1;
        if passed >= TRANSFERS {
            is_awaited.store(false, Ordering::Relaxed);
        }
    }
    Ok(begun.elapsed() / passed as u32)
}

fn stalling(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TRANSFER_STALLED))?;
    stream.set_write_timeout(Some(TRANSFER_STALLED))?;
    Ok(stream)
}

fn get(stream: &mut TcpStream, key: &str, buffer: &mut [u8]) -> Result<()> {
    write!(stream, "*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len())?;
    let head = format!("${HUGE_BYTES}\r\n");
    let mut left = head.len() + HUGE_BYTES + 2;
    let mut is_first = true;
    while left > 0 {
        let read = match stream.read(buffer) {
            Ok(0) => bail!("the connection was closed with {left} bytes to come"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                bail!("nothing came for {TRANSFER_STALLED:?} with {left} bytes to come")
            }
            read => read?,
        };
        if is_first {
            let begin = String::from_utf8_lossy(&buffer[..read.min(head.len())]).into_owned();
            ensure!(begin == head, "an unexpected reply: {begin:?}");
            is_first = false;
        }
        left = left.checked_sub(read).context("more than the value came")?;
    }
    Ok(())
}

fn set(stream: &mut TcpStream, key: &str, chunk: &[u8]) -> Result<()> {
    write!(stream, "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${HUGE_BYTES}\r\n", key.len())?;
    for _ in 0..HUGE_BYTES / chunk.len() {
        stream.write_all(chunk).context("the value could not be written")?;
    }
    stream.write_all(b"\r\n")?;
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).context("the value was not answered")?;
    ensure!(reply == *b"+OK\r\n", "an unexpected reply: {:?}", String::from_utf8_lossy(&reply));
    Ok(())
}
