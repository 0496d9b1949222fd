//! The coordinator of transfers between wallets (user service) and accounts (here): reserve, decide, confirm or
//! cancel. Every step and the event that tells of it commit in one transaction; the decision is one
//! compare-and-set in this database, and after it a transfer only goes forward.
//!
//! - `pay_order`, `refund_order`: start one, which appends the command to reserve.
//! - `answers`: what the wallet's owner answers; most transfers move by these alone.
//! - `decide`: one transfer at a time, for participants and the recovery worker.
//! - `recovery`: cancels what nobody decided in time, and calls an operator for what does not end.
//! - `operator`: what operators do to a transfer.
//! - `work`: the rows under their locks, which all of them change in the same way.
//! - `wait`, `waiters`: calls that wait for a transfer, without a connection to the database.

mod answers;
mod decide;
mod looks;
mod messages;
mod metrics;
mod operator;
mod own_side;
mod pay_order;
mod recovery;
mod refund_order;
mod start;
mod wait;
mod waiters;
mod work;

use std::sync::Arc;

use types::IdSource;

pub(crate) use decide::Decided;
pub(crate) use messages::Origin;
pub(crate) use recovery::Recovery;
pub(crate) use refund_order::RefundOrder;
pub(crate) use waiters::{Moved, Waiters};
pub(crate) use work::TransferInput;

use crate::config::TransferConfig;
use crate::storage::Store;

/// Moves transfers. Cheap to clone; one for each core, with that core's store and the process' waiters.
#[derive(Clone)]
pub(crate) struct Coordinator {
    store: Store,
    ids: Arc<dyn IdSource>,
    waiters: Arc<Waiters>,
    config: TransferConfig,
}

impl Coordinator {
    /// A coordinator on a store.
    pub(crate) fn new(
        store: Store,
        ids: Arc<dyn IdSource>,
        waiters: Arc<Waiters>,
        config: TransferConfig,
    ) -> Self {
        Self { store, ids, waiters, config }
    }
}
