//! What a simulated Redis server does with what it is asked: the handshake, the truth from the keyspace, and deviations
//! from it.

use super::wire_format::parse_request;
use super::{is_split, keyspace};
use crate::server::{After, Connection, Handshake, Muteness, Parsed, Scene, SimServer};
use crate::truth::{Deviation, Token, Truth, shown};

impl SimServer {
    /// Serves the request at the front of `bytes`; returns its length, 0 while it is not whole.
    pub(crate) fn serve_resp(
        &mut self,
        i: usize,
        bytes: &[u8],
        at: &mut Scene<'_>,
    ) -> Result<usize, String> {
        match parse_request(bytes)? {
            Parsed::Partial => Ok(0),
            Parsed::Whole(arguments, len) => {
                self.request(i, &arguments, at);
                Ok(len)
            }
        }
    }

    /// Refuses a request that has not arrived whole, and closes, as Redis does with one that is too large.
    pub(crate) fn refuse_early(&mut self, i: usize, at: &mut Scene<'_>) {
        let connection = &mut self.connections[i];
        let idle = connection.replies.is_empty()
            && connection.handshake == Handshake::Done
            && connection.mute == Muteness::Answers;
        let begun = connection.input.len() > 1;
        if self.healed || !idle || !begun || !at.random.chance(at.scenario.faults.early, 1000) {
            return;
        }
        self.strays += 1;
        let line = format!("-ERR early {} of {}\r\n", self.strays, self.index).into_bytes();
        at.truth.note_stray(line.clone());
        connection.note_end(self.index, at);
        connection.replies.push_back((at.now, line, After::Close));
        connection.mute = Muteness::Silent;
    }

    fn request(&mut self, i: usize, arguments: &[Vec<u8>], at: &mut Scene<'_>) {
        let connection = &mut self.connections[i];
        if connection.handshake != Handshake::Done {
            return connection.greet(self.index, self.healed, arguments, at);
        }
        if arguments == [b"PING"] && at.scenario.probes() {
            let loads = at.scenario.faults.loading && !self.healed && at.random.chance(1, 2);
            let answer: &[u8] = if loads { b"-LOADING a while\r\n" } else { b"+PONG\r\n" };
            return connection.reply(self.index, answer.to_vec(), at);
        }
        let Some(truth) = keyspace::answer(arguments) else {
            at.truth.accuse(|| format!("a server received {}", shown(&arguments.join(&b' '))));
            return;
        };
        let stored = matches!(&arguments[0].to_ascii_lowercase()[..], b"set" | b"mset");
        let step = if stored { 2 } else { 1 };
        let keys: Vec<_> = arguments[1..].iter().step_by(step).collect();
        if let Some(token) = connection.check(self.index, &keys, at.truth) {
            let bytes: usize = arguments.iter().map(Vec::len).sum();
            // Lengths and line ends are less than that for each argument.
            let bytes = bytes + 16 * (1 + arguments.len());
            let is_large = bytes >= at.scenario.limits.upload_bytes_min
                && arguments[0].eq_ignore_ascii_case(b"set");
            self.check_lane(i, token, (false, is_large), at);
            let reply = self.reply_to(token, arguments, truth, at);
            self.connections[i].reply(self.index, reply, at);
        } else {
            connection.reply(self.index, truth, at);
        }
    }

    /// The true reply or another.
    fn reply_to(
        &mut self,
        token: Token,
        arguments: &[Vec<u8>],
        truth: Vec<u8>,
        at: &mut Scene<'_>,
    ) -> Vec<u8> {
        let faults = at.scenario.faults;
        let name = String::from_utf8_lossy(&arguments[0]).to_ascii_lowercase();
        let deviation = if self.healed {
            return truth;
        } else if at.random.chance(faults.errors, 1000) {
            let codes: &[&str] = match faults.loading {
                true => &["LOADING", "OOM", "ERR", "WRONGTYPE", "a", "LOADINGS"],
                false => &["BUSY", "MOVED", "ERR"],
            };
            let code = at.random.pick(codes);
            let line =
                format!("-{code} {} says {}.{}\r\n", self.index, token.client, token.sequence);
            Deviation::Error(line.into_bytes())
        } else if is_split(&name) && at.random.chance(faults.wrong_types, 1000) {
            let others: [&[u8]; 5] =
                [b"*-1\r\n", b"$-1\r\n", b"*0\r\n", b"+QUEUED\r\n", b"$2\r\nOK\r\n"];
            Deviation::WrongType(at.random.pick(&others).to_vec())
        } else {
            return truth;
        };
        at.truth.note_deviation(token, self.index, deviation.clone());
        match deviation {
            Deviation::Error(line) => line,
            Deviation::WrongType(reply) => reply,
        }
    }
}

impl Connection {
    /// AUTH, then SELECT, then anything.
    fn greet(&mut self, server: u32, healed: bool, arguments: &[Vec<u8>], at: &mut Scene<'_>) {
        let pool = &at.scenario.pool;
        let words: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let (expected, next) = match self.handshake {
            Handshake::Auth if pool.redis_db > 0 => ("AUTH", Handshake::Select),
            Handshake::Auth => ("AUTH", Handshake::Done),
            Handshake::Refused => ("nothing", Handshake::Refused),
            _ => ("SELECT", Handshake::Done),
        };
        let argument: &[u8] = if expected == "AUTH" { b"open sesame" } else { b"7" };
        if self.handshake == Handshake::Refused && words[0] == b"SELECT" {
            return self.reply(server, b"-NOAUTH Authentication required.\r\n".to_vec(), at);
        }
        if self.handshake == Handshake::Refused && words == [b"PING"] {
            // It serves, but not the data that is wanted.
            return self.reply(server, b"+PONG\r\n".to_vec(), at);
        }
        if words != [expected.as_bytes(), argument] {
            let sight = shown(&arguments.join(&b' '));
            return at.truth.accuse(|| format!("{expected} is due and a server received {sight}"));
        }
        self.handshake = next;
        if !healed && at.random.chance(at.scenario.faults.handshakes, 1000) {
            let needless = expected == "AUTH" && at.random.chance(1, 3);
            let text = match (needless, expected) {
                (true, _) => "-ERR Client sent AUTH, but no password is set\r\n",
                (false, "AUTH") => {
                    self.handshake = Handshake::Refused;
                    at.truth.note_harm(server, engine::fault::AUTH_REFUSED);
                    "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
                }
                _ => {
                    self.handshake = Handshake::Refused;
                    at.truth.note_harm(server, engine::fault::SELECT_REFUSED);
                    "-ERR DB index is out of range\r\n"
                }
            };
            return self.reply(server, text.as_bytes().to_vec(), at);
        }
        self.reply(server, b"+OK\r\n".to_vec(), at);
    }

    /// The keys are of one request, belong here, and follow the client's earlier requests.
    fn check(&mut self, server: u32, keys: &[&Vec<u8>], truth: &mut Truth) -> Option<Token> {
        let first = keys.first()?;
        let Some((token, _)) = keyspace::token_of(first) else {
            truth.accuse(|| format!("a server received the key {}", shown(first)));
            return None;
        };
        for key in keys {
            if keyspace::token_of(key).is_none_or(|(other, _)| other != token) {
                truth.accuse(|| format!("{} is no key of {token:?}", shown(key)));
            }
        }
        if !truth.belongs(first, server) {
            truth.accuse(|| format!("{} went to server {server}", shown(first)));
        }
        self.note(server, token, truth);
        Some(token)
    }
}
