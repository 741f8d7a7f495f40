//! Judges a whole line. What a storage command says about its value is checked at least as strictly
//! as any server checks it: a server that refuses the line without skipping the value would run the
//! value as commands, on a connection that others share.

use super::command::{self, Command, Policy, Shape};
use super::key::Decoded;
use super::limits::{KEY_BYTES_MAX, SERVED_LINE_BYTES_MAX, VALUE_BYTES_MAX};
use super::{Malformed, Reason, Refusal, Request, Silence, number};
use crate::{Span, argument, http};

const NO_REPLY: &[u8] = b"noreply";

/// A whole line, taken apart.
pub(super) struct Line<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) args: &'a [Span],
    /// Its bytes, CR LF included.
    pub(super) len: u32,
    /// Bytes of the longest word.
    pub(super) longest: usize,
    pub(super) has_control: bool,
    pub(super) item_bytes_max: u32,
}

/// What becomes of it.
pub(super) enum Verdict {
    /// It is a whole request.
    Line(Request),
    /// It is a request as soon as its value is there.
    Value(Request),
    Refused {
        refusal: Refusal,
        swallow: u64,
        is_silent: bool,
    },
    Malformed(Malformed),
}

/// What a checked line says.
#[derive(Clone, Copy)]
struct Flags {
    silence: Silence,
    is_base64: bool,
}

