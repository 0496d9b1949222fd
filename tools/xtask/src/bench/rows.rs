//! The rows of the bench.

use anyhow::Result;

use super::Bench;

/// Something to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Row {
    /// What processes use when nobody calls them. Always measured.
    Idle,
    /// A call without identity or database.
    Empty,
    /// The same over TLS, beside the same without.
    Tls,
    /// A session is verified.
    SessionValidate,
    /// Somebody logs in.
    SessionLogin,
    /// A user is read.
    UserGet,
    /// The first fifty posts of all are listed, with their authors.
    PostList,
    /// A post is handed over.
    PostHandOver,
    /// Somebody is followed, and no more.
    Follow,
    /// A post is liked, and no more.
    Like,
    /// Sixty-four clients follow one user, and like one post, beside as many with one of their own each.
    Hot,
    /// An order with three items is placed.
    OrderPlace,
    /// An order with three items is read.
    OrderGet,
    /// An event goes from PostgreSQL to MongoDB, 500 a second.
    EventsWay,
    /// The same from 10 to 10,000 a second.
    EventsByRate,
    /// Credit moves from a wallet to an account.
    Transfer,
    /// Many events at once go from PostgreSQL to MongoDB. The databases clean up after that for a while, so it comes
    /// late.
    Backlog,
    /// User service with few users and with many. Only measured when it is named: many take minutes to write.
    Scale,
    /// How soon the services serve after their start.
    Start,
    /// How much memory the services had under load.
    Loaded,
}

impl Row {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 20] = [
        Self::Idle,
        Self::Empty,
        Self::Tls,
        Self::SessionValidate,
        Self::SessionLogin,
        Self::UserGet,
        Self::PostList,
        Self::PostHandOver,
        Self::Follow,
        Self::Like,
        Self::Hot,
        Self::OrderPlace,
        Self::OrderGet,
        Self::EventsWay,
        Self::EventsByRate,
        Self::Transfer,
        Self::Backlog,
        Self::Loaded,
        Self::Start,
        Self::Scale,
    ];

    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Empty => "empty call",
            Self::Tls => "empty call, TLS",
            Self::SessionValidate => "session validate",
            Self::SessionLogin => "session login",
            Self::UserGet => "user get",
            Self::PostList => "post list",
            Self::PostHandOver => "post hand-over",
            Self::Follow => "follow",
            Self::Like => "like",
            Self::Hot => "hot",
            Self::OrderPlace => "order place",
            Self::OrderGet => "order get",
            Self::EventsWay => "event's way",
            Self::EventsByRate => "events by rate",
            Self::Backlog => "backlog",
            Self::Transfer => "transfer",
            Self::Scale => "scale",
            Self::Start => "start",
            Self::Loaded => "loaded",
        }
    }
}

impl Bench {
    /// Measures one row.
    pub(super) async fn row(&mut self, row: Row) -> Result<()> {
        match row {
            Row::Idle => self.measure_idle().await,
            Row::Tls => self.measure_tls().await,
            Row::Empty
            | Row::SessionValidate
            | Row::SessionLogin
            | Row::UserGet
            | Row::PostList
            | Row::PostHandOver
            | Row::Follow
            | Row::Like
            | Row::OrderPlace
            | Row::OrderGet => self.measure_call(row).await,
            Row::Hot => self.measure_hot().await,
            Row::EventsWay => self.measure_way().await,
            Row::EventsByRate => self.measure_curve().await,
            Row::Backlog => self.measure_backlog().await,
            Row::Transfer => self.measure_transfer().await,
            Row::Scale => self.measure_scale().await,
            Row::Start => self.measure_start().await,
            Row::Loaded => {
                self.add_memory();
                Ok(())
            }
        }
    }
}
