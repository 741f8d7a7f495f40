//! Requests that are framed well and still make no sense, and Redis' words for each.

use super::Command;
use crate::resp::encode;
use crate::{Span, argument};

/// Redis cuts what it quotes after so many bytes.
const QUOTED_BYTES_MAX: usize = 128;

/// Why a request has no row, or does not fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No command has this name.
    UnknownCommand,
    /// This container has no such subcommand.
    UnknownSubcommand(&'static Command),
    /// This command wants another number of arguments.
    WrongArity(&'static Command),
    /// `HELLO` knows no option like this argument, or not with so few arguments behind it.
    HelloOption(usize),
}

impl Rejection {
    /// Appends the error reply for the request that was rejected, exactly as Redis 7 words it.
    /// Control bytes of what is quoted become blanks.
    pub fn write_reply(&self, bytes: &[u8], args: &[Span], out: &mut Vec<u8>) {
        match self {
            Self::UnknownCommand => unknown_command(bytes, args, out),
            Self::UnknownSubcommand(_) => unknown_subcommand(bytes, args, out),
            Self::WrongArity(command) => {
                out.extend_from_slice(b"-ERR wrong number of arguments for '");
                out.extend_from_slice(command.name.as_bytes());
                out.extend_from_slice(b"' command\r\n");
            }
            Self::HelloOption(at) => {
                out.extend_from_slice(b"-ERR Syntax error in HELLO option '");
                quote(argument(bytes, args, *at), QUOTED_BYTES_MAX, out);
                out.extend_from_slice(b"'\r\n");
            }
        }
    }
}

fn unknown_command(bytes: &[u8], args: &[Span], out: &mut Vec<u8>) {
    out.extend_from_slice(b"-ERR unknown command '");
    quote(argument(bytes, args, 0), QUOTED_BYTES_MAX, out);
    out.extend_from_slice(b"', with args beginning with: ");
    let start = out.len();
    for arg in args.iter().skip(1) {
        let used = out.len().saturating_sub(start);
        if used >= QUOTED_BYTES_MAX {
            break;
        }
        out.push(b'\'');
        quote(arg.of(bytes), QUOTED_BYTES_MAX.saturating_sub(used), out);
        out.extend_from_slice(b"' ");
    }
    out.extend_from_slice(b"\r\n");
}

fn unknown_subcommand(bytes: &[u8], args: &[Span], out: &mut Vec<u8>) {
    out.extend_from_slice(b"-ERR unknown subcommand '");
    quote(argument(bytes, args, 1), QUOTED_BYTES_MAX, out);
    out.extend_from_slice(b"'. Try ");
    out.extend(argument(bytes, args, 0).iter().map(u8::to_ascii_uppercase));
    out.extend_from_slice(b" HELP.\r\n");
}

/// Redis formats with C strings: a NUL ends what is quoted.
fn quote(text: &[u8], limit: usize, out: &mut Vec<u8>) {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let shown = text.iter().take(limit);
    out.extend(shown.map(|byte| if byte.is_ascii_control() { b' ' } else { *byte }));
}

/// Why the keys of a request cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysRejection {
    /// The number of keys is no number.
    NotAnInteger,
    /// A script's number of keys is below zero.
    NegativeNumkeys,
    /// The number of keys is no number above zero.
    NumkeysNotPositive,
    /// The number of keys of the command of this name is not above zero.
    NoInputKey(&'static str),
    /// The number of keys is above the number of arguments left.
    MoreKeysThanArgs,
    /// The arguments do not fit together.
    Syntax,
}

impl KeysRejection {
    /// Appends the error reply, as Redis 7 words it.
    pub fn write_reply(&self, out: &mut Vec<u8>) {
        match self {
            Self::NotAnInteger => encode::error(out, "ERR value is not an integer or out of range"),
            Self::NegativeNumkeys => encode::error(out, "ERR Number of keys can't be negative"),
            Self::NumkeysNotPositive => {
                encode::error(out, "ERR numkeys should be greater than 0");
            }
            Self::NoInputKey(name) => {
                out.extend_from_slice(b"-ERR at least 1 input key is needed for '");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"' command\r\n");
            }
            Self::MoreKeysThanArgs => {
                encode::error(out, "ERR Number of keys can't be greater than number of args");
            }
            Self::Syntax => encode::error(out, "ERR syntax error"),
        }
    }
}
