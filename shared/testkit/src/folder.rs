//! Copies of the data folders of stopped servers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::tool;

/// A physical backup: a server's data folder as it was.
#[derive(Debug)]
pub struct Backup {
    folder: PathBuf,
}

impl Backup {
    /// A new folder beside `data`, not there yet.
    pub(crate) fn beside(data: &Path) -> Self {
        let name = format!("backup-{}", uuid::Uuid::new_v4().simple());
        Self { folder: data.with_file_name(name) }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fills it from the data folder of a server that does not run.
    pub(crate) async fn fill(&self, data: &Path) -> Result<()> {
        copy(data.to_owned(), self.folder.clone()).await
    }

    /// Makes the data folder of a server that does not run what it was.
    pub(crate) async fn put_back(&self, data: &Path) -> Result<()> {
        std::fs::remove_dir_all(data).with_context(|| format!("removing {}", data.display()))?;
        copy(self.folder.clone(), data.to_owned()).await
    }
}

/// With the owners and rights of everything in it.
async fn copy(from: PathBuf, to: PathBuf) -> Result<()> {
    let copying = move || {
        let output = tool("cp").arg("-a").arg(&from).arg(&to).output().context("running cp")?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "copying {}: {}", from.display(), error.trim());
        Ok(())
    };
    tokio::task::spawn_blocking(copying).await?
}
