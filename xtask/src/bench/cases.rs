//! What is measured: the table of cases. Names are those of files, tables and `--case`.

use super::load::script::{Dataset, Operation, Protocol};
use super::subject::{Ours, Subject};

/// How a case is driven and what it is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Course {
    /// Closed loop: as fast as the slowest part goes.
    Saturated { pipeline: usize },
    /// The same by `redis-benchmark`.
    RedisBenchmark { pipeline: usize },
    /// Open loop at half of what twemproxy does in [`HALF_OF`].
    HalfLoad,
    /// The same for clients of two of three servers, while others wait for the third.
    TwoOfThree(Third),
    /// Connect, one request, close.
    Churn,
    /// Connections that do nothing, then a burst of requests each, then nothing.
    Idle,
    /// Every client asks for a large value and reads nothing; then all of them go.
    SlowReaders,
    /// A value of 512 MiB passes while other clients send small requests in open loop.
    Huge(Verb),
}

/// What is done with the huge value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Set,
}

/// What the third server does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Third {
    Answers,
    Hangs,
}

/// Cases that are measured with `redis-benchmark` too: closed loops of what it can send. Its requests are arguments of
/// its command line, which no value of 1 MiB fits into.
const ALSO_BY_REDIS_BENCHMARK: [&str; 13] = [
    "get-32-c50-p1",
    "get-32-c500-p1",
    "get-32-c50-p16",
    "get-32-c50-p64",
    "set-32-c50-p1",
    "get-4KiB-c50",
    "set-4KiB-c50",
    "get-64KiB-c20",
    "set-64KiB-c20",
    "mget-10-s3",
    "mget-100-s3",
    "window-off-c50",
    "window-off-c500",
];

/// What such a case is called.
pub(crate) fn by_redis_benchmark(name: &str) -> String {
    format!("redis-benchmark-{name}")
}

/// The case whose throughput decides what half load is.
pub(crate) const HALF_OF: &str = "get-32-c50-p1";

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// For people.
    pub(crate) title: String,
    pub(crate) dataset: Dataset,
    pub(crate) operation: Operation,
    /// Servers behind the proxy.
    pub(crate) servers: usize,
    /// Servers in the pool's list: more than there are means that each stands there under several names.
    pub(crate) entries: usize,
    /// Pools, each with a listener of its own and all of these servers.
    pub(crate) pools: usize,
    pub(crate) connections: usize,
    pub(crate) course: Course,
    /// What is measured; the first is ours.
    pub(crate) subjects: Vec<Subject>,
    /// Whether it is one of the few of a quick run.
    pub(crate) is_quick: bool,
}

impl Case {
    fn new(name: String, title: String, protocol: Protocol, operation: Operation) -> Case {
        Case {
            name,
            title,
            dataset: Dataset { protocol, value_bytes: 32 },
            operation,
            servers: 3,
            entries: 3,
            pools: 1,
            connections: 50,
            course: Course::Saturated { pipeline: 1 },
            subjects: vec![Subject::Ours(Ours::PLAIN), Subject::Twemproxy],
            is_quick: false,
        }
    }

    fn redis(name: impl Into<String>, title: impl Into<String>, operation: Operation) -> Case {
        Case::new(name.into(), title.into(), Protocol::Redis, operation)
    }

    fn value(mut self, value_bytes: usize) -> Case {
        self.dataset.value_bytes = value_bytes;
        self
    }

    fn connections(self, connections: usize) -> Case {
        Case { connections, ..self }
    }

    fn course(self, course: Course) -> Case {
        Case { course, ..self }
    }

    fn pipeline(self, pipeline: usize) -> Case {
        self.course(Course::Saturated { pipeline })
    }

    /// Also what nothing can be faster than: a proxy that only relays, and none.
    fn with_floor(mut self) -> Case {
        self.subjects.extend([Subject::Haproxy, Subject::Direct]);
        self
    }

    /// Also the two system calls that each request takes, alone.
    fn with_echo(mut self) -> Case {
        self.subjects.push(Subject::Echo);
        self
    }

    fn servers(self, servers: usize) -> Case {
        Case { servers, entries: servers, ..self }
    }

    fn quick(self) -> Case {
        Case { is_quick: true, ..self }
    }

    /// The same with `redis-benchmark` as the load.
    fn by_redis_benchmark(&self) -> Case {
        Case {
            name: by_redis_benchmark(&self.name),
            title: format!("{}, redis-benchmark", self.title),
            course: Course::RedisBenchmark { pipeline: self.depth() },
            ..self.clone()
        }
    }

    /// The depth of the pipeline; 1 where there is none.
    pub(crate) fn depth(&self) -> usize {
        match self.course {
            Course::Saturated { pipeline } | Course::RedisBenchmark { pipeline } => pipeline,
            _ => 1,
        }
    }

