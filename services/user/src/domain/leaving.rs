//! Deleting a user: what keeps one from it, and what is left to do afterwards.

use types::{Money, UserId};

use super::wallet::Wallet;

/// What a user has in order service's books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Open orders of which the user is the customer.
    pub(crate) bought: i64,
    /// Open orders of which the user is the seller.
    pub(crate) sold: i64,
    /// Transfers that are not at their end.
    pub(crate) running_transfers: i64,
    /// What is in the user's accounts.
    pub(crate) balances: Vec<Money>,
}

/// Something that a user has to settle before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// A wallet that is not empty, or about to be one.
    Wallet {
        /// What is in it.
        balance: Money,
        /// Reserved to leave it, in minor units.
        held: i64,
        /// Reserved to arrive in it, in minor units.
        incoming: i64,
    },
    /// Orders that the user placed or was given.
    Bought(i64),
    /// Orders that the user has to fulfil, or may have to refund.
    Sold(i64),
    /// Transfers that are not at their end.
    RunningTransfers(i64),
    /// What is in an account.
    Account(Money),
}

/// What is left of a user who has these wallets and these holdings.
pub(crate) fn left(wallets: &[Wallet], holdings: &Holdings) -> Vec<Left> {
    let is_used = |wallet: &&Wallet| (wallet.balance, wallet.held, wallet.incoming) != (0, 0, 0);
    let wallets = wallets.iter().filter(is_used).map(|wallet| Left::Wallet {
        balance: Money::new(wallet.key.currency, wallet.balance),
        held: wallet.held,
        incoming: wallet.incoming,
    });
    let counts = [
        (holdings.bought, Left::Bought(holdings.bought)),
        (holdings.sold, Left::Sold(holdings.sold)),
        (holdings.running_transfers, Left::RunningTransfers(holdings.running_transfers)),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(_, left)| left);
    wallets.chain(counts).chain(holdings.balances.iter().copied().map(Left::Account)).collect()
}

/// The user who was deleted: all that is told of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeletedUser(pub(crate) UserId);

/// What is still to be removed of a user who is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(crate) user_id: UserId,
    pub(crate) delete_posts: bool,
    /// Whether it was done once already: calls that were on their way then have ended since.
    pub(crate) is_second: bool,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::wallet::WalletKey;
    use super::*;

    #[test]
    fn whatever_is_not_nothing_is_left() {
        let owner = UserId::from_uuid(Uuid::from_u128(1));
        let empty = |code: &str| Wallet::empty(WalletKey { owner, currency: code.parse().unwrap() });
        let money = |code: &str, minor_units| Money::new(code.parse().unwrap(), minor_units);
        assert_eq!(left(&[], &Holdings::default()), []);
        assert_eq!(left(&[empty("EUR")], &Holdings::default()), []);
        let wallets = [
            Wallet { balance: 5, held: 3, ..empty("EUR") },
            empty("JPY"),
            Wallet { incoming: 2, ..empty("USD") },
        ];
        let holdings = Holdings { bought: 1, sold: 0, running_transfers: 2, balances: vec![money("EUR", 7)] };
        let expected = [
            Left::Wallet { balance: money("EUR", 5), held: 3, incoming: 0 },
            Left::Wallet { balance: money("USD", 0), held: 0, incoming: 2 },
            Left::Bought(1),
            Left::RunningTransfers(2),
            Left::Account(money("EUR", 7)),
        ];
        assert_eq!(left(&wallets, &holdings), expected);
    }
}
