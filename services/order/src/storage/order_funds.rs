//! The columns of orders that transfers read and write, under the order's lock, for any number of orders in
//! one statement.

use std::collections::BTreeSet;

use sqlx::FromRow;
use time::OffsetDateTime;
use types::{Fingerprint, Money, OrderId, RequestKey, TransferId, UserId};
use uuid::Uuid;

use super::statement::statements;
use super::transfers::first;
use super::{Store, Tx};
use crate::domain::account::{Account, AccountKey};
use crate::domain::order_funds::OrderFunds;
use crate::error::{Error, Result};

macro_rules! columns {
    () => {
        "id, customer_id, seller_id, state, currency, total_minor_units, paid_minor_units, refunded_minor_units, \
         refund_pending_minor_units, payer_id, version, event_version, updated_at"
    };
}

statements! {
    PAYMENT_VIEW =
        concat!(
            "SELECT ",
            columns!(),
            ", transfer_id, fingerprint, balance, incoming, clock_timestamp() AS seen_at
             FROM orders
             LEFT JOIN (SELECT id AS transfer_id, fingerprint FROM transfers
                        WHERE request_id = $1 AND principal = $2 AND method = $3) AS first ON true
             LEFT JOIN (SELECT owner_id, currency AS account_currency, balance, incoming FROM accounts) AS account
                    ON owner_id = seller_id AND account_currency = currency
             WHERE id = $4"
        );

    ORDER_FUNDS_LOCK =
        concat!(
            "WITH locked AS MATERIALIZED (SELECT * FROM orders WHERE id = $1 FOR UPDATE)
             SELECT ",
            columns!(),
            ", clock_timestamp() AS seen_at FROM locked"
        );

    ORDERS_OF_TRANSFERS_LOCK =
        concat!(
            "SELECT ",
            columns!(),
            ", now() AS seen_at FROM orders
             WHERE id IN (SELECT order_id FROM transfers WHERE id = ANY($1) AND decision IS NULL)
             ORDER BY id FOR UPDATE"
        );

    ORDERS_WRITE_FUNDS =
        "UPDATE orders
         SET state = new.state, paid_minor_units = new.paid, refunded_minor_units = new.refunded,
             refund_pending_minor_units = new.pending, payer_id = new.payer_id, version = new.version,
             event_version = new.event_version, updated_at = new.updated_at
         FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::uuid[],
                     $7::bigint[], $8::bigint[], $9::timestamptz[])
              AS new (id, state, paid, refunded, pending, payer_id, version, event_version, updated_at)
         WHERE orders.id = new.id";
}

#[derive(Debug, FromRow)]
struct Row {
    id: Uuid,
    customer_id: Uuid,
    seller_id: Uuid,
    state: String,
    currency: String,
    total_minor_units: i64,
    paid_minor_units: i64,
    refunded_minor_units: i64,
    refund_pending_minor_units: i64,
    payer_id: Option<Uuid>,
    version: i64,
    event_version: i64,
    updated_at: OffsetDateTime,
    seen_at: OffsetDateTime,
}

impl TryFrom<Row> for OrderFunds {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let currency = row.currency.parse().map_err(Error::internal)?;
        Ok(Self {
            id: row.id.into(),
            customer_id: row.customer_id.into(),
            seller_id: row.seller_id.into(),
            state: row.state.parse().map_err(|error: String| Error::internal(error))?,
            total: Money::new(currency, row.total_minor_units),
            paid: row.paid_minor_units,
            refunded: row.refunded_minor_units,
            refund_pending: row.refund_pending_minor_units,
            payer_id: row.payer_id.map(UserId::from),
            version: row.version,
            event_version: row.event_version,
            updated_at: row.updated_at,
        })
    }
}

