//! What the auditor keeps: how far each chain was followed, the sums on the way, the turn, and how its last audit
//! ended.

use std::time::Duration;

use bookkeeping::Advance;
use sqlx::FromRow;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::account::AccountKey;
use crate::domain::audit::{Kept, Sums};
use crate::domain::audit_outcome::{Audit, Failure, Known, Outcome};
use crate::error::{Error, Result};
use crate::storage::statement::statements;
use crate::storage::{Store, Tx};

statements! {
    AUDIT_BEGIN =
        "UPDATE audit_state SET owner = $1, lease_until = clock_timestamp() + make_interval(secs => $2)
         WHERE lease_until <= clock_timestamp()
         RETURNING clock_timestamp() AS now, started_at, ended_at, full_at, outcome, failed_at, failure,
                   failed_full";

    AUDIT_RENEW =
        "UPDATE audit_state SET lease_until = clock_timestamp() + make_interval(secs => $2) WHERE owner = $1";

    AUDIT_GIVE_UP = "UPDATE audit_state SET owner = NULL, lease_until = '-infinity' WHERE owner = $1";

    AUDIT_FAIL =
        "UPDATE audit_state
         SET owner = NULL, lease_until = '-infinity', failed_at = clock_timestamp(), failure = $2,
             failed_full = failed_full OR $3
         WHERE owner = $1";

    AUDIT_END =
        "UPDATE audit_state
         SET owner = NULL, lease_until = '-infinity', started_at = $2, ended_at = clock_timestamp(),
             full_at = CASE WHEN $4 THEN $2 ELSE full_at END, outcome = $3,
             failed_at = CASE WHEN failed_full AND NOT $4 THEN failed_at END,
             failure = CASE WHEN failed_full AND NOT $4 THEN failure END,
             failed_full = failed_full AND NOT $4
         WHERE owner = $1
         RETURNING ended_at";

    AUDIT_LAST =
        "SELECT clock_timestamp() AS now, started_at, ended_at, full_at, outcome, failed_at, failure,
                failed_full
         FROM audit_state";

    AUDIT_SUMS = "SELECT account, currency, debit, credit FROM audit_sums";

    AUDIT_ACCOUNTS_KEEP =
        "INSERT INTO audit_accounts AS kept (owner_id, currency, sequence, balance, hash)
         SELECT owner_id, currency, sequence, balance, hash
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[])
              AS new (owner_id, currency, sequence, balance, hash)
         ORDER BY owner_id, currency
         ON CONFLICT (owner_id, currency) DO UPDATE
         SET sequence = excluded.sequence, balance = excluded.balance, hash = excluded.hash
         WHERE (kept.owner_id, kept.currency, kept.sequence) IN (
             SELECT * FROM unnest($1::uuid[], $2::text[], $6::bigint[]))";

    AUDIT_SUMS_KEEP =
        "INSERT INTO audit_sums AS kept (account, currency, debit, credit)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
         ON CONFLICT (account, currency) DO UPDATE
         SET debit = kept.debit + excluded.debit, credit = kept.credit + excluded.credit";
}

/// An auditor's turn.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    /// The database's time when it began.
    pub(crate) started_at: OffsetDateTime,
    /// Since the last full audit; `None` before the first.
    pub(crate) full_age: Option<Duration>,
    /// How the audit before it ended.
    pub(crate) last: Option<Audit>,
}

#[derive(Debug, FromRow)]
struct StateRow {
    now: OffsetDateTime,
    started_at: Option<OffsetDateTime>,
    ended_at: Option<OffsetDateTime>,
    full_at: Option<OffsetDateTime>,
    outcome: Option<Json<Outcome>>,
    failed_at: Option<OffsetDateTime>,
    failure: Option<String>,
    failed_full: bool,
}

impl StateRow {
    fn known(self) -> Known {
        let ended = self.started_at.zip(self.ended_at).zip(self.outcome);
        let failed = self.failed_at.zip(self.failure);
        Known {
            last: ended.map(|((started_at, ended_at), Json(outcome))| Audit {
                started_at,
                ended_at,
                outcome,
            }),
            age: self.ended_at.map(|at| between(at, self.now)).unwrap_or_default(),
            full_at: self.full_at,
            failure: failed.map(|(failed_at, what)| Failure { failed_at, what, is_full: self.failed_full }),
        }
    }
}

/// Nothing when the database's clock was set back in between.
fn between(from: OffsetDateTime, to: OffsetDateTime) -> Duration {
    (to - from).try_into().unwrap_or_default()
}

#[derive(Debug, FromRow)]
struct SumRow {
    account: String,
    currency: String,
    debit: i64,
    credit: i64,
}

