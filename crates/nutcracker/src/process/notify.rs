//! Telling the service manager how far along the process is: the datagrams of sd_notify(3). Written here rather than
//! taken from a crate because all of it is one short datagram, and abstract socket names have to work too.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long a service manager that does not read may hold up a message. The message is lost then.
const PATIENCE: Duration = Duration::from_secs(1);

/// The service manager that started this process and asked to be told; every call does nothing when none did.
///
/// It is asked for through the variable `NOTIFY_SOCKET`: a path, or `@` and an abstract name. The variable stays in the
/// environment. The only processes made from this one are those of `-d`, of which the last is the one that reports.
#[derive(Debug)]
pub struct Supervisor {
    address: Option<SocketAddr>,
    watchdog: Option<Duration>,
    complained: bool,
}

impl Supervisor {
    /// The one that the environment names. An address of a kind that is not known here counts as none, with a warning.
    #[must_use]
    pub fn from_environment() -> Supervisor {
        let socket = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let address = socket.and_then(|name| match address(&name) {
            Ok(address) => Some(address),
            Err(error) => {
                log::warn!("NOTIFY_SOCKET '{}' is not usable: {error}", name.display());
                None
            }
        });
        let text = |name| env::var(name).ok();
        let watchdog = watchdog(text("WATCHDOG_USEC").as_deref(), text("WATCHDOG_PID").as_deref());
        Supervisor { watchdog: watchdog.filter(|_| address.is_some()), address, complained: false }
    }

    /// The start, or a reload, is over, and requests are served.
    pub fn ready(&mut self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}\n", one_line(status)));
    }

    /// A reload has begun; [`Supervisor::ready`] has to follow, whether or not it succeeded.
    pub fn reloading(&mut self) {
        // The manager pairs this with the signal it sent by the time on the monotonic clock.
        let now = clock_gettime(ClockId::Monotonic);
        let now_us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now_us}\n"));
    }

    /// The process has begun to stop and will take `patience` at most.
    pub fn stopping(&mut self, patience: Duration, status: &str) {
        let until_us = (patience + PATIENCE).as_micros();
        let status = one_line(status);
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={until_us}\nSTATUS={status}\n"));
    }

    /// The process is in good order; due once per [`Supervisor::watchdog`] at least.
    pub fn in_good_order(&mut self) {
        self.tell("WATCHDOG=1\n");
    }

    /// After how much silence the manager takes this process for hung, if it watches.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    fn tell(&mut self, message: &str) {
        let Some(address) = &self.address else { return };
        if let Err(error) = send(address, message)
            && !std::mem::replace(&mut self.complained, true)
        {
            log::warn!("the service manager could not be told: {}", super::os_error_text(&error));
        }
    }
}

fn send(address: &SocketAddr, message: &str) -> io::Result<()> {
    // A socket for each message: the manager may have been started anew since the last one.
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(message.as_bytes(), address)?;
    Ok(())
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_encoded_bytes() {
        [b'@', rest @ ..] => abstract_address(rest),
        [b'/', ..] => SocketAddr::from_pathname(Path::new(name)),
        _ => Err(io::Error::other("it is neither an absolute path nor an abstract name")),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;

    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::other("abstract names exist on Linux only"))
}

/// The watchdog's span, unless the variables are meant for another process or say nothing.
fn watchdog(usec: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    let meant = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let usec: u64 = usec.filter(|_| meant)?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec))
}

/// A line end would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(text: &str) -> io::Result<SocketAddr> {
        address(OsStr::new(text))
    }

    #[test]
    fn paths_and_abstract_names_are_addresses_and_nothing_else_is() {
        let path = name_of("/run/systemd/notify").unwrap();
        assert_eq!(path.as_pathname(), Some(Path::new("/run/systemd/notify")));
        assert!(name_of("vsock:2:1234").is_err());
        assert!(name_of("relative").is_err());
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt;
            assert_eq!(name_of("@some/name").unwrap().as_abstract_name(), Some(&b"some/name"[..]));
        }
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        let own = std::process::id().to_string();
        assert_eq!(watchdog(Some("2000000"), None), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(Some("2000000"), Some(&own)), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(Some("2000000"), Some("1")), None);
        assert_eq!(watchdog(Some("0"), None), None);
        assert_eq!(watchdog(Some("soon"), None), None);
        assert_eq!(watchdog(None, Some(&own)), None);
    }

    #[test]
    fn a_status_cannot_smuggle_in_another_assignment() {
        assert_eq!(one_line("bad file\nREADY=1"), "bad file READY=1");
    }
}
