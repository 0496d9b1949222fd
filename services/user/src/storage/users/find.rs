//! Finding users among those who are active: by how their name begins, by words, by where they are. What is found is
//! ids with what they are ordered by, the first so many of them and no more, so that each page of a search reads the same
//! and shows a part of it.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::options::Hint;
use serde::Deserialize;
use types::UserId;

use super::row::{COLLECTION, PointRow, ProfileRow, StateRow};
use super::view::{NameKeyRow, UserViewRow, projection};
use crate::domain::user_find::{Found, Near, Rank};
use crate::domain::user_view::{UserFields, UserView};
use crate::error::{Error, Result};
use crate::storage::driver::bounded;
use crate::storage::migrations::lacks;
use crate::storage::{SERVER_TIME, Store};

/// The index of text, which not every server has, and the migration that makes it.
const RANKED: (i32, &str) = (14, "user.ranked_words");
const METRES_OF_KM: u32 = 1000;
/// What of a score is told apart.
const PARTS_OF_SCORE: f64 = 1e6;

#[derive(Debug, Deserialize)]
struct FoundRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    search: Option<NameKeyRow>,
    profile: Option<ProfileRow>,
    score: Option<f64>,
}

impl FoundRow {
    fn id(&self) -> UserId {
        UserId::from_uuid(self.id.into())
    }
}

impl Store {
    /// Those whose folded name begins so.
    pub(crate) async fn user_find_by_prefix(&self, prefix: &str, limit: u32) -> Result<Vec<Found>> {
        let mut names = doc! { "$gte": prefix };
        names.extend(end_of(prefix).map(|end| ("$lt".to_owned(), Bson::from(end))));
        let filter = doc! { "state": StateRow::Active.as_str(), "search.name_key": names };
        let order = doc! { "search.name_key": 1, "_id": 1 };
        let fields = doc! { "search.name_key": 1 };
        let rows = self.user_find_rows(filter, order, fields, limit).await?;
        let found = |row: FoundRow| {
            let name_key = row.search.as_ref()?.name_key.clone()?;
            Some(Found { rank: Rank::Name(name_key), id: row.id() })
        };
        Ok(rows.into_iter().filter_map(found).collect())
    }

    /// Those who have all of these words, which are not none.
    pub(crate) async fn user_find_by_words(&self, words: &[String], limit: u32) -> Result<Vec<Found>> {
        if self.has_ranked_words().await? {
            return self.user_find_ranked(words, limit).await;
        }
        self.user_find_unranked(words, limit).await
    }

    /// By ranges over the words, those first who have all of them in their names.
    pub(crate) async fn user_find_unranked(&self, words: &[String], limit: u32) -> Result<Vec<Found>> {
        let state = StateRow::Active.as_str();
        let all = |field: &str| doc! { "state": state, field: { "$all": longest_first(words) } };
        let order = || doc! { "_id": 1 };
        let fields = || doc! { "_id": 1 };
        let by_name = all("search.name_words");
        let rows = self.user_find_rows(by_name, order(), fields(), limit).await?;
        let of = |in_bio: bool| move |row: FoundRow| Found { rank: Rank::Words { in_bio }, id: row.id() };
        let mut found: Vec<Found> = rows.into_iter().map(of(false)).collect();
        let left = limit - u32::try_from(found.len()).unwrap_or(limit).min(limit);
        if left > 0 {
            let mut others = all("search.words");
            let in_name = doc! { "search.name_words": { "$all": longest_first(words) } };
            others.insert("$nor", vec![in_name]);
            let rows = self.user_find_rows(others, order(), fields(), left).await?;
            found.extend(rows.into_iter().map(of(true)));
        }
        Ok(found)
    }

    /// The same by an index of text, which also tells how well each fits.
    async fn user_find_ranked(&self, words: &[String], limit: u32) -> Result<Vec<Found>> {
        // As phrases, all of which have to be there. They may be parts of longer words, which the other condition is not
        // content with.
        let phrases: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let filter = doc! {
            "state": StateRow::Active.as_str(),
            "$text": { "$search": phrases.join(" "), "$language": "none", "$diacriticSensitive": true },
            "search.words": { "$all": longest_first(words) },
        };
        let score = doc! { "$meta": "textScore" };
        let users = self.collection::<FoundRow>(COLLECTION);
        let find = users
            .find(filter)
            .projection(doc! { "_id": 1, "score": score.clone() })
            .sort(doc! { "score": score, "_id": 1 })
            .limit(i64::from(limit))
            .max_time(SERVER_TIME);
        let rows: Vec<FoundRow> = bounded(bounded(find).await?.try_collect()).await?;
        let found = |row: FoundRow| {
            let score = (row.score.unwrap_or_default() * PARTS_OF_SCORE).round() as i64;
            Found { rank: Rank::Score(-score), id: row.id() }
        };
        Ok(rows.into_iter().map(found).collect())
    }

