//! COMMAND and its subcommands, answered from the proxy's own table: clients learn what works through the proxy.

use proto::resp::command::{self, Command, Flags, Policy};
use proto::resp::encode;
use proto::{Span, argument};

use crate::glob;

/// Appends the reply to `COMMAND …`; `row` is the row the request resolved to.
pub(crate) fn command(row: &Command, request: &[u8], args: &[Span], out: &mut Vec<u8>) {
    match row.subcommand() {
        None => {
            encode::array_header(out, served().count());
            served().for_each(|command| command.write_description(out));
        }
        Some("count") => encode::integer(out, served().count() as i64),
        Some("list") => list(request, args.get(2..).unwrap_or_default(), out),
        Some("info") if args.len() > 2 => {
            encode::array_header(out, args.len() - 2);
            for name in &args[2..] {
                match named(name.of(request)) {
                    Some(command) => command.write_description(out),
                    None => null_array(out),
                }
            }
        }
        Some("info") => {
            encode::array_header(out, served().count());
            served().for_each(|command| command.write_description(out));
        }
        Some("docs") => docs(request, args.get(2..).unwrap_or_default(), out),
        Some("getkeys") => keys(request, args, KeysShape::Names, out),
        Some("getkeysandflags") => keys(request, args, KeysShape::NamesAndFlags, out),
        Some(_) => crate::reply::unsupported(row.name, out),
    }
}

/// Commands, not subcommands, that work through the proxy.
fn served() -> impl Iterator<Item = &'static Command> {
    let works = |command: &Command| {
        !matches!(command.policy, Policy::Unsupported(_))
            || command.subcommands().iter().any(|sub| !matches!(sub.policy, Policy::Unsupported(_)))
    };
    command::all().iter().filter(move |command| command.subcommand().is_none() && works(command))
}

/// COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]: names, those of subcommands included.
fn list(request: &[u8], options: &[Span], out: &mut Vec<u8>) {
    let is = |option: &Span, word: &str| option.of(request).eq_ignore_ascii_case(word.as_bytes());
    match options {
        [] => write_names(out, |_| true),
        // There are none of any module.
        [by, kind, _] if is(by, "filterby") && is(kind, "module") => encode::array_header(out, 0),
        [by, kind, category] if is(by, "filterby") && is(kind, "aclcat") => {
            write_names(out, |command| command.acl_categories().any(|of| is(category, of)));
        }
        [by, kind, pattern] if is(by, "filterby") && is(kind, "pattern") => {
            let pattern = pattern.of(request);
            write_names(out, |command| glob::matches(pattern, command.name.as_bytes()));
        }
        _ => out.extend_from_slice(crate::reply::SYNTAX),
    }
}

/// The names of all commands and subcommands that work through the proxy and are `wanted`.
fn write_names(out: &mut Vec<u8>, wanted: impl Fn(&Command) -> bool) {
    let works = |sub: &&Command| !matches!(sub.policy, Policy::Unsupported(_));
    let with_subcommands = |command: &'static Command| {
        [command].into_iter().chain(command.subcommands().iter().filter(works))
    };
    let names = || served().flat_map(with_subcommands).filter(|command| wanted(command));
    encode::array_header(out, names().count());
    names().for_each(|command| encode::bulk(out, command.name.as_bytes()));
}

/// A command or, as `container|subcommand`, a subcommand.
fn named(name: &[u8]) -> Option<&'static Command> {
    let mut words = name.splitn(2, |byte| *byte == b'|');
    let command = command::find(words.next()?)?;
    let Some(wanted) = words.next() else { return Some(command) };
    let has_name = |sub: &&Command| {
        sub.subcommand().is_some_and(|word| word.as_bytes().eq_ignore_ascii_case(wanted))
    };
    command.subcommands().iter().find(has_name)
}

/// COMMAND DOCS: what the table knows of each command, all of them when none is named.
fn docs(request: &[u8], names: &[Span], out: &mut Vec<u8>) {
    let wanted: Vec<&Command> = match names {
        [] => served().collect(),
        names => names.iter().filter_map(|name| named(name.of(request))).collect(),
    };
    encode::array_header(out, wanted.len() * 2);
    for command in wanted {
        encode::bulk(out, command.name.as_bytes());
        encode::array_header(out, 6);
        let fields = [("summary", ""), ("since", command.since), ("group", command.group.name())];
        for (field, value) in fields {
            encode::bulk(out, field.as_bytes());
            encode::bulk(out, value.as_bytes());
        }
    }
}

#[derive(Clone, Copy)]
enum KeysShape {
    Names,
    NamesAndFlags,
}

/// COMMAND GETKEYS name argument…: the keys of a whole command; of GETKEYSANDFLAGS, each with what happens to it.
fn keys(request: &[u8], args: &[Span], shape: KeysShape, out: &mut Vec<u8>) {
    let inner = &args[2..];
    let command = match command::resolve(request, inner) {
        Ok(command) => command,
        Err(command::Rejection::WrongArity(command)) if command.key_specs.is_empty() => {
            return encode::error(out, "ERR The command has no key arguments");
        }
        Err(command::Rejection::WrongArity(_)) => {
            return encode::error(out, "ERR Invalid number of arguments specified for command");
        }
        Err(_) => return encode::error(out, "ERR Invalid command specified"),
    };
    let mut found = Vec::new();
    let result = command.keys_and_flags(request, inner, &mut found);
    let needs_none = command.flags.has(Flags::NO_MANDATORY_KEYS);
    match result {
        Err(_) if needs_none => encode::array_header(out, 0),
        Err(_) => encode::error(out, "ERR Invalid arguments specified for command"),
        Ok(()) if found.is_empty() && !needs_none => {
            encode::error(out, "ERR The command has no key arguments");
        }
        Ok(()) => {
            encode::array_header(out, found.len());
            for (key, flags) in found {
                let key = argument(request, inner, key as usize);
                match shape {
                    KeysShape::Names => encode::bulk(out, key),
                    KeysShape::NamesAndFlags => {
                        encode::array_header(out, 2);
                        encode::bulk(out, key);
                        simple_array(out, flags.words());
                    }
                }
            }
        }
    }
}

fn simple_array(out: &mut Vec<u8>, words: impl Iterator<Item = &'static str> + Clone) {
    encode::array_header(out, words.clone().count());
    words.for_each(|word| encode::simple(out, word));
}

fn null_array(out: &mut Vec<u8>) {
    out.extend_from_slice(b"*-1\r\n");
}
