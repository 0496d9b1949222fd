//! `order.v1.TransferService`: decode, use case, encode.

use std::pin::Pin;

use api::order::v1::transfer_service_server::TransferService;
use api::order::v1::{
    CancelTransferRequest, CancelTransferResponse, ExplainTransferRequest, ExplainTransferResponse,
    GetDecisionRequest, GetDecisionResponse, GetTransferRequest, GetTransferResponse, PayOrderRequest,
    PayOrderResponse, RefundOrderRequest, RefundOrderResponse, RetryTransferRequest, RetryTransferResponse,
    WatchTransferRequest, WatchTransferResponse,
};
use events::Mark;
use futures_util::{Stream, StreamExt as _};
use runtime::deadline::Deadline;
use tonic::{Request, Response, Status};
use types::{EventId, TransferId};

use super::call::{call, caller, respond};
use super::convert::check;
use super::transfer_convert::{decision, refund_order};
use crate::app::App;
use crate::domain::transfer::Kind;

/// The transfers.
#[derive(Clone)]
pub(super) struct Transfers(pub(super) App);

#[tonic::async_trait]
impl TransferService for Transfers {
    async fn pay_order(
        &self,
        request: Request<PayOrderRequest>,
    ) -> Result<Response<PayOrderResponse>, Status> {
        let (caller, deadline) = (caller(&request)?, Deadline::current().map(|deadline| deadline.0));
        let request = request.into_inner();
        let (request_id, order_id) = check(|v| {
            let request_id = v.request_id(&request.request_id);
            let order_id = v.id("order_id", &request.order_id);
            request_id.zip(order_id)
        })?;
        let call = call(caller, Kind::Pay.method(), request_id, &request);
        let answer = self.0.pay_order(&call, caller, order_id, deadline).await?;
        Ok(respond(answer, |settled| PayOrderResponse {
            transfer: Some(settled.transfer.into()),
            order: Some(settled.order.into()),
        }))
    }

    async fn refund_order(
        &self,
        request: Request<RefundOrderRequest>,
    ) -> Result<Response<RefundOrderResponse>, Status> {
        let (caller, deadline) = (caller(&request)?, Deadline::current().map(|deadline| deadline.0));
        let request = request.into_inner();
        let (request_id, wish) = check(|v| {
            let request_id = v.request_id(&request.request_id);
            let wish = refund_order(v, &request);
            request_id.zip(wish)
        })?;
        let call = call(caller, Kind::Refund.method(), request_id, &request);
        let answer = self.0.refund_order(&call, caller, wish, deadline).await?;
        Ok(respond(answer, |settled| RefundOrderResponse {
            transfer: Some(settled.transfer.into()),
            order: Some(settled.order.into()),
        }))
    }

    async fn get_transfer(
        &self,
        request: Request<GetTransferRequest>,
    ) -> Result<Response<GetTransferResponse>, Status> {
        let caller = caller(&request)?;
        let id = check(|v| v.id("transfer_id", &request.get_ref().transfer_id))?;
        let transfer = self.0.transfer(caller, id).await?;
        Ok(Response::new(GetTransferResponse { transfer: Some(transfer.into()) }))
    }

    type WatchTransferStream = Pin<Box<dyn Stream<Item = Result<WatchTransferResponse, Status>> + Send>>;

    async fn watch_transfer(
        &self,
        request: Request<WatchTransferRequest>,
    ) -> Result<Response<Self::WatchTransferStream>, Status> {
        let caller = caller(&request)?;
        let id = check(|v| v.id("transfer_id", &request.get_ref().transfer_id))?;
        let changes = self
            .0
            .watch_transfer(caller, id)
            .await?
            .map(|change| Ok(WatchTransferResponse { transfer: Some(change?.into()) }));
        Ok(Response::new(Box::pin(changes)))
    }

    async fn explain_transfer(
        &self,
        request: Request<ExplainTransferRequest>,
    ) -> Result<Response<ExplainTransferResponse>, Status> {
        let id = check(|v| v.id("transfer_id", &request.get_ref().transfer_id))?;
        Ok(Response::new(self.0.explain_transfer(id).await?.into()))
    }

    async fn retry_transfer(
        &self,
        request: Request<RetryTransferRequest>,
    ) -> Result<Response<RetryTransferResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let (request_id, id) = check(|v| {
            let request_id = v.request_id(&request.request_id);
            let transfer_id = v.id::<TransferId>("transfer_id", &request.transfer_id);
            request_id.zip(transfer_id)
        })?;
        let call = call(caller, "order.v1.TransferService/RetryTransfer", request_id, &request);
        let answer = self.0.retry_transfer(&call, id).await?;
        Ok(respond(answer, |transfer| RetryTransferResponse { transfer: Some(transfer.into()) }))
    }

    async fn cancel_transfer(
        &self,
        request: Request<CancelTransferRequest>,
    ) -> Result<Response<CancelTransferResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let (request_id, id) = check(|v| {
            let request_id = v.request_id(&request.request_id);
            let transfer_id = v.id::<TransferId>("transfer_id", &request.transfer_id);
            request_id.zip(transfer_id)
        })?;
        let call = call(caller, "order.v1.TransferService/CancelTransfer", request_id, &request);
        let answer = self.0.cancel_transfer(&call, id).await?;
        Ok(respond(answer, |transfer| CancelTransferResponse { transfer: Some(transfer.into()) }))
    }

    async fn get_decision(
        &self,
        request: Request<GetDecisionRequest>,
    ) -> Result<Response<GetDecisionResponse>, Status> {
        let request = request.into_inner();
        let ((id, epoch), event_id) = check(|v| {
            let id = v.id::<TransferId>("transfer_id", &request.transfer_id);
            let epoch = v.uuid("epoch", &request.epoch);
            let event_id = v.optional_id::<EventId>("event_id", &request.event_id);
            if request.position < 0 {
                v.add("position", "NEGATIVE", "must not be negative");
            }
            id.zip(epoch).zip(event_id)
        })?;
        let decided = self.0.decision(id, Mark { epoch, position: request.position, event_id }).await?;
        Ok(Response::new(GetDecisionResponse {
            decision: decision(decided.decision).into(),
            epoch: decided.epoch.to_string(),
        }))
    }
}
