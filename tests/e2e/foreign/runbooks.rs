//! What the pages for alerts tell an operator to type. Nothing of it is run: it is about a system that is broken.

use std::fs;

use anyhow::{Context, Result, ensure};
use testkit::{Profile, state};

use super::exceptions::is_known;
use super::printed::{PROGRAMS, Printed};

/// CLAIM: whoever is woken by an alert types no command of ours that does not exist, and no flag.
#[tokio::test]
async fn every_command_on_the_page_of_an_alert_is_one() -> Result<()> {
    tests::build(Profile::Debug).await?;
    let folder = state::workspace().join("deploy/observability/runbooks");
    let (mut problems, mut known) = (Vec::new(), 0);
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let place = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for text in commands(&fs::read_to_string(&path)?) {
            known += 1;
            problems.extend(is_known(&Printed { place: place.clone(), text }).await.err());
        }
    }
    let problems: Vec<String> = problems.iter().map(|problem| format!("{problem:#}")).collect();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    ensure!(known > 0, "no page names a command");
    Ok(())
}

/// Our commands on a page: in its text, in a line of a fence, and behind the `--` of what runs them elsewhere.
fn commands(page: &str) -> Vec<String> {
    let ours = |text: &str| {
        let text = text.split_once(" -- /").map_or(text, |(_, inside)| inside);
        let is_ours = PROGRAMS.iter().any(|program| text.starts_with(program)) && !text.contains('<');
        is_ours.then(|| text.split_once(" | ").map_or(text, |(first, _)| first).to_owned())
    };
    let mut found = Vec::new();
    for (number, part) in page.split("```").enumerate() {
        if number % 2 == 1 {
            found.extend(part.lines().filter_map(ours));
        } else {
            // A line may end in the middle of a command.
            let text = part.split_whitespace().collect::<Vec<_>>().join(" ");
            found.extend(text.split('`').skip(1).step_by(2).filter_map(ours));
        }
    }
    found
}

#[test]
fn every_command_of_a_page_is_found() {
    let page = "Type `tristore\n   doctor`, `GET` or `psql`.\n```sh\nkubectl exec x -- /order-service doctor --only a\ntristore audit | cat\ncurl x\n```\n";
    assert_eq!(commands(page), ["tristore doctor", "order-service doctor --only a", "tristore audit"]);
}
