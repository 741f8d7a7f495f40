//! Tests of the log as a whole, on real files.

use std::fs;

use log::{Level, Log, Record};
use tempfile::TempDir;

use super::*;

fn log_in(directory: &TempDir, level: u32) -> (Logger, PathBuf) {
    let path = directory.path().join("proxy.log");
    (Logger::open(Some(&path), level).unwrap(), path)
}

fn say(logger: &Logger, target: &str, level: Level, message: &str) {
    let args = format_args!("{message}");
    logger.log(
        &Record::builder()
            .target(target)
            .level(level)
            .file_static(Some("src/some.rs"))
            .line(Some(7))
            .args(args)
            .build(),
    );
}

/// The messages in a file, without their time stamps.
fn messages(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(|line| line[26..].to_owned()).collect()
}

#[test]
fn each_level_shows_what_it_showed_in_0_5() {
    let kinds = [
        (ALWAYS, Level::Error, 0),
        ("x", Level::Error, 1),
        (EVERY, Level::Error, 1),
        ("x", Level::Warn, 4),
        (NOTICE, Level::Info, 5),
        ("x", Level::Info, 6),
        ("x", Level::Debug, 7),
        ("x", Level::Trace, 8),
    ];
    for level in 0..=12 {
        let directory = TempDir::new().unwrap();
        let (logger, path) = log_in(&directory, level);
        for (target, severity, _) in kinds {
            assert!(
                severity <= filter(logger.level()) || logger.level() < 8,
                "the filter drops what the level shows"
            );
            say(&logger, target, severity, "m");
        }
        let expected = kinds.iter().filter(|(.., needed)| *needed <= level).count();
        assert_eq!(messages(&path), vec!["some.rs:7 m"; expected], "level {level}");
    }
}

#[test]
fn the_level_moves_between_0_and_11() {
    let directory = TempDir::new().unwrap();
    let (logger, _) = log_in(&directory, 99);
    assert_eq!(logger.level(), 11);
    assert_eq!(logger.raise_level(), None);
    assert_eq!(logger.lower_level(), Some(10));
    let (logger, _) = log_in(&directory, 1);
    assert_eq!(logger.lower_level(), Some(0));
    assert_eq!(logger.lower_level(), None);
    assert_eq!(logger.raise_level(), Some(1));
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let error = Logger::open(Some(Path::new("/nonexistent/a.log")), 5).unwrap_err();
    assert_eq!(
        error.to_string(),
        "opening log file '/nonexistent/a.log' failed: No such file or directory"
    );
}

#[test]
fn reopening_follows_the_name() {
    let directory = TempDir::new().unwrap();
    let (logger, path) = log_in(&directory, 5);
    let rotated = directory.path().join("proxy.log.1");
    say(&logger, "x", Level::Error, "before");
    fs::rename(&path, &rotated).unwrap();
    say(&logger, "x", Level::Error, "between");
    logger.reopen().unwrap();
    assert_eq!(messages(&path), Vec::<String>::new(), "the new file starts empty");
    say(&logger, "x", Level::Error, "after");
    assert_eq!(messages(&rotated), ["some.rs:7 before", "some.rs:7 between"]);
    assert_eq!(messages(&path), ["some.rs:7 after"]);
}

#[test]
fn a_failed_reopening_keeps_the_old_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sub/proxy.log");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let logger = Logger::open(Some(&path), 5).unwrap();
    let moved = directory.path().join("moved");
    fs::rename(path.parent().unwrap(), &moved).unwrap();
    assert!(logger.reopen().unwrap_err().to_string().starts_with("opening log file '"));
    say(&logger, "x", Level::Error, "still here");
    assert_eq!(messages(&moved.join("proxy.log")), ["some.rs:7 still here"]);
}

#[test]
fn a_flood_is_cut_but_not_what_must_be_complete() {
    let directory = TempDir::new().unwrap();
    let (logger, path) = log_in(&directory, 7);
    for (target, level) in [(EVERY, Level::Error), ("x", Level::Debug), (ALWAYS, Level::Error)] {
        for _ in 0..100 {
            say(&logger, target, level, "complete");
        }
    }
    for _ in 0..100 {
        say(&logger, "x", Level::Error, "flood");
    }
    let messages = messages(&path);
    assert_eq!(messages.iter().filter(|m| m.ends_with("complete")).count(), 300);
    assert_eq!(messages.iter().filter(|m| m.ends_with("flood")).count(), repeats::BURST as usize);
}

#[test]
fn lines_of_several_threads_do_not_mix() {
    let directory = TempDir::new().unwrap();
    let (logger, path) = log_in(&directory, 7);
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let logger = &logger;
            scope.spawn(move || {
                for _ in 0..500 {
                    say(logger, "x", Level::Debug, &name.repeat(200));
                }
            });
        }
    });
    let messages = messages(&path);
    assert_eq!(messages.len(), 2000);
    assert!(
        messages
            .iter()
            .all(|m| m.len() == 210 && m[10..].bytes().all(|byte| byte == m.as_bytes()[10]))
    );
}
