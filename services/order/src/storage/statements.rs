//! Every statement that this service sends while it serves.
//!
//! A list that is missing here is one that nobody uses, and the compiler says so; a statement that is not in a list is
//! refused by `tests/layers`.

use super::backbone::{consumer, consumer_tx, log, outbox, sequencer};
use super::book::{accounts, audit, audit_holds, audit_state, holds, ledger};
use super::statement::Statement;
use super::transfers::{self, history, leases, start};
use super::{
    capacity, customers, holdings, order_funds, orders, placements, products, requests, schema, statistics,
    store, tx,
};

const LISTS: [&[Statement]; 27] = [
    capacity::STATEMENTS,
    customers::STATEMENTS,
    holdings::STATEMENTS,
    order_funds::STATEMENTS,
    orders::STATEMENTS,
    placements::STATEMENTS,
    products::STATEMENTS,
    requests::STATEMENTS,
    schema::STATEMENTS,
    statistics::STATEMENTS,
    store::STATEMENTS,
    tx::STATEMENTS,
    consumer::STATEMENTS,
    consumer_tx::STATEMENTS,
    log::STATEMENTS,
    outbox::STATEMENTS,
    sequencer::STATEMENTS,
    accounts::STATEMENTS,
    audit::STATEMENTS,
    audit_holds::STATEMENTS,
    audit_state::STATEMENTS,
    holds::STATEMENTS,
    ledger::STATEMENTS,
    transfers::STATEMENTS,
    history::STATEMENTS,
    leases::STATEMENTS,
    start::STATEMENTS,
];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = Statement> {
    LISTS.into_iter().flatten().copied()
}
