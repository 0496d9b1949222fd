//! Changing what a user says of themselves: who may, what is kept, and who sees it.

use api::update_mask::FieldMask;
use api::user::v1::{Location, Profile, UpdateUserRequest, User, UserUpdated};
use bson::{Document, doc};
use futures_util::future::join_all;
use testkit::client::request_id;
use tonic::{Code, Response, Status};

use super::{change_role, deactivate, deactivation, get, payloads, uncounted};
use crate::harness::{Harness, Person, is_replay, refusal, refused};

pub(super) fn update(id: &str, paths: &[&str], user: User) -> UpdateUserRequest {
    UpdateUserRequest {
        request_id: request_id(),
        user_id: id.to_owned(),
        user: Some(user),
        update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        etag: String::new(),
    }
}

pub(super) fn named(username: &str) -> User {
    User { username: username.to_owned(), ..User::default() }
}

fn with_profile(profile: Profile) -> User {
    User { profile: Some(profile), ..User::default() }
}

async fn answer(by: &Person, request: UpdateUserRequest) -> Result<(User, bool), Status> {
    let response: Response<_> = by.caller.users().update_user(request).await?;
    Ok((response.get_ref().user.clone().unwrap(), is_replay(&response)))
}

pub(super) async fn updated(by: &Person, request: UpdateUserRequest) -> User {
    answer(by, request).await.unwrap().0
}

/// Claims a username for the caller.
pub(super) async fn claim(who: &Person, username: &str) -> Result<User, Status> {
    Ok(answer(who, update(&who.id, &["username"], named(username))).await?.0)
}

fn everything() -> Profile {
    Profile {
        given_name: "Ann".to_owned(),
        family_name: "Lee".to_owned(),
        full_name: "Ann Lee".to_owned(),
        bio: "Tea.\r\nMore tea.".to_owned(),
        avatar_url: "https://example.com/ann.png".to_owned(),
        twitter: "https://x.com/ann".to_owned(),
        facebook: "https://facebook.com/ann".to_owned(),
        linkedin: "https://linkedin.com/in/ann".to_owned(),
        location: Some(Location { longitude_e7: 1_396_900_000, latitude_e7: 356_900_000 }),
        location_shared: true,
    }
}

fn taken() -> (Code, String, Vec<String>) {
    refused(Code::AlreadyExists, "USERNAME_TAKEN", &["user "])
}

#[tokio::test]
async fn what_the_mask_names_changes_and_nothing_else() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let before = uncounted(harness.user(&ann.id).await);
    let profile = everything();
    let wish = User { display_name: "Anna".to_owned(), ..with_profile(profile.clone()) };
    let whole = updated(&ann, update(&ann.id, &["profile"], wish)).await;
    assert_eq!(whole.profile.as_ref(), Some(&profile));
    assert_eq!((whole.display_name.as_str(), whole.etag.as_str(), whole.version), ("Ann", "2", 2));
    assert_eq!(uncounted(get(&ann, &ann.id).await), whole);

    let wish =
        with_profile(Profile { bio: String::new(), given_name: "Anna".to_owned(), ..Profile::default() });
    let less = updated(&ann, update(&ann.id, &["profile.bio", "profile.location"], wish)).await;
    let expected = Profile { bio: String::new(), location: None, ..profile };
    assert_eq!(less.profile, Some(expected));

    let gone = updated(&ann, update(&ann.id, &["profile"], User::default())).await;
    assert_eq!(gone.profile, None, "all of it was named, and empty");
    let wish = User { display_name: "Anna".to_owned(), ..named("anna42") };
    let last = updated(&ann, update(&ann.id, &["display_name", "username"], wish)).await;
    let times = (before.update_time, last.update_time);
    let expected = User {
        display_name: "Anna".to_owned(),
        username: "anna42".to_owned(),
        etag: "5".to_owned(),
        version: 5,
        update_time: times.1,
        auth_epoch: 0,
        ..before
    };
    assert_eq!(last, expected);
    let told: Vec<_> =
        payloads::<UserUpdated>(&harness).await.into_iter().map(|told| told.display_name).collect();
    assert_eq!(told, ["Ann", "Ann", "Ann", "Anna"]);
}

