//! What a simulated memcached server does with what it is asked: the truth from the keyspace, deviations from it, values
//! refused before they have arrived, and answers to who wanted none.

use super::ask::{self, Ask, Voice};
use super::keyspace;
use super::wire_format::{Request, parse_line, parse_request};
use crate::server::{After, Muteness, Parsed, Scene, SimServer};
use crate::truth::{Deviation, shown};

impl SimServer {
    /// Serves what is at the front of `bytes`; returns how much that was, 0 while it is not whole.
    pub(crate) fn serve_memcached(
        &mut self,
        i: usize,
        bytes: &[u8],
        at: &mut Scene<'_>,
    ) -> Result<usize, String> {
        let connection = &mut self.connections[i];
        if connection.swallow > 0 {
            let swallowed = connection.swallow.min(bytes.len());
            connection.swallow -= swallowed;
            return Ok(swallowed);
        }
        match parse_request(bytes)? {
            Parsed::Partial => self.refuse_value(i, bytes, at),
            Parsed::Whole(request, len) => {
                self.ask(i, &request, &bytes[..len], at);
                Ok(len)
            }
        }
    }

    /// Refuses a value that has not arrived whole, as memcached does with one that is too large, and swallows it, or
    /// closes. Returns how much of `bytes` that takes.
    fn refuse_value(
        &mut self,
        i: usize,
        bytes: &[u8],
        at: &mut Scene<'_>,
    ) -> Result<usize, String> {
        let Some((words, line, Some(len))) = parse_line(bytes)? else { return Ok(0) };
        if self.healed || !at.random.chance(at.scenario.faults.early, 1000) {
            return Ok(0);
        }
        if words[1] == ask::BLUNDER {
            return Ok(0);
        }
        let Some(ask) = at.truth.ask_named(&words[1]) else { return Err("an unknown key".into()) };
        let begun = &bytes[..bytes.len().min(line)];
        if !ask.bytes.starts_with(begun) && !ask.blanked.starts_with(begun) {
            return Err("a line that nobody sent".into());
        }
        self.note_ask(i, &ask, at);
        at.truth.note_event("a value refused early");
        self.strays += 1;
        let refusal = format!("SERVER_ERROR early {} of {}\r\n", self.strays, self.index);
        let wants_reply = self.wants_reply(&ask, &words);
        self.deviate(i, &ask, wants_reply, Deviation::Error(refusal.into_bytes()), at);
        let connection = &mut self.connections[i];
        if at.random.chance(1, 4) {
            connection.note_end(self.index, at);
            connection.replies.push_back((at.now, Vec::new(), After::Close));
            connection.mute = Muteness::Silent;
        }
        connection.swallow = line + len + 2 - bytes.len();
        Ok(bytes.len())
    }

    /// One whole request.
    fn ask(&mut self, i: usize, request: &Request, bytes: &[u8], at: &mut Scene<'_>) {
        if bytes == b"version\r\n" {
            return self.tell_version(i, request, at);
        }
        if request.name() == "get" && request.words.len() > 2 && !bytes.ends_with(b" \r\n") {
            return self.ask_joined(i, request, bytes, at);
        }
        let name = request.words.get(ask::first_key(request).unwrap_or(1));
        let ask = name.and_then(|name| at.truth.ask_named(name));
        let Some(ask) = ask.filter(|ask| self.may_receive(ask, bytes, at)) else {
            return at.truth.accuse(|| format!("a server received {}", shown(bytes)));
        };
        self.note_ask(i, &ask, at);
        let wants_reply = self.wants_reply(&ask, &request.words);
        if ask.is_silent() {
            at.truth.note_event(match wants_reply {
                true => "a silent request that was asked for an answer",
                false => "a silent request",
            });
        }
        if !wants_reply {
            self.connections[i].heard_silence = true;
            if !self.healed && at.random.chance(at.scenario.faults.broken_silences, 1000) {
                self.break_silence(i, &ask, at);
            }
            return;
        }
        match self.deviation(&ask, at) {
            Some(deviation) => self.deviate(i, &ask, true, deviation, at),
            None => {
                self.connections[i].heard_silence = false;
                let Some(truth) = keyspace::answer(request) else {
                    return at.truth.accuse(|| format!("a server received {}", shown(bytes)));
                };
                self.answer(i, truth, at);
            }
        }
    }

    /// Several gets of one key each, which the proxy has joined.
    fn ask_joined(&mut self, i: usize, request: &Request, bytes: &[u8], at: &mut Scene<'_>) {
        let asks: Vec<_> =
            request.words[1..].iter().filter_map(|name| at.truth.ask_named(name)).collect();
        let are_plain =
            asks.iter().all(|ask| ask.is_plain_get() && self.may_receive(ask, &ask.bytes, at));
        if asks.len() + 1 != request.words.len() || !are_plain {
            return at.truth.accuse(|| format!("a server received {}", shown(bytes)));
        }
        at.truth.note_event("gets joined");
        asks.iter().for_each(|ask| self.note_ask(i, ask, at));
        let (first, others) = asks.split_first().expect("more than one");
        match self.deviation(first, at) {
            Some(deviation) => {
                for ask in others {
                    at.truth.note_deviation(ask.token, self.index, deviation.clone());
                }
                self.deviate(i, first, true, deviation, at);
            }
            None => {
                self.connections[i].heard_silence = false;
                let mut request = request.clone();
                if at.random.chance(1, 8) {
                    // A server that is a proxy itself may find the values in any order.
                    request.words[1..].reverse();
                }
                self.answer(i, keyspace::answer(&request).unwrap_or_default(), at);
            }
        }
    }

