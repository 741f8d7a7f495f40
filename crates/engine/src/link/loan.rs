//! An open file lent to a connection that is not among those planned with, `server_connections` of them for each server.
//!
//! Files are shared out at the start: so many for servers, the rest for clients. A connection on top of that takes a place
//! a client could have, and is not opened where none is free: without this, values large enough would take the files that
//! the planned connections need, and requests would fail for want of them.

use std::fmt;
use std::sync::Arc;

use crate::Environment;

/// One open file, given back when this is dropped.
pub(crate) struct FileLoan(Arc<dyn Environment>);

impl FileLoan {
    /// Takes one if one is free.
    pub(crate) fn take(environment: &Arc<dyn Environment>) -> Option<FileLoan> {
        environment.lend_file().then(|| FileLoan(Arc::clone(environment)))
    }
}

impl Drop for FileLoan {
    fn drop(&mut self) {
        self.0.return_file();
    }
}

impl fmt::Debug for FileLoan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FileLoan")
    }
}
