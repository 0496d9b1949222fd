//! Nobody reads or changes what belongs to others, which looks as if it did not exist.

use anyhow::{Context, Result};
use api::order::v1::{GetAccountRequest, GetOrderRequest, GetTransferRequest};
use api::session::v1::RevokeSessionRequest;
use api::user::v1::{GetUserRequest, GetWalletRequest};
use testkit::client::request_id;
use tests::System;
use tests::people::{Market, PRICE, cancel, pay};
use tests::status::code_and_reason;
use tonic::Code;
use uuid::Uuid;

fn not_found(reason: &str) -> (Code, String) {
    (Code::NotFound, reason.to_owned())
}

#[tokio::test]
async fn what_belongs_to_another_user_is_not_found() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, PRICE, 2).await?;
    let stranger = system.api.sign_up("Stranger").await?;
    let placed = market.order(1).await?;
    let paid =
        market.buyer.caller.transfers().pay_order(pay(&placed)).await.context("PayOrder")?.into_inner();
    let transfer_id = paid.transfer.context("a transfer")?.id;
    let missing = Uuid::now_v7().to_string();

    for order_id in [&placed.id, &missing] {
        let read = GetOrderRequest { order_id: order_id.clone() };
        let status = stranger.caller.orders().get_order(read).await.expect_err("a stranger");
        assert_eq!(code_and_reason(&status), not_found("ORDER_NOT_FOUND"));
        let status = stranger.caller.orders().cancel_order(cancel(order_id)).await.expect_err("a stranger");
        assert_eq!(code_and_reason(&status), not_found("ORDER_NOT_FOUND"));
        let request =
            api::order::v1::PayOrderRequest { request_id: request_id(), order_id: order_id.clone() };
        let status = stranger.caller.transfers().pay_order(request).await.expect_err("a stranger");
        assert_eq!(code_and_reason(&status), not_found("ORDER_NOT_FOUND"));
    }
    for transfer_id in [&transfer_id, &missing] {
        let request = GetTransferRequest { transfer_id: transfer_id.clone() };
        let status = stranger.caller.transfers().get_transfer(request).await.expect_err("a stranger");
        assert_eq!(code_and_reason(&status), not_found("TRANSFER_NOT_FOUND"));
    }
    for user_id in [&market.buyer.user_id, &missing] {
        let request = GetWalletRequest { user_id: user_id.clone(), currency_code: "EUR".to_owned() };
        let status = stranger.caller.wallets().get_wallet(request).await.expect_err("a stranger");
        assert_eq!(code_and_reason(&status), not_found("USER_NOT_FOUND"));
    }
    let account =
        GetAccountRequest { owner_id: market.seller.user_id.clone(), currency_code: "EUR".to_owned() };
    let status = stranger.caller.accounts().get_account(account).await.expect_err("a stranger");
    assert_eq!(code_and_reason(&status), not_found("ACCOUNT_NOT_FOUND"));
    for session_id in [&market.buyer.session_id, &missing] {
        let request = RevokeSessionRequest {
            request_id: request_id(),
            session_id: session_id.clone(),
            user_id: String::new(),
        };
        let status = stranger.caller.sessions().revoke_session(request).await.expect_err("a stranger");
        assert_eq!(code_and_reason(&status), not_found("SESSION_NOT_FOUND"));
    }
    market
        .buyer
        .caller
        .users()
        .get_user(GetUserRequest { user_id: market.buyer.user_id.clone(), read_mask: None })
        .await?;
    Ok(())
}

#[tokio::test]
async fn other_users_see_only_the_display_name() -> Result<()> {
    let system = &System::shared().await?;
    let (ann, ben) = (system.api.sign_up("Ann").await?, system.api.sign_up("Ben").await?);
    let request = GetUserRequest { user_id: ann.user_id.clone(), read_mask: None };
    let own = ann.caller.users().get_user(request.clone()).await?.into_inner().user.context("a user")?;
    let seen = ben.caller.users().get_user(request).await?.into_inner().user.context("a user")?;
    assert_eq!((own.email.as_str(), own.role()), (ann.email.as_str(), api::auth::v1::Role::Customer));
    assert_eq!((seen.display_name.as_str(), seen.email.as_str()), ("Ann", ""));
    assert_eq!((seen.role(), seen.order_statistics), (api::auth::v1::Role::Unspecified, None));
    Ok(())
}
