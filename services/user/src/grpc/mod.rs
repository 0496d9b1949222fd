//! The doors: one file for each noun has the handlers of its service, checks what comes in, and says how answers and
//! refusals look on the wire.
#![deny(clippy::wildcard_enum_match_arm)]

mod audit;
mod posts;
mod relations;
mod users;
mod wallets;

use api::doctor::v1::doctor_service_server::DoctorServiceServer;
use api::event::v1::event_admin_service_server::EventAdminServiceServer;
use api::event::v1::event_service_server::EventServiceServer;
use api::refusal::{Refusal, Refused, status};
use api::user::v1::audit_service_server::AuditServiceServer;
use api::user::v1::post_service_server::PostServiceServer;
use api::user::v1::relation_service_server::RelationServiceServer;
use api::user::v1::user_service_server::UserServiceServer;
use api::user::v1::wallet_service_server::WalletServiceServer;
use auth::Principal;
use events::service::{EventAdminServer, EventServer};
use runtime::doctor_service::DoctorServer;
use tonic::server::NamedService as _;
use tonic::service::Routes;
use tonic::{Extensions, Status};

pub(crate) use users::new_admin;

use self::audit::Audit;
use self::posts::Posts;
use self::relations::Relations;
use self::users::Users;
use self::wallets::Wallets;
use crate::app::App;
use crate::audit::Audits;
use crate::clients::order::OrderClient;
use crate::error::Error;
use crate::storage::Store;

/// The domain of this service's reasons.
pub(crate) const DOMAIN: &str = "user.tristore";

/// The full names of what [`routes`] serves: whatever is there needs a policy.
pub(crate) const SERVICES: [&str; 8] = [
    UserServiceServer::<Users>::NAME,
    PostServiceServer::<Posts>::NAME,
    RelationServiceServer::<Relations>::NAME,
    WalletServiceServer::<Wallets>::NAME,
    AuditServiceServer::<Audit>::NAME,
    EventServiceServer::<EventServer<Store>>::NAME,
    EventAdminServiceServer::<EventAdminServer>::NAME,
    DoctorServiceServer::<DoctorServer>::NAME,
];

/// All rpcs.
pub(crate) fn routes(
    app: &App,
    audits: Audits,
    orders: OrderClient,
    events: EventServer<Store>,
    admin: EventAdminServer,
    doctor: DoctorServer,
) -> Routes {
    Routes::new(UserServiceServer::new(Users(app.clone(), orders)))
        .add_service(PostServiceServer::new(Posts(app.clone())))
        .add_service(RelationServiceServer::new(Relations(app.clone())))
        .add_service(WalletServiceServer::new(Wallets(app.clone())))
        .add_service(AuditServiceServer::new(Audit(audits)))
        .add_service(events.into_service())
        .add_service(admin.into_service())
        .add_service(doctor.into_service())
}

/// Who is named in the log of what operators do.
pub(crate) fn auditable(extensions: &Extensions) -> String {
    extensions.get().unwrap_or(&Principal::Anyone).key()
}

impl Refused for Error {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Failure(failure) => failure.into(),
            Self::User(refused) => refused.into(),
            Self::Post(refused) => refused.into(),
            Self::Relation(refused) => refused.into(),
            Self::Credit(refused) => refused.into(),
            Self::Wallet(refused) => refused.into(),
            Self::Hold(refused) => refused.into(),
            Self::Replayed(first) => first.refusal(),
        }
    }

    fn is_replay(&self) -> bool {
        matches!(self, Self::Replayed(_))
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        status(error)
    }
}

#[cfg(test)]
mod tests {
    use api::call::REPLAY;
    use api::refusal::LOGGED;
    use tonic::Code;
    use tonic_types::StatusExt as _;
    use types::UserId;
    use uuid::Uuid;

    use super::*;
    use crate::domain::wallet::CreditRefused;

    /// Code, reason, and the subject of the detail that tells what it is about.
    pub(super) fn wire(error: impl Into<Error>) -> (Code, String, String) {
        let status = Status::from(error.into());
        let details = status.get_error_details();
        let info = details.error_info().expect("every status has ErrorInfo").clone();
        let subject = match (details.resource_info(), details.precondition_failure(), details.bad_request()) {
            (Some(resource), None, None) => format!("{} {}", resource.resource_type, resource.resource_name),
            (None, Some(failure), None) => {
                assert_eq!(failure.violations[0].r#type, info.reason);
                failure.violations[0].subject.clone()
            }
            (None, None, Some(bad)) => bad.field_violations[0].field.clone(),
            _ if details.retry_info().is_some() => "retry".to_owned(),
            _ => String::new(),
        };
        (status.code(), info.reason, subject)
    }

    /// What [`wire`] gives.
    pub(super) fn seen(code: Code, reason: &str, subject: impl Into<String>) -> (Code, String, String) {
        (code, reason.to_owned(), subject.into())
    }

    /// The server logs the source of a status that nobody has marked as logged, once.
    #[test]
    fn a_failure_is_left_to_the_server_to_log() {
        let status = Status::from(Error::internal("a broken book"));
        assert!(status.metadata().get(LOGGED).is_none());
        let source = std::error::Error::source(&status).expect("the error is the status' source");
        assert!(types::chain(source).ends_with("a broken book"));
        assert!(!status.message().contains("book"), "{status:?}");
    }

    #[test]
    fn a_refusal_that_is_given_again_is_the_same_but_for_its_mark() {
        let first = || Error::from(CreditRefused::BalanceLimit(UserId::from_uuid(Uuid::from_u128(1))));
        let (status, again) = (Status::from(first()), Status::from(Error::Replayed(Box::new(first()))));
        assert_eq!((again.code(), again.message()), (status.code(), status.message()));
        assert_eq!(again.details(), status.details());
        assert_eq!(again.metadata().get(REPLAY).unwrap(), "true");
        assert!(status.metadata().get(REPLAY).is_none());
    }
}
