//! The documents tell the truth: what can be generated from a table is, and what is written by hand is held against
//! the tree. It stands apart from `tests/tidy.rs`, which judges the source and not what is said about it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use nutcracker::cli::Options;
use nutcracker::config;
use nutcracker::stats::catalogue::{self, Kind, Metric};
use nutcracker::stats::metrics::{Family, families};
use proto::resp::command::{self, Command, Merge, Policy, Unsupported};
use proto::resp::{RequestScanner, Scan, encode};
use proto::{Span, memcached};

#[path = "docs/failures.rs"]
mod failures;

const INTRODUCTION: &str = include_str!("docs/commands_introduction.md");
const METRICS_INTRODUCTION: &str = include_str!("docs/metrics_introduction.md");

/// The groups of Redis' documentation: title, first and last command of each in the table.
const GROUPS: [(&str, &str, &str); 16] = [
    ("Strings", "append", "substr"),
    ("Keys of any type", "copy", "waitaof"),
    ("Hashes", "hdel", "hvals"),
    ("Lists", "blmove", "rpushx"),
    ("Sets", "sadd", "sunionstore"),
    ("Sorted sets", "bzmpop", "zunionstore"),
    ("Streams", "xack", "xtrim"),
    ("Bitmaps", "bitcount", "setbit"),
    ("HyperLogLogs", "pfadd", "pfselftest"),
    ("Geographic indexes", "geoadd", "geosearchstore"),
    ("Scripts and functions", "eval", "script|show"),
    ("Publish and subscribe", "psubscribe", "unsubscribe"),
    ("Transactions", "discard", "watch"),
    ("Connection", "auth", "select"),
    ("Server", "acl", "time"),
    ("Cluster", "asking", "readwrite"),
];

/// Documents written by hand.
const WRITTEN: [&str; 11] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/failure-modes.md",
    "docs/migrating.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/tutorials/memcached.md",
    "docs/tutorials/redis.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_list_of_commands_is_what_the_table_says() {
    assert_generated("docs/commands.md", &commands());
}

#[test]
fn the_list_of_metrics_is_what_the_catalogue_says() {
    assert_generated("docs/metrics.md", &metrics());
}

/// A document is what it was generated from, or becomes so when asked to.
#[track_caller]
fn assert_generated(document: &str, generated: &str) {
    let path = root().join(document);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, generated).expect("a document can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{document} is out of date: run UPDATE_DOCS=1 cargo test -p nutcracker --test docs"
    );
}

fn metrics() -> String {
    let mut out = String::from(METRICS_INTRODUCTION);
    document_rows(&mut out, "A pool", &catalogue::POOL);
    document_rows(&mut out, "A server", &catalogue::SERVER);
    out.push_str(
        "\n## What Prometheus reads\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for Family { name, kind, labels, doc } in families() {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(out, "| `{name}` | {kind} | {} | {doc} |", labels.join(", "));
    }
    out
}

fn document_rows<C>(out: &mut String, title: &str, metrics: &[Metric<C>]) {
    let _ = write!(out, "\n### {title}\n\n| key | kind | meaning |\n|---|---|---|\n");
    for Metric { name, kind, doc, .. } in metrics {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Timestamp => "time",
        };
        let _ = writeln!(out, "| `{name}` | {kind} | {doc} |");
    }
}

fn commands() -> String {
    let mut out = String::from(INTRODUCTION);
    let mut next = 0;
    for (title, first, last) in GROUPS {
        let rows = command::all();
        let from = rows.iter().position(|row| row.name == first).expect(first);
        let to = rows.iter().position(|row| row.name == last).expect(last) + 1;
        assert_eq!(from, next, "the group {title} no longer begins with {first}: correct GROUPS");
        group(&mut out, title, &rows[from..to]);
        next = to;
    }
    assert_eq!(
        next,
        command::all().len(),
        "the last group no longer ends the table: correct GROUPS"
    );
    memcached_commands(&mut out);
    out
}

