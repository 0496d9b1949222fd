//! The points at which a service can be killed, and which of them lie on the way of an operation.

use testkit::ServiceName::{self, Order, Session, User};

/// The part of a point that depends on the user: the stream of their sessions.
pub const OF_WHOM: &str = "session-NN";

/// The streams that have a sequencer, each with the service that owns it.
pub const STREAMS: [(ServiceName, &str); 2] = [(User, "user"), (Order, "order")];
/// The consumers that have a mark, each with its service.
pub const CONSUMERS: [(ServiceName, &str); 6] = [
    (Order, "order.customers"),
    (Order, "order.transfers"),
    (User, "user.transfers"),
    (User, "user.statistics"),
    (User, "user.counters"),
    (Session, "session.revocations"),
];

/// The points of a stream: inside the stamp's transaction, its rows locked; after its commit; after publishing.
const STAMPED: &[&str] = &["sequencer.stamping", "sequencer.stamped", "relay.published"];
/// The point of a stream of sessions, which nobody stamps.
const READ: &[&str] = &["relay.read"];
/// The points of a consumer: on receipt; with the effects written and their transaction open; after its commit and
/// before the acknowledgement.
const APPLIED: &[&str] = &["consumer.received", "consumer.applying", "consumer.applied"];
/// The points of a step of a hold, and of a transfer: before and after the commit.
const HELD: &[&str] = &["hold.changing", "hold.changed"];
const MOVED: &[&str] = &["transfer.moving", "transfer.moved"];

/// A moment of a service that `shared/fault` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The service that passes it.
    pub service: ServiceName,
    /// Its name.
    pub name: &'static str,
    /// The part of it: a transaction, a stream, a consumer or a step.
    pub part: &'static str,
}

/// A point, in short.
pub(super) const fn point(service: ServiceName, name: &'static str, part: &'static str) -> Point {
    Point { service, name, part }
}

/// A change that happens whole or not at all.
#[derive(Debug, Clone, Copy)]
pub enum Commit {
    /// A transaction of this name.
    Transaction(ServiceName, &'static str),
    /// One statement, or several that are sent at once: there is no moment inside.
    Statement(ServiceName, &'static str),
    /// A script of session service.
    Script(&'static str),
}

impl Commit {
    /// As far as there are such moments: before the beginning, before the commit, and after it with nobody told yet.
    fn points(self) -> Vec<Point> {
        let (service, names, part): (_, &[_], _) = match self {
            Self::Transaction(service, part) => {
                (service, &["business.beginning", "business.committing", "business.committed"], part)
            }
            Self::Statement(service, part) => (service, &["business.committed"], part),
            Self::Script(part) => (Session, &["business.committing", "business.committed"], part),
        };
        names.iter().map(|name| point(service, name, part)).collect()
    }
}

/// Where an operation's events and its money go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Streams that its events are in.
    pub streams: &'static [&'static str],
    /// Consumers that one of its events matters to; the others only move their mark past it, some time.
    pub consumers: &'static [&'static str],
    /// The steps of the hold in the wallet.
    pub hold: &'static [&'static str],
    /// The answers of the wallet for which the coordinator moves the transfer.
    pub transfer: &'static [&'static str],
}

impl Way {
    /// The operation appends no event.
    pub(super) const NONE: Self = Self { streams: &[], consumers: &[], hold: &[], transfer: &[] };

    /// A transfer between wallet and account: commands one way, answers the other.
    const TRANSFER: Self =
        Self { streams: &["user", "order"], consumers: &["order.transfers", "user.transfers"], ..Self::NONE };

    /// A transfer that moves credit.
    pub(super) const POSTED: Self =
        Self { hold: &["reserve", "confirm"], transfer: &["reserved", "posted"], ..Self::TRANSFER };
    /// A transfer that pays an order, which user service counts.
    pub(super) const PAID: Self =
        Self { consumers: &["order.transfers", "user.transfers", "user.statistics"], ..Self::POSTED };
    /// A transfer for which there is too little credit.
    pub(super) const REFUSED: Self = Self { hold: &["reserve"], transfer: &["refused"], ..Self::TRANSFER };
    /// A transfer that is cancelled after the credit was held.
    pub(super) const CANCELLED: Self =
        Self { hold: &["reserve", "cancel"], transfer: &["reserved", "released"], ..Self::TRANSFER };

    /// Events in these streams, for these consumers.
    pub(super) const fn of(streams: &'static [&'static str], consumers: &'static [&'static str]) -> Self {
        Self { streams, consumers, ..Self::NONE }
    }

    /// Every point of these streams, consumers and steps.
    fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        let mut pass = |service, names: &[&'static str], part| {
            points.extend(names.iter().map(|name| point(service, name, part)));
        };
        for stream in self.streams {
            match STREAMS.iter().find(|(_, name)| name == stream) {
                Some((owner, _)) => pass(*owner, STAMPED, stream),
                None => pass(Session, READ, stream),
            }
        }
        for (owner, consumer) in CONSUMERS.iter().filter(|(_, name)| self.consumers.contains(name)) {
            pass(*owner, APPLIED, consumer);
        }
        for step in self.hold {
            pass(User, HELD, step);
        }
        for step in self.transfer {
            pass(Order, MOVED, step);
        }
        points
    }
}

/// Every point that an operation passes.
pub(super) fn points(commits: &[Commit], way: &Way, moments: &[Point]) -> Vec<Point> {
    let committed = commits.iter().flat_map(|commit| commit.points());
    committed.chain(way.points()).chain(moments.iter().copied()).collect()
}
