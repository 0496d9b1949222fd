//! Order service's database is put back to an older backup while the consumers of its stream run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::event::v1::{ConsumerState, ReplayRequest};
use api::user::v1::{GetUserRequest, OrderStatistics, Wallet};
use bson::doc;
use sqlx::{Connection as _, PgConnection};
use testkit::client::Person;
use testkit::{DatabaseOptions, ServiceName, ServiceOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE, pay, wallet};
use tests::status::{code_and_reason, metadata};
use tests::streams::{caught_up, halted, head, resync, resync_of, standing};
use tonic::Code;

const SOON: Duration = Duration::from_secs(60);
/// A mark that was found in the same place so often in a row stands still.
const STILL: u32 = 10;
/// How long a payment may stay undecided.
const DEADLINE: &str = "4s";
/// Consumers of the stream `order`: a read model, and money.
const STATISTICS: &str = "user.statistics";
const TRANSFERS: &str = "user.transfers";
/// Consumers of other streams.
const OTHERS: [&str; 3] = ["order.customers", "order.transfers", "session.revocations"];

struct Story {
    system: System,
    market: Market,
    /// The same market for somebody else.
    newcomer: Market,
}

impl Story {
    async fn begin() -> Result<Self> {
        let services = ServiceOptions {
            env: vec![(ServiceName::Order, "TRANSFER_DEADLINE".to_owned(), DEADLINE.to_owned())],
            ..ServiceOptions::default()
        };
        let system = System::start_with(DatabaseOptions::default(), services).await?;
        let market = Market::open(&system, 10 * PRICE, 1_000).await?;
        let buyer = system.api.sign_up("Newcomer").await?;
        let newcomer = Market { buyer, seller: market.seller.clone(), product_id: market.product_id.clone() };
        Ok(Self { system, market, newcomer })
    }

    fn admin(&self) -> &Person {
        &self.system.admin
    }

    async fn place(&self, count: usize) -> Result<()> {
        for _ in 0..count {
            self.market.order(1).await?;
        }
        Ok(())
    }

    /// Places orders, an event each, until the stream has come past a position; tells how many.
    async fn place_past(&self, position: i64) -> Result<i64> {
        let admin = &self.admin().caller;
        let count = position + 1 - head(admin, "order").await?.position;
        self.place(usize::try_from(count)?).await?;
        // Whoever stamped before the restore may have the lease for a while.
        wait_until(SOON, "the history to pass the marks", async || {
            let head = head(admin, "order").await?;
            ensure!(head.position > position, "{head:?}");
            anyhow::Ok(())
        })
        .await?;
        Ok(count)
    }

    /// Pays an order, as a client does: the same request again while the outcome is unknown.
    /// Pays an order. A payment that the machine was too slow for has come to its end, and another is made.
    async fn pay_one(&self) -> Result<()> {
        let order = self.market.order(1).await?;
        let request = std::cell::RefCell::new(pay(&order));
        let paid = wait_until(SOON, "the payment", async || {
            let this = request.borrow().clone();
            self.market.buyer.caller.transfers().pay_order(this).await.map_err(|status| {
                if code_and_reason(&status).1 == "TRANSFER_EXPIRED" {
                    request.replace(pay(&order));
                }
                status.to_string()
            })
        });
        paid.await.map(drop)
    }

    async fn statistics(&self) -> Result<OrderStatistics> {
        statistics(&self.market.buyer).await
    }

    /// Waits until user service has counted so many orders.
    async fn placed(&self, count: i64) -> Result<OrderStatistics> {
        wait_until(SOON, "the sums", async || {
            let sums = self.statistics().await.map_err(|error| format!("{error:#}"))?;
            if sums.placed_count == count { Ok(sums) } else { Err(format!("{sums:?} instead of {count}")) }
        })
        .await
    }

    /// Where both consumers stand, once both have counted and held what they are to lose.
    async fn marks_together(&self) -> Result<[ConsumerState; 2]> {
        let admin = &self.admin().caller;
        // Order service is dead: what either has not heard of by now it will not hear of.
        let mut before: Option<([ConsumerState; 2], u32)> = None;
        wait_until(SOON, "both consumers to stand still", async || {
            let marks = [standing(admin, STATISTICS).await?, standing(admin, TRANSFERS).await?];
            let looks = before.take().map_or(0, |(seen, looks)| if seen == marks { looks + 1 } else { 0 });
            before = Some((marks.clone(), looks));
            ensure!(looks >= STILL, "{marks:?}");
            anyhow::Ok(marks)
        })
        .await
    }

    async fn both_halted(&self) -> Result<[ConsumerState; 2]> {
        let admin = &self.admin().caller;
        Ok([
            halted(admin, STATISTICS, "stream_rewound").await?,
            halted(admin, TRANSFERS, "stream_rewound").await?,
        ])
    }

    async fn others_go_on(&self) -> Result<()> {
        for consumer in OTHERS {
            caught_up(&self.admin().caller, consumer).await?;
        }
        Ok(())
    }

