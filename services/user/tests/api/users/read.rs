//! Finding users: by name, by address, many at once; and reading no more of them than is wanted.

use api::update_mask::FieldMask;
use api::user::v1::{
    BatchGetUsersRequest, CreatePostRequest, GetUserByEmailRequest, GetUserByUsernameRequest, GetUserRequest,
    Location, Profile, User,
};
use bson::{Bson, Document, doc};
use testkit::client::request_id;
use tonic::{Code, Status};

use super::get;
use super::update::{claim, update, updated};
use crate::harness::{Harness, Person, refusal, refused};

const MISSING: [&str; 2] = ["01920000-0000-7000-8000-000000000001", "01920000-0000-7000-8000-000000000002"];

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}

async fn by_name(viewer: &Person, username: &str) -> Result<User, Status> {
    let request = GetUserByUsernameRequest { username: username.to_owned(), read_mask: None };
    let answer = viewer.caller.users().get_user_by_username(request).await?;
    Ok(answer.into_inner().user.unwrap())
}

async fn by_email(viewer: &Person, email: &str) -> Result<User, Status> {
    let request = GetUserByEmailRequest { email: email.to_owned(), read_mask: None };
    Ok(viewer.caller.users().get_user_by_email(request).await?.into_inner().user.unwrap())
}

async fn many(viewer: &Person, ids: &[&str], paths: &[&str]) -> Result<Vec<User>, Status> {
    let user_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    let request = BatchGetUsersRequest { user_ids, read_mask: mask(paths) };
    Ok(viewer.caller.users().batch_get_users(request).await?.into_inner().users)
}

fn nobody() -> (Code, String, Vec<String>) {
    refused(Code::NotFound, "USER_NOT_FOUND", &["user "])
}

#[tokio::test]
async fn a_user_is_found_by_the_present_username_in_any_case_and_by_nothing_that_looks_like_it() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    claim(&ann, "Mark").await.unwrap();
    for spelling in ["Mark", "mark", "MARK"] {
        assert_eq!(by_name(&bob, spelling).await.unwrap(), get(&bob, &ann.id).await, "{spelling}");
    }
    assert_eq!(by_name(&ann, "mark").await.unwrap(), get(&ann, &ann.id).await, "with all that is one's own");
    for other in ["rnark", "marc", "mark1"] {
        assert_eq!(refusal(by_name(&bob, other).await), nobody(), "{other}");
    }
    claim(&ann, "Anna").await.unwrap();
    assert_eq!(refusal(by_name(&bob, "mark").await), nobody(), "it is still hers, and she has another");
    assert_eq!(by_name(&bob, "anna").await.unwrap().id, ann.id);
    claim(&ann, "").await.unwrap();
    assert_eq!(refusal(by_name(&bob, "anna").await), nobody());
}

#[tokio::test]
async fn only_admins_and_services_find_a_user_by_address() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let found = by_email(&admin, &ann.email.to_uppercase()).await.unwrap();
    assert_eq!(found, get(&admin, &ann.id).await);
    let request = GetUserByEmailRequest { email: ann.email.clone(), read_mask: None };
    let service = harness.order_service().users().get_user_by_email(request).await.unwrap();
    assert_eq!(service.into_inner().user.unwrap(), harness.user(&ann.id).await);
    assert_eq!(refusal(by_email(&admin, "nobody@example.com").await), nobody());
    let denied = refused(Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    assert_eq!(refusal(by_email(&ann, &ann.email).await), denied);
}

