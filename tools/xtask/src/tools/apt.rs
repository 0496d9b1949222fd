//! Packages of Debian and Ubuntu, installed as root or with sudo; for anybody else, the line to run.

use std::io::{IsTerminal, stdin};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use testkit::programs::on_path;

use super::run_installer;
use crate::out;

/// What building the MongoDB stand-in needs and this machine lacks.
pub(super) fn missing_for_build() -> Vec<&'static str> {
    let wanted = [
        ("cc", "build-essential"),
        ("c++", "build-essential"),
        ("make", "build-essential"),
        ("cmake", "cmake"),
    ];
    let mut packages: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| on_path(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

/// Installs packages; nothing to do for none.
///
/// PostgreSQL's and Redis' packages may start servers of their own. We leave those alone: ours are private.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    let by_hand = format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {list}");
    if on_path("apt-get").is_none() {
        bail!("this is no Debian or Ubuntu; install these, or what corresponds to them: {list}");
    }
    let Some(prefix) = rights() else { bail!("run this, then try again:\n  {by_hand}") };
    out::step(format_args!("installing {list}"));
    for args in [
        vec!["update", "-qq"],
        [vec!["install", "-y", "-qq", "--no-install-recommends"], packages.to_vec()].concat(),
    ] {
        let mut words = prefix.iter().copied().chain(["apt-get"]).chain(args);
        let mut command = Command::new(words.next().unwrap_or("apt-get"));
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        run_installer(&mut command)?;
    }
    Ok(())
}

/// How to become root: not at all when we are, by sudo when it can ask or need not ask; else nothing.
fn rights() -> Option<&'static [&'static str]> {
    if nix::unistd::Uid::effective().is_root() {
        return Some(&[]);
    }
    on_path("sudo")?;
    let silent =
        Command::new("sudo").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let may = stdin().is_terminal() || silent.is_ok_and(|status| status.success());
    may.then_some(&["sudo"])
}
