//! Lists of posts: what is in them, in which order, for whom; and what they cost.

use api::user::v1::post::State;
use api::user::v1::{ListPostsRequest, ListedPost, Post};
use bson::{Bson, DateTime};
use testkit::client::Caller;
use tonic::{Code, Status};
use uuid::Uuid;

use super::*;

/// All pages of a list, of this size.
async fn pages(reader: &Caller, request: ListPostsRequest, size: i32) -> Vec<ListedPost> {
    let mut request = ListPostsRequest { page_size: size, ..request };
    let mut all = Vec::new();
    loop {
        let page = reader.posts().list_posts(request.clone()).await.unwrap().into_inner();
        assert!(page.posts.len() <= usize::try_from(size).unwrap());
        all.extend(page.posts);
        if page.next_page_token.is_empty() {
            return all;
        }
        request.page_token = page.next_page_token;
    }
}

fn posts(listed: Vec<ListedPost>) -> Vec<Post> {
    listed.into_iter().map(|listed| uncounted(listed.post.unwrap())).collect()
}

fn of(author: &Person) -> ListPostsRequest {
    ListPostsRequest { author_id: author.id.clone(), ..ListPostsRequest::default() }
}

fn in_state(state: State, request: ListPostsRequest) -> ListPostsRequest {
    ListPostsRequest { state: state.into(), ..request }
}

#[tokio::test]
async fn a_list_has_what_it_is_of_newest_first_with_authors_and_without_bodies() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let mut written = Vec::new();
    for (author, title, category, tags) in [
        (&ann, "One", "drinks", vec!["hot", "green"]),
        (&bob, "Two", "drinks", vec!["green"]),
        (&ann, "Three", "food", vec!["hot"]),
        (&bob, "Four", "", vec![]),
    ] {
        let request = CreatePostRequest {
            title: title.into(),
            category: category.into(),
            tags: tags.into_iter().map(str::to_owned).collect(),
            ..published()
        };
        written.push(write(author, request).await.unwrap().0);
    }
    // Whoever is published later is listed before, whenever it was written.
    let (early, _) = write(&ann, CreatePostRequest { title: "Early".into(), ..draft() }).await.unwrap();
    let (late, _) = write(&ann, CreatePostRequest { title: "Late".into(), ..published() }).await.unwrap();
    let (early, _) = publish(&ann, &early).await.unwrap();
    written.extend([late, early]);
    for (request, titles) in [
        (ListPostsRequest::default(), vec!["Early", "Late", "Four", "Three", "Two", "One"]),
        (of(&ann), vec!["Early", "Late", "Three", "One"]),
        (ListPostsRequest { tag: "green".into(), ..Default::default() }, vec!["Two", "One"]),
        (ListPostsRequest { tag: "hot".into(), ..Default::default() }, vec!["Three", "One"]),
        (ListPostsRequest { category: "drinks".into(), ..Default::default() }, vec!["Two", "One"]),
        (ListPostsRequest { tag: "cold".into(), ..Default::default() }, vec![]),
        (in_state(State::Published, of(&bob)), vec!["Four", "Two"]),
    ] {
        for size in [1, 2, 50] {
            let listed = pages(&bob.caller, request.clone(), size).await;
            for listed in &listed {
                let (post, author) = (listed.post.as_ref().unwrap(), listed.author.as_ref().unwrap());
                let whole = written.iter().find(|written| written.id == post.id).unwrap();
                assert_eq!(uncounted(post.clone()), Post { body: String::new(), ..whole.clone() });
                assert_eq!((&author.user_id, &*author.display_name), (&post.author_id, "Ann"));
                assert_eq!((&*author.avatar_url, &*author.bio), ("", ""));
            }
            let listed: Vec<String> = posts(listed).into_iter().map(|post| post.title).collect();
            assert_eq!(listed, titles, "{request:?} by {size}");
        }
    }
}

