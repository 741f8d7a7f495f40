//! Models of what workers share: every order in which they admit clients, hand them over, follow a publication and
//! drain. The workers are those of the product, with a mailbox and no event queue under them.

use std::mem::ManuallyDrop;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use engine::counters::Counts;
use engine::topology::{Address, CrossShard, FlushAll, Limits, Server, Topology};
use loom::sync::atomic::AtomicU64;
use reactor::model::Receiver;
use sharding::{Distribution, Hash};

use super::*;
use crate::sync::model::{check, start};

const LISTENER: u32 = 7;
const CLOCK_US: u64 = 1;

/// How a worker decides on a client.
type Admit = fn(&Shared, &Gate, usize) -> Option<usize>;

/// Two workers admit a client each through these gates, serve it and let it go. `limit` is what the gates and the process
/// allow together.
fn come_and_go(process_max: u64, gates: &[Arc<Gate>; 2], limit: u64, admit: Admit) {
    let shared = Shared::new(2, process_max);
    let inside = Arc::new(AtomicU64::new(0));
    let visit = |me: usize| {
        let (shared, gate, inside) =
            (Arc::clone(&shared), Arc::clone(&gates[me]), Arc::clone(&inside));
        move || {
            let Ok(place) = gate.addresses().admit([10, 0, 0, 1].into()) else { return };
            let Some(worker) = admit(&shared, &gate, me) else { return };
            assert!(inside.fetch_add(1, Ordering::SeqCst) < limit, "one client too many");
            inside.fetch_sub(1, Ordering::SeqCst);
            drop(place);
            shared.dismiss(&gate, worker, 1);
        }
    };
    let other = start(visit(1));
    visit(0)();
    other.join().expect("served");
    assert_eq!([shared.clients_of(0), shared.clients_of(1)], [0; 2], "clients that are gone");
    for gate in gates {
        assert!(gate.addresses().admit([10, 0, 0, 1].into()).is_ok(), "a place not given back");
        assert!(shared.admit(gate, 0).is_some(), "a place not given back");
        shared.dismiss(gate, 0, 1);
    }
}

#[test]
fn the_process_never_has_more_clients_than_fit_and_gets_every_place_back() {
    check(3, || {
        let gates = [Gate::new(1, Admission::up_to(0, 0)), Gate::new(2, Admission::up_to(0, 0))];
        come_and_go(1, &gates, 1, Shared::admit);
    });
}

#[test]
fn a_pool_never_has_more_clients_than_fit_and_gets_every_place_back() {
    check(3, || {
        let gate = Gate::new(1, Admission::up_to(1, 0));
        let gates = [gate.with(Admission::up_to(1, 0)), gate];
        come_and_go(9, &gates, 1, Shared::admit);
    });
}

#[test]
fn an_address_never_has_more_clients_than_fit_and_gets_every_place_back() {
    check(3, || {
        let gate = Gate::new(1, Admission::up_to(0, 1));
        come_and_go(9, &[Arc::clone(&gate), gate], 1, Shared::admit);
    });
}

#[test]
#[should_panic(expected = "one client too many")]
fn looking_first_and_counting_later_would_admit_one_too_many() {
    let look_first: Admit = |shared, gate, me| {
        let fits = shared.clients_of(0) + shared.clients_of(1) < 1;
        fits.then(|| shared.admit(gate, me))?;
        Some(me)
    };
    check(3, move || {
        let gates = [Gate::new(1, Admission::up_to(0, 0)), Gate::new(2, Admission::up_to(0, 0))];
        come_and_go(2, &gates, 1, look_first);
    });
}

#[test]
fn clients_that_arrive_together_are_spread_evenly() {
    check(3, || {
        let shared = Shared::new(2, 9);
        let gate = Gate::new(1, Admission::up_to(0, 0));
        let (other, through) = (Arc::clone(&shared), Arc::clone(&gate));
        let admitting = start(move || other.admit(&through, 1));
        shared.admit(&gate, 0);
        admitting.join().expect("admitted");
        assert_eq!([shared.clients_of(0), shared.clients_of(1)], [1, 1]);
    });
}

