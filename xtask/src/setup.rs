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
}

const REDIS: Program =
    Program { name: "redis-server", package: "redis-server", unit: Some("redis-server.service") };
const MEMCACHED: Program =
    Program { name: "memcached", package: "memcached", unit: Some("memcached.service") };
/// twemproxy 0.5, which the differential tests compare with.
const TWEMPROXY: Program = Program {
    name: "/usr/sbin/nutcracker",
    package: "nutcracker",
    unit: Some("nutcracker.service"),
};

/// Some tests give the proxy a network of its own.
const IP: Program = Program { name: "ip", package: "iproute2", unit: None };

/// What `make run` needs.
pub(crate) const FOR_THE_DEMO: [Program; 2] = [REDIS, MEMCACHED];

/// What `make test` needs.
pub(crate) const FOR_TESTS: [Program; 4] = [REDIS, MEMCACHED, TWEMPROXY, IP];

/// Installs whatever of `programs` is missing: with apt on Debian and its children, elsewhere it says what to install.
///
/// # Errors
/// When something that is needed is still missing. twemproxy only serves to compare with and is no error elsewhere.
pub(crate) fn install(programs: &[Program]) -> Result<()> {
    let missing: Vec<Program> =
        programs.iter().copied().filter(|program| !program.is_present()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if Path::new("/etc/debian_version").exists() && is_in_path("apt-get") {
        return install_with_apt(&missing);
    }
    let names =
        |programs: &[Program]| programs.iter().map(|p| p.package).collect::<Vec<_>>().join(" and ");
    let (optional, needed): (Vec<_>, Vec<_>) =
        missing.iter().partition(|program| program.package == "nutcracker");
    if !optional.is_empty() {
        println!(
            "twemproxy 0.5 is not available here as a package: the comparison with it is left out"
        );
    }
    if needed.is_empty() {
        return Ok(());
    }
    bail!("please install {} with the package manager of this system and try again", names(&needed))
}

impl Program {
    fn is_present(self) -> bool {
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

fn install_with_apt(missing: &[Program]) -> Result<()> {
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
    fn mask(programs: &[Program]) -> Result<MaskedUnits> {
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
