//! Claim: the audit finds a single cent that is wrong in either book, and reports nothing while credit only moves.
//!
//! Payments, refunds and sendings run all the time; audits run in a loop, and each says that nothing drifts, though
//! transfers are in flight at the cut. A naive audit beside it, which reads one trial
//! balance after the other, does report a drift. Then one cent is put into one database after the other.

mod seeds;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::conservation::Books;
use api::order::v1::audit::Verdict;
use api::order::v1::{Audit, GetAuditRequest, GetTrialBalanceRequest, RunAuditRequest};
use api::user;
use api::user::v1::SendCreditRequest;
use testkit::client::{eur, request_id};
use testkit::{DatabaseOptions, LogMark, ServiceName, ServiceOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE, pay, refund};
use tokio::time::Instant;
use tonic::{Response, Status};

const MARKETS: usize = 4;
/// Audits with transfers in flight at their cut.
const PASSES: usize = 8;
const WITHIN: Duration = Duration::from_secs(60);
/// How long it may take until there were so many: a machine that does something else too audits a few times a minute.
const TRAFFIC_WITHIN: Duration = Duration::from_secs(300);

/// A system whose auditor works when it is asked, so that a test knows which audit saw what.
async fn system() -> Result<System> {
    system_that_audits("0s").await
}

async fn system_that_audits(every: &str) -> Result<System> {
    let env = vec![(ServiceName::Order, "AUDIT_EVERY".to_owned(), every.to_owned())];
    System::start_with(DatabaseOptions::default(), ServiceOptions { env, ..ServiceOptions::default() }).await
}

async fn run(system: &System, full: bool) -> Result<Audit> {
    let patient = system.admin.caller.within(WITHIN);
    let mut steps =
        patient.audits().run_audit(RunAuditRequest { full }).await.context("RunAudit")?.into_inner();
    let mut audit = None;
    let why = || {
        let logs = [&system.stack.services.user, &system.stack.services.order].map(|service| service.log());
        logs.map(|log| log.tail(3)).join("\n")
    };
    while let Some(step) = steps.message().await.with_context(why)? {
        audit = step.audit.or(audit);
    }
    audit.context("an audit ends with its outcome")
}

/// What `tristore audit` prints, and its exit code.
async fn tristore(system: &System, arguments: &[&str]) -> Result<(i32, String)> {
    system.tristore(&system.admin.access_token, &[&["audit"], arguments].concat()).await
}

/// Orders, pays, refunds and sends until told to stop, and repeats what is unknown, as clients do.
async fn shop(market: &Market, friend: &str, stop: &AtomicBool) -> Result<()> {
    let (buyer, seller) = (&market.buyer.caller, &market.seller.caller);
    while !stop.load(Ordering::Relaxed) {
        let order = market.order(1).await?;
        let payment = pay(&order);
        answer("PayOrder", async || buyer.transfers().pay_order(payment.clone()).await).await?;
        let back = refund(&order, PRICE / 4);
        answer("RefundOrder", async || seller.transfers().refund_order(back.clone()).await).await?;
        let send = SendCreditRequest {
            request_id: request_id(),
            to_user_id: friend.to_owned(),
            amount: Some(eur(7)),
        };
        answer("SendCredit", async || buyer.wallets().send_credit(send.clone()).await).await?;
    }
    Ok(())
}

async fn answer<T>(what: &str, call: impl AsyncFn() -> Result<Response<T>, Status>) -> Result<()> {
    wait_until(WITHIN, what, call).await.map(drop)
}

/// What the two accounts `transit` are off by, when one book is read after the other.
async fn naive_drift(system: &System) -> Result<i64> {
    let admin = &system.admin.caller;
    let wallets = admin.wallets().get_trial_balance(user::v1::GetTrialBalanceRequest {}).await?.into_inner();
    let accounts = admin.accounts().get_trial_balance(GetTrialBalanceRequest {}).await?.into_inner();
    Ok(Books::new(wallets, accounts).net("EUR", None, Some("transit")))
}

/// Audits until enough of them had transfers in flight; how many there were, and how often the naive one was wrong.
async fn audit_in_traffic(system: &System) -> Result<(usize, usize)> {
    let (mut in_flight, mut false_alarms) = (0, 0);
    let give_up = Instant::now() + TRAFFIC_WITHIN;
    let mut passes = 0;
    while in_flight < PASSES || false_alarms == 0 {
        ensure!(Instant::now() < give_up, "{in_flight} in flight, {false_alarms} false alarms");
        // Every other one from the first entry on.
        let audit = run(system, passes % 2 == 1).await?;
        passes += 1;
        assert_eq!(audit.verdict(), Verdict::Conserved, "{audit:?}");
        for transit in &audit.transits {
            assert_eq!(transit.order_minor_units + transit.user_minor_units, 0, "{audit:?}");
        }
        in_flight += usize::from(audit.in_flight_count > 0);
        false_alarms += usize::from(naive_drift(system).await? != 0);
    }
    Ok((passes, false_alarms))
}

