//! Claim: the checks of these suites can fail. Each history here ends well with the services as they are. The very same
//! history, with a known mistake in the services (`shared/fault`), ends with money that was created or is held for
//! ever, or with an effect that happened twice, and the check says so.
//!
//! The databases' own suites catch the same mistakes step by step (`teeth.rs` of each service).

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use api::order::v1::transfer::{Decision, State};
use api::order::v1::{CancelTransferRequest, Transfer};
use api::user::v1::GetUserRequest;
use sqlx::{Connection as _, PgConnection};
use testkit::client::{Person, request_id};
use testkit::{DatabaseOptions, FaultAct, Flaw, Profile, ServiceName, ServiceOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE, credit, earned, pay, transfer, wallet};
use tests::status::metadata;
use tests::streams::caught_up;

const SOON: Duration = Duration::from_secs(60);
/// How often a moment is made that has to come before a deadline.
const TRIES: usize = 4;

/// A system whose services can be given a flaw.
async fn system(transfer_deadline: &str) -> Result<System> {
    let mut services = ServiceOptions { profile: Profile::Faults, ..ServiceOptions::default() };
    services.env.push((ServiceName::Order, "TRANSFER_DEADLINE".to_owned(), transfer_deadline.to_owned()));
    System::start_with(DatabaseOptions::default(), services).await
}

/// Order service's stream, held: what is committed there is not stamped.
struct HeldStream(PgConnection);

impl HeldStream {
    async fn hold(system: &System) -> Result<Self> {
        let url = system.stack.databases.urls_for_services().await?.postgres;
        let mut held = PgConnection::connect(&url).await.context("connecting to PostgreSQL")?;
        sqlx::raw_sql("BEGIN; SELECT 1 FROM outbox_lease FOR UPDATE").execute(&mut held).await?;
        Ok(Self(held))
    }

