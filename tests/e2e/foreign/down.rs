//! `cargo xtask down` after an `up` that could stop nothing.

use anyhow::{Result, ensure};

use super::up::Up;

/// CLAIM: what an `up` that was killed left running is stopped by `down`, and its data is deleted when that is asked for.
#[tokio::test]
async fn down_stops_what_a_killed_up_left() -> Result<()> {
    let mut up = Up::start().await?;
    up.kill().await?;
    let left = up.running()?;
    let programs = ["user-service", "order-service", "session-service", "postgres", "redis-server"];
    for program in programs {
        ensure!(left.iter().any(|line| line.contains(program)), "{program} ended with up: {left:?}");
    }

    let said = up.down(&[]).await?;
    for service in ["user-service", "order-service", "session-service"] {
        ensure!(said.lines().any(|line| line.contains("ended") && line.contains(service)), "{said}");
    }
    ensure!(said.contains("everything is down"), "{said}");
    let left = up.running()?;
    ensure!(left.is_empty(), "still running: {left:?}");
    ensure!(up.folder.join("up").exists(), "the data is kept");

    let said = up.down(&["--delete-data"]).await?;
    ensure!(!said.contains("ended") && said.contains("everything is down"), "{said}");
    ensure!(!up.folder.join("up").exists(), "the data is deleted");
    ensure!(up.down(&[]).await?.contains("nothing runs"));
    std::fs::remove_dir_all(&up.folder)?;
    Ok(())
}
