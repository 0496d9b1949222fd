//! The book: postings of two lines each, one of a merchant's account and one of `transit`. Lines are only ever
//! inserted; the database refuses anything else, and postings that do not cancel out.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::account::{AccountKey, Entry, Posting};
use crate::domain::transfer::Kind;
use crate::error::{Error, Result};
use crate::storage::statement::statements;
use crate::storage::{Store, Tx};

statements! {
    ACCOUNT_ENTRIES =
        "SELECT e.sequence, e.transfer_id, p.order_id, p.kind, e.credit - e.debit AS amount,
                e.balance_after, e.hash, p.created_at
         FROM entries e JOIN postings p USING (transfer_id)
         WHERE e.owner_id = $1 AND e.currency = $2 AND e.sequence < $3
         ORDER BY e.sequence DESC LIMIT $4";

    ENTRIES_APPEND =
        "WITH new AS MATERIALIZED (
             SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::uuid[],
                                  $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[])
                           AS new (transfer_id, order_id, kind, created_at, owner_id, currency, sequence,
                                   amount, balance_after, hash)),
         posted AS (
             INSERT INTO postings (transfer_id, order_id, kind, created_at)
             SELECT transfer_id, order_id, kind, created_at FROM new)
         INSERT INTO entries (transfer_id, account, currency, debit, credit, owner_id, sequence,
                              balance_after, hash)
         SELECT transfer_id, 'merchant', currency, greatest(-amount, 0), greatest(amount, 0), owner_id,
                sequence, balance_after, hash
         FROM new
         UNION ALL
         SELECT transfer_id, 'transit', currency, greatest(amount, 0), greatest(-amount, 0), NULL, NULL,
                NULL, NULL
         FROM new";

    TRIAL_BALANCE =
        "WITH new AS MATERIALIZED (
             SELECT e.transfer_id
             FROM accounts a
                  LEFT JOIN audit_accounts c ON c.owner_id = a.owner_id AND c.currency = a.currency
                  JOIN entries e ON e.owner_id = a.owner_id AND e.currency = a.currency
                                AND e.sequence > coalesce(c.sequence, 0)
             WHERE a.sequence > coalesce(c.sequence, 0)),
         lines AS (
             SELECT account, currency, sum(debit) AS debit, sum(credit) AS credit
             FROM (SELECT account, currency, debit, credit FROM audit_sums WHERE account <> 'wallets'
                   UNION ALL
                   SELECT CASE e.account WHEN 'merchant' THEN 'accounts' ELSE e.account END, e.currency,
                          e.debit, e.credit
                   FROM new JOIN entries e ON e.transfer_id = new.transfer_id) AS line
             GROUP BY 1, 2),
         shown AS (
             SELECT 'accounts' AS account, currency, sum(balance) AS balance, sum(held) AS held
             FROM accounts GROUP BY 2),
         unfinished AS (SELECT count(*) AS count FROM transfers WHERE state = 'confirming')
         SELECT account, currency, coalesce(debit, 0)::bigint AS debit, coalesce(credit, 0)::bigint AS credit,
                coalesce(balance, 0)::bigint AS balance, coalesce(held, 0)::bigint AS held,
                unfinished.count AS unfinished
         FROM unfinished LEFT JOIN (lines FULL JOIN shown USING (account, currency)) ON true
         ORDER BY currency, account";
}

/// One line of a trial balance.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct TrialBalanceLine {
    /// `accounts` or `transit`.
    pub(crate) account: String,
    /// ISO 4217.
    pub(crate) currency: String,
    /// Sum of the debits.
    pub(crate) debit: i64,
    /// Sum of the credits.
    pub(crate) credit: i64,
    /// Sum of the balances that accounts show.
    pub(crate) balance: i64,
    /// Reserved by running refunds.
    pub(crate) held: i64,
}

/// The sums of the book at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrialBalance {
    /// By currency, then account.
    pub(crate) lines: Vec<TrialBalanceLine>,
    /// Transfers that are decided CONFIRM and not complete.
    pub(crate) unfinished: i64,
}

