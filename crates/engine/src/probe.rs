//! The way back of an ejected server that may not return on its own: it must prove that it serves.
//!
//! Where the keys of an ejected server stay with it (`on_eject: error` or `miss`), its requests fail at once until its
//! retry time. Then one of them goes out as a trial while the others go on failing: when it is answered the server is
//! live again, when it fails the server is left alone for another retry time.

use std::time::Duration;

use crate::link::Break;
use crate::pipeline::NONE;
use crate::reply::fault;
use crate::topology::OnEject;
use crate::{Engine, Event, Now};

/// How long an outcome is awaited in a pool without `timeout`.
const PATIENCE: Duration = Duration::from_secs(1);

impl Engine {
    /// Whether requests for a server are answered without it.
    pub(crate) fn is_left_alone(&self, pool: u32, server: u32, now: Now) -> bool {
        let state = &self.pools[pool as usize];
        let Some(retry_at) = state.servers[server as usize].health.retry_at() else {
            return false;
        };
        let ejection = state.pool.ejection;
        ejection.is_some_and(|ejection| ejection.on_eject != OnEject::Rehash)
            && now.mono_us < retry_at
    }

    /// A request wants to go to an ejected server: it is refused, or begins the trial that is due.
    pub(crate) fn admit(&mut self, pool: u32, server: u32, now: Now) -> Result<(), &'static str> {
        if self.is_left_alone(pool, server, now) {
            return Err(fault::CONNECTION_REFUSED);
        }
        let state = &mut self.pools[pool as usize];
        let Some(ejection) = state.pool.ejection else { return Ok(()) };
        if ejection.on_eject == OnEject::Rehash {
            return Ok(());
        }
        let patience = state.timeout_us.unwrap_or(PATIENCE.as_micros() as u64);
        let until = now.mono_us + patience.max(ejection.retry_timeout.as_micros() as u64);
        self.last_event += 1;
        let health = &mut state.servers[server as usize].health;
        health.begin_trial(until, self.last_event);
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
    pub(crate) fn fail_trial(&mut self, pool: u32, server: u32, now: Now) {
        let state = &mut self.pools[pool as usize];
        let health = &mut state.servers[server as usize].health;
        let Some(ejection) = state.pool.ejection.filter(|_| health.is_on_trial()) else { return };
        let retry_at = now.mono_us + ejection.retry_timeout.as_micros() as u64;
        health.eject_until(retry_at);
        self.events.push(Event::StillDown { pool, server, retry_at });
    }

    /// The trial was answered.
    pub(crate) fn pass_trial(&mut self, pool: u32, server: u32) {
        self.pools[pool as usize].servers[server as usize].health.readmit();
        self.events.push(Event::Readmitted { pool, server });
    }

    /// Another worker found that an ejected server is back.
    pub(crate) fn heed_readmission(&mut self, pool: u32, server: u32, now: Now) {
        if self.health_of(pool, server).is_some_and(|health| health.is_ejected()) {
            self.drop_idle_links(pool, server, now);
            self.pools[pool as usize].servers[server as usize].health.readmit();
        }
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
