//! Which points there are, who dies there, and what is done to get there.

use testkit::ServiceName::{self, Order, Session, User};

use super::operations::Kind::{self, *};
use super::passing::passed;

/// One point, one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The name of the point.
    pub point: &'static str,
    /// Of what.
    pub part: &'static str,
    /// The service that dies.
    pub victim: ServiceName,
    /// What is done.
    pub operation: Kind,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {:?}", self.point, self.part, self.operation)
    }
}

/// The part of a point that depends on the user: the stream of their sessions.
pub const OF_WHOM: &str = "session-NN";

/// The transactions: before their beginning, before their commit, and after it with nobody told yet.
const TRANSACTIONS: &[(ServiceName, &str, &[Kind])] = &[
    (User, "create_user", &[SignUp]),
    (User, "deactivate_user", &[Deactivate]),
    (User, "change_user_role", &[ChangeRole]),
    (User, "grant_credit", &[Grant]),
    (User, "send_credit", &[Send, SendTooMuch]),
    (User, "create_post", &[CreatePost]),
    (User, "transfer_post", &[TransferPost]),
    (User, "hold_expire", &[HoldOverdue]),
    (User, "audit_advance", &[Audit]),
    (Order, "audit_advance", &[Audit]),
    (Order, "create_product", &[CreateProduct]),
    (Order, "learn_customer", &[PlaceUnheard]),
    (Order, "cancel_order", &[CancelOrder]),
    (Order, "transfer_order", &[HandOver]),
    (Order, "refund_order", &[Refund]),
    (Order, "cancel_transfer", &[CancelTransfer]),
    (Order, "retry_transfer", &[RetryTransfer]),
    (Order, "get_decision", &[HoldOverdue]),
    (Order, "recover_transfer", &[Overdue]),
    (Order, "audit_advance", &[Audit]),
];

/// Changes that are one statement or one script: there is no moment inside.
const STATEMENTS: &[(ServiceName, &str, Kind)] =
    &[(Order, "place_order", Place), (Order, "place_order_refused", PlaceTooMany), (Order, "pay_order", Pay)];
const SCRIPTS: &[(&str, Kind)] = &[
    ("login", Login),
    ("refresh_session", Refresh),
    ("revoke_session", Revoke),
    ("revoke_all_sessions", RevokeAll),
    ("revoke_below", Deactivate),
];

/// Moments that come by themselves or with some operations only; [`passing`](super::passing) has the others.
const MOMENTS: &[(ServiceName, &str, &str, &[Kind])] = &[
    // Several events are published at once: of one transaction, or of several at a time.
    (User, "relay.published_one", "user", &[PayMany]),
    (Order, "relay.published_one", "order", &[Pay, Refund, PayMany]),
    // Whatever is old enough is pruned, whoever's it is.
    (User, "pruner.pruning", "user", &[Grant]),
    (User, "pruner.pruned", "user", &[Grant]),
    (Order, "pruner.pruned", "order", &[Place]),
    (Order, "recovery.claimed", "order", &[Overdue]),
    (User, "expiry.answered", "hold", &[HoldOverdue]),
    // A login that nobody settles; a request that is claimed and not done.
    (Session, "login.counted", "session", &[Login]),
    (Session, "login.checked", "session", &[Login]),
    (Session, "request.claimed", "session.v1.SessionService/RevokeAllSessions", &[RevokeAll]),
    // While leaving, the leases still held.
    (User, "sequencer.leaving", "user", &[StopUser]),
    (Order, "sequencer.leaving", "order", &[StopOrder]),
    (User, "consumer.leaving", "user.transfers", &[StopUser]),
    (User, "consumer.leaving", "user.statistics", &[StopUser]),
    (Order, "consumer.leaving", "order.customers", &[StopOrder]),
    (Order, "consumer.leaving", "order.transfers", &[StopOrder]),
    (Session, "consumer.leaving", "session.revocations", &[StopSession]),
];

/// Transactions and scripts that no case is made for, and why.
pub const EXEMPT: &[(ServiceName, &str, &str)] = &[
    (User, "stamp", "has points of its own: sequencer.*"),
    (User, "prune", "has points of its own: pruner.*"),
    (User, "get_trial_balance", "reads"),
    (User, "rehash", "only when the parameters of password hashing change; done again at the next login"),
    (User, "bootstrap_admin", "a command that its operator runs again, not a call"),
    (Order, "rebuild_customers", "a resync, which has tests of its own"),
    (Order, "rebuild_customers_end", "a resync, which has tests of its own"),
    (User, "rebuild_statistics", "a resync, which has tests of its own"),
    (User, "remove_statistics", "a resync, which has tests of its own"),
    (Session, "forget_user", "a resync, which has tests of its own"),
];

/// Every case.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for &(victim, part, operations) in TRANSACTIONS {
        for point in ["business.beginning", "business.committing", "business.committed"] {
            cases.extend(operations.iter().map(|&operation| Case { point, part, victim, operation }));
        }
    }
    cases.extend(STATEMENTS.iter().map(|&(victim, part, operation)| Case {
        point: "business.committed",
        part,
        victim,
        operation,
    }));
    for &(part, operation) in SCRIPTS {
        for point in ["business.committing", "business.committed"] {
            cases.push(Case { point, part, victim: Session, operation });
        }
    }
    for (victim, point, part, on_way) in passed() {
        let passes = |kind: &Kind| on_way(&kind.way()).contains(&part);
        let kinds = Kind::ALL.into_iter().filter(passes);
        cases.extend(kinds.map(|operation| Case { point, part, victim, operation }));
    }
    for &(victim, point, part, operations) in MOMENTS {
        cases.extend(operations.iter().map(|&operation| Case { point, part, victim, operation }));
    }
    cases
}

/// One case for each crash point that the design names, for every run of the tests.
pub const SHORT: &[(&str, &str, Kind)] = &[
    ("business.committed", "place_order", Place),
    ("sequencer.stamping", "user", Grant),
    ("sequencer.stamped", "order", Pay),
    ("relay.published_one", "order", Pay),
    ("relay.published", "user", SignUp),
    ("pruner.pruning", "user", Grant),
    ("consumer.applying", "user.statistics", CancelOrder),
    ("consumer.applied", "session.revocations", Deactivate),
    ("business.committed", "pay_order", Pay),
    ("hold.changed", "reserve", Pay),
    ("transfer.moved", "reserved", Refund),
    ("hold.changed", "confirm", Pay),
    ("transfer.moving", "posted", Pay),
    ("business.committed", "login", Login),
];

/// The cases of [`SHORT`].
#[must_use]
pub fn short() -> Vec<Case> {
    let is_chosen = |case: &Case| SHORT.contains(&(case.point, case.part, case.operation));
    all().into_iter().filter(is_chosen).collect()
}