#[derive(Debug, FromRow)]
struct TrialRow {
    account: Option<String>,
    currency: Option<String>,
    debit: Option<i64>,
    credit: Option<i64>,
    balance: Option<i64>,
    held: Option<i64>,
    unfinished: i64,
}

#[derive(Debug, FromRow)]
struct EntryRow {
    sequence: i64,
    transfer_id: Uuid,
    order_id: Uuid,
    kind: String,
    amount: i64,
    balance_after: i64,
    hash: Vec<u8>,
    created_at: OffsetDateTime,
}

impl EntryRow {
    fn into_entry(self, account: AccountKey) -> Result<Entry> {
        Ok(Entry {
            account,
            sequence: self.sequence,
            posting: Posting {
                transfer_id: self.transfer_id.into(),
                order_id: self.order_id.into(),
                kind: Kind::from_name(&self.kind)
                    .ok_or_else(|| Error::internal("an unknown kind of posting"))?,
                at: self.created_at,
            },
            amount: self.amount,
            balance_after: self.balance_after,
            hash: self.hash.try_into().map_err(|_| Error::internal("a hash has not 32 bytes"))?,
        })
    }
}

impl Tx {
    /// Inserts entries of locked accounts with the other side of each, in `transit`.
    pub(crate) async fn entries_insert(&mut self, entries: &[Entry]) -> Result<()> {
        fn each<T>(entries: &[Entry], column: impl Fn(&Entry) -> T) -> Vec<T> {
            entries.iter().map(column).collect()
        }
        let query = sqlx::query(ENTRIES_APPEND)
            .bind(each(entries, |entry| entry.posting.transfer_id.uuid()))
            .bind(each(entries, |entry| entry.posting.order_id.uuid()))
            .bind(each(entries, |entry| entry.posting.kind.as_str()))
            .bind(each(entries, |entry| entry.posting.at))
            .bind(each(entries, |entry| entry.account.owner_id.uuid()))
            .bind(each(entries, |entry| entry.account.currency.code().to_owned()))
            .bind(each(entries, |entry| entry.sequence))
            .bind(each(entries, |entry| entry.amount))
            .bind(each(entries, |entry| entry.balance_after))
            .bind(each(entries, |entry| entry.hash.to_vec()));
        self.execute(query).await?;
        Ok(())
    }
}

impl Store {
    /// At most `limit` entries of an account below a sequence, newest first.
    pub(crate) async fn entries_list(&self, key: AccountKey, below: i64, limit: u32) -> Result<Vec<Entry>> {
        let query = sqlx::query(ACCOUNT_ENTRIES)
            .bind(key.owner_id.uuid())
            .bind(key.currency.code())
            .bind(below)
            .bind(i64::from(limit));
        let rows: Vec<EntryRow> = self.read().await?.rows(query).await?;
        rows.into_iter().map(|row| row.into_entry(key)).collect()
    }

    /// Sums the book: one statement, so one snapshot. The auditor has summed up what it found in order, so only
    /// entries behind its checkpoints are read; each with the other side of its posting.
    pub(crate) async fn trial_balance(&self) -> Result<TrialBalance> {
        let query = sqlx::query(TRIAL_BALANCE);
        let rows: Vec<TrialRow> = self.read().await?.rows(query).await?;
        let unfinished = rows.first().map_or(0, |row| row.unfinished);
        let lines = rows.into_iter().filter_map(TrialRow::into_line).collect();
        Ok(TrialBalance { lines, unfinished })
    }
}

impl TrialRow {
    /// `None` for the row that only brings the count, when the book is empty.
    fn into_line(self) -> Option<TrialBalanceLine> {
        Some(TrialBalanceLine {
            account: self.account?,
            currency: self.currency?,
            debit: self.debit?,
            credit: self.credit?,
            balance: self.balance?,
            held: self.held?,
        })
    }
}
