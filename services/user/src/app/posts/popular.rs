//! The most popular posts.

use std::collections::HashMap;

use types::PostId;

use super::author_of;
use crate::app::App;
use crate::domain::counters::Window;
use crate::domain::post::{CountedPost, ListedPost, PopularPost, Post};
use crate::error::Result;

/// Posts that were archived or deleted since they were counted are in the index for up to a second: so many more are read,
/// that the list is as long as it should be without them.
const SPARE: u32 = 20;

/// Which posts are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GetPopularPosts {
    pub(crate) window: Window,
    pub(crate) size: u32,
}

impl App {
    /// The most popular posts of a window. There are three statements in it, however many posts it gives.
    pub(crate) async fn get_popular_posts(&self, wish: GetPopularPosts) -> Result<Vec<PopularPost>> {
        let limit = i64::from(wish.size + SPARE);
        let competitors = self.store.post_popular_list(wish.window, self.now(), limit).await?;
        if competitors.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<PostId> = competitors.iter().map(|competitor| competitor.post).collect();
        let posts = self.store.post_list_among(&ids).await?;
        let mut posts: HashMap<PostId, Post> = posts.into_iter().map(|post| (post.id, post)).collect();
        let there =
            competitors.iter().filter_map(|competitor| Some((competitor, posts.remove(&competitor.post)?)));
        let there: Vec<_> = there.take(usize::try_from(wish.size).unwrap_or(usize::MAX)).collect();
        let authors = self.authors(there.iter().map(|(_, post)| post.author_id)).await?;
        let popular = there.into_iter().map(|(competitor, post)| {
            let author = author_of(&authors, &post)?;
            let post = CountedPost { post, counts: competitor.counts };
            Ok(PopularPost { listed: ListedPost { post, author }, score_tenths: competitor.score })
        });
        popular.collect()
    }
}
