//! Slugs: where they come from, that two posts never have one, and that they stay.

use api::user::v1::{GetPostBySlugRequest, Post};
use futures_util::future::join_all;
use tonic::{Code, Status};

use super::*;

async fn find(reader: &Person, slug: &str) -> Result<Post, Status> {
    let request = GetPostBySlugRequest { slug: slug.to_owned() };
    Ok(uncounted(reader.caller.posts().get_post_by_slug(request).await?.into_inner().post.unwrap()))
}

fn titled(title: &str) -> CreatePostRequest {
    CreatePostRequest { title: title.into(), ..published() }
}

fn slugged(slug: &str) -> CreatePostRequest {
    CreatePostRequest { slug: slug.into(), ..published() }
}

fn taken(slug: &str) -> (Code, String, Vec<String>) {
    refused(Code::AlreadyExists, "SLUG_TAKEN", &[&format!("post_slug {slug}")])
}

#[tokio::test]
async fn a_slug_comes_from_the_title_else_it_is_the_id() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    for (title, slug) in [
        ("How I brew tea", Some("how-i-brew-tea")),
        ("How I brew, tea!", None),
        ("東京の朝", Some("東京の朝")),
        ("\u{2764}\u{fe0f}", None),
        ("01920000-0000-7000-8000-000000000001", None),
    ] {
        let (post, _) = write(&ann, titled(title)).await.unwrap();
        assert_eq!(post.slug, slug.unwrap_or(&post.id), "{title}");
        assert_eq!(find(&bob, &post.slug).await.unwrap(), post);
        // Whoever has a slug of its own is not found by the id as well.
        if slug.is_some() {
            assert_eq!(refusal(find(&bob, &post.id).await), not_found(&post.id));
        }
    }
    assert_eq!(refusal(find(&bob, "nobody-has-it").await), not_found("nobody-has-it"));
}

#[tokio::test]
async fn of_many_who_want_a_slug_at_once_one_has_it() {
    let harness = Harness::start().await;
    let people = join_all((0..8).map(|_| harness.customer())).await;
    let outcomes = join_all(people.iter().map(|person| write(person, slugged("green-tea")))).await;
    let won: Vec<&Post> = outcomes.iter().flatten().map(|(post, _)| post).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(find(&people[0], "green-tea").await.unwrap(), *won[0]);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(outcome), taken("green-tea"));
    }
    assert_counts(&harness, &people.iter().collect::<Vec<_>>()).await;
    // Of a title nobody is refused: one has the words, the others their ids.
    let posts = join_all(people.iter().map(|person| write(person, titled("Black tea")))).await;
    let posts: Vec<Post> = posts.into_iter().map(|outcome| outcome.unwrap().0).collect();
    assert_eq!(posts.iter().filter(|post| post.slug == "black-tea").count(), 1);
    assert_eq!(posts.iter().filter(|post| post.slug == post.id).count(), 7);
    assert_eq!(harness.count("post_slug", doc! {}).await, 2);
}

#[tokio::test]
async fn the_slug_of_a_draft_changes_and_is_free_again() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let (draft, _) = write(&ann, draft()).await.unwrap();
    assert_eq!(draft.slug, "tea");
    assert_eq!(refusal(write(&bob, slugged("tea")).await), taken("tea"));
    // Another title leaves it, unless it is to be made of the title again.
    let (renamed, _) = update(&ann, renaming(&draft, "Green tea")).await.unwrap();
    assert_eq!(renamed.slug, "tea");
    let (renamed, _) = update(&ann, changing(&draft, &["slug"], Post::default())).await.unwrap();
    assert_eq!(renamed.slug, "green-tea");
    assert_eq!(find(&ann, "green-tea").await.unwrap(), renamed);
    let (of_bob, _) = write(&bob, slugged("tea")).await.unwrap();
    assert_eq!(find(&ann, "tea").await.unwrap(), of_bob);
    let to = |slug: &str| changing(&draft, &["slug"], Post { slug: slug.into(), ..Post::default() });
    assert_eq!(refusal(update(&ann, to("tea")).await), taken("tea"));
    // Its own is no other's.
    assert_eq!(update(&ann, to("green-tea")).await.unwrap().0.slug, "green-tea");
    delete(&ann, &draft).await.unwrap();
    assert_eq!(write(&bob, slugged("green-tea")).await.unwrap().0.slug, "green-tea");
}

#[tokio::test]
async fn a_slug_under_which_a_post_was_published_stays_its_for_ever() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let (post, _) = write(&ann, published()).await.unwrap();
    let to = |slug: &str| changing(&post, &["slug"], Post { slug: slug.into(), ..Post::default() });
    let fixed = || refused(Code::FailedPrecondition, "INVALID_STATE", &[&format!("posts/{}", post.id)]);
    assert_eq!(refusal(update(&ann, to("other-tea")).await), fixed());
    assert_eq!(refusal(update(&ann, to("")).await), fixed());
    assert_eq!(update(&ann, to("tea")).await.unwrap().0.slug, "tea");
    archive(&ann, &post).await.unwrap();
    assert_eq!(refusal(update(&ann, to("other-tea")).await), fixed());
    delete(&ann, &post).await.unwrap();
    assert_eq!(refusal(write(&bob, slugged("tea")).await), taken("tea"));
    assert_eq!(refusal(find(&ann, "tea").await), not_found("tea"));
    let (another, _) = write(&bob, published()).await.unwrap();
    assert_eq!(another.slug, another.id, "nor is it made of a title");
}

#[tokio::test]
async fn what_is_in_no_form_of_a_slug_is_refused() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let request = CreatePostRequest {
        slug: "Green tea".into(),
        category: "two words".into(),
        tags: vec!["hot".into(), "hot".into(), "x".repeat(41), String::new()],
        excerpt: "x".repeat(501),
        ..published()
    };
    let broken = [
        "slug INVALID_SLUG",
        "excerpt TOO_LONG",
        "category INVALID_SLUG",
        "tags[1] DUPLICATE",
        "tags[2] TOO_LONG",
        "tags[3] REQUIRED",
    ];
    let expected = refused(Code::InvalidArgument, "INVALID_REQUEST", &broken);
    assert_eq!(refusal(write(&ann, request).await), expected);
    let many = CreatePostRequest { tags: (0..11).map(|tag| format!("t{tag}")).collect(), ..published() };
    let expected = refused(Code::InvalidArgument, "INVALID_REQUEST", &["tags TOO_MANY"]);
    assert_eq!(refusal(write(&ann, many).await), expected);
    let most = CreatePostRequest { tags: (0..10).map(|tag| format!("t{tag}")).collect(), ..published() };
    assert_eq!(write(&ann, most).await.unwrap().0.tags.len(), 10);
    let id = "01920000-0000-7000-8000-000000000001";
    let expected = refused(Code::InvalidArgument, "INVALID_REQUEST", &["slug INVALID_SLUG"]);
    assert_eq!(refusal(write(&ann, slugged(id)).await), expected);
    assert_eq!(refusal(find(&ann, "Tea").await), expected);
}
