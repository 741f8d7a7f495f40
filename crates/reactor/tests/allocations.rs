//! Steady state allocates nothing: a counting allocator watches the reactor's thread while it echoes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use reactor::{Clock, Core, Errno, Flow, Now, Ops, Peer, Reactor, Slot, Stream, Verdict};
use socket2::Socket;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local integer only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, so from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CLIENTS: usize = 8;
const LONGEST: usize = 256;

/// Echoes at most [`LONGEST`] bytes per client without allocating itself.
struct Echo {
    ops: Ops,
    accepted: usize,
    outputs: [([u8; LONGEST], usize); CLIENTS],
    running: bool,
}

impl Core for Echo {
    type Message = ();

    fn accepted(&mut self, _: u32, stream: Stream, _: Peer, _: Now) -> Verdict {
        self.accepted += 1;
        Verdict::Keep(self.accepted as Slot - 1, stream)
    }

    fn received(&mut self, slot: Slot, bytes: &[u8], _: Now) -> Flow {
        let (buffer, length) = &mut self.outputs[slot as usize];
        buffer[*length..*length + bytes.len()].copy_from_slice(bytes);
        *length += bytes.len();
        self.ops.flush.push(slot);
        Flow::Continue
    }

    fn ended(&mut self, _: Slot, _: Now) {
        self.running = false;
    }

    fn connected(&mut self, _: Slot, _: Now) {}

    fn failed(&mut self, _: Slot, _: Errno, _: Now) {}

    fn output<'c>(&'c self, slot: Slot, slices: &mut [IoSlice<'c>]) -> usize {
        let (buffer, length) = &self.outputs[slot as usize];
        let (left, right) = buffer[..*length].split_at(length / 2);
        (slices[0], slices[1]) = (IoSlice::new(left), IoSlice::new(right));
        2
    }

    fn written(&mut self, slot: Slot, n: usize, _: Now) {
        let (buffer, length) = &mut self.outputs[slot as usize];
        buffer.copy_within(n..*length, 0);
        *length -= n;
    }

    fn message(&mut self, (): (), _: Now) {}

    fn turn(&mut self, _: Now) {}

    fn ops(&mut self) -> &mut Ops {
        &mut self.ops
    }

    fn deadline(&self) -> Option<u64> {
        Some(u64::MAX)
    }

    fn running(&self) -> bool {
        self.running
    }
}

fn rounds(clients: &mut [TcpStream], rounds: usize) {
    for round in 0..rounds {
        let text = format!("round {round}");
        let mut reply = vec![0; text.len()];
        for client in &mut *clients {
            client.write_all(text.as_bytes()).unwrap();
        }
        for client in &mut *clients {
            client.read_exact(&mut reply).unwrap();
            assert_eq!(reply, text.as_bytes());
        }
    }
}

#[test]
fn echoing_allocates_nothing_once_the_lists_have_grown() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let allocations_of = |rounds_made: usize| {
        let listener = listener.try_clone().unwrap();
        let thread = std::thread::spawn(move || {
            let mut core = Echo {
                ops: Ops::default(),
                accepted: 0,
                outputs: [([0; LONGEST], 0); CLIENTS],
                running: true,
            };
            core.ops.listen.push((0, Socket::from(OwnedFd::from(listener))));
            let mut reactor = Reactor::new(Clock::start()).unwrap();
            reactor.run(&mut core).unwrap();
            ALLOCATIONS.with(Cell::get)
        });
        let mut clients: Vec<_> =
            (0..CLIENTS).map(|_| TcpStream::connect(address).unwrap()).collect();
        for client in &clients {
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        rounds(&mut clients, rounds_made);
        drop(clients);
        thread.join().unwrap()
    };
    // How the lists grow depends on how the clients' bytes fall into turns, so the two runs differ by a few steps of
    // growth, not by anything per round.
    let (few, many) = (allocations_of(50), allocations_of(2_000));
    assert!(few > 0, "the count does not count");
    assert!(many <= few + 20, "{few} allocations in a short run, {many} in a long one");
}
