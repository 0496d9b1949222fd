//! Deleting users: who may, what keeps one from it, and what others see afterwards.

use api::auth::v1::Role;
use api::common::v1::Money;
use api::order::v1::GetCustomerHoldingsResponse;
use api::update_mask::FieldMask;
use api::user::v1::{
    BatchGetUsersRequest, ChangeUserRoleRequest, DeactivateUserRequest, DeleteUserRequest,
    GetUserByEmailRequest, GetUserByUsernameRequest, GetUserRequest, ListPostsRequest, Profile,
    ReactivateUserRequest, ResetPasswordRequest, SnapshotUsersRequest, TransferAllPostsRequest,
    TransferPostRequest, UpdateUserRequest, User, UserDeleted, VerifyPasswordRequest, user,
};
use bson::doc;
use events::Direction;
use events::participant::{Outcome, Refusal, Step};
use futures_util::future::join;
use testkit::TestMongo;
use testkit::client::request_id;
use tonic::{Code, Status};
use types::UserId;

use super::payloads;
use crate::book::{Book, spec};
use crate::harness::{Harness, PASSWORD, Person, is_replay, refusal, refused, sign_up};
use crate::wallets::{grant, grant_of, is_to_be_repeated, rich, send, send_of, wallet_as};

/// More than one round needs for a sending to be between its look and its commit when the deletion is answered.
const ROUNDS: usize = 20;

pub(super) fn deletion(of: &Person) -> DeleteUserRequest {
    DeleteUserRequest {
        request_id: request_id(),
        user_id: of.id.clone(),
        password: PASSWORD.to_owned(),
        ..DeleteUserRequest::default()
    }
}

pub(super) async fn delete(by: &Person, request: DeleteUserRequest) -> Result<bool, Status> {
    Ok(is_replay(&by.caller.users().delete_user(request).await?))
}

/// Says something of oneself.
pub(super) async fn tell(person: &Person, user: User, paths: &[&str]) -> User {
    let request = UpdateUserRequest {
        request_id: request_id(),
        user_id: person.id.clone(),
        user: Some(user),
        update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        etag: String::new(),
    };
    person.caller.users().update_user(request).await.unwrap().into_inner().user.unwrap()
}

fn gone(person: &Person) -> (Code, String, Vec<String>) {
    refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {}", person.id)])
}

async fn get(by: &Person, id: &str) -> Result<User, Status> {
    let request = GetUserRequest { user_id: id.to_owned(), read_mask: None };
    Ok(by.caller.users().get_user(request).await?.into_inner().user.unwrap())
}

#[tokio::test]
async fn of_who_is_deleted_admins_and_services_see_that_and_nobody_else_sees_anything() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let profile = Profile { bio: "Tea.".to_owned(), ..Profile::default() };
    let told = User { username: "annlikestea".to_owned(), profile: Some(profile), ..User::default() };
    let before = tell(&ann, told, &["username", "profile.bio"]).await;
    let login = VerifyPasswordRequest { email: ann.email.clone(), password: PASSWORD.to_owned() };
    harness.session_service().users().verify_password(login.clone()).await.unwrap();

    let request = deletion(&ann);
    assert!(!delete(&ann, request.clone()).await.unwrap());
    let tombstone = harness.user(&ann.id).await;
    let expected = User {
        id: ann.id.clone(),
        role: Role::Customer.into(),
        state: user::State::Deleted.into(),
        create_time: before.create_time,
        update_time: tombstone.update_time,
        etag: "3".to_owned(),
        version: 3,
        auth_epoch: 2,
        order_statistics: Some(Default::default()),
        counts: Some(Default::default()),
        ..User::default()
    };
    assert_eq!(tombstone, expected);
    assert_eq!(get(&admin, &ann.id).await.unwrap(), User { auth_epoch: 0, ..expected.clone() });
    let snapshot = harness.order_service().users().snapshot_users(SnapshotUsersRequest {}).await;
    let mut pages = snapshot.unwrap().into_inner();
    let mut users = Vec::new();
    while let Some(page) = pages.message().await.unwrap() {
        users.extend(page.users);
    }
    let of_ann = users.into_iter().find(|user| user.id == ann.id).unwrap();
    let told = User { auth_epoch: 0, order_statistics: None, counts: None, ..expected.clone() };
    assert_eq!(of_ann, told, "read models are rebuilt with who is gone");
    let told = payloads::<UserDeleted>(&harness).await;
    assert_eq!(told, [UserDeleted { user_id: ann.id.clone(), auth_epoch: 2 }]);
    assert!(delete(&ann, request).await.unwrap(), "the first answer, while the session lives");
    let id = bson::Uuid::parse_str(&ann.id).unwrap();
    assert_eq!(harness.count("credential", doc! { "_id": id }).await, 0);

    for by in [&bob, &ann] {
        assert_eq!(refusal(get(by, &ann.id).await), gone(&ann));
    }
    let ids = BatchGetUsersRequest { user_ids: vec![bob.id.clone(), ann.id.clone()], read_mask: None };
    assert_eq!(refusal(bob.caller.users().batch_get_users(ids.clone()).await), gone(&ann));
    let both = admin.caller.users().batch_get_users(ids).await.unwrap().into_inner().users;
    assert_eq!(both[1].state(), user::State::Deleted);
    let by_name = GetUserByUsernameRequest { username: "annlikestea".to_owned(), read_mask: None };
    let by_email = GetUserByEmailRequest { email: ann.email.clone(), read_mask: None };
    let nobody = refused(Code::NotFound, "USER_NOT_FOUND", &["user "]);
    assert_eq!(refusal(admin.caller.users().get_user_by_username(by_name).await), nobody);
    assert_eq!(refusal(admin.caller.users().get_user_by_email(by_email).await), nobody);
    let late = harness.session_service().users().verify_password(login).await;
    assert_eq!(refusal(late), refused(Code::Unauthenticated, "INVALID_CREDENTIALS", &[]));
}

