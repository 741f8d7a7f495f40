//! The way back of an ejected server that may not return on its own: it must prove that it serves.
//!
//! With `probe: true` the engine asks it, over a connection of its own, when its retry time has come: PING or `version`,
//! after AUTH and SELECT. A proper answer brings it back, and the connection is used from then on; anything else, silence
//! included, leaves it out for another retry time. No client ever pays for it. The times are spread a little, so that
//! workers do not ask all at once.
//!
//! Without, but where the keys of an ejected server stay with it (`on_eject: error` or `miss`), its requests fail at once
//! until its retry time. Then one of them goes out as a trial while the others go on failing: when it is answered the
//! server is live again, when it fails the server is left alone for another retry time.

use std::time::Duration;

use crate::actions::Text;
use crate::link::Break;
use crate::message::Message;
use crate::pipeline::NONE;
use crate::pools::PoolState;
use crate::reply::{self, fault};
use crate::topology::{Ejection, Protocol};
use crate::{Engine, Event, Now};

/// How long an outcome is awaited in a pool without `timeout`.
const PATIENCE: Duration = Duration::from_secs(1);
/// The shortest pause between two probes of a server.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// What a probe asks.
pub(crate) fn question(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Redis => b"*1\r\n$4\r\nPING\r\n",
        Protocol::Memcached => b"version\r\n",
    }
}

/// Whether a server that answers so serves.
fn is_proof(protocol: Protocol, reply: &[u8]) -> bool {
    match protocol {
        Protocol::Redis => reply == reply::PONG,
        Protocol::Memcached => reply.starts_with(b"VERSION "),
    }
}

impl PoolState {
    /// How long an ejected server may take to prove itself.
    pub(crate) fn patience_us(&self) -> u64 {
        self.timeout_us.unwrap_or(PATIENCE.as_micros() as u64)
    }
}

impl Engine {
    /// How long a server ejected now is left alone, µs.
    pub(crate) fn retry_pause(&mut self, ejection: &Ejection) -> u64 {
        let pause = ejection.retry_timeout;
        match ejection.probe {
            true => self.random.near(pause.max(PAUSE_MIN).as_micros() as u64),
            false => pause.as_micros() as u64,
        }
    }

    /// When a server that another worker ejected until `told` is looked at here.
    pub(crate) fn own_retry_at(&mut self, pool: u32, told: u64, now: Now) -> u64 {
        match self.pools[pool as usize].pool.ejection {
            Some(ejection) if ejection.probe => now.mono_us + self.retry_pause(&ejection),
            _ => told,
        }
    }

    /// Sends the probes that are due.
    pub(crate) fn probe_ejected(&mut self, now: Now) {
        if now.mono_us < self.probe_at {
            return;
        }
        self.probe_at = u64::MAX;
        if self.draining {
            return;
        }
        for pool in 0..self.published {
            let probes = self.pools[pool].pool.ejection.is_some_and(|ejection| ejection.probe);
            let servers = if probes { self.pools[pool].servers.len() } else { 0 };
            for server in 0..servers {
                let health = &mut self.pools[pool].servers[server].health;
                match health.retry_at().filter(|_| !health.probing) {
                    Some(due) if due <= now.mono_us => {
                        health.probing = true;
                        self.pools[pool].servers[server].counts.probes.add(1);
                        self.dial(pool as u32, server as u32, NONE, now);
                    }
                    Some(due) => self.probe_at = self.probe_at.min(due),
                    None => {}
                }
            }
        }
    }

    /// Ends all probes under way; who is still ejected and due is asked anew at the end of the turn.
    pub(crate) fn stop_probes(&mut self, now: Now) {
        let probes: Vec<u32> =
            self.links.iter().filter(|(_, link)| link.is_probe()).map(|(l, _)| l as u32).collect();
        for l in probes {
            self.break_link(l, Break::Stale, now);
        }
        self.probe_at = 0;
    }

    /// The server answered probe `l`. Returns whether the connection lives on.
    pub(crate) fn probe_reply(&mut self, l: u32, reply: Message<'_>, now: Now) -> bool {
        let link = &self.links[l as usize];
        let (pool, server) = (link.pool, link.server);
        let is_proof = is_proof(self.pools[pool as usize].pool.protocol, reply.bytes());
        let words = Text::new(reply.bytes().trim_ascii_end());
        reply.discard(&mut self.buffers);
        if is_proof {
            return self.pass_probe(l, now);
        }
        self.break_link(l, Break::Stale, now);
        self.fail_probe(pool, server, words, now);
        false
    }

    /// The server is back, and its probe becomes one of its connections if there is room.
    fn pass_probe(&mut self, l: u32, now: Now) -> bool {
        let link = &self.links[l as usize];
        let (pool, server) = (link.pool, link.server);
        let health = &mut self.pools[pool as usize].servers[server as usize].health;
        health.probing = false;
        if health.is_ejected() {
            self.readmit(pool, server, now);
            self.events.push(Event::Readmitted { pool, server });
        }
        let lanes = &mut self.pools[pool as usize].servers[server as usize].links;
        let Some(lane) = lanes.iter().position(|lane| *lane == NONE) else {
            self.break_link(l, Break::Stale, now);
            return false;
        };
        lanes[lane] = l;
        self.last_event += 1;
        let link = &mut self.links[l as usize];
        link.lane = lane as u32;
        link.opened = self.last_event;
        self.link_ready(l);
        true
    }

