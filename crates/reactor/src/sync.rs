//! What threads meet over: mutexes of the standard library and wakers of mio, or those of the model checker, under
//! which every order of events is tried (`cargo xtask models`). One place, so that the code that uses them is the same.
#![forbid(unsafe_code)]

#[cfg(loom)]
pub(crate) use crate::model::Waker;
#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use mio::Waker;
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};
