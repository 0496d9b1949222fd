//! User service's part of the audit, as order service sees it: a book that always agrees, on a service that may fail
//! or say nothing.

use std::sync::{Arc, Mutex};

use api::user::v1::audit_service_server::AuditService;
use api::user::v1::hold::State;
use api::user::v1::{
    AuditBookRequest, AuditBookResponse, GetPostingsRequest, GetPostingsResponse, TransferPosting,
};
use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

/// What happens to somebody who wants this book audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Book {
    /// It is in order.
    Conserved,
    /// A full audit of it fails.
    FullFails,
    /// Nothing is said, until this changes.
    Silent,
}

/// The wallets' book: whatever order service has posted is posted here too.
#[derive(Clone)]
pub(crate) struct WalletAudits {
    /// Order service's database, which tells what that is.
    url: Arc<Mutex<String>>,
    book: watch::Sender<Book>,
    /// How many have asked.
    asked: watch::Sender<u32>,
}

impl Default for WalletAudits {
    fn default() -> Self {
        Self { url: Arc::default(), book: watch::Sender::new(Book::Conserved), asked: watch::Sender::new(0) }
    }
}

impl WalletAudits {
    /// Agrees with the book in this database.
    pub(crate) fn agree_with(&self, url: &str) {
        url.clone_into(&mut self.url.lock().unwrap());
    }

    pub(crate) fn set(&self, book: Book) {
        self.book.send_replace(book);
    }

    /// Ends once somebody has asked for an audit of the book.
    pub(crate) async fn asked(&self) {
        self.asked.subscribe().wait_for(|count| *count > 0).await.unwrap();
    }
}

#[tonic::async_trait]
impl AuditService for WalletAudits {
    type AuditBookStream = BoxStream<AuditBookResponse>;

    async fn get_postings(
        &self,
        request: Request<GetPostingsRequest>,
    ) -> Result<Response<GetPostingsResponse>, Status> {
        let url = self.url.lock().unwrap().clone();
        let mut sql = PgConnection::connect(&url).await.unwrap();
        let query = "SELECT epoch FROM outbox_lease WHERE stream = 'order'";
        let epoch: Uuid = sqlx::query_scalar(query).fetch_one(&mut sql).await.unwrap();
        let ids: Vec<Uuid> =
            request.into_inner().transfer_ids.iter().map(|id| Uuid::parse_str(id).unwrap()).collect();
        let query = "SELECT x.id, x.wallet_user_id, x.order_id, e.debit - e.credit, x.currency
                     FROM transfers x JOIN entries e ON e.transfer_id = x.id AND e.account = 'merchant'
                     WHERE x.id = ANY($1)";
        let rows: Vec<(Uuid, Uuid, Uuid, i64, String)> =
            sqlx::query_as(query).bind(ids).fetch_all(&mut sql).await.unwrap();
        let posting = |(id, user, order, minor_units, currency_code): (Uuid, Uuid, Uuid, _, _)| {
            let amount = api::common::v1::Money { currency_code, minor_units };
            TransferPosting {
                transfer_id: id.to_string(),
                user_id: user.to_string(),
                order_id: order.to_string(),
                amount: Some(amount),
                hold_state: State::Posted.into(),
            }
        };
        let postings = rows.into_iter().map(posting).collect();
        Ok(Response::new(GetPostingsResponse { postings, epoch: epoch.to_string(), position: i64::MAX }))
    }

    async fn audit_book(
        &self,
        request: Request<AuditBookRequest>,
    ) -> Result<Response<Self::AuditBookStream>, Status> {
        self.asked.send_modify(|count| *count += 1);
        if *self.book.borrow() == Book::FullFails && request.get_ref().full {
            return Err(Status::unavailable("away"));
        }
        let mut book = self.book.subscribe();
        let page = async move {
            let said = book.wait_for(|book| *book != Book::Silent).await;
            said.map(|_| AuditBookResponse::default()).map_err(|error| Status::unknown(error.to_string()))
        };
        Ok(Response::new(Box::pin(futures_util::stream::once(page))))
    }
}
