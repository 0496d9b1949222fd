//! Claim: when connections of any edge are reset in the middle of traffic, some callers get an unknown outcome, and
//! nothing else happens: a call that is repeated with the same request id has one effect and one answer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::proxy::{Direction, Edge};
use testkit::wait_until;

use super::ground::{EDGES, SOON, bitten};
use super::traffic::buying_survives;

/// So many bytes end in the middle of a message, whatever the protocol.
const BYTES: usize = 77;

#[tokio::test]
async fn buying_survives_resets_of_every_connection() -> Result<()> {
    buying_survives(async |ground, traffic| {
        for edge in EDGES {
            let reset = wait_until(SOON, "a connection to reset", async || match ground.edge(edge).reset() {
                0 => Err("there is none"),
                count => Ok(count),
            });
            let count = reset.await.with_context(|| format!("{edge:?}"))?;
            ensure!(count > 0, "{edge:?}");
            traffic.goes_on().await.with_context(|| format!("{edge:?} was reset"))?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn buying_survives_connections_that_break_in_the_middle_of_a_message() -> Result<()> {
    buying_survives(async |ground, traffic| {
        for edge in EDGES {
            for direction in [Direction::ToServer, Direction::ToClient] {
                let cut = ground.edge(edge).cut_after(direction, BYTES);
                bitten(&cut).await.with_context(|| format!("{edge:?}, {direction:?}"))?;
            }
            traffic.goes_on().await.with_context(|| format!("{edge:?} was cut"))?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn buying_survives_refused_and_slow_connections() -> Result<()> {
    buying_survives(async |ground, traffic| {
        for edge in EDGES {
            let refused = ground.edge(edge).refuse();
            bitten(&refused).await.with_context(|| format!("{edge:?}"))?;
            ground.edge(edge).heal();
            traffic.goes_on().await.with_context(|| format!("{edge:?} was refused"))?;
        }
        let slow: Vec<_> =
            EDGES.iter().map(|edge| (edge, ground.edge(*edge).delay(Duration::from_millis(5)))).collect();
        traffic.goes_on().await.context("everything was slow")?;
        for (edge, bites) in slow {
            let is_database = matches!(edge, Edge::Database(_));
            ensure!(!is_database || bites.count() > 0, "{edge:?} was not slow");
        }
        Ok(())
    })
    .await
}