#[tokio::test]
async fn unpublished_posts_are_listed_for_their_author_admins_and_order_service() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let mut drafts = Vec::new();
    for number in 0..5 {
        let request = CreatePostRequest { title: format!("Draft {number}"), ..draft() };
        drafts.push(write(&ann, request).await.unwrap().0.id);
    }
    drafts.reverse();
    let (old, _) = write(&ann, published()).await.unwrap();
    archive(&ann, &old).await.unwrap();
    let ids = |listed| posts(listed).into_iter().map(|post| post.id).collect::<Vec<_>>();
    for reader in [&ann.caller, &admin.caller, &harness.order_service()] {
        for size in [2, 50] {
            assert_eq!(ids(pages(reader, in_state(State::Draft, of(&ann)), size).await), drafts);
            assert_eq!(
                ids(pages(reader, in_state(State::Archived, of(&ann)), size).await),
                std::slice::from_ref(&old.id)
            );
        }
        assert_eq!(pages(reader, of(&ann), 50).await, []);
    }
    for state in [State::Draft, State::Archived] {
        assert_eq!(pages(&bob.caller, in_state(state, of(&ann)), 50).await, []);
        assert_eq!(pages(&bob.caller, in_state(state, of(&bob)), 50).await, []);
    }
    assert_eq!(pages(&bob.caller, ListPostsRequest::default(), 50).await, []);
}

#[tokio::test]
async fn a_list_is_of_one_thing_and_its_token_of_that_list() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    for number in 0..3 {
        write(&ann, CreatePostRequest { title: format!("Post {number}"), ..published() }).await.unwrap();
    }
    let list = async |by: &Person, request: ListPostsRequest| -> Result<String, Status> {
        Ok(by.caller.posts().list_posts(request).await?.into_inner().next_page_token)
    };
    let two = ListPostsRequest { page_size: 2, ..of(&ann) };
    let token = list(&bob, two.clone()).await.unwrap();
    let invalid = refused(Code::InvalidArgument, "INVALID_REQUEST", &["page_token INVALID_PAGE_TOKEN"]);
    for (by, request) in [(&ann, two.clone()), (&bob, of(&bob)), (&bob, ListPostsRequest::default())] {
        let request = ListPostsRequest { page_token: token.clone(), ..request };
        assert_eq!(refusal(list(by, request).await), invalid);
    }
    let next = ListPostsRequest { page_token: token, page_size: 50, ..two };
    assert_eq!(list(&bob, next).await.unwrap(), "");
    let broken = ListPostsRequest {
        author_id: "x".into(),
        tag: "Hot".into(),
        state: 9,
        page_size: -1,
        ..ListPostsRequest::default()
    };
    let expected =
        ["tag ONE_FILTER", "author_id INVALID_ID", "state UNKNOWN_ENUM_VALUE", "page_size NEGATIVE"];
    assert_eq!(
        refusal(list(&ann, broken).await),
        refused(Code::InvalidArgument, "INVALID_REQUEST", &expected)
    );
    let everybodys = in_state(State::Draft, ListPostsRequest::default());
    let expected = refused(Code::InvalidArgument, "INVALID_REQUEST", &["state AUTHOR_REQUIRED"]);
    assert_eq!(refusal(list(&ann, everybodys).await), expected);
}

/// Posts of one author, all with one tag and in one category, in each state; many have the same time.
async fn give(harness: &Harness, author: &Person, count: i64) {
    let post = |number: i64| {
        let state = ["draft", "published", "archived"][usize::try_from(number % 3).unwrap()];
        let time = DateTime::from_millis(1_700_000_000_000 + number / 9);
        let mut post = doc! {
            "_id": bson::Uuid::from(Uuid::now_v7()),
            "author_id": bson::Uuid::parse_str(&author.id).unwrap(),
            "title": "Tea",
            "body": "Water",
            "category": "drinks",
            "tags": ["hot", "green"],
            "state": state,
            "version": 1_i64,
            "create_time": time,
            "update_time": time,
        };
        if state != "draft" {
            post.insert("publish_time", time);
        }
        post
    };
    harness.database.collection::<Document>("post").insert_many((0..count).map(post)).await.unwrap();
}

