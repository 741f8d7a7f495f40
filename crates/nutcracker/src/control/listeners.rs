//! Binding listeners: TCP addresses and unix sockets with their permissions. Apart because a socket file
//! has an owner that has to be respected at both ends of its life.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::process::os_error_text;

/// What a listener is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSpec {
    /// Who listens, for messages.
    pub owner: Owner,
    /// The address as written by the operator, for messages.
    pub text: String,
    /// The address.
    pub endpoint: Endpoint,
    /// Connections the system keeps ready to be accepted; it caps the number itself.
    pub backlog: u32,
    /// Whether other processes may listen on the same address too.
    pub reuseport: bool,
}

/// Who a listener belongs to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Owner {
    /// The pool of this name.
    #[error("in pool '{0}'")]
    Pool(String),
    /// The stats port.
    #[error("of the stats server")]
    Stats,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address of the machine.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix {
        /// Where its file appears.
        path: PathBuf,
        /// Its exact permissions; `None` leaves them to the umask.
        mode: Option<u32>,
    },
}

/// A bound listener. Dropping it removes the socket file it made, unless another has taken its place.
#[derive(Debug)]
pub struct Listener {
    /// Listening, non-blocking, closed on exec. Workers get clones of it, so that the file outlives none of them.
    pub socket: Socket,
    socket_file: Option<SocketFile>,
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
#[error("{action} on '{text}' {owner} failed: {reason}")]
pub struct BindError {
    action: &'static str,
    text: String,
    owner: Owner,
    reason: String,
}

/// A socket file, known by more than its name.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Listener {
    /// Binds and listens.
    ///
    /// A unix socket's file left behind by a process that is gone is replaced. Anything else at its path stays, and
    /// is an error.
    ///
    /// # Errors
    /// Any step is refused by the system, or the path is taken. What was made until then is removed.
    pub fn bind(spec: &ListenerSpec) -> Result<Listener, BindError> {
        match &spec.endpoint {
            Endpoint::Tcp(address) => bind_tcp(spec, *address),
            Endpoint::Unix { path, mode } => bind_unix(spec, path, *mode),
        }
    }

    /// The socket once more, for a worker.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn share(&self, spec: &ListenerSpec) -> Result<Socket, BindError> {
        self.socket.try_clone().map_err(|error| spec.io_error("socket", &error))
    }

    /// Whether clients still find it: nobody has removed or replaced its socket file.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.socket_file.as_ref().is_none_or(SocketFile::is_ours)
    }

    /// Gives it the settings of `after`, which is at the same address as `before`. What the system refuses stays as it
    /// is, and is logged.
    pub fn adjust(&self, before: &ListenerSpec, after: &ListenerSpec) {
        if before.backlog != after.backlog
            && let Err(error) = listen(after, &self.socket)
        {
            log::warn!("{error}");
        }
        if let (Endpoint::Unix { mode: old, .. }, Endpoint::Unix { path, mode: Some(mode) }) =
            (&before.endpoint, &after.endpoint)
            && *old != Some(*mode)
            && let Err(error) = fs::set_permissions(path, Permissions::from_mode(*mode))
        {
            log::warn!("{}", after.io_error("chmod", &error));
        }
        if before.reuseport != after.reuseport {
            log::warn!(
                "'reuseport' of '{}' {} changes with the next start",
                after.text,
                after.owner
            );
        }
    }
}

impl SocketFile {
    fn is_ours(&self) -> bool {
        let ours = |found: fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        fs::symlink_metadata(&self.path).is_ok_and(ours)
    }
}

impl Owner {
    /// What can be done about an address that somebody else has.
    fn way_out(&self) -> &'static str {
        match self {
            Owner::Pool(_) => {
                "; stop the process that listens there or give the pool another address"
            }
            Owner::Stats => {
                "; stop the process that listens there or choose another port with -s or stats_port"
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl ListenerSpec {
    fn error(&self, action: &'static str, reason: impl Into<String>) -> BindError {
        BindError {
            action,
            text: self.text.clone(),
            owner: self.owner.clone(),
            reason: reason.into(),
        }
    }

    fn io_error(&self, action: &'static str, error: &io::Error) -> BindError {
        let fix = match error.kind() {
            io::ErrorKind::AddrInUse => self.owner.way_out(),
            io::ErrorKind::AddrNotAvailable => {
                "; the address belongs to no interface of this machine"
            }
            io::ErrorKind::PermissionDenied => {
                "; choose a place this user may listen on (ports from 1024 on)"
            }
            io::ErrorKind::NotFound => "; create the directory first",
            _ => "",
        };
        self.error(action, os_error_text(error) + fix)
    }
}

fn bind_tcp(spec: &ListenerSpec, address: SocketAddr) -> Result<Listener, BindError> {
    let socket = new_socket(spec, Domain::for_address(address))?;
    let set = |result: io::Result<()>| {
        result.map_err(|error| spec.io_error("setting a socket option", &error))
    };
    set(socket.set_reuse_address(true))?;
    if spec.reuseport {
        set(socket.set_reuse_port(true))?;
    }
    socket.bind(&address.into()).map_err(|error| spec.io_error("bind", &error))?;
    listen(spec, &socket)?;
    Ok(Listener { socket, socket_file: None })
}

fn bind_unix(spec: &ListenerSpec, path: &Path, mode: Option<u32>) -> Result<Listener, BindError> {
    let address = SockAddr::unix(path).map_err(|_| {
        spec.error("bind", "the path is too long for a unix socket; choose one under 108 bytes")
    })?;
    make_room(spec, path, &address)?;
    let socket = new_socket(spec, Domain::UNIX)?;
    socket.bind(&address).map_err(|error| spec.io_error("bind", &error))?;
    let made = fs::symlink_metadata(path).map_err(|error| spec.io_error("bind", &error))?;
    let socket_file = SocketFile { path: path.into(), device: made.dev(), inode: made.ino() };
    if let Some(mode) = mode {
        // Before listening: nobody connects under the wrong permissions.
        fs::set_permissions(path, Permissions::from_mode(mode))
            .map_err(|error| spec.io_error("chmod", &error))?;
    }
    listen(spec, &socket)?;
    Ok(Listener { socket, socket_file: Some(socket_file) })
}

/// Removes a socket file that nobody listens on.
fn make_room(spec: &ListenerSpec, path: &Path, address: &SockAddr) -> Result<(), BindError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(spec.io_error("bind", &error)),
    };
    if !found.file_type().is_socket() {
        return Err(spec.error(
            "bind",
            "a file that is no socket is in the way; remove it or choose another path",
        ));
    }
    let probe = new_socket(spec, Domain::UNIX)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| spec.io_error("removing the stale socket", &error)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(spec.error(
            "bind",
            "a socket of another user is in the way; remove it or choose another path",
        )),
        // Connected, or busy, or a socket of another type: somebody uses it.
        _ => {
            Err(spec.error("bind", "another process listens there; stop it or choose another path"))
        }
    }
}

fn new_socket(spec: &ListenerSpec, domain: Domain) -> Result<Socket, BindError> {
    let socket =
        Socket::new(domain, Type::STREAM, None).map_err(|error| spec.io_error("socket", &error))?;
    socket.set_nonblocking(true).map_err(|error| spec.io_error("socket", &error))?;
    Ok(socket)
}

fn listen(spec: &ListenerSpec, socket: &Socket) -> Result<(), BindError> {
    socket
        .listen(i32::try_from(spec.backlog).unwrap_or(i32::MAX))
        .map_err(|error| spec.io_error("listen", &error))
}

#[cfg(test)]
mod tests;