    /// The connection of a probe is gone, for the `cause` that `text` names.
    pub(crate) fn end_probe(
        &mut self,
        pool: u32,
        server: u32,
        cause: Break,
        text: &'static str,
        now: Now,
    ) {
        self.pools[pool as usize].servers[server as usize].health.probing = false;
        if cause != Break::Stale {
            self.fail_probe(pool, server, Text::new(text.as_bytes()), now);
        }
    }

    /// The server is not back; asked again after another pause, unless another worker brought it back meanwhile.
    fn fail_probe(&mut self, pool: u32, server: u32, reason: Text, now: Now) {
        let Some(ejection) = self.pools[pool as usize].pool.ejection else { return };
        let retry_at = now.mono_us + self.retry_pause(&ejection);
        let state = &mut self.pools[pool as usize].servers[server as usize];
        state.counts.probes_failed.add(1);
        if state.health.is_ejected() {
            state.health.eject_until(retry_at);
            self.probe_at = self.probe_at.min(retry_at);
            self.events.push(Event::StillDown { pool, server, retry_at, reason });
        }
    }

    /// Whether requests for a server are answered without it.
    pub(crate) fn is_left_alone(&self, pool: u32, server: u32, now: Now) -> bool {
        let state = &self.pools[pool as usize];
        let retry_at = state.servers[server as usize].health.retry_at();
        let (Some(retry_at), Some(ejection)) = (retry_at, state.pool.ejection) else {
            return false;
        };
        ejection.keeps_keys() && (ejection.probe || now.mono_us < retry_at)
    }

    /// A request wants to go to an ejected server: it is refused, or begins the trial that is due.
    pub(crate) fn admit(&mut self, pool: u32, server: u32, now: Now) -> Result<(), &'static str> {
        if self.is_left_alone(pool, server, now) {
            return Err(fault::CONNECTION_REFUSED);
        }
        let state = &mut self.pools[pool as usize];
        let Some(ejection) = state.pool.ejection.filter(Ejection::keeps_keys) else {
            return Ok(());
        };
        let patience_us = state.patience_us();
        let until = now.mono_us + patience_us.max(ejection.retry_timeout.as_micros() as u64);
        self.last_event += 1;
        let tried = &mut state.servers[server as usize];
        tried.health.begin_trial(until, self.last_event);
        tried.counts.probes.add(1);
        self.events.push(Event::Trial { pool, server, until });
        self.drop_idle_links(pool, server, now);
        self.last_event += 1;
        for &l in &self.pools[pool as usize].servers[server as usize].links {
            if let Some(link) = self.links.get_mut(l as usize) {
                // The trial may go over it, so its end is the end of the trial.
                link.opened = self.last_event;
            }
        }
        Ok(())
    }

    /// An ejected server failed; a trial under way is lost.
    pub(crate) fn fail_trial(&mut self, pool: u32, server: u32, reason: &'static str, now: Now) {
        let state = &mut self.pools[pool as usize];
        let tried = &mut state.servers[server as usize];
        let on_trial = tried.health.is_on_trial();
        let Some(ejection) = state.pool.ejection.filter(|_| on_trial) else { return };
        let retry_at = now.mono_us + ejection.retry_timeout.as_micros() as u64;
        tried.health.eject_until(retry_at);
        tried.counts.probes_failed.add(1);
        let reason = Text::new(reason.as_bytes());
        self.events.push(Event::StillDown { pool, server, retry_at, reason });
    }

    /// The trial was answered.
    pub(crate) fn pass_trial(&mut self, pool: u32, server: u32) {
        let tried = &mut self.pools[pool as usize].servers[server as usize];
        tried.health.readmit();
        tried.count_standing();
        self.events.push(Event::Readmitted { pool, server });
    }

    /// Another worker found that an ejected server is back.
    pub(crate) fn heed_readmission(&mut self, pool: u32, server: u32, now: Now) {
        if self.health_of(pool, server).is_some_and(|health| health.is_ejected()) {
            self.readmit(pool, server, now);
        }
    }

    /// Makes an ejected server live again.
    fn readmit(&mut self, pool: u32, server: u32, now: Now) {
        self.drop_idle_links(pool, server, now);
        self.last_event += 1;
        let state = &mut self.pools[pool as usize];
        let returned = &mut state.servers[server as usize];
        match state.pool.ejection {
            Some(ejection) if ejection.probe => {
                returned.health.readmit_untrusted(now.mono_us, self.last_event);
            }
            _ => returned.health.readmit(),
        }
        returned.count_standing();
        self.rebuild(pool, now);
    }

    /// Closes the connections of a server that owe nothing: it may have lost them without a word while it was down, and
    /// the first request on such a connection would pay for it.
    fn drop_idle_links(&mut self, pool: u32, server: u32, now: Now) {
        for lane in 0..self.pools[pool as usize].servers[server as usize].links.len() {
            let l = self.pools[pool as usize].servers[server as usize].links[lane];
            if l != NONE && self.links[l as usize].is_idle() {
                self.break_link(l, Break::Stale, now);
            }
        }
    }
}
