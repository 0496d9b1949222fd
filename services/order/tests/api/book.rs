//! What must be so of money after every test, whatever happened in it.

use api::order::v1::{
    GetAccountRequest, GetTrialBalanceRequest, GetTrialBalanceResponse, ListAccountEntriesRequest,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::harness::{Harness, Person};

/// Asserts the invariants of this service's book and of every transfer and order.
pub(crate) async fn assert_books_balance(harness: &Harness) {
    let mut sql = harness.sql().await;
    for (what, query) in [
        ("postings that do not cancel out", "SELECT count(*) FROM (SELECT transfer_id FROM entries GROUP BY 1
            HAVING sum(debit) <> sum(credit) OR count(*) <> 2) AS wrong"),
        ("accounts whose balance is not the sum of their entries", "SELECT count(*) FROM accounts a
            WHERE balance <> (SELECT coalesce(sum(credit - debit), 0) FROM entries e
                              WHERE e.owner_id = a.owner_id AND e.currency = a.currency)"),
        ("accounts whose held is not the sum of their holds", "SELECT count(*) FROM accounts a
            WHERE held <> (SELECT coalesce(sum(amount), 0) FROM holds h WHERE h.owner_id = a.owner_id
                           AND h.currency = a.currency AND state = 'held' AND direction = 'debit')"),
        ("confirmed transfers without a posting, or postings without one", "SELECT count(*)
            FROM transfers t FULL JOIN postings p ON p.transfer_id = t.id
            WHERE (t.decision IS NOT DISTINCT FROM 'confirm') <> (p.transfer_id IS NOT NULL)"),
        ("refunds whose hold is not as decided", "SELECT count(*) FROM transfers t JOIN holds h ON h.transfer_id = t.id
            WHERE t.kind = 'refund' AND h.state <> CASE t.decision WHEN 'confirm' THEN 'posted' WHEN 'cancel'
                  THEN 'cancelled' ELSE 'held' END"),
        ("orders whose sums are not those of their transfers", "SELECT count(*) FROM orders o
            LEFT JOIN LATERAL (
                SELECT coalesce(sum(amount) FILTER (WHERE kind = 'pay' AND decision = 'confirm'), 0) AS paid,
                       coalesce(sum(amount) FILTER (WHERE kind = 'refund' AND decision = 'confirm'), 0) AS refunded,
                       coalesce(sum(amount) FILTER (WHERE kind = 'refund' AND decision IS NULL), 0) AS pending,
                       count(*) FILTER (WHERE kind = 'pay' AND decision IS NULL) AS paying
                FROM transfers t WHERE t.order_id = o.id) AS t ON true
            WHERE (paid_minor_units, refunded_minor_units, refund_pending_minor_units)
                    IS DISTINCT FROM (t.paid, t.refunded, t.pending)
               OR (o.state = 'payment_pending') <> (t.paying = 1)"),
        ("transfers whose events are not counted without holes", "SELECT count(*) FROM transfers t
            WHERE event_version <> (SELECT count(*) FROM outbox WHERE aggregate_type = 'transfer'
                                    AND aggregate_id = t.id::text)"),
    ] {
        let wrong: i64 = sqlx::query_scalar(query).fetch_one(&mut sql).await.unwrap();
        assert_eq!(wrong, 0, "{what}");
    }
    assert_chains(harness).await;
}

/// Computes every account's chain of hashes again, from the documented bytes.
async fn assert_chains(harness: &Harness) {
    type Row = (Uuid, String, i64, Uuid, Uuid, String, i64, i64, Vec<u8>, time::OffsetDateTime);
    let query =
        "SELECT owner_id, currency, sequence, e.transfer_id, order_id, kind, credit - debit, balance_after,
                        hash, created_at
                 FROM entries e JOIN postings USING (transfer_id) WHERE owner_id IS NOT NULL
                 ORDER BY owner_id, currency, sequence";
    let rows: Vec<Row> = sqlx::query_as(query).fetch_all(&mut harness.sql().await).await.unwrap();
    let mut last: Option<(Uuid, String, i64, i64, Vec<u8>)> = None;
    for (owner, currency, sequence, transfer, order, kind, amount, after, hash, at) in rows {
        let (number, balance, previous) = match last {
            Some((o, c, number, balance, hash)) if o == owner && c == currency => (number, balance, hash),
            _ => (0, 0, vec![0; 32]),
        };
        assert_eq!((sequence, after), (number + 1, balance + amount));
        let micros = at.unix_timestamp_nanos() / 1000;
        let kind = if kind == "pay" { 1_u8 } else { 2 };
        let expected = Sha256::new()
            .chain_update(previous)
            .chain_update(owner.as_bytes())
            .chain_update(&currency)
            .chain_update(sequence.to_be_bytes())
            .chain_update(transfer.as_bytes())
            .chain_update(order.as_bytes())
            .chain_update([kind])
            .chain_update(amount.to_be_bytes())
            .chain_update(after.to_be_bytes())
            .chain_update(micros.to_be_bytes())
            .finalize();
        assert_eq!(hash, expected.to_vec(), "entry {sequence} of {owner}");
        last = Some((owner, currency, sequence, after, hash));
    }
}

/// The trial balance as an admin reads it, which must balance: accounts and `transit` mirror each other.
pub(crate) async fn trial_balance(admin: &Person) -> GetTrialBalanceResponse {
    let request = GetTrialBalanceRequest {};
    let balance = admin.caller.accounts().get_trial_balance(request).await.unwrap().into_inner();
    for currency in balance.lines.iter().map(|line| &line.currency_code) {
        let of = |account: &str| {
            balance.lines.iter().find(|line| line.account == account && line.currency_code == *currency)
        };
        let accounts = of("accounts").unwrap();
        assert_eq!(accounts.credit_minor_units - accounts.debit_minor_units, accounts.balance_minor_units);
        if let Some(transit) = of("transit") {
            assert_eq!(transit.debit_minor_units, accounts.credit_minor_units);
            assert_eq!(transit.credit_minor_units, accounts.debit_minor_units);
        }
    }
    balance
}

/// Balance and held of somebody's own account, in euros.
pub(crate) async fn account(owner: &Person) -> (i64, i64) {
    let request = GetAccountRequest { owner_id: String::new(), currency_code: "EUR".to_owned() };
    let account = owner.caller.accounts().get_account(request).await.unwrap().into_inner().account.unwrap();
    let of = |money: Option<api::common::v1::Money>| money.unwrap().minor_units;
    let (balance, held) = (of(account.balance), of(account.held));
    assert_eq!(of(account.available), balance - held);
    (balance, held)
}

pub(crate) fn listing(page_size: i32, page_token: &str) -> ListAccountEntriesRequest {
    ListAccountEntriesRequest {
        owner_id: String::new(),
        currency_code: "EUR".to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    }
}
