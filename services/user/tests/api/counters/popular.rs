//! The most popular posts, held against the pipeline of the course.

use api::user::v1::get_popular_posts_request::Window;
use api::user::v1::{
    ArchivePostRequest, GetPopularPostsRequest, PopularPost, PublishPostRequest, RecordPostViewsRequest,
};
use futures_util::TryStreamExt as _;
use futures_util::future::join_all;

use super::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const WINDOWS: [(Window, i64); 4] =
    [(Window::Unspecified, 30), (Window::Month, 30), (Window::Week, 7), (Window::Day, 1)];

async fn popular(reader: &Person, window: Window, page_size: i32) -> Vec<PopularPost> {
    let request = GetPopularPostsRequest { window: window.into(), page_size };
    reader.caller.posts().get_popular_posts(request).await.unwrap().into_inner().posts
}

/// A post of the course, with what it was given.
struct Given {
    post: Post,
    published_at: bson::DateTime,
    likes: usize,
    comments: usize,
    views: usize,
}

impl Given {
    fn row(&self) -> Document {
        let some = |count: usize| (0..count).map(|_| bson::Uuid::new()).collect::<Vec<_>>();
        doc! {
            "_id": binary(&self.post.id),
            "status": "published",
            "author": binary(&self.post.author_id),
            "publishedAt": self.published_at,
            "views": i64::try_from(self.views).unwrap(),
            "likes": some(self.likes),
            "comments": some(self.comments),
        }
    }
}

/// An archived post that was published that long ago, published again: by its event it comes among those that compete.
async fn published_before(harness: &Harness, author: &Person, age_ms: i64) -> (Post, bson::DateTime) {
    let at = bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() - age_ms);
    let post_id = Uuid::now_v7().to_string();
    let row = doc! {
        "_id": binary(&post_id), "author_id": binary(&author.id), "title": "Tea", "body": "Water.",
        "state": "archived", "publish_time": at, "version": 1_i64, "create_time": at, "update_time": at,
    };
    harness.database.collection::<Document>("post").insert_one(row).await.unwrap();
    let request = PublishPostRequest { request_id: request_id(), post_id, ..PublishPostRequest::default() };
    let post = author.caller.posts().publish_post(request).await.unwrap().into_inner().post.unwrap();
    (post, at)
}

/// What the course asks for, but for the e-mail address that it shows, and with ties by id. Its sums of tenths are not
/// exact, so that they are rounded to what they are meant to be.
async fn by_the_course(harness: &Harness, days: i64, limit: i64) -> Vec<(bson::Uuid, i64)> {
    let since = bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() - days * DAY_MS);
    let pipeline = [
        doc! { "$match": { "status": "published" } },
        doc! { "$match": { "publishedAt": { "$gte": since } } },
        doc! { "$addFields": { "likeCount": { "$size": "$likes" }, "commentCount": { "$size": "$comments" } } },
        doc! { "$addFields": { "popularityScore": { "$round": [{ "$add": [
            { "$multiply": ["$views", 0.1] },
            { "$multiply": ["$likeCount", 2] },
            { "$multiply": ["$commentCount", 3] },
        ] }, 1] } } },
        doc! { "$sort": { "popularityScore": -1, "_id": 1 } },
        doc! { "$limit": limit },
        doc! { "$lookup": { "from": "user", "localField": "author", "foreignField": "_id", "as": "author" } },
        doc! { "$unwind": "$author" },
        doc! { "$project": { "popularityScore": 1, "author.display_name": 1 } },
    ];
    let posts = harness.database.collection::<Document>("course_post");
    let rows: Vec<Document> = posts.aggregate(pipeline).await.unwrap().try_collect().await.unwrap();
    let seen = rows.into_iter().map(|row| {
        assert_eq!(row.get_document("author").unwrap().get_str("display_name").unwrap(), "Ann");
        let score = row.get("popularityScore").unwrap();
        let score = score.as_f64().unwrap_or_else(|| f64::from(score.as_i32().unwrap_or_default()));
        let id: bson::Uuid = bson::deserialize_from_bson(row.get("_id").cloned().unwrap()).unwrap();
        (id, (score * 10.0).round() as i64)
    });
    seen.collect()
}

