//! What the auditor reads of the book. Every read is one statement: entries never change, an account is one row, and
//! whatever was committed when one statement answered is there for the next.

use bookkeeping::{Chain, Hash};
use sqlx::FromRow;
use time::OffsetDateTime;
use types::{Money, TransferId};
use uuid::Uuid;

use crate::domain::account::{Account, AccountKey, Entry, Posting};
use crate::domain::audit::{Decided, Evidence};
use crate::domain::audit_funds::Reserved;
use crate::domain::transfer::{Decision, Kind};
use crate::error::{Error, Result};
use crate::storage::statement::statements;
use crate::storage::{STREAM, Store};

/// All that was committed at one moment, as what has to be stamped for it.
#[derive(Debug, Clone, Copy, FromRow)]
pub(crate) struct Taken {
    pub(crate) epoch: Uuid,
    /// The newest event of the outbox that had no position yet; 0 when all had one.
    pending: i64,
    pub(crate) in_flight: i64,
}

#[derive(Debug, FromRow)]
struct AccountRow {
    owner_id: Uuid,
    currency: String,
    balance: i64,
    held: i64,
    incoming: i64,
    sequence: i64,
    last_hash: Vec<u8>,
    audited_sequence: Option<i64>,
    audited_balance: Option<i64>,
    audited_hash: Option<Vec<u8>>,
    holds_held: i64,
    holds_incoming: i64,
}

/// An account as one statement saw it.
#[derive(Debug)]
pub(crate) struct Audited {
    pub(crate) account: Account,
    /// How far its chain was followed; `None` when never.
    pub(crate) from: Option<Chain>,
    /// What its HELD holds come to.
    pub(crate) holds: Reserved,
}

#[derive(Debug, FromRow)]
pub(super) struct DecidedRow {
    decision: Option<String>,
    #[sqlx(rename = "decided_kind")]
    kind: Option<String>,
    #[sqlx(rename = "decided_order_id")]
    order_id: Option<Uuid>,
    wallet_user_id: Option<Uuid>,
    account_owner_id: Option<Uuid>,
    #[sqlx(rename = "decided_amount")]
    amount: Option<i64>,
    #[sqlx(rename = "decided_currency")]
    currency: Option<String>,
}

macro_rules! decided {
    () => {
        "x.decision, x.kind AS decided_kind, x.order_id AS decided_order_id, x.wallet_user_id, \
         x.account_owner_id, x.amount AS decided_amount, x.currency AS decided_currency"
    };
}
pub(super) use decided;

statements! {
    AUDIT_ACCOUNTS =
        "SELECT page.*, coalesce(h.held, 0)::bigint AS holds_held,
                coalesce(h.incoming, 0)::bigint AS holds_incoming
         FROM (SELECT a.owner_id, a.currency, a.balance, a.held, a.incoming, a.sequence, a.last_hash,
                      c.sequence AS audited_sequence, c.balance AS audited_balance, c.hash AS audited_hash
               FROM accounts a
                    LEFT JOIN audit_accounts c ON c.owner_id = a.owner_id AND c.currency = a.currency
               WHERE (a.owner_id, a.currency) > ($1, $2)
                 AND ($4 OR (c.sequence IS NULL AND (a.sequence <> 0 OR a.balance <> 0))
                         OR (a.sequence, a.balance, a.last_hash) <> (c.sequence, c.balance, c.hash)
                         OR a.held <> 0 OR a.incoming <> 0
                         OR (a.owner_id, a.currency) IN (
                             SELECT owner_id, currency FROM holds WHERE state = 'held'))
               ORDER BY a.owner_id, a.currency LIMIT $3) AS page
              LEFT JOIN LATERAL (
                  SELECT sum(amount) FILTER (WHERE direction = 'debit') AS held,
                         sum(amount) FILTER (WHERE direction = 'credit') AS incoming
                  FROM holds
                  WHERE owner_id = page.owner_id AND currency = page.currency AND state = 'held') AS h ON true
         ORDER BY page.owner_id, page.currency";

    AUDIT_ENTRIES =
        concat!(
            "SELECT e.sequence, e.transfer_id, p.order_id, p.kind, p.created_at, e.credit - e.debit AS amount,
                    e.balance_after, e.hash, t.credit - t.debit AS transit, ",
            decided!(),
            " FROM entries e
                  LEFT JOIN postings p ON p.transfer_id = e.transfer_id
                  LEFT JOIN entries t ON t.transfer_id = e.transfer_id AND t.account = 'transit'
                                     AND t.currency = e.currency
                  LEFT JOIN transfers x ON x.id = e.transfer_id
             WHERE e.owner_id = $1 AND e.currency = $2 AND e.sequence > $3 AND e.sequence <= $4
             ORDER BY e.sequence LIMIT $5"
        );

    AUDIT_POSTINGS =
        concat!(
            "SELECT x.id AS transfer_id, e.credit - e.debit AS amount, ",
            decided!(),
            " FROM transfers x LEFT JOIN entries e ON e.transfer_id = x.id AND e.account = 'merchant'
             WHERE x.id = ANY($1)"
        );

    AUDIT_TAKE =
        "SELECT epoch,
                (SELECT coalesce(max(id), 0) FROM outbox WHERE stream = $1 AND position IS NULL) AS pending,
                (SELECT count(*) FROM transfers WHERE next_attempt_at IS NOT NULL) AS in_flight
         FROM outbox_lease
         WHERE stream = $1 AND system_identifier IN ('', $2) AND timeline IN ('', $3)";

    AUDIT_POSITION =
        "SELECT next_position - 1 FROM outbox_lease
         WHERE stream = $1 AND epoch = $3
           AND NOT EXISTS (SELECT 1 FROM outbox WHERE stream = $1 AND position IS NULL AND id <= $2)";

    AUDIT_LOOSE =
        "SELECT e.transfer_id, min(e.currency) AS currency, sum(e.credit - e.debit)::bigint AS net,
                NOT coalesce(bool_or(a.sequence >= e.sequence), false) AS is_loose
         FROM (SELECT DISTINCT transfer_id FROM entries WHERE transfer_id > $1 ORDER BY 1 LIMIT $2) AS page
              JOIN entries e ON e.transfer_id = page.transfer_id
              LEFT JOIN accounts a ON a.owner_id = e.owner_id AND a.currency = e.currency
         GROUP BY e.transfer_id ORDER BY e.transfer_id";
}

