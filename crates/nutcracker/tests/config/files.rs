//! Files of the repository: examples load without a word, the manual is what the table of keys says.

use nutcracker::config;

use crate::scratch::{repository, test_conf};
use nutcracker::cli::Options;

#[test]
fn the_examples_are_valid_and_raise_no_warning() {
    for name in ["nutcracker.yml", "quickstart.yml", "leaf.yml", "root.yml"] {
        let path = repository("conf").join(name);
        let options = Options { conf_file: Some(path.clone()), ..Options::default() };
        let (status, said) = test_conf(&options);
        assert_eq!((status, said.len()), (0, 1), "{said:?}");
    }
}

#[test]
fn the_commented_reference_names_every_key() {
    let text =
        std::fs::read_to_string(repository("conf/nutcracker.yml")).expect("the file is there");
    let names = config::POOL
        .iter()
        .map(|key| key.name)
        .chain(config::GLOBAL_KEYS.iter().map(|key| key.name));
    for name in names.filter(|name| *name != "client_connections") {
        let found = text.lines().any(|line| {
            line.trim_start().trim_start_matches("# ").starts_with(&format!("{name}:"))
        });
        assert!(found, "{name}");
    }
}

#[test]
fn the_manual_is_what_the_table_of_keys_says() {
    let path = repository("docs/configuration.md");
    let generated = config::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &generated).expect("the manual can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "docs/configuration.md is out of date: run UPDATE_DOCS=1 cargo test -p nutcracker --test config"
    );
}

/// Good and bad files, and everything the fuzz target ever found.
#[test]
fn the_fuzz_body_holds_on_the_corpus_and_on_every_prefix_of_the_examples() {
    let mut seen = 0;
    for folder in ["conf", "testdata/config/corpus"] {
        for entry in std::fs::read_dir(repository(folder)).expect("the folder is there") {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
            config::fuzz_config(&bytes);
            for end in 0..bytes.len() {
                config::fuzz_config(&bytes[..end]);
            }
            seen += 1;
        }
    }
    assert!(seen > 4);
}

#[test]
fn hostile_files_are_refused_without_hanging() {
    let deep = "[".repeat(200_000);
    let pairs = "{a: ".repeat(100_000);
    let dashes = "- ".repeat(50_000);
    let indented: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n".to_owned();
    let long = format!("a:\n  {}: 1\n", "k".repeat(1 << 20));
    let quotes = "'\n".repeat(100_000);
    for text in
        [deep, pairs, dashes, indented, bomb, long, quotes, "\0".repeat(1000), "? ".repeat(50_000)]
    {
        config::fuzz_config(text.as_bytes());
    }
    config::fuzz_config(&vec![b'#'; 17 << 20]);
}
