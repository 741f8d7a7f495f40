//! `cargo xtask models`: the code where threads meet, under a model checker that tries every order of events. Apart from
//! the tests because the whole product is built anew for it, with loom's primitives in the place of the standard ones.
//!
//! A model that cannot fail proves nothing: `--mutants` breaks the product in one place after the other
//! ([`mutants`]) and expects a model to notice each time.

mod mutants;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};

use mutants::{MUTANTS, Mutant};

/// Kept apart, because every crate is built anew.
const TARGET: &str = "target/loom";
/// Where a copy of the sources is broken, and built: what is built of it must never be taken for what is sound.
const BROKEN: &str = "target/mutants";

/// The models of one crate, with sources in `folder`.
fn command(folder: &Path, target: &Path, package: &str) -> Command {
    let mut command = Command::new(crate::cargo());
    command.current_dir(folder).env("RUSTFLAGS", "--cfg loom --deny warnings");
    command.args(["test", "--lib", "--package", package, "--target-dir"]).arg(target);
    command.args(["--", "models::"]);
    command
}

/// Runs all models.
///
/// # Errors
/// Names the crate whose models found a fault, or cannot be built.
pub(crate) fn run() -> Result<()> {
    for package in ["engine", "reactor", "nutcracker"] {
        let status = command(Path::new("."), Path::new(TARGET), package).status()?;
        ensure!(
            status.success(),
            "a model of {package} failed; repeat it with `cargo xtask models`"
        );
    }
    Ok(())
}

/// Breaks the product in every way known to matter, one at a time, and runs the models of the crate.
///
/// # Errors
/// Names the first fault that no model notices.
pub(crate) fn run_on_mutants() -> Result<()> {
    let folder = copy_of_sources()?;
    for mutant in &MUTANTS {
        let failed = models_that_notice(&folder, mutant)?;
        ensure!(!failed.is_empty(), "no model notices that {}", mutant.fault);
        println!("{}: noticed by {}", mutant.fault, failed.join(", "));
    }
    Ok(())
}

/// The names of the models that fail with this fault.
fn models_that_notice(folder: &Path, mutant: &Mutant) -> Result<Vec<String>> {
    let path = folder.join(mutant.file);
    let sound = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let places = sound.matches(mutant.sound).count();
    ensure!(places == 1, "{} holds {places} times: {}", mutant.file, mutant.sound);
    fs::write(&path, sound.replace(mutant.sound, mutant.broken))?;
    let package = mutant.file.split('/').nth(1).context("a file of a crate")?;
    // What is broken may leave things unused.
    let output =
        command(folder, &folder.join("target"), package).env("RUSTFLAGS", "--cfg loom").output()?;
    fs::write(&path, sound)?;
    failures(&output)
}

fn failures(output: &Output) -> Result<Vec<String>> {
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("running ") {
        bail!("it does not even compile:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let failed = text.lines().filter_map(|line| line.strip_suffix(" ... FAILED"));
    let failed = failed.map(|line| line.trim_start_matches("test ").replace("models::", ""));
    // A model that fails while its threads are being cleared away ends the process.
    let aborted = (!text.contains("test result:")).then(|| "a model that aborts".to_owned());
    Ok(failed.chain(aborted).collect())
}

/// Copies what is needed to build the crates.
fn copy_of_sources() -> Result<PathBuf> {
    let folder = std::env::current_dir()?.join(BROKEN);
    let listed = Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).output()?;
    ensure!(listed.status.success(), "git does not list the files");
    for file in String::from_utf8(listed.stdout)?.lines() {
        let to = folder.join(file);
        fs::create_dir_all(to.parent().context("a folder")?)?;
        fs::copy(file, &to).with_context(|| format!("copying {file}"))?;
    }
    Ok(folder)
}
