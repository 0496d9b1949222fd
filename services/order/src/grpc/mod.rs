//! The wire: what comes in is checked and turned into our types, what goes out into protobuf.

mod call;
mod catalog_service;
mod convert;
mod order_service;
mod status;

use api::order::v1::catalog_service_server::CatalogServiceServer;
use api::order::v1::order_service_server::OrderServiceServer;
use tonic::service::Routes;

use crate::app::App;

pub(crate) use status::DOMAIN;

/// The rpcs of this service's own packages.
pub(crate) fn routes(app: &App) -> Routes {
    Routes::new(CatalogServiceServer::new(catalog_service::Catalog(app.clone())))
        .add_service(OrderServiceServer::new(order_service::Orders(app.clone())))
}