#[derive(Debug, FromRow)]
struct EntryRow {
    sequence: i64,
    transfer_id: Uuid,
    order_id: Option<Uuid>,
    kind: Option<String>,
    created_at: Option<OffsetDateTime>,
    amount: i64,
    balance_after: i64,
    hash: Vec<u8>,
    transit: Option<i64>,
    #[sqlx(flatten)]
    decided: DecidedRow,
}

#[derive(Debug, FromRow)]
struct PostingRow {
    transfer_id: Uuid,
    amount: Option<i64>,
    #[sqlx(flatten)]
    decided: DecidedRow,
}

/// A posting that no chain leads to as it should.
#[derive(Debug, FromRow)]
pub(crate) struct Loose {
    transfer_id: Uuid,
    currency: String,
    net: i64,
    is_loose: bool,
}

impl Loose {
    /// The transfer, and what its entries are off by.
    pub(crate) fn into_parts(self) -> Result<(TransferId, Money, bool)> {
        let money = Money::new(self.currency.parse().map_err(Error::internal)?, self.net);
        Ok((self.transfer_id.into(), money, self.is_loose))
    }
}

fn hash(bytes: Vec<u8>) -> Result<Hash> {
    bytes.try_into().map_err(|_| Error::internal("a hash has not 32 bytes"))
}

fn kind(name: &str) -> Result<Kind> {
    Kind::from_name(name).ok_or_else(|| Error::internal("an unknown kind of posting"))
}

impl AccountRow {
    fn into_audited(self) -> Result<Audited> {
        let key = AccountKey {
            owner_id: self.owner_id.into(),
            currency: self.currency.parse().map_err(Error::internal)?,
        };
        let account = Account {
            balance: self.balance,
            held: self.held,
            incoming: self.incoming,
            sequence: self.sequence,
            last_hash: hash(self.last_hash)?,
            ..Account::empty(key)
        };
        let from = match (self.audited_sequence, self.audited_balance, self.audited_hash) {
            (Some(sequence), Some(balance), Some(bytes)) => {
                Some(Chain { sequence, balance, hash: hash(bytes)? })
            }
            _ => None,
        };
        let holds = Reserved { held: self.holds_held, incoming: self.holds_incoming };
        Ok(Audited { account, from, holds })
    }
}

impl DecidedRow {
    pub(super) fn into_decided(self) -> Result<Option<Decided>> {
        let (Some(name), Some(order), Some(user), Some(owner), Some(amount), Some(currency)) = (
            self.kind,
            self.order_id,
            self.wallet_user_id,
            self.account_owner_id,
            self.amount,
            self.currency,
        ) else {
            return Ok(None);
        };
        Ok(Some(Decided {
            decision: match self.decision.as_deref() {
                None => None,
                Some("confirm") => Some(Decision::Confirm),
                Some(_) => Some(Decision::Cancel),
            },
            kind: kind(&name)?,
            order_id: order.into(),
            wallet_user_id: user.into(),
            account_owner_id: owner.into(),
            amount: Money::new(currency.parse().map_err(Error::internal)?, amount),
        }))
    }
}