#[tokio::test]
async fn the_address_is_free_and_the_username_is_not() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    tell(&ann, User { username: "annlikestea".to_owned(), ..User::default() }, &["username"]).await;
    delete(&ann, deletion(&ann)).await.unwrap();
    delete(&bob, deletion(&bob)).await.unwrap();
    // Two who have no address any more are no two with one address.
    let new = harness.sign_up(sign_up(&ann.email)).await.unwrap().into_inner().user.unwrap();
    assert_ne!(new.id, ann.id);
    let new = harness.log_in(&new.id, &ann.email, Role::Customer);
    assert_eq!(get(&new, &new.id).await.unwrap().email, ann.email);
    let request = UpdateUserRequest {
        request_id: request_id(),
        user_id: new.id.clone(),
        user: Some(User { username: "AnnLikesTea".to_owned(), ..User::default() }),
        update_mask: Some(FieldMask { paths: vec!["username".to_owned()] }),
        etag: String::new(),
    };
    let taken = refused(Code::AlreadyExists, "USERNAME_TAKEN", &["user "]);
    assert_eq!(refusal(new.caller.users().update_user(request).await), taken);
}

#[tokio::test]
async fn who_deletes_the_own_account_knows_the_password_and_others_are_deleted_by_admins() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let wrong = DeleteUserRequest { password: "another evening".to_owned(), ..deletion(&ann) };
    let expected = refused(Code::Unauthenticated, "INVALID_CREDENTIALS", &[]);
    assert_eq!(refusal(delete(&ann, wrong).await), expected);
    let none = DeleteUserRequest { password: String::new(), ..deletion(&ann) };
    let expected = refused(Code::InvalidArgument, "INVALID_REQUEST", &["password REQUIRED"]);
    assert_eq!(refusal(delete(&ann, none.clone()).await), expected);
    assert_eq!(refusal(delete(&bob, deletion(&ann)).await), gone(&ann));
    let stale = DeleteUserRequest { etag: "7".to_owned(), ..deletion(&ann) };
    let expected = refused(Code::Aborted, "VERSION_MISMATCH", &[&format!("user {}", ann.id)]);
    assert_eq!(refusal(delete(&ann, stale).await), expected);
    assert_eq!(harness.user(&ann.id).await.state(), user::State::Active);

    let deactivation =
        DeactivateUserRequest { request_id: request_id(), user_id: ann.id.clone(), etag: String::new() };
    admin.caller.users().deactivate_user(deactivation).await.unwrap();
    delete(&admin, none).await.unwrap();
    assert_eq!(harness.user(&ann.id).await.state(), user::State::Deleted);
    assert_eq!(refusal(delete(&admin, deletion(&ann)).await), gone(&ann));
}

