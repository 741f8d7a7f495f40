//! Commands the proxy answers itself, so that any Redis client can connect and look around.

use proto::resp::command::{self, Command, Local, REDIS_VERSION, Rejection};
use proto::resp::encode;
use proto::{Span, argument};

use crate::client::Ending;
use crate::{Engine, Now, introspect, reply};

/// Longest client name kept.
const NAME_MAX: usize = 64;

impl Engine {
    /// Answers `local` for client `c`. The number of arguments has been checked against the command's arity.
    pub(crate) fn answer_locally(
        &mut self,
        c: u32,
        local: Local,
        command: &'static Command,
        request: &[u8],
        args: &[Span],
        now: Now,
    ) {
        self.counts.local_replies.add(1);
        let argument = |i: usize| args.get(i).map(|arg| arg.of(request));
        match local {
            Local::Ping if args.len() > 2 => {
                let rejection = Rejection::WrongArity(command);
                self.answer_with(c, |out| rejection.write_reply(request, args, out));
            }
            Local::Ping => match argument(1) {
                None => self.answer(c, reply::PONG),
                Some(message) => self.answer_with(c, |out| encode::bulk(out, message)),
            },
            Local::Echo => {
                self.answer_with(c, |out| encode::bulk(out, argument(1).unwrap_or_default()));
            }
            Local::Quit => {
                self.answer(c, reply::OK);
                self.stop_reading(c, Ending::ByClient);
            }
            Local::Auth => self.auth(c, &args[1..], request),
            Local::Select => self.select(c, argument(1).unwrap_or_default()),
            Local::Command => {
                self.answer_with(c, |out| introspect::command(command, request, args, out));
            }
            Local::Client => self.client_command(c, command, request, args),
            Local::Hello => self.hello(c, request, args),
            Local::Time => self.answer_with(c, |out| time(now.wall_us, out)),
            Local::Reset => self.reset(c),
            Local::Info => {
                let mut text = String::new();
                self.environment.info(argument(1), &mut text);
                self.answer_with(c, |out| encode::bulk(out, text.as_bytes()));
            }
        }
    }

    /// AUTH with one argument speaks 0.5's words, with two Redis' own.
    fn auth(&mut self, c: u32, credentials: &[Span], request: &[u8]) {
        let verdict = match credentials {
            [password] => self.check_password(c, password.of(request)),
            [user, password] => self.check_user(c, user.of(request), password.of(request)),
            _ => reply::SYNTAX,
        };
        self.clients[c as usize].session.authenticated = verdict == reply::OK;
        self.answer(c, verdict);
    }

