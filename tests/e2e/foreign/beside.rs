//! A second `cargo xtask up` beside a first one.

use anyhow::{Result, ensure};

use super::up::{Up, new_folder};

/// CLAIM: an `up` that cannot run beside another says at once what is in its way and what to do. One whose state folder
/// was removed under it is in nobody's way: the next `up` ends it with all that it runs, and says so.
#[tokio::test]
async fn a_second_up_says_what_is_in_its_way_or_ends_it() -> Result<()> {
    let mut first = Up::start().await?;

    let said = first.refused(&first.folder).await?;
    for words in
        [&format!("is in use by process {}", first.pid()?), "cargo xtask down --state '", "--port-base"]
    {
        ensure!(said.contains(words), "no {words} in {said}");
    }
    let other = new_folder();
    let said = first.refused(&other).await?;
    std::fs::remove_dir_all(&other)?;
    let folder = first.folder.join("up").display().to_string();
    for words in [
        "user service: port ",
        "taken by user-service (process ",
        &folder,
        "PostgreSQL: port ",
        "--port-base",
    ] {
        ensure!(said.contains(words), "no {words} in {said}");
    }
    ensure!(!said.contains("backtrace") && !said.contains("==> building"), "{said}");

    std::fs::remove_dir_all(&first.folder)?;
    let second = first.start_again().await?;
    let ended = format!("ended xtask (process {},", first.pid()?);
    ensure!(second.printed().contains(&ended), "no {ended} in {}", second.printed());
    first.ended().await?;
    second.stop().await
}
