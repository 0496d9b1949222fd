//! Transfers for those whom they concern, for participants, and for operators.

use auth::Person;
use events::Mark;
use futures_util::Stream;
use futures_util::stream;
use types::{Answer, Call, Role, TransferId};

use super::App;
use crate::clients::WalletHold;
use crate::domain::TransferRefused;
use crate::domain::transfer::Transfer;
use crate::error::Result;
use crate::storage::HistoryStep;
use crate::transfers::Decided;

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
    /// A transfer that concerns the caller.
    pub(crate) async fn get_transfer(&self, caller: Person, id: TransferId) -> Result<Transfer> {
        let transfer = self.store.transfer_fetch(id).await?;
        let transfer =
            transfer.filter(|transfer| caller.role == Role::Admin || transfer.is_of(caller.user_id));
        Ok(transfer.ok_or(TransferRefused::NotFound(id))?)
    }

    /// A transfer now and after each change, until its end.
    pub(crate) async fn watch_transfer(
        &self,
        caller: Person,
        id: TransferId,
    ) -> Result<impl Stream<Item = Result<Transfer>> + Send + 'static> {
        let first = self.get_transfer(caller, id).await?;
        let transfers = self.transfers.clone();
        Ok(stream::unfold(Next::Tell(Box::new(first)), move |next| {
            let transfers = transfers.clone();
            async move {
                let transfer = match next {
                    Next::Tell(transfer) => *transfer,
                    Next::After(version) => match transfers.changed(id, version).await {
                        Ok(transfer) => transfer,
                        Err(error) => return Some((Err(error), Next::End)),
                    },
                    Next::End => return None,
                };
                let next = if transfer.state.is_final() { Next::End } else { Next::After(transfer.version) };
                Some((Ok(transfer), next))
            }
        }))
    }

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

    /// The decision, for a participant whose hold is past its time, and whose mark on our stream is this.
    pub(crate) async fn get_decision(&self, id: TransferId, mark: Mark) -> Result<Decided> {
        self.transfers.decision(id, &mark).await
    }

    /// Sends the present step's command once more.
    pub(crate) async fn retry_transfer(&self, call: &Call, id: TransferId) -> Result<Answer<Transfer>> {
        self.transfers.retry(call, id).await
    }

    /// Cancels an undecided transfer.
    pub(crate) async fn cancel_transfer(&self, call: &Call, id: TransferId) -> Result<Answer<Transfer>> {
        self.transfers.cancel(call, id).await
    }
}

/// What a watcher is told next.
enum Next {
    Tell(Box<Transfer>),
    After(i64),
    End,
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
    let told = |at, description| HistoryStep { at, description, event_id: None, traceparent: None };
    let made = hold.created_at.map(|at| told(at, "the wallet's hold was made".to_owned()));
    let now = hold.updated_at.map(|at| told(at, format!("the wallet's hold is {}", hold.state)));
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
    let posted = hold.posting.as_ref().map(|(what, at)| told(*at, what.clone()));
    made.into_iter().chain(now).chain(events).chain(posted).collect()
}
