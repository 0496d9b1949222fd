//! User service: it alone knows passwords.

use std::time::Duration;

use api::common::v1::ErrorReason;
use api::refusal::Reason as _;
use api::user::v1::user_service_client::UserServiceClient;
use api::user::v1::{VerifyPasswordRequest, VerifyPasswordResponse};
use runtime::client::{Peer, PeerChannel, RetryPolicy, retry_unavailable};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::{FieldViolation, StatusExt as _};
use types::{Failure, RETRY_AFTER, Role, UserId, Violation};

use crate::domain::SessionRefused;
use crate::error::{Error, Result};

/// The time for checking one password, with all attempts.
const WITHIN: Duration = Duration::from_secs(4);
const ATTEMPTS_MAX: u32 = 3;

/// The user whose password was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownUser {
    pub(crate) user_id: UserId,
    pub(crate) role: Role,
    pub(crate) auth_epoch: i64,
}

/// A client of user service; belongs to the runtime that it was made in.
#[derive(Clone)]
pub(crate) struct Users {
    client: UserServiceClient<PeerChannel>,
    policy: RetryPolicy,
}

impl Users {
    /// A client that connects when it is first used.
    pub(crate) fn new(peer: &Peer) -> Self {
        let policy = RetryPolicy { attempts_max: ATTEMPTS_MAX, within: WITHIN, ..RetryPolicy::default() };
        Self { client: UserServiceClient::new(peer.channel()), policy }
    }

    /// Checks a password.
    ///
    /// # Errors
    /// [`SessionRefused::InvalidCredentials`] when address or password are wrong; [`Failure::Invalid`],
    /// [`Failure::Overloaded`], [`Failure::Unavailable`] when it was not checked.
    pub(crate) async fn password_verify(&self, email: &str, password: &SecretString) -> Result<KnownUser> {
        let answer = retry_unavailable(&self.policy, || {
            let mut client = self.client.clone();
            let request = VerifyPasswordRequest {
                email: email.to_owned(),
                password: password.expose_secret().to_owned(),
            };
            async move { client.verify_password(request).await }
        });
        // An attempt has a deadline of its own, which may be later than the end of the time for all of them.
        let answer = timeout(WITHIN, answer).await.map_err(Error::unavailable)?;
        match answer {
            Ok(answer) => known_user(&answer.into_inner()).ok_or_else(|| {
                Error::internal("user service answered VerifyPassword with values that are none")
            }),
            Err(status) => Err(refused(status)),
        }
    }
}

fn known_user(answer: &VerifyPasswordResponse) -> Option<KnownUser> {
    Some(KnownUser {
        user_id: answer.user_id.parse().ok()?,
        role: answer.role().known()?,
        auth_epoch: Some(answer.auth_epoch).filter(|epoch| *epoch >= 0)?,
    })
}

fn refused(status: Status) -> Error {
    let info = status.get_details_error_info();
    let is = |reason: ErrorReason| info.as_ref().is_some_and(|info| info.reason == reason.wire_name());
    // A refusal that names a header is about our service token and not about the password.
    let is_about_header = info.as_ref().is_some_and(|info| info.metadata.contains_key("header"));
    match status.code() {
        Code::Unauthenticated if is(ErrorReason::InvalidCredentials) && !is_about_header => {
            SessionRefused::InvalidCredentials.into()
        }
        Code::InvalidArgument if is(ErrorReason::InvalidRequest) => {
            let broken = status.get_details_bad_request().map(|details| details.field_violations);
            Failure::Invalid(broken.unwrap_or_default().into_iter().map(passed_on).collect()).into()
        }
        Code::ResourceExhausted => {
            let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
            let retry_after = retry_after.unwrap_or(RETRY_AFTER);
            Failure::Overloaded { what: "passwords", retry_after }.into()
        }
        _ => Error::unavailable(status),
    }
}

/// A rule that user service says is broken, for our caller. Names of rules are constants, so a name that is not among
/// these becomes `INVALID`; the field and the description are passed on as they came.
fn passed_on(violation: FieldViolation) -> Violation {
    const RULES: [&str; 6] =
        ["REQUIRED", "INVALID_EMAIL", "TOO_LONG", "BLANK", "CONTROL_CHARACTER", "DISALLOWED_CHARACTER"];
    let reason = RULES.into_iter().find(|rule| *rule == violation.reason).unwrap_or("INVALID");
    Violation { field: violation.field, reason, description: violation.description }
}

#[cfg(test)]
mod tests {
    use api::refusal::{Refusal, status};
    use api::violations::Violations;

    use super::*;

    fn refusal(code: Code, reason: ErrorReason) -> Refusal {
        Refusal::new(code, &reason, "no")
    }

    #[test]
    fn only_a_refusal_of_the_password_is_a_wrong_password() {
        let wrong = || refusal(Code::Unauthenticated, ErrorReason::InvalidCredentials);
        assert!(matches!(refused(wrong().into_status()), Error::Session(SessionRefused::InvalidCredentials)));
        for ours in [
            wrong().with("header", "authorization").into_status(),
            refusal(Code::Unauthenticated, ErrorReason::MissingCredentials).into_status(),
            refusal(Code::PermissionDenied, ErrorReason::CallerNotAllowed).into_status(),
            Status::unauthenticated("a proxy"),
            Status::internal(""),
            Status::deadline_exceeded(""),
        ] {
            assert!(matches!(refused(ours.clone()), Error::Failure(Failure::Unavailable { .. })), "{ours:?}");
        }
    }

    #[test]
    fn what_the_caller_can_mend_is_passed_on() {
        let mut violations = Violations::new();
        violations.add("email", "INVALID_EMAIL", "must be an e-mail address");
        let invalid = status(violations.finish(None::<()>).unwrap_err());
        let Error::Failure(Failure::Invalid(passed_on)) = refused(invalid) else { panic!("not passed on") };
        assert_eq!((passed_on[0].field.as_str(), passed_on[0].reason), ("email", "INVALID_EMAIL"));
        let busy =
            refusal(Code::ResourceExhausted, ErrorReason::Overloaded).retry_after(Duration::from_secs(7));
        let refused = refused(busy.into_status());
        let Error::Failure(Failure::Overloaded { retry_after, .. }) = refused else {
            panic!("not passed on")
        };
        assert_eq!(retry_after, Duration::from_secs(7));
    }
}