    /// The command to reserve comes last of all, as over a transport that keeps no order.
    async fn delay_reserve(&mut self, transfer_id: &str) -> Result<()> {
        let moved = sqlx::query(
            "CREATE TEMP TABLE late ON COMMIT DROP AS
             SELECT * FROM outbox WHERE aggregate_id = $1 AND type = 'order.v1.CreditReserveRequested' AND position IS NULL",
        )
        .bind(transfer_id)
        .execute(&mut self.0)
        .await?;
        ensure!(moved.rows_affected() == 1, "the reserve is not waiting to be stamped");
        let again = "event_id, stream, aggregate_type, aggregate_id, aggregate_version, type, schema_version, payload,
                     headers, created_at";
        let statements = format!(
            "DELETE FROM outbox USING late WHERE outbox.event_id = late.event_id;
             INSERT INTO outbox ({again}) SELECT {again} FROM late"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut self.0).await?;
        Ok(())
    }

    async fn release(mut self) -> Result<()> {
        sqlx::query("COMMIT").execute(&mut self.0).await.map(drop).context("releasing the stream")
    }
}

/// Starts a payment that cannot be decided yet; the transfer's id.
async fn start_payment(market: &Market) -> Result<String> {
    let request = pay(&market.order(1).await?);
    let patient = market.buyer.caller.within(Duration::from_secs(1));
    let answer = patient.transfers().pay_order(request).await;
    let unknown = answer.err().context("the payment ended, though its commands are held")?;
    metadata(&unknown, "transfer_id").with_context(|| format!("no transfer in {unknown:?}"))
}

async fn reached(system: &System, id: &str, what: &str, is: impl Fn(&Transfer) -> bool) -> Result<()> {
    wait_until(SOON, what, async || {
        let seen = transfer(&system.admin, id).await.map_err(|error| format!("{error:#}"))?;
        if is(&seen) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await
}

/// A payment is cancelled before its reserve reaches the wallet; the reserve comes after the cancel.
async fn reserve_after_cancel(system: &System) -> Result<Market> {
    let market = Market::open(system, PRICE, 1).await?;
    let mut stream = HeldStream::hold(system).await?;
    let id = start_payment(&market).await?;
    let cancel = CancelTransferRequest { request_id: request_id(), transfer_id: id.clone() };
    system.admin.caller.transfers().cancel_transfer(cancel).await.context("CancelTransfer")?;
    stream.delay_reserve(&id).await?;
    stream.release().await?;
    reached(system, &id, "the payment to be cancelled", |seen| seen.state() == State::Cancelled).await?;
    caught_up(&system.admin.caller, "user.transfers").await?;
    caught_up(&system.admin.caller, "order.transfers").await?;
    Ok(market)
}

#[tokio::test]
async fn without_tombstones_a_late_reserve_holds_the_money() -> Result<()> {
    let system = system("10m").await?;
    let market = reserve_after_cancel(&system).await?;
    system.books_balance().await?;
    assert_eq!((credit(&market.buyer).await?, held(&market.buyer).await?), (PRICE, 0));

    system.stack.services.user.restart_with(Flaw::NoTombstone).await?;
    let market = reserve_after_cancel(&system).await?;
    assert_eq!((credit(&market.buyer).await?, held(&market.buyer).await?), (PRICE, PRICE));
    let said = unbalanced(&system).await?;
    assert_eq!(said, ["user-service: wallets hold 10.00 EUR"]);
    Ok(())
}

/// A hold runs out while the decision to confirm is made and unsent. Where the machine is too slow for the decision,
/// nothing came of the payment, and another is made.
async fn expiry_after_decision(system: &System) -> Result<Market> {
    for _ in 0..TRIES {
        if let Some(market) = decision_in_time(system).await? {
            return Ok(market);
        }
    }
    bail!("too slow, time ran out before the decision {TRIES} times")
}

async fn decision_in_time(system: &System) -> Result<Option<Market>> {
    let market = Market::open(system, PRICE, 1).await?;
    let services = &system.stack.services;
    services.user.process().pause()?;
    let id = start_payment(&market).await?;
    stamped(system).await?;
    let stream = HeldStream::hold(system).await?;
    services.user.process().resume()?;
    reached(system, &id, "the decision", |seen| seen.decision() != Decision::Unspecified).await?;
    let decided = transfer(&system.admin, &id).await?;
    if decided.decision() != Decision::Confirm {
        stream.release().await?;
        reached(system, &id, "the late payment to end", |seen| seen.state() == State::Cancelled).await?;
        return Ok(None);
    }
    wait_until(SOON, "the hold to run out", async || match held(&market.buyer).await {
        Ok(0) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    stream.release().await?;
    let ended = |seen: &Transfer| seen.state() == State::Completed || seen.needs_operator;
    reached(system, &id, "the end of the payment", ended).await?;
    Ok(Some(market))
}

#[tokio::test]
async fn expiry_that_does_not_ask_for_the_decision_makes_money() -> Result<()> {
    let system = system("12s").await?;
    let market = expiry_after_decision(&system).await?;
    system.books_balance().await?;
    assert_eq!((credit(&market.buyer).await?, earned(&market.seller).await?), (0, PRICE));

    system.stack.services.user.restart_with(Flaw::ExpiryWithoutDecision).await?;
    let market = expiry_after_decision(&system).await?;
    let owned = credit(&market.buyer).await? + earned(&market.seller).await?;
    assert_eq!(owned, 2 * PRICE, "twice what was ever granted");
    let said = unbalanced(&system).await?;
    assert_eq!(said, ["1 transfers are not finished"], "one that never will be");
    Ok(())
}

/// User service dies after it has counted an order and before it has noted that, and is started again.
async fn killed_before_the_mark_moves(system: &System) -> Result<i64> {
    let market = Market::open(system, 0, 1).await?;
    let service = &system.stack.services.user;
    stamped(system).await?;
    caught_up(&system.admin.caller, "user.statistics").await?;
    service.arm("consumer.applying", "user.statistics", FaultAct::Kill)?;
    market.order(1).await?;
    wait_until(SOON, "user service to die", async || match service.process().exit_status() {
        Some(_) if service.has_fired() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    service.restart().await?;
    caught_up(&system.admin.caller, "user.statistics").await?;
    let request = GetUserRequest { user_id: market.buyer.user_id.clone(), read_mask: None };
    let user = market.buyer.caller.users().get_user(request).await.context("GetUser")?.into_inner().user;
    Ok(user.and_then(|user| user.order_statistics).context("statistics")?.placed_count)
}

#[tokio::test]
async fn a_mark_that_moves_after_its_effect_repeats_the_effect() -> Result<()> {
    let system = system("30s").await?;
    assert_eq!(killed_before_the_mark_moves(&system).await?, 1);

    system.stack.services.user.restart_with(Flaw::MarkApart).await?;
    assert_eq!(killed_before_the_mark_moves(&system).await?, 2, "one order, counted twice");
    Ok(())
}

/// What holds set aside of somebody's wallet, in cents.
async fn held(person: &Person) -> Result<i64> {
    Ok(wallet(person).await?.held.map_or(0, |held| held.minor_units))
}

/// Waits until nothing of order service waits to be stamped.
async fn stamped(system: &System) -> Result<()> {
    let url = system.stack.databases.urls_for_services().await?.postgres;
    let mut watcher = PgConnection::connect(&url).await.context("connecting to PostgreSQL")?;
    wait_until(SOON, "everything to be stamped", async || {
        let count = sqlx::query_scalar("SELECT count(*) FROM outbox WHERE position IS NULL");
        match count.fetch_one(&mut watcher).await {
            Ok(0_i64) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// What is wrong with the books of a system at rest.
async fn unbalanced(system: &System) -> Result<Vec<String>> {
    let problems = system.books().await?.problems_at_rest();
    if problems.is_empty() {
        bail!("the check sees nothing wrong");
    }
    Ok(problems)
}
