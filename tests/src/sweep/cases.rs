//! The cases of the sweep: each point that an operation passes, with that operation.

use testkit::ServiceName::{self, Order, Session, User};

use super::operations::{self, Kind};
use super::way::Point;

/// One point, one operation.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The name of the point.
    pub point: &'static str,
    /// The part of it: a transaction, a stream, a consumer or a step.
    pub part: &'static str,
    /// The service that dies.
    pub victim: ServiceName,
    /// What is done.
    pub operation: &'static Kind,
}

impl Case {
    /// The names of the point, its part and the operation.
    #[must_use]
    pub fn key(&self) -> (&'static str, &'static str, &'static str) {
        (self.point, self.part, self.operation.name)
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} {}", self.point, self.part, self.operation.name)
    }
}

/// Transactions and scripts that no case is made for, and why.
pub const EXEMPT: &[(ServiceName, &str, &str)] = &[
    (User, "stamp", "has points of its own: sequencer.*"),
    (User, "prune", "has points of its own: pruner.*"),
    (User, "rehash", "only when the parameters of password hashing change; done again at the next login"),
    (User, "doctor", "only in a scratch database of a command that looks at the server"),
    (User, "recount_users", "a command that its operator runs again, not a call"),
    (User, "recount_posts", "a command that its operator runs again, not a call"),
    (User, "bootstrap_admin", "a command that its operator runs again, not a call"),
    (Order, "rebuild_customers", "a resync, which has tests of its own"),
    (Order, "rebuild_customers_end", "a resync, which has tests of its own"),
    (User, "rebuild_statistics", "a resync, which has tests of its own"),
    (User, "remove_statistics", "a resync, which has tests of its own"),
    (
        User,
        "fill_windows",
        "a job that is done again at each start, and changes nothing that is there already",
    ),
    (Session, "forget_user", "a resync, which has tests of its own"),
];

/// Every case.
#[must_use]
pub fn all() -> Vec<Case> {
    let of = |operation: &'static Kind| {
        let case = move |point: Point| Case {
            point: point.name,
            part: point.part,
            victim: point.service,
            operation,
        };
        operation.points().into_iter().map(case)
    };
    operations::all().flat_map(of).collect()
}

/// One case for each crash point that the design names, for every run of the tests.
pub const SHORT: &[(&str, &str, &str)] = &[
    ("business.committed", "place_order", "Place"),
    ("sequencer.stamping", "user", "Grant"),
    ("sequencer.stamped", "order", "Pay"),
    ("relay.published_one", "order", "Pay"),
    ("relay.published", "user", "SignUp"),
    ("pruner.pruning", "user", "Grant"),
    ("consumer.applying", "user.statistics", "CancelOrder"),
    ("consumer.applied", "session.revocations", "Deactivate"),
    ("business.committed", "pay_order", "Pay"),
    ("hold.changed", "reserve", "Pay"),
    ("transfer.moved", "reserved", "Refund"),
    ("hold.changed", "confirm", "Pay"),
    ("transfer.moving", "posted", "Pay"),
    ("business.committed", "login", "Login"),
];

/// The cases of [`SHORT`].
#[must_use]
pub fn short() -> Vec<Case> {
    all().into_iter().filter(|case| SHORT.contains(&case.key())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_case_is_there_twice() {
        let mut seen = BTreeSet::new();
        let cases = all().into_iter().map(|case| format!("{} dies at {case}", case.victim));
        let twice: Vec<_> = cases.filter(|case| !seen.insert(case.clone())).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
