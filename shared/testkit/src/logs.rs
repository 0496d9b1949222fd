//! The log files of started processes, as evidence.
//!
//! A test marks the end of a log, does something, and reads what was written since. No background task follows the
//! file: reading it again is enough.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

const LONGEST_READ: u64 = 64 * 1024 * 1024;

/// The log file of one process. It need not exist yet.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
}

/// A place in a log, to read on from later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogMark(u64);

impl Log {
    /// The log at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The present end of the log.
    #[must_use]
    pub fn mark(&self) -> LogMark {
        LogMark(self.path.metadata().map(|data| data.len()).unwrap_or_default())
    }

    /// The lines written since `mark` (64 MiB of them at most).
    #[must_use]
    pub fn lines_since(&self, mark: LogMark) -> Vec<String> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(mark.0))?;
            file.take(LONGEST_READ).read_to_end(&mut bytes)
        });
        // A log that cannot be read has no lines: its process may not have been started.
        if read.is_err() {
            return Vec::new();
        }
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    /// All lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines_since(LogMark::default())
    }

    /// The last `count` lines as one text, for error messages.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// The lines at level ERROR since `mark`, of services that log as text or as JSON.
    #[must_use]
    pub fn errors_since(&self, mark: LogMark) -> Vec<String> {
        self.lines_since(mark).into_iter().filter(|line| is_error(line)).collect()
    }
}

fn is_error(line: &str) -> bool {
    // In text, codes for the colour stand beside the level; in JSON, quotes do.
    line.contains("\"level\":\"ERROR\"")
        || line.split_whitespace().take(3).any(|word| {
            let word = word.trim_end_matches("\u{1b}[0m").trim_start_matches("\u{1b}[31m");
            word == "ERROR"
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_lines_are_found_in_text_colour_and_json() {
        for line in [
            "2026-01-01T00:00:00Z ERROR order_service: lost",
            "2026-01-01T00:00:00Z \u{1b}[31mERROR\u{1b}[0m order_service: lost",
            r#"{"timestamp":"2026","level":"ERROR","fields":{}}"#,
        ] {
            assert!(is_error(line), "{line}");
        }
        assert!(!is_error("2026-01-01T00:00:00Z  INFO order_service: said ERROR, all is well"));
    }

    #[test]
    fn reading_goes_on_from_a_mark() {
        let path = std::env::temp_dir().join(format!("testkit-log-{}", uuid::Uuid::new_v4()));
        let log = Log::new(&path);
        assert!(log.lines().is_empty());
        std::fs::write(&path, "one\n").unwrap();
        let mark = log.mark();
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(log.lines_since(mark), ["two", "three"]);
        assert_eq!(log.tail(2), "two\nthree");
        std::fs::remove_file(&path).unwrap();
    }
}