/// Claim: whatever is liked, commented on and viewed, by calls and events, the list is that of the course's pipeline over the
/// same posts.
#[tokio::test]
async fn popular_posts_are_those_of_the_course() {
    let edges = Edges::start().await;
    let harness = &edges.harness;
    let readers = join_all((0..5).map(|_| harness.customer())).await;
    let authors = join_all((0..3).map(|_| harness.customer())).await;
    let mut given = Vec::new();
    for number in 0..60_i64 {
        let author = &authors[fastrand::usize(..authors.len())];
        // Not so near to where a window ends that the post leaves it while this runs.
        let age = [0, 1, 3, 7, 12, 29, 30, 45][fastrand::usize(..8)] * DAY_MS + 600_000 + number;
        let (post, published_at) = published_before(harness, author, age).await;
        let (likes, comments, views) = (fastrand::usize(..=2), fastrand::usize(..=2), fastrand::usize(..=5));
        given.push(Given { post, published_at, likes, comments, views });
    }
    for Given { post, likes, comments, .. } in &given {
        join_all(readers[..*likes].iter().map(|reader| edges.make(like(reader, post)))).await;
        (0..*comments).for_each(|_| harness.orders.tell(&comment_on(Kind::Post, &post.id)));
    }
    for (place, reader) in readers.iter().enumerate() {
        let viewed = given.iter().filter(|given| given.views > place);
        let post_ids = viewed.map(|given| given.post.id.clone()).collect::<Vec<_>>();
        if !post_ids.is_empty() {
            reader.caller.posts().record_post_views(RecordPostViewsRequest { post_ids }).await.unwrap();
        }
    }
    for given in &given {
        let count = |count: usize| i64::try_from(count).unwrap();
        let (likes, comments, views) = (count(given.likes), count(given.comments), count(given.views));
        edges.post_counts_become(&readers[0], &given.post, PostCounts { likes, comments, views }).await;
    }
    let rows = given.iter().map(Given::row);
    harness.database.collection::<Document>("course_post").insert_many(rows).await.unwrap();
    for (window, days) in WINDOWS {
        for (page_size, limit) in [(0, 10), (1, 1), (25, 25), (100, 100), (1000, 100)] {
            let seen = popular(&readers[0], window, page_size).await;
            let ids: Vec<(bson::Uuid, i64)> = seen
                .iter()
                .map(|popular| (binary(&popular.post.as_ref().unwrap().id), popular.score_tenths))
                .collect();
            assert_eq!(ids, by_the_course(harness, days, limit).await, "{window:?} {page_size}");
            for PopularPost { post, author, .. } in seen {
                let (post, author) = (post.unwrap(), author.unwrap());
                assert_eq!((&post.author_id, &*author.display_name), (&author.user_id, "Ann"));
                assert_eq!(post.body, "");
            }
        }
    }
}

#[tokio::test]
async fn a_post_that_is_archived_is_not_among_the_popular_ones_until_it_is_published_again() {
    let edges = Edges::start().await;
    let harness = &edges.harness;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let (post, other) = (write(&ann).await, write(&ann).await);
    edges.make(like(&bob, &post)).await;
    edges.post_counts_become(&bob, &post, PostCounts { likes: 1, ..PostCounts::default() }).await;
    let become_these = async |expected: &[(&Post, i64)]| {
        let expected: Vec<_> = expected.iter().map(|(post, score)| (post.id.clone(), *score)).collect();
        let become_so = wait_until(WITHIN, "the popular posts", async || {
            let seen = popular(&bob, Window::Day, 10).await.into_iter();
            let seen: Vec<_> = seen.map(|one| (one.post.unwrap().id, one.score_tenths)).collect();
            if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
        });
        become_so.await.unwrap();
    };
    become_these(&[(&post, 20), (&other, 0)]).await;
    let request =
        ArchivePostRequest { request_id: request_id(), post_id: post.id.clone(), etag: String::new() };
    ann.caller.posts().archive_post(request).await.unwrap();
    // At once, whatever the index still says.
    let seen = popular(&bob, Window::Day, 10).await;
    let seen: Vec<String> = seen.into_iter().map(|one| one.post.unwrap().id).collect();
    assert_eq!(seen, std::slice::from_ref(&other.id));
    let out = doc! { "_id": binary(&post.id), "windows": null };
    let become_out = wait_until(WITHIN, "the post out of the windows", async || {
        if harness.count("post_counters", out.clone()).await == 1 { Ok(()) } else { Err("in one".to_owned()) }
    });
    become_out.await.unwrap();
    let request =
        PublishPostRequest { request_id: request_id(), post_id: post.id.clone(), etag: String::new() };
    ann.caller.posts().publish_post(request).await.unwrap();
    become_these(&[(&post, 20), (&other, 0)]).await;
}
