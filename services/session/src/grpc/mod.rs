//! The door: protobuf in, protobuf out. One file for each noun has its handlers, its conversions and how its refusals
//! look on the wire.

mod sessions;

use api::doctor::v1::doctor_service_server::DoctorServiceServer;
use api::event::v1::event_admin_service_server::EventAdminServiceServer;
use api::event::v1::event_service_server::EventServiceServer;
use api::refusal::{Refusal, Refused, status};
use api::session::v1::session_service_server::SessionServiceServer;
use events::service::{EventAdminServer, EventServer};
use runtime::doctor_service::DoctorServer;
use tonic::Status;
use tonic::server::NamedService;
use tonic::service::Routes;

use self::sessions::Sessions;
use crate::app::App;
use crate::error::Error;
use crate::storage::Store;

/// Every service of this process, health and reflection apart.
pub(crate) const SERVICES: [&str; 4] = [
    SessionServiceServer::<Sessions>::NAME,
    EventServiceServer::<EventServer<Store>>::NAME,
    EventAdminServiceServer::<EventAdminServer>::NAME,
    DoctorServiceServer::<DoctorServer>::NAME,
];

/// What serves them.
pub(crate) fn routes(
    app: App,
    events: EventServer<Store>,
    admin: EventAdminServiceServer<EventAdminServer>,
    doctor: DoctorServer,
) -> Routes {
    Routes::new(SessionServiceServer::new(Sessions(app)))
        .add_service(events.into_service())
        .add_service(admin)
        .add_service(doctor.into_service())
}

impl Refused for Error {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Failure(failure) => failure.into(),
            Self::Session(refused) => refused.into(),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        status(error)
    }
}
