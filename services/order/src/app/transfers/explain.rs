//! All that both services know of a transfer, for operators.

use types::TransferId;

use crate::app::App;
use crate::clients::WalletHold;
use crate::domain::TransferRefused;
use crate::domain::transfer::Transfer;
use crate::error::Result;
use crate::storage::HistoryStep;

/// This service, and the other one that knows of transfers.
const HERE: &str = "order-service";
const THERE: &str = "user-service";

/// All that is known of a transfer.
#[derive(Debug)]
pub(crate) struct Explanation {
    pub(crate) transfer: Transfer,
    /// What happened and who knows it, oldest first.
    pub(crate) steps: Vec<(&'static str, HistoryStep)>,
    pub(crate) unreachable_sources: Vec<&'static str>,
}

impl App {
    /// What both services know of a transfer.
    pub(crate) async fn explain_transfer(&self, id: TransferId) -> Result<Explanation> {
        let transfer = self.store.transfer_fetch(id).await?.ok_or(TransferRefused::NotFound(id))?;
        let history = self.store.transfer_history(id).await?;
        let mut steps = vec![(HERE, started(&transfer))];
        steps.extend(decided(&transfer).map(|step| (HERE, step)));
        steps.extend(history.into_iter().map(|step| (HERE, step)));
        let mut unreachable_sources = Vec::new();
        match self.wallets.hold(id).await {
            Ok(hold) => steps.extend(hold.iter().flat_map(held).map(|step| (THERE, step))),
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "user service does not tell its side"
                );
                unreachable_sources.push(THERE);
            }
        }
        steps.sort_by_key(|(_, step)| step.at);
        Ok(Explanation { transfer, steps, unreachable_sources })
    }
}

fn started(transfer: &Transfer) -> HistoryStep {
    let Transfer { kind, amount, order_id, principal, .. } = transfer;
    HistoryStep {
        at: transfer.created_at,
        description: format!("{principal} asked to {kind} {amount} for order {order_id}"),
        event_id: None,
        traceparent: None,
    }
}

fn decided(transfer: &Transfer) -> Option<HistoryStep> {
    let (at, decision) = transfer.decided_at.zip(transfer.decision())?;
    let reason = transfer.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    Some(HistoryStep {
        at,
        description: format!("decided {}{reason}", decision.as_str()),
        event_id: None,
        traceparent: None,
    })
}

fn held(hold: &WalletHold) -> Vec<HistoryStep> {
    let step = |at, description| HistoryStep { at, description, event_id: None, traceparent: None };
    let made = hold.created_at.map(|at| step(at, "the wallet's hold was made".to_owned()));
    let now = hold.updated_at.map(|at| step(at, format!("the wallet's hold is {}", hold.state)));
    let events = hold.events.iter().map(|event| {
        let place = event
            .position
            .map_or_else(|| ", not stamped yet".to_owned(), |position| format!(" at position {position}"));
        HistoryStep {
            at: event.created_at,
            description: format!("{}{place}", event.event_type),
            event_id: Some(event.id),
            traceparent: event.traceparent.clone(),
        }
    });
    let posted = hold.posting.as_ref().map(|(what, at)| step(*at, what.clone()));
    made.into_iter().chain(now).chain(events).chain(posted).collect()
}