/// The part about memcached: one table, in the order of the rows.
fn memcached_commands(out: &mut String) {
    use memcached::{Local, Policy};
    out.push_str(include_str!("docs/memcached_introduction.md"));
    out.push_str("| command | words that follow | served | since | 0.5 |\n|---|---|---|---|---|\n");
    for row in memcached::command::all() {
        let served = match row.policy {
            Policy::SingleShard { .. } => "forwarded",
            Policy::Split { .. } => "split by key",
            Policy::Keyless => "forwarded to one server",
            Policy::AllShards => "sent to every server",
            Policy::Local(Local::Stats) => "answered by the proxy, about itself",
            Policy::Local(Local::Verbosity) => "answered by the proxy, without effect",
            Policy::Local(Local::Quit | Local::NoOp) => "answered by the proxy",
            Policy::Unsupported => "not served",
        };
        let arguments = match row.arguments {
            "" => String::new(),
            words => format!("`{words}`"),
        };
        let known = if row.known_to_0_5 { "yes" } else { "" };
        let _ =
            writeln!(out, "| `{}` | {arguments} | {served} | {} | {known} |", row.name, row.since);
    }
}

/// A container is described by its subcommands, unless it does something by itself.
fn group(out: &mut String, title: &str, rows: &[Command]) {
    let _ = write!(
        out,
        "\n## {title}\n\n| command | arguments | served | since | 0.5 |\n|---|---|---|---|---|\n"
    );
    for row in rows {
        let is_bare = !row.subcommands().is_empty() && matches!(row.policy, Policy::Unsupported(_));
        if !is_bare {
            let name = row.name.replace('|', " ").to_uppercase();
            let known = if row.known_to_0_5 { "yes" } else { "" };
            let (arguments, served) = (arguments(row), served(row));
            let _ =
                writeln!(out, "| `{name}` | {arguments} | {served} | {} | {known} |", row.since);
        }
    }
}

fn arguments(row: &Command) -> String {
    let least = row.arity.unsigned_abs();
    let only_odd = !row.accepts(usize::from(least) + 1) && row.accepts(usize::from(least) + 2);
    match (row.arity < 0, only_odd) {
        (false, _) => least.to_string(),
        (true, false) => format!("{least} or more"),
        (true, true) => format!("{least} or more, odd"),
    }
}

fn served(row: &Command) -> String {
    let mut text = String::from(match row.policy {
        Policy::SingleShard if row.is_single_key() => "forwarded",
        Policy::SingleShard => "forwarded, all keys on one server",
        Policy::Split(split) => match split.merge() {
            Merge::Default => "split by key, one array in the order of the keys",
            Merge::AggSum => "split by key, the sum",
            Merge::AllSucceeded => "split by key, `OK` when all are",
        },
        Policy::Keyless => "forwarded to one server",
        Policy::Local(_) => "answered by the proxy",
        Policy::Unsupported(Unsupported::Session) => {
            "not yet: needs a server connection of its own"
        }
        Policy::Unsupported(Unsupported::Broadcast) => "not yet: concerns every server",
        Policy::Unsupported(Unsupported::Cursor) => "not yet: walks over every server",
        Policy::Unsupported(Unsupported::Admin) => "not yet: administers one server",
    });
    let with = |words: &[&str]| policy_of(row, words);
    if row.policy == Policy::SingleShard {
        if with(&["x", "BLOCK", "0", "STREAMS", "k", "0"])
            == Policy::Unsupported(Unsupported::Session)
        {
            text.push_str("; with `BLOCK` not yet");
        }
        if with(&["x", "0"]) == Policy::Keyless {
            text.push_str("; without keys to one server");
        }
    }
    text
}

/// What the proxy does with this command when these arguments follow it.
fn policy_of(row: &Command, words: &[&str]) -> Policy {
    let mut request = Vec::new();
    encode::array_header(&mut request, 1 + words.len());
    encode::bulk(&mut request, row.name.as_bytes());
    words.iter().for_each(|word| encode::bulk(&mut request, word.as_bytes()));
    let mut args: Vec<Span> = Vec::new();
    assert_eq!(RequestScanner::default().scan(&request, &mut args), Scan::Complete(request.len()));
    row.policy_for(&request, &args)
}

/// What a newcomer copies from README.md works, and without a warning.
#[test]
fn the_example_of_the_readme_is_a_sound_configuration() {
    let text = read("README.md");
    let example = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nutcracker.yml");
    fs::write(&path, example.expect("an example")).expect("a file");
    let options = Options { conf_file: Some(path), ..Options::default() };
    let mut said = Vec::new();
    let status = config::test_conf(&options, &mut said).expect("a verdict");
    let said = String::from_utf8(said).expect("text");
    assert_eq!((status, said.lines().count()), (0, 1), "{said}");
}

