//! The manifests in `deploy/kubernetes`: what kustomize makes of them, and what other programs say of that.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::state::workspace;
use uuid::Uuid;

use crate::program::{run_in_workspace, tool};

const OVERLAYS: [&str; 3] = ["development", "test", "production"];
/// The oldest version that the manifests are for, and the newest that they are checked with.
const KUBERNETES: [&str; 2] = ["1.33", "1.37"];

/// Compares every overlay with the schemas of Kubernetes. It has none of the operators' kinds: the API server checks those.
pub(crate) async fn validate() -> Result<()> {
    let rendered = Rendered::all(&OVERLAYS).await?;
    for version in KUBERNETES {
        let mut command = tool("kubernetes-validate")?;
        command
            .args(["--strict", "--quiet", "--no-warn", "--kubernetes-version", version])
            .args(rendered.files());
        run_in_workspace(command).await.with_context(|| format!("Kubernetes {version}"))?;
    }
    Ok(())
}

/// Has checkov look for what is unsafe. What it is to leave out, and why, is in `.checkov.yaml`.
pub(crate) async fn scan() -> Result<()> {
    let rendered = Rendered::all(&OVERLAYS).await?;
    let mut command = tool("checkov")?;
    command.arg("--config-file").arg(folder().join(".checkov.yaml"));
    for file in rendered.files() {
        command.arg("--file").arg(file);
    }
    run_in_workspace(command).await
}

/// The folder of the manifests.
pub(crate) fn folder() -> PathBuf {
    workspace().join("deploy/kubernetes")
}

/// Overlays as kustomize makes them, in files that are gone with this.
pub(crate) struct Rendered {
    folder: PathBuf,
    overlays: Vec<&'static str>,
}

impl Rendered {
    /// Those of these names.
    ///
    /// # Errors
    /// When kustomize is missing, or refuses one of them.
    pub(crate) async fn all(overlays: &[&'static str]) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("tristore-manifests-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let rendered = Self { folder, overlays: overlays.to_vec() };
        for (overlay, file) in overlays.iter().zip(rendered.files()) {
            rendered.one(overlay, &file).await.with_context(|| format!("the overlay {overlay}"))?;
        }
        Ok(rendered)
    }

    async fn one(&self, overlay: &str, file: &Path) -> Result<()> {
        let mut command = tool("kustomize")?;
        command.arg("build").arg(self::folder().join("overlays").join(overlay)).arg("--output").arg(file);
        let output = command.kill_on_drop(true).output().await.context("running kustomize")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// A file for each, in the same order.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.overlays.iter().map(|overlay| self.folder.join(format!("{overlay}.yaml"))).collect()
    }
}

impl Drop for Rendered {
    fn drop(&mut self) {
        // Files for temporary use may stay behind where they cannot be removed.
        let _stays = std::fs::remove_dir_all(&self.folder);
    }
}
