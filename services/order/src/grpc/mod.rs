//! The wire: what comes in is checked and turned into our types, what goes out into protobuf.

mod account_service;
mod audit_service;
mod call;
mod catalog_service;
mod convert;
mod order_service;
mod status;
mod transfer_convert;
mod transfer_service;

use api::order::v1::account_service_server::AccountServiceServer;
use api::order::v1::audit_service_server::AuditServiceServer;
use api::order::v1::catalog_service_server::CatalogServiceServer;
use api::order::v1::order_service_server::OrderServiceServer;
use api::order::v1::transfer_service_server::TransferServiceServer;
use tonic::service::Routes;

use crate::app::App;
use crate::audit::Audits;

pub(crate) use status::DOMAIN;

/// The rpcs of this service's own packages.
pub(crate) fn routes(app: &App, audits: Audits) -> Routes {
    Routes::new(CatalogServiceServer::new(catalog_service::Catalog(app.clone())))
        .add_service(OrderServiceServer::new(order_service::Orders(app.clone())))
        .add_service(TransferServiceServer::new(transfer_service::Transfers(app.clone())))
        .add_service(AccountServiceServer::new(account_service::Accounts(app.clone())))
        .add_service(AuditServiceServer::new(audit_service::Audit(audits)))
}
