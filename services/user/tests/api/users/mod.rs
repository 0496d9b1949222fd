//! Reading users, deactivating them, changing their roles.

mod bootstrap;
mod changes;
mod create;
mod delete;
mod email;
mod erase;
mod lists;
mod passwords;
mod read;
mod update;
mod verify_password;

use api::auth::v1::Role;
use api::user::v1::{
    ChangeUserRoleRequest, DeactivateUserRequest, GetUserRequest, ReactivateUserRequest, User,
    UserDeactivated, UserReactivated, UserRoleChanged, user,
};
use bson::{Document, doc};
use prost::Message;
use testkit::client::request_id;
use tonic::{Code, Response, Status};

use crate::harness::{Harness, Person, is_replay, refusal, refused};

async fn get(viewer: &Person, id: &str) -> User {
    let request = GetUserRequest { user_id: id.to_owned(), read_mask: None };
    viewer.caller.users().get_user(request).await.unwrap().into_inner().user.unwrap()
}

/// A user as who changes one is answered with it.
fn uncounted(user: User) -> User {
    assert!(user.counts.is_some(), "{user:?}");
    User { counts: None, ..user }
}

fn deactivation(id: &str) -> DeactivateUserRequest {
    DeactivateUserRequest { request_id: request_id(), user_id: id.to_owned(), etag: String::new() }
}

fn change(id: &str, role: Role) -> ChangeUserRoleRequest {
    ChangeUserRoleRequest {
        request_id: request_id(),
        user_id: id.to_owned(),
        role: role.into(),
        etag: String::new(),
    }
}

async fn deactivate(by: &Person, request: DeactivateUserRequest) -> Result<(User, bool), Status> {
    let response: Response<_> = by.caller.users().deactivate_user(request).await?;
    Ok((response.get_ref().user.clone().unwrap(), is_replay(&response)))
}

async fn change_role(by: &Person, request: ChangeUserRoleRequest) -> Result<(User, bool), Status> {
    let response: Response<_> = by.caller.users().change_user_role(request).await?;
    Ok((response.get_ref().user.clone().unwrap(), is_replay(&response)))
}

/// The payloads of the events of this type, oldest first.
pub(crate) async fn payloads<M: Message + prost::Name + Default>(harness: &Harness) -> Vec<M> {
    let outbox = harness.database.collection::<Document>("outbox");
    let mut rows = outbox.find(doc! { "type": M::full_name() }).sort(doc! { "_id": 1 }).await.unwrap();
    let mut payloads = Vec::new();
    while rows.advance().await.unwrap() {
        let row = rows.deserialize_current().unwrap();
        payloads.push(M::decode(row.get_binary_generic("payload").unwrap().as_slice()).unwrap());
    }
    payloads
}

#[tokio::test]
async fn others_see_what_everybody_may_see() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let own = get(&ann, &ann.id).await;
    assert_eq!(own.email, ann.email);
    assert_eq!(own.role(), Role::Customer);
    assert!(own.order_statistics.is_some());
    assert_eq!(get(&admin, &ann.id).await, own);
    let all = User { auth_epoch: 1, ..own.clone() };
    assert_eq!(harness.user(&ann.id).await, all, "services see all");

    let seen = get(&bob, &ann.id).await;
    assert_eq!((seen.email.as_str(), seen.role(), seen.order_statistics), ("", Role::Unspecified, None));
    assert_eq!(
        User { email: String::new(), role: 0, order_statistics: None, ..own },
        seen,
        "and nothing else is missing"
    );
}

#[tokio::test]
async fn a_user_who_is_not_there_is_not_found() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let missing = "01920000-0000-7000-8000-000000000001";
    let request = GetUserRequest { user_id: missing.to_owned(), read_mask: None };
    let expected = refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {missing}")]);
    assert_eq!(refusal(ann.caller.users().get_user(request).await), expected);
    let request = GetUserRequest { user_id: "../etc".to_owned(), read_mask: None };
    let expected = refused(Code::InvalidArgument, "INVALID_REQUEST", &["user_id INVALID_ID"]);
    assert_eq!(refusal(ann.caller.users().get_user(request).await), expected);
    let request = GetUserRequest { user_id: ann.id.clone(), read_mask: None };
    let nobody = harness.nobody().users().get_user(request).await;
    assert_eq!(refusal(nobody), refused(Code::Unauthenticated, "MISSING_CREDENTIALS", &[]));
}

