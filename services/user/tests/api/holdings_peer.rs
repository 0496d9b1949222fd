//! Order service as user service asks it what somebody still has there, over real gRPC.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use api::order::v1::order_service_server::OrderService;
use api::order::v1::*;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

/// What everybody has. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holdings(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    of: HashMap<String, GetCustomerHoldingsResponse>,
    is_away: bool,
    asked: u32,
}

impl Holdings {
    /// From now on a user has this.
    pub(crate) fn set(&self, user_id: &str, holdings: GetCustomerHoldingsResponse) {
        self.0.lock().unwrap().of.insert(user_id.to_owned(), holdings);
    }

    /// Whether nobody answers from now on.
    pub(crate) fn be_away(&self, is_away: bool) {
        self.0.lock().unwrap().is_away = is_away;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> u32 {
        self.0.lock().unwrap().asked
    }
}

fn not_imitated<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not imitated"))
}

#[tonic::async_trait]
impl OrderService for Holdings {
    type SnapshotOrderStatisticsStream = BoxStream<SnapshotOrderStatisticsResponse>;

    async fn get_customer_holdings(
        &self,
        request: Request<GetCustomerHoldingsRequest>,
    ) -> Result<Response<GetCustomerHoldingsResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        if state.is_away {
            return Err(Status::unavailable("away"));
        }
        Ok(Response::new(state.of.get(&request.get_ref().user_id).cloned().unwrap_or_default()))
    }

    async fn place_order(
        &self,
        _: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        not_imitated()
    }

    async fn get_order(&self, _: Request<GetOrderRequest>) -> Result<Response<GetOrderResponse>, Status> {
        not_imitated()
    }

    async fn cancel_order(
        &self,
        _: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        not_imitated()
    }

    async fn transfer_order(
        &self,
        _: Request<TransferOrderRequest>,
    ) -> Result<Response<TransferOrderResponse>, Status> {
        not_imitated()
    }

    async fn snapshot_order_statistics(
        &self,
        _: Request<SnapshotOrderStatisticsRequest>,
    ) -> Result<Response<Self::SnapshotOrderStatisticsStream>, Status> {
        not_imitated()
    }
}
