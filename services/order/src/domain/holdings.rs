//! What keeps a user from being deleted.

use types::Money;

/// What a user has in the books of orders, accounts and transfers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Open orders of which the user is the customer.
    pub(crate) bought: i64,
    /// Open orders of which the user is the seller.
    pub(crate) sold: i64,
    /// Transfers from or to the user that are not at their end.
    pub(crate) running_transfers: i64,
    /// What is in the user's accounts, by currency.
    pub(crate) balances: Vec<Money>,
}
