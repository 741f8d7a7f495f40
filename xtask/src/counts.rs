//! `cargo xtask count`: instructions per operation of the engine, counted by valgrind and held against a reference.
//!
//! Apart from `bench` because nothing here is measured: the same binary gives the same counts on any machine, busy or
//! not, so that a test can fail when one grows. The cases are `crates/engine/benches/instructions.rs`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::setup;

const REFERENCE: &str = "crates/engine/benches/reference.json";
const DOCUMENT: &str = "docs/performance/instructions.md";
/// What a count may grow by before the reference must be updated in the same change.
const GROWTH_MAX: f64 = 1.02;
const UPDATE: &str = "UPDATE_COUNTS=1 cargo xtask count";

/// Instructions per operation by the name of the case, in the order of the names.
type Counts = BTreeMap<String, f64>;

/// What counts are comparable within.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    /// Release of the compiler.
    rustc: String,
    /// Architecture, and the vector instructions that libraries choose between at run time.
    machine: String,
}

/// The counts that new ones are held against.
#[derive(Debug, PartialEq)]
struct Reference {
    origin: Origin,
    counts: Counts,
}

/// Counts, then compares with the reference, or with `UPDATE_COUNTS` in the environment replaces it.
///
/// Where a comparison would mean nothing (no valgrind or one that does not work, another compiler, another kind of
/// machine) it says so and leaves it out: the counts say something about this code only.
///
/// # Errors
/// When a count has grown too much.
pub(crate) fn run() -> Result<()> {
    setup::install(&setup::FOR_COUNTS)?;
    if !setup::FOR_COUNTS.iter().all(|program| program.is_present()) || !does_valgrind_work() {
        leave_out("there is no valgrind that works");
        return Ok(());
    }
    let current = Origin { rustc: rustc_release("rustc", &[])?, machine: machine() };
    if std::env::var_os("UPDATE_COUNTS").is_some() {
        let counts = count(&mut Command::new(crate::cargo()))?;
        return update(&Reference { origin: current, counts });
    }
    let text = fs::read_to_string(REFERENCE)
        .with_context(|| format!("cannot read {REFERENCE}: make it with `{UPDATE}`"))?;
    let reference = Reference::parse(&text)?;
    if reference.origin.machine != current.machine {
        let (theirs, ours) = (&reference.origin.machine, &current.machine);
        leave_out(&format!("the reference was counted on {theirs}, and this is {ours}"));
        return Ok(());
    }
    let wanted = &reference.origin.rustc;
    let mut cargo = Command::new(crate::cargo());
    if *wanted != current.rustc {
        let has_it = rustc_release("rustup", &["run", wanted, "rustc"]).is_ok();
        if !has_it {
            leave_out(&format!(
                "the reference was counted with Rust {wanted}, and this is {}: `rustup toolchain install {wanted}`, \
                 or update the reference with `{UPDATE}`",
                current.rustc
            ));
            return Ok(());
        }
        println!("counting with Rust {wanted}, as the reference was, and not {}", current.rustc);
        cargo = Command::new("rustup");
        cargo.args(["run", wanted, "cargo"]).env_remove("CARGO").env_remove("RUSTC");
    }
    let counts = count(&mut cargo)?;
    print!("{}", table(&counts, Some(&reference.counts)));
    compare(&reference.counts, &counts)?;
    let document = document(&reference);
    let committed = fs::read_to_string(DOCUMENT).unwrap_or_default();
    ensure!(committed == document, "{DOCUMENT} is not that of the reference: run `{UPDATE}`");
    Ok(())
}

/// Nothing is compared.
fn leave_out(reason: &str) {
    println!("instructions are NOT compared: {reason}");
}

