//! How a server connection begins: AUTH, SELECT and, for a probe, its question, each answered as it should be before any
//! request is sent. Apart from the rest of a connection's life because none of it happens again.

use proto::resp::walk;

use super::Break;
use crate::actions::{Event, Text};
use crate::buffer::Output;
use crate::message::Message;
use crate::probe;
use crate::reply::fault;
use crate::topology::Protocol;
use crate::{Engine, Now};

#[derive(Debug)]
pub(super) enum Phase {
    Connecting,
    /// Bytes still to be written, and the replies still to come.
    Handshake {
        output: Output,
        steps: &'static [Step],
    },
    Ready,
}

/// A command the proxy sends before any request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Auth,
    Select,
    /// What tells whether the server is back.
    Probe,
}

impl Engine {
    /// The connection is established.
    pub(crate) fn link_connected(&mut self, l: u32) {
        let link = &mut self.links[l as usize];
        let state = &mut self.pools[link.pool as usize];
        state.servers[link.server as usize].counts.server_connections.add(1);
        let pool = &state.pool;
        let has_state = pool.protocol == Protocol::Redis;
        let steps = steps(
            has_state && pool.redis_auth.is_some(),
            has_state && pool.redis_db != 0,
            link.is_probe(),
        );
        if steps.is_empty() {
            self.link_ready(l);
            return;
        }
        let mut output = Output::default();
        for step in steps {
            let mut command = Vec::new();
            match step {
                Step::Auth => push_command(
                    &mut command,
                    b"AUTH",
                    pool.redis_auth.as_deref().unwrap_or_default(),
                ),
                Step::Select => {
                    push_command(&mut command, b"SELECT", pool.redis_db.to_string().as_bytes());
                }
                Step::Probe => command.extend_from_slice(probe::question(pool.protocol)),
            }
            output.push(&command, &mut self.buffers);
        }
        link.phase = Phase::Handshake { output, steps };
        self.flush_link(l);
    }

    /// Requests may flow.
    pub(crate) fn link_ready(&mut self, l: u32) {
        let link = &mut self.links[l as usize];
        link.phase = Phase::Ready;
        self.pools[link.pool as usize].servers[link.server as usize].health.note_connected();
        self.flush_link(l);
        if self.links[l as usize].is_private() {
            self.resume_uploader(l);
        }
    }

    /// A reply to AUTH, SELECT or the question of a probe. Returns whether the link lives on.
    // PERF: not inside of the way of replies, which it would make dearer.
    #[cold]
    #[inline(never)]
    pub(super) fn handshake_reply(&mut self, l: u32, reply: Message<'_>, now: Now) -> bool {
        let link = &mut self.links[l as usize];
        let (pool, server) = (link.pool, link.server);
        let asked = match &mut link.phase {
            Phase::Handshake { output, steps } => {
                let first = steps.split_first();
                // The last answer cannot come before all is asked.
                let first = first.filter(|(_, rest)| !rest.is_empty() || output.is_empty());
                first.inspect(|(_, rest)| *steps = rest)
            }
            _ => None,
        };
        let Some((step, rest)) = asked else {
            reply.discard(&mut self.buffers);
            self.break_link(l, Break::Fault(fault::INVALID_ARGUMENT), now);
            return false;
        };
        let (name, text) = match step {
            Step::Probe => return self.probe_reply(l, reply, now),
            Step::Auth => ("AUTH", fault::AUTH_REFUSED),
            Step::Select => ("SELECT", fault::SELECT_REFUSED),
        };
        let is_last = rest.is_empty();
        if *step == Step::Auth && has_no_password(reply.bytes()) {
            self.events.push(Event::PasswordNotNeeded { pool, server });
        } else if walk::is_error(reply.bytes()) {
            let words = Text::new(reply.bytes().trim_ascii_end());
            self.events.push(Event::HandshakeRefused { pool, server, step: name, reply: words });
            reply.discard(&mut self.buffers);
            self.break_link(l, Break::Fault(text), now);
            return false;
        }
        reply.discard(&mut self.buffers);
        if is_last {
            self.link_ready(l);
        }
        true
    }
}

/// What a connection begins with.
fn steps(auth: bool, select: bool, probe: bool) -> &'static [Step] {
    use Step::{Auth, Probe, Select};
    match (auth, select, probe) {
        (false, false, false) => &[],
        (true, false, false) => &[Auth],
        (false, true, false) => &[Select],
        (true, true, false) => &[Auth, Select],
        (false, false, true) => &[Probe],
        (true, false, true) => &[Auth, Probe],
        (false, true, true) => &[Select, Probe],
        (true, true, true) => &[Auth, Select, Probe],
    }
}

/// `*2 <name> <argument>`.
fn push_command(out: &mut Vec<u8>, name: &[u8], argument: &[u8]) {
    proto::resp::encode::array_header(out, 2);
    proto::resp::encode::bulk(out, name);
    proto::resp::encode::bulk(out, argument);
}

/// COMPAT: Redis 6 and newer, Redis before 6 and twemproxy say in these words that AUTH was needless; 0.5 went on.
fn has_no_password(reply: &[u8]) -> bool {
    const NEEDLESS: [&[u8]; 2] = [b"called without any password configured", b"no password is set"];
    NEEDLESS.iter().any(|words| reply.windows(words.len()).any(|window| window == *words))
}