#[test]
fn of_workers_that_eject_a_server_at_once_one_counts() {
    check(3, || {
        let ejections = Arc::new(Ejections::default());
        let elsewhere = Arc::clone(&ejections);
        let other = start(move || elsewhere.is_first("a", "x", 0, 101));
        let here = ejections.is_first("a", "x", 0, 100);
        let there = other.join().expect("ejected");
        assert!(here != there, "counted by {}", u8::from(here) + u8::from(there));
        assert!(ejections.is_first("a", "x", 101, 200), "the next outage");
    });
}

/// Knows nothing and resolves nothing.
struct Nowhere;

impl Environment for Nowhere {
    fn info(&self, _: Option<&[u8]>, _: &mut String) {}
    fn stats(&self, _: &mut dyn FnMut(&str, &str)) {}
}

impl Resolve for Nowhere {
    fn resolve(&self, _: &str, _: u16, _: Box<dyn FnOnce(Option<Vec<SocketAddr>>) + Send>) {}
}

/// One pool with this gate, behind the listener.
fn publications(epoch: u64, gate: &Arc<Gate>, before: Option<&[Publication]>) -> Vec<Publication> {
    let server = Server {
        name: "s".into(),
        display_name: "/nowhere:1".into(),
        address: Address::Unix(PathBuf::from("/nowhere")),
        weight: 1,
    };
    let pool = Pool {
        name: format!("pool {}", gate.number()),
        protocol: Protocol::Redis,
        hash: Hash::Fnv1a64,
        hash_tag: None,
        distribution: Distribution::Modula,
        timeout: None,
        redis_auth: None,
        redis_db: 0,
        preconnect: false,
        server_connections: 1,
        ejection: None,
        retry_timeout: Duration::from_secs(1),
        cross_shard: CrossShard::Error,
        flush_all: FlushAll::Refuse,
        item_bytes_max: u32::MAX,
        joins_gets: true,
        servers: vec![server],
    };
    let pools = vec![Arc::new(pool)];
    let topology = Arc::new(Topology { epoch, pools, limits: Limits::default() });
    let of = |worker: usize| Publication {
        topology: Arc::clone(&topology),
        counts: match before {
            None => Counts::for_topology(&topology),
            Some(old) => old[worker].counts.succeed(&old[worker].topology.pools, &topology),
        },
        gates: [Arc::clone(gate)].into(),
        doors: Arc::new(HashMap::from([(LISTENER, gate.number())])),
    };
    (0..2).map(of).collect()
}

/// A worker as its reactor drives it, one phase after the other, with sockets that nothing is read from.
struct Driven {
    core: WorkerCore,
    mail: Receiver<Message>,
    open: HashMap<Slot, Stream>,
    /// Clients that it began to serve.
    served: u64,
    /// Clients that it accepted, by the number of their gate.
    accepted: HashMap<u64, u64>,
}

impl Driven {
    /// Two of them, introduced to each other.
    fn pair(publications: &[Publication], shared: &Arc<Shared>, clock: Clock) -> [Driven; 2] {
        let of = |index: usize| {
            let mail = Receiver::default();
            let spec = WorkerSpec {
                index,
                publication: publications[index].clone(),
                shared: Arc::clone(shared),
                environment: Arc::new(Nowhere),
                resolve: Arc::new(Nowhere),
                clock,
                seed: 1,
            };
            let core = WorkerCore::new(spec, mail.mailbox());
            Driven { core, mail, open: HashMap::new(), served: 0, accepted: HashMap::new() }
        };
        let pair = [of(0), of(1)];
        shared.introduce(pair.iter().map(|worker| worker.mail.mailbox()).collect());
        pair
    }

    fn now() -> Now {
        Now { mono_us: CLOCK_US, wall_us: CLOCK_US }
    }

    /// What the reactor does with wishes that concern sockets.
    fn execute(&mut self) {
        let ops = std::mem::take(self.core.ops());
        let (closed, opened) = (ops.close, ops.attach);
        let opens_too = |slot| opened.iter().any(|(opened, _)| *opened == slot);
        let of_before = |slot: &Slot| self.open.contains_key(slot) || !opens_too(*slot);
        let (before, after): (Vec<_>, Vec<_>) =
            closed.into_iter().map(|(slot, _)| slot).partition(of_before);
        before.iter().for_each(|slot| drop(self.open.remove(slot)));
        opened.into_iter().for_each(|(slot, stream)| self.keep(slot, stream));
        after.iter().for_each(|slot| drop(self.open.remove(slot)));
    }