impl EntryRow {
    /// Without its posting nothing tells what the hash was made of; it will not fit, and that is told too.
    fn into_parts(self, account: AccountKey) -> Result<(Entry, Evidence)> {
        let posting = Posting {
            transfer_id: self.transfer_id.into(),
            order_id: self.order_id.unwrap_or_default().into(),
            kind: self.kind.as_deref().map_or(Ok(Kind::Pay), kind)?,
            at: self.created_at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        };
        let evidence = Evidence {
            transit: self.transit,
            has_posting: self.order_id.is_some(),
            transfer: self.decided.into_decided()?,
        };
        let entry = Entry {
            account,
            sequence: self.sequence,
            posting,
            amount: self.amount,
            balance_after: self.balance_after,
            hash: hash(self.hash)?,
        };
        Ok((entry, evidence))
    }
}

impl Store {
    /// At most `limit` accounts above a key, in the order of their keys, with how far each was followed and what
    /// its holds come to: those that are not as the auditor left them or have something set aside, or all.
    pub(crate) async fn audit_accounts(
        &self,
        above: Option<AccountKey>,
        limit: i64,
        all: bool,
    ) -> Result<Vec<Audited>> {
        let query = sqlx::query(AUDIT_ACCOUNTS)
            .bind(above.map_or(Uuid::nil(), |key| key.owner_id.uuid()))
            .bind(above.map_or_else(String::new, |key| key.currency.code().to_owned()))
            .bind(limit)
            .bind(all);
        let rows: Vec<AccountRow> = self.read().await?.rows(query).await?;
        rows.into_iter().map(AccountRow::into_audited).collect()
    }

    /// At most `limit` entries of an account above a sequence and up to another, oldest first.
    pub(crate) async fn audit_entries(
        &self,
        key: AccountKey,
        above: i64,
        up_to: i64,
        limit: i64,
    ) -> Result<Vec<(Entry, Evidence)>> {
        let query = sqlx::query(AUDIT_ENTRIES)
            .bind(key.owner_id.uuid())
            .bind(key.currency.code())
            .bind(above)
            .bind(up_to)
            .bind(limit);
        let rows: Vec<EntryRow> = self.read().await?.rows(query).await?;
        rows.into_iter().map(|row| row.into_parts(key)).collect()
    }

    /// What this book has of these transfers: the decision, and what was entered in the account.
    pub(crate) async fn audit_postings(
        &self,
        ids: &[TransferId],
    ) -> Result<Vec<(TransferId, Decided, Option<Money>)>> {
        let query = sqlx::query(AUDIT_POSTINGS).bind(ids.iter().map(|id| id.uuid()).collect::<Vec<_>>());
        let rows: Vec<PostingRow> = self.read().await?.rows(query).await?;
        let parts = rows.into_iter().map(|row| {
            let decided = row.decided.into_decided()?;
            let decided = decided.ok_or_else(|| Error::internal("a transfer without its content"))?;
            let amount = row.amount.map(|amount| Money::new(decided.amount.currency, amount));
            Ok((row.transfer_id.into(), decided, amount))
        });
        parts.collect()
    }

    /// Notes all that is committed; `None` while the sequencer has not seen which server this is.
    pub(crate) async fn audit_take(&self) -> Result<Option<Taken>> {
        let mut connection = self.read().await?;
        let server = connection.server().await?;
        let query = sqlx::query(AUDIT_TAKE).bind(STREAM).bind(server.system_identifier).bind(server.timeline);
        connection.row(query).await
    }

    /// A position that no event of what was taken is above; `None` while one of them has none.
    pub(crate) async fn audit_position(&self, taken: &Taken) -> Result<Option<i64>> {
        let query = sqlx::query(AUDIT_POSITION).bind(STREAM).bind(taken.pending).bind(taken.epoch);
        Ok(self.read().await?.row::<(i64,)>(query).await?.map(|(position,)| position))
    }

    /// The `limit` postings above an id, each with whether a chain leads to it.
    pub(crate) async fn audit_loose(&self, above: TransferId, limit: i64) -> Result<Vec<Loose>> {
        let query = sqlx::query(AUDIT_LOOSE).bind(above.uuid()).bind(limit);
        self.read().await?.rows(query).await
    }
}
