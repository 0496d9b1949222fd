//! What may leave a wallet besides what is in it: nothing while it is frozen, at most so much a payment, at most so much
//! a day. A payment is a sending or what is reserved for an order.
//!
//! A day is one of UTC. Its sum lies beside the balance and is moved by the same writes, so nobody ever adds up a day. A
//! hold carries the day that it was counted on: released, it gives back what it took, and nothing of another day. The
//! time of a wallet never goes back: behind a replica whose clock is ahead, the others count on the day that it has begun.

use time::{Date, OffsetDateTime};

use super::limits::{Bar, Limit, Limits, Spent};
use super::wallet::{Wallet, WalletRefused};

/// What an admin does to a wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    Freeze,
    Unfreeze,
    /// Both limits, in place of those that it had.
    SetLimits(Limits),
}

impl Act {
    /// Its name in the database.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Freeze => "FREEZE",
            Self::Unfreeze => "UNFREEZE",
            Self::SetLimits(_) => "SET_LIMITS",
        }
    }
}

impl Wallet {
    /// The wallet after an admin's act, and its event counted.
    pub(crate) fn after(&self, act: Act) -> Result<Self, WalletRefused> {
        let mut wallet = Self { event_version: self.event_version + 1, ..self.clone() };
        match act {
            Act::Freeze if self.is_frozen => return Err(WalletRefused::Frozen(self.key)),
            Act::Unfreeze if !self.is_frozen => return Err(WalletRefused::NotFrozen(self.key)),
            Act::Freeze => wallet.is_frozen = true,
            Act::Unfreeze => wallet.is_frozen = false,
            Act::SetLimits(limits) => wallet.limits = limits,
        }
        Ok(wallet)
    }

    /// What keeps an amount from leaving now, or from being reserved to.
    #[must_use]
    pub(crate) fn bar(&self, amount: i64, now: OffsetDateTime) -> Option<Bar> {
        if self.is_frozen {
            return Some(Bar::Frozen);
        }
        let of_payment = self.limits.payment.map(|most| (Limit::Payment, most));
        let of_day = self.limits.day.map(|most| (Limit::Day, most.saturating_sub(self.spent_by(now)).max(0)));
        let limit = of_payment.into_iter().chain(of_day).find(|(_, left)| amount > *left);
        let limit = limit.map(|(limit, left)| Bar::Limit { limit, left });
        limit.or_else(|| (!self.covers(amount)).then_some(Bar::TooLittle))
    }

    /// What of the day's limit has been used by now.
    #[must_use]
    pub(crate) fn spent_by(&self, now: OffsetDateTime) -> i64 {
        let today = self.time_at(now).to_utc().date();
        self.spent.filter(|spent| spent.day == today).map_or(0, |spent| spent.amount)
    }

    /// Counts what leaves or is reserved; gives the day that it counts on.
    pub(crate) fn count_spent(&mut self, amount: i64, now: OffsetDateTime) -> Date {
        let day = self.time_at(now).to_utc().date();
        self.spent = Some(Spent { day, amount: self.spent_by(now).saturating_add(amount) });
        day
    }

    /// Gives back what was counted on a day and did not leave after all.
    pub(crate) fn uncount_spent(&mut self, amount: i64, day: Date) {
        if let Some(spent) = self.spent.as_mut().filter(|spent| spent.day == day) {
            spent.amount = spent.amount.saturating_sub(amount).max(0);
        }
    }

    /// The time of what happens to it now: not before its newest entry, nor before the day that it counts.
    #[must_use]
    pub(crate) fn time_at(&self, now: OffsetDateTime) -> OffsetDateTime {
        let counted = self.spent.map(|spent| spent.day.midnight().assume_utc());
        [self.updated_at, counted].into_iter().flatten().fold(now, OffsetDateTime::max)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};
    use types::UserId;
    use uuid::Uuid;

    use super::super::wallet::WalletKey;
    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
    const LATE: OffsetDateTime = datetime!(2026-03-01 23:59:59.999 UTC);
    const NEXT: OffsetDateTime = datetime!(2026-03-02 00:00 UTC);

    fn wallet(payment: Option<i64>, day: Option<i64>) -> Wallet {
        let key =
            WalletKey { owner: UserId::from_uuid(Uuid::from_u128(1)), currency: "EUR".parse().unwrap() };
        Wallet { balance: 1000, limits: Limits { payment, day }, ..Wallet::empty(key) }
    }

