//! System errors in the words that clients and operators of twemproxy know: those of the GNU C library, whatever the
//! platform.

use reactor::Errno;
use rustix::io::Errno as Os;

/// The text of an error number. Numbers nobody expects of a socket share one text.
pub(super) fn text(errno: Errno) -> &'static str {
    match Os::from_raw_os_error(errno.raw()) {
        Os::CONNREFUSED => engine::fault::CONNECTION_REFUSED,
        Os::CONNRESET => "Connection reset by peer",
        Os::CONNABORTED => "Software caused connection abort",
        Os::PIPE => "Broken pipe",
        Os::TIMEDOUT => engine::fault::TIMED_OUT,
        Os::HOSTDOWN => engine::fault::HOST_IS_DOWN,
        Os::HOSTUNREACH => "No route to host",
        Os::NETUNREACH => "Network is unreachable",
        Os::NETDOWN => "Network is down",
        Os::INVAL => engine::fault::INVALID_ARGUMENT,
        Os::MFILE => engine::fault::TOO_MANY_FILES,
        Os::NFILE => engine::fault::TOO_MANY_FILES_IN_SYSTEM,
        Os::NOENT => "No such file or directory",
        Os::ACCESS => "Permission denied",
        Os::PERM => "Operation not permitted",
        Os::AGAIN => "Resource temporarily unavailable",
        Os::ADDRNOTAVAIL => "Cannot assign requested address",
        Os::ADDRINUSE => "Address already in use",
        Os::AFNOSUPPORT => "Address family not supported by protocol",
        Os::PROTOTYPE => "Protocol wrong type for socket",
        Os::NOBUFS => engine::fault::NO_BUFFER_SPACE,
        Os::NOMEM => engine::fault::NO_MEMORY,
        Os::NOTCONN => "Transport endpoint is not connected",
        Os::NOTSOCK => "Socket operation on non-socket",
        _ => "Input/output error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_the_c_library() {
        let known =
            [Os::CONNREFUSED, Os::CONNRESET, Os::PIPE, Os::TIMEDOUT, Os::HOSTDOWN, Os::HOSTUNREACH];
        let more = [Os::NETUNREACH, Os::INVAL, Os::MFILE, Os::NOENT, Os::ACCESS, Os::AGAIN, Os::IO];
        for os in known.into_iter().chain(more) {
            let system = std::io::Error::from_raw_os_error(os.raw_os_error()).to_string();
            let text = text(Errno(os.raw_os_error()));
            assert!(system.starts_with(text), "{system} against {text}");
        }
    }
}
