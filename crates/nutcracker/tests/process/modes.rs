//! The modes that end by themselves: streams and exit statuses.

use std::fs;

use crate::rig::{Place, output, stderr};

#[test]
fn version_help_and_metrics_go_to_standard_error_with_status_0() {
    let place = Place::new();
    let version = place.output(&["-V"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(stderr(&version).lines().next(), Some("This is nutcracker-0.5.0"));
    let all = place.output(&["-h", "-D", "-t", "-c", "missing.yml"]);
    assert_eq!(all.status.code(), Some(0), "-t does not count beside these");
    assert!(stderr(&all).contains("--conf-file") && stderr(&all).contains("server stats:\n"));
    assert!(version.stdout.is_empty() && all.stdout.is_empty());
}

#[test]
fn a_wrong_option_is_named_with_the_usage_and_status_1() {
    let wrong = Place::new().output(&["-V", "-z"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        stderr(&wrong).starts_with("nutcracker: invalid option -- 'z'\n"),
        "{}",
        stderr(&wrong)
    );
    assert!(stderr(&wrong).contains("--conf-file"));
    assert!(wrong.stdout.is_empty());
}

#[test]
fn testing_a_configuration_touches_nothing_else() {
    let place = Place::new();
    let good = place.output(&["-t", "-d", "-o", "missing/n.log", "-p", "n.pid"]);
    assert_eq!(good.status.code(), Some(0));
    assert!(stderr(&good).ends_with("nutcracker: configuration file 'n.yml' syntax is ok\n"));
    assert!(good.stdout.is_empty());
    assert!(!place.path("n.pid").exists() && !place.path("x.sock").exists());

    fs::write(place.path("n.yml"), "alpha\n").unwrap();
    let bad = place.output(&["-t"]);
    assert_eq!(bad.status.code(), Some(1));
    assert_eq!(
        stderr(&bad).matches("nutcracker: configuration file 'n.yml' syntax is invalid\n").count(),
        1
    );
}

#[test]
fn the_verdict_stands_when_nobody_can_read_it() {
    let place = Place::new();
    let good = output(place.command_after("exec 2>/dev/full", &["-t"]));
    assert_eq!(good.status.code(), Some(0));
    let lost = output(place.command_after("exec >/dev/full", &["--print-config"]));
    assert_eq!(lost.status.code(), Some(1), "what was asked for could not be written");
    let said = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(said.contains("nutcracker: writing to standard output failed: "), "{said}");
}

#[test]
fn routes_and_the_resolved_configuration_go_to_standard_output() {
    let place = Place::new();
    let routes = place.output(&["--route", "alpha", "a", "b"]);
    assert_eq!(routes.status.code(), Some(0));
    let text = String::from_utf8(routes.stdout).unwrap();
    assert_eq!(text, "a\t127.0.0.1:1\t127.0.0.1:1\nb\t127.0.0.1:1\t127.0.0.1:1\n");
    let printed = place.output(&["--print-config"]);
    assert_eq!(printed.status.code(), Some(0));
    assert!(String::from_utf8(printed.stdout).unwrap().contains("server_connections: 1\n"));
    assert_eq!(place.output(&["--route", "beta", "a"]).status.code(), Some(1));
}
