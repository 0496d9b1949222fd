//! A text by a user, and what may become of one.

use std::fmt;

use time::OffsetDateTime;
use types::{PostId, UserId};

use super::counters::PostCounts;
use super::slug::Slug;

/// Why a call about a post was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostRefused {
    /// No such post, or not for this caller.
    #[error("there is no post {0}")]
    NotFound(PostId),
    /// No post has the slug, or not for this caller.
    #[error("there is no post {0}")]
    SlugNotFound(String),
    /// The post belongs to somebody else.
    #[error("post {0} belongs to another author")]
    NotAuthor(PostId),
    /// The posts of somebody who is active are that user's to hand over.
    #[error("only user {0} can hand over these posts")]
    NotAuthorOfAll(UserId),
    /// Another post has the slug, or had it when it was published.
    #[error("another post has the slug {0}")]
    SlugTaken(String),
    /// The post was published, so that its slug stays.
    #[error("the post was published under its slug, which stays")]
    SlugFixed {
        /// Which post.
        post_id: PostId,
        /// Its state.
        state: PostState,
    },
    /// The post's state does not allow it.
    #[error("the post is {state}")]
    InvalidState {
        /// Which post.
        post_id: PostId,
        /// Its state.
        state: PostState,
    },
    /// The caller's etag is not the present one.
    #[error("the post has changed since it was read")]
    VersionMismatch(PostId),
}

/// Who may read a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostState {
    /// Was never published.
    Draft,
    /// Everybody may read it.
    Published,
    /// Was published, and is no longer for everybody.
    Archived,
}

/// What is done to a post to change its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PostMove {
    Publish,
    Archive,
    Delete,
}

/// Which moves each state allows, and where they lead. A post that is deleted is in no state.
const MOVES: [(PostState, PostMove, Option<PostState>); 6] = [
    (PostState::Draft, PostMove::Publish, Some(PostState::Published)),
    (PostState::Draft, PostMove::Delete, None),
    (PostState::Published, PostMove::Archive, Some(PostState::Archived)),
    (PostState::Published, PostMove::Delete, None),
    (PostState::Archived, PostMove::Publish, Some(PostState::Published)),
    (PostState::Archived, PostMove::Delete, None),
];

impl PostState {
    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::Published => "PUBLISHED",
            Self::Archived => "ARCHIVED",
        }
    }

    /// The moves that it allows, as a client reads them.
    #[must_use]
    pub fn allowed(self) -> String {
        let moves = MOVES.iter().filter(|(from, ..)| *from == self);
        moves.map(|(_, allowed, _)| allowed.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for PostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PostMove {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "PublishPost",
            Self::Archive => "ArchivePost",
            Self::Delete => "DeletePost",
        }
    }
}

/// A text by a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    pub(crate) id: PostId,
    /// Who owns it now.
    pub(crate) author_id: UserId,
    pub(crate) title: String,
    /// Empty where it was not asked for.
    pub(crate) body: String,
    /// Its name in addresses; `None` for its id.
    pub(crate) slug: Option<Slug>,
    pub(crate) excerpt: Option<String>,
    pub(crate) category: Option<Slug>,
    pub(crate) tags: Vec<Slug>,
    pub(crate) state: PostState,
    /// When it was published for the first time: of every post but drafts.
    pub(crate) publish_time: Option<OffsetDateTime>,
    /// Counts changes: the etag. Every change of a post has one event, so it counts those as well.
    pub(crate) version: i64,
    pub(crate) create_time: OffsetDateTime,
    pub(crate) update_time: OffsetDateTime,
}

/// What a post shall say; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct PostChange {
    pub(crate) title: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) excerpt: Option<Option<String>>,
    pub(crate) category: Option<Option<Slug>>,
    pub(crate) tags: Option<Vec<Slug>>,
}

impl Post {
    /// The post in other hands.
    pub(crate) fn handed_over(&self, to: UserId, now: OffsetDateTime) -> Self {
        Self { author_id: to, ..self.changed(now) }
    }

    /// The post with what the change says.
    pub(crate) fn updated(&self, change: PostChange, now: OffsetDateTime) -> Self {
        let post = self.changed(now);
        Self {
            title: change.title.unwrap_or(post.title),
            body: change.body.unwrap_or(post.body),
            excerpt: change.excerpt.unwrap_or(post.excerpt),
            category: change.category.unwrap_or(post.category),
            tags: change.tags.unwrap_or(post.tags),
            ..post
        }
    }

    /// The post after a move; `None` where the move deletes it.
    pub(crate) fn moved(&self, wish: PostMove, now: OffsetDateTime) -> Result<Option<Self>, PostRefused> {
        let row = MOVES.iter().find(|(from, allowed, _)| (*from, *allowed) == (self.state, wish));
        let Some((.., to)) = row else {
            return Err(PostRefused::InvalidState { post_id: self.id, state: self.state });
        };
        Ok(to.map(|state| {
            let publish_time = self.publish_time.or_else(|| (state == PostState::Published).then_some(now));
            Self { state, publish_time, ..self.changed(now) }
        }))
    }

    /// Whether somebody else than its author and admins was ever to read it.
    pub(crate) const fn was_published(&self) -> bool {
        self.publish_time.is_some()
    }

    /// What it is called in addresses.
    pub(crate) fn address(&self) -> String {
        self.slug.as_ref().map_or_else(|| self.id.to_string(), Slug::to_string)
    }

