//! The wire: what comes in is checked and turned into our types, what goes out into protobuf.

mod audit_service;
mod call;
mod convert;
mod post_service;
mod status;
mod user_service;
mod wallet_convert;
mod wallet_service;

use api::user::v1::audit_service_server::AuditServiceServer;
use api::user::v1::post_service_server::PostServiceServer;
use api::user::v1::user_service_server::UserServiceServer;
use api::user::v1::wallet_service_server::WalletServiceServer;
use events::service::{EventAdminServer, EventServer};
use tonic::service::Routes;

pub(crate) use call::auditable;
pub(crate) use convert::new_admin;
pub(crate) use status::DOMAIN;

use crate::app::App;
use crate::audit::Audits;
use crate::storage::Store;

/// What this service serves, by full name: whatever is here needs a policy.
pub(crate) const SERVICES: [&str; 6] = [
    "user.v1.AuditService",
    "user.v1.UserService",
    "user.v1.PostService",
    "user.v1.WalletService",
    "event.v1.EventService",
    "event.v1.EventAdminService",
];

/// All rpcs.
pub(crate) fn routes(
    app: &App,
    audits: Audits,
    events: EventServer<Store>,
    admin: EventAdminServer,
) -> Routes {
    Routes::new(UserServiceServer::new(self::user_service::Users(app.clone())))
        .add_service(PostServiceServer::new(self::post_service::Posts(app.clone())))
        .add_service(WalletServiceServer::new(self::wallet_service::Wallets { app: app.clone() }))
        .add_service(AuditServiceServer::new(self::audit_service::Audit(audits)))
        .add_service(events.into_service())
        .add_service(admin.into_service())
}