    fn limited(limit: Limit, left: i64) -> Option<Bar> {
        Some(Bar::Limit { limit, left })
    }

    #[test]
    fn a_frozen_wallet_lets_nothing_out_whatever_else_is_in_the_way() {
        let frozen = Wallet { is_frozen: true, ..wallet(Some(1), Some(1)) };
        assert_eq!(frozen.bar(1, NOON), Some(Bar::Frozen));
        assert_eq!(frozen.bar(5000, NOON), Some(Bar::Frozen));
    }

    #[test]
    fn the_limit_itself_may_be_spent_and_not_one_more() {
        let mut wallet = wallet(Some(100), Some(250));
        assert_eq!((wallet.bar(100, NOON), wallet.bar(101, NOON)), (None, limited(Limit::Payment, 100)));
        for _ in 0..2 {
            wallet.count_spent(100, NOON);
        }
        assert_eq!((wallet.bar(50, LATE), wallet.bar(51, LATE)), (None, limited(Limit::Day, 50)));
        // Without limits only what is there counts.
        wallet.limits = Limits::NONE;
        assert_eq!((wallet.bar(1000, LATE), wallet.bar(1001, LATE)), (None, Some(Bar::TooLittle)));
        // Lowered below what was spent already.
        wallet.limits.day = Some(10);
        assert_eq!(wallet.bar(1, LATE), limited(Limit::Day, 0));
    }

    #[test]
    fn each_day_begins_with_nothing_spent() {
        let mut wallet = wallet(None, Some(100));
        assert_eq!(wallet.count_spent(100, LATE), date!(2026 - 03 - 01));
        assert_eq!(wallet.bar(1, LATE), limited(Limit::Day, 0));
        assert_eq!((wallet.spent_by(NEXT), wallet.bar(100, NEXT)), (0, None));
        assert_eq!(wallet.count_spent(60, NEXT), date!(2026 - 03 - 02));
        assert_eq!(wallet.spent, Some(Spent { day: date!(2026 - 03 - 02), amount: 60 }));
    }

    #[test]
    fn what_is_released_is_given_back_to_its_own_day_only() {
        let mut wallet = wallet(None, Some(100));
        let yesterday = wallet.count_spent(70, LATE);
        wallet.uncount_spent(70, yesterday);
        assert_eq!(wallet.bar(100, LATE), None);
        wallet.count_spent(70, LATE);
        wallet.count_spent(80, NEXT);
        wallet.uncount_spent(70, yesterday);
        assert_eq!(wallet.spent_by(NEXT), 80);
    }

    /// Two replicas, one of which is behind: midnight comes once, and no limit is there twice.
    #[test]
    fn a_clock_that_is_behind_begins_no_day_again() {
        let mut wallet = wallet(None, Some(100));
        wallet.count_spent(100, NEXT);
        assert_eq!(wallet.bar(1, LATE), limited(Limit::Day, 0));
        assert_eq!(wallet.count_spent(5, LATE), date!(2026 - 03 - 02));
        assert_eq!(wallet.time_at(LATE), NEXT);
        // Nor does one that has only entered something.
        let entered = Wallet { updated_at: Some(NEXT), spent: None, ..wallet };
        assert_eq!(entered.time_at(LATE), NEXT);
    }

    #[test]
    fn a_day_is_one_of_utc() {
        let mut wallet = wallet(None, None);
        assert_eq!(wallet.count_spent(1, datetime!(2026-03-02 01:30 +2)), date!(2026 - 03 - 01));
    }

    #[test]
    fn a_wallet_is_frozen_and_unfrozen_once_and_limited_as_often_as_one_likes() {
        let wallet = wallet(None, Some(5));
        assert_eq!(wallet.after(Act::Unfreeze), Err(WalletRefused::NotFrozen(wallet.key)));
        let frozen = wallet.after(Act::Freeze).unwrap();
        assert!(frozen.is_frozen);
        assert_eq!(frozen.after(Act::Freeze), Err(WalletRefused::Frozen(wallet.key)));
        let again = frozen.after(Act::SetLimits(Limits::NONE)).unwrap().after(Act::Unfreeze).unwrap();
        assert_eq!((again.is_frozen, again.limits), (false, Limits::NONE));
        assert_eq!(again.event_version, wallet.event_version + 3, "each has an event");
    }
}
