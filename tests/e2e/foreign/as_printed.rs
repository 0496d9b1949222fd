//! One `cargo xtask up`, and everything that is printed for people to run against it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::{Profile, quote, shell, state};
use tests::tool;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::books;
use super::exceptions::{is_known, none_is_stale, proof_of, prove};
use super::odd_shell;
use super::printed::{Printed, Session, in_readme, mentioned, sessions};
use super::roles;
use super::up::Up;

const WITHIN: Duration = Duration::from_secs(600);
const TOOLS: [&str; 2] = ["grpcurl", "mongosh"];

/// Variables of a shell.
pub(super) type Variables = HashMap<OsString, OsString>;

/// CLAIM: everything that `up`, a README or a comment of a proto file prints works as it is printed. A reader who
/// pastes it from top to bottom needs to know nothing else, and what `up` prints works in an odd shell too. (Here `localhost:5005x` are the ports of this `up`, so
/// that it can run beside another.)
#[tokio::test]
async fn every_command_in_the_documents_works_as_it_is_printed() -> Result<()> {
    let name = "every_command_in_the_documents_works_as_it_is_printed";
    if TOOLS.iter().any(|program| tool::find(program, name).is_none()) {
        return Ok(());
    }
    tests::build(Profile::Debug).await?;
    let up = Arc::new(Up::start().await?);
    // As a task, so that `up` is stopped whatever becomes of it.
    let mut reader = JoinSet::new();
    reader.spawn(read_everything(Arc::clone(&up)));
    let read = reader.join_next().await.context("the reader ends")?;
    let stopped = Arc::into_inner(up).context("nobody else has it")?.stop().await;
    read?.and(stopped)
}

async fn read_everything(up: Arc<Up>) -> Result<()> {
    let variables = paste(&up).await?;
    books::are_told_alike_by_services_and_databases(&up, &variables).await?;
    roles::are_made_by_their_files(&up).await?;

    let sessions = sessions(&state::workspace())?;
    none_is_stale().await?;
    let mut problems = Vec::new();
    for session in &sessions {
        problems.extend(follow(session, Some((&up, &variables))).await.err());
    }
    for printed in mentioned(&state::workspace())? {
        problems.extend(is_known(&printed).await.err());
    }
    let problems: Vec<String> = problems.iter().map(|problem| format!("{problem:#}")).collect();
    ensure!(problems.is_empty(), "{}", problems.join("\n\n"));
    Ok(())
}

/// TEETH: a README is caught when it prints something that does not exist, in each of the ways that this can happen.
#[tokio::test]
async fn a_readme_with_a_command_that_does_not_work_is_caught() -> Result<()> {
    tests::build(Profile::Debug).await?;
    Profile::Debug.build(&["xtask"]).await?;
    for (readme, found_out) in [
        ("```sh\ntrue\nfrobnicate --all   # no such program\n```", "README.md:3"),
        ("```sh\nfalse\ntrue\n```", "README.md:2"),
        ("```sh\necho \"$NOBODY_DEFINES_THIS\"\n```", "NOBODY_DEFINES_THIS"),
        ("```sh\ncargo xtask demo --on-the-moon\n```", "--on-the-moon"),
        ("```sh\ncargo test -p no-such-package\n```", "no-such-package"),
    ] {
        let commands = in_readme("README.md", readme)?;
        let session = Session { name: "made up".to_owned(), commands };
        let problem = follow(&session, None).await.err().with_context(|| format!("unseen: {readme}"))?;
        assert!(format!("{problem:#}").contains(found_out), "{problem:#}");
    }
    let printed = |text: &str| Printed { place: "README.md:1".to_owned(), text: text.to_owned() };
    for (mentioned, found_out) in [
        ("cargo xtask fly", "README.md:1: xtask knows no `fly`"),
        ("cargo xtask up --fly", "README.md:1: `xtask up` knows no --fly"),
        ("tristore fly", "README.md:1: tristore knows no `fly`"),
    ] {
        let unknown = is_known(&printed(mentioned)).await.err().with_context(|| mentioned.to_owned())?;
        assert_eq!(unknown.to_string(), found_out);
    }
    Ok(())
}

