//! `make test`: everything CI checks, cheapest first, each step with its time.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::{counts, models, setup};

struct Step {
    title: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const STEPS: [Step; 4] = [
    Step { title: "formatting", arguments: &["fmt", "--all", "--check"], environment: &[] },
    Step {
        title: "lints",
        arguments: &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ],
        environment: &[],
    },
    Step {
        title: "tests: unit, property, simulation, fuzz corpus, end to end, differential, documentation examples",
        // Quiet: what a failed test has to say is not buried under the names of those that pass.
        arguments: &["test", "--workspace", "--no-fail-fast", "--quiet"],
        // Tests of processes mostly wait: more of them than cores run side by side.
        environment: &[("RUST_TEST_THREADS", "4")],
    },
    Step {
        title: "documentation",
        arguments: &["doc", "--workspace", "--no-deps", "--quiet"],
        environment: &[("RUSTDOCFLAGS", "--deny warnings")],
    },
];

/// Runs every step; the first that fails ends the run.
///
/// # Errors
/// Names the step that failed and the command to repeat it.
pub(crate) fn run() -> Result<()> {
    setup::install(&setup::FOR_TESTS)?;
    for step in &STEPS {
        step.run()?;
    }
    println!("== models of where threads meet, every order of events");
    let begun = Instant::now();
    models::run()?;
    println!("== models took {:.0?}", begun.elapsed());
    println!("== instructions per operation, beside the reference");
    let begun = Instant::now();
    counts::run()?;
    println!("== instructions took {:.0?}", begun.elapsed());
    Ok(())
}

impl Step {
    fn run(&self) -> Result<()> {
        println!("== {}", self.title);
        let begun = Instant::now();
        let status = Command::new(crate::cargo())
            .args(self.arguments)
            .envs(self.environment.iter().copied())
            .status()?;
        let line = format!("cargo {}", self.arguments.join(" "));
        ensure!(status.success(), "{} failed with {status}; repeat it with `{line}`", self.title);
        println!("== {} took {:.0?}", self.title, begun.elapsed());
        Ok(())
    }
}
