//! What `dist/` ships, held against the programs that will read it, and the manual page against the table of flags. It
//! stands apart from `tests/docs.rs` because these files are for machines.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use nutcracker::cli;
use tempfile::TempDir;

/// Longer than anything takes; only a hang lasts so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn dist(name: &str) -> PathBuf {
    root().join("dist").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(dist(name)).unwrap_or_else(|error| panic!("dist/{name}: {error}"))
}

/// What a program says, or `None`, which is told, where it is not installed.
fn run(command: &mut Command) -> Option<Output> {
    let output = command.stdin(Stdio::null()).output();
    if output.is_err() {
        eprintln!("skipped: {} is not installed", command.get_program().display());
    }
    output.ok()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// The unit in a folder of its own, with the binary of this build in the place of the installed one.
fn unit() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nutcracker.service");
    let text = read("nutcracker.service");
    assert_eq!(text.matches("=/usr/sbin/nutcracker ").count(), 3);
    let text = text.replace("/usr/sbin/nutcracker", env!("CARGO_BIN_EXE_nutcracker"));
    fs::write(&path, text).expect("a unit");
    (folder, path)
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let (_folder, path) = unit();
    let mut command = Command::new("systemd-analyze");
    let Some(output) = run(command.args(["verify", "--man=no"]).arg(&path)) else { return };
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}

#[test]
fn the_unit_gives_the_process_little_to_abuse() {
    let (_folder, path) = unit();
    let mut command = Command::new("systemd-analyze");
    // A tenth of what systemd calls fully exposed. Versions that cannot look at a file say so and are let off.
    command.args(["security", "--offline=yes", "--threshold=20", "--no-pager"]).arg(&path);
    let Some(output) = run(&mut command) else { return };
    let said = said(&output);
    assert!(output.status.success() || said.contains("unrecognized option"), "{said}");
}

/// Every directive counts: a flag that is gone would keep the service from starting.
#[test]
fn the_flags_of_the_unit_are_flags_of_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let conf = folder.path().join("nutcracker.yml");
    fs::copy(root().join("conf/quickstart.yml"), &conf).expect("a configuration");
    let text = read("nutcracker.service");
    let lines = text.lines().filter_map(|line| line.split_once("=/usr/sbin/nutcracker "));
    let mut tried = 0;
    for (_, arguments) in lines {
        let arguments = arguments.replace("/etc/nutcracker/nutcracker.yml", conf.to_str().unwrap());
        let arguments = arguments.split_whitespace().filter(|word| *word != "$DAEMON_OPTS");
        // With -t, which changes nothing but what is done in the end.
        let mut command = Command::new(env!("CARGO_BIN_EXE_nutcracker"));
        let output = command.args(arguments).arg("-t").output().expect("the program runs");
        assert!(output.status.success(), "{}", said(&output));
        tried += 1;
    }
    assert_eq!(tried, 3);
}

#[test]
fn logrotate_finds_no_fault_with_its_file() {
    let mut command = Command::new("/usr/sbin/logrotate");
    let Some(output) = run(command.arg("-d").arg(dist("logrotate/nutcracker"))) else { return };
    let said = said(&output);
    assert!(said.contains("reading config file") && !said.contains("error:"), "{said}");
}

#[test]
fn the_check_tells_who_answers_from_who_does_not() {
    let answer = |listener: TcpListener, expected: &'static str, words: &'static [u8]| {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
            let mut question = vec![0; expected.len()];
            stream.read_exact(&mut question).expect("a question");
            stream.write_all(words).expect("an answer");
            String::from_utf8_lossy(&question).into_owned()
        })
    };
    let cases: [(&[&str], &[u8], &str, i32); 6] = [
        (&[], b"+PONG\r\n", "PING\r\n", 0),
        (&[], b"-NOAUTH Authentication required\r\n", "PING\r\n", 0),
        (&[], b"-ERR max number of clients reached\r\n", "PING\r\n", 0),
        (&["-m"], b"MN\r\n", "mn\r\n", 0),
        (&["-p"], b"+PONG\r\n", "PROXY UNKNOWN\r\nPING\r\n", 0),
        (&[], b"HTTP/1.1 400 Bad Request\r\n", "PING\r\n", 1),
    ];
    for (options, words, question, status) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = answer(listener, question, words);
        let output = check(&[options, &["-t", "30", "127.0.0.1", &port.to_string()]].concat());
        assert_eq!(output.status.code(), Some(status), "{words:?}: {}", said(&output));
        assert_eq!(asked.join().expect("a question"), question);
    }
}

/// A process that is stopped still has its listener: the system accepts, and nobody answers.
#[test]
fn the_check_fails_when_nobody_listens_and_when_nobody_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let output = check(&["-t", "0.2", "127.0.0.1", &port]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).starts_with("no answer from 127.0.0.1"), "{}", said(&output));
    drop(listener);
    assert_eq!(check(&["127.0.0.1", &port]).status.code(), Some(1));
    assert_eq!(check(&["127.0.0.1"]).status.code(), Some(2));
    assert_eq!(check(&["-z", "127.0.0.1", &port]).status.code(), Some(2));
}

fn check(arguments: &[&str]) -> Output {
    let mut command = Command::new(dist("keepalived/check-nutcracker"));
    command.args(arguments).output().expect("bash runs the check")
}

#[test]
fn the_manual_page_is_what_the_table_of_flags_says() {
    let path = dist("man/nutcracker.8");
    let generated = cli::manual();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).expect("the page can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "dist/man/nutcracker.8 is out of date: run UPDATE_DOCS=1 cargo test -p nutcracker --test dist"
    );
    let page = committed.replace("\\-", "-");
    for flag in &cli::FLAGS {
        assert!(page.contains(&format!("--{}", flag.long)), "--{} is missing", flag.long);
    }
}

#[test]
fn the_manual_page_is_good_markup() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("nutcracker.8");
    fs::write(&page, cli::manual()).expect("a page");
    let mut lint = Command::new("mandoc");
    if let Some(output) = run(lint.args(["-T", "lint"]).arg(&page)) {
        assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
    }
    let mut man = Command::new("man");
    man.args(["--warnings", "--local-file"]).arg(&page).env("MANWIDTH", "120");
    if let Some(output) = run(&mut man) {
        assert!(output.stderr.is_empty() && output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("--stats-port=PORT"), "{}", said(&output));
    }
}