    /// Refuses whoever is not the author. Who may not read it, which admins may, hears that there is none.
    pub(crate) fn require_author(&self, user: UserId, is_admin: bool) -> Result<(), PostRefused> {
        if self.author_id == user {
            return Ok(());
        }
        let is_visible = is_admin || self.state == PostState::Published;
        Err(if is_visible { PostRefused::NotAuthor(self.id) } else { PostRefused::NotFound(self.id) })
    }

    /// Refuses an etag that is not the present one.
    pub(crate) fn require_version(&self, etag: Option<i64>) -> Result<(), PostRefused> {
        match etag {
            Some(version) if version != self.version => Err(PostRefused::VersionMismatch(self.id)),
            Some(_) | None => Ok(()),
        }
    }

    /// The change, counted.
    fn changed(&self, now: OffsetDateTime) -> Self {
        Self { version: self.version + 1, update_time: now, ..self.clone() }
    }
}

/// As much of a post as decides who may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PostHead {
    pub(crate) id: PostId,
    pub(crate) author_id: UserId,
    pub(crate) state: PostState,
}

impl PostHead {
    /// Whether this user may read the post.
    pub(crate) fn is_visible_to(&self, user: UserId, is_admin: bool) -> bool {
        is_admin || self.author_id == user || self.state == PostState::Published
    }

    /// Refuses a post that is not for everybody.
    pub(crate) fn require_published(&self) -> Result<(), PostRefused> {
        match self.state {
            PostState::Published => Ok(()),
            state => Err(PostRefused::InvalidState { post_id: self.id, state }),
        }
    }
}

/// Which posts a list is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PostsOf {
    Everybody,
    Author(UserId),
    Tag(Slug),
    Category(Slug),
}

/// A place in the order of a list: `publish_time`, which drafts do not have, and then the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PostPlace {
    pub(crate) publish_time: Option<OffsetDateTime>,
    pub(crate) id: PostId,
}

/// What a list shows of an author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostAuthor {
    pub(crate) user_id: UserId,
    pub(crate) display_name: String,
    pub(crate) avatar_url: Option<String>,
    pub(crate) bio: Option<String>,
}

/// A post with what is counted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CountedPost {
    pub(crate) post: Post,
    pub(crate) counts: PostCounts,
}

/// A post as a list shows it: without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedPost {
    pub(crate) post: CountedPost,
    pub(crate) author: PostAuthor,
}

/// A post as the list of popular ones shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PopularPost {
    pub(crate) listed: ListedPost,
    pub(crate) score_tenths: i64,
}

/// What a call that deletes a post is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeletedPost(pub(crate) PostId);

/// Posts that went to another user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PostsHandedOver {
    pub(crate) ids: Vec<PostId>,
    /// Whether the user has more.
    pub(crate) has_more: bool,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const AUTHOR: UserId = UserId::from_uuid(Uuid::from_u128(1));
    const OTHER: UserId = UserId::from_uuid(Uuid::from_u128(2));

    fn post(state: PostState) -> Post {
        let now = OffsetDateTime::UNIX_EPOCH;
        Post {
            id: PostId::from_uuid(Uuid::from_u128(3)),
            author_id: AUTHOR,
            title: "Tea".to_owned(),
            body: "Water".to_owned(),
            slug: None,
            excerpt: None,
            category: None,
            tags: Vec::new(),
            state,
            publish_time: (state != PostState::Draft).then_some(now),
            version: 1,
            create_time: now,
            update_time: now,
        }
    }

    #[test]
    fn each_state_allows_some_moves_and_refuses_the_others() {
        use PostMove::{Archive, Delete, Publish};
        use PostState::{Archived, Draft, Published};
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::HOUR;
        for (from, wish, expected) in [
            (Draft, Publish, Some(Some(Published))),
            (Draft, Archive, None),
            (Draft, Delete, Some(None)),
            (Published, Publish, None),
            (Published, Archive, Some(Some(Archived))),
            (Published, Delete, Some(None)),
            (Archived, Publish, Some(Some(Published))),
            (Archived, Archive, None),
            (Archived, Delete, Some(None)),
        ] {
            let before = post(from);
            let refused = PostRefused::InvalidState { post_id: before.id, state: from };
            let expected = expected.ok_or(refused);
            let moved = before.moved(wish, now);
            assert_eq!(moved.clone().map(|post| post.map(|post| post.state)), expected, "{from} {wish:?}");
            if let Ok(Some(after)) = moved {
                assert_eq!((after.version, after.update_time), (2, now));
                let first = if from == Draft { now } else { OffsetDateTime::UNIX_EPOCH };
                assert_eq!(after.publish_time, Some(first), "the first stays");
            }
        }
        assert_eq!(Draft.allowed(), "PublishPost, DeletePost");
    }

    #[test]
    fn who_may_not_read_a_post_hears_that_there_is_none() {
        use PostState::{Archived, Draft, Published};
        let id = post(Draft).id;
        for (state, is_admin, expected) in [
            (Draft, false, PostRefused::NotFound(id)),
            (Archived, false, PostRefused::NotFound(id)),
            (Published, false, PostRefused::NotAuthor(id)),
            (Draft, true, PostRefused::NotAuthor(id)),
            (Archived, true, PostRefused::NotAuthor(id)),
        ] {
            assert_eq!(post(state).require_author(OTHER, is_admin), Err(expected), "{state} {is_admin}");
            assert_eq!(post(state).require_author(AUTHOR, is_admin), Ok(()));
        }
    }
}
