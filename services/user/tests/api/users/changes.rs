//! Who changed what: each call leaves a line, and lines that are not what they were are found.

use api::auth::v1::Role;
use api::user::v1::user_change::Kind;
use api::user::v1::{
    ChangeEmailRequest, ChangePasswordRequest, ChangeUserRoleRequest, DeactivateUserRequest,
    FreezeWalletRequest, ListUserChangesRequest, ListUserChangesResponse, ReactivateUserRequest,
    ResetPasswordRequest, SetWalletLimitsRequest, UnfreezeWalletRequest, User, UserChange,
};
use bson::{Document, doc};
use futures_util::future::join_all;
use testkit::client::request_id;
use tonic::{Code, Status};

use super::delete::{delete, deletion, tell};
use crate::harness::{Harness, PASSWORD, Person, refusal, refused};

const NEW_PASSWORD: &str = "a morning on the river";

async fn page(by: &Person, of: &str, size: i32, token: &str) -> Result<ListUserChangesResponse, Status> {
    let request =
        ListUserChangesRequest { user_id: of.to_owned(), page_size: size, page_token: token.to_owned() };
    Ok(by.caller.users().list_user_changes(request).await?.into_inner())
}

/// All of them, of a chain that is as it was written.
async fn all(by: &Person, of: &str) -> Vec<UserChange> {
    let page = page(by, of, 0, "").await.unwrap();
    assert_eq!((page.findings, page.next_page_token.as_str()), (Vec::new(), ""));
    page.changes
}

async fn change_role(by: &Person, of: &Person, role: Role) {
    let request = ChangeUserRoleRequest {
        request_id: request_id(),
        user_id: of.id.clone(),
        role: role.into(),
        etag: String::new(),
    };
    by.caller.users().change_user_role(request).await.unwrap();
}

async fn freeze(by: &Person, of: &Person) -> Result<(), Status> {
    let request = FreezeWalletRequest {
        request_id: request_id(),
        user_id: of.id.clone(),
        currency_code: "EUR".to_owned(),
        justification: "Reported as stolen.".to_owned(),
    };
    by.caller.wallets().freeze_wallet(request).await.map(drop)
}

#[tokio::test]
async fn whatever_is_done_to_a_user_has_its_line_with_who_did_it_and_nothing_personal() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    assert_eq!(all(&admin, &ann.id).await, []);
    let (user_id, etag) = (ann.id.clone(), String::new());
    let mut expected = Vec::new();
    let mut done = |kind: Kind, by: &Person| expected.push((kind, by.id.clone()));
    let email = format!("moved.{}", ann.email);
    let request = ChangeEmailRequest {
        request_id: request_id(),
        email,
        password: PASSWORD.to_owned(),
        etag: String::new(),
    };
    ann.caller.users().change_email(request).await.unwrap();
    done(Kind::Email, &ann);
    let request = ChangePasswordRequest {
        request_id: request_id(),
        password: PASSWORD.to_owned(),
        new_password: NEW_PASSWORD.to_owned(),
        etag: String::new(),
    };
    ann.caller.users().change_password(request.clone()).await.unwrap();
    ann.caller.users().change_password(request).await.unwrap();
    done(Kind::Password, &ann);
    // What is no such change has no line.
    tell(&ann, User { display_name: "Anna".to_owned(), ..User::default() }, &["display_name"]).await;
    let new_password = PASSWORD.to_owned();
    let request = ResetPasswordRequest {
        request_id: request_id(),
        user_id: user_id.clone(),
        new_password,
        etag: etag.clone(),
    };
    admin.caller.users().reset_password(request).await.unwrap();
    done(Kind::PasswordReset, &admin);
    change_role(&admin, &ann, Role::Merchant).await;
    change_role(&admin, &ann, Role::Merchant).await;
    done(Kind::Role, &admin);
    freeze(&admin, &ann).await.unwrap();
    done(Kind::WalletFrozen, &admin);
    freeze(&admin, &ann).await.unwrap_err();
    let request = UnfreezeWalletRequest {
        request_id: request_id(),
        user_id: user_id.clone(),
        currency_code: "EUR".to_owned(),
        justification: "Found again.".to_owned(),
    };
    admin.caller.wallets().unfreeze_wallet(request).await.unwrap();
    done(Kind::WalletUnfrozen, &admin);
    let request = SetWalletLimitsRequest {
        request_id: request_id(),
        user_id: user_id.clone(),
        currency_code: "EUR".to_owned(),
        justification: "A new customer.".to_owned(),
        ..SetWalletLimitsRequest::default()
    };
    admin.caller.wallets().set_wallet_limits(request).await.unwrap();
    done(Kind::WalletLimits, &admin);
    let request =
        DeactivateUserRequest { request_id: request_id(), user_id: user_id.clone(), etag: etag.clone() };
    ann.caller.users().deactivate_user(request).await.unwrap();
    done(Kind::Deactivated, &ann);
    let request = ReactivateUserRequest { request_id: request_id(), user_id: user_id.clone(), etag };
    admin.caller.users().reactivate_user(request).await.unwrap();
    done(Kind::Reactivated, &admin);
    let before = harness.user(&ann.id).await;
    let last = deletion(&ann);
    delete(&ann, last.clone()).await.unwrap();
    done(Kind::Deleted, &ann);

    // Of somebody who is gone, too.
    let mut changes = all(&admin, &ann.id).await;
    changes.reverse();
    let seen: Vec<_> = changes.iter().map(|change| (change.kind(), change.actor_id.clone())).collect();
    assert_eq!(seen, expected);
    assert!(changes.iter().map(|change| change.sequence).eq(1..=10));
    let role = changes.iter().find(|change| change.kind() == Kind::Role).unwrap();
    assert_eq!((role.role_before(), role.role_after()), (Role::Customer, Role::Merchant));
    let of_wallets = changes.iter().filter(|change| change.currency_code == "EUR").count();
    assert_eq!(of_wallets, 3);
    assert_eq!(changes[9].request_id, last.request_id);
    // An act on a wallet is no change of the user.
    assert_eq!(before.etag, "8");

    assert_eq!(page(&ann, &ann.id, 0, "").await.unwrap_err().code(), Code::PermissionDenied);
    let missing = request_id();
    let gone = refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {missing}")]);
    assert_eq!(refusal(page(&admin, &missing, 0, "").await), gone);
}

