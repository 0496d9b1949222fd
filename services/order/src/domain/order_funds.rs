//! What a transfer may do to its order: a payment is pending, then it is paid or placed again; refunds, pending
//! and done together, never exceed what was paid. Pure; it works on the order's row under its lock.

use time::OffsetDateTime;
use types::{Money, OrderId, UserId};

use super::transfer::Reason;
use super::{OrderNow, OrderState};

/// What a transfer sees of its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderFunds {
    pub(crate) id: OrderId,
    /// Who owns it now.
    pub(crate) customer_id: UserId,
    pub(crate) seller_id: UserId,
    pub(crate) state: OrderState,
    pub(crate) total: Money,
    /// What was paid: nothing or all, in minor units.
    pub(crate) paid: i64,
    /// What was refunded, in minor units.
    pub(crate) refunded: i64,
    /// What running refunds want, in minor units.
    pub(crate) refund_pending: i64,
    /// Whose wallet paid.
    pub(crate) payer_id: Option<UserId>,
    /// Counts changes of the row that its readers see.
    pub(crate) version: i64,
    /// Counts the order's events.
    pub(crate) event_version: i64,
    pub(crate) updated_at: OffsetDateTime,
}

impl OrderFunds {
    /// A payment of the whole order begins.
    pub(crate) fn begin_payment(&mut self, now: OffsetDateTime) -> Result<(), Reason> {
        match self.state {
            OrderState::Placed => {
                self.state = OrderState::PaymentPending;
                self.touch(now);
                Ok(())
            }
            OrderState::PaymentPending => Err(Reason::PaymentPending),
            OrderState::Paid | OrderState::Cancelled => Err(Reason::InvalidState),
        }
    }

    /// The payment was decided CONFIRM.
    pub(crate) fn confirm_payment(&mut self, payer_id: UserId, now: OffsetDateTime) {
        self.state = OrderState::Paid;
        self.paid = self.total.minor_units;
        self.payer_id = Some(payer_id);
        self.touch(now);
    }

    /// The payment was decided CANCEL.
    pub(crate) fn cancel_payment(&mut self, now: OffsetDateTime) {
        self.state = OrderState::Placed;
        self.touch(now);
    }

    /// A refund begins. Its readers see nothing of it yet.
    pub(crate) fn begin_refund(&mut self, amount: Money) -> Result<(), Reason> {
        if self.state != OrderState::Paid {
            return Err(Reason::InvalidState);
        }
        if amount.currency != self.total.currency {
            return Err(Reason::CurrencyMismatch);
        }
        let taken =
            i128::from(self.refunded) + i128::from(self.refund_pending) + i128::from(amount.minor_units);
        if taken > i128::from(self.paid) {
            return Err(Reason::RefundExceedsPayment);
        }
        self.refund_pending += amount.minor_units;
        Ok(())
    }

    /// A refund was decided CONFIRM.
    pub(crate) fn confirm_refund(&mut self, amount: i64, now: OffsetDateTime) {
        self.refund_pending -= amount;
        self.refunded += amount;
        self.touch(now);
    }

    /// A refund was decided CANCEL.
    pub(crate) fn cancel_refund(&mut self, amount: i64) {
        self.refund_pending -= amount;
    }

    /// What the order's next event counts as.
    pub(crate) fn next_event(&mut self) -> i64 {
        self.event_version += 1;
        self.event_version
    }

    /// What an answer that is given for ever says of it.
    pub(crate) const fn then(&self) -> OrderNow {
        OrderNow {
            customer_id: self.customer_id,
            state: self.state,
            refunded_minor_units: self.refunded,
            version: self.version,
            updated_at: self.updated_at,
        }
    }

    fn touch(&mut self, now: OffsetDateTime) {
        self.version += 1;
        self.updated_at = now;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn money(minor_units: i64, code: &str) -> Money {
        Money::new(code.parse().unwrap(), minor_units)
    }

    fn order(state: OrderState) -> OrderFunds {
        OrderFunds {
            id: Uuid::from_u128(1).into(),
            customer_id: Uuid::from_u128(2).into(),
            seller_id: Uuid::from_u128(3).into(),
            state,
            total: money(100, "EUR"),
            paid: if state == OrderState::Paid { 100 } else { 0 },
            refunded: 0,
            refund_pending: 0,
            payer_id: None,
            version: 1,
            event_version: 1,
            updated_at: NOW,
        }
    }

    #[test]
    fn only_a_placed_order_can_be_paid() {
        let mut placed = order(OrderState::Placed);
        placed.begin_payment(NOW).unwrap();
        assert_eq!((placed.state, placed.version), (OrderState::PaymentPending, 2));
        assert_eq!(placed.begin_payment(NOW), Err(Reason::PaymentPending));
        for state in [OrderState::Paid, OrderState::Cancelled] {
            assert_eq!(order(state).begin_payment(NOW), Err(Reason::InvalidState));
        }
    }

    #[test]
    fn a_payment_ends_in_paid_or_back_in_placed() {
        let mut paid = order(OrderState::PaymentPending);
        let payer = Uuid::from_u128(9).into();
        paid.confirm_payment(payer, NOW);
        assert_eq!((paid.state, paid.paid, paid.payer_id), (OrderState::Paid, 100, Some(payer)));
        let mut back = order(OrderState::PaymentPending);
        back.cancel_payment(NOW);
        assert_eq!((back.state, back.paid, back.payer_id), (OrderState::Placed, 0, None));
    }

    #[test]
    fn pending_and_done_refunds_together_never_exceed_what_was_paid() {
        let mut paid = order(OrderState::Paid);
        paid.begin_refund(money(30, "EUR")).unwrap();
        paid.confirm_refund(30, NOW);
        paid.begin_refund(money(50, "EUR")).unwrap();
        let before = paid.clone();
        assert_eq!(paid.begin_refund(money(21, "EUR")), Err(Reason::RefundExceedsPayment));
        assert_eq!(paid.begin_refund(money(i64::MAX, "EUR")), Err(Reason::RefundExceedsPayment));
        assert_eq!(paid.begin_refund(money(1, "JPY")), Err(Reason::CurrencyMismatch));
        assert_eq!(paid, before, "a refused refund leaves a trace");
        paid.begin_refund(money(20, "EUR")).unwrap();
        paid.cancel_refund(50);
        assert_eq!((paid.refunded, paid.refund_pending), (30, 20));
        assert_eq!(order(OrderState::Placed).begin_refund(money(1, "EUR")), Err(Reason::InvalidState));
    }
}
