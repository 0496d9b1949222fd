//! Claim: when PostgreSQL has committed and its acknowledgement gets lost, callers hear that the outcome is unknown, and
//! workers look again. Repeating is safe: one effect, and the answer that the first call would have had.

use anyhow::Result;
use testkit::ServiceName;
use testkit::proxy::{Acknowledgements, Edge, Then};

use super::ground::{Ground, answered, is_unknown};
use super::payments::pays_once_whatever_is_lost;

const POSTGRES: Edge = Edge::Database(ServiceName::Order);

#[tokio::test]
async fn an_order_whose_commit_was_not_acknowledged_is_placed_once() -> Result<()> {
    let ground = Ground::take().await?;
    let market = ground.market(0, 10).await?;
    let buyer = ground.caller(&market.buyer)?;
    for (placed_before, then) in [(0, Then::Reset), (1, Then::Silence)] {
        let request = market.order_request(1);
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

/// What of a payment is lost, and a text in the statements of its transaction.
const STEPS_OF_A_PAYMENT: [(&str, &str); 5] = [
    ("the start of the transfer", "INSERT INTO transfers"),
    ("the decision", "transfers.decision = new.decision"),
    ("the consumer's mark", "UPDATE consumer_mark SET epoch"),
    ("the stamp", "previous = stamp.previous"),
    ("the note of what was published", "UPDATE outbox_lease SET published_through"),
];

#[tokio::test]
async fn a_payment_completes_once_when_any_of_its_commits_is_not_acknowledged() -> Result<()> {
    let ground = Ground::take().await?;
    let steps = STEPS_OF_A_PAYMENT.map(|(step, text)| (step, Acknowledgements::of(text)));
    pays_once_whatever_is_lost(&ground, POSTGRES, &steps).await
}
