//! The first row of a transfer: with the order that it changes and the command that it sends, in one statement; or
//! alone, when it is refused at once.

use events::NewEvent;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;
use types::Call;

use crate::domain::order_funds::OrderFunds;
use crate::domain::transfer::{Reason, Transfer};
use crate::error::Result;
use crate::storage::backbone::bind_event;
use crate::storage::statement::statements;
use crate::storage::{Store, Tx};

macro_rules! insert_from {
    ($source:literal) => {
        concat!(
            "INSERT INTO transfers (id, principal, method, request_id, fingerprint, kind, order_id, wallet_user_id,
                                    account_owner_id, amount, currency, state, decision, reason, deadline,
                                    decided_at, created_at, updated_at, next_attempt_at, event_version)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20 ",
            $source,
            " ON CONFLICT ON CONSTRAINT transfers_request DO NOTHING"
        )
    };
}

statements! {
    /// Each part takes its rows from the part before: `locked` waits for whoever changes the order, `claim` for another
    /// call with this request, and only a claim changes the order and tells of the transfer.
    PAYMENT_BEGIN =
        concat!(
            "WITH locked AS MATERIALIZED (
                 SELECT FROM orders WHERE id = $7 AND version = $21 FOR NO KEY UPDATE
             ), claim AS (",
            insert_from!("FROM locked"),
            " RETURNING id
             ), settled AS (
                 UPDATE orders SET state = $22, refund_pending_minor_units = $23, version = $24, updated_at = $25
                 FROM claim WHERE orders.id = $7
             ), told AS (
                 INSERT INTO outbox (stream, event_id, aggregate_type, aggregate_id, aggregate_version, type, schema_version,
                                     payload, headers, created_at)
                 SELECT $26, $27, $28, $29, $30, $31, $32, $33, $34, $35 FROM claim
             )
             SELECT EXISTS (SELECT FROM claim)"
        );

    TRANSFER_INSERT = insert_from!("");
}

impl Store {
    /// Begins a payment of an order that was read without a lock: the transfer, the order and the command, all or
    /// nothing. `false` when the order has changed since it was read, or the call has another transfer by now.
    pub(crate) async fn payment_begin(
        &self,
        call: &Call,
        transfer: &Transfer,
        (order, read_version): (&OrderFunds, i64),
        command: &NewEvent,
    ) -> Result<bool> {
        let begun = self.read().await?.row(begin(call, transfer, order, read_version, command)).await?;
        let begun = begun == Some((true,));
        if begun {
            self.signals.appended();
            fault::point!("business.committed", "pay_order");
        }
        Ok(begun)
    }

    /// Records a payment that is refused at once; `false` when its request has another transfer by now.
    pub(crate) async fn payment_refuse(&self, call: &Call, transfer: &Transfer) -> Result<bool> {
        Ok(self.read().await?.execute(insert(call, transfer)).await? == 1)
    }
}

impl Tx {
    /// As [`Store::payment_begin`], for a transfer of an order that this transaction has locked.
    pub(crate) async fn transfer_begin(
        &mut self,
        call: &Call,
        transfer: &Transfer,
        (order, read_version): (&OrderFunds, i64),
        command: &NewEvent,
    ) -> Result<bool> {
        let begun = self.row(begin(call, transfer, order, read_version, command)).await? == Some((true,));
        if begun {
            self.has_appended();
        }
        Ok(begun)
    }

    /// Inserts a transfer that is refused at once, which claims its request. `false` when another transaction has
    /// claimed it, for which this waits: roll back, and join that one's transfer.
    pub(crate) async fn transfer_insert(&mut self, call: &Call, transfer: &Transfer) -> Result<bool> {
        Ok(self.execute(insert(call, transfer)).await? == 1)
    }
}

fn begin<'q>(
    call: &'q Call,
    transfer: &'q Transfer,
    order: &'q OrderFunds,
    read_version: i64,
    command: &'q NewEvent,
) -> Query<'q, Postgres, PgArguments> {
    let query = bind(sqlx::query(PAYMENT_BEGIN), call, transfer)
        .bind(read_version)
        .bind(order.state.as_str())
        .bind(order.refund_pending)
        .bind(order.version)
        .bind(order.updated_at);
    bind_event(query, command)
}

fn insert<'q>(call: &'q Call, transfer: &'q Transfer) -> Query<'q, Postgres, PgArguments> {
    bind(sqlx::query(TRANSFER_INSERT), call, transfer)
}

fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    call: &'q Call,
    transfer: &'q Transfer,
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(transfer.id.uuid())
        .bind(&call.key.principal)
        .bind(call.key.method)
        .bind(call.key.request_id)
        .bind(call.fingerprint.as_bytes())
        .bind(transfer.kind.as_str())
        .bind(transfer.order_id.uuid())
        .bind(transfer.wallet_user_id.uuid())
        .bind(transfer.account_owner_id.uuid())
        .bind(transfer.amount.minor_units)
        .bind(transfer.amount.currency.code())
        .bind(transfer.state.as_str())
        .bind(transfer.decision().map(|decision| decision.as_str()))
        .bind(transfer.reason.map(Reason::as_str))
        .bind(transfer.deadline)
        .bind(transfer.decided_at)
        .bind(transfer.created_at)
        .bind(transfer.updated_at)
        .bind(transfer.next_attempt_at)
        .bind(transfer.event_version)
}