#[tokio::test]
async fn posts_of_one_moment_are_neither_lost_nor_repeated_between_pages() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    give(&harness, &ann, 90).await;
    for state in [State::Draft, State::Published, State::Archived] {
        let all = posts(pages(&ann.caller, in_state(state, of(&ann)), 50).await);
        assert_eq!(all.len(), 30);
        let key = |post: &Post| (post.publish_time.map(|time| (time.seconds, time.nanos)), post.id.clone());
        assert!(all.is_sorted_by(|one, next| key(one) > key(next)));
        for size in [1, 2, 7] {
            assert_eq!(posts(pages(&ann.caller, in_state(state, of(&ann)), size).await), all, "by {size}");
        }
    }
}

/// Numbers of a plan, wherever they are in it.
fn largest(plan: &Bson, name: &str) -> i64 {
    match plan {
        Bson::Document(document) => {
            let inner = document.iter().map(|(key, value)| {
                if key == name {
                    value.as_i64().or_else(|| value.as_i32().map(i64::from)).unwrap_or(0)
                } else {
                    largest(value, name)
                }
            });
            inner.max().unwrap_or(0)
        }
        Bson::Array(values) => values.iter().map(|value| largest(value, name)).max().unwrap_or(0),
        _ => 0,
    }
}

/// Claim: a page costs what is on it, however many posts there are: no list reads more keys or documents than twice its rows
/// and twenty, at its beginning or behind.
#[tokio::test]
async fn a_page_costs_what_is_on_it() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let id = bson::Uuid::parse_str(&ann.id).unwrap();
    let mut given = 0;
    for count in [900, 9_000] {
        give(&harness, &ann, count - given).await;
        given = count;
        let behind = |time: DateTime, id: bson::Uuid| {
            doc! {
                "publish_time": { "$lte": time },
                "$or": [{ "publish_time": { "$lt": time } }, { "publish_time": time, "_id": { "$lt": id } }],
            }
        };
        let middle = harness
            .database
            .collection::<Document>("post")
            .find_one(doc! { "state": "published" })
            .sort(doc! { "publish_time": -1, "_id": -1 })
            .skip(u64::try_from(count / 6).unwrap())
            .await
            .unwrap()
            .unwrap();
        let time = *middle.get_datetime("publish_time").unwrap();
        let place: bson::Uuid = bson::deserialize_from_bson(middle.get("_id").cloned().unwrap()).unwrap();
        let by_time = || doc! { "publish_time": -1, "_id": -1 };
        let mut lists = Vec::new();
        for (index, filter) in [
            ("listed", doc! { "state": "published" }),
            ("author_listed", doc! { "author_id": id, "state": "published" }),
            ("author_listed", doc! { "author_id": id, "state": "archived" }),
            ("tag_listed", doc! { "tags": "hot", "state": "published" }),
            ("category_listed", doc! { "category": "drinks", "state": "published" }),
        ] {
            let mut next = filter.clone();
            next.extend(behind(time, place));
            lists.extend([(index, filter, by_time()), (index, next, by_time())]);
        }
        let drafts = doc! { "author_id": id, "state": "draft" };
        let mut next = drafts.clone();
        next.insert("_id", doc! { "$lt": place });
        let by_id = || doc! { "_id": -1 };
        lists.extend([("author_drafts", drafts, by_id()), ("author_drafts", next.clone(), by_id())]);
        for (index, filter, sort) in lists {
            // The stand-in for MongoDB puts no bounds on an id behind another field: it walks over the pages before.
            let is_walked = filter == next;
            let find = doc! {
                "find": "post",
                "filter": filter.clone(),
                "projection": { "body": 0 },
                "sort": sort,
                "limit": 51_i64,
                "hint": index,
            };
            let explain = doc! { "explain": find, "verbosity": "executionStats" };
            let plan = harness.database.run_command(explain).await.unwrap();
            let text = plan.to_string();
            assert!(!text.contains("COLLSCAN") && !text.contains("\"SORT\""), "{filter}: {text}");
            assert!(text.contains(&format!("\"indexName\": \"{index}\"")), "{filter}: {text}");
            let stats = plan.get("executionStats").unwrap();
            for numbers in ["totalKeysExamined", "totalDocsExamined"] {
                let examined = largest(stats, numbers);
                let is_bounded = (1..=2 * 51 + 20).contains(&examined);
                assert!(is_walked || is_bounded, "{filter} {numbers} {examined}: {text}");
            }
        }
    }
}
