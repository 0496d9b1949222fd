//! Changing the own password and having it set by an admin.

use api::user::v1::{
    ChangePasswordRequest, ResetPasswordRequest, User, UserPasswordChanged, VerifyPasswordRequest,
};
use futures_util::future::join_all;
use testkit::client::request_id;
use tonic::{Code, Response, Status};

use super::{deactivate, deactivation, payloads};
use crate::harness::{Harness, PASSWORD, Person, is_replay, refusal, refused};

const NEW: &str = "a morning on the river";

fn change(password: &str, new_password: &str) -> ChangePasswordRequest {
    ChangePasswordRequest {
        request_id: request_id(),
        password: password.to_owned(),
        new_password: new_password.to_owned(),
        etag: String::new(),
    }
}

fn reset(id: &str, new_password: &str) -> ResetPasswordRequest {
    ResetPasswordRequest {
        request_id: request_id(),
        user_id: id.to_owned(),
        new_password: new_password.to_owned(),
        etag: String::new(),
    }
}

async fn changed(by: &Person, request: ChangePasswordRequest) -> Result<(User, bool), Status> {
    let response: Response<_> = by.caller.users().change_password(request).await?;
    Ok((response.get_ref().user.clone().unwrap(), is_replay(&response)))
}

async fn was_reset(by: &Person, request: ResetPasswordRequest) -> Result<(User, bool), Status> {
    let response: Response<_> = by.caller.users().reset_password(request).await?;
    Ok((response.get_ref().user.clone().unwrap(), is_replay(&response)))
}

/// The auth epoch of a login; `None` when the password is wrong.
async fn epoch(harness: &Harness, who: &Person, password: &str) -> Option<i64> {
    let request = VerifyPasswordRequest { email: who.email.clone(), password: password.to_owned() };
    match harness.session_service().users().verify_password(request).await {
        Ok(login) => Some(login.into_inner().auth_epoch),
        Err(status) => {
            let wrong = refused(Code::Unauthenticated, "INVALID_CREDENTIALS", &[]);
            assert_eq!(refusal(Err::<(), _>(status)), wrong);
            None
        }
    }
}

async fn told(harness: &Harness) -> Vec<(String, i64)> {
    let told = payloads::<UserPasswordChanged>(harness).await;
    told.into_iter().map(|told| (told.user_id, told.auth_epoch)).collect()
}

#[tokio::test]
async fn a_new_password_takes_the_place_of_the_old_one_and_ends_all_sessions() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let request = change(PASSWORD, NEW);
    let (first, replayed) = changed(&ann, request.clone()).await.unwrap();
    assert_eq!((first.etag.as_str(), first.version, replayed), ("2", 2, false));
    assert_eq!((epoch(&harness, &ann, PASSWORD).await, epoch(&harness, &ann, NEW).await), (None, Some(2)));
    assert_eq!(told(&harness).await, [(ann.id.clone(), 2)]);

    // The repeat of somebody who has logged in again: the answer is the first, and nothing ends once more.
    assert_eq!(changed(&ann, request.clone()).await.unwrap(), (first, true));
    let other =
        ChangePasswordRequest { new_password: "an evening on the river".to_owned(), ..request.clone() };
    let reused = refused(Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
    assert_eq!(refusal(changed(&ann, other).await), reused);
    changed(&ann, change(NEW, PASSWORD)).await.unwrap();
    assert_eq!(refusal(changed(&ann, request).await), reused, "nothing is kept to compare it with");
    assert_eq!(epoch(&harness, &ann, PASSWORD).await, Some(3));
}

