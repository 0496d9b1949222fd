//! Installs packages of Debian and Ubuntu, as root or with sudo. Prints the command to run when neither is possible.

use std::io::{IsTerminal, stdin};
use std::process::Stdio;

use anyhow::{Result, bail};
use testkit::programs::on_path;

use super::run_installer;
use crate::out;

/// The packages that building the MongoDB stand-in needs and that are missing.
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

/// Installs packages; does nothing when there are none.
///
/// PostgreSQL's and Redis' packages may start servers of their own. We do not use those.
pub(super) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    let by_hand = format!("sudo apt-get update && sudo apt-get install -y --no-install-recommends {list}");
    if on_path("apt-get").is_none() {
        bail!("this is not Debian or Ubuntu; install these packages or their equivalents: {list}");
    }
    let Some(prefix) = rights() else { bail!("run this, then try again:\n  {by_hand}") };
    out::step(format_args!("installing {list}"));
    for args in [
        vec!["update", "-qq"],
        [vec!["install", "-y", "-qq", "--no-install-recommends"], packages.to_vec()].concat(),
    ] {
        let mut words = prefix.iter().copied().chain(["apt-get"]).chain(args);
        let mut command = testkit::installer(words.next().unwrap_or("apt-get"));
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        run_installer(&mut command)?;
    }
    Ok(())
}

/// What to put before a command that needs root: nothing when we are root, sudo when it needs no password or can ask
/// for it. `None` when neither is possible.
fn rights() -> Option<&'static [&'static str]> {
    if nix::unistd::Uid::effective().is_root() {
        return Some(&[]);
    }
    on_path("sudo")?;
    let silent =
        testkit::tool("sudo").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let may = stdin().is_terminal() || silent.is_ok_and(|status| status.success());
    may.then_some(&["sudo"])
}
