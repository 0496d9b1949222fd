//! How an audit goes on its way: in short steps however long a chain is, one at a time, and with no end that nobody
//! hears of. What it says of the other book needs that: tests/e2e/audit.

mod drift;

use std::time::Duration;

use api::auth::v1::Role;
use api::order::v1::audit::Verdict;
use api::order::v1::{Audit, GetAuditRequest, GetAuditResponse, RunAuditRequest, RunAuditResponse};
use testkit::wait_until;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use crate::audit_peer::Book;
use crate::harness::{Harness, Person};
use crate::paying::Scene;
use crate::refusal::assert_refused;

const PATIENCE: Duration = Duration::from_secs(50);
/// The service's own: a dead auditor is out of the way after it.
const LEASE: Duration = Duration::from_secs(10);
/// More entries than two steps read.
const ENTRIES: i64 = 1_200;
const STEP_ENTRIES: i64 = 500;

/// An auditor that works only when it is asked.
pub(crate) const BY_HAND: &str = "--audit-every=0s";

async fn begin(admin: &Person, full: bool) -> Result<Streaming<RunAuditResponse>, Status> {
    let request = RunAuditRequest { full };
    Ok(admin.caller.within(PATIENCE).audits().run_audit(request).await?.into_inner())
}

async fn end(mut steps: Streaming<RunAuditResponse>) -> Result<Audit, Status> {
    let mut audit = None;
    while let Some(step) = steps.message().await? {
        audit = step.audit.or(audit);
    }
    audit.ok_or_else(|| Status::unknown("no outcome"))
}

pub(crate) async fn run(admin: &Person, full: bool) -> Audit {
    end(begin(admin, full).await.unwrap()).await.unwrap()
}

async fn last(admin: &Person) -> GetAuditResponse {
    admin.caller.audits().get_audit(GetAuditRequest {}).await.unwrap().into_inner()
}

/// A merchant whom so many payments have been made to, put into the database as the service does it.
async fn earn(harness: &Harness, owner: &str, entries: i64) {
    let statement = format!(
        "DO $$
         DECLARE
             owner uuid := '{owner}'; id uuid; ordered uuid; hash bytea := decode(repeat('00', 32), 'hex');
             at timestamptz := date_trunc('milliseconds', clock_timestamp());
             micros bigint := (extract(epoch FROM at) * 1000000)::bigint;
         BEGIN
             INSERT INTO accounts (owner_id, currency) VALUES (owner, 'EUR') ON CONFLICT DO NOTHING;
             FOR n IN 1..{entries} LOOP
                 id := gen_random_uuid();
                 ordered := gen_random_uuid();
                 INSERT INTO transfers (id, principal, method, request_id, fingerprint, kind, order_id,
                                        wallet_user_id, account_owner_id, amount, currency, state, decision,
                                        deadline, decided_at, created_at, updated_at, event_version,
                                        order_customer_id, order_version, order_refunded, order_updated_at)
                 VALUES (id, 'test', 'test', id, hash, 'pay', ordered, ordered, owner, 1, 'EUR', 'completed',
                         'confirm', at, at, at, at, 1, ordered, 1, 0, at);
                 INSERT INTO postings VALUES (id, ordered, 'pay', at);
                 hash := sha256(hash || uuid_send(owner) || convert_to('EUR', 'UTF8') || int8send(n)
                                || uuid_send(id) || uuid_send(ordered) || '\\x01' || int8send(1) || int8send(n)
                                || decode(repeat('00', 8), 'hex') || int8send(micros));
                 INSERT INTO entries (transfer_id, account, currency, debit, credit, owner_id, sequence,
                                      balance_after, hash)
                 VALUES (id, 'merchant', 'EUR', 0, 1, owner, n, n, hash),
                        (id, 'transit', 'EUR', 1, 0, NULL, NULL, NULL, NULL);
             END LOOP;
             UPDATE accounts SET balance = {entries}, sequence = {entries}, last_hash = hash
             WHERE owner_id = owner;
         END $$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut harness.sql().await).await.unwrap();
}

