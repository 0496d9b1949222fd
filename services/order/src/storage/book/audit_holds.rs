//! What the auditor reads of what is set aside, and of orders: each page is one statement, so it sees a decision with
//! all that the decision's transaction changed, or with none of it.

use events::Hold;
use sqlx::FromRow;
use types::{OrderId, TransferId};
use uuid::Uuid;

use super::audit::{DecidedRow, decided};
use super::holds::Row as HoldRow;
use crate::domain::audit::Decided;
use crate::domain::audit_funds::{OrderSums, Sums};
use crate::error::{Error, Result};
use crate::storage::Store;
use crate::storage::statement::statements;

macro_rules! hold_of_h {
    () => {
        "h.transfer_id, h.owner_id, h.direction, h.amount, h.currency, h.order_id, h.expires_at, h.state, \
         h.refusal, h.version"
    };
}

statements! {
    AUDIT_OVERDUE =
        concat!(
            "SELECT ",
            hold_of_h!(),
            " FROM holds h
             WHERE state = 'held' AND expires_at < clock_timestamp() - $1 * interval '1 second'
             ORDER BY owner_id, currency LIMIT $2"
        );

    AUDIT_HELD =
        concat!(
            "SELECT ",
            hold_of_h!(),
            ", ",
            decided!(),
            " FROM holds h LEFT JOIN transfers x ON x.id = h.transfer_id
             WHERE h.state = 'held' AND (x.id IS NULL OR x.decision IS NOT NULL)
             ORDER BY h.owner_id, h.currency LIMIT $1"
        );

    AUDIT_HOLDS =
        concat!(
            "SELECT ",
            hold_of_h!(),
            ", ",
            decided!(),
            " FROM holds h LEFT JOIN transfers x ON x.id = h.transfer_id
             WHERE h.transfer_id > $1 ORDER BY h.transfer_id LIMIT $2"
        );

    AUDIT_TRANSFERS =
        concat!(
            "SELECT x.id AS transfer_id, e.transfer_id IS NOT NULL AS has_entry,
                    h.transfer_id IS NOT NULL AS has_hold, ",
            decided!(),
            " FROM transfers x
                  LEFT JOIN entries e ON e.transfer_id = x.id AND e.account = 'merchant'
                  LEFT JOIN holds h ON h.transfer_id = x.id
             WHERE x.id > $1 ORDER BY x.id LIMIT $2"
        );

    /// Each part says just what one of the partial indexes on orders says.
    AUDIT_ORDERS =
        "SELECT o.id, o.currency, o.state, o.paid_minor_units, o.refunded_minor_units,
                o.refund_pending_minor_units, payment.paid::bigint, refunds.refunded::bigint,
                refunds.pending::bigint, payment.paying
         FROM (SELECT * FROM orders WHERE id > $1 ORDER BY id LIMIT $2) AS o
              LEFT JOIN LATERAL (
                  SELECT coalesce(sum(amount) FILTER (WHERE decision = 'confirm'), 0) AS paid,
                         count(*) FILTER (WHERE decision IS NULL) AS paying
                  FROM transfers
                  WHERE order_id = o.id AND kind = 'pay' AND decision IS DISTINCT FROM 'cancel'
              ) AS payment ON true
              LEFT JOIN LATERAL (
                  SELECT coalesce(sum(amount) FILTER (WHERE decision = 'confirm'), 0) AS refunded,
                         coalesce(sum(amount) FILTER (WHERE decision IS NULL), 0) AS pending
                  FROM transfers
                  WHERE order_id = o.id AND kind = 'refund' AND decision IS DISTINCT FROM 'cancel'
              ) AS refunds ON true
         ORDER BY o.id";
}

#[derive(Debug, FromRow)]
struct HeldRow {
    #[sqlx(flatten)]
    hold: HoldRow,
    #[sqlx(flatten)]
    decided: DecidedRow,
}

#[derive(Debug, FromRow)]
struct TransferRow {
    transfer_id: Uuid,
    has_entry: bool,
    has_hold: bool,
    #[sqlx(flatten)]
    decided: DecidedRow,
}

