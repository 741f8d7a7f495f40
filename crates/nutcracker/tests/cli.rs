//! The command line: what is accepted, what it means, and the exact words for what is not.

use std::ffi::OsString;
use std::num::NonZeroU16;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nutcracker::cli::{self, Invocation, Mode, Options, Workers};

fn parse(arguments: &[&str]) -> Result<Invocation, String> {
    cli::parse(arguments.iter().map(OsString::from)).map_err(|error| error.to_string())
}

#[track_caller]
fn options(arguments: &[&str]) -> Options {
    parse(arguments).expect("a valid command line").options
}

#[track_caller]
fn mode(arguments: &[&str]) -> Mode {
    parse(arguments).expect("a valid command line").mode
}

#[track_caller]
fn error(arguments: &[&str], expected: &str) {
    assert_eq!(parse(arguments), Err(expected.to_owned()), "{arguments:?}");
}

#[test]
fn nothing_at_all_runs_with_every_default() {
    assert_eq!(parse(&[]), Ok(Invocation { mode: Mode::Run, options: Options::default() }));
    assert_eq!(Options::default().conf_file(), Path::new("conf/nutcracker.yml"));
}

#[test]
fn letters_take_their_argument_glued_or_apart() {
    let expected = Options {
        log_level: Some(7),
        log_output: Some("/tmp/log".into()),
        conf_file: Some("x.yml".into()),
        stats_port: Some(22223),
        stats_addr: Some("127.0.0.1".into()),
        stats_interval_ms: Some(0),
        pid_file: Some("p".into()),
        mbuf_size: Some(512),
        daemonize: true,
        workers: None,
    };
    let apart = [
        "-v",
        "7",
        "-o",
        "/tmp/log",
        "-c",
        "x.yml",
        "-s",
        "22223",
        "-a",
        "127.0.0.1",
        "-i",
        "0",
        "-p",
        "p",
        "-m",
        "512",
        "-d",
    ];
    assert_eq!(options(&apart), expected);
    assert_eq!(
        options(&[
            "-v7",
            "-o/tmp/log",
            "-cx.yml",
            "-s22223",
            "-a127.0.0.1",
            "-i0",
            "-pp",
            "-m512",
            "-d"
        ]),
        expected
    );
    assert_eq!(
        options(&[
            "-dv7",
            "-o",
            "/tmp/log",
            "-cx.yml",
            "-s",
            "22223",
            "-a127.0.0.1",
            "-i0",
            "-pp",
            "-m512"
        ]),
        expected
    );
}

#[test]
fn words_take_their_argument_after_an_equals_sign_or_apart_and_may_be_shortened() {
    for arguments in [
        ["--stats-port=1", "--verbose=3", "--workers=2"].as_slice(),
        &["--stats-port", "1", "--verbose", "3", "--workers", "2"],
        &["--stats-p", "1", "--verb", "3", "--w", "2"],
        &["--stats-p=1", "--verb=3", "--wor=2"],
    ] {
        let found = options(arguments);
        assert_eq!((found.stats_port, found.log_level), (Some(1), Some(3)), "{arguments:?}");
        assert_eq!(found.workers, NonZeroU16::new(2).map(Workers::Count));
    }
}

#[test]
fn every_flag_of_twemproxy_keeps_its_shortest_prefix() {
    for (prefix, argument) in [
        ("--vers", ""),
        ("--h", ""),
        ("--t", ""),
        ("--da", ""),
        ("--de", ""),
        ("--verb", "1"),
        ("--o", "x"),
        ("--c", "x"),
        ("--p", "x"),
        ("--m", "512"),
        ("--stats-p", "1"),
        ("--stats-a", "x"),
        ("--stats-i", "1"),
    ] {
        let arguments: Vec<&str> =
            [prefix, argument].into_iter().filter(|text| !text.is_empty()).collect();
        assert!(parse(&arguments).is_ok(), "{prefix}");
    }
    assert_eq!(options(&["--p", "x"]).pid_file, Some(PathBuf::from("x")));
    assert_eq!(mode(&["--pr"]), Mode::PrintConfig);
}

#[test]
fn operands_may_stand_anywhere_and_mean_nothing() {
    let found = options(&["a", "-v", "1", "-", "b", "-s", "2", "--", "-z", "--nope"]);
    assert_eq!((found.log_level, found.stats_port), (Some(1), Some(2)));
}

#[test]
fn the_last_of_two_equal_flags_wins() {
    assert_eq!(options(&["-v1", "-v2"]).log_level, Some(2));
}

