//! Refunds: never more than was paid, however many run at once.

use anyhow::{Context, Result};
use api::user::v1::GetWalletRequest;
use tests::System;
use tests::people::{Market, PRICE, credit, earned, order, refund};
use tests::status::code_and_reason;
use tokio::task::JoinSet;
use tonic::Code;

#[tokio::test]
async fn concurrent_refunds_never_exceed_the_payment() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, PRICE, 1).await?;
    let placed = market.paid_order(1).await?;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let (caller, request) = (market.seller.caller.clone(), refund(&placed, PRICE / 4));
        calls.spawn(async move { caller.transfers().refund_order(request).await });
    }
    let answers = calls.join_all().await;
    let refused: Vec<_> =
        answers.iter().filter_map(|answer| answer.as_ref().err()).map(code_and_reason).collect();
    assert_eq!(refused.len(), 6, "four quarters fit: {refused:?}");
    for (code, reason) in refused {
        // The tenth quarter may find the account empty before it finds the order refunded.
        assert_eq!(code, Code::FailedPrecondition);
        assert!(["REFUND_EXCEEDS_PAYMENT", "INSUFFICIENT_CREDIT"].contains(&reason.as_str()), "{reason}");
    }
    let refunded = order(&market.buyer, &placed.id).await?.refunded.context("a sum")?.minor_units;
    assert_eq!((refunded, credit(&market.buyer).await?, earned(&market.seller).await?), (PRICE, PRICE, 0));
    system.books_balance().await
}

#[tokio::test]
async fn a_deactivated_buyer_still_gets_the_refund() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, PRICE, 1).await?;
    let placed = market.paid_order(1).await?;
    system.admin.deactivate(&market.buyer).await?;
    market.seller.caller.transfers().refund_order(refund(&placed, PRICE)).await.context("RefundOrder")?;
    let (user_id, currency_code) = (market.buyer.user_id.clone(), "EUR".to_owned());
    let request = GetWalletRequest { user_id, currency_code };
    let wallet = system.admin.caller.wallets().get_wallet(request).await?.into_inner().wallet;
    assert_eq!(wallet.context("a wallet")?.balance.context("a balance")?.minor_units, PRICE);
    system.books_balance().await
}

#[tokio::test]
async fn only_the_seller_or_an_admin_refunds() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, PRICE, 1).await?;
    let stranger = system.api.sign_up("Stranger").await?;
    let stranger = system.admin.make(&stranger, api::auth::v1::Role::Merchant).await?;
    let placed = market.paid_order(1).await?;
    let buyer =
        market.buyer.caller.transfers().refund_order(refund(&placed, 1)).await.expect_err("a customer");
    assert_eq!(code_and_reason(&buyer), (Code::PermissionDenied, "PERMISSION_DENIED".to_owned()));
    let other = stranger.caller.transfers().refund_order(refund(&placed, 1)).await.expect_err("a stranger");
    assert_eq!(code_and_reason(&other), (Code::NotFound, "ORDER_NOT_FOUND".to_owned()));
    system.admin.caller.transfers().refund_order(refund(&placed, 1)).await.context("an admin may")?;
    system.books_balance().await
}
