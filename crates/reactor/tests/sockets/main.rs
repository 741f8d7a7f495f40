//! The reactor on real sockets. Apart from the other tests because those change what the whole process may do.

mod connecting;
mod connections;
mod messages;
mod rig;