    /// What a consumer would make of the new history that compared positions and nothing else: it counts whatever is
    /// above its position.
    async fn placed_by_position_alone(&self, known: i64, after: i64) -> Result<i64> {
        let request =
            ReplayRequest { stream: "order".to_owned(), after_position: after, ..ReplayRequest::default() };
        let answer =
            self.admin().caller.events(ServiceName::Order).replay(request).await.context("Replay")?;
        let (mut pages, mut placed) = (answer.into_inner(), known);
        while let Some(page) = pages.message().await? {
            placed += page
                .events
                .iter()
                .map(|event| i64::from(event.r#type == "order.v1.OrderPlaced"))
                .sum::<i64>();
        }
        Ok(placed)
    }

    /// A payment whose credit is held while nobody has decided; order service is dead afterwards.
    async fn held_payment(&self) -> Result<()> {
        let services = &self.system.stack.services;
        let request = pay(&self.market.order(1).await?);
        services.user.process().pause()?;
        let patient = self.market.buyer.caller.within(Duration::from_millis(1_500));
        let unknown = patient.transfers().pay_order(request).await.expect_err("nobody can reserve");
        metadata(&unknown, "transfer_id").with_context(|| format!("no transfer in {unknown:?}"))?;
        let url = self.system.stack.databases.urls_for_services().await?.postgres;
        let mut watcher = PgConnection::connect(&url).await.context("connecting to PostgreSQL")?;
        let published = "SELECT count(*) FROM outbox_lease WHERE published_through < next_position - 1";
        wait_until(SOON, "the command to be published", async || {
            let behind: i64 =
                sqlx::query_scalar(published).fetch_one(&mut watcher).await.map_err(|e| e.to_string())?;
            if behind == 0 { Ok(()) } else { Err("not published".to_owned()) }
        })
        .await?;
        services.order.process().kill().await?;
        services.user.process().resume()?;
        wait_until(SOON, "the credit to be held", async || {
            let held = wallet(&self.market.buyer).await.map_err(|error| format!("{error:#}"))?.held;
            let held = held.map(|held| held.minor_units);
            if held == Some(PRICE) { Ok(()) } else { Err(format!("{held:?} held")) }
        })
        .await
    }

    /// Waits until user service has looked twice at what is past its time, the held payment among it.
    async fn holds_looked_at(&self) -> Result<()> {
        let mongo = self.system.stack.databases.mongo.admin();
        let first = async |collection: &str, filter: bson::Document| -> Result<bson::Document> {
            let found =
                mongo.run("user_service", doc! { "find": collection, "filter": filter, "limit": 1 }).await?;
            let rows = found.get_document("cursor")?.get_array("firstBatch")?.clone();
            Ok(rows.first().and_then(bson::Bson::as_document).context("no row")?.clone())
        };
        let hold = first("hold", doc! { "state": "HELD" }).await?;
        let due = *hold.get_document("spec")?.get_datetime("expires_at")?;
        let mut looks = Vec::new();
        wait_until(SOON, "user service to look at expired holds", async || {
            let looked =
                *first("worker_lease", doc! { "_id": "hold_expiry" }).await?.get_datetime("renewed_at")?;
            if looked > due && !looks.contains(&looked) {
                looks.push(looked);
            }
            ensure!(looks.len() >= 3, "looked {} times", looks.len());
            anyhow::Ok(())
        })
        .await
    }
}

async fn statistics(person: &Person) -> Result<OrderStatistics> {
    let request = GetUserRequest { user_id: person.user_id.clone(), read_mask: None };
    let answer = person.caller.users().get_user(request).await.context("GetUser")?;
    answer.into_inner().user.context("a user")?.order_statistics.context("statistics")
}

/// What the consumers had come to when the database was put back.
struct Lost {
    marks: [ConsumerState; 2],
    statistics: OrderStatistics,
    purse: Wallet,
}

impl Lost {
    /// The same marks, of consumers that have stopped.
    fn stopped(&self) -> [ConsumerState; 2] {
        self.marks.clone().map(|mark| ConsumerState { halted_reason: "stream_rewound".to_owned(), ..mark })
    }
}

/// Claim: order service's PostgreSQL is put back to an older physical backup, of the same identity and timeline, under
/// running consumers. Every consumer of its stream halts with `stream_rewound`: mark and effects stay, also while the
/// new history grows past the marks, and no hold ends by what the database no longer knows. Consumers of other
/// streams go on. Resync heals the read model and is refused for money. A logical restore into the same cluster, and
/// a history that is already past the mark when the consumer first looks, are caught the same way.
#[tokio::test]
async fn consumers_stop_when_the_order_database_is_restored_and_go_on_after_a_resync() -> Result<()> {
    let story = Story::begin().await?;
    let admin = story.admin().caller.clone();
    let databases = &story.system.stack.databases;
    story.pay_one().await?;
    caught_up(&admin, TRANSFERS).await?;
    let backup = databases.postgres.backup().await?;
    let backed_up = head(&admin, "order").await?;
    let lost = lost_future(&story).await?;
    ensure!(
        lost.marks.iter().all(|mark| mark.position > backed_up.position + 3),
        "{:?} of {backed_up:?}",
        lost.marks
    );

    let log = story.system.stack.services.user.log().mark();
    databases.postgres.restore(&backup).await?;
    story.system.stack.services.order.restart().await?;
    assert_eq!(story.both_halted().await?, lost.stopped());
    let told = story.system.stack.services.user.log().errors_since(log);
    for consumer in [STATISTICS, TRANSFERS] {
        let says = |line: &String| line.contains(consumer) && line.contains("stream_rewound");
        ensure!(told.iter().any(says), "{consumer} did not tell: {told:?}");
    }
    assert_eq!(head(&admin, "order").await?.epoch, backed_up.epoch, "nothing but its history gives it away");

    let orders = grown_past(&story, &lost).await?;
    healed(&story, &lost, orders).await?;
    restored_logically(&story).await
}

/// Orders of the buyer and of somebody who has none in the backup, a payment, and one whose credit is held.
async fn lost_future(story: &Story) -> Result<Lost> {
    story.place(3).await?;
    story.newcomer.order(1).await?;
    story.pay_one().await?;
    story.held_payment().await?;
    let marks = story.marks_together().await?;
    let statistics = story.statistics().await?;
    assert_eq!((statistics.placed_count, statistics.paid_count), (6, 2));
    Ok(Lost { marks, statistics, purse: wallet(&story.market.buyer).await? })
}

/// The new history takes the positions that the consumers have seen, and more; tells how many orders it has.
async fn grown_past(story: &Story, lost: &Lost) -> Result<i64> {
    let seen = lost.marks.iter().map(|mark| mark.position).max().context("two marks")?;
    let orders = story.place_past(seen + 2).await?;
    story.others_go_on().await?;
    story.holds_looked_at().await?;
    assert_eq!(story.both_halted().await?, lost.stopped());
    assert_eq!(story.statistics().await?, lost.statistics);
    assert_eq!(wallet(&story.market.buyer).await?, lost.purse, "the hold and the balance are as they were");
    let naive = story.placed_by_position_alone(lost.statistics.placed_count, lost.marks[0].position).await?;
    assert_ne!(naive, 1 + orders, "positions alone would have been believed, and the sum wrong");
    Ok(orders)
}

async fn healed(story: &Story, lost: &Lost, orders: i64) -> Result<()> {
    let admin = &story.admin().caller;
    let refused = resync(admin, &resync_of(TRANSFERS)).await.expect_err("money cannot be rebuilt");
    assert_eq!(code_and_reason(&refused), (Code::FailedPrecondition, "RESYNC_UNSUPPORTED".to_owned()));
    assert_eq!(statistics(&story.newcomer.buyer).await?.placed_count, 1);
    let request = resync_of(STATISTICS);
    let healed = resync(admin, &request).await?;
    let rebuilt = story.placed(1 + orders).await?;
    assert_eq!((rebuilt.paid_count, rebuilt.owned_count), (1, 1 + orders));
    assert_eq!(statistics(&story.newcomer.buyer).await?, OrderStatistics::default(), "that order is gone");
    story.place(1).await?;
    story.placed(2 + orders).await?;
    assert_eq!(resync(admin, &request).await?, healed, "a repeat hears what the first one came to");
    assert_eq!(standing(admin, TRANSFERS).await?, lost.stopped()[1], "money waits for somebody to look");
    Ok(())
}

/// As a table of its own: the same database server, so that no identity could tell, and the consumer away until the
/// new history is past its mark.
async fn restored_logically(story: &Story) -> Result<()> {
    let admin = &story.admin().caller;
    let databases = &story.system.stack.databases;
    let services = &story.system.stack.services;
    let dump = databases.postgres.dump("order_service").await?;
    let before = story.statistics().await?.placed_count;
    story.place(2).await?;
    let statistics = story.placed(before + 2).await?;
    let mark = standing(admin, STATISTICS).await?;

    services.user.process().kill().await?;
    services.order.process().kill().await?;
    databases.postgres.load(&dump).await?;
    services.order.restart().await?;
    wait_until(SOON, "order service to take orders", async || {
        let is_placed = story.place(1).await;
        is_placed.map_err(|error| format!("{error:#}"))
    })
    .await?;
    let placed = story.place_past(mark.position + 1).await?;
    let now = head(admin, "order").await?;
    assert_eq!(now.epoch, mark.epoch, "the same database server has the same epoch");
    services.user.restart().await?;
    let halted = halted(admin, STATISTICS, "stream_rewound").await?;
    assert_eq!((halted.position, story.statistics().await?), (mark.position, statistics));
    resync(admin, &resync_of(STATISTICS)).await?;
    story.placed(before + 1 + placed).await?;

    // The restore procedure's last step may be late: to a history that goes on it changes nothing but its name.
    services.order.command(&["new-epoch"], "").await?;
    story.place(1).await?;
    story.placed(before + 2 + placed).await?;
    assert_ne!(caught_up(admin, STATISTICS).await?.epoch, mark.epoch);
    Ok(())
}
