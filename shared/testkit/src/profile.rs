//! Building the programs of the workspace, and where they are then. Only cargo knows that: its folders may be set by the
//! environment and by configuration files of the user.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::command::cargo;
use crate::state;

/// How the binaries are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Profile {
    /// Quick to build.
    #[default]
    Debug,
    /// As shipped.
    Release,
    /// Quick to build, with fault points and flaws: `shared/fault`.
    Faults,
}

/// What this process has built.
static BUILT: Mutex<BTreeMap<(Profile, String), PathBuf>> = Mutex::new(BTreeMap::new());

impl Profile {
    /// The profile that this program was built with itself: tests that are built for release start what is shipped.
    #[must_use]
    pub const fn own() -> Self {
        if cfg!(debug_assertions) { Self::Debug } else { Self::Release }
    }

    /// The path of a binary of the workspace that this process has built.
    ///
    /// # Errors
    /// When it has not.
    pub fn binary(self, name: &str) -> Result<PathBuf> {
        let built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        let found = built.get(&(self, name.to_owned())).cloned();
        found.with_context(|| format!("{name} has not been built for profile {self:?}"))
    }

    /// Builds packages of the workspace, which is quick when nothing has changed. Cargo's progress goes to standard
    /// error.
    ///
    /// # Errors
    /// When the build fails.
    pub async fn build(self, packages: &[&str]) -> Result<()> {
        let packages = packages.iter().flat_map(|package| ["--package", package]);
        let mut command = Command::from(cargo());
        command.args(["build", "--message-format=json-render-diagnostics"]).args(packages);
        match self {
            Self::Debug => {}
            Self::Release => {
                command.arg("--release");
            }
            Self::Faults => {
                // Cargo has one place for a binary, whatever its features, and the one without features belongs there.
                // Only the final binaries get a place of their own; their dependencies are built once for all profiles.
                let Folders { target_directory, build_directory } = Folders::ask().await?;
                command.args(["--features", "faults", "--target-dir"]).arg(target_directory.join("faults"));
                command.env("CARGO_BUILD_BUILD_DIR", build_directory.unwrap_or(target_directory));
            }
        }
        let said = said_by(command).await?;
        let built = executables(&said).map(|(name, path)| ((self, name), path));
        BUILT.lock().unwrap_or_else(PoisonError::into_inner).extend(built);
        Ok(())
    }

    /// Takes programs of the workspace as they were built before, by whomever, in cargo's usual place.
    ///
    /// # Errors
    /// When one is not there.
    pub async fn take_built(self, programs: &[&str]) -> Result<()> {
        let folder = match self {
            Self::Debug => "debug",
            Self::Release => "release",
            Self::Faults => "faults/debug",
        };
        let folder = Folders::ask().await?.target_directory.join(folder);
        for name in programs {
            let path = folder.join(name);
            ensure!(path.is_file(), "{} is missing: it was not built before", path.display());
            BUILT.lock().unwrap_or_else(PoisonError::into_inner).insert((self, (*name).to_owned()), path);
        }
        Ok(())
    }
}

/// The folders that cargo uses for this workspace.
#[derive(Debug, Deserialize)]
struct Folders {
    target_directory: PathBuf,
    /// Cargo before 1.91 has none of its own.
    build_directory: Option<PathBuf>,
}

impl Folders {
    async fn ask() -> Result<Self> {
        let mut command = Command::from(cargo());
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        serde_json::from_str(&said_by(command).await?).context("reading what cargo says of the workspace")
    }
}

/// What cargo prints on standard output, run in the workspace.
async fn said_by(mut command: Command) -> Result<String> {
    command.current_dir(state::workspace()).stdout(Stdio::piped()).kill_on_drop(true);
    let output =
        command.spawn().context("running cargo")?.wait_with_output().await.context("running cargo")?;
    ensure!(output.status.success(), "cargo failed: its message is above");
    String::from_utf8(output.stdout).context("reading what cargo says")
}

/// The programs that cargo says it has built, or found built.
fn executables(messages: &str) -> impl Iterator<Item = (String, PathBuf)> {
    #[derive(Deserialize)]
    struct Artifact {
        executable: PathBuf,
    }
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    artifacts.filter_map(|artifact| {
        let name = Path::new(&artifact.executable).file_name()?.to_str()?.to_owned();
        Some((name, artifact.executable))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_where_cargo_says() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"api"},"executable":null,"fresh":true}
{"reason":"compiler-artifact","target":{"name":"tristore"},"executable":"/José's/x86_64/debug/tristore"}
{"reason":"build-finished","success":true}
"#;
        let found: Vec<_> = executables(messages).collect();
        assert_eq!(found, [("tristore".to_owned(), PathBuf::from("/José's/x86_64/debug/tristore"))]);
    }

    #[test]
    fn a_program_that_was_not_built_is_named() {
        let error = Profile::Release.binary("no-such-program").unwrap_err().to_string();
        assert_eq!(error, "no-such-program has not been built for profile Release");
    }
}
