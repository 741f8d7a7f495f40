//! The tutorials of `docs/tutorials`, followed to the letter: their configuration, their commands, and the output that
//! they promise. Only ports are replaced by unused ones, and servers are started by the harness.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::harness::{RealServer, binary_under_test, eventually, skip, unused_port};

#[test]
fn the_memcached_tutorial_does_what_it_says() {
    let node1 = RealServer::memcached();
    let mut node2 = RealServer::memcached();
    let tutorial = Tutorial::new(
        "memcached.md",
        &[(11212, node1.port()), (11213, node2.port()), (22121, unused_port())],
    );
    fs::write(tutorial.dir.path().join("node2.pid"), node2.id().to_string()).expect("a file");
    tutorial.follow("Start the proxy");
    tutorial.follow("Store six keys");
    tutorial.follow("Kill a node");
    node2.start_again();
    eventually("the node takes its keys again", || {
        tutorial.run("mc 22121 'set apple 0 0 4' pink");
        tutorial.run("mc 11213 'get apple'").contains("pink").then_some(())
    });
    tutorial.follow("Bring it back");
    tutorial.follow("Stop");
    tutorial.await_end();
}

#[test]
fn the_redis_tutorial_does_what_it_says() {
    let servers = RealServer::several(6);
    let ports: Vec<_> = (6371..).zip(servers.iter().map(RealServer::port)).collect();
    let tutorial = Tutorial::new("redis.md", &[&ports[..], &[(22121, unused_port())]].concat());
    for section in ["Check it", "Start the proxy", "Use it", "See where keys are", "Stop"] {
        tutorial.follow(section);
    }
    tutorial.await_end();
}

#[test]
fn the_load_balancer_tutorial_does_what_it_says() {
    if Command::new("haproxy").arg("-v").stdout(Stdio::null()).status().is_err() {
        return skip("haproxy is not installed");
    }
    let server = RealServer::redis();
    let ports = [(6371, server.port()), (6379, unused_port()), (22121, unused_port())];
    let tutorial = Tutorial::new("load-balancer.md", &ports);
    let balancer = replaced(&tutorial.blocks(&tutorial.page, "haproxy").concat(), &tutorial.ports);
    fs::write(tutorial.dir.path().join("haproxy.cfg"), balancer).expect("a configuration");
    for section in ["Start both", "See who it is", "What goes wrong", "Stop"] {
        tutorial.follow(section);
    }
    tutorial.await_end();
}

/// A page and the folder in which it is followed. Dropping it ends what the page started in the background.
struct Tutorial {
    page: String,
    dir: TempDir,
    /// What a number of the page stands for here.
    ports: BTreeMap<String, String>,
}

/// A command of the page and what the page says it prints.
struct Step {
    command: String,
    output: String,
}

impl Tutorial {
    fn new(page: &str, ports: &[(u16, u16)]) -> Tutorial {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tutorials");
        let page = fs::read_to_string(docs.join(page)).expect("a page");
        let ports = ports.iter().map(|(there, here)| (there.to_string(), here.to_string()));
        let tutorial =
            Tutorial { page, dir: tempfile::tempdir().expect("a folder"), ports: ports.collect() };
        let yaml = tutorial.blocks(&tutorial.page, "yaml").remove(0);
        let stats = format!("  stats_port: {}\n", unused_port());
        let yaml = replaced(&yaml, &tutorial.ports).replacen("\n\n", &format!("\n{stats}\n"), 1);
        fs::write(tutorial.dir.path().join("nutcracker.yml"), yaml).expect("a configuration");
        tutorial.install();
        tutorial
    }

    /// Puts the programs of the page where its commands find them first.
    fn install(&self) {
        let bin = self.dir.path().join("bin");
        fs::create_dir(&bin).expect("a folder");
        symlink(binary_under_test(), bin.join("nutcracker")).expect("a link");
        // On a terminal it shows types; here it would not unless told.
        let cli = bin.join("redis-cli");
        fs::write(&cli, "#!/bin/sh\nPATH=${PATH#*:} exec redis-cli --no-raw \"$@\"\n")
            .expect("a script");
        fs::set_permissions(&cli, fs::Permissions::from_mode(0o755)).expect("permissions");
    }

    /// Runs every command of a section and compares what it prints.
    #[track_caller]
    fn follow(&self, section: &str) {
        let steps = self.steps(section);
        assert!(!steps.is_empty(), "no commands in the section {section}");
        for step in steps {
            let printed = self.run(&step.command);
            let same = printed.lines().count() == step.output.lines().count()
                && printed.lines().zip(step.output.lines()).all(|(got, said)| agrees(got, said));
            assert!(
                same,
                "$ {}\n--- the page says\n{}--- it printed\n{printed}--- log\n{}",
                step.command,
                step.output,
                fs::read_to_string(self.dir.path().join("nutcracker.log")).unwrap_or_default()
            );
        }
    }

    fn steps(&self, section: &str) -> Vec<Step> {
        let heading = format!("\n## {section}\n");
        let (_, text) = self.page.split_once(&heading).unwrap_or_else(|| panic!("no {section}"));
        let text = text.split("\n## ").next().expect("a section");
        let mut steps: Vec<Step> = Vec::new();
        for line in self.blocks(text, "console").iter().flat_map(|block| block.lines()) {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { command: command.into(), output: String::new() });
                }
                (None, Some(step)) => step.output += &format!("{line}\n"),
                (None, None) => panic!("output without a command: {line}"),
            }
        }
        steps
    }

    fn blocks(&self, text: &str, language: &str) -> Vec<String> {
        let begin = format!("```{language}\n");
        let ends = |block: &str| block.split("```").next().expect("an end").to_owned();
        text.split(&begin).skip(1).map(ends).collect()
    }

    /// Runs a command of the page, after the functions that the page defines; what it printed, in the page's numbers.
    fn run(&self, command: &str) -> String {
        let script = self.blocks(&self.page, "bash").concat() + command;
        let path = std::env::var("PATH").expect("a path");
        let output = Command::new("bash")
            .args(["-c", &format!("{{ {}\n}} 2>&1", replaced(&script, &self.ports))])
            .env("PATH", format!("{}:{path}", self.dir.path().join("bin").display()))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("bash runs");
        let back = self.ports.iter().map(|(there, here)| (here.clone(), there.clone())).collect();
        replaced(&String::from_utf8_lossy(&output.stdout), &back).replace("\r\n", "\n")
    }

    /// Waits until the proxy that was told to stop has removed its pid file.
    #[track_caller]
    fn await_end(&self) {
        eventually("the proxy ends", || {
            (!self.dir.path().join("nutcracker.pid").exists()).then_some(())
        });
    }
}

impl Drop for Tutorial {
    fn drop(&mut self) {
        for file in ["nutcracker.pid", "haproxy.pid"] {
            let pid = fs::read_to_string(self.dir.path().join(file));
            let pid = pid.ok().and_then(|pid| pid.trim().parse().ok()).and_then(Pid::from_raw);
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// A dead server shows itself in several ways; which one comes first is chance.
fn agrees(printed: &str, said: &str) -> bool {
    printed == said
        || printed.starts_with("SERVER_ERROR ") && said.starts_with("SERVER_ERROR Connection ")
}

/// Replaces whole numbers.
fn replaced(text: &str, numbers: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, tail) = rest.split_at(start);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(end);
        out += before;
        out += numbers.get(number).map_or(number, String::as_str);
        rest = tail;
    }
    out + rest
}