#[tokio::test]
async fn many_users_come_in_the_order_of_their_ids_each_as_the_caller_may_see_them() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let ids = [bob.id.as_str(), &admin.id, &ann.id];
    for viewer in [&ann, &admin] {
        let mut expected = Vec::new();
        for id in ids {
            expected.push(get(viewer, id).await);
        }
        assert_eq!(many(viewer, &ids, &[]).await.unwrap(), expected);
    }
    let emails: Vec<_> =
        many(&ann, &ids, &["email"]).await.unwrap().into_iter().map(|user| user.email).collect();
    assert_eq!(emails, ["", "", &ann.email]);

    let status = many(&ann, &[MISSING[1], &bob.id, MISSING[0]], &["id"]).await.unwrap_err();
    let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    assert_eq!(info.metadata["user_ids"], format!("{},{}", MISSING[1], MISSING[0]));
    let subject = format!("user {}", MISSING[1]);
    assert_eq!(refusal(Err::<(), _>(status)), refused(Code::NotFound, "USER_NOT_FOUND", &[&subject]));
    let invalid = |subjects: &[&str]| refused(Code::InvalidArgument, "INVALID_REQUEST", subjects);
    let twice = many(&ann, &[&bob.id, &bob.id], &[]).await;
    assert_eq!(refusal(twice), invalid(&["user_ids[1] DUPLICATE"]));
    assert_eq!(refusal(many(&ann, &[], &[]).await), invalid(&["user_ids REQUIRED"]));
    let ids: Vec<String> = (0..101).map(|_| uuid::Uuid::now_v7().to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(refusal(many(&ann, &ids, &[]).await), invalid(&["user_ids TOO_MANY"]));
    let all_missing = many(&ann, &ids[1..], &[]).await.unwrap_err();
    assert_eq!(refusal(Err::<(), _>(all_missing)).0, Code::NotFound, "also a hundred fit into an answer");
}

/// A version that forgets a field, or shows more than it was asked for or than the caller may see, is met here.
#[tokio::test]
async fn a_mask_gives_what_it_names_of_what_the_caller_may_see() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let profile = Profile {
        given_name: "Ann".to_owned(),
        family_name: "Lee".to_owned(),
        bio: "Tea".to_owned(),
        avatar_url: "https://example.com/ann.png".to_owned(),
        location: Some(Location { longitude_e7: 100_000, latitude_e7: 200_000 }),
        ..Profile::default()
    };
    let wish = User { profile: Some(profile), username: "ann42".to_owned(), ..User::default() };
    updated(&ann, update(&ann.id, &["profile", "username"], wish)).await;
    let pool = api::descriptor::pool().get_message_by_name("user.v1.User").unwrap();
    let names: Vec<String> = pool.fields().map(|field| field.name().to_owned()).collect();
    let read = async |viewer: &Person, paths: &[&str]| {
        let request = GetUserRequest { user_id: ann.id.clone(), read_mask: mask(paths) };
        viewer.caller.users().get_user(request).await.map(|answer| answer.into_inner().user.unwrap())
    };
    for viewer in [&ann, &bob] {
        let whole = get(viewer, &ann.id).await;
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(read(viewer, &all).await.unwrap(), whole, "all fields are everything");
        // Each field alone is as it is in the whole, and together they are the whole.
        let mut merged = Vec::new();
        for name in &all {
            let part = read(viewer, &[name]).await.unwrap();
            prost::Message::encode(&part, &mut merged).unwrap();
        }
        let merged: User = prost::Message::decode(merged.as_slice()).unwrap();
        assert_eq!(merged, whole);
    }
    let full_name = read(&bob, &["profile.full_name", "id"]).await.unwrap();
    let profile = Some(Profile { full_name: "Ann Lee".to_owned(), ..Profile::default() });
    assert_eq!(full_name, User { id: ann.id.clone(), profile, ..User::default() });
    let hidden = read(&bob, &["email", "profile.location", "order_statistics", "auth_epoch"]).await.unwrap();
    assert_eq!(User { profile: None, ..hidden.clone() }, User::default());
    assert_eq!(hidden.profile.unwrap_or_default(), Profile::default());
    let unknown = refused(Code::InvalidArgument, "INVALID_REQUEST", &["read_mask UNKNOWN_FIELD"]);
    assert_eq!(refusal(read(&bob, &["likes", "id"]).await), unknown);
}

