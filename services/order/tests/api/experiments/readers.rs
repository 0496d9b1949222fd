//! Readers of an outbox: those that others ship, each by its rule, and ours.

use events::{EventLog as _, Lease, OutboxStore as _, Stamp};
use order_service::storage::Store;
use sqlx::{AssertSqlSafe, PgConnection};
use testkit::wait_until;

use super::{END, LEASE, WITHIN};

/// Delivers events, in an order and at a moment of its own.
pub(super) trait Reader {
    /// What it delivers now, each event as its aggregate and version: `A1`.
    async fn poll(&mut self) -> Vec<String>;
}

/// Which rows of the outbox a naive reader takes, and in which order. `read` is where it stands: the transaction
/// and the id of the last row, the snapshot of its last poll, and that of this one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    takes: &'static str,
    order: &'static str,
}

/// The cursor over ids.
pub(super) const BY_ID: Rule = Rule { takes: "outbox.id > read.id", order: "outbox.id" };
/// The cursor over transactions and ids, on what is visible.
pub(super) const BY_VISIBLE_XID: Rule = Rule {
    takes: "(outbox.xid, outbox.id) > (read.xid, read.id) AND pg_visible_in_snapshot(outbox.xid, read.now)",
    order: "outbox.xid, outbox.id",
};
/// The same on what no open transaction of the cluster is older than.
pub(super) const BELOW_XMIN: Rule = Rule {
    takes: "(outbox.xid, outbox.id) > (read.xid, read.id) AND outbox.xid < pg_snapshot_xmin(read.now)",
    order: "outbox.xid, outbox.id",
};
/// That filter with a cursor over ids.
pub(super) const BELOW_XMIN_BY_ID: Rule =
    Rule { takes: "outbox.id > read.id AND outbox.xid < pg_snapshot_xmin(read.now)", order: "outbox.id" };
/// What is visible now and was not at the last poll.
pub(super) const SNAPSHOT_DIFFERENCE: Rule = Rule {
    takes: "pg_visible_in_snapshot(outbox.xid, read.now) AND NOT pg_visible_in_snapshot(outbox.xid, read.seen)",
    order: "outbox.id",
};
/// The cursor over ids that waits at a hole.
pub(super) const WITHOUT_HOLES: Rule = Rule {
    takes: "outbox.id > read.id AND outbox.id - read.id =
                (SELECT count(*) FROM outbox AS before WHERE before.id BETWEEN read.id + 1 AND outbox.id)",
    order: "outbox.id",
};

/// A reader that goes by a [`Rule`].
pub(super) struct Naive {
    sql: PgConnection,
    rule: Rule,
    xid: String,
    id: i64,
    seen: String,
}

impl Naive {
    pub(super) fn new(sql: PgConnection, rule: Rule) -> Self {
        Self { sql, rule, xid: "0".to_owned(), id: 0, seen: "1:1:".to_owned() }
    }

    /// Lets it stand behind a row of this transaction and id.
    pub(super) fn standing_at(self, xid: &str, id: i64) -> Self {
        Self { xid: xid.to_owned(), id, ..self }
    }
}

impl Reader for Naive {
    async fn poll(&mut self) -> Vec<String> {
        let now: String =
            sqlx::query_scalar("SELECT pg_current_snapshot()::text").fetch_one(&mut self.sql).await.unwrap();
        let Rule { takes, order } = self.rule;
        let query = format!(
            "SELECT outbox.xid::text, outbox.id, aggregate_id || aggregate_version
             FROM outbox, (SELECT $1::text::xid8 AS xid, $2::bigint AS id, $3::text::pg_snapshot AS seen,
                                  $4::text::pg_snapshot AS now) AS read
             WHERE {takes} ORDER BY {order}"
        );
        let rows: Vec<(String, i64, String)> = sqlx::query_as(AssertSqlSafe(query))
            .bind(&self.xid)
            .bind(self.id)
            .bind(&self.seen)
            .bind(&now)
            .fetch_all(&mut self.sql)
            .await
            .unwrap();
        self.seen = now;
        if let Some((xid, id, _)) = rows.last() {
            (self.xid, self.id) = (xid.clone(), *id);
        }
        rows.into_iter().map(|(.., name)| name).collect()
    }
}

/// The service's sequencer, and what it answers a replay from.
pub(super) struct Ours {
    store: Store,
    lease: Lease,
    mark: i64,
}

impl Ours {
    pub(super) fn new(store: Store, lease: Lease) -> Self {
        Self { store, lease, mark: 0 }
    }
}

impl Reader for Ours {
    async fn poll(&mut self) -> Vec<String> {
        loop {
            match self.store.stamp(&self.lease, 100, LEASE).await.unwrap() {
                Stamp::Stamped(events) if events.is_empty() => break,
                Stamp::Stamped(_) => {}
                Stamp::LeaseLost => panic!("the lease is lost"),
            }
        }
        let events = self.store.read_after("order", self.mark, 100).await.unwrap();
        for event in &events {
            self.mark += 1;
            assert_eq!(event.position, self.mark, "positions are dense");
        }
        let name =
            |event: events::Event| format!("{}{}", event.new.aggregate.id, event.new.aggregate_version);
        events.into_iter().map(name).collect()
    }
}

/// What it delivers until something was delivered, for a reader that may wait for strangers.
pub(super) async fn delivered(reader: &mut impl Reader) -> Vec<String> {
    wait_until(WITHIN, "the reader to deliver", async || {
        let events = reader.poll().await;
        if events.is_empty() { Err("nothing") } else { Ok(events) }
    })
    .await
    .unwrap()
}

/// What it delivers before [`super::Experiment::end`]'s event: nothing comes after that one.
pub(super) async fn until_end(reader: &mut impl Reader) -> Vec<String> {
    let mut all = Vec::new();
    wait_until(WITHIN, "the reader to come to the end", async || {
        all.extend(reader.poll().await);
        match all.last() {
            Some(last) if *last == format!("{END}1") => Ok(()),
            _ => Err(format!("{all:?}")),
        }
    })
    .await
    .unwrap();
    assert_eq!(reader.poll().await, Vec::<String>::new(), "it delivers nothing twice");
    all.pop();
    all
}
