//! Payments while one acknowledgement after the other gets lost.

use anyhow::{Context, Result};
use api::order::v1::order::State;
use testkit::proxy::{Acknowledgements, Edge, Then};
use tests::people::{PRICE, credit, earned, order, pay};

use super::ground::{Ground, answered, bitten};

/// Pays an order for each of these acknowledgements and each way to lose it on the edge. Every payment must complete
/// once, and its repeat must be told of the same transfer.
pub(crate) async fn pays_once_whatever_is_lost(
    ground: &Ground,
    edge: Edge,
    steps: &[(&str, Acknowledgements)],
) -> Result<()> {
    let payments = 2 * i64::try_from(steps.len())?;
    let market = ground.market(payments * PRICE, payments).await?;
    let buyer = ground.caller(&market.buyer)?;
    let mut paid = 0;
    for (step, acknowledgements) in steps {
        for then in [Then::Reset, Then::Silence] {
            let placed = market.order(1).await?;
            let request = pay(&placed);
            let lost = ground.edge(edge).lose(acknowledgements.clone().then(then));
            let first = answered(async || buyer.transfers().pay_order(request.clone()).await)
                .await
                .with_context(|| format!("{step}, {then:?}"))?;
            bitten(&lost).await.with_context(|| format!("{step}, {then:?}"))?;
            ground.edge(edge).heal();
            let again = answered(async || buyer.transfers().pay_order(request.clone()).await).await?;
            assert_eq!(first.transfer, again.transfer, "{step}");
            paid += 1;
            assert_eq!(order(&market.buyer, &placed.id).await?.state(), State::Paid, "{step}");
            let sums = (credit(&market.buyer).await?, earned(&market.seller).await?);
            assert_eq!(sums, ((payments - paid) * PRICE, paid * PRICE), "{step}");
        }
    }
    ground.settled().await
}
