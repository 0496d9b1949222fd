//! What an audit holds against what is set aside: holds, the accounts that they are in, and the sums of orders. All
//! of it changes with the decision, in one transaction, so one statement sees it together or not at all. Pure.

use bookkeeping::Finding;
use events::{Direction, Hold, HoldState};
use types::{Currency, Money, OrderId, TransferId};

use super::OrderState;
use super::account::Account;
use super::audit::Decided;
use super::transfer::{Decision, Kind};

/// What an account's HELD holds come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reserved {
    pub(crate) held: i64,
    pub(crate) incoming: i64,
}

/// An order's sums, as it shows them or as its transfers make them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) paid: i64,
    pub(crate) refunded: i64,
    pub(crate) refund_pending: i64,
}

/// An order, and what its transfers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderSums {
    pub(crate) id: OrderId,
    pub(crate) currency: Currency,
    pub(crate) state: OrderState,
    pub(crate) shown: Sums,
    pub(crate) moved: Sums,
    /// Payments of which nothing is decided.
    pub(crate) paying: i64,
}

/// What an account shows as set aside, against its holds.
pub(crate) fn against_account(account: &Account, holds: Reserved) -> Vec<Finding> {
    let shown = [
        ("has set aside to leave", account.held, holds.held),
        ("has set aside to arrive", account.incoming, holds.incoming),
    ];
    let wrong = shown.into_iter().filter(|(_, shown, holds)| shown != holds);
    let found = wrong.map(|(what, shown, holds)| {
        let what = format!("{what} {shown}, and its holds are of {holds}");
        Finding::account(account.key, what, shown.saturating_sub(holds))
    });
    found.collect()
}

/// What is wrong with a hold, given its transfer. A tombstone of a transfer that never was is in order.
pub(crate) fn against_hold(hold: &Hold, transfer: Option<&Decided>) -> Option<Finding> {
    let found = |what: String| {
        let finding = Finding::transfer(hold.transfer_id, what, None);
        // One that is HELD is looked at by every audit.
        Some(finding.seen_by_full(hold.state != HoldState::Held))
    };
    let Some(transfer) = transfer else {
        return match hold.state {
            HoldState::Cancelled => None,
            state => found(format!("the account's hold is {state:?} and there is no such transfer")),
        };
    };
    let due = match transfer.decision {
        None => HoldState::Held,
        Some(Decision::Confirm) => HoldState::Posted,
        Some(Decision::Cancel) => HoldState::Cancelled,
    };
    if hold.state != due {
        let decision = transfer.decision.map_or("nothing", Decision::as_str);
        return found(format!("the account's hold is {:?} and {decision} is decided", hold.state));
    }
    let Some(spec) = &hold.spec else { return None };
    let direction = match transfer.kind {
        Kind::Pay => Direction::Credit,
        Kind::Refund => Direction::Debit,
    };
    let agrees = spec.direction == direction
        && spec.amount == transfer.amount
        && spec.owner == transfer.account_owner_id
        && spec.order_id == transfer.order_id;
    if agrees {
        return None;
    }
    found(format!("the account's hold of {} is not what the transfer moves", spec.amount))
}

/// What is wrong with a transfer that has no hold in the account: a refund has one, unless it was refused at once.
pub(crate) fn against_no_hold(id: TransferId, transfer: &Decided) -> Option<Finding> {
    let needs_one = transfer.kind == Kind::Refund && transfer.decision != Some(Decision::Cancel);
    let found = || Finding::transfer(id, "nothing is set aside in the account for it", None);
    needs_one.then(|| found().seen_by_full(true))
}

/// What is wrong with an order's sums, given its transfers: the first thing.
pub(crate) fn against_order(order: &OrderSums) -> Option<Finding> {
    let OrderSums { id, currency, state, shown, moved, paying } = *order;
    let found = |what: String, too_much| {
        Finding::new(format!("order {id}"), what, Some(Money::new(currency, too_much)))
    };
    let sums = [
        ("paid", shown.paid, moved.paid),
        ("refunded", shown.refunded, moved.refunded),
        ("about to be refunded", shown.refund_pending, moved.refund_pending),
    ];
    let wrong = sums.into_iter().find(|(_, shown, moved)| shown != moved).map(|(what, shown, moved)| {
        let what = format!("shows {shown} {what}, and its transfers come to {moved}");
        found(what, shown.saturating_sub(moved))
    });
    let is_pending = i64::from(state == OrderState::PaymentPending);
    let wrong = wrong.or_else(|| {
        let what = format!("is {state}, and {paying} payments of it are undecided");
        (is_pending != paying).then(|| found(what, 0))
    });
    wrong.map(|finding| finding.seen_by_full(true))
}

