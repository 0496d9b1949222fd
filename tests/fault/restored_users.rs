//! User service's database is put back to an older backup while the consumers of its stream run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::auth::v1::Role;
use api::event::v1::ConsumerState;
use api::user::v1::GetUserRequest;
use sqlx::{Connection as _, PgConnection};
use testkit::client::{PASSWORD, Person};
use testkit::{DatabaseOptions, wait_until};
use tests::System;
use tests::people::{Market, PRICE, credit, earned, pay};
use tests::status::code_and_reason;
use tests::streams::{caught_up, halted, head, resync, resync_of, standing};
use tonic::Code;

const SOON: Duration = Duration::from_secs(60);
/// Consumers of the stream `user`: a read model, money, and what ends sessions.
const CUSTOMERS: &str = "order.customers";
const ANSWERS: &str = "order.transfers";
const REVOCATIONS: &str = "session.revocations";
/// Consumers of the stream `order`, whose marks and effects are in the database that went back.
const OTHERS: [&str; 2] = ["user.statistics", "user.transfers"];

struct Story {
    system: System,
    order_database: PgConnection,
}

impl Story {
    async fn begin() -> Result<Self> {
        let system = System::start(DatabaseOptions::default()).await?;
        let url = system.stack.databases.urls_for_services().await?.postgres;
        let order_database = PgConnection::connect(&url).await.context("connecting to PostgreSQL")?;
        Ok(Self { system, order_database })
    }

    /// What order service knows of somebody: the state and the role.
    async fn known(&mut self, person: &Person) -> Result<Option<(String, String)>> {
        let query = sqlx::query_as("SELECT state, role FROM customers WHERE user_id = $1::uuid");
        Ok(query.bind(&person.user_id).fetch_optional(&mut self.order_database).await?)
    }

    async fn all_known(&mut self) -> Result<Vec<(String, String, String, i64)>> {
        let query = "SELECT user_id::text, state, role, version FROM customers ORDER BY user_id";
        Ok(sqlx::query_as(query).fetch_all(&mut self.order_database).await?)
    }

    async fn all_halted(&self, admin: &Person) -> Result<Vec<ConsumerState>> {
        let mut states = Vec::new();
        for consumer in [CUSTOMERS, ANSWERS, REVOCATIONS] {
            states.push(halted(&admin.caller, consumer, "stream_rewound").await?);
        }
        Ok(states)
    }
}

fn active(role: &str) -> Option<(String, String)> {
    Some(("active".to_owned(), role.to_owned()))
}

/// What the consumers had come to when the database was put back.
struct Lost {
    marks: Vec<ConsumerState>,
    known: Vec<(String, String, String, i64)>,
    /// The buyer's credit and the seller's balance.
    money: (i64, i64),
    /// Signed up since the backup.
    dora: Person,
}

impl Lost {
    /// The same marks, of consumers that have stopped.
    fn stopped(&self) -> Vec<ConsumerState> {
        let stopped = |mark: &ConsumerState| ConsumerState {
            halted_reason: "stream_rewound".to_owned(),
            ..mark.clone()
        };
        self.marks.iter().map(stopped).collect()
    }
}

async fn pay_one(market: &Market) -> Result<()> {
    let request = pay(&market.order(1).await?);
    market.buyer.caller.transfers().pay_order(request).await.context("PayOrder").map(drop)
}

/// Claim: user service's MongoDB is put back to an older physical backup under running consumers, and its stream given
/// a new epoch, as the restore procedure says. Every consumer of the stream, in PostgreSQL and in Redis, halts with
/// `stream_rewound`, mark and effects as they were, also while the new history grows past the marks. The consumers
/// whose marks went back with that database catch up: each command of a transfer has its effect once more on the
/// older books, which then agree with the coordinator's. Resync makes the read model what user service has now, though
/// it knew a newer version of it, ends all sessions, and is refused for money. Documents that were restored into the
/// running server, under the same epoch, are caught the same way.
#[tokio::test]
async fn consumers_stop_when_the_user_database_is_restored_and_go_on_after_a_resync() -> Result<()> {
    let mut story = Story::begin().await?;
    let admin = story.system.admin.clone();
    let market = Market::open(&story.system, 4 * PRICE, 100).await?;
    let carol = story.system.api.sign_up("Carol").await?;
    pay_one(&market).await?;
    for consumer in [CUSTOMERS, ANSWERS, REVOCATIONS, OTHERS[0], OTHERS[1]] {
        caught_up(&admin.caller, consumer).await?;
    }
    let backup = story.system.stack.databases.mongo.backup().await?;
    let lost = lost_future(&mut story, &market, &carol).await?;

    story.system.stack.databases.mongo.restore(&backup).await?;
    story.system.stack.services.user.command(&["new-epoch"], "").await?;
    assert_eq!(story.all_halted(&admin).await?, lost.stopped());
    done_again_once(&story, &market, &lost).await?;

    // The new history takes the positions that the consumers have seen, and more.
    let mut newcomers = Vec::new();
    while head(&admin.caller, "user").await?.position < lost.marks[0].position + 2 {
        newcomers.push(story.system.api.sign_up("Eve").await?);
    }
    assert_ne!(head(&admin.caller, "user").await?.epoch, lost.marks[0].epoch);
    assert_eq!(story.all_halted(&admin).await?, lost.stopped());
    assert_eq!(
        story.all_known().await?,
        lost.known,
        "vanished users and a lost deactivation are still there"
    );

    let refused = resync(&admin.caller, &resync_of(ANSWERS)).await.expect_err("money cannot be rebuilt");
    assert_eq!(code_and_reason(&refused), (Code::FailedPrecondition, "RESYNC_UNSUPPORTED".to_owned()));
    resync(&admin.caller, &resync_of(CUSTOMERS)).await?;
    caught_up(&admin.caller, CUSTOMERS).await?;
    assert_eq!((story.known(&carol).await?, story.known(&lost.dora).await?), (active("customer"), None));
    for newcomer in &newcomers {
        assert_eq!(story.known(newcomer).await?, active("customer"));
    }
    let admin = start_over(&story, &carol, &admin).await?;
    assert_eq!(
        standing(&admin.caller, ANSWERS).await?,
        lost.stopped()[1],
        "money waits for somebody to look"
    );
    restored_logically(&mut story, &admin).await
}