impl Line<'_> {
    #[inline]
    pub(super) fn judge(&self) -> Verdict {
        let Some(name) = self.args.first() else { return refused(Refusal::UnknownCommand) };
        let Some(command) = command::find(name.of(self.bytes)) else {
            if http::is_http(name.of(self.bytes)) {
                return Verdict::Malformed(Malformed::at(name.start as usize, Reason::Http));
            }
            return refused(match self.has_control {
                true => Refusal::ControlByte,
                false => Refusal::UnknownCommand,
            });
        };
        match command.shape {
            Shape::Line | Shape::NoReply(_) | Shape::Meta => self.plain(command),
            Shape::Storage | Shape::Cas => self.storage(command, 4),
            Shape::MetaSet => self.storage(command, 2),
        }
    }

    fn plain(&self, command: &'static Command) -> Verdict {
        match self.check(command) {
            Ok(flags) => Verdict::Line(self.request(command, 0, flags)),
            Err(refusal) => self.refused(command, refusal, 0),
        }
    }

    /// A command with a value, whose length is word `place`.
    fn storage(&self, command: &'static Command, place: usize) -> Verdict {
        let Some(word) = self.args.get(place) else {
            let words = self.wrong_arguments(command);
            return refused(if self.has_control { Refusal::ControlByte } else { words });
        };
        let len = number::unsigned(word.of(self.bytes), u64::from(VALUE_BYTES_MAX));
        let Some(len) = len.and_then(|len| u32::try_from(len).ok()) else {
            let offset = word.start as usize;
            return Verdict::Malformed(Malformed::at(offset, Reason::BadDataLength));
        };
        let checked = self.check(command).and_then(|flags| match len > self.item_bytes_max {
            true => Err(Refusal::TooLarge),
            false => Ok(flags),
        });
        match checked {
            Ok(flags) => Verdict::Value(self.request(command, len, flags)),
            Err(refusal) => self.refused(command, refusal, u64::from(len).saturating_add(2)),
        }
    }

    /// As memcached does: who asks for no reply gets none, unless the words cannot be made out.
    fn refused(&self, command: &Command, refusal: Refusal, swallow: u64) -> Verdict {
        let is_silent = refusal != Refusal::WrongArguments
            && matches!(self.no_reply(command), Silence::NoReply(_));
        Verdict::Refused { refusal, swallow, is_silent }
    }

    fn request(&self, command: &'static Command, data: u32, flags: Flags) -> Request {
        let Flags { silence, is_base64 } = flags;
        Request { command, line: self.len, data, silence, is_base64 }
    }

    /// Everything but the length of a value.
    #[inline]
    fn check(&self, command: &'static Command) -> Result<Flags, Refusal> {
        if self.has_control {
            return Err(Refusal::ControlByte);
        }
        if !command.accepts(self.args.len()) {
            return Err(self.wrong_arguments(command));
        }
        let key_len = match command.policy {
            Policy::SingleShard { key } => self.args.get(key).map_or(0, |key| key.len()),
            Policy::Split { .. } => self.longest,
            _ => 0,
        };
        if key_len > KEY_BYTES_MAX {
            return Err(Refusal::KeyTooLong);
        }
        if self.len as usize > SERVED_LINE_BYTES_MAX && !self.is_split(command) {
            return Err(Refusal::LineTooLong);
        }
        let flags = Flags { silence: self.no_reply(command), is_base64: false };
        match command.shape {
            Shape::Line => Ok(flags),
            Shape::NoReply(_) => self.check_no_reply(flags),
            Shape::Storage | Shape::Cas => self.check_numbers(command).map(|()| flags),
            Shape::Meta => self.check_flags(2),
            Shape::MetaSet => self.check_flags(3),
        }
    }

    /// Whether servers get fragments that memcached reads at any length, which are `get` and `gets`,
    /// instead of the line as it came.
    #[cold]
    fn is_split(&self, command: &Command) -> bool {
        command.policy == Policy::Split { keys: 1 } && self.args.len() > 2
    }

    /// memcached's words for a wrong number of words.
    #[cold]
    fn wrong_arguments(&self, command: &Command) -> Refusal {
        match (command.shape, self.args.len()) {
            (Shape::Meta | Shape::MetaSet, 0..=1) => Refusal::WrongArguments,
            (Shape::MetaSet, 2) => Refusal::BadFormat,
            (Shape::Meta | Shape::MetaSet, _) => Refusal::TooManyFlags,
            _ => Refusal::WrongArguments,
        }
    }

    /// `noreply` as the last word, where it may be.
    fn no_reply(&self, command: &Command) -> Silence {
        let from = match command.shape {
            Shape::Line | Shape::Meta | Shape::MetaSet => return Silence::None,
            Shape::NoReply(from) => from,
            Shape::Storage => 5,
            Shape::Cas => 6,
        };
        match self.args.last() {
            Some(word) if self.args.len() > from && word.of(self.bytes) == NO_REPLY => {
                Silence::NoReply(*word)
            }
            _ => Silence::None,
        }
    }

    /// Where one server takes a word for `noreply` and another does not, or where the word ahead of
    /// one that is overwritten would become it, a reply could be waited for that never comes.
    fn check_no_reply(&self, flags: Flags) -> Result<Flags, Refusal> {
        let (last, before) = match self.args {
            [_, .., before, last] => (*last, *before),
            [_, last] => (*last, Span::default()),
            _ => return Ok(flags),
        };
        let is_open = match flags.silence {
            Silence::NoReply(_) => before.of(self.bytes) == NO_REPLY,
            // COMPAT: memcached 1.6.40 takes the key of `delete noreply` for the word.
            _ => last.of(self.bytes) == NO_REPLY,
        };
        if is_open { Err(Refusal::BadFormat) } else { Ok(flags) }
    }

    fn check_numbers(&self, command: &Command) -> Result<(), Refusal> {
        let word = |place: usize| argument(self.bytes, self.args, place);
        let optional = if command.shape == Shape::Cas { 6 } else { 5 };
        let is_unique =
            command.shape == Shape::Storage || number::unsigned(word(5), u64::MAX).is_some();
        let is_sound = number::unsigned(word(2), u64::from(u32::MAX)).is_some()
            && number::is_i32(word(3))
            && is_unique
            && (word(optional).is_empty() || word(optional) == NO_REPLY);
        if is_sound { Ok(()) } else { Err(Refusal::BadFormat) }
    }

    /// The flags of a meta command, from word `from` on.
    fn check_flags(&self, from: usize) -> Result<Flags, Refusal> {
        let mut flags = Flags { silence: Silence::None, is_base64: false };
        let mut seen = 0_u128;
        for word in self.args.get(from..).unwrap_or_default() {
            let flag = word.of(self.bytes).first().copied().unwrap_or(u8::MAX);
            let bit = 1_u128.checked_shl(u32::from(flag)).unwrap_or_default();
            // COMPAT: memcached 1.6.40 forgets the length of a value when a flag is no letter.
            if !flag.is_ascii_alphabetic() {
                return Err(Refusal::InvalidFlag);
            }
            if seen & bit != 0 {
                return Err(Refusal::DuplicateFlag);
            }
            seen |= bit;
            match flag {
                b'q' => flags.silence = Silence::Quiet(*word),
                b'b' => flags.is_base64 = true,
                _ => {}
            }
        }
        let key = argument(self.bytes, self.args, 1);
        if flags.is_base64 && Decoded::default().decode(key).is_none() {
            return Err(Refusal::BadKeyEncoding);
        }
        Ok(flags)
    }
}

fn refused(refusal: Refusal) -> Verdict {
    Verdict::Refused { refusal, swallow: 0, is_silent: false }
}
