//! Transfers between the wire's types and ours.

use api::order::v1::explain_transfer_response::Step;
use api::order::v1::transfer::{Decision as WireDecision, Kind as WireKind, State as WireState};
use api::order::v1::{self, GetDecisionRequest, RefundOrderRequest};
use api::violations::{Violations, timestamp};
use events::Mark;
use types::{EventId, TransferId};

use crate::app::transfers::{Explanation, RefundOrder};
use crate::domain::transfer::{Decision, Kind, State, Transfer};
use crate::storage::HistoryStep;

pub(super) fn refund_order(v: &mut Violations, request: &RefundOrderRequest) -> Option<RefundOrder> {
    let order_id = v.id("order_id", &request.order_id);
    let amount = v.amount("amount", request.amount.as_ref());
    Some(RefundOrder { order_id: order_id?, amount: amount? })
}

/// Which transfer's decision is asked for, and how far the participant that asks has heard stream `order`.
pub(super) fn get_decision(v: &mut Violations, request: &GetDecisionRequest) -> Option<(TransferId, Mark)> {
    let id = v.id("transfer_id", &request.transfer_id);
    let epoch = v.uuid("epoch", &request.epoch);
    let event_id = v.optional_id::<EventId>("event_id", &request.event_id);
    if request.position < 0 {
        v.add("position", "NEGATIVE", "must not be negative");
    }
    Some((id?, Mark { epoch: epoch?, position: request.position, event_id: event_id? }))
}

impl From<Kind> for WireKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Pay => Self::Pay,
            Kind::Refund => Self::Refund,
        }
    }
}

impl From<State> for WireState {
    fn from(state: State) -> Self {
        match state {
            State::Reserving => Self::Reserving,
            State::Confirming => Self::Confirming,
            State::Cancelling => Self::Cancelling,
            State::Completed => Self::Completed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// Unspecified while there is none.
pub(crate) fn decision(decision: Option<Decision>) -> WireDecision {
    match decision {
        None => WireDecision::Unspecified,
        Some(Decision::Confirm) => WireDecision::Confirm,
        Some(Decision::Cancel) => WireDecision::Cancel,
    }
}

impl From<Transfer> for v1::Transfer {
    fn from(transfer: Transfer) -> Self {
        Self {
            id: transfer.id.to_string(),
            kind: WireKind::from(transfer.kind).into(),
            order_id: transfer.order_id.to_string(),
            wallet_user_id: transfer.wallet_user_id.to_string(),
            account_owner_id: transfer.account_owner_id.to_string(),
            amount: Some(transfer.amount.into()),
            state: WireState::from(transfer.state).into(),
            decision: decision(transfer.decision()).into(),
            reason: transfer.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
            needs_operator: transfer.needs_operator,
            create_time: Some(timestamp(transfer.created_at)),
            update_time: Some(timestamp(transfer.updated_at)),
            deadline_time: Some(timestamp(transfer.deadline)),
        }
    }
}

impl From<Explanation> for v1::ExplainTransferResponse {
    fn from(explanation: Explanation) -> Self {
        let Explanation { transfer, steps, unreachable_sources } = explanation;
        Self {
            last_error: transfer.last_error.clone(),
            transfer: Some(transfer.into()),
            steps: steps.into_iter().map(|(source, step)| history_step(source, step)).collect(),
            unreachable_sources: unreachable_sources.into_iter().map(str::to_owned).collect(),
        }
    }
}

fn history_step(source: &str, step: HistoryStep) -> Step {
    Step {
        time: Some(timestamp(step.at)),
        source: source.to_owned(),
        description: step.description,
        event_id: step.event_id.map(|id| id.to_string()).unwrap_or_default(),
        trace_id: step.traceparent.as_deref().and_then(trace_id).unwrap_or_default().to_owned(),
    }
}

/// The second part of `00-<trace>-<span>-<flags>`.
fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_is_read_out_of_a_traceparent() {
        assert_eq!(
            trace_id("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").map(str::len),
            Some(32)
        );
        assert_eq!(trace_id("nonsense"), None);
    }
}