#[tokio::test]
async fn a_location_is_rounded_and_is_for_others_only_when_it_is_shared() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let at = |longitude_e7, latitude_e7| Some(Location { longitude_e7, latitude_e7 });
    for (given, kept) in [
        (at(1_396_917_061, 356_894_875), at(1_396_900_000, 356_900_000)),
        (at(1_800_000_000, 0), at(-1_800_000_000, 0)),
        (at(-1_799_950_000, 0), at(-1_800_000_000, 0)),
        (at(1_234_567_890, 900_000_000), at(0, 900_000_000)),
        (at(0, 0), at(0, 0)),
    ] {
        let wish = with_profile(Profile { location: given, ..Profile::default() });
        let own = updated(&ann, update(&ann.id, &["profile.location"], wish)).await;
        assert_eq!(own.profile.unwrap().location, kept);
        assert_eq!(get(&ann, &ann.id).await.profile.unwrap().location, kept);
    }
    for viewer in [&bob, &admin] {
        assert_eq!(get(viewer, &ann.id).await.profile.unwrap_or_default().location, None);
    }
    assert_eq!(harness.user(&ann.id).await.profile.unwrap_or_default().location, None, "not for services");
    let share = with_profile(Profile { location_shared: true, ..Profile::default() });
    updated(&ann, update(&ann.id, &["profile.location_shared"], share)).await;
    assert_eq!(get(&bob, &ann.id).await.profile.unwrap().location, at(0, 0));
    let rows = harness.database.collection::<Document>("user");
    let stored = rows.find_one(doc! { "profile.location.type": "Point" }).await.unwrap().unwrap();
    let stored = stored.get_document("profile").unwrap().get_document("location").unwrap().clone();
    assert_eq!(stored, doc! { "type": "Point", "coordinates": [0.0, 0.0] });
}

#[tokio::test]
async fn a_username_is_its_first_owners_for_ever() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    assert_eq!(claim(&ann, "Paul").await.unwrap().username, "Paul");
    for alike in ["Paul", "pAUL", "PauI", "pau1", "Раul"] {
        let outcome = claim(&bob, alike).await;
        if alike == "Раul" {
            let mixed = refused(Code::InvalidArgument, "INVALID_REQUEST", &["user.username CONFUSABLE"]);
            assert_eq!(refusal(outcome), mixed);
        } else {
            assert_eq!(refusal(outcome), taken(), "{alike}");
        }
    }
    // Another spelling of one's own, then another name, then none: what was claimed stays claimed.
    assert_eq!(claim(&ann, "PAUL").await.unwrap().username, "PAUL");
    claim(&ann, "Anna").await.unwrap();
    assert_eq!(claim(&ann, "").await.unwrap().username, "");
    for theirs in ["paul", "anna"] {
        assert_eq!(refusal(claim(&bob, theirs).await), taken(), "{theirs}");
    }
    assert_eq!(claim(&ann, "paul").await.unwrap().username, "paul", "its owner may come back to it");
    assert_eq!(claim(&bob, "bob").await.unwrap().username, "bob");
    let users = harness.database.collection::<Document>("user");
    users.delete_one(doc! { "_id": bson::Uuid::parse_str(&ann.id).unwrap() }).await.unwrap();
    assert_eq!(refusal(claim(&bob, "paul").await), taken(), "also when its owner is gone");
}

/// Without the claims both would have it: neither writes what the other has read.
#[tokio::test]
async fn of_many_who_claim_one_username_at_once_one_has_it() {
    let harness = Harness::start().await;
    let people = [harness.customer().await, harness.customer().await, harness.customer().await];
    for (round, spellings) in [["maya", "Maya", "MAYA"], ["rnark", "mark", "Mark"]].into_iter().enumerate() {
        let claims = people.iter().zip(spellings).map(|(who, username)| claim(who, username));
        let outcomes = join_all(claims).await;
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(won, 1, "round {round}: {outcomes:?}");
        for outcome in outcomes.into_iter().filter(Result::is_err) {
            assert_eq!(refusal(outcome), taken());
        }
    }
}

