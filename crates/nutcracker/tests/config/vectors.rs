//! Golden configuration files: the exit status of `-t` is that of twemproxy 0.5, except for a closed list.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::scratch::Scratch;

/// Files that twemproxy 0.5 rejects and this program accepts, each with the reason.
const ACCEPTED: [(&str, &str); 3] = [
    ("doc start", "document markers are accepted"),
    ("flow seq", "flow style is accepted"),
    ("listen ipv6 [::1]", "brackets around an IPv6 address are accepted"),
];

fn cases() -> Vec<Value> {
    let text = include_str!("../../../../testdata/config/config_vectors.json");
    let json: Value = serde_json::from_str(text).expect("the vectors are JSON");
    json["cases"].as_array().expect("a list of cases").clone()
}

fn bytes_of(case: &Value) -> Vec<u8> {
    match case["yaml_hex"].as_str() {
        Some(hex) => {
            let digits =
                hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hex"));
            digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
        }
        None => case["yaml"].as_str().expect("text").as_bytes().to_vec(),
    }
}

#[test]
fn exit_statuses_are_those_of_twemproxy_except_for_a_closed_list() {
    let scratch = Scratch::new();
    let mut differing = BTreeSet::new();
    let cases = cases();
    assert!(cases.len() > 100);
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        let (status, said) = scratch.test_conf(&bytes_of(case));
        if u64::from(status) != case["test_conf_exit"].as_u64().expect("a status") {
            assert_eq!(status, 0, "'{name}' is rejected: {said:?}");
            differing.insert(name.to_owned());
        }
    }
    let listed: BTreeSet<String> = ACCEPTED.iter().map(|(name, _)| String::from(*name)).collect();
    assert_eq!(differing, listed);
}

#[test]
fn a_rejected_file_gets_reasons_with_their_places_and_the_verdict_once() {
    let scratch = Scratch::new();
    for case in cases() {
        let (status, said) = scratch.test_conf(&bytes_of(&case));
        let (verdict, reasons) = said.split_last().expect("a verdict");
        let word = if status == 0 { "ok" } else { "invalid" };
        let path = scratch.conf_file().display().to_string();
        assert_eq!(*verdict, format!("nutcracker: configuration file '{path}' syntax is {word}"));
        let faults: Vec<&String> =
            reasons.iter().filter(|line| !line.contains(": warning: ")).collect();
        assert_eq!(faults.is_empty(), status == 0, "{case}: {reasons:?}");
        for reason in reasons {
            let place = reason.strip_prefix(&format!("{path}:")).expect("the file");
            let mut numbers =
                place.split(':').take(2).map(|number| number.parse::<usize>().expect("a number"));
            assert!(numbers.all(|number| number > 0), "{reason}");
            assert!(reason.contains("; fix: "), "{reason}");
        }
    }
}