    fn keep(&mut self, slot: Slot, stream: Stream) {
        self.served += 1;
        assert!(self.open.insert(slot, stream).is_none(), "the slot is free");
    }

    /// A client connects to the listener.
    fn accept(&mut self) {
        let (stream, _peer) = UnixStream::pair().expect("two sockets");
        let stream = Stream::from(Socket::from(std::os::fd::OwnedFd::from(stream)));
        let gate = self.core.attendance.door(LISTENER).map(|(_, gate)| gate.number());
        let verdict = self.core.accepted(LISTENER, stream, Peer::Unix, Driven::now());
        *self.accepted.entry(gate.expect("an open door")).or_default() += 1;
        if let Verdict::Keep(slot, stream) = verdict {
            self.keep(slot, stream);
        }
        self.execute();
    }

    /// A turn with these messages, and with a client while there are any.
    fn turn(&mut self, messages: Vec<Message>, arriving: &mut u32) {
        for message in messages {
            self.core.message(message, Driven::now());
            self.execute();
        }
        if *arriving > 0 {
            *arriving -= 1;
            self.accept();
        }
        self.core.turn(Driven::now());
        self.execute();
    }

    /// Serves until drained. Not dropped where a model fails: that takes locks, which the checker has no more by then.
    fn run(self, mut arriving: u32) -> ManuallyDrop<Driven> {
        let mut worker = ManuallyDrop::new(self);
        while worker.core.running() || arriving > 0 {
            let messages = if arriving > 0 { worker.mail.poll() } else { worker.mail.wait() };
            worker.turn(messages, &mut arriving);
            loom::thread::yield_now();
        }
        worker
    }
}

/// Runs two workers while the control side does `control`; worker 0 accepts `arriving` clients. Returns how many were
/// accepted through the gate `number`, and how many were served in all.
fn run(
    arriving: u32,
    gate: &Arc<Gate>,
    number: u64,
    control: impl FnOnce(&[Mailbox<Message>], &[Publication]),
) -> (u64, u64) {
    let shared = Shared::new(2, 9);
    let publications = publications(1, gate, None);
    let [first, second] = Driven::pair(&publications, &shared, Clock::start());
    let mailboxes = [first.mail.mailbox(), second.mail.mailbox()];
    let first = start(move || first.run(arriving));
    let second = start(move || second.run(0));
    control(&mailboxes, &publications);
    let ended =
        [first, second].map(|worker| ManuallyDrop::into_inner(worker.join().expect("drained")));
    for (worker, driven) in ended.iter().enumerate() {
        assert_eq!(shared.clients_of(worker), 0, "every client is given back, once");
        assert!(driven.open.is_empty(), "every connection is closed");
    }
    let accepted = ended.iter().filter_map(|worker| worker.accepted.get(&number)).sum();
    (accepted, ended.iter().map(|worker| worker.served).sum())
}

fn drain(mailboxes: &[Mailbox<Message>]) {
    for mailbox in mailboxes {
        mailbox.send(Message::Drain { until_us: u64::MAX });
    }
}

#[test]
fn a_client_handed_over_while_workers_drain_is_served_once() {
    check(3, || {
        let gate = Gate::new(1, Admission::up_to(2, 0));
        let (accepted, served) = run(2, &gate, 1, |mailboxes, _| drain(mailboxes));
        assert_eq!((accepted, served), (2, 2));
    });
}

#[test]
fn a_client_handed_over_before_its_pool_is_known_is_served_once() {
    check(3, || {
        let old = Gate::new(1, Admission::up_to(0, 0));
        let new = Gate::new(2, Admission::up_to(0, 0));
        let (accepted, served) = run(2, &old, 2, |mailboxes, before| {
            let publications = publications(2, &new, Some(before));
            for (mailbox, publication) in mailboxes.iter().zip(publications) {
                mailbox.send(Message::Publish(publication));
            }
            drain(mailboxes);
        });
        assert!(served >= accepted, "only clients of a pool that is gone may be turned away");
    });
}