/// The stages of the plan that won.
fn stages(plan: &Document, found: &mut Vec<String>) {
    found.extend(plan.get_str("stage").ok().map(str::to_owned));
    for (key, value) in plan {
        match value {
            Bson::Document(inner) if key != "rejectedPlans" && key != "parsedQuery" => stages(inner, found),
            Bson::Array(inner) if key != "rejectedPlans" => {
                inner.iter().filter_map(Bson::as_document).for_each(|inner| stages(inner, found));
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn users_are_looked_up_in_indexes() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    claim(&ann, "ann42").await.unwrap();
    let id = bson::Uuid::parse_str(&ann.id).unwrap();
    let projection = doc! { "_id": 1, "display_name": 1 };
    for (collection, filter) in [
        ("user", doc! { "email_key": &ann.email }),
        ("user", doc! { "_id": id }),
        ("user", doc! { "_id": { "$in": [id] } }),
        ("username", doc! { "_id": "ann42" }),
        ("order_statistics", doc! { "_id": { "$in": [id] } }),
    ] {
        let find = doc! { "find": collection, "filter": filter.clone(), "projection": projection.clone() };
        let explain = doc! { "explain": find, "verbosity": "executionStats" };
        let answer = harness.database.run_command(explain).await.unwrap();
        let mut found = Vec::new();
        stages(answer.get_document("queryPlanner").unwrap(), &mut found);
        let is_index = |stage: &String| ["IXSCAN", "IDHACK", "EXPRESS_IXSCAN"].contains(&stage.as_str());
        assert!(found.iter().any(is_index), "{collection} {filter}: {found:?}");
        assert!(!found.iter().any(|stage| stage == "COLLSCAN"), "{collection} {filter}: {found:?}");
    }
}

/// Posts are read where they are named and nowhere else.
#[tokio::test]
async fn with_a_user_come_the_ten_posts_that_were_published_last_if_they_are_asked_for() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    claim(&ann, "annlikestea").await.unwrap();
    let get = async |viewer: &Person, paths: &[&str]| {
        let request = GetUserRequest { user_id: ann.id.clone(), read_mask: mask(paths) };
        viewer.caller.users().get_user(request).await.unwrap().into_inner().user.unwrap()
    };
    assert_eq!(get(&bob, &["recent_posts"]).await, User::default());
    for number in 0..12 {
        let request = CreatePostRequest {
            request_id: request_id(),
            title: format!("Tea {number}"),
            body: "Water.".to_owned(),
            excerpt: "Leaves.".to_owned(),
            // One that nobody else may read.
            publish: number != 9,
            ..CreatePostRequest::default()
        };
        ann.caller.posts().create_post(request).await.unwrap();
    }
    for viewer in [&bob, &ann] {
        let user = get(viewer, &["display_name", "recent_posts"]).await;
        let titles: Vec<&str> = user.recent_posts.iter().map(|post| post.title.as_str()).collect();
        let expected = [11, 10, 8, 7, 6, 5, 4, 3, 2, 1].map(|number| format!("Tea {number}"));
        assert_eq!(titles, expected);
        let first = &user.recent_posts[0];
        assert_eq!((first.slug.as_str(), first.excerpt.as_str()), ("tea-11", "Leaves."));
        assert!(first.publish_time.is_some() && !first.id.is_empty());
        assert_eq!(
            user,
            User {
                recent_posts: user.recent_posts.clone(),
                display_name: "Ann".to_owned(),
                ..User::default()
            }
        );
        let request = GetUserByUsernameRequest {
            username: "annlikestea".to_owned(),
            read_mask: mask(&["recent_posts"]),
        };
        let named =
            viewer.caller.users().get_user_by_username(request).await.unwrap().into_inner().user.unwrap();
        assert_eq!(named.recent_posts, user.recent_posts);
        assert_eq!(get(viewer, &[]).await.recent_posts, []);
    }
    let unsupported = refused(Code::InvalidArgument, "INVALID_REQUEST", &["read_mask UNSUPPORTED_FIELD"]);
    assert_eq!(refusal(many(&bob, &[&ann.id], &["recent_posts"]).await), unsupported);
}
