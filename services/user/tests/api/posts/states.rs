//! Drafts, publishing, archiving, deleting; and for whom a post is there.

use api::user::v1::post::State;
use api::user::v1::{
    DeletePostRequest, GetPostBySlugRequest, GetPostRequest, Post, PostArchived, PostCreated, PostDeleted,
    PostLabels, PostPublished, PostUpdated,
};
use futures_util::future::join_all;
use testkit::client::request_id;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;

fn labels(post: &Post) -> PostLabels {
    PostLabels {
        slug: post.slug.clone(),
        category: post.category.clone(),
        tags: post.tags.clone(),
        state: post.state,
    }
}

#[tokio::test]
async fn a_draft_is_published_archived_and_published_again_with_its_first_time() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let request = CreatePostRequest { category: "drinks".into(), tags: vec!["hot".into()], ..draft() };
    let (written, _) = write(&ann, request).await.unwrap();
    assert_eq!((written.state(), written.publish_time), (State::Draft, None));
    let created: PostCreated = last_event(&harness, "user.v1.PostCreated").await;
    assert_eq!((created.author_id, created.labels), (ann.id.clone(), Some(labels(&written))));

    let (post, _) = publish(&ann, &written).await.unwrap();
    assert_eq!((post.state(), &*post.etag), (State::Published, "2"));
    assert_eq!(post.publish_time, post.update_time);
    let told: PostPublished = last_event(&harness, "user.v1.PostPublished").await;
    assert_eq!((told.labels, told.is_first), (Some(labels(&post)), true));

    let (archived, _) = archive(&ann, &post).await.unwrap();
    let expected = Post {
        state: State::Archived.into(),
        etag: "3".into(),
        update_time: archived.update_time,
        ..post.clone()
    };
    assert_eq!(archived, expected);
    let told: PostArchived = last_event(&harness, "user.v1.PostArchived").await;
    assert_eq!(told.labels, Some(labels(&archived)));

    let (again, _) = publish(&ann, &archived).await.unwrap();
    assert_eq!((again.state(), again.publish_time), (State::Published, post.publish_time));
    let told: PostPublished = last_event(&harness, "user.v1.PostPublished").await;
    assert!(!told.is_first);
    assert_eq!(read(&ann, &again).await, again);
}

#[tokio::test]
async fn what_a_state_does_not_allow_is_refused_with_what_it_does() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let (post, _) = write(&ann, draft()).await.unwrap();
    let invalid = || refused(Code::FailedPrecondition, "INVALID_STATE", &[&format!("posts/{}", post.id)]);
    let status = archive(&ann, &post).await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!((&*info.metadata["state"], &*info.metadata["allowed"]), ("DRAFT", "PublishPost, DeletePost"));
    assert_eq!(refusal(Err::<(), _>(status)), invalid());
    publish(&ann, &post).await.unwrap();
    assert_eq!(refusal(publish(&ann, &post).await), invalid());
    archive(&ann, &post).await.unwrap();
    assert_eq!(refusal(archive(&ann, &post).await), invalid());
    assert_eq!(
        (harness.events("user.v1.PostPublished").await, harness.events("user.v1.PostArchived").await),
        (1, 1)
    );
}

#[tokio::test]
async fn drafts_and_archived_posts_are_there_for_their_author_admins_and_order_service_only() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let (draft, _) = write(&ann, draft()).await.unwrap();
    let (archived, _) =
        write(&ann, CreatePostRequest { title: "Old tea".into(), ..published() }).await.unwrap();
    let (archived, _) = archive(&ann, &archived).await.unwrap();
    for post in [&draft, &archived] {
        let by_id = || GetPostRequest { post_id: post.id.clone() };
        let by_slug = || GetPostBySlugRequest { slug: post.slug.clone() };
        for reader in [&ann.caller, &admin.caller, &harness.order_service()] {
            let found = reader.posts().get_post(by_id()).await.unwrap().into_inner().post.unwrap();
            assert_eq!(uncounted(found), *post);
            let found = reader.posts().get_post_by_slug(by_slug()).await.unwrap().into_inner().post.unwrap();
            assert_eq!(uncounted(found), *post);
        }
        assert_eq!(refusal(bob.caller.posts().get_post(by_id()).await), not_found(&post.id));
        assert_eq!(refusal(bob.caller.posts().get_post_by_slug(by_slug()).await), not_found(&post.slug));
        // Nor does any other call tell that it is there.
        assert_eq!(refusal(update(&bob, renaming(post, "Mine")).await), not_found(&post.id));
        assert_eq!(refusal(publish(&bob, post).await), not_found(&post.id));
        assert_eq!(refusal(archive(&bob, post).await), not_found(&post.id));
        assert_eq!(refusal(delete(&bob, post).await), not_found(&post.id));
        assert_eq!(refusal(hand_over(&bob, handing(post, &admin)).await), not_found(&post.id));
        let denied = refused(Code::PermissionDenied, "NOT_POST_AUTHOR", &[]);
        assert_eq!(refusal(hand_over(&admin, handing(post, &bob)).await), denied);
    }
    publish(&admin, &draft).await.unwrap();
    assert!(look(&bob, &draft.id).await.is_ok());
    let denied = refused(Code::PermissionDenied, "NOT_POST_AUTHOR", &[]);
    assert_eq!(refusal(archive(&bob, &draft).await), denied);
    assert_eq!(refusal(delete(&bob, &draft).await), denied);
}