/// Somebody signs up, somebody is deactivated, an order is paid.
async fn lost_future(story: &mut Story, market: &Market, carol: &Person) -> Result<Lost> {
    let admin = story.system.admin.caller.clone();
    let backed_up = wait_until(SOON, "the head of the backup", async || {
        head(&admin, "user").await.map_err(|error| format!("{error:#}"))
    })
    .await?;
    let dora = story.system.api.sign_up("Dora").await?;
    story.system.admin.deactivate(carol).await?;
    pay_one(market).await?;
    let mut marks = Vec::new();
    for consumer in [CUSTOMERS, ANSWERS, REVOCATIONS] {
        marks.push(caught_up(&admin, consumer).await?);
    }
    for consumer in OTHERS {
        caught_up(&admin, consumer).await?;
    }
    ensure!(marks[0].position >= backed_up.position + 4, "{marks:?} of {backed_up:?}");
    let money = (credit(&market.buyer).await?, earned(&market.seller).await?);
    assert_eq!(money, (2 * PRICE, 2 * PRICE));
    Ok(Lost { marks, known: story.all_known().await?, money, dora })
}

/// What went back with the database is done again, once.
async fn done_again_once(story: &Story, market: &Market, lost: &Lost) -> Result<()> {
    for consumer in OTHERS {
        caught_up(&story.system.admin.caller, consumer).await?;
    }
    assert_eq!((credit(&market.buyer).await?, earned(&market.seller).await?), lost.money);
    let request = GetUserRequest { user_id: market.buyer.user_id.clone(), read_mask: None };
    let buyer =
        market.buyer.caller.users().get_user(request).await?.into_inner().user.context("the buyer")?;
    let sums = buyer.order_statistics.context("statistics")?;
    assert_eq!((sums.placed_count, sums.paid_count, sums.owned_count), (2, 2, 2));
    Ok(())
}

/// After the resync of the revocations nobody is logged in, everybody can, and revocations work.
async fn start_over(story: &Story, carol: &Person, admin: &Person) -> Result<Person> {
    let request = resync_of(REVOCATIONS);
    let done = resync(&admin.caller, &request).await?;
    ensure!(done.aggregate_count > 0, "{done:?}");
    let refused =
        wait_until(SOON, "the old sessions to be over", async || match head(&admin.caller, "user").await {
            Err(error) => Ok(error),
            Ok(head) => Err(format!("{head:?}")),
        })
        .await?;
    let status = refused.downcast_ref::<tonic::Status>().context("a status")?;
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let admin = story.system.api.log_in(&admin.email, PASSWORD).await?;
    assert_eq!(resync(&admin.caller, &request).await?, done, "a repeat ends no session");
    caught_up(&admin.caller, REVOCATIONS).await?;
    let carol = story.system.api.log_in(&carol.email, PASSWORD).await?;
    let merchant = admin.make(&carol, Role::Merchant).await?;
    wait_until(SOON, "the change of role to end the session before it", async || {
        let request = GetUserRequest { user_id: carol.user_id.clone(), read_mask: None };
        match carol.caller.users().get_user(request).await {
            Err(status) if status.code() == Code::Unauthenticated => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    assert_eq!(merchant.user_id, carol.user_id);
    Ok(admin)
}

async fn restored_logically(story: &mut Story, admin: &Person) -> Result<()> {
    let (mongo, user_service) = (&story.system.stack.databases.mongo, &story.system.stack.services.user);
    caught_up(&admin.caller, CUSTOMERS).await?;
    user_service.process().kill().await?;
    let dump = mongo.dump("user_service").await?;
    user_service.restart().await?;
    let frank = story.system.api.sign_up("Frank").await?;
    let mut database =
        PgConnection::connect(&story.system.stack.databases.urls_for_services().await?.postgres).await?;
    let known = "SELECT count(*) FROM customers WHERE user_id = $1::uuid";
    wait_until(SOON, "order service to know of Frank", async || {
        let count: i64 = sqlx::query_scalar(known).bind(&frank.user_id).fetch_one(&mut database).await?;
        ensure!(count == 1, "it does not");
        anyhow::Ok(())
    })
    .await?;
    let mark = standing(&admin.caller, CUSTOMERS).await?;
    user_service.process().kill().await?;
    mongo.load(&dump).await?;
    user_service.restart().await?;
    let now = head(&admin.caller, "user").await?;
    assert_eq!(
        (&now.epoch, now.position < mark.position),
        (&mark.epoch, true),
        "the same server has the same epoch"
    );
    let stopped = halted(&admin.caller, CUSTOMERS, "stream_rewound").await?;
    assert_eq!(stopped.position, mark.position);
    assert_eq!(story.known(&frank).await?, active("customer"));
    resync(&admin.caller, &resync_of(CUSTOMERS)).await?;
    caught_up(&admin.caller, CUSTOMERS).await?;
    assert_eq!(story.known(&frank).await?, None);
    Ok(())
}