#[tokio::test]
async fn a_user_may_deactivate_the_own_account_and_an_admin_any() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    for (by, whom) in [(&ann, &ann), (&admin, &bob)] {
        let (gone, replayed) = deactivate(by, deactivation(&whom.id)).await.unwrap();
        assert!(!replayed);
        assert_eq!((gone.state(), gone.etag.as_str(), gone.version), (user::State::Deactivated, "2", 2));
        assert_eq!(uncounted(harness.user(&whom.id).await), User { auth_epoch: 2, ..gone });
    }
    let told = payloads::<UserDeactivated>(&harness).await;
    let expected = [&ann, &bob].map(|person| UserDeactivated { user_id: person.id.clone(), auth_epoch: 2 });
    assert_eq!(told, expected);

    let subject = format!("users/{}", ann.id);
    let again = deactivate(&admin, deactivation(&ann.id)).await;
    assert_eq!(refusal(again), refused(Code::FailedPrecondition, "USER_DEACTIVATED", &[&subject]));
}

#[tokio::test]
async fn only_an_admin_lets_somebody_in_again_and_only_who_is_out() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let back = |id: &str| ReactivateUserRequest {
        request_id: request_id(),
        user_id: id.to_owned(),
        etag: String::new(),
    };
    let reactivate = async |by: &Person, request: ReactivateUserRequest| {
        let response = by.caller.users().reactivate_user(request).await?;
        Ok::<_, Status>((response.get_ref().user.clone().unwrap(), is_replay(&response)))
    };
    let subject = format!("users/{}", ann.id);
    let active = reactivate(&admin, back(&ann.id)).await;
    assert_eq!(refusal(active), refused(Code::FailedPrecondition, "USER_ACTIVE", &[&subject]));
    deactivate(&ann, deactivation(&ann.id)).await.unwrap();
    let denied = refused(Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    assert_eq!(refusal(reactivate(&ann, back(&ann.id)).await), denied);
    let stale = ReactivateUserRequest { etag: "1".to_owned(), ..back(&ann.id) };
    let mismatch = refused(Code::Aborted, "VERSION_MISMATCH", &[&format!("user {}", ann.id)]);
    assert_eq!(refusal(reactivate(&admin, stale).await), mismatch);
    let request = back(&ann.id);
    let first = reactivate(&admin, request.clone()).await.unwrap();
    assert_eq!((first.0.state(), first.0.etag.as_str(), first.0.version), (user::State::Active, "3", 3));
    assert_eq!(harness.user(&ann.id).await.auth_epoch, 2, "no session comes back");
    assert_eq!(reactivate(&admin, request).await.unwrap(), (first.0, true));
    assert_eq!(payloads::<UserReactivated>(&harness).await, [UserReactivated { user_id: ann.id.clone() }]);
}

#[tokio::test]
async fn to_others_a_user_is_not_there_to_be_deactivated() {
    let harness = Harness::start().await;
    let (ann, bob) = (harness.customer().await, harness.customer().await);
    let missing = "01920000-0000-7000-8000-000000000001";
    let not_found = |id: &str| refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {id}")]);
    assert_eq!(refusal(deactivate(&bob, deactivation(&ann.id)).await), not_found(&ann.id));
    assert_eq!(refusal(deactivate(&bob, deactivation(missing)).await), not_found(missing));
    assert_eq!(harness.user(&ann.id).await.state(), user::State::Active);
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_though_the_user_has_changed_since() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let request = change(&ann.id, Role::Merchant);
    let (first, _) = change_role(&admin, request.clone()).await.unwrap();
    change_role(&admin, change(&ann.id, Role::Admin)).await.unwrap();
    let gone = deactivation(&ann.id);
    deactivate(&admin, gone.clone()).await.unwrap();
    assert_eq!(change_role(&admin, request.clone()).await.unwrap(), (first, true));
    assert!(deactivate(&admin, gone.clone()).await.unwrap().1);
    assert_eq!(payloads::<UserRoleChanged>(&harness).await.len(), 2);

    let mut other = request;
    other.role = Role::Customer.into();
    let status = change_role(&admin, other).await.unwrap_err();
    assert_eq!(tonic_types::StatusExt::get_details_error_info(&status).unwrap().metadata["fields"], "role");
    let reused = refused(Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
    assert_eq!(refusal(Err::<(), _>(status)), reused);
    // Ids are the caller's own: another's is another call.
    let bob = harness.customer().await;
    let mut own = gone;
    own.user_id = bob.id.clone();
    assert!(!deactivate(&bob, own).await.unwrap().1);
}

#[tokio::test]
async fn a_change_of_role_ends_sessions_and_a_repeat_of_the_present_role_does_not() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let (merchant, _) = change_role(&admin, change(&ann.id, Role::Merchant)).await.unwrap();
    assert_eq!((merchant.role(), merchant.etag.as_str()), (Role::Merchant, "2"));
    let told = payloads::<UserRoleChanged>(&harness).await;
    assert_eq!((told[0].role(), told[0].auth_epoch), (Role::Merchant, 2));
    let (same, _) = change_role(&admin, change(&ann.id, Role::Merchant)).await.unwrap();
    assert_eq!(same, merchant);
    assert_eq!(payloads::<UserRoleChanged>(&harness).await.len(), 1);
}