#[tokio::test]
async fn a_draft_that_is_handed_over_stays_one() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let (post, _) = write(&ann, draft()).await.unwrap();
    let (handed, _) = hand_over(&ann, handing(&post, &bob)).await.unwrap();
    assert_eq!((handed.state(), &handed.slug), (State::Draft, &post.slug));
    assert_eq!(read(&bob, &post).await, handed);
    assert_eq!(refusal(look(&ann, &post.id).await), not_found(&post.id));
    assert_eq!(refusal(hand_over(&ann, handing(&post, &bob)).await), not_found(&post.id));
    assert_counts(&harness, &[&ann, &bob]).await;
}

#[tokio::test]
async fn a_deleted_post_is_gone_for_everybody_and_from_the_count() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    for wish in [draft(), CreatePostRequest { title: "Coffee".into(), ..published() }] {
        let (post, _) = write(&ann, wish.clone()).await.unwrap();
        let request =
            DeletePostRequest { request_id: request_id(), post_id: post.id.clone(), etag: post.etag.clone() };
        let stale = DeletePostRequest { etag: "7".into(), request_id: request_id(), ..request.clone() };
        let expected = refused(Code::Aborted, "VERSION_MISMATCH", &[&format!("post {}", post.id)]);
        assert_eq!(refusal(ann.caller.posts().delete_post(stale).await), expected);
        let calls = (0..8).map(|_| async { ann.caller.posts().delete_post(request.clone()).await });
        let answers = join_all(calls).await;
        assert_eq!(answers.iter().filter(|answer| !is_replay(answer.as_ref().unwrap())).count(), 1);
        assert!(is_replay(&ann.caller.posts().delete_post(request).await.unwrap()));
        for reader in [&ann, &admin] {
            assert_eq!(refusal(look(reader, &post.id).await), not_found(&post.id));
            assert_eq!(refusal(delete(reader, &post).await), not_found(&post.id));
            assert_eq!(refusal(publish(reader, &post).await), not_found(&post.id));
            let by_slug = GetPostBySlugRequest { slug: post.slug.clone() };
            assert_eq!(refusal(reader.caller.posts().get_post_by_slug(by_slug).await), not_found(&post.slug));
        }
        let told: PostDeleted = last_event(&harness, "user.v1.PostDeleted").await;
        assert_eq!((told.post_id, told.labels), (post.id.clone(), Some(labels(&post))));
        // The repeat of the call that wrote it hears what it heard first.
        assert_eq!(write(&ann, wish).await.unwrap(), (post, true));
    }
    assert_eq!(harness.events("user.v1.PostDeleted").await, 2);
    assert_counts(&harness, &[&ann]).await;
    assert_eq!(harness.user(&ann.id).await.post_count, 0);
}

/// Also of an author who cannot log in any more.
#[tokio::test]
async fn an_admin_deletes_a_post_of_somebody_who_is_deactivated() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let (post, _) = write(&ann, published()).await.unwrap();
    let gone =
        DeactivateUserRequest { request_id: request_id(), user_id: ann.id.clone(), ..Default::default() };
    ann.caller.users().deactivate_user(gone).await.unwrap();
    assert!(!delete(&admin, &post).await.unwrap());
    assert_counts(&harness, &[&ann]).await;
}

#[tokio::test]
async fn of_two_who_move_a_post_at_once_one_is_told_that_it_is_moved() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let (post, _) = write(&ann, draft()).await.unwrap();
    let outcomes = join_all((0..8).map(|_| publish(&ann, &post))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        assert_eq!(refusal(outcome).1, "INVALID_STATE");
    }
    assert_eq!((&*read(&ann, &post).await.etag, harness.events("user.v1.PostPublished").await), ("2", 1));
}

#[tokio::test]
async fn an_update_says_what_a_post_was_found_by_before() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let request = CreatePostRequest {
        category: "drinks".into(),
        tags: vec!["hot".into(), "green".into()],
        excerpt: "In short.".into(),
        ..published()
    };
    let (before, _) = write(&ann, request).await.unwrap();
    assert_eq!((&*before.category, &*before.excerpt), ("drinks", "In short."));
    let to = Post { tags: vec!["cold".into(), "hot".into()], ..Post::default() };
    let (after, _) = update(&ann, changing(&before, &["tags", "category", "excerpt"], to)).await.unwrap();
    let expected = Post {
        tags: vec!["cold".into(), "hot".into()],
        category: String::new(),
        excerpt: String::new(),
        etag: "2".into(),
        update_time: after.update_time,
        ..before.clone()
    };
    assert_eq!(after, expected);
    assert_eq!(read(&ann, &after).await, expected);
    let told: PostUpdated = last_event(&harness, "user.v1.PostUpdated").await;
    assert_eq!((told.labels, told.labels_before), (Some(labels(&after)), Some(labels(&before))));
}
