//! Serving, from the outside: start, wait for events, drain, exit status.

use std::process::ExitCode;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use reactor::process::release_free_memory;

use super::Event;
use super::reload::{Reloader, Scene};
use super::signals::Signal;
use super::spike::Spike;
use super::startup::{Plan, Running};
use super::watchdog::Watchdog;
use crate::cli::Options;
use crate::logging::{Logger, always, notice};
use crate::process::complain;
use crate::process::daemon::{Detached, Notifier, detach};
use crate::process::notify::Supervisor;
use crate::process::os_error_text;

/// How long the control loop sleeps when nothing happens.
const TICK: Duration = Duration::from_secs(1);

/// Serves until told to stop. The status is 0 for an orderly stop, or for having gone into the background.
pub fn serve(options: &Options) -> ExitCode {
    let Some(plan) = Plan::make(options) else { return ExitCode::FAILURE };
    if !options.daemonize {
        return serve_plan(options, &plan, None);
    }
    match detach() {
        Ok(Detached::Foreground(status)) => ExitCode::from(status),
        Ok(Detached::Daemon(notifier)) => serve_plan(options, &plan, Some(notifier)),
        Err(error) => {
            fail(&plan, &format!("going into the background failed: {}", os_error_text(&error)))
        }
    }
}

fn serve_plan(options: &Options, plan: &Plan, notifier: Option<Notifier>) -> ExitCode {
    let related = notifier.as_ref().map(Notifier::foreground);
    let running = match plan.start(related.as_slice()) {
        Ok(running) => running,
        Err(error) => return fail(plan, &error.to_string()),
    };
    if let Some(Err(error)) = notifier.map(Notifier::ready) {
        return fail(plan, &format!("leaving the terminal failed: {}", os_error_text(&error)));
    }
    let mut supervisor = Supervisor::from_environment();
    supervisor.ready(&serving(plan.config.pools.len(), running.fleet.alive()));
    let Plan { config, settings, read, logger } = plan;
    let events = running.events_sender.clone();
    let outcome = ControlLoop {
        logger,
        reloader: Reloader::new(options, config, settings, *read, events),
        running,
        stop: None,
        failed: false,
        spike: Spike::default(),
        watchdog: Watchdog::new(&supervisor),
        supervisor,
    }
    .run();
    always!("done, rabbit done");
    outcome
}

/// What the service manager shows of a proxy that is up.
pub(super) fn serving(pools: usize, workers: usize) -> String {
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    format!("serving {pools} pool{} with {workers} worker{}", plural(pools), plural(workers))
}

/// Tells the reason in the log and, when that is somewhere else, on standard error.
fn fail(plan: &Plan, reason: &str) -> ExitCode {
    log::error!("{reason}");
    if !plan.logger.on_stderr() {
        complain(reason);
    }
    always!("done, rabbit done");
    ExitCode::FAILURE
}

struct ControlLoop<'a> {
    logger: &'a Logger,
    running: Running,
    reloader: Reloader,
    /// When draining has to be over, once it has begun.
    stop: Option<Instant>,
    /// A worker ended unasked.
    failed: bool,
    spike: Spike,
    watchdog: Option<Watchdog>,
    supervisor: Supervisor,
}

impl ControlLoop<'_> {
    fn run(mut self) -> ExitCode {
        while !self.is_over() {
            let now = Instant::now();
            let tick =
                self.watchdog.as_ref().map_or(TICK, |watchdog| TICK.min(watchdog.interval()));
            let wait = self.stop.map_or(tick, |stop| tick.min(stop.saturating_duration_since(now)));
            match self.running.events.recv_timeout(wait) {
                Ok(Event::Signal(signal)) => self.on_signal(signal),
                Ok(Event::WorkerEnded { worker, failure }) => {
                    self.on_worker_ended(worker, failure.as_deref());
                }
                Ok(Event::Read(reading)) => self.reload_with(|reloader, scene| {
                    reloader.on_read(reading, scene);
                }),
                Ok(Event::ListenerClosed) => self.reload_with(Reloader::on_listener_closed),
                // The loop's own sender keeps the channel connected.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.logger.flush_repeats();
            self.report_to_watchdog();
            if self.reloader.has_file_changed(Instant::now()) {
                notice!("the configuration file has changed, reloading");
                self.reload_with(Reloader::begin);
            }
            if self.spike.has_passed(self.running.fleet.freed_bytes()) {
                release_free_memory();
            }
        }
        if self.running.fleet.alive() > 0 {
            notice!("not everything in flight has finished; it is cut off");
        }
        if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn report_to_watchdog(&mut self) {
        let Some(watchdog) = &mut self.watchdog else { return };
        let fleet = &self.running.fleet;
        if watchdog.is_due(Instant::now(), fleet.alive(), || fleet.call_roll()) {
            self.supervisor.in_good_order();
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_some_and(|stop| self.running.fleet.alive() == 0 || stop <= Instant::now())
    }

    /// Goes on with a reload, unless the process is about to end.
    fn reload_with(&mut self, step: impl FnOnce(&mut Reloader, &mut Scene<'_>)) {
        if self.stop.is_none() {
            let (fleet, supervisor) = (&mut self.running.fleet, &mut self.supervisor);
            step(&mut self.reloader, &mut Scene { fleet, supervisor });
        }
    }

    fn on_signal(&mut self, signal: Signal) {
        self.logger.signal_line(&signal.log_text());
        match signal {
            Signal::Interrupt | Signal::Terminate if self.stop.is_some() => {
                self.stop = Some(Instant::now());
            }
            Signal::Interrupt | Signal::Terminate => self.drain(),
            Signal::HangUp => {
                if let Err(error) = self.logger.reopen() {
                    self.logger.signal_line(&format!("{error}; the old file stays in use"));
                }
                if self.reloader.config().global.reload_on_hup {
                    self.reload_with(Reloader::begin);
                }
            }
            Signal::User1 => self.reload_with(Reloader::begin),
            Signal::LevelUp => self.tell_level("up", self.logger.raise_level()),
            Signal::LevelDown => self.tell_level("down", self.logger.lower_level()),
            Signal::User2 => {}
        }
    }

    fn tell_level(&self, direction: &str, level: Option<u8>) {
        if let Some(level) = level {
            self.logger.signal_line(&format!("{direction} log level to {level}"));
        }
    }

    fn on_worker_ended(&mut self, worker: usize, failure: Option<&str>) {
        self.running.fleet.worker_ended();
        if failure.is_none() && self.stop.is_some() {
            return;
        }
        log::error!("worker {worker} failed: {}", failure.unwrap_or("it ended unasked"));
        self.failed = true;
        if self.stop.is_none() {
            self.drain();
        }
    }

    fn drain(&mut self) {
        let bound = self.reloader.config().global.drain_timeout;
        self.stop = Some(Instant::now() + bound);
        self.running.fleet.drain(bound);
        self.supervisor.stopping(bound, "finishing what is in flight");
        notice!("no longer accepting; what is in flight has {} ms to finish", bound.as_millis());
    }
}
