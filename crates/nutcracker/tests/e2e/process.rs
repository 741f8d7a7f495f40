//! The process: flags, pid file, signals, log, daemon, orderly stop.

use std::fs;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{
    Client, FakeServer, Gate, Pool, Proxy, RealServer, Reply, WORKER_COUNTS, binary_under_test,
    eventually, requests,
};

fn run(arguments: &[&str]) -> Output {
    Command::new(binary_under_test())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("run the binary")
}

#[test]
fn version_help_and_metrics_go_to_standard_error() {
    let version = run(&["-V"]);
    let text = String::from_utf8_lossy(&version.stderr);
    assert_eq!(version.status.code(), Some(0));
    assert!(
        text.starts_with("This is nutcracker-")
            && text.lines().nth(1) == Some("async event backend: epoll"),
        "{text}"
    );
    assert!(version.stdout.is_empty());
    for (flag, word) in
        [("-h", "--conf-file"), ("-D", "client_eof"), ("--describe-stats", "out_queue_bytes")]
    {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(output.stdout.is_empty(), "{flag}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(word), "{flag}");
    }
    assert_eq!(run(&["-D", "-t", "-c", "/no/such/file"]).status.code(), Some(0));
}

#[test]
fn bad_flags_are_named_and_end_with_1() {
    let cases: [(&[&str], &str); 12] = [
        (&["-v", "x"], "nutcracker: option -v requires a number"),
        (&["-s"], "nutcracker: option -s requires a number"),
        (&["-s", "0"], "nutcracker: option -s value 0 is not a valid port"),
        (&["-s", "70000"], "nutcracker: option -s value 70000 is not a valid port"),
        (&["-m", "0"], "nutcracker: option -m requires a non-zero number"),
        (&["-m", "511"], "nutcracker: mbuf chunk size must be between 512 and 16777216 bytes"),
        (&["-i", "-1"], "nutcracker: option -i requires a number"),
        (&["-o"], "nutcracker: option -o requires a file name"),
        (&["--pid-file"], "nutcracker: option -p requires a file name"),
        (&["-a"], "nutcracker: option -a requires a string"),
        (&["-z"], "nutcracker: invalid option -- 'z'"),
        (&["-V", "-z"], "nutcracker: invalid option -- 'z'"),
    ];
    for (arguments, message) in cases {
        let output = run(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(text.lines().next(), Some(message), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn an_orderly_stop_finishes_what_is_in_flight() {
    for signal in [Signal::TERM, Signal::INT] {
        for workers in WORKER_COUNTS {
            let answer = Gate::closed();
            let gate = answer.clone();
            let server = FakeServer::start(move |connection| {
                while connection.request().is_some() {
                    gate.pass();
                    connection.send(b"+late\r\n");
                }
            });
            let pools = [
                Pool::redis(&[&server]),
                Pool::redis(&[&server]).named("beta").set("listen", "@dir/listen.sock"),
            ];
            let mut proxy = Proxy::with(pools.map(|pool| pool.to_string()).concat())
                .workers(workers)
                .arguments(&["-p", "@dir/pid"])
                .start();
            let (pid, socket) = (proxy.dir().join("pid"), proxy.dir().join("listen.sock"));
            assert_eq!(
                fs::read_to_string(&pid).expect("the pid file"),
                proxy.process().id().to_string()
            );
            let mut client = proxy.client();
            let mut idle = proxy.client();
            idle.expect_usable();
            client.send(&requests("GET a\nGET b"));
            eventually("the requests are in flight", || {
                (!server.received().is_empty()).then_some(())
            });
            proxy.signal(signal);
            eventually("it stops accepting", || {
                Client::try_connect(proxy.address(0)).is_err().then_some(())
            });
            answer.open();
            client.expect_then_closed(b"+late\r\n+late\r\n");
            assert_eq!(proxy.wait_for_end().code(), Some(0));
            assert!(!pid.exists(), "the pid file is left behind");
            assert!(!socket.exists(), "the unix socket is left behind");
        }
    }
}

#[test]
fn a_stop_does_not_wait_for_idle_clients() {
    let server = RealServer::redis();
    let mut proxy = Proxy::with(Pool::redis(&[&server])).workers(2).start();
    let mut clients: Vec<Client> = (0..20).map(|_| proxy.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call(&["SET", "k", "v"]), Reply::ok());
    }
    proxy.signal(Signal::TERM);
    for client in &mut clients {
        client.expect_then_closed(b"");
    }
    assert_eq!(proxy.wait_for_end().code(), Some(0));
}

#[test]
fn sighup_starts_a_new_log_and_disturbs_no_traffic() {
    let server = RealServer::redis();
    let mut proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    let (log, rotated) = (proxy.dir().join("log"), proxy.dir().join("log.1"));
    for round in 0..3 {
        client.send(&requests("SET k v\nGET k"));
        fs::rename(&log, &rotated).expect("rotate the log");
        proxy.signal(Signal::HUP);
        eventually("a new log is opened", || log.exists().then_some(()));
        client.expect(b"+OK\r\n$1\r\nv\r\n");
        let old = fs::read_to_string(&rotated).expect("the old log");
        assert!(
            old.contains("signal 1 (SIGHUP) received, reopening log file"),
            "round {round}: {old}"
        );
    }
}

#[test]
fn signals_change_the_log_level_and_others_do_nothing() {
    let server = RealServer::redis();
    let mut proxy = Proxy::start(Pool::redis(&[&server]));
    let mut client = proxy.client();
    for (signal, text) in [
        (Signal::TTIN, "up log level to 7"),
        (Signal::TTOU, "down log level to 6"),
        (Signal::USR2, "signal 12 (SIGUSR2) received"),
        (Signal::USR1, "signal 10 (SIGUSR1) received"),
    ] {
        proxy.signal(signal);
        eventually(text, || proxy.log().contains(text).then_some(()));
        client.expect_usable();
    }
}

#[test]
fn log_lines_carry_the_time_in_the_form_of_0_5() {
    let server = RealServer::redis();
    let proxy = Proxy::start(Pool::redis(&[&server]));
    let log = proxy.log();
    let line = log.lines().find(|line| line.contains("started on pid")).expect("a banner");
    let shape: String =
        line.chars().take(26).map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "[9999-99-99 99:99:99.999] ");
    assert!(line.contains("nutcracker-") && line.contains("built for Linux"), "{line}");
}

#[test]
fn a_second_instance_leaves_the_pid_file_of_the_first_alone() {
    let server = RealServer::redis();
    let mut first =
        Proxy::with(Pool::redis(&[&server])).workers(1).arguments(&["-p", "@dir/pid"]).start();
    let pid = first.dir().join("pid");
    let path = pid.display().to_string();
    let (status, log) = Proxy::with(Pool::redis(&[&server])).arguments(&["-p", &path]).run_to_end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert_eq!(fs::read_to_string(&pid).expect("the pid file"), first.process().id().to_string());
}

/// Ends a daemon that is nobody's child.
struct Daemon(i32);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = Pid::from_raw(self.0).map(|pid| kill_process(pid, Signal::KILL));
    }
}

#[test]
fn a_daemon_is_up_when_its_parent_returns() {
    let server = RealServer::redis();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let port = crate::harness::unused_port();
    let yaml = Pool::redis(&[&server]).set("listen", format!("127.0.0.1:{port}")).to_string();
    fs::write(dir.path().join("conf.yml"), yaml).expect("write the configuration");
    let stats = crate::harness::unused_port().to_string();
    let start = || {
        Command::new(binary_under_test())
            .args([
                "-d",
                "-c",
                "conf.yml",
                "-o",
                "log",
                "-p",
                "pid",
                "-a",
                "127.0.0.1",
                "-s",
                &stats,
            ])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("run the binary")
    };
    assert_eq!(start().code(), Some(0));
    let pid = || fs::read_to_string(dir.path().join("pid")).ok()?.parse().ok();
    let is_there = dir.path().join("pid").exists();
    let daemon = Daemon(eventually("a pid file", pid));
    assert!(is_there, "the pid file came later");
    // No polling: it listens already.
    Client::connect(([127, 0, 0, 1], port).into()).expect_usable();
    assert_eq!(start().code(), Some(1), "a second daemon cannot start, and says so");
    Client::connect(([127, 0, 0, 1], port).into()).expect_usable();
    kill_process(Pid::from_raw(daemon.0).expect("a process id"), Signal::TERM)
        .expect("signal the daemon");
    eventually("the daemon removes its pid file", || {
        (!dir.path().join("pid").exists()).then_some(())
    });
    fs::write(dir.path().join("conf.yml"), "nonsense").expect("write the configuration");
    assert_eq!(start().code(), Some(1), "a bad file is the parent's exit status");
}

#[test]
fn a_start_that_cannot_succeed_names_the_culprit() {
    let output = run(&["-c", "/no/such/folder/conf.yml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/folder/conf.yml"));
    let server = RealServer::redis();
    for (arguments, culprit) in [
        (["-o", "/no/such/folder/log"], "/no/such/folder/log"),
        (["-p", "/no/such/folder/pid"], "/no/such/folder/pid"),
    ] {
        let (status, log) = Proxy::with(Pool::redis(&[&server])).arguments(&arguments).run_to_end();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(culprit), "no {culprit} in {log}");
    }
    let (status, log) = Proxy::with(Pool::redis(&[&server]))
        .arguments(&["-a", "no.such.host.invalid"])
        .run_to_end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("no.such.host.invalid"), "{log}");
}
