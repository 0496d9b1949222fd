//! How what users are found by gets into the documents of releases before it: a job makes it of what they say and
//! compares. So it finds both who has none of it and who was changed by a process of an older release, which changes the
//! name and leaves the key. It is no change of the user: neither the version nor an event tells of it. Several processes may
//! be at it at once.

use std::time::Duration;

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use time::OffsetDateTime;
use types::UserId;

use super::row::{COLLECTION, ProfileRow};
use super::search::{FIELD, SearchRow};
use super::walk::{Walk, range};
use crate::domain::user_search::Said;
use crate::error::{Error, Result};
use crate::storage::driver::bounded;
use crate::storage::{SERVER_TIME, Store, from_time, to_time};

const MARKS: &str = "job_mark";
const JOB: &str = "user_search";
/// By how much the clocks of processes may differ, and how long a change may be on its way: what was changed since is
/// looked at again.
const OVERLAP: Duration = Duration::from_secs(60);

/// How far the job is.
#[derive(Debug, Deserialize)]
struct MarkRow {
    changed_since: bson::DateTime,
    walked_to: Option<bson::Uuid>,
    #[serde(default)]
    walked_all: bool,
}

/// What is filled next.
#[derive(Debug)]
pub(crate) enum SearchFill {
    /// Everybody once, from behind this user on.
    Walk(Option<UserId>),
    /// Who has changed since.
    Changed(OffsetDateTime),
}

/// A user as far as the job looks at one.
#[derive(Debug, Deserialize)]
struct SaidRow {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    version: i64,
    update_time: bson::DateTime,
    display_name: Option<String>,
    username: Option<String>,
    profile: Option<ProfileRow>,
    search: Option<SearchRow>,
}

impl SaidRow {
    /// What has to be written, if something has to be.
    fn change(&self) -> Option<Result<Document>> {
        // Who says nothing at all, as who is gone does, is not to be found.
        let display_name = self.display_name.as_deref().filter(|name| !name.is_empty())?;
        let [given_name, family_name, bio] = self.profile.as_ref().map(ProfileRow::texts).unwrap_or_default();
        let username = self.username.as_deref();
        let row = SearchRow::from(Said { display_name, username, given_name, family_name, bio }.keys());
        if self.search.as_ref() == Some(&row) {
            return None;
        }
        let update = |search: Document| {
            // Who has changed meanwhile has another version, and is looked at again.
            let same = doc! { "_id": self.id, "version": self.version };
            doc! { "q": same, "u": { "$set": { FIELD: search } } }
        };
        Some(bson::serialize_to_document(&row).map(update).map_err(Error::internal))
    }
}

fn said() -> Document {
    doc! {
        "_id": 1, "version": 1, "update_time": 1, "display_name": 1, "username": 1, "profile.given_name": 1,
        "profile.family_name": 1, "profile.bio": 1, FIELD: 1,
    }
}

impl Store {
    /// How far the job has come, in whichever process.
    pub(crate) async fn user_search_mark(&self) -> Result<SearchFill> {
        let marks = self.collection::<MarkRow>(MARKS);
        let mark = match bounded(marks.find_one(doc! { "_id": JOB })).await? {
            Some(mark) => mark,
            None => {
                // Whatever is changed while everybody is looked at once is looked at again.
                let now = from_time(self.now().await?);
                let begin = doc! { "$setOnInsert": { "changed_since": now } };
                bounded(marks.update_one(doc! { "_id": JOB }, begin).upsert(true)).await?;
                MarkRow { changed_since: now, walked_to: None, walked_all: false }
            }
        };
        Ok(if mark.walked_all {
            SearchFill::Changed(to_time(mark.changed_since))
        } else {
            SearchFill::Walk(mark.walked_to.map(|id| UserId::from_uuid(id.into())))
        })
    }

    /// Fills the next stretch of a walk over everybody, and tells of how many it was.
    pub(crate) async fn user_search_fill(&self, walk: &mut Walk) -> Result<usize> {
        let stretch = self.user_walk_stretch(walk).await?;
        let users = self.collection::<SaidRow>(COLLECTION);
        let find = users.find(range(&stretch)).projection(said()).sort(doc! { "_id": 1 });
        let rows: Vec<SaidRow> = bounded(bounded(find.max_time(SERVER_TIME)).await?.try_collect()).await?;
        let count = self.user_search_write(&rows).await?;
        walk.pass(&stretch);
        let walked_to = bson::Uuid::from(walk.after().uuid());
        let mut mark = doc! { "$max": { "walked_to": walked_to } };
        if walk.is_over() {
            mark.insert("$set", doc! { "walked_all": true });
        }
        self.user_search_mark_set(mark).await?;
        Ok(count)
    }

    /// Notes that there is nobody to look at.
    pub(crate) async fn user_search_walked(&self) -> Result<()> {
        self.user_search_mark_set(doc! { "$set": { "walked_all": true } }).await
    }

    /// Fills those who have changed since a time, and tells of how many it was.
    pub(crate) async fn user_search_fill_changed(&self, since: OffsetDateTime, batch: u32) -> Result<usize> {
        let now = self.now().await?;
        let users = self.collection::<SaidRow>(COLLECTION);
        let mut filter = doc! { "update_time": { "$gte": from_time(since - OVERLAP) } };
        let mut count = 0;
        loop {
            let find = users.find(filter).projection(said()).sort(doc! { "update_time": 1, "_id": 1 });
            let find = find.limit(i64::from(batch)).max_time(SERVER_TIME);
            let rows: Vec<SaidRow> = bounded(bounded(find).await?.try_collect()).await?;
            count += self.user_search_write(&rows).await?;
            let Some(last) = rows.last() else { return Ok(count) };
            // A clock that is ahead leaves times behind that would hide what changes after it is set right.
            let passed = from_time(now.min(to_time(last.update_time)));
            self.user_search_mark_set(doc! { "$max": { "changed_since": passed } }).await?;
            if u32::try_from(rows.len()).is_ok_and(|count| count < batch) {
                return Ok(count);
            }
            filter = doc! {
                "update_time": { "$gte": last.update_time },
                "$or": [
                    { "update_time": { "$gt": last.update_time } },
                    { "update_time": last.update_time, "_id": { "$gt": last.id } },
                ],
            };
        }
    }

    async fn user_search_write(&self, rows: &[SaidRow]) -> Result<usize> {
        let updates: Vec<Document> = rows.iter().filter_map(SaidRow::change).collect::<Result<_>>()?;
        if updates.is_empty() {
            return Ok(0);
        }
        let count = updates.len();
        let command = doc! {
            "update": COLLECTION,
            "updates": updates,
            "ordered": false,
            "writeConcern": { "w": "majority", "j": true },
        };
        let answer = bounded(self.database().run_command(command)).await?;
        match answer.get_array("writeErrors") {
            Ok(errors) if !errors.is_empty() => {
                Err(Error::unavailable(format!("{} of {count} users were not written", errors.len())))
            }
            _ => Ok(count),
        }
    }

    async fn user_search_mark_set(&self, change: Document) -> Result<()> {
        let marks = self.collection::<Document>(MARKS);
        bounded(marks.update_one(doc! { "_id": JOB }, change)).await.map(drop)
    }
}