impl Store {
    /// Takes the auditor's turn if nobody has it.
    pub(crate) async fn audit_begin(&self, owner: Uuid, lease: Duration) -> Result<Option<Turn>> {
        let query = sqlx::query(AUDIT_BEGIN).bind(owner).bind(lease.as_secs_f64());
        let row: Option<StateRow> = self.read().await?.row(query).await?;
        Ok(row.map(|row| Turn {
            started_at: row.now,
            full_age: row.full_at.map(|at| between(at, row.now)),
            last: row.known().last,
        }))
    }

    /// Keeps the turn; `false` when it is another's by now.
    pub(crate) async fn audit_renew(&self, owner: Uuid, lease: Duration) -> Result<bool> {
        let query = sqlx::query(AUDIT_RENEW).bind(owner).bind(lease.as_secs_f64());
        Ok(self.read().await?.execute(query).await? == 1)
    }

    /// Gives the turn back without an outcome.
    pub(crate) async fn audit_give_up(&self, owner: Uuid) -> Result<()> {
        let query = sqlx::query(AUDIT_GIVE_UP).bind(owner);
        self.read().await?.execute(query).await.map(drop)
    }

    /// Gives the turn back, and keeps that this audit failed and what the caller is told of it.
    pub(crate) async fn audit_fail(&self, owner: Uuid, what: &str, is_full: bool) -> Result<()> {
        let query = sqlx::query(AUDIT_FAIL).bind(owner).bind(what).bind(is_full);
        self.read().await?.execute(query).await.map(drop)
    }

    /// Gives the turn back and keeps the outcome; the audit with the time of its end. `None` when the turn is
    /// another's by now.
    pub(crate) async fn audit_end(
        &self,
        owner: Uuid,
        started_at: OffsetDateTime,
        outcome: Outcome,
    ) -> Result<Option<Audit>> {
        let query =
            sqlx::query(AUDIT_END).bind(owner).bind(started_at).bind(Json(&outcome)).bind(outcome.is_full);
        let ended: Option<(OffsetDateTime,)> = self.read().await?.row(query).await?;
        Ok(ended.map(|(ended_at,)| Audit { started_at, ended_at, outcome }))
    }

    /// How the last audit ended, and whether one has failed since.
    pub(crate) async fn audit_last(&self) -> Result<Known> {
        let query = sqlx::query(AUDIT_LAST);
        Ok(self.read().await?.row(query).await?.map(StateRow::known).unwrap_or_default())
    }

    /// The sums of what was found in order.
    pub(crate) async fn audit_sums(&self) -> Result<Sums> {
        let query = sqlx::query(AUDIT_SUMS);
        let rows: Vec<SumRow> = self.read().await?.rows(query).await?;
        let sums = rows.into_iter().map(|row| {
            let kept = Kept::from_name(&row.account)
                .ok_or_else(|| Error::internal("an unknown kind of sum in the audit"))?;
            Ok(((kept, row.currency.parse().map_err(Error::internal)?), (row.debit, row.credit)))
        });
        sums.collect()
    }
}

impl Tx {
    /// Keeps how far the audit has come with some accounts, and adds what was new to the sums.
    /// `false` when another audit has moved one of them: roll back.
    pub(crate) async fn audit_advance(
        &mut self,
        advances: &[Advance<AccountKey>],
        sums: &Sums,
    ) -> Result<bool> {
        fn each<T>(advances: &[Advance<AccountKey>], column: impl Fn(&Advance<AccountKey>) -> T) -> Vec<T> {
            advances.iter().map(column).collect()
        }
        let query = sqlx::query(AUDIT_ACCOUNTS_KEEP)
            .bind(each(advances, |advance| advance.key.owner_id.uuid()))
            .bind(each(advances, |advance| advance.key.currency.code().to_owned()))
            .bind(each(advances, |advance| advance.to.sequence))
            .bind(each(advances, |advance| advance.to.balance))
            .bind(each(advances, |advance| advance.to.hash.to_vec()))
            .bind(each(advances, |advance| advance.from.map_or(0, |from| from.sequence)));
        if self.execute(query).await? != advances.len() as u64 {
            return Ok(false);
        }
        let query = sqlx::query(AUDIT_SUMS_KEEP)
            .bind(sums.0.keys().map(|(kept, _)| kept.as_str()).collect::<Vec<_>>())
            .bind(sums.0.keys().map(|(_, currency)| currency.code().to_owned()).collect::<Vec<_>>())
            .bind(sums.0.values().map(|(debit, _)| *debit).collect::<Vec<_>>())
            .bind(sums.0.values().map(|(_, credit)| *credit).collect::<Vec<_>>());
        self.execute(query).await?;
        Ok(true)
    }
}
