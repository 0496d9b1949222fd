//! Foreign tools that some tests use.

use std::path::PathBuf;

use testkit::{env, programs};

/// Where a tool is that `cargo xtask tools` installs. Without it a test is skipped, by name, on somebody's machine,
/// and fails in CI.
///
/// # Panics
/// In CI, when the tool is missing.
#[must_use]
pub fn find(name: &str, test: &str) -> Option<PathBuf> {
    let cached = programs::cache_folder().ok().map(|cache| cache.join("python/bin").join(name));
    let found = cached.filter(|path| path.exists()).or_else(|| programs::on_path(name));
    if found.is_none() {
        assert!(env::var("CI").is_none(), "{test} needs {name}: run `cargo xtask tools`");
        eprintln!("skipped: {test} needs {name}: run `cargo xtask tools`");
    }
    found
}