#[cfg(test)]
mod tests {
    use events::HoldSpec;
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::super::account::AccountKey;
    use super::*;

    fn eur(minor_units: i64) -> Money {
        Money::new("EUR".parse().unwrap(), minor_units)
    }

    fn uuid(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// A refund of ten that is on its way, and its hold.
    fn refund() -> (Hold, Decided) {
        let spec = HoldSpec {
            transfer_id: uuid(1).into(),
            owner: uuid(2).into(),
            direction: Direction::Debit,
            amount: eur(10),
            expires_at: OffsetDateTime::UNIX_EPOCH,
            order_id: uuid(3).into(),
        };
        let transfer = Decided {
            decision: None,
            kind: Kind::Refund,
            order_id: uuid(3).into(),
            wallet_user_id: uuid(4).into(),
            account_owner_id: uuid(2).into(),
            amount: eur(10),
        };
        let hold = Hold {
            transfer_id: uuid(1).into(),
            spec: Some(spec),
            state: HoldState::Held,
            refusal: None,
            version: 1,
        };
        (hold, transfer)
    }

    #[test]
    fn a_hold_is_as_its_transfer_is_decided_and_no_other_way() {
        use HoldState::{Cancelled, Held, Posted};
        let decisions =
            [(None, Held), (Some(Decision::Confirm), Posted), (Some(Decision::Cancel), Cancelled)];
        for (decision, due) in decisions {
            for state in [Held, Posted, Cancelled] {
                let (hold, transfer) = refund();
                let found = against_hold(&Hold { state, ..hold }, Some(&Decided { decision, ..transfer }));
                assert_eq!(found.is_none(), state == due, "{decision:?} {state:?}");
                assert!(found.is_none_or(|found| found.only_full == (state != Held)));
            }
        }
    }

    #[test]
    fn a_hold_of_something_else_or_of_nothing_is_found() {
        let (hold, transfer) = refund();
        assert_eq!(against_hold(&hold, Some(&transfer)), None);
        let others = [
            Decided { amount: eur(11), ..transfer.clone() },
            Decided { account_owner_id: uuid(9).into(), ..transfer.clone() },
            Decided { order_id: uuid(9).into(), ..transfer.clone() },
            Decided { kind: Kind::Pay, ..transfer.clone() },
        ];
        for other in others {
            assert!(against_hold(&hold, Some(&other)).is_some(), "{other:?}");
        }
        assert!(against_hold(&hold, None).is_some());
        assert_eq!(against_hold(&Hold { state: HoldState::Cancelled, spec: None, ..hold }, None), None);
        assert!(against_no_hold(uuid(1).into(), &transfer).is_some());
        let refused = Decided { decision: Some(Decision::Cancel), ..transfer.clone() };
        assert_eq!(against_no_hold(uuid(1).into(), &refused), None);
        assert_eq!(against_no_hold(uuid(1).into(), &Decided { kind: Kind::Pay, ..transfer }), None);
    }

    #[test]
    fn an_account_sets_aside_what_its_holds_are_of() {
        let key = AccountKey { owner_id: uuid(2).into(), currency: eur(0).currency };
        let account = Account { held: 10, incoming: 3, ..Account::empty(key) };
        assert_eq!(against_account(&account, Reserved { held: 10, incoming: 3 }), []);
        let found = against_account(&account, Reserved { held: 9, incoming: 4 });
        let differences: Vec<_> = found.into_iter().map(|finding| finding.difference).collect();
        assert_eq!(differences, [Some(eur(1)), Some(eur(-1))]);
    }

    #[test]
    fn an_orders_sums_are_those_of_its_transfers() {
        let sums = Sums { paid: 100, refunded: 20, refund_pending: 5 };
        let order = OrderSums {
            id: uuid(3).into(),
            currency: eur(0).currency,
            state: OrderState::Paid,
            shown: sums,
            moved: sums,
            paying: 0,
        };
        assert_eq!(against_order(&order), None);
        type Change = fn(&mut OrderSums);
        let changes: [(Change, i64); 5] = [
            (|order| order.shown.paid = 101, 1),
            (|order| order.moved.refunded = 21, -1),
            (|order| order.shown.refund_pending = 6, 1),
            (|order| order.paying = 1, 0),
            (|order| order.state = OrderState::PaymentPending, 0),
        ];
        for (change, too_much) in changes {
            let mut changed = order;
            change(&mut changed);
            let found = against_order(&changed).unwrap();
            assert_eq!(found.difference, (too_much != 0).then(|| eur(too_much)));
            assert!(found.only_full);
        }
    }
}