/// Links to other files, and to headings within a file, lead somewhere.
#[test]
fn every_link_leads_somewhere() {
    let mut faults = Vec::new();
    for document in
        WRITTEN.iter().chain(&["docs/commands.md", "docs/configuration.md", "docs/metrics.md"])
    {
        let text = read(document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            if file.starts_with("https://") {
                continue;
            }
            let path = match file {
                "" => root().join(document),
                file => root().join(document).parent().expect("a folder").join(file),
            };
            let is_there = path.exists()
                && (heading.is_empty()
                    || fs::read_to_string(&path)
                        .is_ok_and(|text| anchors(&text).contains(&heading.to_owned())));
            if !is_there {
                faults.push(format!("{document}: {target}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The names under which the headings of a document are linked to.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

/// The code map of ARCHITECTURE.md has a line for every module, and none for what is gone.
#[test]
fn the_code_map_is_the_tree() {
    let text = read("ARCHITECTURE.md");
    let mut faults = Vec::new();
    for name in ["proto", "sharding", "reactor", "engine", "nutcracker"] {
        let heading = format!("### `{name}`");
        let section = text.split(&heading).nth(1).unwrap_or_else(|| panic!("no {heading}"));
        let section = section.split("\n#").next().expect("a part");
        let folder = root().join("crates").join(name).join("src");
        let mapped: Vec<&str> =
            section.split("\n- `").skip(1).filter_map(|line| line.split('`').next()).collect();
        faults.extend(
            mapped
                .iter()
                .filter(|path| !folder.join(path).exists())
                .map(|path| format!("{name}: {path} is gone")),
        );
        for file in sources(&folder) {
            let path =
                file.strip_prefix(&folder).expect("inside").to_str().expect("UTF-8").to_owned();
            let is_mapped =
                |entry: &&str| *entry == path || entry.ends_with('/') && path.starts_with(entry);
            if !mapped.iter().any(is_mapped) {
                faults.push(format!("{name}: {path} has no line"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The names that ARCHITECTURE.md and docs/migrating.md give as proof are names of tests.
#[test]
fn every_test_that_is_named_as_a_proof_exists() {
    let sources: String = ["crates", "xtask"]
        .iter()
        .flat_map(|folder| sources(&root().join(folder)))
        .map(|path| fs::read_to_string(path).expect("UTF-8"))
        .collect();
    let mut seen = 0;
    for document in ["ARCHITECTURE.md", "docs/migrating.md"] {
        let text = read(document);
        for name in text.split('`').skip(1).step_by(2).filter(|name| is_sentence(name)) {
            seen += 1;
            assert!(
                sources.contains(&format!("fn {name}(")),
                "{document}: there is no test {name}"
            );
        }
    }
    assert!(seen > 20, "only {seen} names of tests were found");
}

/// Tests are named by sentences; keys of the configuration and texts are shorter.
fn is_sentence(name: &str) -> bool {
    name.matches('_').count() >= 3 && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// CONTRIBUTING.md says of every dependency why it is there.
#[test]
fn every_dependency_has_a_line() {
    let text = read("CONTRIBUTING.md");
    let manifests =
        ["Cargo.toml", "xtask/Cargo.toml", "fuzz/Cargo.toml"].map(str::to_owned).into_iter();
    let crates = ["proto", "sharding", "reactor", "engine", "nutcracker"]
        .map(|name| format!("crates/{name}/Cargo.toml"));
    let mut named = 0;
    for manifest in manifests.chain(crates) {
        for name in dependencies(&read(&manifest)) {
            named += 1;
            assert!(text.contains(&format!("\n| `{name}` |")), "{manifest}: no line about {name}");
        }
    }
    assert!(named > 20, "only {named} dependencies were found");
}

/// Names of the dependencies on others in a manifest.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && let Some((key, value)) = line.split_once('=') {
            let name = key.trim().trim_end_matches(".workspace");
            let is_ours = value.contains("path =")
                || ["engine", "proto", "reactor", "sharding"].contains(&name);
            if !is_ours {
                found.push(name.to_owned());
            }
        }
    }
    found
}
