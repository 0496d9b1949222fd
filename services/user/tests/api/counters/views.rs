//! Views of posts, as who views them tells of them.

use api::user::v1::{ArchivePostRequest, RecordPostViewsRequest};
use tonic::{Code, Status};

use super::*;
use crate::harness::{refusal, refused};

async fn view(viewer: &Person, ids: &[&str]) -> Result<(), Status> {
    let post_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let answer = viewer.caller.posts().record_post_views(RecordPostViewsRequest { post_ids }).await;
    answer.map(|_| ())
}

/// Claim: a viewer counts once, however often and with whatever else the post is told of, and its author never; and who
/// tells of what is not there for them hears nothing else than who tells of what is.
#[tokio::test]
async fn a_viewer_counts_once_and_the_author_never() {
    let edges = Edges::start().await;
    let harness = &edges.harness;
    let (ann, bob, cid) = (harness.customer().await, harness.customer().await, harness.customer().await);
    let (post, other, archived) = (write(&ann).await, write(&ann).await, write(&ann).await);
    let request =
        ArchivePostRequest { request_id: request_id(), post_id: archived.id.clone(), etag: String::new() };
    ann.caller.posts().archive_post(request).await.unwrap();
    let nothing = Uuid::now_v7().to_string();
    for viewer in [&ann, &bob, &cid] {
        view(viewer, &[&post.id, &archived.id, &nothing]).await.unwrap();
    }
    let views = |views| PostCounts { views, ..PostCounts::default() };
    edges.post_counts_become(&bob, &post, views(2)).await;
    // Told of again, it has been flushed when the other one is counted.
    view(&bob, &[&post.id, &other.id]).await.unwrap();
    edges.post_counts_become(&bob, &other, views(1)).await;
    assert_eq!(counts(&bob, &post).await, views(2));
    assert_eq!(counts(&ann, &archived).await, views(0));
    assert_eq!(harness.count("post_view", doc! {}).await, 3);
    assert_eq!(harness.count("post_counters", doc! { "_id": binary(&nothing) }).await, 0);
    let row = harness.database.collection::<Document>("post_counters");
    let row = row.find_one(doc! { "_id": binary(&post.id) }).await.unwrap().unwrap();
    assert_eq!(row.get_i64("score").unwrap(), 2);
    assert_eq!(harness.events("user.v1.PostViewed").await, 0, "no event tells of a view");
}

#[tokio::test]
async fn views_are_of_one_to_a_hundred_posts_each_named_once() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let id = Uuid::now_v7().to_string();
    let many: Vec<String> = (0..101).map(|_| Uuid::now_v7().to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let invalid = |subjects: &[&str]| refused(Code::InvalidArgument, "INVALID_REQUEST", subjects);
    assert_eq!(refusal(view(&ann, &[]).await), invalid(&["post_ids REQUIRED"]));
    assert_eq!(refusal(view(&ann, &many).await), invalid(&["post_ids TOO_MANY"]));
    view(&ann, &many[..100]).await.unwrap();
    let twice = view(&ann, &[&id, "x", &id]).await;
    assert_eq!(refusal(twice), invalid(&["post_ids[1] INVALID_ID", "post_ids[2] DUPLICATE"]));
    let request = RecordPostViewsRequest { post_ids: vec![id] };
    let service = harness.order_service().posts().record_post_views(request).await;
    assert_eq!(service.unwrap_err().code(), Code::PermissionDenied);
}
