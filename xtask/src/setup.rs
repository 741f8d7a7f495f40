//! Installs the servers that the demo and the tests start themselves, and sees to it that installing starts none.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program and the Debian package that brings it.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    name: &'static str,
    package: &'static str,
    /// The service that the package would start, if it has one.
    unit: Option<&'static str>,
    need: Need,
}

/// What it means that a program cannot be had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing goes without it.
    Needed,
    /// Tests are left out, named by what they are about.
    ForTestsOf(&'static str),
}

const REDIS: Program = Program {
    name: "redis-server",
    package: "redis-server",
    unit: Some("redis-server.service"),
    need: Need::Needed,
};
const REDIS_BENCHMARK: Program =
    Program { name: "redis-benchmark", package: "redis-tools", unit: None, need: Need::Needed };
const MEMCACHED: Program = Program {
    name: "memcached",
    package: "memcached",
    unit: Some("memcached.service"),
    need: Need::Needed,
};
/// twemproxy 0.5, which the differential tests compare with.
const TWEMPROXY: Program = Program {
    name: "/usr/sbin/nutcracker",
    package: "nutcracker",
    unit: Some("nutcracker.service"),
    need: Need::ForTestsOf("the comparison with twemproxy 0.5"),
};

/// Some tests give the proxy a network of its own.
const IP: Program = Program { name: "ip", package: "iproute2", unit: None, need: Need::Needed };

const KEEPALIVED: Program = Program {
    name: "keepalived",
    package: "keepalived",
    unit: Some("keepalived.service"),
    need: Need::ForTestsOf("a pair of proxies behind a virtual address"),
};
pub(crate) const HAPROXY: Program = Program {
    name: "haproxy",
    package: "haproxy",
    unit: Some("haproxy.service"),
    need: Need::ForTestsOf("a load balancer in front"),
};
const SYSTEMD_ANALYZE: Program = Program {
    name: "systemd-analyze",
    package: "systemd",
    unit: None,
    need: Need::ForTestsOf("the unit for systemd"),
};
const LOGROTATE: Program = Program {
    name: "logrotate",
    package: "logrotate",
    unit: None,
    need: Need::ForTestsOf("the file for logrotate"),
};
const MANDOC: Program = Program {
    name: "mandoc",
    package: "mandoc",
    unit: None,
    need: Need::ForTestsOf("the markup of the manual page"),
};

const VALGRIND: Program = Program {
    name: "valgrind",
    package: "valgrind",
    unit: None,
    need: Need::ForTestsOf("the number of instructions"),
};

/// What `make run` needs.
pub(crate) const FOR_THE_DEMO: [Program; 2] = [REDIS, MEMCACHED];

/// What `make test` needs.
pub(crate) const FOR_TESTS: [Program; 11] = [
    REDIS,
    REDIS_BENCHMARK,
    MEMCACHED,
    TWEMPROXY,
    IP,
    KEEPALIVED,
    HAPROXY,
    SYSTEMD_ANALYZE,
    LOGROTATE,
    MANDOC,
    VALGRIND,
];

/// What `cargo xtask count` needs.
pub(crate) const FOR_COUNTS: [Program; 1] = [VALGRIND];

/// What `make bench` needs.
pub(crate) const FOR_BENCH: [Program; 5] = [REDIS, REDIS_BENCHMARK, MEMCACHED, TWEMPROXY, HAPROXY];

/// Installs whatever of `programs` is missing: with apt on Debian and its children, elsewhere it says what to install.
///
/// # Errors
/// When something that is needed is still missing. What only some tests need is no error: it says what is left out.
pub(crate) fn install(programs: &[Program]) -> Result<()> {
    let has_apt = Path::new("/etc/debian_version").exists() && is_in_path("apt-get");
    let (needed, optional): (Vec<&Program>, Vec<&Program>) = programs
        .iter()
        .filter(|program| !program.is_present())
        .partition(|program| program.need == Need::Needed);
    if !needed.is_empty() {
        if !has_apt {
            let packages: Vec<_> = needed.iter().map(|program| program.package).collect();
            let packages = packages.join(" and ");
            bail!(
                "please install {packages} with the package manager of this system and try again"
            );
        }
        install_with_apt(&needed)?;
    }
    // One by one, so that one that is not to be had does not keep out the others.
    for program in optional {
        let is_there = has_apt
            && install_with_apt(&[program])
                .inspect_err(|error| eprintln!("warning: {error:#}"))
                .is_ok();
        if let (false, Need::ForTestsOf(subject)) = (is_there, program.need) {
            println!("{} is not available: tests of {subject} are left out", program.name);
        }
    }
    Ok(())
}

impl Program {
    /// Whether it can be started.
    pub(crate) fn is_present(self) -> bool {
        if self.name.starts_with('/') {
            Path::new(self.name).exists()
        } else {
            is_in_path(self.name)
        }
    }
}

fn is_in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([Path::new("/usr/sbin").into()])
        .any(|dir| dir.join(program).is_file())
}

fn install_with_apt(missing: &[&Program]) -> Result<()> {
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    println!("installing {} with apt-get", packages.join(", "));
    let masked = MaskedUnits::mask(missing)?;
    let install = |words: &[&str]| run_as_root(&[&["apt-get", "-qq"], words].concat());
    let wanted = [&["install", "-y", "--no-install-recommends"], packages.as_slice()].concat();
    // Package lists may be old or absent: refresh them only when they turn out to be.
    let outcome =
        install(&wanted).or_else(|_| install(&["update"]).and_then(|()| install(&wanted)));
    drop(masked);
    outcome.with_context(|| format!("apt-get could not install {}", packages.join(", ")))
}

/// Keeps systemd from starting the services of new packages, which would take the default ports of other software.
///
/// Only units that do not exist yet are masked, so a service that runs is never touched.
struct MaskedUnits(Vec<&'static str>);

impl MaskedUnits {
    fn mask(programs: &[&Program]) -> Result<MaskedUnits> {
        let mut masked = MaskedUnits(Vec::new());
        if !Path::new("/run/systemd/system").exists() {
            return Ok(masked);
        }
        for unit in programs.iter().filter_map(|program| program.unit) {
            run_as_root(&["systemctl", "--runtime", "mask", unit])?;
            masked.0.push(unit);
        }
        Ok(masked)
    }
}

impl Drop for MaskedUnits {
    fn drop(&mut self) {
        for unit in &self.0 {
            if let Err(error) = run_as_root(&["systemctl", "--runtime", "unmask", unit]) {
                eprintln!("warning: {unit} is still masked until the next boot: {error:#}");
            }
        }
    }
}

fn run_as_root(words: &[&str]) -> Result<()> {
    let sudo: &[&str] = if rustix::process::geteuid().is_root() { &[] } else { &["sudo"] };
    let words = [sudo, words].concat();
    let status = Command::new(words[0])
        .args(&words[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Without systemd, services are started by run level, and none belongs to level 1.
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {}", words[0]))?;
    if !status.success() {
        bail!("`{}` failed with {status}", words.join(" "));
    }
    Ok(())
}
