//! Double entry: the two sides of a posting cancel out, so the debits of a book are its credits.

use std::collections::BTreeMap;

use types::Money;

/// What two sides that should cancel out leave over; `None` when they do cancel out.
#[must_use]
pub fn imbalance(one: Money, other: Money) -> Option<i64> {
    let is_balanced =
        one.currency == other.currency && one.minor_units.checked_add(other.minor_units) == Some(0);
    (!is_balanced).then(|| one.minor_units.saturating_add(other.minor_units))
}

/// A sum that does not fit in 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sum of the book does not fit")]
pub struct SumTooLarge;

/// Debits and credits, by what they are the sums of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums<K>(pub BTreeMap<K, (i64, i64)>);

impl<K> Default for Sums<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> FromIterator<(K, (i64, i64))> for Sums<K> {
    fn from_iter<I: IntoIterator<Item = (K, (i64, i64))>>(sums: I) -> Self {
        Self(sums.into_iter().collect())
    }
}

impl<K: Ord + Clone> Sums<K> {
    /// Adds a posting: `amount` to one account, and to the opposite account what cancels it out.
    ///
    /// # Errors
    /// When a sum does not fit.
    pub fn post(&mut self, account: K, opposite: K, amount: i64) -> Result<(), SumTooLarge> {
        self.enter(account, amount)?;
        self.enter(opposite, amount.checked_neg().ok_or(SumTooLarge)?)
    }

    /// Adds one side of a posting; a negative amount is a debit.
    ///
    /// # Errors
    /// When a sum does not fit.
    pub fn enter(&mut self, account: K, amount: i64) -> Result<(), SumTooLarge> {
        if amount < 0 {
            self.add(account, amount.checked_neg().ok_or(SumTooLarge)?, 0)
        } else {
            self.add(account, 0, amount)
        }
    }

    /// Adds to both sums of an account.
    ///
    /// # Errors
    /// When a sum does not fit.
    pub fn add(&mut self, account: K, debit: i64, credit: i64) -> Result<(), SumTooLarge> {
        let sum = self.0.entry(account).or_default();
        *sum = sum.0.checked_add(debit).zip(sum.1.checked_add(credit)).ok_or(SumTooLarge)?;
        Ok(())
    }

    /// Adds all of another.
    ///
    /// # Errors
    /// When a sum does not fit.
    pub fn add_all(&mut self, other: &Self) -> Result<(), SumTooLarge> {
        other.0.iter().try_for_each(|(account, (debit, credit))| self.add(account.clone(), *debit, *credit))
    }

    /// Credits less debits.
    pub fn net(&self, account: &K) -> i64 {
        self.0.get(account).map_or(0, |(debit, credit)| credit - debit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur(minor_units: i64) -> Money {
        Money::new("EUR".parse().unwrap(), minor_units)
    }

    #[test]
    fn sides_cancel_out_in_one_currency_only() {
        assert_eq!(imbalance(eur(10), eur(-10)), None);
        assert_eq!(imbalance(eur(10), eur(-11)), Some(-1));
        let yen = Money::new("JPY".parse().unwrap(), -10);
        assert_eq!(imbalance(eur(10), yen), Some(0));
        assert_eq!(imbalance(eur(i64::MAX), eur(1)), Some(i64::MAX));
    }

    #[test]
    fn a_posting_adds_as_much_to_the_debits_as_to_the_credits() {
        let mut sums = Sums::default();
        sums.post("wallets", "mint", 100).unwrap();
        sums.post("wallets", "transit", -20).unwrap();
        let mut more = Sums::default();
        more.post("wallets", "wallets", -30).unwrap();
        sums.add_all(&more).unwrap();
        assert_eq!((sums.0["wallets"], sums.0["mint"], sums.0["transit"]), ((50, 130), (100, 0), (0, 20)));
        assert_eq!((sums.net(&"wallets"), sums.net(&"mint"), sums.net(&"nobody")), (80, -100, 0));
    }

    #[test]
    fn a_sum_that_does_not_fit_is_refused() {
        let mut sums: Sums<&str> = [("full", (i64::MAX, i64::MAX))].into_iter().collect();
        assert_eq!(sums.enter("full", 1), Err(SumTooLarge));
        assert_eq!(sums.enter("full", -1), Err(SumTooLarge));
        assert_eq!(sums.post("one", "other", i64::MIN), Err(SumTooLarge));
        assert_eq!(sums.clone().add_all(&sums), Err(SumTooLarge));
    }
}
