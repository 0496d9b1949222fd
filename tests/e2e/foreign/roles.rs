//! The files with MongoDB's roles, as an operator pastes them.

use anyhow::{Context, Result, ensure};
use testkit::{MongoAdmin, state};

use super::as_printed::{Variables, run};
use super::up::Up;

const FOLDER: &str = "migrations/user/roles";
/// The name that the files are written for, and the one that they are pasted for here.
const NAMES: [&str; 2] = ["user_service", "pasted"];

/// CLAIM: each file makes its role and its user in mongosh as it is printed, and the user then logs in with the password
/// that was typed.
pub(super) async fn are_made_by_their_files(up: &Up) -> Result<()> {
    let secret = |name| std::fs::read_to_string(state::secret_path(&up.folder.join("up"), name));
    let reader = MongoAdmin::new(&secret("mongodb-reader-url")?)?.url("admin");
    let hosts = reader.split_once('@').context("a URL with a user")?.1;
    let admin = format!("mongodb://tristore:{}@{hosts}", secret("mongodb")?);
    for role in ["migrate", "runtime", "reader"] {
        let text = std::fs::read_to_string(state::workspace().join(FOLDER).join(format!("{role}.js")))?;
        let file = up.folder.join(format!("{role}.js"));
        std::fs::write(&file, text.replace(NAMES[0], NAMES[1]))?;
        // There is nobody to type it.
        let typed = "globalThis.passwordPrompt = () => \"word\"";
        let file = testkit::quote::shell(&file.to_string_lossy());
        mongosh(up, &format!("'{admin}' --eval '{typed}' --file {file}")).await?;
        let user = format!("mongodb://{}_{role}:word@{hosts}", NAMES[1]);
        let asked = "EJSON.stringify(db.runCommand({connectionStatus: 1}))";
        let said = mongosh(up, &format!("'{user}' --eval '{asked}'")).await?;
        ensure!(said.contains(&format!("\"role\":\"{}_{role}\"", NAMES[1])), "{role}: {said}");
    }
    Ok(())
}

async fn mongosh(up: &Up, arguments: &str) -> Result<String> {
    let program = testkit::programs::tool("mongosh").context("mongosh is missing")?;
    let program = testkit::quote::shell(&program.to_string_lossy());
    // It waits for ever when it cannot write its log into the home folder.
    let home = testkit::quote::shell(&up.folder.to_string_lossy());
    let output = run(&format!("HOME={home} {program} --norc --quiet {arguments}"), &Variables::new()).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "mongosh does not take it: {error}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
