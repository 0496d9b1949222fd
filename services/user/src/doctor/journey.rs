//! Has the service send every statement that it has, on the scratch database: people, posts, relations, credit, holds, the
//! stream, what is consumed, parked and audited. What each of them comes to is the business of other tests; here it matters
//! that it is sent, and with documents that the service itself has written.

mod book;
mod counters;
mod leaving;
mod lists;
mod people;
mod posts;
mod relations;
mod streams;

use bson::Document;

pub(super) use book::euros;
pub(super) use people::{app, call, sign_up};
pub(super) use streams::{append, event};

use super::place::Place;
use crate::storage::Store;

/// The commands that the service has sent.
pub(super) async fn statements(place: &Place) -> anyhow::Result<&[Document]> {
    let take = || async {
        let (done, commands) = place.recorder.during(journey(&place.scratch)).await;
        done.map(|()| commands).map_err(|error| format!("the service's own statements: {error:#}"))
    };
    let taken = place.statements.get_or_init(take).await;
    taken.as_deref().map_err(|why| anyhow::anyhow!("{why}"))
}

async fn journey(store: &Store) -> anyhow::Result<()> {
    store.migrate().await?;
    let [ann, ben] = people::all(store).await?;
    posts::all(store, ann, ben).await?;
    relations::all(store, ann, ben).await?;
    leaving::all(store).await?;
    counters::all(store, ann, ben).await?;
    book::all(store, ann, ben).await?;
    streams::all(store).await
}

#[cfg(test)]
mod tests;