#[tokio::test]
async fn pages_end_where_they_say_and_go_on_there() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    for role in [Role::Merchant, Role::Customer, Role::Merchant, Role::Customer, Role::Admin] {
        change_role(&admin, &ann, role).await;
    }
    let first = page(&admin, &ann.id, 2, "").await.unwrap();
    let sequences = |page: &ListUserChangesResponse| -> Vec<i64> {
        assert_eq!(page.findings, [""; 0]);
        page.changes.iter().map(|change| change.sequence).collect()
    };
    assert_eq!(sequences(&first), [5, 4]);
    // What is done meanwhile is on no later page.
    change_role(&admin, &ann, Role::Customer).await;
    let second = page(&admin, &ann.id, 2, &first.next_page_token).await.unwrap();
    assert_eq!(sequences(&second), [3, 2]);
    let last = page(&admin, &ann.id, 2, &second.next_page_token).await.unwrap();
    assert_eq!((sequences(&last), last.next_page_token.as_str()), (vec![1], ""));
    let other = page(&admin, &bob.id, 2, &first.next_page_token).await;
    let expected = refused(Code::InvalidArgument, "INVALID_REQUEST", &["page_token INVALID_PAGE_TOKEN"]);
    assert_eq!(refusal(other), expected);
}

#[tokio::test]
async fn lines_that_are_not_what_they_were_are_found() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    for role in [Role::Merchant, Role::Customer, Role::Merchant] {
        change_role(&admin, &ann, role).await;
    }
    let changes = harness.database.collection::<Document>("user_change");
    let of =
        |sequence: i64| doc! { "user_id": bson::Uuid::parse_str(&ann.id).unwrap(), "sequence": sequence };
    let findings = async || page(&admin, &ann.id, 0, "").await.unwrap().findings;
    let second = changes.find_one(of(2)).await.unwrap().unwrap();
    changes.update_one(of(2), doc! { "$set": { "actor": &ann.id } }).await.unwrap();
    let altered = "the hash of change 2 is not that of its content and the one before";
    assert_eq!(findings().await, [altered]);
    changes.delete_one(of(2)).await.unwrap();
    assert_eq!(findings().await, ["a change before 3 is missing"]);
    changes.insert_one(second).await.unwrap();
    assert_eq!(findings().await, [""; 0]);
    changes.delete_one(of(3)).await.unwrap();
    assert_eq!(findings().await, ["the latest change is 2, and the user states 3"]);
}

/// Two that are made at once have two places.
#[tokio::test]
async fn changes_at_once_are_one_chain() {
    let harness = Harness::start().await;
    let admin = harness.admin().await;
    let ann = harness.customer().await;
    let currencies = ["EUR", "USD", "JPY", "GBP", "CHF", "SEK"];
    let acts = currencies.map(|code| {
        let request = FreezeWalletRequest {
            request_id: request_id(),
            user_id: ann.id.clone(),
            currency_code: code.to_owned(),
            justification: "Reported as stolen.".to_owned(),
        };
        let (admin, ann) = (&admin, &ann);
        async move {
            while admin.caller.wallets().freeze_wallet(request.clone()).await.is_err() {}
            let request = ResetPasswordRequest {
                request_id: request_id(),
                user_id: ann.id.clone(),
                new_password: PASSWORD.to_owned(),
                etag: String::new(),
            };
            while admin.caller.users().reset_password(request.clone()).await.is_err() {}
        }
    });
    join_all(acts).await;
    assert_eq!(all(&admin, &ann.id).await.len(), 2 * currencies.len());
}