/// Whether it can run a program at all: it knows not every processor.
fn does_valgrind_work() -> bool {
    let tried = Command::new("valgrind").args(["--quiet", "--tool=none", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// The release of a compiler, such as `1.95.0`.
fn rustc_release(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).arg("--version").output()?;
    let text = String::from_utf8(output.stdout)?;
    let release = text.strip_prefix("rustc ").and_then(|rest| rest.split(' ').next());
    Ok(release.with_context(|| format!("no release in `{}`", text.trim()))?.to_owned())
}

fn machine() -> String {
    let architecture = std::env::consts::ARCH;
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return format!("{architecture} with avx2");
    }
    architecture.to_owned()
}

/// Builds the cases as they ship and counts them.
fn count(cargo: &mut Command) -> Result<Counts> {
    let binary = build(cargo)?;
    let folder = crate::started::Folder::create()?;
    let out = folder.path().join("callgrind.out");
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--collect-atstart=no", "--combine-dumps=yes"])
        .args(["--toggle-collect=*counted*", "--dump-before=*case_done*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(binary)
        .output()
        .context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the cases failed under valgrind:\n{said}");
    let cases = String::from_utf8(output.stdout)?;
    let dumps = fs::read_to_string(&out)
        .with_context(|| format!("valgrind wrote no {}:\n{said}", out.display()))?;
    per_operation(&cases, &dumps)
}

/// The path of the built cases.
fn build(cargo: &mut Command) -> Result<PathBuf> {
    let output = cargo
        .args(["bench", "--quiet", "--package", "engine", "--bench", "instructions", "--no-run"])
        .arg("--message-format=json")
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the build failed");
    let messages = String::from_utf8(output.stdout)?;
    let executable = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "instructions")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.context("cargo named no executable")
}

/// Joins what the cases printed, `NAME OPERATIONS` a line, with the totals of the counter's dumps, one for each case.
fn per_operation(cases: &str, dumps: &str) -> Result<Counts> {
    let totals: Vec<f64> = dumps
        .lines()
        .filter_map(|line| line.strip_prefix("totals: "))
        .map(|total| total.trim().parse().context("a total"))
        .collect::<Result<_>>()?;
    let cases: Vec<&str> = cases.lines().collect();
    // The last dump is that of the end of the program.
    ensure!(
        totals.len() == cases.len() + 1 && !cases.is_empty(),
        "{} cases and {} counts: were `counted` and `case_done` inlined or renamed?",
        cases.len(),
        totals.len()
    );
    let mut counts = Counts::new();
    for (case, total) in cases.iter().zip(totals) {
        let (name, operations) = case.rsplit_once(' ').context("a name and a number")?;
        ensure!(total > 0.0, "nothing was counted for {name}");
        let count = total / operations.parse::<f64>()?;
        counts.insert(name.to_owned(), (count * 10.0).round() / 10.0);
    }
    Ok(counts)
}

/// # Errors
/// Names every case that has grown too much, and every one that only one side knows.
fn compare(reference: &Counts, counts: &Counts) -> Result<()> {
    let mut faults = Vec::new();
    let mut fewer = 0;
    for (name, count) in counts {
        match reference.get(name) {
            None => faults.push(format!("{name}: not in the reference")),
            Some(was) if *count > was * GROWTH_MAX => {
                let percent = (count / was - 1.0) * 100.0;
                faults.push(format!("{name}: {was} → {count} instructions, {percent:.1} % more"));
            }
            Some(was) if *count * GROWTH_MAX < *was => fewer += 1,
            Some(_) => {}
        }
    }
    let gone = reference.keys().filter(|name| !counts.contains_key(*name));
    faults.extend(gone.map(|name| format!("{name}: in the reference only")));
    if !faults.is_empty() {
        bail!(
            "instruction counts have grown:\n  {}\nIf that is meant, commit a new reference with the change that caused \
             it: {UPDATE}",
            faults.join("\n  ")
        );
    }
    if fewer > 0 {
        println!("{fewer} counts have fallen: keep that with {UPDATE}");
    }
    Ok(())
}

fn update(reference: &Reference) -> Result<()> {
    let before = fs::read_to_string(REFERENCE).ok().and_then(|text| Reference::parse(&text).ok());
    print!("{}", table(&reference.counts, before.as_ref().map(|before| &before.counts)));
    fs::write(REFERENCE, reference.print()?)?;
    if let Some(folder) = Path::new(DOCUMENT).parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(DOCUMENT, document(reference))?;
    println!("wrote {REFERENCE} and {DOCUMENT}");
    Ok(())
}

/// The counts beside those of `before`, for reading.
fn table(counts: &Counts, before: Option<&Counts>) -> String {
    let mut out = String::new();
    for (name, count) in counts {
        let change =
            before.and_then(|before| before.get(name)).map(|was| (count / was - 1.0) * 100.0);
        let change = change.map_or_else(|| "new".to_owned(), |percent| format!("{percent:+.1} %"));
        let _ = writeln!(out, "{name:50} {count:>10.1} {change:>9}");
    }
    out
}

/// The reference as users read it.
fn document(reference: &Reference) -> String {
    let Reference { origin, counts } = reference;
    let mut out = format!(
        "# Instructions per operation\n\nMade by `{UPDATE}`; [performance.md](../performance.md) says how it is read. \
         Rust {}, {}.\n\n| operation | instructions |\n|---|---:|\n",
        origin.rustc, origin.machine
    );
    for (name, count) in counts {
        let _ = writeln!(out, "| {name} | {count:.0} |");
    }
    out
}

impl Reference {
    fn parse(text: &str) -> Result<Reference> {
        let value: Value = serde_json::from_str(text).with_context(|| REFERENCE.to_owned())?;
        let word = |key: &str| {
            let word = value[key].as_str().with_context(|| format!("{REFERENCE} has no {key}"));
            word.map(str::to_owned)
        };
        let counts = value["instructions"].as_object().context("no instructions")?;
        let count = |(name, count): (&String, &Value)| {
            Ok((name.clone(), count.as_f64().with_context(|| format!("no count of {name}"))?))
        };
        Ok(Reference {
            origin: Origin { rustc: word("rustc")?, machine: word("machine")? },
            counts: counts.iter().map(count).collect::<Result<_>>()?,
        })
    }

    fn print(&self) -> Result<String> {
        let Origin { rustc, machine } = &self.origin;
        let value = json!({ "rustc": rustc, "machine": machine, "instructions": self.counts });
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Origin, Reference, compare, per_operation};

    fn counts(pairs: &[(&str, f64)]) -> Counts {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn totals_are_divided_by_the_operations_of_their_case() {
        let dumps = "part: 1\ntotals: 1000\npart: 2\nsummary: 7\ntotals: 35\npart: 3\ntotals: 0\n";
        let found = per_operation("scan/a b 10\nroute/c 2\n", dumps).expect("two counts");
        assert_eq!(found, counts(&[("scan/a b", 100.0), ("route/c", 17.5)]));
    }

    #[test]
    fn cases_that_were_not_counted_are_an_error() {
        assert!(per_operation("a 10\nb 2\n", "totals: 1000\ntotals: 0\n").is_err());
        assert!(per_operation("a 10\nb 2\n", "totals: 1000\ntotals: 0\ntotals: 0\n").is_err());
        assert!(per_operation("", "totals: 0\n").is_err());
    }

    #[test]
    fn a_count_may_grow_by_two_percent_and_not_by_more() {
        let reference = counts(&[("a", 100.0), ("b", 50.0)]);
        assert!(compare(&reference, &counts(&[("a", 102.0), ("b", 10.0)])).is_ok());
        let error = compare(&reference, &counts(&[("a", 102.1), ("b", 50.0)])).expect_err("growth");
        assert!(error.to_string().contains("a: 100 → 102.1 instructions"), "{error}");
    }

    #[test]
    fn a_case_that_only_one_side_knows_is_an_error() {
        let reference = counts(&[("a", 100.0), ("b", 50.0)]);
        for found in [counts(&[("a", 100.0)]), counts(&[("a", 100.0), ("b", 50.0), ("c", 1.0)])] {
            assert!(compare(&reference, &found).is_err(), "{found:?}");
        }
    }

    #[test]
    fn a_reference_is_read_as_it_was_written() {
        let origin = Origin { rustc: "1.95.0".into(), machine: "x86_64 with avx2".into() };
        let reference = Reference { origin, counts: counts(&[("a", 100.5), ("b/c d", 3.0)]) };
        let text = reference.print().expect("a text");
        assert_eq!(Reference::parse(&text).expect("a reference"), reference);
    }
}
