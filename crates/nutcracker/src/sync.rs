//! What threads of the product meet over: the standard library's, or those of the model checker, under which every
//! order of events is tried (`cargo xtask models`). One place, so that the code that uses them is the same.

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64},
    },
    thread,
};

#[cfg(loom)]
pub(crate) mod model;
#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU32, AtomicU64},
};
#[cfg(loom)]
pub(crate) use model::{Condvar, thread};