#[test]
fn describing_wins_over_testing_and_testing_over_running() {
    assert_eq!(mode(&["-V"]), Mode::Describe { usage: false, stats: false });
    assert_eq!(mode(&["-D", "-t", "-c", "missing"]), Mode::Describe { usage: false, stats: true });
    assert_eq!(mode(&["-t", "-h", "-D"]), Mode::Describe { usage: true, stats: true });
    assert_eq!(mode(&["-td"]), Mode::TestConf);
    assert_eq!(mode(&["--print-config", "-t"]), Mode::TestConf);
    assert_eq!(mode(&["-d"]), Mode::Run);
}

#[test]
fn the_operands_of_route_are_its_keys() {
    let expected = Mode::Route { pool: "alpha".into(), keys: vec![b"a".to_vec(), b"-b".to_vec()] };
    assert_eq!(mode(&["--route", "alpha", "a", "-c", "x.yml", "--", "-b"]), expected);
    assert_eq!(mode(&["a", "--route=alpha", "--", "-b"]), expected);
    error(&["--route"], "option --route requires the name of a pool");
    error(
        &["--route", "alpha"],
        "option --route requires at least one key after the name of the pool",
    );
    let raw = [OsString::from("--route=p"), OsString::from_vec(vec![0xff, 0x01])];
    let found = cli::parse(raw.into_iter()).expect("any bytes make a key").mode;
    assert_eq!(found, Mode::Route { pool: "p".into(), keys: vec![vec![0xff, 0x01]] });
}

#[test]
fn workers_are_a_number_or_auto() {
    assert_eq!(options(&["--workers", "auto"]).workers, Some(Workers::Auto));
    for bad in ["0", "-1", "x", "", "1025", "Auto"] {
        error(
            &["--workers", bad],
            "option --workers requires 'auto' or a number between 1 and 1024",
        );
    }
    error(&["--workers"], "option --workers requires 'auto' or a number between 1 and 1024");
}

/// Command lines that twemproxy 0.5 refuses with the same words.
const REFUSED: [(&[&str], &str); 42] = [
    (&["-z"], "invalid option -- 'z'"),
    (&["-?"], "invalid option -- '?'"),
    (&["-tz"], "invalid option -- 'z'"),
    (&["-V", "-z"], "invalid option -- 'z'"),
    (&["-d-"], "invalid option -- '-'"),
    (&["--help=foo"], "invalid option -- 'h'"),
    (&["--test-conf="], "invalid option -- 't'"),
    (&["-v"], "option -v requires a number"),
    (&["-s"], "option -s requires a number"),
    (&["-i"], "option -i requires a number"),
    (&["-m"], "option -m requires a number"),
    (&["--verbose"], "option -v requires a number"),
    (&["--mbuf-size"], "option -m requires a number"),
    (&["-v", ""], "option -v requires a number"),
    (&["-v", "-1"], "option -v requires a number"),
    (&["-v", "+1"], "option -v requires a number"),
    (&["-v", "1 "], "option -v requires a number"),
    (&["-v", "0x1"], "option -v requires a number"),
    (&["-v", "1.0"], "option -v requires a number"),
    (&["-v", "2147483648"], "option -v requires a number"),
    (&["-i", "x"], "option -i requires a number"),
    (&["-s", "x"], "option -s requires a number"),
    (&["--stats-port="], "option -s requires a number"),
    (&["-s", "0"], "option -s value 0 is not a valid port"),
    (&["-s", "65536"], "option -s value 65536 is not a valid port"),
    (&["-s", "00070000"], "option -s value 70000 is not a valid port"),
    (&["-m", "0"], "option -m requires a non-zero number"),
    (&["-m", "x"], "option -m requires a non-zero number"),
    (&["-m", ""], "option -m requires a non-zero number"),
    (&["-m", "2147483648"], "option -m requires a non-zero number"),
    (&["-m", "511"], "mbuf chunk size must be between 512 and 16777216 bytes"),
    (&["-m", "16777217"], "mbuf chunk size must be between 512 and 16777216 bytes"),
    (&["-o"], "option -o requires a file name"),
    (&["-c"], "option -c requires a file name"),
    (&["-p"], "option -p requires a file name"),
    (&["--output"], "option -o requires a file name"),
    (&["--conf-file"], "option -c requires a file name"),
    (&["--p"], "option -p requires a file name"),
    (&["-a"], "option -a requires a string"),
    (&["--stats-addr"], "option -a requires a string"),
    (&["-tdc"], "option -c requires a file name"),
    (&["x", "-s", "0", "-z"], "option -s value 0 is not a valid port"),
];