    /// Whether it is measured how long the first reply takes: where the length of the configuration is the matter.
    pub(crate) fn tells_first_reply(&self) -> bool {
        self.name.starts_with("servers-") || self.name.starts_with("pools-")
    }

    /// Workers of ours at most, for which cores are wanted.
    pub(crate) fn workers(&self) -> usize {
        self.subjects.iter().map(Subject::workers).max().unwrap_or(1)
    }
}

/// Every case, for a machine with so many cores.
pub(crate) fn all(cores: usize) -> Vec<Case> {
    let mut cases = small_values();
    cases.extend(large_values());
    cases.extend(many_keys());
    cases.extend(memcached());
    cases.extend(special());
    cases.extend(memory());
    cases.extend(growth());
    cases.extend(workers(cores));
    let also = cases.iter().filter(|case| ALSO_BY_REDIS_BENCHMARK.contains(&case.name.as_str()));
    let also: Vec<Case> = also.map(Case::by_redis_benchmark).collect();
    cases.extend(also);
    cases
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn small_values() -> Vec<Case> {
    let mut cases = Vec::new();
    for (verb, operation) in [("get", Operation::Get), ("set", Operation::Set)] {
        for connections in [1, 50, 500, 5000] {
            for pipeline in [1, 16, 64] {
                let name = format!("{verb}-32-c{connections}-p{pipeline}");
                let title = format!(
                    "{} 32 B, {}, pipeline {pipeline}",
                    verb.to_uppercase(),
                    counted(connections, "connection")
                );
                let case = Case::redis(name, title, operation);
                let mut case = case.connections(connections).pipeline(pipeline);
                if connections == 50 && operation == Operation::Get {
                    case = case.with_floor();
                }
                if operation == Operation::Get
                    && (connections == 50 || connections == 500 && pipeline == 1)
                {
                    case = case.with_echo();
                }
                case.is_quick = connections == 50 && operation == Operation::Get && pipeline != 64;
                cases.push(case);
            }
        }
    }
    cases
}

fn large_values() -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, value_bytes, connections) in
        [("4KiB", 4 << 10, 50), ("64KiB", 64 << 10, 20), ("1MiB", 1 << 20, 4)]
    {
        for (verb, operation) in [("get", Operation::Get), ("set", Operation::Set)] {
            let name = format!("{verb}-{size}-c{connections}");
            let title = format!("{} {size}, {connections} connections", verb.to_uppercase());
            let case = Case::redis(name, title, operation);
            let mut case = case.value(value_bytes).connections(connections);
            if value_bytes == 64 << 10 && operation == Operation::Get {
                case = case.with_floor();
            }
            cases.push(case);
        }
    }
    cases
}

fn many_keys() -> Vec<Case> {
    let mut cases = Vec::new();
    for servers in [3, 30] {
        for keys in [10, 100] {
            for (verb, operation) in
                [("mget", Operation::MultiGet(keys)), ("mset", Operation::MultiSet(keys))]
            {
                let name = format!("{verb}-{keys}-s{servers}");
                let verb = verb.to_uppercase();
                let title = format!("{verb} of {keys} keys over {servers} servers");
                let mut case = Case::redis(name, title, operation).servers(servers);
                case.is_quick = keys == 100 && servers == 3;
                cases.push(case);
            }
        }
    }
    cases
}

fn memcached() -> Vec<Case> {
    let case = |name: String, title: String, operation| {
        Case::new(name, title, Protocol::Memcached, operation)
    };
    let mut cases = Vec::new();
    for (verb, operation) in [("get", Operation::Get), ("set", Operation::Set)] {
        for (connections, pipeline) in [(50, 1), (50, 16), (50, 64), (500, 1)] {
            let name = format!("memcached-{verb}-c{connections}-p{pipeline}");
            let title =
                format!("memcached {verb} 32 B, {connections} connections, pipeline {pipeline}");
            let mut case = case(name, title, operation).connections(connections).pipeline(pipeline);
            case.is_quick = connections == 50 && pipeline == 1;
            cases.push(case);
        }
    }
    for keys in [10, 100] {
        let name = format!("memcached-get-{keys}-keys");
        let title = format!("memcached get of {keys} keys over 3 servers");
        cases.push(case(name, title, Operation::MultiGet(keys)));
    }
    cases
}

