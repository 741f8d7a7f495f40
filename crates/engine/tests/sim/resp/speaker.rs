//! What a simulated client of a Redis pool says.

use super::keyspace;
use super::wire_format::{bulk, request};
use crate::client::{Ending, SimClient};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::truth::{Expected, Form, Token};

impl SimClient {
    /// Says the next request.
    pub(crate) fn speak_resp(&mut self, token: Token, scenario: &Scenario, random: &mut Random) {
        let (bytes, form) = match random.below(8) {
            0 => self.local(token, scenario, random),
            _ if !self.authenticated && random.chance(1, 2) => self.auth(random),
            _ => forwarded(token, scenario, random),
        };
        let form = if self.authenticated || !matches!(form, Form::Resp(..)) {
            form
        } else {
            Form::Exact(b"-NOAUTH Authentication required\r\n".to_vec())
        };
        self.say(&bytes, Expected { token, form });
    }

    /// QUIT, or something that is no request, then things that nobody answers.
    pub(crate) fn end_in_resp(&mut self, random: &mut Random) {
        let (bytes, form): (Vec<u8>, _) = match self.ending {
            Ending::Quits => (request(&[b"quit"]), Form::Exact(b"+OK\r\n".to_vec())),
            Ending::Blunders => {
                let blunders: [&[u8]; 7] = [
                    b"*3\r\n$3\r\nset\r\n$7\r\nblunder\r\n$20\r\n01234567890123456789\r\r",
                    b"*1\r\n+PING\r\n",
                    b"*0\r\n",
                    b"*2\r\n$3\r\nGETX\r\n",
                    b"*2\r\n$3\r\nGET\r\n$-1\r\n",
                    b"*99999999999\r\n",
                    b"get \"unbalanced\r\n",
                ];
                (random.pick(&blunders).to_vec(), Form::Blunder(b"-ERR Protocol error: "))
            }
            _ => return,
        };
        let token = Token { client: self.number, sequence: self.sequence };
        self.say(&bytes, Expected { token, form });
        if random.chance(1, 2) {
            self.outgoing.extend(request(&[b"get", b"nobody answers"]));
        }
    }

    fn auth(&mut self, random: &mut Random) -> (Vec<u8>, Form) {
        if random.chance(1, 3) {
            let bytes = request(&[b"auth", b"wrong"]);
            return (bytes, Form::Exact(b"-ERR invalid password\r\n".to_vec()));
        }
        self.authenticated = true;
        (request(&[b"AUTH", b"open sesame"]), Form::Exact(b"+OK\r\n".to_vec()))
    }

    /// A request that the proxy answers itself.
    fn local(&mut self, token: Token, scenario: &Scenario, random: &mut Random) -> (Vec<u8>, Form) {
        let word = format!("word-{}-{}", token.client, token.sequence).into_bytes();
        if !self.authenticated {
            let form = Form::Exact(b"-NOAUTH Authentication required\r\n".to_vec());
            return (request(&[b"ping"]), form);
        }
        let exact = |text: &str| Form::Exact(text.as_bytes().to_vec());
        match random.below(8) {
            0 => (request(&[b"PING"]), exact("+PONG\r\n")),
            1 => (request(&[b"ping", &word]), Form::Exact(bulk(&word))),
            2 => (request(&[b"ECHO", &word]), Form::Exact(bulk(&word))),
            3 => {
                let text = format!(
                    "-ERR unknown command 'nonsense', with args beginning with: '{}' \r\n",
                    String::from_utf8_lossy(&word)
                );
                (request(&[b"nonsense", &word]), exact(&text))
            }
            4 => {
                let text = "-ERR wrong number of arguments for 'mset' command\r\n";
                (request(&[b"mset", &word, &word, &word]), exact(text))
            }
            5 => (request(&[b"time"]), Form::Prefix(b"*2\r\n$10\r\n17")),
            6 if self.sequence > 1 => {
                let line = format!("\r\nping {}\r\n", String::from_utf8_lossy(&word));
                (line.into_bytes(), Form::Exact(bulk(&word)))
            }
            _ => {
                let own = scenario.pool.redis_db.to_string();
                (request(&[b"select", own.as_bytes()]), exact("+OK\r\n"))
            }
        }
    }
}

/// A request that servers answer.
fn forwarded(token: Token, scenario: &Scenario, random: &mut Random) -> (Vec<u8>, Form) {
    let singles = ["get", "get", "set", "set", "incr", "hgetall", "lolwut"];
    let splits = ["mget", "mget", "mset", "del", "unlink", "touch", "exists"];
    let (name, keys) = match random.below(10) {
        0..=4 => {
            let name = random.pick(&singles);
            (name, usize::from(name != "lolwut"))
        }
        5 => ("sinter", 2),
        _ => (random.pick(&splits), random.within(1..=scenario.keys_max)),
    };
    let size = |random: &mut Random| match random.chance(1, 6) {
        true => random.within(0..=scenario.value_max),
        false => random.within(0..=scenario.value_max.min(60)),
    };
    let mut keys: Vec<_> =
        (0..keys).map(|index| keyspace::key(token, index, size(random))).collect();
    if keys.len() > 2 && random.chance(1, 4) {
        // The same key twice.
        keys[2] = keys[0].clone();
    }
    let mut bytes = keyspace::command(name, &keys);
    if random.chance(1, 4) {
        let upper = bytes.iter().position(u8::is_ascii_alphabetic).unwrap_or(0);
        bytes[upper].make_ascii_uppercase();
    }
    (bytes, Form::Resp(name, keys))
}