/// Claim: a step is bounded by entries, and what it found in order is kept before the next one. So no chain is too
/// long for an audit to come to its end.
#[tokio::test]
async fn a_long_chain_is_audited_in_short_steps_each_of_which_is_kept() {
    let harness = Harness::start_with(&[BY_HAND]).await;
    let (admin, seller) = (harness.person(Role::Admin), harness.person(Role::Merchant));
    earn(&harness, &seller.id, ENTRIES).await;
    for full in [false, true] {
        let (mut before, mut audit) = (0, None);
        let mut steps = begin(&admin, full).await.unwrap();
        while let Some(step) = steps.message().await.unwrap() {
            if audit.is_none() && step.entries_count <= ENTRIES {
                assert!(step.entries_count - before <= STEP_ENTRIES, "{before}, then {step:?}");
                let kept =
                    harness.count("SELECT coalesce(sum(sequence), 0)::bigint FROM audit_accounts").await;
                assert!(kept >= step.entries_count, "{kept} are kept of {}", step.entries_count);
            }
            before = step.entries_count;
            audit = step.audit.or(audit);
        }
        let audit = audit.unwrap();
        assert_eq!((audit.verdict(), audit.accounts_count), (Verdict::Conserved, 1), "{audit:?}");
        // A full one reads the postings besides, both sides of them.
        assert_eq!(audit.entries_count, if full { 3 * ENTRIES } else { ENTRIES });
        let accounts = audit.lines.iter().find(|line| line.account == "accounts").unwrap();
        assert_eq!((accounts.debit_minor_units, accounts.credit_minor_units), (0, ENTRIES));
    }
    assert_eq!(run(&admin, false).await.entries_count, 0);
}

/// Claim: a step that takes longer than the lease keeps its turn, so that it comes to its end.
#[tokio::test]
async fn a_step_that_outlasts_the_lease_keeps_its_turn() {
    let harness = Harness::start_with(&[BY_HAND]).await;
    let admin = harness.person(Role::Admin);
    harness.peers.audits.set(Book::Silent);
    let slow = begin(&admin, false).await.unwrap();
    let slow = async {
        harness.peers.audits.asked().await;
        // Whoever else wants to audit waits for longer than the lease, and in vain.
        let waited = Instant::now();
        let refused = begin(&admin, false).await.unwrap_err();
        assert_refused(&refused, Code::Aborted, "CONTENTION", &[]);
        assert!(waited.elapsed() > LEASE, "{:?}", waited.elapsed());
        harness.peers.audits.set(Book::Conserved);
        end(slow).await.unwrap()
    };
    assert_eq!(Box::pin(slow).await.verdict(), Verdict::Conserved);
}

/// Claim: whoever hangs up is in nobody's way.
#[tokio::test]
async fn an_audit_that_is_hung_up_gives_its_turn_back_at_once() {
    let harness = Harness::start_with(&[BY_HAND]).await;
    let admin = harness.person(Role::Admin);
    harness.peers.audits.set(Book::Silent);
    let hung_up = begin(&admin, false).await.unwrap();
    harness.peers.audits.asked().await;
    drop(hung_up);
    harness.peers.audits.set(Book::Conserved);
    let next = async { end(begin(&admin, false).await.unwrap()).await.unwrap() };
    let next = timeout(LEASE / 2, next).await.unwrap();
    assert_eq!(next.verdict(), Verdict::Conserved);
    assert_eq!(last(&admin).await.failure, None, "nothing has failed");
}

/// Claim: a process that is told to stop gives its turn back.
#[tokio::test]
async fn a_worker_that_stops_gives_its_turn_back() {
    let harness = Harness::start_with(&["--audit-every=50ms"]).await;
    harness.peers.audits.set(Book::Silent);
    timeout(PATIENCE, harness.peers.audits.asked()).await.unwrap();
    let mut sql = harness.sql().await;
    let query = "SELECT owner FROM audit_state";
    let held: Option<Uuid> = sqlx::query_scalar(query).fetch_one(&mut sql).await.unwrap();
    assert!(held.is_some());
    let _left = harness.stop().await;
    let held: Option<Uuid> = sqlx::query_scalar(query).fetch_one(&mut sql).await.unwrap();
    assert_eq!(held, None);
}

