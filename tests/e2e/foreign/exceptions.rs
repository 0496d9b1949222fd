//! Printed commands that are not run as they are, each with its reason and what stands in for it.

use anyhow::{Context, Result, bail, ensure};
use testkit::{Profile, state};
use tokio::process::Command;

use super::printed::Printed;

/// What proves a command that is not run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Proof {
    /// The command takes these arguments: with `--help` behind them it helps, with a wrong one it would refuse.
    Help,
    /// The package and its tests are there.
    Tests,
}

/// The whole list: the start of a command, why it is not run, and what proves it.
const EXCEPTIONS: [(&str, &str, Proof); 9] = [
    ("cargo xtask up", "this test runs one", Proof::Help),
    ("cargo xtask down", "it would end this test's `up`", Proof::Help),
    ("cargo xtask demo", "it starts another whole system; `.ci/run` runs it", Proof::Help),
    ("cargo xtask test", "it runs this test", Proof::Help),
    ("cargo xtask check", "it takes minutes; `.ci/run` runs it", Proof::Help),
    ("cargo xtask tools", "it downloads; `.ci/run` runs it", Proof::Help),
    ("cargo xtask bench", "it needs the machine for itself", Proof::Help),
    ("cargo xtask sweep", "it takes minutes; a small one is among the fault tests", Proof::Help),
    ("cargo test", "`cargo xtask test` runs the same tests", Proof::Tests),
];

/// How a command is proved instead of run, if it is on the list.
pub(super) fn proof_of(command: &str) -> Option<Proof> {
    let starts = |start: &str| {
        command.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    EXCEPTIONS.iter().find(|(start, ..)| starts(start)).map(|(.., proof)| *proof)
}

/// Fails when an exception is for a command that is printed nowhere.
pub(super) async fn none_is_stale() -> Result<()> {
    for (start, ..) in EXCEPTIONS.iter().filter(|(start, ..)| start.starts_with("cargo xtask ")) {
        is_known(&Printed { place: "the list of exceptions".to_owned(), text: (*start).to_owned() }).await?;
    }
    Ok(())
}

/// Proves a command of the list.
pub(super) async fn prove(proof: Proof, printed: &Printed) -> Result<()> {
    let words: Vec<&str> = printed.command().split_whitespace().collect();
    let (command, args) = match (proof, words.as_slice()) {
        (Proof::Help, ["cargo", "xtask", args @ ..]) => {
            (testkit::task(Profile::Debug.binary("xtask")?), [args, &["--help"]].concat())
        }
        (Proof::Tests, ["cargo", "test", "-p", package, ..]) => (testkit::cargo(), vec!["pkgid", package]),
        _ => bail!("{}: nothing proves `{}`", printed.place, printed.command()),
    };
    let mut command = Command::from(command);
    let output = command.args(args).current_dir(state::workspace()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("{}: {command:?}", printed.place))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: `{}` is no command: {error}", printed.place, printed.command());
    Ok(())
}

/// Fails when the program knows no such subcommand, or the subcommand none of the flags: xtask, a service, `tristore`.
pub(super) async fn is_known(printed: &Printed) -> Result<()> {
    let mut words = printed.command().split_whitespace();
    let program = match words.next() {
        Some("cargo") => words.next(),
        named => named,
    };
    let program = program.with_context(|| format!("{}: no program", printed.place))?;
    // Subcommands of subcommands, and what they are about.
    let (named, flags): (Vec<&str>, Vec<&str>) = {
        let words: Vec<&str> = words.collect();
        let first_flag = words.iter().position(|word| word.starts_with("--")).unwrap_or(words.len());
        (words[..first_flag].to_vec(), words[first_flag..].to_vec())
    };
    ensure!(!named.is_empty(), "{}: no subcommand", printed.place);
    let subcommand = named.join(" ");
    let mut help = Command::from(testkit::tool(Profile::Debug.binary(program)?));
    let output = help.args(&named).arg("--help").kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "{}: {program} knows no `{subcommand}`", printed.place);
    let help = String::from_utf8_lossy(&output.stdout);
    for flag in flags.into_iter().filter(|word| word.starts_with("--")) {
        let flag = flag.split('=').next().unwrap_or(flag);
        ensure!(help.contains(flag), "{}: `{program} {subcommand}` knows no {flag}", printed.place);
    }
    Ok(())
}
