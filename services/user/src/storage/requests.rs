//! What was answered to each `request_id`. The answer is inserted in the transaction of the effect, and the insert claims
//! the id: a repeat gets the first answer, whatever has become of the thing since, unless it showed a person who is gone.

mod erased;

use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use types::{Answer, Call, Fingerprint, Keep, RequestKey};

use super::driver::bounded;
use super::writes::conflict;
use super::{SERVER_TIME, Store, Tx, from_time};
use crate::domain::user::UserState;
use crate::error::{Error, Result};

const COLLECTION: &str = "request";
/// How long an answer is kept that no money and no order hangs on. A TTL index deletes it then.
const KEPT: Duration = Duration::days(30);

/// What a call is answered with, as it is kept for the repeats of the call.
pub(crate) trait Outcome: Sized {
    /// What answers of this kind are called in the database.
    const KIND: &'static str;
    /// How one is stored.
    type Row: Serialize + DeserializeOwned;

    fn to_row(&self) -> Self::Row;

    /// Reads back what was stored.
    fn from_row(row: Self::Row) -> Result<Self>;
}

/// What the first call said, and what it was answered.
#[derive(Debug)]
pub(crate) struct Saved {
    fingerprint: Fingerprint,
    outcome: Document,
}

impl Saved {
    /// The first answer, if this call says the same.
    pub(crate) fn replay<T: Outcome>(mut self, call: &Call) -> Result<Answer<T>> {
        if let Some(gone) = erased::refusal(&self.outcome)? {
            return Err(gone);
        }
        call.require_same(&self.fingerprint)?;
        let Some(row) = self.outcome.remove(T::KIND) else {
            let (kinds, wanted) = (self.outcome.keys().collect::<Vec<_>>(), T::KIND);
            return Err(Error::internal(format!("a call was answered with {kinds:?} instead of {wanted}")));
        };
        let row = bson::deserialize_from_bson(row).map_err(Error::internal)?;
        T::from_row(row).map(Answer::replay)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct RequestRow {
    #[serde(rename = "_id")]
    id: KeyRow,
    fingerprint: Binary,
    /// The answer, under what its kind is called.
    outcome: Document,
    create_time: bson::DateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expire_time: Option<bson::DateTime>,
}

/// The order of these fields is part of the key: `_id`s are compared as they are written.
#[derive(Debug, Serialize, Deserialize)]
struct KeyRow {
    principal: String,
    method: String,
    request_id: bson::Uuid,
}

impl From<&RequestKey> for KeyRow {
    fn from(key: &RequestKey) -> Self {
        Self {
            principal: key.principal.clone(),
            method: key.method.to_owned(),
            request_id: key.request_id.into(),
        }
    }
}

impl TryFrom<RequestRow> for Saved {
    type Error = Error;

    fn try_from(row: RequestRow) -> Result<Self> {
        let fingerprint = Fingerprint::from_bytes(row.fingerprint.bytes)
            .ok_or_else(|| Error::internal("a stored request has bytes that are no fingerprint"))?;
        Ok(Self { fingerprint, outcome: row.outcome })
    }
}

fn filter(key: &RequestKey) -> Result<Document> {
    let id = bson::serialize_to_bson(&KeyRow::from(key)).map_err(Error::internal)?;
    Ok(doc! { "_id": id })
}

impl Store {
    /// What a request id was answered.
    pub(crate) async fn request_fetch(&self, key: &RequestKey) -> Result<Option<Saved>> {
        let requests = self.collection::<RequestRow>(COLLECTION);
        let row = bounded(requests.find_one(filter(key)?).max_time(SERVER_TIME)).await?;
        let mut saved = row.map(Saved::try_from).transpose()?;
        if let Some(saved) = saved.as_mut()
            && let Some(user) = erased::shown_user(&saved.outcome)
            && self.user_is_deleted(user).await?
        {
            saved.outcome = erased::of_user(user);
        }
        Ok(saved)
    }
}

impl Tx {
    /// What a request id was answered, before this transaction began.
    pub(crate) async fn request_fetch(&mut self, key: &RequestKey) -> Result<Option<Saved>> {
        let (requests, session) = self.on::<RequestRow>(COLLECTION);
        let row = bounded(requests.find_one(filter(key)?).session(session)).await?;
        let mut saved = row.map(Saved::try_from).transpose()?;
        if let Some(saved) = saved.as_mut()
            && let Some(user) = erased::shown_user(&saved.outcome)
            && matches!(self.user_state_list(&[user]).await?.as_slice(), [(_, UserState::Deleted)])
        {
            saved.outcome = erased::of_user(user);
        }
        Ok(saved)
    }

    /// Claims a request id and keeps its answer. When another call has claimed it meanwhile this comes to a conflict: the
    /// next try of the transaction finds that call's answer.
    pub(crate) fn request_insert<T: Outcome>(
        &mut self,
        call: &Call,
        outcome: &T,
        now: OffsetDateTime,
        keep: Keep,
    ) -> Result<()> {
        let row = request_row(call, outcome, now, keep)?;
        self.insert(COLLECTION, row, Some(conflict));
        Ok(())
    }
}

fn request_row<T: Outcome>(call: &Call, outcome: &T, now: OffsetDateTime, keep: Keep) -> Result<Document> {
    let stored = bson::serialize_to_bson(&outcome.to_row()).map_err(Error::internal)?;
    let fingerprint = call.fingerprint.as_bytes().to_vec();
    let row = RequestRow {
        id: (&call.key).into(),
        fingerprint: Binary { subtype: BinarySubtype::Generic, bytes: fingerprint },
        outcome: doc! { T::KIND: stored },
        create_time: from_time(now),
        expire_time: (keep == Keep::ThirtyDays).then(|| from_time(now + KEPT)),
    };
    bson::serialize_to_document(&row).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use types::{FollowId, LikeId, Money, PostId, Role, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::domain::limits::Limit;
    use crate::domain::post::{DeletedPost, Post, PostState, PostsHandedOver};
    use crate::domain::profile::{Location, Profile};
    use crate::domain::relation::{Follow, Like, Unfollowed, Unliked};
    use crate::domain::slug::Slug;
    use crate::domain::user::{OrderStatistics, User, UserState, WholeUser};
    use crate::domain::user_change::Record;
    use crate::domain::username::Username;
    use crate::domain::wallet::{CreditRefused, WalletKey};

    const ID: Uuid = Uuid::from_u128(7);

    fn call() -> Call {
        let key = RequestKey {
            principal: "ann".to_owned(),
            method: "user.v1.PostService/CreatePost",
            request_id: ID,
        };
        Call { key, fingerprint: Fingerprint::new([3; 32], &[(2, [1; 4])]) }
    }

    /// How this answer lies in the database, and that it is read back from there.
    fn is_stored_as<T: Outcome + Debug + PartialEq>(outcome: &T, keep: Keep, stored: Document) {
        let fingerprint = [vec![3; 32], vec![0, 0, 0, 2], vec![1; 4]].concat();
        let mut row = doc! {
            "_id": {
                "principal": "ann",
                "method": "user.v1.PostService/CreatePost",
                "request_id": bson::Uuid::from(ID),
            },
            "fingerprint": Binary { subtype: BinarySubtype::Generic, bytes: fingerprint },
            "outcome": stored,
            "create_time": bson::DateTime::from_millis(0),
        };
        if keep == Keep::ThirtyDays {
            row.insert("expire_time", bson::DateTime::from_millis(30 * 24 * 60 * 60 * 1000));
        }
        assert_eq!(request_row(&call(), outcome, OffsetDateTime::UNIX_EPOCH, keep).unwrap(), row);
        let read: RequestRow = bson::deserialize_from_document(row).unwrap();
        assert_eq!(Saved::try_from(read).unwrap().replay::<T>(&call()).unwrap().value, *outcome);
    }

    #[test]
    fn answers_are_stored_as_they_have_been_from_the_first() {
        let (id, time) = (bson::Uuid::from(ID), bson::DateTime::from_millis(5));
        let at = super::super::to_time(time);
        let user = User {
            id: UserId::from_uuid(ID),
            email: "Ann@example.com".parse().unwrap(),
            display_name: "Ann".to_owned(),
            role: Role::Customer,
            state: UserState::Active,
            auth_epoch: 1,
            post_count: 2,
            version: 3,
            event_version: 4,
            create_time: at,
            update_time: at,
            username: None,
            profile: Profile::default(),
            last_login_time: None,
            record: Record::default(),
        };
        let statistics =
            OrderStatistics { placed_count: 4, paid_count: 3, cancelled_count: 2, owned_count: 1 };
        let stored = doc! { "user": {
            "user": {
                "_id": id,
                "email": "Ann@example.com",
                "email_key": "ann@example.com",
                "display_name": "Ann",
                "role": "customer",
                "state": "active",
                "auth_epoch": 1_i64,
                "post_count": 2_i64,
                "version": 3_i64,
                "event_version": 4_i64,
                "create_time": time,
                "update_time": time,
            },
            "statistics": {
                "placed_count": 4_i64,
                "paid_count": 3_i64,
                "cancelled_count": 2_i64,
                "owned_count": 1_i64,
            },
        } };
        let whole = WholeUser { user, statistics };
        is_stored_as(&whole, Keep::ThirtyDays, stored.clone());
        let profile = Profile { location: Location::from_e7(0, 0).ok(), ..Profile::default() };
        let username = Username::new("Ann".to_owned()).ok();
        let user = User { username, profile, last_login_time: Some(at), ..whole.user };
        let mut more = stored;
        let row = more.get_document_mut("user").unwrap().get_document_mut("user").unwrap();
        row.insert("username", "Ann");
        row.insert("profile", doc! { "location": { "type": "Point", "coordinates": [0.0, 0.0] } });
        row.insert("last_login_time", time);
        is_stored_as(&WholeUser { user, statistics }, Keep::ThirtyDays, more);

        let post = Post {
            id: PostId::from_uuid(ID),
            author_id: UserId::from_uuid(ID),
            title: "Tea".to_owned(),
            body: "Water".to_owned(),
            slug: Slug::parse("tea"),
            excerpt: Some("How to".to_owned()),
            category: Slug::parse("drinks"),
            tags: vec![Slug::parse("hot").unwrap()],
            state: PostState::Archived,
            publish_time: Some(at),
            version: 1,
            create_time: at,
            update_time: at,
        };
        let stored = doc! { "post": {
            "_id": id,
            "author_id": id,
            "title": "Tea",
            "body": "Water",
            "slug": "tea",
            "excerpt": "How to",
            "category": "drinks",
            "tags": ["hot"],
            "state": "archived",
            "publish_time": time,
            "version": 1_i64,
            "create_time": time,
            "update_time": time,
        } };
        is_stored_as(&post, Keep::ThirtyDays, stored);
        is_stored_as(&DeletedPost(post.id), Keep::ThirtyDays, doc! { "post_deleted": { "post": id } });
        let handed_over = PostsHandedOver { ids: vec![post.id], has_more: true };
        let stored = doc! { "posts_handed_over": { "posts": [id], "has_more": true } };
        is_stored_as(&handed_over, Keep::ThirtyDays, stored);

        let user = UserId::from_uuid(ID);
        let available = Money::new("EUR".parse().unwrap(), 5);
        let insufficient = CreditRefused::InsufficientCredit { owner: user, available };
        let stored = doc! { "insufficient_credit": { "user": id, "currency": "EUR", "available": 5_i64 } };
        is_stored_as(&insufficient, Keep::Forever, doc! { "send_refused": stored });
        // What a release before the limits reads is what it knows.
        let limited = CreditRefused::WalletLimit { owner: user, limit: Limit::Day, left: available };
        for (refused, left, bar) in [
            (limited, 5_i64, "DAY"),
            (CreditRefused::WalletFrozen(WalletKey::of(user, available)), 0, "FROZEN"),
        ] {
            let stored = doc! { "user": id, "currency": "EUR", "available": left, "bar": bar };
            let stored = doc! { "send_refused": { "insufficient_credit": stored } };
            is_stored_as(&refused, Keep::Forever, stored);
        }
        for (refused, name) in [
            (CreditRefused::BalanceLimit(user), "balance_limit"),
            (CreditRefused::UserNotFound(user), "user_not_found"),
            (CreditRefused::UserDeactivated(user), "user_deactivated"),
        ] {
            is_stored_as(&refused, Keep::Forever, doc! { "send_refused": { name: { "user": id } } });
        }
    }

    #[test]
    fn answers_about_relations_are_stored_as_they_have_been_from_the_first() {
        let (id, time) = (bson::Uuid::from(ID), bson::DateTime::from_millis(5));
        let create_time = super::super::to_time(time);
        let user = UserId::from_uuid(ID);
        let pair = || Binary { subtype: BinarySubtype::Generic, bytes: [ID.into_bytes(); 2].concat() };
        let follow = Follow { id: FollowId::from_uuid(ID), follower: user, followee: user, create_time };
        let stored = doc! { "follow": {
            "_id": pair(),
            "follow_id": id,
            "follower_id": id,
            "followee_id": id,
            "create_time": time,
        } };
        is_stored_as(&follow, Keep::ThirtyDays, stored);
        let like = Like { id: LikeId::from_uuid(ID), post: PostId::from_uuid(ID), user, create_time };
        let stored = doc! { "like": {
            "_id": pair(),
            "like_id": id,
            "post_id": id,
            "user_id": id,
            "create_time": time,
        } };
        is_stored_as(&like, Keep::ThirtyDays, stored);
        is_stored_as(&Unfollowed, Keep::ThirtyDays, doc! { "unfollowed": {} });
        is_stored_as(&Unliked, Keep::ThirtyDays, doc! { "unliked": {} });
    }

    /// An answer that was stored before posts had states is of one that everybody could read.
    #[test]
    fn an_answer_of_an_earlier_release_is_of_a_published_post() {
        let (id, time) = (bson::Uuid::from(ID), bson::DateTime::from_millis(5));
        let row = doc! {
            "_id": id,
            "author_id": id,
            "title": "Tea",
            "body": "Water",
            "version": 1_i64,
            "create_time": time,
            "update_time": bson::DateTime::from_millis(7),
        };
        let post = Post::from_row(bson::deserialize_from_document(row).unwrap()).unwrap();
        assert_eq!(post.state, PostState::Published);
        assert_eq!(post.publish_time, Some(super::super::to_time(time)));
        assert_eq!((post.address(), post.tags), (ID.to_string(), Vec::new()));
    }

    #[test]
    fn another_content_under_the_id_and_an_answer_of_another_kind_are_no_replay() {
        let refused = CreditRefused::BalanceLimit(UserId::from_uuid(ID));
        let saved = || {
            let row = request_row(&call(), &refused, OffsetDateTime::UNIX_EPOCH, Keep::Forever).unwrap();
            Saved::try_from(bson::deserialize_from_document::<RequestRow>(row).unwrap()).unwrap()
        };
        let other = Call { fingerprint: Fingerprint::new([4; 32], &[(2, [2; 4])]), ..call() };
        let reused = saved().replay::<CreditRefused>(&other).unwrap_err().to_string();
        assert_eq!(reused, "this request_id was used before for another request");
        assert!(saved().replay::<Post>(&call()).is_err());
    }
}