    /// `version`, by a client or by the proxy, which asks whose an answer was.
    fn tell_version(&mut self, i: usize, request: &Request, at: &mut Scene<'_>) {
        self.connections[i].heard_silence = false;
        if self.healed || !at.random.chance(at.scenario.faults.broken_silences, 1000) {
            return self.answer(i, keyspace::answer(request).unwrap_or_default(), at);
        }
        self.strays += 1;
        let line = format!("SERVER_ERROR no version {} of {}\r\n", self.strays, self.index);
        at.truth.note_stray(line.clone().into_bytes());
        at.truth.note_harm(self.index, engine::fault::INVALID_ARGUMENT);
        self.connections[i].note_end(self.index, at);
        self.broke_silence = true;
        self.answer(i, line.into_bytes(), at);
    }

    /// Answers who wanted no answer: with an error, or with what nobody can take for an answer of its own.
    fn break_silence(&mut self, i: usize, ask: &Ask, at: &mut Scene<'_>) {
        at.truth.note_event("a silence broken");
        let line = match at.random.chance(1, 4) {
            true => "MN\r\n".to_owned(),
            false => format!("SERVER_ERROR {} is not silent about {:?}\r\n", self.index, ask.token),
        };
        self.deviate(i, ask, false, Deviation::Error(line.into_bytes()), at);
    }

    /// Whether `ask` may reach this server as `bytes`.
    fn may_receive(&self, ask: &Ask, bytes: &[u8], at: &Scene<'_>) -> bool {
        let fixed = at.scenario.is_placement_fixed();
        let wanted: Vec<_> = ask.keys.iter().map(|key| at.truth.belongs(key, self.index)).collect();
        let is_at_home = wanted.is_empty() || wanted.contains(&true);
        // Who was never answered must not be asked to answer, save behind a long reply.
        let is_as_sent = ask.voice != Voice::Silent
            || bytes == ask.bytes
            || at.scenario.streams()
            || self.broke_silence
            || at.scenario.pool.ejection.is_some();
        is_at_home && is_as_sent && ask.may_arrive_as(bytes, fixed.then_some(&wanted[..]))
    }

    fn wants_reply(&self, ask: &Ask, words: &[Vec<u8>]) -> bool {
        !ask.is_silent() || words.last().is_none_or(|word| word != b"noreply")
    }

    /// The request arrived, or its part.
    fn note_ask(&mut self, i: usize, ask: &Ask, at: &mut Scene<'_>) {
        self.connections[i].note(self.index, ask.token, at.truth);
        let is_large = ask.bytes.len() >= at.scenario.limits.upload_bytes_min;
        let may_flow = is_large && ask.voice == Voice::Loud;
        self.check_lane(i, ask.token, (ask.is_silent(), may_flow), at);
    }

    fn deviation(&mut self, ask: &Ask, at: &mut Scene<'_>) -> Option<Deviation> {
        let faults = at.scenario.faults;
        if self.healed {
            return None;
        }
        if at.random.chance(faults.errors, 1000) {
            let codes = ["SERVER_ERROR", "CLIENT_ERROR", "SERVER_ERROR out of memory"];
            let code = at.random.pick(&codes);
            let line = format!("{code} {} says {:?}\r\n", self.index, ask.token);
            return Some(Deviation::Error(line.into_bytes()));
        }
        let is_read = ask.first_key().is_some() || ask.request.name() == "flush_all";
        if is_read && at.random.chance(faults.wrong_types, 1000) {
            let others: [&[u8]; 5] =
                [b"STORED\r\n", b"77\r\n", b"HD\r\n", b"VA 2\r\nOK\r\n", b"NOT_FOUND\r\n"];
            return Some(Deviation::WrongType(at.random.pick(&others).to_vec()));
        }
        None
    }

    /// Answers something else than the truth.
    fn deviate(
        &mut self,
        i: usize,
        ask: &Ask,
        wants_reply: bool,
        deviation: Deviation,
        at: &mut Scene<'_>,
    ) {
        let connection = &mut self.connections[i];
        // An error behind silent requests is looked into, what cannot be an answer at all is not.
        let is_absurd = connection.heard_silence && matches!(deviation, Deviation::WrongType(_));
        if is_absurd || !wants_reply {
            // Whose answer that is cannot be told.
            at.truth.note_harm(self.index, engine::fault::INVALID_ARGUMENT);
            connection.note_end(self.index, at);
            self.broke_silence = true;
        }
        self.connections[i].heard_silence = !wants_reply;
        if wants_reply {
            at.truth.note_deviation(ask.token, self.index, deviation.clone());
        }
        let (Deviation::Error(reply) | Deviation::WrongType(reply)) = deviation;
        self.answer(i, reply, at);
    }

    fn answer(&mut self, i: usize, reply: Vec<u8>, at: &mut Scene<'_>) {
        self.connections[i].reply(self.index, reply, at);
    }
}
