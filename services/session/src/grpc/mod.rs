//! The door: protobuf in, protobuf out. Decode, call `app/`, encode.

mod convert;
mod session_service;
mod status;

use api::event::v1::event_admin_service_server::EventAdminServiceServer;
use events::service::{EventAdminServer, EventServer};
use tonic::service::Routes;

use self::session_service::SessionServer;
use crate::app::App;
use crate::storage::Store;

/// The domain of this service's errors.
pub(crate) const DOMAIN: &str = "session.tristore";

/// Every service of this process, health and reflection apart.
pub(crate) const SERVICES: [&str; 3] =
    ["session.v1.SessionService", "event.v1.EventService", "event.v1.EventAdminService"];

/// What serves them.
pub(crate) fn routes(
    app: App,
    events: EventServer<Store>,
    admin: EventAdminServiceServer<EventAdminServer>,
) -> Routes {
    Routes::new(SessionServer::new(app)).add_service(events.into_service()).add_service(admin)
}
