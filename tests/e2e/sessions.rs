//! Sessions end in every service at once, and only those that should.

use std::time::Duration;

use anyhow::{Context, Result};
use api::session::v1::{RefreshSessionRequest, RevokeAllSessionsRequest};
use api::user::v1::GetUserRequest;
use testkit::client::{PASSWORD, Person, request_id};
use testkit::wait_until;
use tests::System;
use tests::people::Market;
use tests::status::code_and_reason;
use tonic::{Code, Status};

async fn reaches_both(person: &Person) -> Result<(), Status> {
    let user = GetUserRequest { user_id: person.user_id.clone(), read_mask: None };
    person.caller.users().get_user(user).await?;
    let account =
        api::order::v1::GetAccountRequest { owner_id: String::new(), currency_code: "EUR".to_owned() };
    person.caller.accounts().get_account(account).await?;
    Ok(())
}

/// The bound is the time that a verified session may be kept while its revocation is on its way.
async fn ends_everywhere(person: &Person) -> Result<()> {
    let refused = (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned());
    wait_until(Duration::from_secs(5), "the session to end in user and order service", async || {
        let user = GetUserRequest { user_id: person.user_id.clone(), read_mask: None };
        let user = person.caller.users().get_user(user).await;
        let account =
            api::order::v1::GetAccountRequest { owner_id: String::new(), currency_code: "EUR".to_owned() };
        let account = person.caller.accounts().get_account(account).await;
        let seen = (user.err().map(|s| code_and_reason(&s)), account.err().map(|s| code_and_reason(&s)));
        if seen == (Some(refused.clone()), Some(refused.clone())) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await
}

#[tokio::test]
async fn revoking_all_sessions_ends_each_of_them() -> Result<()> {
    let system = &System::shared().await?;
    let laptop = system.api.sign_up("Ann").await?;
    let phone = system.api.log_in(&laptop.email, PASSWORD).await?;
    for session in [&laptop, &phone] {
        reaches_both(session).await.context("a new session is good")?;
    }
    let request = RevokeAllSessionsRequest { request_id: request_id(), user_id: String::new() };
    let answer = laptop.caller.sessions().revoke_all_sessions(request).await?.into_inner();
    assert_eq!(answer.revoked_count, 2);
    ends_everywhere(&laptop).await?;
    ends_everywhere(&phone).await?;
    let again = system.api.log_in(&laptop.email, PASSWORD).await?;
    reaches_both(&again).await.context("a later login lives")
}

#[tokio::test]
async fn deactivation_ends_sessions_and_stops_logins_orders_and_credit() -> Result<()> {
    let system = &System::shared().await?;
    let market = Market::open(system, 0, 5).await?;
    reaches_both(&market.buyer).await?;
    market.buyer.deactivate(&market.buyer).await.context("one's own account")?;
    ends_everywhere(&market.buyer).await?;
    let refused = system.api.log_in(&market.buyer.email, PASSWORD).await.expect_err("deactivated");
    let status = refused.downcast_ref::<Status>().context("a status")?;
    assert_eq!(code_and_reason(status), (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned()));
    let grant = system.admin.grant(&market.buyer, testkit::client::eur(1)).await.expect_err("deactivated");
    let status = grant.downcast_ref::<Status>().context("a status")?;
    assert_eq!(code_and_reason(status), (Code::FailedPrecondition, "USER_DEACTIVATED".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_works_once() -> Result<()> {
    let system = &System::shared().await?;
    let ann = system.api.sign_up("Ann").await?;
    let refresh = |token: &str| RefreshSessionRequest { refresh_token: token.to_owned() };
    let anyone = system.api.anyone();
    let renewed = anyone.sessions().refresh_session(refresh(&ann.refresh_token)).await?.into_inner();
    ends_everywhere(&ann).await.context("the old access token")?;
    let caller = system.api.bearer(&renewed.access_token)?;
    let renewed_person = Person { caller, ..ann.clone() };
    reaches_both(&renewed_person).await.context("the new access token")?;
    let reused =
        anyone.sessions().refresh_session(refresh(&ann.refresh_token)).await.expect_err("used before");
    assert_eq!(code_and_reason(&reused), (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned()));
    ends_everywhere(&renewed_person).await.context("reuse ends the session for both holders")
}