fn special() -> Vec<Case> {
    let get = |name: &str, title: &str| Case::redis(name, title, Operation::Get);
    let mut cases = vec![
        get("half-load", "GET 32 B, 50 connections, open loop at half load")
            .course(Course::HalfLoad)
            .with_floor()
            .quick(),
        get("two-of-three", "open loop at half load over two of three servers, all well")
            .course(Course::TwoOfThree(Third::Answers)),
        get(
            "two-of-three-third-hangs",
            "open loop at half load over two of three servers while the third hangs",
        )
        .course(Course::TwoOfThree(Third::Hangs))
        .quick(),
        get("churn", "connect, one GET, close; 50 at a time")
            .course(Course::Churn)
            .with_floor()
            .quick(),
    ];
    for connections in [50, 500] {
        let name = format!("window-off-c{connections}");
        let title = format!("GET 32 B, {connections} connections, pipeline 1, batch_window_us: 0");
        let mut case = get(&name, &title).connections(connections);
        case.subjects[0] = Subject::Ours(Ours { has_window: false, ..Ours::PLAIN });
        cases.push(case);
    }
    cases
}

/// What connections, slow readers and huge values take.
fn memory() -> Vec<Case> {
    let get = |name: &str, title: &str| Case::redis(name, title, Operation::Get);
    let mut cases = Vec::new();
    for connections in [100, 1_000, 5_000, 20_000] {
        let name = format!("idle-{connections}");
        let title = format!("{connections} idle connections");
        let mut case =
            get(&name, &title).connections(connections).course(Course::Idle).with_floor();
        case.subjects.retain(|subject| *subject != Subject::Direct);
        case.is_quick = connections == 100;
        cases.push(case);
    }
    cases.push(
        get("slow-readers", "1,100 clients that asked for 1 MiB each and read nothing, then go")
            .value(1 << 20)
            .connections(1_100)
            .course(Course::SlowReaders),
    );
    for (name, verb) in [("get", Verb::Get), ("set", Verb::Set)] {
        let title =
            format!("small GETs of 20 clients while a {} of 512 MiB passes", name.to_uppercase());
        let mut case =
            get(&format!("huge-{name}"), &title).connections(20).course(Course::Huge(verb));
        case.subjects.push(Subject::Direct);
        cases.push(case);
    }
    cases
}

/// How cost grows with keys, servers and pools; [`small_values`] has the clients.
fn growth() -> Vec<Case> {
    let mut cases = Vec::new();
    for keys in [1, 1000] {
        let title = format!("MGET of {} over 3 servers", counted(keys, "key"));
        cases.push(Case::redis(format!("mget-{keys}-s3"), title, Operation::MultiGet(keys)));
    }
    for entries in [1, 10, 100, 1000] {
        let title = format!("GET 32 B, 50 connections, {} in the pool", counted(entries, "server"));
        let case = Case::redis(format!("servers-{entries}"), title, Operation::Get);
        cases.push(Case { servers: entries.min(3), entries, ..case });
    }
    for pools in [1, 10, 50, 200] {
        let title =
            format!("GET 32 B, 200 connections over {} of 3 servers", counted(pools, "pool"));
        let case = Case::redis(format!("pools-{pools}"), title, Operation::Get);
        cases.push(Case { pools, ..case.connections(200) });
    }
    cases
}

/// Throughput over workers; on a machine with few cores workers share one, and CPU per request is what can be compared.
fn workers(cores: usize) -> Vec<Case> {
    let counts: Vec<usize> =
        [1, 2, 4, 8].into_iter().filter(|count| *count <= 2 || *count < cores).collect();
    let subjects = |count: &usize| Subject::Ours(Ours { workers: *count, ..Ours::PLAIN });
    [1, 16]
        .map(|pipeline| {
            let name = format!("workers-p{pipeline}");
            let title = format!("GET 32 B, 500 connections, pipeline {pipeline}, over workers");
            let case = Case::redis(name, title, Operation::Get);
            let subjects = counts.iter().map(subjects).collect();
            Case { subjects, ..case.connections(500).pipeline(pipeline) }
        })
        .to_vec()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{ALSO_BY_REDIS_BENCHMARK, Case, Course, HALF_OF, all, by_redis_benchmark};

    #[test]
    fn names_are_unique() {
        let cases = all(16);
        let names: HashSet<&String> = cases.iter().map(|case| &case.name).collect();
        assert_eq!(names.len(), cases.len());
    }

    #[test]
    fn every_case_for_redis_benchmark_is_there() {
        let all = all(2);
        for name in ALSO_BY_REDIS_BENCHMARK {
            let case = all.iter().find(|case| case.name == by_redis_benchmark(name)).expect(name);
            assert!(matches!(case.course, Course::RedisBenchmark { .. }));
        }
    }

    #[test]
    fn half_load_is_half_of_a_case() {
        assert!(all(2).iter().any(|case| case.name == HALF_OF));
    }

    #[test]
    fn more_workers_than_two_are_measured_only_where_they_have_cores() {
        let workers = |cores| all(cores).iter().map(Case::workers).max();
        assert_eq!([workers(2), workers(4), workers(8), workers(9)], [2, 2, 4, 8].map(Some));
    }
}
