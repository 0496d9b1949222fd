//! The primary steps down while the scratch database is written to.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;
use runtime::doctor::Seen;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::place::{Place, plain};
use super::scratch::PLAIN;
use crate::storage::{Store, UNAUTHORIZED, bounded, bounded_raw, code};

const WRITERS: usize = 8;
/// How long it is written before and after.
const QUIET: Duration = Duration::from_secs(1);
const BACK_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
/// What a server says that is no primary any more, or that is about to be none: `InterruptedDueToReplStateChange`,
/// `PrimarySteppedDown`, `NotWritablePrimary`, `NotPrimaryNoSecondaryOk`.
const STEPPED_DOWN: [i32; 4] = [11_602, 189, 10_107, 13_435];

const MEND: &str = "rs.status(): is a majority up, and within how many ms do the members reach each other?";

pub(super) async fn step_down(place: &Place, store: &Store) -> anyhow::Result<Seen> {
    if !place.may_fail_over {
        return Ok(Seen::not_tried("only with --failover"));
    }
    if place.is_stand_in {
        return Ok(Seen::not_provided("one server, and no other that could take over"));
    }
    let before = election(place).await?;
    let command = doc! { "replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5 };
    let traffic = Traffic::new(store).await?;
    let told = traffic.during(async || Ok(place.ask_as_admin(command).await)).await?;
    match &told.disturbed {
        Err(error) if code(error) == Some(UNAUTHORIZED) => {
            let grant = r#"db.adminCommand({grantRolesToUser: "doctor", roles: ["clusterManager"]}) for the login of --admin-url"#;
            Ok(Seen::failed(plain(error.clone()).to_string(), grant))
        }
        // One that steps down may close the connection before it answers, or answer as one that is no primary any more.
        Err(error) if code(error).is_some_and(|code| !STEPPED_DOWN.contains(&code)) => Ok(Seen::failed(
            plain(error.clone()).to_string(),
            "rs.status(): is there a member that can take over?",
        )),
        Ok(_) | Err(_) if election(place).await? == before => {
            Ok(Seen::failed("the primary is the one that it was, without an election", MEND))
        }
        Ok(_) | Err(_) => Ok(told.judged()),
    }
}

/// Which election has made the primary that there is.
async fn election(place: &Place) -> anyhow::Result<(Option<Bson>, Option<Bson>)> {
    let hello = place.ask(doc! { "hello": 1 }).await.map_err(plain)?;
    Ok((hello.get("electionId").cloned(), hello.get("primary").cloned()))
}

/// Writers of a counter, and of a document for each count: both in one transaction.
#[derive(Debug)]
pub(super) struct Traffic {
    store: Store,
    counter: Document,
    run: bson::Uuid,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Told<T> {
    pub(super) disturbed: T,
    pub(super) acknowledged: usize,
    pub(super) lost: usize,
    pub(super) doubled: i64,
    pub(super) silent: Duration,
}

impl<T> Told<T> {
    pub(super) fn judged(&self) -> Seen {
        let Self { acknowledged, lost, doubled, silent, .. } = self;
        let found = format!(
            "{acknowledged} acknowledged writes, {lost} lost, {doubled} doubled, none for {:.1} s",
            silent.as_secs_f64()
        );
        let is_right = *acknowledged > 0 && *lost == 0 && *doubled == 0 && *silent <= BACK_WITHIN;
        if is_right { Seen::ok(found) } else { Seen::failed(found, MEND) }
    }
}

/// What the writers have done together.
#[derive(Debug, Default)]
struct Writers {
    is_over: Cell<bool>,
    acknowledged: RefCell<Vec<Uuid>>,
    last: Cell<Option<Instant>>,
    silent: Cell<Duration>,
}

impl Traffic {
    /// Ready to write.
    pub(super) async fn new(store: &Store) -> anyhow::Result<Self> {
        let run = bson::Uuid::from(Uuid::new_v4());
        let counter = doc! { "_id": run };
        let rows = store.collection::<Document>(PLAIN);
        let row = doc! { "_id": run, "count": 0_i64 };
        bounded_raw(rows.insert_one(row)).await.map_err(plain)?;
        Ok(Self { store: store.clone(), counter, run })
    }

    /// Writes before, during and after the disturbance, and counts.
    pub(super) async fn during<T>(
        self,
        disturb: impl AsyncFnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<Told<T>> {
        let done = Writers::default();
        let writers = join_all((0..WRITERS).map(|_| self.write(&done)));
        let script = async {
            sleep(QUIET).await;
            let disturbed = disturb().await;
            let began = Instant::now();
            let is_back = || done.last.get().is_some_and(|last| last > began);
            let back = timeout(BACK_WITHIN * 2, async {
                while !is_back() {
                    sleep(PAUSE).await;
                }
            });
            let came_back = back.await.is_ok();
            sleep(QUIET).await;
            if !came_back && let Some(last) = done.last.get() {
                done.silent.set(done.silent.get().max(last.elapsed()));
            }
            done.is_over.set(true);
            disturbed
        };
        let (disturbed, _) = tokio::join!(script, writers);
        self.count(disturbed?, &done).await
    }

    async fn write(&self, writers: &Writers) {
        while !writers.is_over.get() {
            let id = Uuid::now_v7();
            // One that is not acknowledged is written again, under the same id: whether it is there already tells.
            while !self.write_one(id).await.unwrap_or(false) {
                if writers.is_over.get() {
                    return;
                }
                sleep(PAUSE).await;
            }
            let now = Instant::now();
            if let Some(last) = writers.last.replace(Some(now)) {
                writers.silent.set(writers.silent.get().max(now - last));
            }
            writers.acknowledged.borrow_mut().push(id);
        }
    }

    async fn write_one(&self, id: Uuid) -> crate::Result<bool> {
        let written = self.store.transaction("doctor", |mut tx| async move {
            let by_id = doc! { "_id": bson::Uuid::from(id) };
            let (rows, session) = tx.on::<Document>(PLAIN);
            if bounded(rows.find_one(by_id.clone()).session(&mut *session)).await?.is_some() {
                return Ok(tx.commit(true));
            }
            let more = doc! { "$inc": { "count": 1_i64 } };
            bounded(rows.update_one(self.counter.clone(), more).session(&mut *session)).await?;
            let row = doc! { "_id": bson::Uuid::from(id), "of": self.run };
            bounded(rows.insert_one(row).session(session)).await?;
            Ok(tx.commit(true))
        });
        written.await
    }

    async fn count<T>(&self, disturbed: T, writers: &Writers) -> anyhow::Result<Told<T>> {
        // Of one moment: a commit that was in doubt may still be done.
        let mut tx = self.store.begin("doctor").await?;
        let (rows, session) = tx.on::<Document>(PLAIN);
        let counter =
            bounded_raw(rows.find_one(self.counter.clone()).session(&mut *session)).await.map_err(plain)?;
        let counted = counter.and_then(|row| row.get_i64("count").ok()).context("the counter is gone")?;
        let find = rows.find(doc! { "of": self.run });
        let mut cursor = bounded_raw(find.session(&mut *session)).await.map_err(plain)?;
        let there: Vec<Document> = bounded_raw(cursor.stream(session).try_collect()).await.map_err(plain)?;
        tx.rollback().await;
        let acknowledged = writers.acknowledged.borrow();
        let is_there = |id: &&Uuid| {
            let id = Bson::from(bson::Uuid::from(**id));
            there.iter().any(|row| row.get("_id") == Some(&id))
        };
        let lost = acknowledged.iter().filter(|id| !is_there(id)).count();
        Ok(Told {
            disturbed,
            acknowledged: acknowledged.len(),
            lost,
            doubled: counted - i64::try_from(there.len())?,
            silent: writers.silent.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use runtime::doctor::Verdict;
    use testkit::{Lifetime, Mongo, Port, State};

    use super::*;
    use crate::config::MongoConfig;
    use crate::storage::Shared;

    async fn on_own_server<T>(work: impl AsyncFnOnce(&Mongo, Traffic) -> T) -> T {
        let state = State::for_run(&testkit::state::base()).await.unwrap();
        let mongo = Mongo::start(&state, Port::Free, Lifetime::WithParent, false).await.unwrap();
        let urls = mongo.urls(&state, "doctor_test").await.unwrap();
        let config = MongoConfig::for_tests(&urls.admin);
        let store = Store::connect(&config, Shared::default()).await.unwrap();
        store.database().create_collection(PLAIN).await.unwrap();
        let done = work(&mongo, Traffic::new(&store).await.unwrap()).await;
        mongo.stop().await.unwrap();
        drop(mongo);
        state.remove().unwrap();
        done
    }

    #[tokio::test]
    async fn a_server_that_is_killed_under_the_traffic_loses_and_doubles_nothing() {
        let told = on_own_server(async |mongo, traffic| {
            let restart = async || {
                mongo.process().kill().await?;
                mongo.restart().await
            };
            traffic.during(restart).await.unwrap()
        })
        .await;
        assert_eq!(told.judged().verdict(), Verdict::Ok, "{told:?}");
        assert!(told.silent > Duration::from_millis(50), "{told:?}");
    }

    #[tokio::test]
    async fn a_write_that_is_gone_and_one_that_is_there_twice_are_noticed() {
        let told = on_own_server(async |_, traffic| {
            let (rows, counter) = (traffic.store.collection::<Document>(PLAIN), traffic.counter.clone());
            let run = traffic.run;
            let disturb = async || {
                rows.delete_one(doc! { "of": run }).await?;
                rows.update_one(counter, doc! { "$inc": { "count": 1_i64 } }).await?;
                Ok(())
            };
            traffic.during(disturb).await.unwrap()
        })
        .await;
        assert_eq!((told.lost, told.doubled), (1, 2), "{told:?}");
        assert_eq!(told.judged().verdict(), Verdict::Failed);
    }
}
