//! Tests that are skipped because a tool is missing. The test harness cannot skip a test and counts it as passed, so
//! the skipped tests are listed in a file whose name whoever runs the tests may set.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context, Result};

use crate::env;

/// The variable that names the file.
pub const NOTED_IN: &str = "TRISTORE_SKIPPED";

/// Lists a test as skipped, if a file is set.
///
/// # Errors
/// When the file cannot be written.
pub fn note(test: &str) -> Result<()> {
    env::path(NOTED_IN).map_or(Ok(()), |file| note_in(&file, test))
}

fn note_in(file: &Path, test: &str) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file).context("the skipped tests")?;
    // In one write, because other tests append to the file too.
    file.write_all(format!("{test}\n").as_bytes()).context("the skipped tests")
}

/// The tests that a file lists, each once.
///
/// # Errors
/// When the file cannot be read.
pub fn noted(file: &Path) -> Result<Vec<String>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.context("the skipped tests")?,
    };
    let mut tests: Vec<String> = text.lines().map(str::to_owned).collect();
    tests.sort_unstable();
    tests.dedup();
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_was_skipped_is_noted_once() {
        let file = std::env::temp_dir().join(format!("skipped-{}", Uuid::new_v4()));
        assert_eq!(noted(&file).unwrap(), Vec::<String>::new());
        for test in ["two", "one", "two"] {
            note_in(&file, test).unwrap();
        }
        assert_eq!(noted(&file).unwrap(), ["one", "two"]);
        fs::remove_file(file).unwrap();
    }
}
