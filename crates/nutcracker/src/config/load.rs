//! From a path to a [`Loaded`] configuration, and the three modes that only look at one: `-t`, `--print-config` and
//! `--route`. They take where to write, and give the exit status.

use std::io::{self, Read, Write};
use std::path::Path;

use sharding::Distribution;

use super::address::{self, Resolver};
use super::document;
use super::fault::{LoadError, shown};
use super::parse::{self, Placed};
use super::warn::{self, Warning};
use super::{Config, Fault, Pool, Settings, print};
use crate::cli::Options;

/// Exit status of a mode that did what it was asked.
const SUCCESS: u8 = 0;
/// Exit status of everything else.
const FAILURE: u8 = 1;

/// A valid configuration and what to say about it.
#[derive(Debug)]
pub struct Loaded {
    placed: Placed,
}

impl Loaded {
    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.placed.config
    }

    /// The configuration, when nothing more is to be said about its file.
    pub fn into_config(self) -> Config {
        self.placed.config
    }

    /// What is legal and dangerous, in the order of the file; `settings` are those the process would run with.
    pub fn warnings(&self, settings: &Settings) -> Vec<Warning> {
        let mut all = warn::warnings(&self.placed);
        all.extend(warn::stats_collisions(&self.placed, settings));
        all.sort_by_key(|warning| warning.at);
        all
    }
}

/// Reads and checks the file at `path`. Hosts of `listen` are resolved, which may block; hosts of servers are not.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    let bytes =
        read(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
    let invalid = |faults| LoadError::Invalid { path: path.to_owned(), faults };
    from_bytes(&bytes, &address::resolve).map_err(invalid)
}

/// As much of the file as could be a configuration, and one byte more of a longer one.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(document::BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Checks the text of a file.
pub(super) fn from_bytes(bytes: &[u8], resolver: Resolver<'_>) -> Result<Loaded, Vec<Fault>> {
    let root = document::read(bytes)?;
    let placed = parse::parse(&root, resolver)?;
    Ok(Loaded { placed })
}

/// `-t`: says on `err` all that is wrong or dangerous, then the verdict. COMPAT: the verdict is that of twemproxy 0.5,
/// once.
pub fn test_conf(options: &Options, err: &mut dyn Write) -> io::Result<u8> {
    let path = options.conf_file();
    let (status, verdict) = match load_and_tell(options, err)? {
        Some(_) => (SUCCESS, "ok"),
        None => (FAILURE, "invalid"),
    };
    writeln!(err, "nutcracker: configuration file '{}' syntax is {verdict}", path.display())?;
    Ok(status)
}

/// `--print-config`: the configuration on `out`, warnings and errors on `err`.
pub fn print_config(options: &Options, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let Some(loaded) = load_and_tell(options, err)? else { return Ok(FAILURE) };
    out.write_all(print(loaded.config()).as_bytes())?;
    Ok(SUCCESS)
}

/// `--route`: on `out` one line per key: the key, the name of its server and the server's address, with tabs between.
/// Backslashes, control bytes and bytes beyond ASCII in keys and names are written as `\\`, `\t`, `\n`, `\r`, `\xNN`.
pub fn route(
    options: &Options,
    pool: &str,
    keys: &[Vec<u8>],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let Some(loaded) = load_quietly(options, err)? else { return Ok(FAILURE) };
    let pools = &loaded.config().pools;
    let Some(found) = pools.iter().find(|candidate| candidate.name == pool) else {
        let names: Vec<String> =
            pools.iter().map(|pool| format!("'{}'", shown(&pool.name))).collect();
        writeln!(
            err,
            "nutcracker: no pool '{}'; fix: use one of {}",
            shown(pool),
            names.join(", ")
        )?;
        return Ok(FAILURE);
    };
    if found.distribution == Distribution::Random && found.servers.len() > 1 {
        writeln!(
            err,
            "nutcracker: pool '{}' distributes at random: a key belongs to no server",
            shown(pool)
        )?;
        return Ok(FAILURE);
    }
    route_keys(found, keys, out)?;
    Ok(SUCCESS)
}

fn route_keys(pool: &Pool, keys: &[Vec<u8>], out: &mut dyn Write) -> io::Result<()> {
    let sharder = warn::sharder(pool);
    for key in keys {
        // Nothing is drawn: pools that distribute at random do not come here, except with one server.
        let server = &pool.servers[sharder.shard(key, || 0)];
        let name = server.name.as_bytes().escape_ascii();
        writeln!(out, "{}\t{name}\t{}", key.escape_ascii(), server.address)?;
    }
    Ok(())
}

fn load_quietly(options: &Options, err: &mut dyn Write) -> io::Result<Option<Loaded>> {
    match load(&options.conf_file()) {
        Ok(loaded) => Ok(Some(loaded)),
        Err(error) => {
            writeln!(err, "{error}")?;
            Ok(None)
        }
    }
}

fn load_and_tell(options: &Options, err: &mut dyn Write) -> io::Result<Option<Loaded>> {
    let loaded = load_quietly(options, err)?;
    if let Some(loaded) = &loaded {
        let settings = Settings::resolve(options, &loaded.config().global);
        for warning in loaded.warnings(&settings) {
            writeln!(err, "{}:{warning}", options.conf_file().display())?;
        }
    }
    Ok(loaded)
}