#[tokio::test]
async fn a_wrong_present_password_and_a_weak_new_one_change_nothing() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let wrong = refused(Code::Unauthenticated, "INVALID_CREDENTIALS", &[]);
    for password in ["another evening, another garden", &"x".repeat(1_000)] {
        assert_eq!(refusal(changed(&ann, change(password, NEW)).await), wrong);
    }
    let invalid = |subjects: &[&str]| refused(Code::InvalidArgument, "INVALID_REQUEST", subjects);
    assert_eq!(
        refusal(changed(&ann, change(PASSWORD, "short")).await),
        invalid(&["new_password WEAK_PASSWORD"])
    );
    let address = changed(&ann, change(PASSWORD, &ann.email.to_uppercase())).await;
    assert_eq!(refusal(address), invalid(&["new_password WEAK_PASSWORD"]));
    let nothing = changed(&ann, change("", "")).await;
    assert_eq!(refusal(nothing), invalid(&["password REQUIRED", "new_password REQUIRED"]));
    let stale = ChangePasswordRequest { etag: "7".to_owned(), ..change(PASSWORD, NEW) };
    let mismatch = refused(Code::Aborted, "VERSION_MISMATCH", &[&format!("user {}", ann.id)]);
    assert_eq!(refusal(changed(&ann, stale).await), mismatch);
    assert_eq!(epoch(&harness, &ann, PASSWORD).await, Some(1));
    assert!(told(&harness).await.is_empty());
}

/// A version that compares before its transaction and not in it lets both through.
#[tokio::test]
async fn of_two_changes_from_one_password_at_once_one_is_made() {
    let harness = Harness::start().await;
    let ann = harness.customer().await;
    let passwords = [NEW, "an evening on the river", "a night on the river"];
    let outcomes = join_all(passwords.map(|new| changed(&ann, change(PASSWORD, new)))).await;
    let mut present = Vec::new();
    for (outcome, new) in outcomes.into_iter().zip(passwords) {
        match outcome {
            Ok(_) => present.push(new),
            Err(status) => {
                let wrong = refused(Code::Unauthenticated, "INVALID_CREDENTIALS", &[]);
                assert_eq!(refusal(Err::<(), _>(status)), wrong);
            }
        }
    }
    let [present] = present.as_slice() else { panic!("{present:?}") };
    assert_eq!(epoch(&harness, &ann, present).await, Some(2));
}

#[tokio::test]
async fn an_admin_sets_a_password_and_nobody_else() {
    let harness = Harness::start().await;
    let (ann, bob, admin) = (harness.customer().await, harness.customer().await, harness.admin().await);
    let request = reset(&ann.id, NEW);
    let denied = refused(Code::PermissionDenied, "PERMISSION_DENIED", &[]);
    assert_eq!(refusal(was_reset(&bob, request.clone()).await), denied);
    let first = was_reset(&admin, request.clone()).await.unwrap();
    assert_eq!((epoch(&harness, &ann, PASSWORD).await, epoch(&harness, &ann, NEW).await), (None, Some(2)));
    assert_eq!(told(&harness).await, [(ann.id.clone(), 2)]);
    assert_eq!(was_reset(&admin, request.clone()).await.unwrap(), (first.0, true));
    let other = ResetPasswordRequest { new_password: PASSWORD.to_owned(), ..request };
    let reused = refused(Code::InvalidArgument, "REQUEST_ID_REUSED", &["request_id REQUEST_ID_REUSED"]);
    assert_eq!(refusal(was_reset(&admin, other).await), reused);
    let address = was_reset(&admin, reset(&ann.id, &ann.email)).await;
    let weak = refused(Code::InvalidArgument, "INVALID_REQUEST", &["new_password WEAK_PASSWORD"]);
    assert_eq!(refusal(address), weak);
    deactivate(&admin, deactivation(&ann.id)).await.unwrap();
    let subject = format!("users/{}", ann.id);
    let gone = was_reset(&admin, reset(&ann.id, PASSWORD)).await;
    assert_eq!(refusal(gone), refused(Code::FailedPrecondition, "USER_DEACTIVATED", &[&subject]));
    let missing = "01920000-0000-7000-8000-000000000001";
    let nobody = was_reset(&admin, reset(missing, NEW)).await;
    assert_eq!(refusal(nobody), refused(Code::NotFound, "USER_NOT_FOUND", &[&format!("user {missing}")]));
}
