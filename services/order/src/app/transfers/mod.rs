//! Transfers for those whom they concern, for participants, and for operators.

mod explain;
mod pay;

use auth::Person;
use events::Mark;
use futures_util::Stream;
use futures_util::stream;
use types::{Answer, Call, Role, TransferId};

use crate::app::App;
use crate::domain::TransferRefused;
use crate::domain::transfer::Transfer;
use crate::error::Result;
use crate::transfers::Decided;

pub(crate) use crate::transfers::RefundOrder;
pub(crate) use explain::Explanation;

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

/// What a watcher hears next.
enum Next {
    Tell(Box<Transfer>),
    After(i64),
    End,
}
