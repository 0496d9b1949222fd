//! What goes on while one replica is paused: somebody orders and pays, as the interface tells callers to.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testkit::wait_until;
use tests::people::{Market, PRICE, credit, pay};
use tonic::{Code, Status};

use super::pair::{SOON, Stopped};

/// A payment needs each worker of the service several times: all leases have changed hands after the first.
const PAYMENTS: i64 = 5;
const PATIENCE: Duration = Duration::from_secs(5);

/// Places and pays orders at the replica that goes on; each payment has its effect once. The first one comes to its end
/// once all leases have changed hands, and a call that began before has run out of time.
pub(super) async fn traffic(market: &Market, stopped: &Stopped<'_>, takeover: Duration) -> Result<()> {
    let caller = stopped.caller(&market.buyer)?.within(PATIENCE);
    let buyer = testkit::client::Person { caller: caller.clone(), ..market.buyer.clone() };
    let had = credit(&buyer).await?;
    let first = stopped.taken_over("the first payment", takeover + PATIENCE, async || {
        order_and_pay(market, stopped).await.map_err(|error| format!("{error:#}"))
    });
    first.await?;
    for _ in 1..PAYMENTS {
        order_and_pay(market, stopped).await?;
    }
    assert_eq!(had - credit(&buyer).await?, PAYMENTS * PRICE);
    Ok(())
}

async fn order_and_pay(market: &Market, stopped: &Stopped<'_>) -> Result<()> {
    let caller = stopped.caller(&market.buyer)?.within(PATIENCE);
    let request = market.order_request(1);
    let placed = ends("an order", async || caller.orders().place_order(request.clone()).await).await?;
    let request = pay(&placed.into_inner().order.context("an order")?);
    ends("a payment", async || caller.transfers().pay_order(request.clone()).await).await.map(drop)
}

/// Repeats a call whose outcome is unknown.
async fn ends<T>(what: &str, call: impl AsyncFn() -> Result<T, Status>) -> Result<T> {
    let ended = wait_until(SOON, what, async || match call().await {
        Err(status) if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) => Err(status),
        ended => Ok(ended),
    });
    Ok(ended.await??)
}
