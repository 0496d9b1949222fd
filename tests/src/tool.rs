//! Foreign tools that some tests use.

use std::path::PathBuf;

use testkit::{env, programs, skipped};

/// Where a tool is that `cargo xtask tools` installs. Without it a test is skipped, by name, on somebody's machine,
/// and fails in CI.
///
/// # Panics
/// In CI, when the tool is missing; when a skip cannot be noted.
#[must_use]
pub fn find(name: &str, test: &str) -> Option<PathBuf> {
    or_skip(programs::tool(name), name, test)
}

/// The python that has grpcio, as [`find`].
///
/// # Panics
/// In CI, when it is missing; when a skip cannot be noted.
#[must_use]
pub fn python(test: &str) -> Option<PathBuf> {
    let kept = programs::cache_folder().ok().map(|cache| cache.join("python/bin/python"));
    or_skip(kept.filter(|path| path.exists()), "python with grpcio", test)
}

fn or_skip(found: Option<PathBuf>, name: &str, test: &str) -> Option<PathBuf> {
    if found.is_none() {
        assert!(env::var("CI").is_none(), "{test} needs {name}: run `cargo xtask tools`");
        eprintln!("skipped: {test} needs {name}: run `cargo xtask tools`");
        skipped::note(test).expect("a skipped test can be noted");
    }
    found
}
