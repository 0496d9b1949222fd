//! Whether what is counted is what is there: said rightly while the service counts, and mended where it is not.

use futures_util::future::{join, join_all};

use super::*;

/// Claim: at whatever moment it runs, and however many events are still to be counted, a recount blames nobody.
#[tokio::test]
async fn a_recount_finds_nothing_while_edges_and_posts_come_and_go() {
    let edges = Edges::start().await;
    let harness = &edges.harness;
    let people = join_all((0..6).map(|_| harness.customer())).await;
    let posts = join_all(people.iter().map(write)).await;
    let busy = async {
        for round in 0..5 {
            let everybody = people.iter().enumerate().map(|(at, person)| {
                let other = (at + 1 + round) % people.len();
                let (edges, followee, post) = (&edges, &people[other], &posts[other]);
                async move {
                    let followed = edges.make(follow(person, followee)).await;
                    let liked = edges.make(like(person, post)).await;
                    let written = write(person).await;
                    edges.make(like(followee, &written)).await;
                    if round % 2 == 0 {
                        edges.remove(followed).await;
                        edges.remove(liked).await;
                        let post_id = written.id;
                        let request =
                            DeletePostRequest { request_id: request_id(), post_id, ..Default::default() };
                        person.caller.posts().delete_post(request).await.unwrap();
                    }
                }
            });
            join_all(everybody).await;
        }
    };
    let looks = async {
        let mut looks = 0;
        while looks < 12 {
            assert_eq!(edges.recount(false).await, Vec::<String>::new());
            looks += 1;
        }
    };
    join(busy, looks).await;
    assert_eq!(edges.recount(false).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_differs_is_told_and_mended() {
    let edges = Edges::start().await;
    let harness = &edges.harness;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let (post, archived) = (write(&ann).await, write(&ann).await);
    edges.make(follow(&bob, &ann)).await;
    edges.make(like(&bob, &post)).await;
    edges.counts_become(&bob, 0, 1).await;
    edges.post_counts_become(&bob, &post, PostCounts { likes: 1, ..PostCounts::default() }).await;
    let nobody = Uuid::now_v7();
    for (collection, id, change) in [
        ("user_counters", &ann.id, doc! { "$set": { "followers": 7_i64, "following": -1_i64 } }),
        ("user", &ann.id, doc! { "$set": { "post_count": 9_i64 } }),
        (
            "post_counters",
            &post.id,
            doc! { "$set": { "likes": 3_i64, "views": 5_i64, "windows": ["month"] } },
        ),
        // The post is archived behind the back of the service.
        ("post", &archived.id, doc! { "$set": { "state": "archived" } }),
        ("post_counters", &nobody.to_string(), doc! { "$set": { "likes": 1_i64, "windows": ["month"] } }),
    ] {
        let rows = harness.database.collection::<Document>(collection);
        rows.update_one(doc! { "_id": binary(id) }, change).upsert(true).await.unwrap();
    }
    let expected = [
        format!("user {}: posts: 9 counted, 2 there", ann.id),
        format!("user {}: followers: 7 counted, 1 there", ann.id),
        format!("user {}: following: -1 counted, 0 there", ann.id),
        format!("post {}: likes: 3 counted, 1 there", post.id),
        format!("post {}: score: 20 counted, 65 there", post.id),
        format!(r#"post {}: windows: ["month"] counted, ["day", "week", "month"] there"#, post.id),
        format!(r#"post {}: windows: ["day", "week", "month"] counted, [] there"#, archived.id),
        format!("post {nobody}: counters: 1 counted, 0 there"),
    ];
    for is_to_mend in [false, true] {
        assert_eq!(edges.recount(is_to_mend).await, expected, "mend: {is_to_mend}");
    }
    assert_eq!(edges.recount(false).await, Vec::<String>::new());
    let counted = UserCounts { posts: 2, followers: 1, following: 0 };
    assert_eq!(harness.user(&ann.id).await.counts, Some(counted));
    assert_eq!(counts(&bob, &post).await, PostCounts { likes: 1, comments: 0, views: 5 });
}
