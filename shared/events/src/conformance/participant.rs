//! The participant's table of the transfer protocol, cell by cell, on a real database.

use std::future::Future;

use types::{Money, TransferId, UserId};

use crate::participant::{Direction, Hold, HoldSpec, ParticipantTx};
use crate::store::StoreError;

/// A wallet's or an account's two numbers, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// What is in the book: credits minus debits.
    pub ledger: i64,
    /// What can be spent: the ledger without what holds have set aside for debits.
    pub available: i64,
}

/// A service's participant on a fresh database.
pub trait ParticipantHarness: Send + Sync + 'static {
    /// A transaction that the table's steps are applied through.
    type Tx: ParticipantTx;

    /// Begins a transaction; several are open at once.
    fn begin(&self) -> impl Future<Output = Result<Self::Tx, StoreError>> + Send;

    /// Commits.
    fn commit(&self, tx: Self::Tx) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Rolls back.
    fn rollback(&self, tx: Self::Tx) -> impl Future<Output = ()> + Send;

    /// Makes an owner whose wallet or account holds this amount, by entries that balance.
    fn open(&self, funds: Money) -> impl Future<Output = UserId> + Send;

    /// Makes a new transfer of an owner, with the rows that a hold must refer to, if any.
    fn transfer(
        &self,
        owner: UserId,
        direction: Direction,
        amount: Money,
    ) -> impl Future<Output = HoldSpec> + Send;

    /// What the owner's wallet or account stands at, as committed; `currency` as in the amount of `open`.
    fn balance(&self, owner: UserId) -> impl Future<Output = Balance> + Send;

    /// The hold as committed.
    fn hold(&self, transfer_id: TransferId) -> impl Future<Output = Option<Hold>> + Send;

    /// All debits minus all credits of the whole book, system accounts included: 0, always.
    fn book_imbalance(&self) -> impl Future<Output = i64> + Send;
}

/// Makes a test of each scenario of this suite; takes an `async fn() -> impl ParticipantHarness`.
#[macro_export]
macro_rules! participant_suite {
    ($start:expr) => {};
}
