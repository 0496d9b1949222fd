//! The one place of this crate that reads the environment.

use std::path::PathBuf;

/// The value of an environment variable; `None` when it is unset or empty.
#[must_use]
pub fn var(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.into_string().ok()?;
    (!value.is_empty()).then_some(value)
}

/// A path from the environment; `None` when the variable is unset or empty.
#[must_use]
pub fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The names of all variables that are set, except those that are not valid UTF-8.
#[must_use]
pub fn names() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
}

/// The folders of `PATH`.
pub(crate) fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|value| std::env::split_paths(&value).collect()).unwrap_or_default()
}
