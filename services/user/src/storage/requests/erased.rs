//! Answers that tell of a person who is gone. They are not deleted, or a repeat would do anew what was done: they are
//! overwritten with what they were about, and a repeat hears that it is not there.
//!
//! Whose data an answer holds stands in the answer, whatever release has written it, so that all of them are found by an
//! index on that place. Until they are overwritten, the state of the user decides.

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, doc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use types::{PostId, UserId};

use crate::domain::post::PostRefused;
use crate::domain::user::UserRefused;
use crate::error::{Error, Result};
use crate::storage::{SERVER_TIME, Store, bounded};

const REQUESTS: &str = "request";
/// What an answer is called of which nothing is left.
const ERASED: &str = "erased";
/// As long as a fingerprint is at the least: the true one could be told from what it was made of.
const NO_FINGERPRINT: [u8; 32] = [0; 32];

/// Where answers name the user whom they show, and the author of the post that they show.
const OF_USER: &str = "outcome.user.user._id";
const OF_AUTHOR: &str = "outcome.post.author_id";

#[derive(Debug, Deserialize)]
struct KeyRow {
    #[serde(rename = "_id")]
    id: Bson,
    outcome: ShownRow,
}

#[derive(Debug, Deserialize)]
struct ShownRow {
    post: Option<PostRow>,
}

#[derive(Debug, Deserialize)]
struct PostRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
}

/// The user whom an answer shows.
pub(super) fn shown_user(outcome: &Document) -> Option<UserId> {
    let id = outcome.get_document("user").ok()?.get_document("user").ok()?.get("_id")?;
    let id: bson::Uuid = bson::deserialize_from_bson(id.clone()).ok()?;
    Some(UserId::from_uuid(id.into()))
}

/// What takes the place of an answer that showed a user.
pub(super) fn of_user(user: UserId) -> Document {
    doc! { ERASED: { "user": bson::Uuid::from(user.uuid()) } }
}

/// What a repeat hears of which nothing is left.
pub(super) fn refusal(outcome: &Document) -> Result<Option<Error>> {
    let Ok(erased) = outcome.get_document(ERASED) else { return Ok(None) };
    let id = |name: &str| {
        let id = erased.get(name).cloned().map(bson::deserialize_from_bson::<bson::Uuid>);
        id.transpose().map_err(Error::internal)
    };
    let user = id("user")?.map(|id| UserRefused::NotFound(UserId::from_uuid(id.into())).into());
    let post = id("post")?.map(|id| PostRefused::NotFound(PostId::from_uuid(id.into())).into());
    user.or(post).map(Some).ok_or_else(|| Error::internal("an answer was erased, and nobody knows of what"))
}

impl Store {
    /// Overwrites answers that show a user, at most `limit`, and tells how many there were.
    pub(crate) async fn user_answers_erase(&self, user: UserId, limit: i64) -> Result<usize> {
        let whose = doc! { OF_USER: bson::Uuid::from(user.uuid()) };
        let keys: Vec<Bson> = self.answers(&whose, limit).await?.into_iter().map(|row| row.id).collect();
        if !keys.is_empty() {
            self.answers_overwrite(&keys, whose, of_user(user)).await?;
        }
        Ok(keys.len())
    }

    /// The same for answers that show a post of an author.
    pub(crate) async fn post_answers_erase(&self, author: UserId, limit: i64) -> Result<usize> {
        let whose = doc! { OF_AUTHOR: bson::Uuid::from(author.uuid()) };
        let rows = self.answers(&whose, limit).await?;
        for row in &rows {
            let Some(post) = row.outcome.post.as_ref() else { continue };
            let erased = doc! { ERASED: { "post": post.id } };
            self.answers_overwrite(std::slice::from_ref(&row.id), whose.clone(), erased).await?;
        }
        Ok(rows.len())
    }

    async fn answers(&self, whose: &Document, limit: i64) -> Result<Vec<KeyRow>> {
        let requests = self.collection::<KeyRow>(REQUESTS);
        let find = requests.find(whose.clone()).projection(doc! { "_id": 1, "outcome.post._id": 1 });
        bounded(bounded(find.limit(limit).max_time(SERVER_TIME)).await?.try_collect()).await
    }

    async fn answers_overwrite(&self, keys: &[Bson], whose: Document, erased: Document) -> Result<()> {
        let requests = self.collection::<Document>(REQUESTS);
        let mut these = doc! { "_id": { "$in": keys } };
        these.extend(whose);
        let bytes = NO_FINGERPRINT.to_vec();
        let fingerprint = Binary { subtype: BinarySubtype::Generic, bytes };
        let change = doc! { "$set": { "outcome": erased, "fingerprint": fingerprint } };
        bounded(requests.update_many(these, change)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_user_of_an_answer_is_where_every_release_has_written_it() {
        let id = Uuid::from_u128(7);
        let shown = doc! { "user": { "user": { "_id": bson::Uuid::from(id), "email": "a@b.example" } } };
        assert_eq!(shown_user(&shown), Some(UserId::from_uuid(id)));
        assert_eq!(shown_user(&doc! { "post": { "_id": bson::Uuid::from(id) } }), None);
        assert!(refusal(&shown).unwrap().is_none());
        let erased = refusal(&of_user(UserId::from_uuid(id))).unwrap().unwrap();
        assert_eq!(erased.to_string(), UserRefused::NotFound(UserId::from_uuid(id)).to_string());
        let of_post = doc! { "erased": { "post": bson::Uuid::from(id) } };
        let erased = refusal(&of_post).unwrap().unwrap();
        assert_eq!(erased.to_string(), PostRefused::NotFound(PostId::from_uuid(id)).to_string());
        assert!(refusal(&doc! { "erased": {} }).is_err());
    }
}
