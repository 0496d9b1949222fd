//! Lists of who follows whom.

use super::*;
use api::update_mask::FieldMask;
use api::user::v1::{Profile, ReactivateUserRequest, UpdateUserRequest, User};

/// Gives somebody a name to show, a name to be found by and a picture.
async fn introduce(person: &Person, name: &str) {
    let paths = ["display_name", "username", "profile.avatar_url", "profile.bio"];
    let request = UpdateUserRequest {
        request_id: request_id(),
        user_id: person.id.clone(),
        user: Some(User {
            display_name: name.to_owned(),
            username: name.to_lowercase(),
            profile: Some(Profile {
                avatar_url: format!("https://{}.example/me.png", name.to_lowercase()),
                bio: "Not for lists.".to_owned(),
                ..Profile::default()
            }),
            ..User::default()
        }),
        update_mask: Some(FieldMask { paths: paths.map(str::to_owned).to_vec() }),
        etag: String::new(),
    };
    person.caller.users().update_user(request).await.unwrap();
}

#[tokio::test]
async fn lists_go_from_the_newest_edge_to_the_oldest_page_by_page() {
    let harness = Harness::start().await;
    let (star, reader) = (harness.customer().await, harness.customer().await);
    let mut expected = Vec::new();
    for _ in 0..5 {
        let fan = harness.customer().await;
        follow(&fan, &star).await.unwrap();
        follow(&reader, &fan).await.unwrap();
        expected.insert(0, fan.id.clone());
    }
    assert_eq!(followers(&reader, &star.id, 0, "").await.unwrap().1, "", "all on one page");
    for size in 1..=6_usize {
        let page_size = i32::try_from(size).unwrap();
        let (mut fans, mut followees, mut tokens) = (Vec::new(), Vec::new(), [String::new(), String::new()]);
        loop {
            let (users, next) = followers(&reader, &star.id, page_size, &tokens[0]).await.unwrap();
            fans.extend(ids(&users).into_iter().map(str::to_owned));
            // Whose list it is may be left out.
            let (users, also_next) = followed_by(&reader, "", page_size, &tokens[1]).await.unwrap();
            followees.extend(ids(&users).into_iter().map(str::to_owned));
            assert_eq!(next.is_empty(), also_next.is_empty());
            assert!(fans.len().max(followees.len()) <= expected.len(), "nobody is there twice");
            tokens = [next, also_next];
            if tokens[0].is_empty() {
                break;
            }
        }
        assert_eq!((&fans, &followees), (&expected, &expected), "pages of {size}");
    }
    // Who follows now, in between, is before the page that comes next.
    let (page, token) = followers(&reader, &star.id, 2, "").await.unwrap();
    assert_eq!(ids(&page), expected[..2]);
    follow(&reader, &star).await.unwrap();
    assert_eq!(ids(&followers(&reader, &star.id, 2, &token).await.unwrap().0), expected[2..4]);
    assert_eq!(ids(&followers(&reader, &star.id, 1, "").await.unwrap().0), [reader.id.as_str()]);
    // The place of an edge that is gone is still a place.
    unfollow(&reader, &star).await.unwrap();
    assert_eq!(ids(&followers(&reader, &star.id, 2, &token).await.unwrap().0), expected[2..4]);
}

#[tokio::test]
async fn a_page_token_is_good_for_its_list_and_its_caller() {
    let harness = Harness::start().await;
    let (ann, ben, cid) = (harness.customer().await, harness.customer().await, harness.customer().await);
    for (one, other) in [(&ben, &ann), (&cid, &ann), (&ann, &ben), (&ann, &cid)] {
        follow(one, other).await.unwrap();
    }
    let token = followers(&ann, "", 1, "").await.unwrap().1;
    assert_eq!(
        ids(&followers(&ann, &ann.id, 1, &token).await.unwrap().0),
        [ben.id.as_str()],
        "the same list"
    );
    let invalid = refused(Code::InvalidArgument, "INVALID_REQUEST", &["page_token INVALID_PAGE_TOKEN"]);
    assert_eq!(refusal(followers(&ben, &ann.id, 1, &token).await), invalid, "another caller's");
    assert_eq!(refusal(followers(&ann, &ben.id, 1, &token).await), invalid, "another user's");
    assert_eq!(refusal(followed_by(&ann, "", 1, &token).await), invalid, "the other way");
    assert_eq!(refusal(followers(&ann, "", 1, &token[1..]).await), invalid);
    let negative = refused(Code::InvalidArgument, "INVALID_REQUEST", &["page_size NEGATIVE"]);
    assert_eq!(refusal(followers(&ann, "", -1, "").await), negative);
}

#[tokio::test]
async fn a_list_shows_who_is_active_and_of_the_others_that_they_are_there() {
    let harness = Harness::start().await;
    let (ann, ben, star) = (harness.customer().await, harness.customer().await, harness.customer().await);
    let admin = harness.admin().await;
    introduce(&ann, "Anneliese").await;
    introduce(&ben, "Benedict").await;
    follow(&ann, &star).await.unwrap();
    let edge = follow(&ben, &star).await.unwrap();
    let (page, _) = followers(&ann, &star.id, 0, "").await.unwrap();
    let shown = RelatedUser {
        user_id: ben.id.clone(),
        display_name: "Benedict".to_owned(),
        username: "benedict".to_owned(),
        avatar_url: "https://benedict.example/me.png".to_owned(),
        follow_time: edge.create_time,
    };
    assert_eq!(page[0], shown);
    deactivate(&ben).await;
    let hidden = RelatedUser { user_id: ben.id.clone(), follow_time: edge.create_time, ..Default::default() };
    for reader in [&ann, &admin] {
        let (page, _) = followers(reader, &star.id, 0, "").await.unwrap();
        assert_eq!((&page[0], page[1].display_name.as_str()), (&hidden, "Anneliese"));
    }
    // The lists of who is deactivated are read as they are themselves.
    assert_eq!(ids(&followed_by(&ann, &ben.id, 0, "").await.unwrap().0), [star.id.as_str()]);
    let back =
        ReactivateUserRequest { request_id: request_id(), user_id: ben.id.clone(), ..Default::default() };
    admin.caller.users().reactivate_user(back).await.unwrap();
    assert_eq!(followers(&ann, &star.id, 0, "").await.unwrap().0[0], shown);
}

#[tokio::test]
async fn services_read_lists_and_nobody_reads_that_of_nobody() {
    let harness = Harness::start().await;
    let (ann, ben) = (harness.customer().await, harness.customer().await);
    follow(&ann, &ben).await.unwrap();
    let missing = missing();
    assert_eq!(refusal(followers(&ann, &missing, 0, "").await), no_user(&missing));
    assert_eq!(refusal(followed_by(&ann, &missing, 0, "").await), no_user(&missing));
    for service in [harness.order_service(), harness.session_service()] {
        let request = ListFollowersRequest { user_id: ben.id.clone(), ..Default::default() };
        let page = service.relations().list_followers(request).await.unwrap().into_inner();
        assert_eq!(ids(&page.users), [ann.id.as_str()]);
        let of_nobody = service.relations().list_following(ListFollowingRequest::default()).await;
        let required = refused(Code::InvalidArgument, "INVALID_REQUEST", &["user_id REQUIRED"]);
        assert_eq!(refusal(of_nobody), required);
    }
}
