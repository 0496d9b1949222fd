//! What of the event backbone and of a transfer's steps each operation passes. The sweep kills at each of these
//! points under each operation that comes there, so a new operation says here where it comes by.

use testkit::ServiceName;

use super::operations::Kind::{self, *};
use super::table::OF_WHOM;

/// A service, the point, of what, and whose operations pass it.
pub(super) type Passed = (ServiceName, &'static str, &'static str, fn(&Way) -> &'static [&'static str]);

/// Streams: inside the stamp's transaction, its rows locked; after its commit; after publishing.
const STAMPED: [&str; 3] = ["sequencer.stamping", "sequencer.stamped", "relay.published"];
/// Consumers: on receipt; effects written and their transaction open; after its commit, before the acknowledgement.
const APPLIED: [&str; 3] = ["consumer.received", "consumer.applying", "consumer.applied"];
/// Steps: before and after the commit of each.
const HELD: [&str; 2] = ["hold.changing", "hold.changed"];
const MOVED: [&str; 2] = ["transfer.moving", "transfer.moved"];

/// Streams with a sequencer, and whose they are.
pub const STREAMS: [(ServiceName, &str); 2] = [(ServiceName::User, "user"), (ServiceName::Order, "order")];
/// Consumers with a mark, and whose they are.
pub const CONSUMERS: [(ServiceName, &str); 5] = [
    (ServiceName::Order, "order.customers"),
    (ServiceName::Order, "order.transfers"),
    (ServiceName::User, "user.transfers"),
    (ServiceName::User, "user.statistics"),
    (ServiceName::Session, "session.revocations"),
];
const HOLD_STEPS: [&str; 3] = ["reserve", "confirm", "cancel"];
const TRANSFER_STEPS: [&str; 4] = ["reserved", "refused", "posted", "released"];

/// Where an operation comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Streams that its events are in.
    pub streams: &'static [&'static str],
    /// Consumers that do something with one of its events; the others only move their mark past it, some time.
    pub consumers: &'static [&'static str],
    /// What is done to a hold in the wallet.
    pub hold: &'static [&'static str],
    /// What the coordinator hears of the wallet and moves the transfer for.
    pub transfer: &'static [&'static str],
}

impl Way {
    /// It appends nothing.
    const NONE: Self = Self { streams: &[], consumers: &[], hold: &[], transfer: &[] };

    const fn of(streams: &'static [&'static str], consumers: &'static [&'static str]) -> Self {
        Self { streams, consumers, ..Self::NONE }
    }

    /// Credit between the services: commands one way, answers the other.
    const fn between(
        consumers: &'static [&'static str],
        hold: &'static [&'static str],
        transfer: &'static [&'static str],
    ) -> Self {
        Self { streams: &["user", "order"], consumers, hold, transfer }
    }
}

const MONEY: &[&str] = &["order.transfers", "user.transfers"];
const MONEY_AND_SUMS: &[&str] = &["order.transfers", "user.transfers", "user.statistics"];
const CONFIRMED: (&[&str], &[&str]) = (&["reserve", "confirm"], &["reserved", "posted"]);
const CANCELLED: (&[&str], &[&str]) = (&["reserve", "cancel"], &["reserved", "released"]);

impl Kind {
    /// Where the operation comes by.
    #[must_use]
    pub fn way(self) -> Way {
        match self {
            SignUp => Way::of(&["user"], &["order.customers"]),
            Deactivate | ChangeRole => {
                Way::of(&["user", OF_WHOM], &["order.customers", "session.revocations"])
            }
            Grant | Send | CreatePost | TransferPost => Way::of(&["user"], &[]),
            CreateProduct => Way::of(&["order"], &[]),
            Place | CancelOrder | HandOver => Way::of(&["order"], &["user.statistics"]),
            PlaceUnheard => Way::of(&["user", "order"], &["order.customers", "user.statistics"]),
            Pay | PayMany | RetryTransfer => Way::between(MONEY_AND_SUMS, CONFIRMED.0, CONFIRMED.1),
            PayTooMuch => Way::between(MONEY, &["reserve"], &["refused"]),
            Refund => Way::between(MONEY, CONFIRMED.0, CONFIRMED.1),
            CancelTransfer | Overdue | HoldOverdue => Way::between(MONEY, CANCELLED.0, CANCELLED.1),
            Login | Refresh | Revoke | RevokeAll => Way::of(&[OF_WHOM], &[]),
            SendTooMuch | PlaceTooMany | Audit | StopUser | StopOrder | StopSession => Way::NONE,
        }
    }
}

/// Every point that lies on the way of some operation.
pub(super) fn passed() -> Vec<Passed> {
    let mut all: Vec<Passed> = Vec::new();
    for (service, stream) in STREAMS {
        all.extend(STAMPED.map(|point| -> Passed { (service, point, stream, |way| way.streams) }));
    }
    all.push((ServiceName::Session, "relay.read", OF_WHOM, |way| way.streams));
    for (service, consumer) in CONSUMERS {
        all.extend(APPLIED.map(|point| -> Passed { (service, point, consumer, |way| way.consumers) }));
    }
    for step in HOLD_STEPS {
        all.extend(HELD.map(|point| -> Passed { (ServiceName::User, point, step, |way| way.hold) }));
    }
    for step in TRANSFER_STEPS {
        all.extend(MOVED.map(|point| -> Passed { (ServiceName::Order, point, step, |way| way.transfer) }));
    }
    all
}