/// Pastes the lines that `up` prints, checks what they did, and gives the variables that they set.
async fn paste(up: &Up) -> Result<Variables> {
    let kept = up.folder.join("variables");
    let to = quote::shell(kept.to_str().context("a path of text")?);
    let script = format!("set -aeu\n{}\nenv -0 > {to}\n", up.lines()?);
    let output = run(&script, &in_odd_shell(&Variables::new())).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));

    for service in ["user.v1.WalletService", "order.v1.TransferService", "session.v1.SessionService"] {
        assert!(said.contains(service), "{service} is not listed:\n{said}");
    }
    assert!(said.contains("rpc PayOrder"), "TransferService is not described:\n{said}");
    assert_eq!(said.matches("STATE_COMPLETED").count(), 2, "a payment and a refund complete:\n{said}");
    for (what, balance) in [("Ann's wallet", "\"2600\""), ("Ben's account", "\"2400\"")] {
        assert!(said.contains(balance), "{what} should have {balance}:\n{said}");
    }
    let kept = std::fs::read(kept)?;
    let pairs = kept.split(|byte| *byte == 0).filter_map(|pair| {
        let middle = pair.iter().position(|byte| *byte == b'=')?;
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        Some((text(&pair[..middle]), text(&pair[middle + 1..])))
    });
    let is_odd = |name: &OsString| odd_shell::VARIABLES.iter().any(|(odd, _)| name == odd);
    Ok(pairs.filter(|(name, _)| !is_odd(name)).collect())
}

/// The same variables, in a shell that is set up for everything but this system.
pub(super) fn in_odd_shell(variables: &Variables) -> Variables {
    let odd = odd_shell::VARIABLES.map(|(name, value)| (name.into(), value.into()));
    odd.into_iter().chain(variables.clone()).collect()
}

/// Does what a reader does: the commands in one shell, from top to bottom, those on the list of exceptions proved
/// in another way. Without an `up`, none may need one.
async fn follow(session: &Session, up: Option<(&Up, &Variables)>) -> Result<()> {
    // What the alias `cargo xtask` runs was built by this test: looking each time whether it is fresh, behind whoever
    // else builds, proves nothing. `books` goes by cargo.
    let xtask = Profile::Debug.binary("xtask")?;
    let xtask = quote::shell(xtask.to_str().context("a path of text")?);
    let mut script = format!(
        "set -eu\ncargo() {{ if [ \"$1\" = xtask ]; then shift; {xtask} \"$@\"; else command cargo \"$@\"; fi; }}\n"
    );
    for printed in &session.commands {
        if let Some(proof) = proof_of(printed.command()) {
            prove(proof, printed).await?;
            continue;
        }
        let command = up.map_or_else(|| printed.text.clone(), |(up, _)| up.here(&printed.text));
        script.push_str(&format!("echo 'at {}' >&2\n{command}\n", printed.place));
    }
    let mut variables = up.map(|(_, variables)| variables.clone()).unwrap_or_default();
    if let Some((up, _)) = up {
        // As if this system were the one in the usual place.
        variables.insert("TRISTORE_STATE".into(), up.folder.clone().into());
    }
    let output = run(&script, &variables).await.with_context(|| session.name.clone())?;
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{} does not work as printed:\n{error}\n{said}", session.name);
    Ok(())
}

/// Runs a script in the workspace.
pub(super) async fn run(script: &str, variables: &Variables) -> Result<Output> {
    let mut shell = Command::from(shell());
    shell.args(["-c", script]).envs(variables).current_dir(state::workspace()).kill_on_drop(true);
    timeout(WITHIN, shell.output()).await.context("the commands take too long")?.context("running a shell")
}
