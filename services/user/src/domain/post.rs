//! A text by a user.

use time::OffsetDateTime;
use types::{PostId, UserId};

/// Why a call about a post was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PostRefused {
    /// No such post.
    #[error("there is no post {0}")]
    NotFound(PostId),
    /// The post belongs to somebody else.
    #[error("post {0} belongs to another author")]
    NotAuthor(PostId),
    /// The caller's etag is not the present one.
    #[error("the post has changed since it was read")]
    VersionMismatch(PostId),
}

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

    /// The post with another title or body; what is `None` stays.
    pub(crate) fn updated(&self, title: Option<String>, body: Option<String>, now: OffsetDateTime) -> Self {
        let mut post = Self { version: self.version + 1, update_time: now, ..self.clone() };
        post.title = title.unwrap_or(post.title);
        post.body = body.unwrap_or(post.body);
        post
    }

    /// Refuses whoever is not the author.
    pub(crate) fn require_author(&self, user: UserId) -> Result<(), PostRefused> {
        if self.author_id == user { Ok(()) } else { Err(PostRefused::NotAuthor(self.id)) }
    }

    /// Refuses an etag that is not the present one.
    pub(crate) fn require_version(&self, etag: Option<i64>) -> Result<(), PostRefused> {
        match etag {
            Some(version) if version != self.version => Err(PostRefused::VersionMismatch(self.id)),
            Some(_) | None => Ok(()),
        }
    }
}
