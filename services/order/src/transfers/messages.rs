//! The events of a transfer as messages: the commands to the wallet's owner, and what becomes of the order.

use api::order::v1::credit_reserve_requested::Direction;
use api::order::v1::{
    CreditCancelRequested, CreditConfirmRequested, CreditReserveRequested, OrderPaid, OrderRefunded,
    TransferCancelled, TransferCompleted,
};
use api::violations::timestamp;
use events::{Aggregate, Headers, NewEvent};
use prost::Name;
use time::OffsetDateTime;
use types::{Call, EventId};

use crate::domain::order_funds::OrderFunds;
use crate::domain::transfer::{Kind, Reason, Transfer};

/// What every event of one change has in common.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The trace and the request that led to the change.
    pub(crate) headers: Headers,
    /// When it is made.
    pub(crate) at: OffsetDateTime,
}

/// The present trace, and the request of the call that is being served, if there is one.
pub(super) fn headers(call: Option<&Call>) -> Headers {
    Headers {
        traceparent: runtime::telemetry::current_traceparent(),
        tracestate: None,
        request_id: call.map(|call| call.key.request_id),
    }
}

impl Origin {
    /// Of a change that the call which is being served makes.
    pub(crate) fn of(call: &Call, at: OffsetDateTime) -> Self {
        Self { headers: headers(Some(call)), at }
    }

    /// An event of the change.
    pub(crate) fn event(
        &self,
        id: EventId,
        aggregate: Aggregate,
        version: i64,
        payload: &impl Name,
    ) -> NewEvent {
        NewEvent::new(id, aggregate, version, payload, self.headers.clone(), self.at)
    }

    fn of_transfer(&self, id: EventId, transfer: &mut Transfer, payload: &impl Name) -> NewEvent {
        transfer.event_version += 1;
        self.event(id, Aggregate::new("transfer", transfer.id), transfer.event_version, payload)
    }

    fn of_order(&self, id: EventId, order: &mut OrderFunds, payload: &impl Name) -> NewEvent {
        let version = order.next_event();
        self.event(id, Aggregate::new("order", order.id), version, payload)
    }

    /// Command: reserve.
    pub(crate) fn reserve(&self, id: EventId, transfer: &mut Transfer) -> NewEvent {
        let payload = CreditReserveRequested {
            transfer_id: transfer.id.to_string(),
            user_id: transfer.wallet_user_id.to_string(),
            direction: match transfer.kind {
                Kind::Pay => Direction::Debit,
                Kind::Refund => Direction::Credit,
            }
            .into(),
            amount: Some(transfer.amount.into()),
            deadline_time: Some(timestamp(transfer.deadline)),
            order_id: transfer.order_id.to_string(),
        };
        self.of_transfer(id, transfer, &payload)
    }

    /// Command: post.
    pub(crate) fn confirm(&self, id: EventId, transfer: &mut Transfer) -> NewEvent {
        let payload = CreditConfirmRequested { transfer_id: transfer.id.to_string() };
        self.of_transfer(id, transfer, &payload)
    }

    /// Command: release, or make sure that nothing will ever be held.
    pub(crate) fn cancel(&self, id: EventId, transfer: &mut Transfer) -> NewEvent {
        let payload = CreditCancelRequested { transfer_id: transfer.id.to_string() };
        self.of_transfer(id, transfer, &payload)
    }

    /// Both books have it.
    pub(crate) fn completed(&self, id: EventId, transfer: &mut Transfer) -> NewEvent {
        let payload = TransferCompleted { transfer_id: transfer.id.to_string() };
        self.of_transfer(id, transfer, &payload)
    }

    /// Nothing moved.
    pub(crate) fn cancelled(&self, id: EventId, transfer: &mut Transfer, reason: Reason) -> NewEvent {
        let payload =
            TransferCancelled { transfer_id: transfer.id.to_string(), reason: reason.as_str().to_owned() };
        self.of_transfer(id, transfer, &payload)
    }

    /// The order was paid, or part of it refunded.
    pub(crate) fn order_settled(&self, id: EventId, transfer: &Transfer, order: &mut OrderFunds) -> NewEvent {
        let (order_id, transfer_id) = (order.id.to_string(), transfer.id.to_string());
        let amount = Some(transfer.amount.into());
        match transfer.kind {
            Kind::Pay => {
                let customer_id = order.customer_id.to_string();
                self.of_order(id, order, &OrderPaid { order_id, customer_id, transfer_id, amount })
            }
            Kind::Refund => self.of_order(id, order, &OrderRefunded { order_id, transfer_id, amount }),
        }
    }
}
