//! Teeth: a client that repeats an unknown call with a new request id doubles its effect, and the checks of the tests
//! beside this one see it: the sums do, and the books, which are only moved twice, do not.

use anyhow::Result;
use testkit::ServiceName;
use testkit::proxy::{Acknowledgements, Edge};
use tests::people::{PRICE, credit, send};

use super::ground::{Ground, answered, is_unknown};

#[tokio::test]
async fn a_repeat_with_a_new_request_id_has_a_second_effect() -> Result<()> {
    let ground = Ground::take().await?;
    let market = ground.market(10 * PRICE, 10).await?;
    let buyer = ground.caller(&market.buyer)?;

    let lost =
        ground.edge(Edge::Database(ServiceName::Order)).lose(Acknowledgements::of("INSERT INTO orders"));
    is_unknown(&buyer.orders().place_order(market.order_request(1)).await.expect_err("no acknowledgement"))?;
    assert_eq!(lost.count(), 1);
    answered(async || buyer.orders().place_order(market.order_request(1)).await).await?;
    assert_eq!(market.stock().await?, 8, "one thing was wanted, two are gone");

    let lost = ground.edge(Edge::Client(ServiceName::User)).lose(Acknowledgements::of("/SendCredit"));
    is_unknown(&buyer.wallets().send_credit(send(&market.seller, PRICE)).await.expect_err("no answer"))?;
    assert_eq!(lost.count(), 1);
    answered(async || buyer.wallets().send_credit(send(&market.seller, PRICE)).await).await?;
    let sums = (credit(&market.buyer).await?, credit(&market.seller).await?);
    assert_eq!(sums, (8 * PRICE, 2 * PRICE), "one price was to be sent, two were");
    ground.settled().await
}
