//! A file whose content may be renewed while it is read, as one of a volume of Kubernetes is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A file of its own name. It is removed when this is dropped.
#[derive(Debug)]
pub struct RenewedFile(PathBuf);

impl RenewedFile {
    /// One of this name, which need be no other's in this process.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(name: &str, content: &str) -> Result<Self> {
        let file = Self(std::env::temp_dir().join(format!("tristore-{}-{name}", std::process::id())));
        file.renew(content)?;
        Ok(file)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What names it in a setting that may be in a file.
    #[must_use]
    pub fn setting(&self) -> String {
        format!("file:{}", self.0.display())
    }

    /// Puts another content in its place. Whoever reads it meanwhile sees the old one or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn renew(&self, content: &str) -> Result<()> {
        put(&self.0, content)
    }

    /// Takes it away.
    ///
    /// # Errors
    /// When it is not there.
    pub fn remove(&self) -> Result<()> {
        fs::remove_file(&self.0).with_context(|| format!("removing {}", self.0.display()))
    }
}

impl Drop for RenewedFile {
    fn drop(&mut self) {
        // What is left is one small file of a test.
        let _gone_already = fs::remove_file(&self.0);
    }
}

/// Puts a text in the place of a file at once.
pub(crate) fn put(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text).with_context(|| format!("writing {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("replacing {}", path.display()))
}
