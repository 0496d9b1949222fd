//! The Redis of the sessions loses everything.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::auth::v1::Role;
use api::order::v1::order::State;
use api::order::v1::{CreateProductRequest, GetAccountRequest};
use api::session::v1::{ListSessionsRequest, RevokeSessionRequest};
use api::user::v1::GetUserRequest;
use testkit::client::{PASSWORD, Person, eur, request_id};
use testkit::{DatabaseOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE, credit, earned, order};
use tests::status::code_and_reason;
use tests::streams::{caught_up, head};
use tonic::{Code, Status};

const SOON: Duration = Duration::from_secs(60);
const REVOCATIONS: &str = "session.revocations";

/// What user service, order service and session service say to somebody's token.
async fn asked_everywhere(person: &Person) -> [Result<(), Status>; 3] {
    let user = person
        .caller
        .users()
        .get_user(GetUserRequest { user_id: person.user_id.clone(), read_mask: None })
        .await;
    let account = GetAccountRequest { owner_id: String::new(), currency_code: "EUR".to_owned() };
    let order = person.caller.accounts().get_account(account).await;
    let session = person.caller.sessions().list_sessions(ListSessionsRequest::default()).await;
    [user.map(drop), order.map(drop), session.map(drop)]
}

async fn refused_everywhere(person: &Person) -> Result<()> {
    wait_until(SOON, "the token to be refused everywhere", async || {
        let answers = asked_everywhere(person).await;
        let refused = |answer: &Result<(), Status>| {
            answer.as_ref().is_err_and(|status| status.code() == Code::Unauthenticated)
        };
        if answers.iter().all(refused) { Ok(()) } else { Err(format!("{answers:?}")) }
    })
    .await
}

/// The code and the reason that a login is refused with.
async fn login_refused(system: &System, person: &Person) -> Result<(Code, String)> {
    let Err(error) = system.api.log_in(&person.email, PASSWORD).await else {
        anyhow::bail!("{} could log in", person.email)
    };
    Ok(code_and_reason(error.downcast_ref::<Status>().context("a status")?))
}

/// People whose sessions ended before the flush, each in another way.
struct Gone {
    demoted: Person,
    deactivated: Person,
    left: Person,
}

impl Gone {
    async fn see_off(system: &System) -> Result<Self> {
        let demoted = system.admin.make(&system.api.sign_up("Demoted").await?, Role::Merchant).await?;
        system.admin.make(&demoted, Role::Customer).await?;
        let deactivated = system.api.sign_up("Deactivated").await?;
        system.admin.deactivate(&deactivated).await?;
        let left = system.api.sign_up("Left").await?;
        let logout = RevokeSessionRequest {
            request_id: request_id(),
            session_id: left.session_id.clone(),
            ..RevokeSessionRequest::default()
        };
        left.caller.sessions().revoke_session(logout).await.context("RevokeSession")?;
        let gone = Self { demoted, deactivated, left };
        gone.refused().await?;
        Ok(gone)
    }

    async fn refused(&self) -> Result<()> {
        for person in [&self.demoted, &self.deactivated, &self.left] {
            refused_everywhere(person).await?;
        }
        Ok(())
    }
}

/// Claim: FLUSHALL of the session Redis, with its append-only file and its scripts, logs everybody out and changes
/// nothing else. A token is refused everywhere though user service and order service had it in memory; streams of
/// sessions have new epochs; the consumer of revocations begins before the oldest event there is and ends sessions
/// again; who was revoked, demoted or deactivated before gets nothing back, also not after a restart from the file.
#[tokio::test]
async fn a_flush_of_the_sessions_logs_everybody_out_and_changes_nothing_else() -> Result<()> {
    let mut system = System::start(DatabaseOptions::default()).await?;
    let market = Market::open(&system, 2 * PRICE, 10).await?;
    let placed = market.paid_order(1).await?;
    let gone = Gone::see_off(&system).await?;
    caught_up(&system.admin.caller, REVOCATIONS).await?;
    let heads = [head(&system.admin.caller, "user").await?, head(&system.admin.caller, "order").await?];
    let sessions = head(&system.admin.caller, "session-00").await?;
    // Twice: the second time from the memory of both services.
    for _ in 0..2 {
        for answer in asked_everywhere(&market.seller).await {
            let is_known = answer.as_ref().map_or_else(|it| it.code() == Code::NotFound, |()| true);
            ensure!(is_known, "{answer:?}");
        }
    }

    let redis = &system.stack.databases.redis_session;
    redis.admin().run(0, &["FLUSHALL"]).await?;
    redis.admin().run(0, &["SCRIPT", "FLUSH"]).await?;
    for person in [&market.buyer, &market.seller, &system.admin] {
        refused_everywhere(person).await?;
    }
    let admin = system.api.log_in(&system.admin.email, PASSWORD).await?;
    assert_ne!(head(&admin.caller, "session-00").await?.epoch, sessions.epoch);
    caught_up(&admin.caller, REVOCATIONS).await?;
    assert_eq!([head(&admin.caller, "user").await?, head(&admin.caller, "order").await?], heads);

    redis.process().kill().await?;
    redis.restart().await?;
    let buyer = wait_until(SOON, "a login after the restart", async || {
        system.api.log_in(&market.buyer.email, PASSWORD).await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    let seller = system.api.log_in(&market.seller.email, PASSWORD).await?;
    for person in [&market.buyer, &market.seller] {
        refused_everywhere(person).await?;
    }
    gone.refused().await?;
    assert_eq!((credit(&buyer).await?, earned(&seller).await?), (PRICE, PRICE));
    assert_eq!(order(&buyer, &placed.id).await?.state(), State::Paid);
    no_stale_rights(&system, &admin, &gone).await?;
    system.admin = admin;
    system.books_balance().await
}

/// Who was deactivated stays out, who was demoted comes back as what they are now, and revocations work.
async fn no_stale_rights(system: &System, admin: &Person, gone: &Gone) -> Result<()> {
    let refused = login_refused(system, &gone.deactivated).await?;
    assert_eq!(refused, (Code::Unauthenticated, "INVALID_CREDENTIALS".to_owned()));
    let demoted = system.api.log_in(&gone.demoted.email, PASSWORD).await?;
    let product = CreateProductRequest {
        request_id: request_id(),
        name: "Thing".to_owned(),
        unit_price: Some(eur(PRICE)),
        stock: 1,
    };
    let refused =
        demoted.caller.catalog().create_product(product).await.expect_err("a customer sells nothing");
    assert_eq!(code_and_reason(&refused), (Code::PermissionDenied, "PERMISSION_DENIED".to_owned()));
    admin.deactivate(&demoted).await?;
    refused_everywhere(&demoted).await
}
