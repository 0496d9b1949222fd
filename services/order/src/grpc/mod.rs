//! The wire: what comes in is checked and turned into our types, what goes out into protobuf. One file a noun has its
//! handlers, its conversions and how its refusals look.
#![deny(clippy::wildcard_enum_match_arm)]

mod accounts;
mod audit;
mod customers;
mod orders;
mod products;
#[cfg(test)]
mod refused;
mod transfers;

use api::order::v1::account_service_server::AccountServiceServer;
use api::order::v1::audit_service_server::AuditServiceServer;
use api::order::v1::catalog_service_server::CatalogServiceServer;
use api::order::v1::order_service_server::OrderServiceServer;
use api::order::v1::transfer_service_server::TransferServiceServer;
use api::refusal::{Refusal, Refused, status};
use tonic::Status;
use tonic::server::NamedService;
use tonic::service::Routes;

use crate::app::App;
use crate::audit::Audits;
use crate::error::Error;

type Accounts = AccountServiceServer<accounts::Accounts>;
type Audit = AuditServiceServer<audit::Audit>;
type Catalog = CatalogServiceServer<products::Catalog>;
type Orders = OrderServiceServer<orders::Orders>;
type Transfers = TransferServiceServer<transfers::Transfers>;

/// The full names of the services that [`routes`] answers.
pub(crate) const SERVICES: [&str; 5] =
    [Accounts::NAME, Audit::NAME, Catalog::NAME, Orders::NAME, Transfers::NAME];

/// The rpcs of this service's own packages.
pub(crate) fn routes(app: &App, audits: Audits) -> Routes {
    Routes::new(Catalog::new(products::Catalog(app.clone())))
        .add_service(Orders::new(orders::Orders(app.clone())))
        .add_service(Transfers::new(transfers::Transfers(app.clone())))
        .add_service(Accounts::new(accounts::Accounts(app.clone())))
        .add_service(Audit::new(audit::Audit(audits)))
}

impl Refused for Error {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Failure(failure) => failure.into(),
            Self::Product(refused) => refused.into(),
            Self::Order(refused) => refused.into(),
            Self::Customer(refused) => refused.into(),
            Self::Account(refused) => refused.into(),
            Self::Transfer(refused) => refused.into(),
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

    use super::*;
    use crate::domain::CustomerRefused;
    use crate::domain::fixtures::user;

    #[test]
    fn a_replayed_refusal_is_the_first_one_and_says_that_it_is_a_replay() {
        let first = || Error::from(CustomerRefused::Deactivated(user(1)));
        let replayed = Status::from(Error::Replayed(Box::new(first())));
        let status = Status::from(first());
        assert_eq!((replayed.code(), replayed.message()), (status.code(), status.message()));
        assert_eq!(replayed.details(), status.details());
        assert_eq!(replayed.metadata().get(REPLAY).unwrap(), "true");
        assert!(status.metadata().get(REPLAY).is_none());
    }
}
