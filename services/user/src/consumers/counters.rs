//! The effects of consumer `user.counters`, which consumes this service's own stream: how many follow a user and like a
//! post, and which posts compete for being popular. No edge is counted in its own transaction: whoever is popular would be
//! all conflicts there. A run of events is added up first and written with a command for each, in the order of the ids.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use api::user::v1::post::State;
use api::user::v1::{
    PostArchived, PostCreated, PostDeleted, PostLiked, PostPublished, PostUnliked, UserFollowed,
    UserUnfollowed,
};
use events::{ConsumerId, EffectError, Effects, Event};
use types::{Clock, PostId, UserId};

use super::reading::{id, read};
use crate::domain::counters::{FollowCounts, PostCounts};
use crate::storage::{STREAM, Tx};

/// The consumer.
pub(crate) const CONSUMER: ConsumerId = ConsumerId { name: "user.counters", stream: STREAM };

/// The effects.
#[derive(Clone)]
pub(crate) struct Counters(Arc<dyn Clock>);

impl Counters {
    /// Effects for which it is as late as this clock says.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counters")
    }
}

impl Effects<Tx> for Counters {
    async fn apply(&self, tx: &mut Tx, run: &[Event]) -> Result<(), EffectError> {
        let counted = Counted::of(run)?;
        tx.follow_counts_add(&counted.of_users).await?;
        tx.post_counts_add(&counted.of_posts, self.0.now()).await?;
        Ok(())
    }

    fn concerns(&self, event: &Event) -> bool {
        !matches!(change(event), Ok(None))
    }
}

/// What events add up to. A post whose state changed is there without anything to add: where it belongs is read anew.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    pub(crate) of_users: BTreeMap<UserId, FollowCounts>,
    pub(crate) of_posts: BTreeMap<PostId, PostCounts>,
}

impl Counted {
    /// Adds up a run.
    fn of(run: &[Event]) -> Result<Self, EffectError> {
        let mut counted = Self::default();
        for event in run {
            counted.add(change(event)?);
        }
        Ok(counted)
    }

    /// Adds up those of these events that can be read.
    pub(crate) fn of_readable(events: &[Event]) -> Self {
        let mut counted = Self::default();
        events.iter().for_each(|event| counted.add(change(event).unwrap_or_default()));
        counted
    }

    fn add(&mut self, change: Option<Change>) {
        match change {
            None => {}
            Some(Change::Follow { follower, followee, more }) => {
                self.of_users.entry(follower).or_default().following += more;
                self.of_users.entry(followee).or_default().followers += more;
            }
            Some(Change::Like { post, more }) => self.of_posts.entry(post).or_default().likes += more,
            Some(Change::State { post }) => {
                self.of_posts.entry(post).or_default();
            }
        }
    }
}

/// What an event means for what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Follow { follower: UserId, followee: UserId, more: i64 },
    Like { post: PostId, more: i64 },
    State { post: PostId },
}