#[tokio::test]
async fn to_others_a_user_is_not_there_to_be_changed_and_an_admin_changes_any() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let missing = "01920000-0000-7000-8000-000000000001";
    for id in [&ann.id, missing] {
        let outcome = answer(&bob, update(id, &["username"], named("anna"))).await;
        assert_eq!(refusal(outcome), refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {id}")]));
    }
    let seen = updated(&admin, update(&ann.id, &["username"], named("anna"))).await;
    assert_eq!((seen.username.as_str(), seen.email == ann.email), ("anna", true));
    deactivate(&admin, deactivation(&ann.id)).await.unwrap();
    let outcome = answer(&admin, update(&ann.id, &["username"], named("ann"))).await;
    let subject = format!("users/{}", ann.id);
    assert_eq!(refusal(outcome), refused(Code::FailedPrecondition, "USER_DEACTIVATED", &[&subject]));
}

#[tokio::test]
async fn a_repeat_and_a_stale_etag_change_nothing() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let request = update(&ann.id, &["username"], named("anna"));
    let first = answer(&ann, request.clone()).await.unwrap();
    claim(&ann, "other").await.unwrap();
    assert_eq!(answer(&ann, request.clone()).await.unwrap(), (first.0.clone(), true));
    let other = UpdateUserRequest { user: Some(named("annb")), ..request };
    let reused = refused(Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
    assert_eq!(refusal(answer(&ann, other).await), reused);
    let stale = UpdateUserRequest { etag: first.0.etag, ..update(&ann.id, &["username"], named("annc")) };
    let mismatch = refused(Code::Aborted, "VERSION_MISMATCH", &[&format!("user {}", ann.id)]);
    assert_eq!(refusal(answer(&ann, stale.clone()).await), mismatch);
    assert_eq!(harness.count("username", doc! { "_id": "annc" }).await, 0, "a refusal claims nothing");
    // What others change of the user is not undone by who has read it before.
    change_role(&admin, super::change(&ann.id, api::auth::v1::Role::Merchant)).await.unwrap();
    let now = UpdateUserRequest { etag: harness.user(&ann.id).await.etag, ..stale };
    assert_eq!(updated(&ann, now).await.role(), api::auth::v1::Role::Merchant);
}

/// A version that writes the whole document, as releases before did, takes away what it does not know.
#[tokio::test]
async fn a_change_leaves_alone_what_it_does_not_know() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    updated(
        &ann,
        update(&ann.id, &["profile", "username"], User { profile: Some(everything()), ..named("anna") }),
    )
    .await;
    let id = bson::Uuid::parse_str(&ann.id).unwrap();
    let users = harness.database.collection::<Document>("user");
    let noted = doc! { "$set": { "last_login_time": bson::DateTime::from_millis(1) } };
    users.update_one(doc! { "_id": id }, noted).await.unwrap();
    let command = doc! { "collMod": "user", "validationLevel": "off" };
    harness.database.run_command(command).await.unwrap();
    users.update_one(doc! { "_id": id }, doc! { "$set": { "later": "unknown" } }).await.unwrap();
    change_role(&admin, super::change(&ann.id, api::auth::v1::Role::Merchant)).await.unwrap();
    claim(&ann, "annb").await.unwrap();
    deactivate(&admin, deactivation(&ann.id)).await.unwrap();
    let row = users.find_one(doc! { "_id": id }).await.unwrap().unwrap();
    assert_eq!(row.get_str("later").unwrap(), "unknown");
    assert_eq!(row.get_str("username").unwrap(), "annb");
    assert_eq!(row.get_datetime("last_login_time").unwrap().timestamp_millis(), 1);
    assert_eq!(harness.user(&ann.id).await.profile, Some(everything()));
}