/// Claim: a full audit that fails takes nothing away from the others, and is not forgotten over them.
#[tokio::test]
async fn where_a_full_audit_fails_what_is_new_is_audited_and_the_failure_is_told() {
    let harness = Harness::start_with(&["--audit-every=50ms", "--audit-full-every=1ms"]).await;
    let admin = harness.person(Role::Admin);
    harness.peers.audits.set(Book::FullFails);
    let ended = wait_until(PATIENCE, "an audit of what is new", async || {
        let known = last(&admin).await;
        let is_new = known.audit.as_ref().is_some_and(|audit| !audit.full);
        if is_new { Ok(known) } else { Err(format!("{known:?}")) }
    });
    let ended = ended.await.unwrap();
    let failure = ended.failure.unwrap();
    assert_eq!(ended.audit.unwrap().verdict(), Verdict::Conserved);
    assert_eq!(
        (failure.full, &*failure.description),
        (true, "something that the call needs does not answer; whether this call took effect is unknown")
    );
    assert!(failure.fail_time.is_some() && ended.age_duration.is_some());

    harness.peers.audits.set(Book::Conserved);
    assert!(run(&admin, true).await.full);
    let known = last(&admin).await;
    assert_eq!(known.failure, None);
    assert!(known.full_start_time.is_some());
}

/// Claim: drift that only a full audit sees is told by every audit until a full one has found it mended, even while
/// none can be had; drift that every audit sees makes none of them a full one.
#[tokio::test]
async fn only_what_a_full_audit_alone_sees_makes_the_next_one_full() {
    let scene = Box::pin(Scene::paid()).await;
    let (harness, admin) = (&scene.harness, &scene.admin);
    let mut sql = harness.sql().await;
    assert_eq!(run(admin, true).await.verdict(), Verdict::Conserved);
    let mut change = async |statement: &'static str| {
        sqlx::raw_sql(statement).execute(&mut sql).await.unwrap();
    };
    change("UPDATE accounts SET balance = balance + 1").await;
    assert_eq!(run(admin, true).await.verdict(), Verdict::Drift);
    let next = run(admin, false).await;
    assert_eq!((next.verdict(), next.full), (Verdict::Drift, false), "{next:?}");
    change("UPDATE accounts SET balance = balance - 1").await;

    let orders = "UPDATE orders SET refund_pending_minor_units = refund_pending_minor_units + 1";
    change(orders).await;
    assert_eq!(run(admin, false).await.verdict(), Verdict::Conserved, "no orders are read");
    assert_eq!(run(admin, true).await.verdict(), Verdict::Drift);
    let next = run(admin, false).await;
    assert_eq!((next.verdict(), next.full), (Verdict::Drift, true));
    assert!(next.findings.iter().all(|finding| finding.only_full), "{next:?}");
    change("UPDATE orders SET refund_pending_minor_units = refund_pending_minor_units - 1").await;
    assert_eq!(run(admin, false).await.verdict(), Verdict::Conserved);
    assert!(!run(admin, false).await.full);
}

/// Claim: as above, where the full audit that would look for it fails.
#[tokio::test]
async fn drift_that_only_a_full_audit_sees_is_told_while_none_can_be_had() {
    let scene = Box::pin(Scene::with(&["--audit-every=50ms"])).await;
    let (harness, admin) = (&scene.harness, &scene.admin);
    let mut sql = harness.sql().await;
    let hold =
        "INSERT INTO holds (transfer_id, owner_id, direction, amount, currency, order_id, expires_at, state,
                                   version)
                SELECT gen_random_uuid(), seller_id, 'debit', 1, 'EUR', id, now(), 'posted', 1 FROM orders";
    sqlx::raw_sql(hold).execute(&mut sql).await.unwrap();
    assert_eq!(run(admin, true).await.verdict(), Verdict::Drift);
    harness.peers.audits.set(Book::FullFails);
    let told = wait_until(PATIENCE, "an audit of what is new", async || {
        let known = last(admin).await;
        let audit = known.audit.clone().filter(|audit| !audit.full);
        audit.ok_or_else(|| format!("{known:?}"))
    });
    let told = told.await.unwrap();
    assert_eq!(told.verdict(), Verdict::Drift);
    assert!(told.findings[0].only_full, "{told:?}");
}
