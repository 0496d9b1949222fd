//! What the orders of one user add up to.

use std::ops::{AddAssign, Sub};

/// Sums, or a change of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    /// Placed by the user.
    pub(crate) placed: i64,
    /// Paid while the user's.
    pub(crate) paid: i64,
    /// Cancelled while the user's.
    pub(crate) cancelled: i64,
    /// The user's now, and not cancelled.
    pub(crate) owned: i64,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, more: Self) {
        self.placed += more.placed;
        self.paid += more.paid;
        self.cancelled += more.cancelled;
        self.owned += more.owned;
    }
}

impl Sub for Sums {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        Self {
            placed: self.placed - less.placed,
            paid: self.paid - less.paid,
            cancelled: self.cancelled - less.cancelled,
            owned: self.owned - less.owned,
        }
    }
}
