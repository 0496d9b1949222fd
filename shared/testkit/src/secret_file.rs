//! A secret in a file that may be renewed, as the volume of a Kubernetes Secret has it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// A file with a secret. It is removed when this is dropped.
#[derive(Debug)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// One of this name, which need be no other's in this process.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(name: &str, content: &str) -> Result<Self> {
        let file = Self(std::env::temp_dir().join(format!("tristore-{}-{name}", std::process::id())));
        file.renew(content)?;
        Ok(file)
    }

    /// What names it in a setting.
    #[must_use]
    pub fn setting(&self) -> String {
        format!("file:{}", self.0.display())
    }

    /// Puts another content in its place. Whoever reads it meanwhile sees the old one or the new one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn renew(&self, content: &str) -> Result<()> {
        let new = self.0.with_extension("new");
        std::fs::write(&new, content).context("writing a secret")?;
        std::fs::rename(&new, &self.0).context("putting a secret in its place")
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        // What is left is one small file with the login of a test.
        let _gone_already = std::fs::remove_file(&self.0);
    }
}