#[tokio::test]
async fn nothing_is_done_to_who_is_gone() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    delete(&ann, deletion(&ann)).await.unwrap();
    let tombstone = harness.user(&ann.id).await;
    let (user_id, etag) = (ann.id.clone(), String::new());
    let users = || admin.caller.users();
    let request =
        DeactivateUserRequest { request_id: request_id(), user_id: user_id.clone(), etag: etag.clone() };
    assert_eq!(refusal(users().deactivate_user(request).await), gone(&ann));
    let request =
        ReactivateUserRequest { request_id: request_id(), user_id: user_id.clone(), etag: etag.clone() };
    assert_eq!(refusal(users().reactivate_user(request).await), gone(&ann));
    let role = Role::Merchant.into();
    let request = ChangeUserRoleRequest {
        request_id: request_id(),
        user_id: user_id.clone(),
        role,
        etag: etag.clone(),
    };
    assert_eq!(refusal(users().change_user_role(request).await), gone(&ann));
    let new_password = PASSWORD.to_owned();
    let request =
        ResetPasswordRequest { request_id: request_id(), user_id: user_id.clone(), new_password, etag };
    assert_eq!(refusal(users().reset_password(request).await), gone(&ann));
    let request = UpdateUserRequest {
        request_id: request_id(),
        user_id: user_id.clone(),
        user: Some(User { display_name: "Ann".to_owned(), ..User::default() }),
        update_mask: Some(FieldMask { paths: vec!["display_name".to_owned()] }),
        etag: String::new(),
    };
    assert_eq!(refusal(users().update_user(request).await), gone(&ann));
    assert_eq!(refusal(grant(&admin, &grant_of(&ann, 5)).await), gone(&ann));
    grant(&admin, &grant_of(&bob, 5)).await.unwrap();
    assert_eq!(refusal(send(&bob, &send_of(&ann, 5)).await), gone(&ann));
    assert_eq!(wallet_as(&admin, &ann.id).await.unwrap().balance.unwrap().minor_units, 0);
    assert_eq!(refusal(wallet_as(&bob, &ann.id).await), gone(&ann));
    let request = api::user::v1::CreatePostRequest {
        request_id: request_id(),
        title: "Tea".to_owned(),
        body: "Water.".to_owned(),
        publish: true,
        ..Default::default()
    };
    let post_id = bob.caller.posts().create_post(request).await.unwrap().into_inner().post.unwrap().id;
    let to_user_id = ann.id.clone();
    let request = TransferPostRequest { request_id: request_id(), post_id, to_user_id, ..Default::default() };
    assert_eq!(refusal(bob.caller.posts().transfer_post(request).await), gone(&ann));
    let to_user_id = ann.id.clone();
    let request = TransferAllPostsRequest { request_id: request_id(), to_user_id, ..Default::default() };
    assert_eq!(refusal(bob.caller.posts().transfer_all_posts(request).await), gone(&ann));
    assert_eq!(harness.user(&ann.id).await, tombstone);
}

#[tokio::test]
async fn whatever_is_left_is_named_and_keeps_one_from_it() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let ann = rich(&harness, &admin, 500).await;
    let bob = harness.customer().await;
    let eur = |minor_units| Money { currency_code: "EUR".to_owned(), minor_units };
    let holdings = GetCustomerHoldingsResponse {
        bought_count: 1,
        sold_count: 2,
        running_transfer_count: 3,
        account_balances: vec![eur(700)],
    };
    harness.holdings.set(&ann.id, holdings);
    let request = deletion(&ann);
    let status = delete(&ann, request.clone()).await.unwrap_err();
    let subjects = ["wallets/EUR", "orders/bought", "orders/sold", "transfers", "accounts/EUR"]
        .map(|what| format!("users/{}/{what}", ann.id));
    let all: Vec<&str> = subjects.iter().map(String::as_str).collect();
    assert_eq!(refusal::<()>(Err(status)), refused(Code::FailedPrecondition, "USER_HAS_BALANCE", &all));
    harness.holdings.set(&ann.id, GetCustomerHoldingsResponse::default());
    let wallet = refused(Code::FailedPrecondition, "USER_HAS_BALANCE", &all[..1]);
    assert_eq!(refusal(delete(&admin, deletion(&ann)).await), wallet);
    send(&ann, &send_of(&bob, 500)).await.unwrap();

    harness.holdings.be_away(true);
    let away = refused(Code::Unavailable, "DEPENDENCY_UNAVAILABLE", &[]);
    assert_eq!(refusal(delete(&ann, request.clone()).await), away);
    assert_eq!(harness.user(&ann.id).await.state(), user::State::Active);
    assert_eq!(harness.count("erasure", doc! {}).await, 0);
    harness.holdings.be_away(false);
    // What was refused is no outcome: the same request may be sent again.
    assert!(!delete(&ann, request).await.unwrap());
}