#[derive(Debug, FromRow)]
struct OrderRow {
    id: Uuid,
    currency: String,
    state: String,
    paid_minor_units: i64,
    refunded_minor_units: i64,
    refund_pending_minor_units: i64,
    paid: i64,
    refunded: i64,
    pending: i64,
    paying: i64,
}

/// A transfer, and whether this side has what it should have of it.
#[derive(Debug)]
pub(crate) struct AuditedTransfer {
    pub(crate) id: TransferId,
    pub(crate) decided: Decided,
    pub(crate) has_entry: bool,
    pub(crate) has_hold: bool,
}

impl HeldRow {
    fn into_parts(self) -> Result<(Hold, Option<Decided>)> {
        Ok((self.hold.try_into()?, self.decided.into_decided()?))
    }
}

impl TransferRow {
    fn into_transfer(self) -> Result<AuditedTransfer> {
        let decided = self.decided.into_decided()?;
        Ok(AuditedTransfer {
            id: self.transfer_id.into(),
            decided: decided.ok_or_else(|| Error::internal("a transfer without its content"))?,
            has_entry: self.has_entry,
            has_hold: self.has_hold,
        })
    }
}

impl OrderRow {
    fn into_order(self) -> Result<OrderSums> {
        Ok(OrderSums {
            id: self.id.into(),
            currency: self.currency.parse().map_err(Error::internal)?,
            state: self.state.parse().map_err(|error: String| Error::internal(error))?,
            shown: Sums {
                paid: self.paid_minor_units,
                refunded: self.refunded_minor_units,
                refund_pending: self.refund_pending_minor_units,
            },
            moved: Sums { paid: self.paid, refunded: self.refunded, refund_pending: self.pending },
            paying: self.paying,
        })
    }
}

impl Store {
    /// At most `limit` holds that are HELD and have been past their time for so many seconds.
    pub(crate) async fn audit_overdue(&self, seconds: i64, limit: i64) -> Result<Vec<Hold>> {
        let query = sqlx::query(AUDIT_OVERDUE).bind(seconds).bind(limit);
        let rows: Vec<HoldRow> = self.read().await?.rows(query).await?;
        rows.into_iter().map(Hold::try_from).collect()
    }

    /// At most `limit` holds that are HELD though their transfer is decided, or not there. Costs a read of those
    /// that are HELD.
    pub(crate) async fn audit_held(&self, limit: i64) -> Result<Vec<(Hold, Option<Decided>)>> {
        let query = sqlx::query(AUDIT_HELD).bind(limit);
        let rows: Vec<HeldRow> = self.read().await?.rows(query).await?;
        rows.into_iter().map(HeldRow::into_parts).collect()
    }

    /// The `limit` holds above an id, each with its transfer.
    pub(crate) async fn audit_holds(
        &self,
        above: TransferId,
        limit: i64,
    ) -> Result<Vec<(Hold, Option<Decided>)>> {
        let query = sqlx::query(AUDIT_HOLDS).bind(above.uuid()).bind(limit);
        let rows: Vec<HeldRow> = self.read().await?.rows(query).await?;
        rows.into_iter().map(HeldRow::into_parts).collect()
    }

    /// The `limit` transfers above an id, each with whether it has an entry and a hold in an account.
    pub(crate) async fn audit_transfers(
        &self,
        above: TransferId,
        limit: i64,
    ) -> Result<Vec<AuditedTransfer>> {
        let query = sqlx::query(AUDIT_TRANSFERS).bind(above.uuid()).bind(limit);
        let rows: Vec<TransferRow> = self.read().await?.rows(query).await?;
        rows.into_iter().map(TransferRow::into_transfer).collect()
    }

    /// The `limit` orders above an id, each with what its transfers come to.
    pub(crate) async fn audit_orders(&self, above: OrderId, limit: i64) -> Result<Vec<OrderSums>> {
        let query = sqlx::query(AUDIT_ORDERS).bind(above.uuid()).bind(limit);
        let rows: Vec<OrderRow> = self.read().await?.rows(query).await?;
        rows.into_iter().map(OrderRow::into_order).collect()
    }
}
