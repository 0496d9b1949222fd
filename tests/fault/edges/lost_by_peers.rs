//! Claim: when a service has answered and its answer gets lost on the way, whoever called repeats: a client with the
//! same request id, a service by itself as long as the call that it serves has time.

use std::time::Duration;

use anyhow::{Context, Result};
use api::order::v1::order::State;
use api::user::v1::GetHoldRequest;
use api::user::v1::hold;
use testkit::proxy::{Acknowledgements, Edge, Then};
use testkit::{DatabaseOptions, ServiceName, ServiceOptions, wait_until};
use tests::System;
use tests::people::{PRICE, credit, earned, order, pay};
use tests::stamps::HeldStamps;
use tests::status::metadata;

use super::ground::{Ground, answered, bitten, is_unknown};
use super::traffic::log_in;

#[tokio::test]
async fn a_payment_whose_answer_is_lost_happens_once() -> Result<()> {
    let ground = Ground::take().await?;
    let market = ground.market(2 * PRICE, 2).await?;
    let buyer = ground.caller(&market.buyer)?;
    for (paid, then) in [(1, Then::Reset), (2, Then::Silence)] {
        let placed = market.order(1).await?;
        let request = pay(&placed);
        let lost =
            ground.edge(Edge::Client(ServiceName::Order)).lose(Acknowledgements::of("/PayOrder").then(then));
        let impatient = buyer.within(Duration::from_secs(5));
        is_unknown(&impatient.transfers().pay_order(request.clone()).await.expect_err("the answer is lost"))?;
        assert_eq!(lost.count(), 1);
        // A client that hears nothing gives its connection up.
        ground.edge(Edge::Client(ServiceName::Order)).heal();
        assert_eq!(order(&market.buyer, &placed.id).await?.state(), State::Paid, "it happened");
        let first = answered(async || buyer.transfers().pay_order(request.clone()).await).await?;
        let again = answered(async || buyer.transfers().pay_order(request.clone()).await).await?;
        assert_eq!(first, again);
        let sums = (credit(&market.buyer).await?, earned(&market.seller).await?);
        assert_eq!(sums, ((2 - paid) * PRICE, paid * PRICE));
    }
    ground.settled().await
}

#[tokio::test]
async fn a_login_succeeds_when_user_services_answer_is_lost() -> Result<()> {
    let ground = Ground::take().await?;
    let person = ground.system.api.sign_up("Ann").await?;
    let edge = ground.edge(Edge::Peer { from: ServiceName::Session, to: ServiceName::User });
    for then in [Then::Reset, Then::Silence] {
        let lost = edge.lose(Acknowledgements::of("/VerifyPassword").then(then));
        log_in(&ground, &person).await.with_context(|| format!("{then:?}"))?;
        assert_eq!(lost.count(), 1);
        edge.heal();
    }
    ground.settled().await
}

/// Claim: a hold that is past its time asks for the decision until it hears it. The command to confirm is kept from
/// user service by a transaction of the test's, which holds the row that the sequencer locks to stamp it.
#[tokio::test]
async fn a_hold_asks_again_when_the_coordinators_answer_is_lost() -> Result<()> {
    let services = ServiceOptions {
        edges: true,
        env: vec![(ServiceName::Order, "TRANSFER_DEADLINE".to_owned(), "4s".to_owned())],
        ..ServiceOptions::default()
    };
    let ground = Ground::on(System::start_with(DatabaseOptions::default(), services).await?)?;
    let market = ground.market(PRICE, 1).await?;
    let placed = market.order(1).await?;
    let user_service = ground.system.stack.services.user.process();
    user_service.pause()?;
    let impatient = market.buyer.caller.within(Duration::from_secs(1));
    let request = pay(&placed);
    let unknown = impatient.transfers().pay_order(request.clone()).await.expect_err("nobody can reserve");
    let transfer_id = metadata(&unknown, "transfer_id").context("the transfer's id")?;
    // With the stamp of the command to reserve.
    let held = HeldStamps::once_all_are_stamped(&ground.system).await?;
    let edge = ground.edge(Edge::Peer { from: ServiceName::User, to: ServiceName::Order });
    let lost = edge.lose(Acknowledgements::of("/GetDecision").times(2));
    user_service.resume()?;
    bitten(&lost).await?;
    let request_hold = GetHoldRequest { transfer_id };
    wait_until(Duration::from_secs(90), "the hold to hear the decision", async || {
        let answer = ground.system.admin.caller.wallets().get_hold(request_hold.clone()).await;
        let hold = answer.map_err(|status| status.to_string())?.into_inner().hold.ok_or("no hold")?;
        if hold.state() == hold::State::Posted { Ok(()) } else { Err(format!("{:?}", hold.state())) }
    })
    .await?;
    assert_eq!(lost.count(), 2);
    held.release().await?;
    answered(async || market.buyer.caller.transfers().pay_order(request.clone()).await).await?;
    assert_eq!((credit(&market.buyer).await?, earned(&market.seller).await?), (0, PRICE));
    ground.settled().await
}
