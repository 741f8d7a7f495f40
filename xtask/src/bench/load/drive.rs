//! The loop of one thread of the load, one for each shape.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::script::Random;
use super::stream::{self, Stream};
use super::{Load, Meter, NEXT, Part, Phase, Shape, Shared, now_ns};
use crate::bench::machine;

/// A look at the phase at least this often.
const LOOK: Duration = Duration::from_millis(10);
/// How long all replies are awaited at the end.
const ALL_NS: u64 = 4_000_000_000;
const READ_BYTES: usize = 256 << 10;
const TIMER: Token = Token(usize::MAX);

/// The state of one thread.
struct Driver<'a> {
    load: &'a Load<'a>,
    meter: Meter<'a>,
    poll: Poll,
    buffer: Vec<u8>,
    streams: Vec<Stream>,
    ending: Option<Ending>,
}

/// The end of a run has begun.
struct Ending {
    begun: u64,
    /// How many requests were under way at the latest look at which one had been answered, and when that was.
    under_way: usize,
    changed: u64,
    /// Those that nobody waits for any more, because none was answered for too long.
    given_up: usize,
}

/// Drives the connections that are the share of this thread.
///
/// # Errors
/// When a connection fails or a reply is not the one expected.
pub(super) fn run(load: &Load<'_>, shared: &Shared, thread: usize, threads: usize) -> Result<Part> {
    machine::pin_this_thread(&load.cores[thread..=thread])?;
    let share = load.share(thread, threads);
    let mut driver = Driver {
        load,
        meter: Meter::new(shared)?,
        poll: Poll::new()?,
        buffer: vec![0; READ_BYTES],
        streams: Vec::new(),
        ending: None,
    };
    if load.shape != Shape::Churn {
        for index in 0..share {
            driver.connect(index, thread)?;
        }
    }
    shared.connected.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    while shared.phase() == Phase::Connecting {
        thread::sleep(Duration::from_micros(100));
    }
    match load.shape {
        Shape::Closed { pipeline } => driver.closed(pipeline)?,
        Shape::Open { rate } => driver.open(rate / threads as f64, thread)?,
        Shape::Churn => driver.churn(share)?,
    }
    let unanswered = driver.ending.map_or(0, |ending| ending.given_up);
    Ok(Part { latency: driver.meter.latency, cpu: driver.meter.cpu, unanswered })
}

impl Driver<'_> {
    fn connect(&mut self, index: usize, thread: usize) -> Result<()> {
        let mut socket = stream::connect(self.load.target(index, thread))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(index), interest)?;
        // Connections begin at different places of the script.
        let first = index * 61 + thread * 1009;
        self.streams.push(Stream::new(socket, self.load.script, first));
        Ok(())
    }

    /// Whether to go on: until the end has come and all is answered, or that would take too long. A proxy may be slow,
    /// but one that answers nothing at all any more has lost replies, or cannot keep up.
    fn goes_on(&mut self) -> bool {
        if self.meter.turn() != Phase::Ending {
            return true;
        }
        let under_way: usize = self.streams.iter().map(|stream| stream.due.len()).sum();
        let now = now_ns();
        let ending =
            self.ending.get_or_insert(Ending { begun: now, under_way, changed: now, given_up: 0 });
        if under_way != ending.under_way {
            (ending.under_way, ending.changed) = (under_way, now);
        }
        if now > ending.changed + NEXT.as_nanos() as u64 {
            ending.given_up = under_way;
            return false;
        }
        under_way > 0 && now < ending.begun + ALL_NS
    }

    /// Handles the events of established connections.
    fn serve(
        &mut self,
        events: &Events,
        mut then: impl FnMut(&mut Stream, u64) -> Result<()>,
    ) -> Result<()> {
        let script = self.load.script;
        for event in events.iter().filter(|event| event.token() != TIMER) {
            let stream = &mut self.streams[event.token().0];
            let now = now_ns();
            let meter = &mut self.meter;
            stream.read(script, &mut self.buffer, |due| meter.answered(due, now))?;
            if event.is_writable() {
                stream.write(script)?;
            }
            then(stream, now)?;
        }
        Ok(())
    }

    fn closed(&mut self, pipeline: usize) -> Result<()> {
        let script = self.load.script;
        for stream in &mut self.streams {
            stream.send(script, pipeline, now_ns())?;
        }
        let mut events = Events::with_capacity(1024);
        while self.goes_on() {
            self.poll.poll(&mut events, Some(LOOK))?;
            let is_over = self.meter.turn() == Phase::Ending;
            self.serve(&events, |stream, now| {
                if stream.due.is_empty() && !is_over {
                    stream.send(script, pipeline, now)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn open(&mut self, rate: f64, thread: usize) -> Result<()> {
        let script = self.load.script;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let raw = timer.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&raw), TIMER, Interest::READABLE)?;
        let mut random = Random(0xc0ff_ee00 + thread as u64);
        let mean = 1e9 / rate;
        let mut due = now_ns() as f64 + random.exponential(mean);
        let mut turn = 0;
        let mut events = Events::with_capacity(1024);
        while self.goes_on() {
            let at = due as u64;
            let it_value = Timespec {
                tv_sec: (at / 1_000_000_000) as i64,
                tv_nsec: (at % 1_000_000_000) as i64,
            };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            timerfd_settime(
                &timer,
                TimerfdTimerFlags::ABSTIME,
                &Itimerspec { it_interval, it_value },
            )?;
            self.poll.poll(&mut events, Some(LOOK))?;
            while due <= now_ns() as f64 && self.meter.turn() != Phase::Ending {
                turn = (turn + 1) % self.streams.len();
                let sent = self.streams[turn].send(script, 1, due as u64);
                sent.with_context(|| format!("{rate:.0} requests per second are too many"))?;
                due += random.exponential(mean);
            }
            self.serve(&events, |_, _| Ok(()))?;
        }
        Ok(())
    }

    fn churn(&mut self, connections: usize) -> Result<()> {
        let mut dialled = HashMap::new();
        for token in 0..connections {
            dialled.insert(token, self.dial(token)?);
        }
        let script = self.load.script;
        let mut events = Events::with_capacity(1024);
        let mut is_over = false;
        while !is_over {
            self.poll.poll(&mut events, Some(LOOK))?;
            is_over = self.meter.turn() == Phase::Ending;
            for event in &events {
                let token = event.token().0;
                let Some((stream, begun)) = dialled.get_mut(&token) else { continue };
                if let Some(begun) = begun.take_if(|_| event.is_writable()) {
                    if let Some(error) = stream.socket.take_error()? {
                        return Err(error).context("a connection could not be established");
                    }
                    stream.send(script, 1, begun)?;
                }
                if begun.is_some() {
                    continue;
                }
                let now = now_ns();
                let meter = &mut self.meter;
                stream.read(script, &mut self.buffer, |due| meter.answered(due, now))?;
                if stream.due.is_empty() {
                    dialled.insert(token, self.dial(token)?);
                }
            }
        }
        Ok(())
    }

    /// Begins a connection; it is due from now on.
    fn dial(&mut self, token: usize) -> Result<(Stream, Option<u64>)> {
        let begun = now_ns();
        let mut socket = stream::begin_to_connect(self.load.target(token, 0))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut socket, Token(token), interest)?;
        Ok((Stream::new(socket, self.load.script, begun as usize), Some(begun)))
    }
}
