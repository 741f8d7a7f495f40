//! Faults that a model has to notice: a piece of the product, and what it is broken into.

/// One fault.
pub(super) struct Mutant {
    /// What is wrong, as the end of a sentence.
    pub(super) fault: &'static str,
    pub(super) file: &'static str,
    /// Found once in the file.
    pub(super) sound: &'static str,
    pub(super) broken: &'static str,
}

const MAILBOX: &str = "crates/reactor/src/mailbox.rs";
const COUNTERS: &str = "crates/engine/src/counters.rs";
const SHARED: &str = "crates/nutcracker/src/worker/shared.rs";
const EJECTIONS: &str = "crates/nutcracker/src/worker/ejections.rs";
const ADDRESSES: &str = "crates/nutcracker/src/worker/addresses.rs";
const WORKER: &str = "crates/nutcracker/src/worker/mod.rs";
const PUBLICATION: &str = "crates/nutcracker/src/worker/publication.rs";
const RESOLVER: &str = "crates/nutcracker/src/control/resolver.rs";

pub(super) const MUTANTS: [Mutant; 22] = [
    Mutant {
        fault: "only a mailbox with one message wakes its reactor",
        file: MAILBOX,
        sound: "let wake = queue.messages.is_empty();",
        broken: "let wake = queue.messages.len() == 1;",
    },
    Mutant {
        fault: "every message wakes the reactor",
        file: MAILBOX,
        sound: "let wake = queue.messages.is_empty();",
        broken: "let wake = true;",
    },
    Mutant {
        fault: "the reactor is woken before the message is there",
        file: MAILBOX,
        sound: "        queue.messages.push(message);\n        drop(queue);\n        if wake {",
        broken: "        drop(queue);\n        if wake {\n            let _ = self.shared.waker.wake();\n        }\n        self.shared.lock().messages.push(message);\n        if false {",
    },
    Mutant {
        fault: "a later message overtakes an earlier one",
        file: MAILBOX,
        sound: "queue.messages.push(message);",
        broken: "queue.messages.insert(0, message);",
    },
    Mutant {
        fault: "a mailbox stays open when its reactor has ended",
        file: MAILBOX,
        sound: "queue.open = false;",
        broken: "",
    },
    Mutant {
        fault: "a mailbox keeps what its reactor has not taken",
        file: MAILBOX,
        sound: "let messages = std::mem::take(&mut queue.messages);",
        broken: "let messages: Vec<M> = Vec::new();",
    },
    Mutant {
        fault: "a count is written in two halves",
        file: COUNTERS,
        sound: "self.0.store(self.value().wrapping_add(n), Ordering::Relaxed);",
        broken: "let sum = self.value().wrapping_add(n);\n        self.0.store(sum & !0xFFFF_FFFF | self.value() & 0xFFFF_FFFF, Ordering::Relaxed);\n        self.0.store(sum, Ordering::Relaxed);",
    },
    Mutant {
        fault: "a count is zero for a moment",
        file: COUNTERS,
        sound: "self.0.store(self.value().wrapping_add(n), Ordering::Relaxed);",
        broken: "let sum = self.0.swap(0, Ordering::Relaxed).wrapping_add(n);\n        self.0.store(sum, Ordering::Relaxed);",
    },
    Mutant {
        fault: "clients are admitted without the lock",
        file: SHARED,
        sound: "        let present = self.present();\n        let total",
        broken: "        let present = self.present().clone();\n        let total",
    },
    Mutant {
        fault: "a worker keeps the place of a client that is gone",
        file: SHARED,
        sound: "self.clients[worker].fetch_sub(n, Ordering::Relaxed);",
        broken: "",
    },
    Mutant {
        fault: "a pool keeps the place of a client that is gone",
        file: SHARED,
        sound: "gate.clients.fetch_sub(n, Ordering::Relaxed);",
        broken: "",
    },
    Mutant {
        fault: "clients are sent to a worker that has left",
        file: SHARED,
        sound: "present[worker] &= !is_free;",
        broken: "",
    },
    Mutant {
        fault: "a worker leaves while a client is on its way to it",
        file: WORKER,
        sound: "self.engine.clients() == 0 && self.shared.leave(self.index)",
        broken: "self.engine.clients() == 0",
    },
    Mutant {
        fault: "a client whose pool is gone keeps its place",
        file: WORKER,
        sound: "None => self.shared.dismiss(&gate, self.index, 1),",
        broken: "None => drop(gate),",
    },
    Mutant {
        fault: "a client whose pool is gone gives its place back twice",
        file: WORKER,
        sound: "None => self.shared.dismiss(&gate, self.index, 1),",
        broken: "None => self.shared.dismiss(&gate, self.index, 2),",
    },
    Mutant {
        fault: "a client of a pool that is to come is turned away",
        file: PUBLICATION,
        sound: "number > self.newest",
        broken: "number > self.newest + 9",
    },
    Mutant {
        fault: "an address has one place too many",
        file: ADDRESSES,
        sound: "if *count >= max {",
        broken: "if *count > max {",
    },
    Mutant {
        fault: "an address keeps the place of a client that is gone",
        file: ADDRESSES,
        sound: "*count.get_mut() -= 1;",
        broken: "",
    },
    Mutant {
        fault: "an ejection is looked up and noted under two locks",
        file: EJECTIONS,
        sound: "let latest = latest.entry((pool.to_owned(), server.to_owned())).or_default();",
        broken: "let seen = *latest.entry((pool.to_owned(), server.to_owned())).or_default();\n        drop(latest);\n        if seen > known {\n            return false;\n        }\n        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);\n        let latest = latest.entry((pool.to_owned(), server.to_owned())).or_default();\n        *latest = 0;",
    },
    Mutant {
        fault: "every worker counts an ejection",
        file: EJECTIONS,
        sound: "let is_first = *latest <= known;",
        broken: "let is_first = true;",
    },
    Mutant {
        fault: "a thread of the resolver ends although a name was queued meanwhile",
        file: RESOLVER,
        sound: "if wait.timed_out() && state.queue.is_empty() {",
        broken: "if wait.timed_out() {",
    },
    Mutant {
        fault: "names that relied on a thread that was refused are left in the queue",
        file: RESOLVER,
        sound: "let stranded = std::mem::take(&mut state.queue);",
        broken: "let stranded = state.queue.pop_back();",
    },
];