#[tokio::test]
async fn nobody_asks_order_service_about_who_may_not_or_is_not_there() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let wrong = DeleteUserRequest { password: "another evening".to_owned(), ..deletion(&ann) };
    delete(&ann, wrong).await.unwrap_err();
    delete(&bob, deletion(&ann)).await.unwrap_err();
    let missing = DeleteUserRequest { user_id: request_id(), ..deletion(&ann) };
    delete(&admin, missing).await.unwrap_err();
    assert_eq!(harness.holdings.asked(), 0);
}

/// The naive version looks at the wallets and does not claim them, and deletes somebody who has just been sent something.
#[tokio::test]
async fn nothing_is_sent_to_who_is_being_deleted() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let bob = rich(&harness, &admin, 1000).await;
    let (mut sent_first, mut deleted_first) = (0, 0);
    for round in 0..ROUNDS {
        let ann = harness.customer().await;
        if round % 2 == 0 {
            // There is a wallet already.
            grant(&admin, &grant_of(&ann, 1)).await.unwrap();
            send(&ann, &send_of(&bob, 1)).await.unwrap();
        }
        let (sending, deleting) = (send_of(&ann, 1), deletion(&ann));
        let send = async {
            loop {
                match send(&bob, &sending).await {
                    Err(status) if is_to_be_repeated(&status) => {}
                    sent => return sent.map(drop),
                }
            }
        };
        let delete = async {
            loop {
                match delete(&ann, deleting.clone()).await {
                    Err(status) if is_to_be_repeated(&status) => {}
                    deleted => return deleted.map(drop),
                }
            }
        };
        let balance = match join(send, delete).await {
            (Ok(()), Err(status)) => {
                sent_first += 1;
                assert_eq!(refusal::<()>(Err(status)).1, "USER_HAS_BALANCE");
                1
            }
            (Err(status), Ok(())) => {
                deleted_first += 1;
                assert_eq!(refusal::<()>(Err(status)), gone(&ann));
                0
            }
            both => panic!("one of the two: {both:?}"),
        };
        let wallet = wallet_as(&admin, &ann.id).await.unwrap();
        assert_eq!(wallet.balance.unwrap().minor_units, balance);
    }
    assert_eq!(sent_first + deleted_first, ROUNDS);
}

/// What the person paid is refunded, whatever has become of the person.
#[tokio::test]
async fn refunds_arrive_and_nothing_leaves() {
    let mongo = TestMongo::create().await.unwrap();
    let harness = Harness::start_on(mongo.urls(), mongo.url(), &[]).await;
    let (book, ann) = (Book::open_on(mongo.urls()).await, harness.customer().await);
    delete(&ann, deletion(&ann)).await.unwrap();
    let owner: UserId = ann.id.parse().unwrap();
    let (refund, payment) = (spec(owner, Direction::Credit, 7), spec(owner, Direction::Debit, 5));
    for (step, outcome) in [
        (Step::Reserve(refund.clone()), Outcome::Reserved),
        (Step::Confirm(refund.transfer_id), Outcome::Posted),
        (Step::Reserve(payment), Outcome::Refused(Refusal::UserNotFound)),
    ] {
        assert_eq!(book.apply(&step).await.unwrap().outcome, outcome, "{step:?}");
    }
    assert_eq!(book.numbers(owner).await.balance, 7);
    book.assert_sound().await;
}

#[tokio::test]
async fn posts_of_who_is_gone_stay_without_a_name_and_admins_hand_them_over() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let request = api::user::v1::CreatePostRequest {
        request_id: request_id(),
        title: "Tea".to_owned(),
        body: "Water.".to_owned(),
        publish: true,
        ..Default::default()
    };
    ann.caller.posts().create_post(request).await.unwrap();
    delete(&ann, deletion(&ann)).await.unwrap();
    let request = ListPostsRequest { author_id: ann.id.clone(), ..Default::default() };
    let posts = bob.caller.posts().list_posts(request).await.unwrap().into_inner().posts;
    assert_eq!(posts.len(), 1);
    let author = posts[0].author.clone().unwrap();
    assert_eq!((author.user_id, author.display_name.as_str()), (ann.id.clone(), ""));
    let request = TransferAllPostsRequest {
        request_id: request_id(),
        from_user_id: ann.id.clone(),
        to_user_id: bob.id.clone(),
    };
    let moved = admin.caller.posts().transfer_all_posts(request).await.unwrap().into_inner();
    assert_eq!(moved.post_ids.len(), 1);
    assert_eq!((harness.user(&ann.id).await.post_count, harness.user(&bob.id).await.post_count), (0, 1));
}
