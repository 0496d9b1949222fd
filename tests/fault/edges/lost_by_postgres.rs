//! Claim: when PostgreSQL has committed and its acknowledgement gets lost, callers hear that the outcome is unknown, and
//! workers look again. Repeating is safe: one effect, and the answer that the first call would have had.

use anyhow::{Context, Result};
use api::order::v1::{OrderItem, PlaceOrderRequest, order::State};
use testkit::ServiceName;
use testkit::client::request_id;
use testkit::proxy::{Acknowledgements, Edge, Then};
use tests::people::{Market, PRICE, credit, earned, order, pay};

use super::ground::{Ground, answered, bitten, is_unknown};

const POSTGRES: Edge = Edge::Database(ServiceName::Order);

fn one_of(market: &Market) -> PlaceOrderRequest {
    let item = OrderItem { product_id: market.product_id.clone(), quantity: 1, ..OrderItem::default() };
    PlaceOrderRequest { request_id: request_id(), items: vec![item] }
}

#[tokio::test]
async fn an_order_whose_commit_was_not_acknowledged_is_placed_once() -> Result<()> {
    let ground = Ground::take().await?;
    let market = ground.market(0, 10).await?;
    let buyer = ground.caller(&market.buyer)?;
    for (placed_before, then) in [(0, Then::Reset), (1, Then::Silence)] {
        let request = one_of(&market);
        let lost = ground.edge(POSTGRES).lose(Acknowledgements::of("INSERT INTO orders").then(then));
        let unknown =
            buyer.orders().place_order(request.clone()).await.expect_err("nobody told order service");
        is_unknown(&unknown)?;
        assert_eq!(lost.count(), 1, "{then:?}");
        let first = answered(async || buyer.orders().place_order(request.clone()).await).await?;
        let again = answered(async || buyer.orders().place_order(request.clone()).await).await?;
        assert_eq!(first, again);
        assert_eq!(market.stock().await?, 9 - placed_before);
    }
    ground.settled().await
}

/// The text in the statements of the transaction whose acknowledgement is lost, and whose work it is.
const STEPS_OF_A_PAYMENT: [(&str, &str); 5] = [
    ("the start of the transfer", "INSERT INTO transfers"),
    ("the decision", "UPDATE transfers\n             SET state"),
    ("the consumer's mark", "UPDATE consumer_mark SET epoch"),
    ("the stamp", "previous = stamp.previous"),
    ("the note of what was published", "UPDATE outbox_lease SET published_through"),
];

#[tokio::test]
async fn a_payment_completes_once_whichever_commit_of_it_is_not_acknowledged() -> Result<()> {
    let ground = Ground::take().await?;
    let steps = 2 * STEPS_OF_A_PAYMENT.len() as i64;
    let market = ground.market(steps * PRICE, steps).await?;
    let buyer = ground.caller(&market.buyer)?;
    let mut paid = 0;
    for (step, text) in STEPS_OF_A_PAYMENT {
        for then in [Then::Reset, Then::Silence] {
            let placed = market.order(1).await?;
            let request = pay(&placed);
            let lost = ground.edge(POSTGRES).lose(Acknowledgements::of(text).then(then));
            let first = answered(async || buyer.transfers().pay_order(request.clone()).await)
                .await
                .with_context(|| format!("{step}, {then:?}"))?;
            bitten(&lost).await.with_context(|| format!("{step}, {then:?}"))?;
            ground.edge(POSTGRES).heal();
            let again = answered(async || buyer.transfers().pay_order(request.clone()).await).await?;
            assert_eq!(first.transfer, again.transfer, "{step}");
            paid += 1;
            assert_eq!(order(&market.buyer, &placed.id).await?.state(), State::Paid, "{step}");
            let sums = (credit(&market.buyer).await?, earned(&market.seller).await?);
            assert_eq!(sums, ((steps - paid) * PRICE, paid * PRICE), "{step}");
        }
    }
    ground.settled().await
}