/// Reads an event; `None` when it changes nothing that is counted.
fn change(event: &Event) -> Result<Option<Change>, EffectError> {
    let follow = |follower: &str, followee: &str, more| {
        Ok(Some(Change::Follow { follower: id(follower)?, followee: id(followee)?, more }))
    };
    let like = |post: &str, more| Ok(Some(Change::Like { post: id(post)?, more }));
    let state = |post: &str| Ok(Some(Change::State { post: id(post)? }));
    if let Some(edge) = read::<UserFollowed>(event)? {
        return follow(&edge.follower_id, &edge.followee_id, 1);
    }
    if let Some(edge) = read::<UserUnfollowed>(event)? {
        return follow(&edge.follower_id, &edge.followee_id, -1);
    }
    if let Some(edge) = read::<PostLiked>(event)? {
        return like(&edge.post_id, 1);
    }
    if let Some(edge) = read::<PostUnliked>(event)? {
        return like(&edge.post_id, -1);
    }
    if let Some(post) = read::<PostCreated>(event)? {
        // Nobody looks for a draft among the popular posts.
        let is_published = post.labels.is_some_and(|labels| labels.state() == State::Published);
        return if is_published { state(&post.post_id) } else { Ok(None) };
    }
    if let Some(post) = read::<PostPublished>(event)? {
        return state(&post.post_id);
    }
    if let Some(post) = read::<PostArchived>(event)? {
        return state(&post.post_id);
    }
    if let Some(post) = read::<PostDeleted>(event)? {
        return state(&post.post_id);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use events::{Aggregate, Headers, NewEvent};
    use fault::Flaw;
    use prost::{Message, Name};
    use testkit::TestMongo;
    use types::{EventId, SystemClock};
    use uuid::Uuid;

    use super::*;
    use crate::config::MongoConfig;
    use crate::recount::Recount;
    use crate::storage::{Shared, Store};

    fn told<M: Message + Name>(position: i64, payload: &M) -> Event {
        let (id, aggregate) = (EventId::from_uuid(Uuid::now_v7()), Aggregate::new("edge", Uuid::now_v7()));
        let now = SystemClock.now();
        let new = NewEvent::new(id, aggregate, 1, payload, Headers::default(), now);
        Event { stream: STREAM.to_owned(), epoch: Uuid::nil(), position, previous: None, new }
    }

    /// A process dies between the effects of a run and the commit, and another one applies the run again.
    async fn counts_each_edge_once() {
        let mongo = TestMongo::create().await.unwrap();
        let config = MongoConfig::for_tests(mongo.migrate_url());
        let store = Store::connect(&config, Shared::default()).await.unwrap();
        store.migrate().await.unwrap();
        let [ann, bob, post] = [(); 3].map(|()| Uuid::now_v7());
        let row = doc! { "_id": bson::Uuid::from(post), "author_id": bson::Uuid::from(ann), "title": "Tea",
        "body": "Water.", "state": "draft", "version": 1_i64, "create_time": bson::DateTime::now(),
        "update_time": bson::DateTime::now() };
        store.collection::<Document>("post").insert_one(row).await.unwrap();
        for (collection, own, from, to) in [
            ("follow", "follow_id", ("follower_id", bob), ("followee_id", ann)),
            ("like", "like_id", ("user_id", bob), ("post_id", post)),
        ] {
            let id = |id: Uuid| bson::Uuid::from(id);
            let mut row = doc! { "_id": id(from.1), own: id(from.1), "create_time": bson::DateTime::now() };
            row.extend([from, to].map(|(field, end)| (field.to_owned(), id(end).into())));
            store.collection::<Document>(collection).insert_one(row).await.unwrap();
        }
        let [ann, bob, post_id] = [ann, bob, post].map(|id| id.to_string());
        let followed = UserFollowed { follower_id: bob.clone(), followee_id: ann, ..UserFollowed::default() };
        let liked = PostLiked { post_id, user_id: bob, ..PostLiked::default() };
        let run = [told(1, &followed), told(2, &liked)];
        let effects = Counters::new(Arc::new(SystemClock));
        for is_last in [false, true] {
            let mut tx = store.begin("test").await.unwrap();
            effects.apply(&mut tx, &run).await.unwrap();
            if is_last { tx.commit_now().await.unwrap() } else { tx.rollback().await }
        }
        let recount = Recount { store, clock: Arc::new(SystemClock), is_to_mend: false };
        let mut differences = Vec::new();
        recount.run(|difference| differences.push(difference.to_string())).await.unwrap();
        assert!(differences.is_empty(), "a recount finds nothing: {differences:?}");
    }

    #[tokio::test]
    async fn a_run_that_comes_again_counts_each_edge_once() {
        counts_each_edge_once().await;
    }

    #[tokio::test]
    async fn counts_that_are_written_apart_from_the_mark_are_caught() {
        let said = Flaw::CountsApart.caught_by(counts_each_edge_once()).await;
        for what in
            ["followers: 2 counted, 1 there", "following: 2 counted, 1 there", "likes: 2 counted, 1 there"]
        {
            assert!(said.contains(what), "{said}");
        }
    }
}