#[tokio::test]
async fn only_an_admin_changes_roles_and_never_the_own() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let denied = refused(Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    assert_eq!(refusal(change_role(&ann, change(&ann.id, Role::Admin)).await), denied);
    let merchant = harness.log_in(&ann.id, &ann.email, Role::Merchant);
    assert_eq!(refusal(change_role(&merchant, change(&ann.id, Role::Admin)).await), denied);
    let own = change_role(&admin, change(&admin.id, Role::Customer)).await;
    assert_eq!(refusal(own), refused(Code::FailedPrecondition, "OWN_ROLE", &["role"]));
    for (number, reason) in [(0, "REQUIRED"), (999, "UNKNOWN_ENUM_VALUE")] {
        let mut request = change(&ann.id, Role::Admin);
        request.role = number;
        let expected = refused(Code::InvalidArgument, "INVALID_REQUEST", &[&format!("role {reason}")]);
        assert_eq!(refusal(change_role(&admin, request).await), expected);
    }
    deactivate(&admin, deactivation(&ann.id)).await.unwrap();
    let subject = format!("users/{}", ann.id);
    let gone = change_role(&admin, change(&ann.id, Role::Admin)).await;
    assert_eq!(refusal(gone), refused(Code::FailedPrecondition, "USER_DEACTIVATED", &[&subject]));
}

#[tokio::test]
async fn a_stale_etag_changes_nothing() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let stale = get(&admin, &ann.id).await.etag;
    change_role(&admin, change(&ann.id, Role::Merchant)).await.unwrap();
    let expected = refused(Code::Aborted, "VERSION_MISMATCH", &[&format!("user {}", ann.id)]);
    let mut request = deactivation(&ann.id);
    request.etag = stale.clone();
    assert_eq!(refusal(deactivate(&admin, request).await), expected);
    let mut request = change(&ann.id, Role::Customer);
    request.etag = stale;
    assert_eq!(refusal(change_role(&admin, request.clone()).await), expected);
    request.etag = get(&admin, &ann.id).await.etag;
    assert_eq!(change_role(&admin, request).await.unwrap().0.role(), Role::Customer, "a refusal burns no id");
}

#[tokio::test]
async fn of_many_role_changes_at_once_each_is_counted() {
    let harness = Harness::start().await;
    let (ann, admin) = (harness.customer().await, harness.admin().await);
    let roles = [Role::Merchant, Role::Customer].into_iter().cycle().take(10);
    let changes = roles.map(|role| change_role(&admin, change(&ann.id, role)));
    let done = futures_util::future::join_all(changes).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    let told = payloads::<UserRoleChanged>(&harness).await.len();
    let user = harness.user(&ann.id).await;
    assert_eq!(user.version, i64::try_from(told).unwrap() + 1, "as many versions as events");
    let outbox = harness.database.collection::<Document>("outbox");
    let versions = outbox.distinct("aggregate.version", doc! { "aggregate.id": &ann.id }).await.unwrap();
    let expected: Vec<bson::Bson> = (1..=user.version).map(bson::Bson::from).collect();
    assert_eq!(versions, expected, "without holes");
}
