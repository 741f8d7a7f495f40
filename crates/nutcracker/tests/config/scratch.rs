//! A folder of its own for each test, and the modes that look at a configuration file in it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nutcracker::cli::Options;
use nutcracker::config;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A folder that is removed in the end.
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("nutcracker-config-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for temporary files");
        Scratch { folder }
    }

    pub(crate) fn conf_file(&self) -> PathBuf {
        self.folder.join("nutcracker.yml")
    }

    pub(crate) fn options(&self) -> Options {
        Options { conf_file: Some(self.conf_file()), ..Options::default() }
    }

    pub(crate) fn write(&self, yaml: &[u8]) -> PathBuf {
        let path = self.conf_file();
        std::fs::write(&path, yaml).expect("the folder can be written");
        path
    }

    /// Exit status and lines of `-t` for a file with that text.
    pub(crate) fn test_conf(&self, yaml: &[u8]) -> (u8, Vec<String>) {
        self.write(yaml);
        test_conf(&self.options())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Exit status and lines of `-t`.
pub(crate) fn test_conf(options: &Options) -> (u8, Vec<String>) {
    let mut err = Vec::new();
    let status = config::test_conf(options, &mut err).expect("a vector takes any bytes");
    (status, lines(&err))
}

pub(crate) fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec())
        .expect("messages are text")
        .lines()
        .map(String::from)
        .collect()
}

/// Path of a file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
