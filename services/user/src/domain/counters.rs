//! What is counted of users and posts, and how popular that makes a post.

use time::{Duration, OffsetDateTime};

/// How many follow a user, and whom the user follows; or by how many more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FollowCounts {
    pub(crate) followers: i64,
    pub(crate) following: i64,
}

/// How many people a post has met; or how many more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PostCounts {
    pub(crate) likes: i64,
    pub(crate) comments: i64,
    pub(crate) views: i64,
}

impl PostCounts {
    /// How popular they make a post, in tenths: a view is one, a like is twenty, a comment thirty.
    pub(crate) const fn score(self) -> i64 {
        self.views + 20 * self.likes + 30 * self.comments
    }
}

/// The posts of which time compete for being popular.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Window {
    Day,
    Week,
    Month,
}

impl Window {
    /// From the shortest to the longest, each of which has those before it.
    pub(crate) const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// Its name in the database.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// What was published before this moment is not in it.
    pub(crate) fn begins(self, now: OffsetDateTime) -> OffsetDateTime {
        now - match self {
            Self::Day => Duration::DAY,
            Self::Week => Duration::WEEK,
            Self::Month => Duration::days(30),
        }
    }

    /// Those that a post is in.
    pub(crate) fn of(publish_time: OffsetDateTime, now: OffsetDateTime) -> Vec<Self> {
        Self::ALL.into_iter().filter(|window| publish_time >= window.begins(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_leaves_one_window_after_the_other() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(100);
        let windows = |age: Duration| Window::of(now - age, now);
        let moment = Duration::MILLISECOND;
        assert_eq!(windows(Duration::ZERO), Window::ALL);
        assert_eq!(windows(Duration::DAY), Window::ALL);
        assert_eq!(windows(Duration::DAY + moment), [Window::Week, Window::Month]);
        assert_eq!(windows(Duration::WEEK + moment), [Window::Month]);
        assert_eq!(windows(Duration::days(30) + moment), []);
    }

    #[test]
    fn a_score_is_that_of_the_course_in_tenths() {
        assert_eq!(PostCounts { likes: 2, comments: 1, views: 7 }.score(), 77);
    }
}