#[tokio::test]
async fn audits_find_nothing_in_traffic_and_every_cent_that_is_seeded() -> Result<()> {
    let system = Box::pin(system()).await?;
    let mut markets = Vec::new();
    for _ in 0..MARKETS {
        markets.push(Market::open(&system, 1_000_000 * PRICE, 1_000_000).await?);
    }
    let stop = AtomicBool::new(false);
    let shop_of = |at: usize| {
        let friend = &markets[(at + 1) % MARKETS].buyer.user_id;
        Box::pin(shop(&markets[at], friend, &stop))
    };
    let shops = async { tokio::try_join!(shop_of(0), shop_of(1), shop_of(2), shop_of(3)) };
    let audits = async {
        let seen = audit_in_traffic(&system).await;
        stop.store(true, Ordering::Relaxed);
        seen
    };
    let (seen, shopped) = tokio::join!(Box::pin(audits), shops);
    shopped?;
    let (passes, false_alarms) = seen?;
    eprintln!(
        "{passes} audits in traffic found nothing; two trial balances cried drift {false_alarms} times"
    );
    system.books_balance().await?;

    // At rest both sides are the whole books, as the databases themselves sum them up.
    let audit = run(&system, false).await?;
    assert_eq!(seeds::lines_of(&audit), seeds::Backdoor::open(&system).await?.sums().await?);
    assert_eq!((audit.verdict(), audit.in_flight_count), (Verdict::Conserved, 0), "{audit:?}");
    assert!(audit.transits.iter().all(|transit| transit.beyond_minor_units == 0), "{audit:?}");
    assert_eq!(run(&system, false).await?.entries_count, 0, "what was audited is not read again");
    let (code, printed) = tristore(&system, &["--full"]).await?;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.ends_with("conserved\n"), "{printed}");
    system.no_errors_logged()?;

    Box::pin(seeds::each_is_found(&system, &markets[0])).await
}

/// Claim: while user service is away nothing is known, and `tristore audit` says so instead of guessing.
#[tokio::test]
async fn without_user_service_an_audit_exits_with_two_and_reports_no_drift() -> Result<()> {
    let system = Box::pin(system()).await?;
    let market = Market::open(&system, 2 * PRICE, 2).await?;
    market.paid_order(1).await?;
    assert_eq!(tristore(&system, &["--last"]).await?.0, 2, "there is no last audit yet");
    let (code, printed) = tristore(&system, &[]).await?;
    assert_eq!(code, 0, "{printed}");

    let mark = LogMark::default();
    system.stack.services.user.process().kill().await?;
    let (code, printed) = tristore(&system, &[]).await?;
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("reason DEPENDENCY_UNAVAILABLE"), "{printed}");
    let errors = system.stack.services.order.log().errors_since(mark);
    assert!(errors.is_empty(), "{errors:?}");
    let last = system.admin.caller.audits().get_audit(GetAuditRequest {}).await?.into_inner().audit;
    assert_eq!(last.context("the audit before")?.verdict(), Verdict::Conserved);
    let (code, printed) = tristore(&system, &["--last"]).await?;
    assert_eq!(code, 0);
    let failed =
        printed.lines().find(|line| line.starts_with("an audit failed at ")).context(printed.clone())?;
    assert!(failed.contains(": something that the call needs does not answer"), "{failed}");
    assert!(printed.lines().any(|line| line.starts_with("ended ") && line.ends_with(": never")), "{printed}");

    system.stack.services.user.restart().await?;
    assert_eq!(tristore(&system, &["--full"]).await?.0, 0);
    let (code, printed) = tristore(&system, &["--last"]).await?;
    assert_eq!(code, 0, "{printed}");
    assert!(!printed.contains("failed") && !printed.contains("never"), "{printed}");
    Ok(())
}

/// Claim: the background auditor reports nothing during traffic, and logs an error when a cent is wrong.
#[tokio::test]
async fn the_background_auditor_finds_a_wrong_cent_and_logs_it() -> Result<()> {
    let system = Box::pin(system_that_audits("1s")).await?;
    let market = Market::open(&system, 1_000 * PRICE, 1_000).await?;
    let friend = Market::open(&system, 0, 1).await?;
    let stop = AtomicBool::new(false);
    // The first is a full one.
    let audits = async {
        let seen = wait_until(WITHIN, "two audits in traffic", async || {
            let known = system.admin.caller.audits().get_audit(GetAuditRequest {}).await;
            let known = known.map_err(|status| status.to_string())?.into_inner();
            let audit = known.audit.filter(|audit| audit.entries_count > 0 && !audit.full);
            audit.filter(|_| known.full_start_time.is_some()).ok_or_else(|| "none yet".to_owned())
        });
        let seen = seen.await;
        stop.store(true, Ordering::Relaxed);
        seen
    };
    let (seen, shopped) = tokio::join!(Box::pin(audits), shop(&market, &friend.buyer.user_id, &stop));
    shopped?;
    assert_eq!(seen?.verdict(), Verdict::Conserved);
    system.no_errors_logged()?;

    let log = system.stack.services.order.log();
    let mark = log.mark();
    seeds::Backdoor::open(&system).await?.add_to_account(&market.seller.user_id, 1).await?;
    let named = format!("account {} EUR", market.seller.user_id);
    let cried = wait_until(WITHIN, "the drift's line in the log", async || {
        let lines = log.errors_since(mark);
        let is_it = |line: &&String| line.contains("drift") && line.contains(&named);
        lines.iter().find(is_it).cloned().ok_or_else(|| format!("{lines:?}"))
    });
    cried.await?;
    let (code, printed) = tristore(&system, &["--last"]).await?;
    assert_eq!(code, 1, "{printed}");
    assert!(
        printed.contains(&format!("order-service: {named}: ")) && printed.contains("(+0.01 EUR)"),
        "{printed}"
    );
    Ok(())
}