#[test]
fn refusals_have_the_words_of_twemproxy() {
    for (arguments, expected) in REFUSED {
        error(arguments, expected);
    }
}

#[test]
fn an_installed_twemproxy_uses_the_same_words() {
    const TWEMPROXY: &str = "/usr/sbin/nutcracker";
    if !Path::new(TWEMPROXY).exists() {
        eprintln!("skipped: {TWEMPROXY} is not installed");
        return;
    }
    for (arguments, expected) in REFUSED {
        // Should it not refuse, it must not start to serve either.
        let output =
            Command::new(TWEMPROXY).args(["-t"]).args(arguments).output().expect("twemproxy runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(
            said.lines().next(),
            Some(format!("nutcracker: {expected}").as_str()),
            "{arguments:?}"
        );
    }
}

#[test]
fn numbers_that_wrapped_around_in_twemproxy_are_refused() {
    error(&["-s", "4294989518"], "option -s requires a number");
    error(&["-v", "4294967297"], "option -v requires a number");
    error(&["-m", "4294968320"], "option -m requires a non-zero number");
}

#[test]
fn unknown_and_ambiguous_words_are_shown_as_typed() {
    error(&["--nope"], "invalid option -- '--nope'");
    error(&["--nope=1"], "invalid option -- '--nope'");
    error(&["--stats", "1"], "invalid option -- '--stats'");
    error(&["--ver"], "invalid option -- '--ver'");
    error(&["--d"], "invalid option -- '--d'");
    error(&["--print-config=x"], "invalid option -- '--print-config'");
    error(&["--\u{1b}[2J"], "invalid option -- '--\\u{1b}[2J'");
}

#[test]
fn the_first_error_in_order_wins() {
    error(&["-s", "0", "-z"], "option -s value 0 is not a valid port");
    error(&["-z", "-s", "0"], "invalid option -- 'z'");
    error(&["-zs"], "invalid option -- 'z'");
}

#[test]
fn bounds_are_part_of_what_is_accepted() {
    assert_eq!(options(&["-m", "512", "-s", "65535"]).mbuf_size, Some(512));
    assert_eq!(options(&["-m", "16777216", "-s", "1"]).mbuf_size, Some(16777216));
    assert_eq!(options(&["-v", "99"]).log_level, Some(99));
    assert_eq!(options(&["-v", "0002147483647"]).log_level, Some(2147483647));
    assert_eq!(options(&["-o", ""]).log_output, Some(PathBuf::new()));
}

#[test]
fn the_version_block_is_the_one_tools_look_for() {
    let backend = if cfg!(target_os = "linux") { "epoll" } else { "kqueue" };
    assert_eq!(
        cli::version_block(),
        format!("This is nutcracker-0.5.0\nasync event backend: {backend}\n\n")
    );
}

#[test]
fn the_metrics_are_described_in_the_layout_and_order_of_twemproxy() {
    let text = cli::describe_stats();
    let names: Vec<&str> =
        text.lines().map(|line| line.split_whitespace().next().unwrap_or("")).collect();
    let expected = [
        "pool",
        "client_eof",
        "client_err",
        "client_connections",
        "server_ejects",
        "forward_error",
        "fragments",
        "",
        "server",
        "server_eof",
        "server_err",
        "server_timedout",
        "server_connections",
        "server_ejected_at",
        "requests",
        "request_bytes",
        "responses",
        "response_bytes",
        "in_queue",
        "in_queue_bytes",
        "out_queue",
        "out_queue_bytes",
    ];
    assert_eq!(names, expected);
    assert!(text.starts_with("pool stats:\n  client_eof          \""));
    assert!(text.contains("\n\nserver stats:\n  server_eof          \""));
    let metrics = text.lines().filter(|line| line.starts_with("  "));
    assert!(metrics.clone().all(|line| line.ends_with('"') && line.as_bytes()[22] == b'"'));
    assert_eq!(metrics.count(), 19);
}

#[test]
fn the_usage_names_every_flag_within_the_width_of_a_terminal() {
    let text = cli::usage();
    for flag in &cli::FLAGS {
        assert!(text.contains(&format!("--{}", flag.long)), "{}", flag.long);
        assert!(
            flag.short.is_none_or(|letter| text.contains(&format!("-{letter}, "))),
            "{}",
            flag.long
        );
    }
    assert!(text.lines().all(|line| line.len() <= 120), "{text}");
}