    /// Whether the words have an index of text.
    pub(crate) async fn has_ranked_words(&self) -> Result<bool> {
        let lacks =
            self.shared.lacks_ranked_words.get_or_try_init(|| lacks(self, RANKED.0, RANKED.1)).await?;
        Ok(!lacks)
    }

    /// The nearest of those who share a location.
    pub(crate) async fn user_find_near(&self, near: &Near, limit: u32) -> Result<Vec<Found>> {
        let point = bson::serialize_to_document(&PointRow::from(near.place)).map_err(Error::internal)?;
        let metres = f64::from(near.radius_km * METRES_OF_KM);
        let filter = doc! {
            "state": StateRow::Active.as_str(),
            "profile.location_shared": true,
            "profile.location": { "$nearSphere": { "$geometry": point, "$maxDistance": metres } },
        };
        // In the order of their distances, by which they are found. There is one index for it, which is not the one that the
        // stand-in for MongoDB names unless it is told to.
        let users = self.collection::<FoundRow>(COLLECTION);
        let find = users
            .find(filter)
            .projection(doc! { "profile.location": 1 })
            .hint(Hint::Name("located".to_owned()))
            .limit(i64::from(limit))
            .max_time(SERVER_TIME);
        let rows: Vec<FoundRow> = bounded(bounded(find).await?.try_collect()).await?;
        let found = |row: FoundRow| {
            let place = row.profile.as_ref()?.location()?;
            Some(Found { rank: Rank::Distance { mm: near.place.distance_mm(place) }, id: row.id() })
        };
        Ok(rows.into_iter().filter_map(found).collect())
    }

    async fn user_find_rows(
        &self,
        filter: Document,
        order: Document,
        fields: Document,
        limit: u32,
    ) -> Result<Vec<FoundRow>> {
        let users = self.collection::<FoundRow>(COLLECTION);
        let find = users.find(filter).projection(fields).sort(order).limit(i64::from(limit));
        bounded(bounded(find.max_time(SERVER_TIME)).await?.try_collect()).await
    }

    /// These parts of those of these users who are still active.
    pub(crate) async fn user_view_list_active(
        &self,
        ids: &[UserId],
        fields: &UserFields,
    ) -> Result<Vec<UserView>> {
        let ids: Vec<bson::Uuid> = ids.iter().map(|id| id.uuid().into()).collect();
        let users = self.collection::<UserViewRow>(COLLECTION);
        let active = doc! { "_id": { "$in": ids }, "state": StateRow::Active.as_str() };
        let find = users.find(active).projection(projection(fields)).max_time(SERVER_TIME);
        let rows: Vec<UserViewRow> = bounded(bounded(find).await?.try_collect()).await?;
        rows.into_iter().map(UserView::try_from).collect()
    }
}

/// A server may look for the first and read all who have it: the longest word is perhaps the rarest.
fn longest_first(words: &[String]) -> Vec<&str> {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
    words
}

/// The first text behind all that begin so; `None` if there is none.
fn end_of(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // The next character: between the two halves of the code space are no characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_so_is_between_two_texts() {
        for (prefix, end) in
            [("a", Some("b")), ("az", Some("a{")), ("a\u{10ffff}", Some("b")), ("\u{d7ff}", Some("\u{e000}"))]
        {
            assert_eq!(end_of(prefix).as_deref(), end, "{prefix:?}");
            assert!(prefix < end.unwrap() && *format!("{prefix}\u{10ffff}z") < *end.unwrap());
        }
        assert_eq!(end_of("\u{10ffff}\u{10ffff}"), None);
        assert_eq!(longest_first(&["tea".into(), "green".into(), "a".into()]), ["green", "tea", "a"]);
    }
}