    fn check_password(&self, c: u32, password: &[u8]) -> &'static [u8] {
        match &self.pools[self.clients[c as usize].pool as usize].pool.redis_auth {
            None => reply::NO_PASSWORD_SET,
            Some(wanted) if is_equal(wanted, password) => reply::OK,
            Some(_) => reply::INVALID_PASSWORD,
        }
    }

    fn check_user(&self, c: u32, user: &[u8], password: &[u8]) -> &'static [u8] {
        match self.check_password(c, password) {
            reply::INVALID_PASSWORD => reply::WRONG_PASS,
            reply::OK if user != b"default" => reply::WRONG_PASS,
            verdict => verdict,
        }
    }

    /// SELECT of the pool's own database is accepted, any other refused: servers are shared.
    fn select(&mut self, c: u32, database: &[u8]) {
        let own = self.pools[self.clients[c as usize].pool as usize].pool.redis_db;
        match command::integer(database) {
            None => self.answer(c, reply::NOT_AN_INTEGER),
            Some(wanted) if wanted == i64::from(own) => self.answer(c, reply::OK),
            Some(_) => {
                let text = format!(
                    "this pool serves database {own} only, SELECT of another is not supported"
                );
                self.answer_with(c, |out| encode::error(out, &format!("ERR {text}")));
            }
        }
    }

    /// The sub-commands that client libraries send when they connect.
    fn client_command(&mut self, c: u32, command: &'static Command, request: &[u8], args: &[Span]) {
        let session = &mut self.clients[c as usize].session;
        let id = session.id;
        match command.subcommand() {
            Some("setname") => {
                let verdict = set_name(&mut session.name, argument(request, args, 2));
                self.answer(c, verdict);
            }
            Some("getname") => {
                let name = session.name.clone();
                self.answer_with(c, |out| match name {
                    Some(name) => encode::bulk(out, &name),
                    None => encode::null_bulk(out),
                });
            }
            Some("id") => self.answer_with(c, |out| encode::integer(out, id as i64)),
            Some("setinfo") => self.answer(c, reply::OK),
            _ => self.answer_with(c, |out| reply::unsupported(command.name, out)),
        }
    }

    /// HELLO [2 [AUTH user password] [SETNAME name]].
    fn hello(&mut self, c: u32, request: &[u8], args: &[Span]) {
        match self.hello_options(c, request, args) {
            Ok(()) => {
                let id = self.clients[c as usize].session.id;
                self.answer_with(c, |out| reply::hello(id, REDIS_VERSION, out));
            }
            Err(Refusal::Text(text)) => self.answer(c, text),
            Err(Refusal::Option(at)) => {
                let rejection = Rejection::HelloOption(at);
                self.answer_with(c, |out| rejection.write_reply(request, args, out));
            }
        }
    }

    /// COMPAT: as with Redis, an option that was carried out stays so when a later one is refused.
    fn hello_options(&mut self, c: u32, request: &[u8], args: &[Span]) -> Result<(), Refusal> {
        let argument = |i: usize| argument(request, args, i);
        match args.get(1).map(|version| command::integer(version.of(request))) {
            None | Some(Some(2)) => {}
            Some(Some(3)) => return Err(Refusal::Text(reply::NO_HELLO_3)),
            Some(Some(_)) => return Err(Refusal::Text(reply::NO_PROTO)),
            Some(None) => return Err(Refusal::Text(reply::BAD_PROTO)),
        }
        let mut i = 2;
        while i < args.len() {
            let option = argument(i);
            if option.eq_ignore_ascii_case(b"auth") && i + 2 < args.len() {
                Refusal::unless_ok(self.check_user(c, argument(i + 1), argument(i + 2)))?;
                self.clients[c as usize].session.authenticated = true;
                i += 3;
            } else if option.eq_ignore_ascii_case(b"setname") && i + 1 < args.len() {
                let name = &mut self.clients[c as usize].session.name;
                Refusal::unless_ok(set_name(name, argument(i + 1)))?;
                i += 2;
            } else {
                return Err(Refusal::Option(i));
            }
        }
        let client = &self.clients[c as usize];
        let needed = self.pools[client.pool as usize].pool.redis_auth.is_some();
        if needed && !client.session.authenticated {
            return Err(Refusal::Text(reply::HELLO_NO_AUTH));
        }
        Ok(())
    }

    /// RESET: back to a connection that has just been made.
    fn reset(&mut self, c: u32) {
        let session = &mut self.clients[c as usize].session;
        session.authenticated = false;
        session.name = None;
        self.answer(c, reply::RESET);
    }
}

/// Why HELLO is refused.
enum Refusal {
    /// Told in these words.
    Text(&'static [u8]),
    /// This argument is no option.
    Option(usize),
}

impl Refusal {
    fn unless_ok(verdict: &'static [u8]) -> Result<(), Refusal> {
        if verdict == reply::OK { Ok(()) } else { Err(Refusal::Text(verdict)) }
    }
}

/// Keeps a client's name if it is one that Redis would accept.
fn set_name(kept: &mut Option<Box<[u8]>>, name: &[u8]) -> &'static [u8] {
    if !name.iter().all(u8::is_ascii_graphic) {
        return reply::BAD_NAME;
    }
    if name.len() > NAME_MAX {
        return reply::LONG_NAME;
    }
    *kept = (!name.is_empty()).then(|| name.into());
    reply::OK
}

/// Compares without telling by its duration where the first difference is.
fn is_equal(wanted: &[u8], given: &[u8]) -> bool {
    wanted.len() == given.len()
        && wanted.iter().zip(given).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

/// TIME: seconds and microseconds.
fn time(wall_us: u64, out: &mut Vec<u8>) {
    encode::array_header(out, 2);
    encode::bulk(out, (wall_us / 1_000_000).to_string().as_bytes());
    encode::bulk(out, (wall_us % 1_000_000).to_string().as_bytes());
}