/// All that the beginning of a payment needs, read in one snapshot and without locks.
#[derive(Debug)]
pub(crate) struct PaymentView {
    /// The transfer that the request has started before, and what that request said.
    pub(crate) first: Option<(TransferId, Fingerprint)>,
    /// The order.
    pub(crate) order: OrderFunds,
    /// The account that is paid to.
    pub(crate) account: Account,
    /// The database's time.
    pub(crate) now: OffsetDateTime,
}

#[derive(Debug, FromRow)]
struct ViewRow {
    #[sqlx(flatten)]
    order: Row,
    transfer_id: Option<Uuid>,
    fingerprint: Option<Vec<u8>>,
    balance: Option<i64>,
    incoming: Option<i64>,
}

impl TryFrom<ViewRow> for PaymentView {
    type Error = Error;

    fn try_from(row: ViewRow) -> Result<Self> {
        let now = row.order.seen_at;
        let order = OrderFunds::try_from(row.order)?;
        let first = row.transfer_id.zip(row.fingerprint).map(first).transpose()?;
        let account = Account {
            balance: row.balance.unwrap_or_default(),
            incoming: row.incoming.unwrap_or_default(),
            ..Account::empty(AccountKey::of(order.seller_id, order.total))
        };
        Ok(Self { first, order, account, now })
    }
}

impl Store {
    /// Reads a [`PaymentView`]; `None` when there is no such order.
    pub(crate) async fn payment_view(
        &self,
        key: &RequestKey,
        order_id: OrderId,
    ) -> Result<Option<PaymentView>> {
        let query = sqlx::query(PAYMENT_VIEW)
            .bind(key.request_id)
            .bind(&key.principal)
            .bind(key.method)
            .bind(order_id.uuid());
        let row: Option<ViewRow> = self.read().await?.row(query).await?;
        row.map(PaymentView::try_from).transpose()
    }
}

impl Tx {
    /// Locks an order; tells the database's time under the lock.
    pub(crate) async fn order_funds_lock(
        &mut self,
        order_id: OrderId,
    ) -> Result<Option<(OrderFunds, OffsetDateTime)>> {
        let query = sqlx::query(ORDER_FUNDS_LOCK).bind(order_id.uuid());
        let row: Option<Row> = self.row(query).await?;
        row.map(|row| Ok((row.seen_at, OrderFunds::try_from(row)?)).map(|(at, order)| (order, at)))
            .transpose()
    }

    /// Locks the orders of those transfers that may still be decided. A transfer never changes its order and
    /// never loses its decision, so what the statement's snapshot says of them holds.
    pub(crate) async fn orders_of_transfers_lock(
        &mut self,
        transfers: &BTreeSet<TransferId>,
    ) -> Result<Vec<OrderFunds>> {
        let query = sqlx::query(ORDERS_OF_TRANSFERS_LOCK)
            .bind(transfers.iter().map(|id| id.uuid()).collect::<Vec<_>>());
        let rows: Vec<Row> = self.rows(query).await?;
        rows.into_iter().map(OrderFunds::try_from).collect()
    }

    /// Writes what transfers changed of orders that this transaction has locked.
    pub(crate) async fn orders_settle(&mut self, orders: &[&OrderFunds]) -> Result<()> {
        fn each<T>(orders: &[&OrderFunds], column: impl Fn(&OrderFunds) -> T) -> Vec<T> {
            orders.iter().map(|order| column(order)).collect()
        }
        let query = sqlx::query(ORDERS_WRITE_FUNDS)
            .bind(each(orders, |order| order.id.uuid()))
            .bind(each(orders, |order| order.state.as_str()))
            .bind(each(orders, |order| order.paid))
            .bind(each(orders, |order| order.refunded))
            .bind(each(orders, |order| order.refund_pending))
            .bind(each(orders, |order| order.payer_id.map(UserId::uuid)))
            .bind(each(orders, |order| order.version))
            .bind(each(orders, |order| order.event_version))
            .bind(each(orders, |order| order.updated_at));
        let changed = self.execute(query).await?;
        if changed == orders.len() as u64 { Ok(()) } else { Err(Error::internal("a locked order is gone")) }
    }
}
