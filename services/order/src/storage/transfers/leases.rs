//! The recovery worker's side of the coordinator's rows. Transfers are independent of each other, so workers
//! skip what another has locked; a fence keeps a worker that was paused past its lease from writing.

use std::time::Duration;

use sqlx::FromRow;
use time::OffsetDateTime;
use types::TransferId;
use uuid::Uuid;

use super::{Row, columns};
use crate::domain::transfer::Transfer;
use crate::error::Result;
use crate::storage::statement::statements;
use crate::storage::{Store, Tx};

statements! {
    TRANSFERS_CLAIM =
        concat!(
            "UPDATE transfers
             SET lease_owner = $1, lease_until = clock_timestamp() + $2 * interval '1 millisecond',
                 fence = fence + 1, attempts = attempts + 1
             WHERE id IN (
                 SELECT id FROM transfers
                 WHERE next_attempt_at <= clock_timestamp()
                   AND (lease_until IS NULL OR lease_until <= clock_timestamp())
                 ORDER BY next_attempt_at LIMIT $3
                 FOR UPDATE SKIP LOCKED)
             RETURNING ",
            columns!(),
            ", fence, clock_timestamp() AS seen_at"
        );

    TRANSFER_AGES =
        "SELECT max(extract(epoch FROM clock_timestamp() - created_at)) FILTER (WHERE decision IS NULL)
                    ::float8 AS undecided_seconds,
                max(extract(epoch FROM clock_timestamp() - decided_at)) FILTER (WHERE decision IS NOT NULL)
                    ::float8 AS unfinished_seconds,
                (SELECT count(*) FROM transfers WHERE needs_operator) AS needs_operator
         FROM transfers WHERE next_attempt_at IS NOT NULL";

    TRANSFER_LOOK_AGAIN =
        "UPDATE transfers
         SET next_attempt_at = clock_timestamp() + $5 * interval '1 millisecond',
             -- What called an operator stays to be read until the transfer moves.
             last_error = CASE WHEN needs_operator AND last_error <> '' THEN last_error ELSE $6 END,
             version = version + (needs_operator <> (needs_operator OR $7))::integer,
             needs_operator = needs_operator OR $7, lease_owner = NULL, lease_until = NULL
         WHERE id = $1 AND lease_owner = $2 AND fence = $3 AND state = $4";

    CLAIM_HOLDS = "SELECT 1 FROM transfers WHERE id = $1 AND lease_owner = $2 AND fence = $3";
}

/// A transfer that a worker looks after for a while.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// The transfer as it was claimed.
    pub(crate) transfer: Transfer,
    /// Rises with each claim.
    pub(crate) fence: i64,
    /// Whether its deadline had passed.
    pub(crate) late: bool,
}

/// What a worker found out about a transfer that it could not move.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    /// When to look again.
    pub(crate) again_after: Duration,
    /// What is wrong.
    pub(crate) error: &'a str,
    /// Whether somebody has to look.
    pub(crate) needs_operator: bool,
}

/// How old the oldest unfinished transfers are, and how many an operator has to look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, FromRow)]
pub(crate) struct Ages {
    /// Seconds since the oldest undecided one was started.
    pub(crate) undecided_seconds: Option<f64>,
    /// Seconds since the oldest unfinished one was decided.
    pub(crate) unfinished_seconds: Option<f64>,
    /// Transfers that wait for an operator, those that have ended included.
    pub(crate) needs_operator: i64,
}

#[derive(Debug, FromRow)]
struct ClaimedRow {
    #[sqlx(flatten)]
    row: Row,
    fence: i64,
    seen_at: OffsetDateTime,
}

impl Store {
    /// Claims at most `limit` transfers whose time to be looked at has come.
    pub(crate) async fn transfers_claim(
        &self,
        owner: Uuid,
        lease: Duration,
        limit: i64,
    ) -> Result<Vec<Claim>> {
        let query = sqlx::query(TRANSFERS_CLAIM).bind(owner).bind(millis(lease)).bind(limit);
        let rows: Vec<ClaimedRow> = self.read().await?.rows(query).await?;
        let claim = |row: ClaimedRow| -> Result<Claim> {
            let transfer = Transfer::try_from(row.row)?;
            Ok(Claim { fence: row.fence, late: transfer.deadline <= row.seen_at, transfer })
        };
        // One that cannot be read, such as a newer release's, must not keep the others from being worked on; its
        // lease keeps it away for a while.
        let readable = |claim: Result<Claim>| {
            claim
                .inspect_err(|error| {
                    tracing::error!(error = types::chain(error), "a claimed transfer cannot be read")
                })
                .ok()
        };
        Ok(rows.into_iter().map(claim).filter_map(readable).collect())
    }

    /// How old the oldest unfinished transfers are, and how many an operator has to look at.
    pub(crate) async fn transfer_ages(&self) -> Result<Ages> {
        let query = sqlx::query(TRANSFER_AGES);
        Ok(self.read().await?.row(query).await?.unwrap_or_default())
    }

    /// Gives a claim back with what was found; `false` when the claim is another's by now, or the transfer
    /// has moved.
    pub(crate) async fn transfer_look_again(
        &self,
        claim: &Claim,
        owner: Uuid,
        look: Look<'_>,
    ) -> Result<bool> {
        let query = sqlx::query(TRANSFER_LOOK_AGAIN)
            .bind(claim.transfer.id.uuid())
            .bind(owner)
            .bind(claim.fence)
            .bind(claim.transfer.state.as_str())
            .bind(millis(look.again_after))
            .bind(look.error)
            .bind(look.needs_operator);
        Ok(self.read().await?.execute(query).await? == 1)
    }
}

impl Tx {
    /// Whether a claim is still its worker's. The transfer is locked by now.
    pub(crate) async fn claim_holds(&mut self, id: TransferId, owner: Uuid, fence: i64) -> Result<bool> {
        let query = sqlx::query(CLAIM_HOLDS).bind(id.uuid()).bind(owner).bind(fence);
        Ok(self.row::<(i32,)>(query).await?.is_some())
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
