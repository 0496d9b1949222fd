//! `order.v1.OrderService`: decode, use case, encode.

use std::pin::Pin;

use api::order::v1::order_service_server::OrderService;
use api::order::v1::{
    CancelOrderRequest, CancelOrderResponse, GetOrderRequest, GetOrderResponse, PlaceOrderRequest,
    PlaceOrderResponse, SnapshotOrderStatisticsRequest, SnapshotOrderStatisticsResponse,
    TransferOrderRequest, TransferOrderResponse,
};
use futures_util::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status};

use super::call::{call, caller, respond};
use super::convert::{cancel_order, check, customer_statistics, transfer_order, wanted};
use crate::app::App;

/// The orders.
#[derive(Clone)]
pub(super) struct Orders(pub(super) App);

#[tonic::async_trait]
impl OrderService for Orders {
    type SnapshotOrderStatisticsStream =
        Pin<Box<dyn Stream<Item = Result<SnapshotOrderStatisticsResponse, Status>> + Send>>;

    async fn snapshot_order_statistics(
        &self,
        _request: Request<SnapshotOrderStatisticsRequest>,
    ) -> Result<Response<Self::SnapshotOrderStatisticsStream>, Status> {
        let statistics = self.0.statistics().await?;
        let head = statistics.head();
        let first = SnapshotOrderStatisticsResponse {
            epoch: head.epoch.to_string(),
            position: head.position,
            event_id: head.event_id.map(|id| id.to_string()).unwrap_or_default(),
            customers: Vec::new(),
        };
        let pages = stream::try_unfold(statistics, |mut statistics| async move {
            let Some(page) = statistics.next_page().await? else { return Ok(None) };
            let customers = page.into_iter().map(customer_statistics).collect();
            Ok(Some((
                SnapshotOrderStatisticsResponse { customers, ..SnapshotOrderStatisticsResponse::default() },
                statistics,
            )))
        });
        Ok(Response::new(Box::pin(stream::iter([Ok(first)]).chain(pages))))
    }

    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let (request_id, wanted) = check(|v| {
            let request_id = v.request_id(&request.request_id);
            let wanted = wanted(v, &request.items);
            request_id.zip(wanted)
        })?;
        let call = call(caller, "order.v1.OrderService/PlaceOrder", request_id, &request);
        let answer = self.0.place_order(&call, caller.user_id, &wanted).await?;
        Ok(respond(answer, |order| PlaceOrderResponse { order: Some(order.into()) }))
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        let caller = caller(&request)?;
        let order_id = check(|v| v.id("order_id", &request.get_ref().order_id))?;
        let order = self.0.order(caller, order_id).await?;
        Ok(Response::new(GetOrderResponse { order: Some(order.into()) }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let (request_id, wish) = check(|v| {
            let request_id = v.request_id(&request.request_id);
            let wish = cancel_order(v, &request);
            request_id.zip(wish)
        })?;
        let call = call(caller, "order.v1.OrderService/CancelOrder", request_id, &request);
        let answer = self.0.cancel_order(&call, caller, wish).await?;
        Ok(respond(answer, |order| CancelOrderResponse { order: Some(order.into()) }))
    }

    async fn transfer_order(
        &self,
        request: Request<TransferOrderRequest>,
    ) -> Result<Response<TransferOrderResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let (request_id, wish) = check(|v| {
            let request_id = v.request_id(&request.request_id);
            let wish = transfer_order(v, &request, caller.user_id);
            request_id.zip(wish)
        })?;
        let call = call(caller, "order.v1.OrderService/TransferOrder", request_id, &request);
        let answer = self.0.transfer_order(&call, wish).await?;
        Ok(respond(answer, |order| TransferOrderResponse { order: Some(order.into()) }))
    }
}
