//! A text by a user.

use time::OffsetDateTime;
use types::{PostId, UserId};

use crate::error::{Error, Result};

/// A text by a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) id: PostId,
    /// Who owns it now.
    pub(crate) author_id: UserId,
    pub(crate) title: String,
    pub(crate) body: String,
    /// Counts changes: the etag. Every change of a post has one event, so it counts those as well.
    pub(crate) version: i64,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) update_time: OffsetDateTime,
}

impl Post {
    /// The post in other hands.
    pub(crate) fn handed_over(&self, to: UserId, now: OffsetDateTime) -> Self {
        Self { author_id: to, version: self.version + 1, update_time: now, ..self.clone() }
    }

    /// Refuses whoever is not the author.
    pub(crate) fn require_author(&self, user: UserId) -> Result<()> {
        if self.author_id == user { Ok(()) } else { Err(Error::NotPostAuthor(self.id)) }
    }

    /// Refuses an etag that is not the present one.
    pub(crate) fn require_version(&self, etag: Option<i64>) -> Result<()> {
        match etag {
            Some(version) if version != self.version => {
                Err(Error::VersionMismatch { resource: "post", id: self.id.to_string() })
            }
            Some(_) | None => Ok(()),
        }
    }
}
