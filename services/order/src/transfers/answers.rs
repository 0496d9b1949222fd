//! The wallet's owner has answered: what its answers do to their transfers. One run of answers is one piece of [`Work`];
//! duplicates, late answers and contradictions are `domain::transfer`'s business.

use super::Coordinator;
use super::waiters::Moved;
use super::work::{Applied, TransferInput, Work};
use crate::error::Result;
use crate::storage::Tx;

impl Coordinator {
    /// Applies a run of answers; the caller commits.
    pub(crate) async fn apply_answers(&self, tx: &mut Tx, answers: &[TransferInput]) -> Result<()> {
        let mut work = Work::lock(tx, self.ids.clone(), self.config, answers).await?;
        for answer in answers {
            if work.apply(answer).await? == Applied::Unknown {
                // This database was put back to a time before the transfer, or it was never ours. The
                // participant will ask for the decision and hear what holds in this history.
                tracing::warn!(transfer.id = %answer.transfer_id, input = ?answer.input,
                    "an answer for a transfer that is unknown here");
            }
        }
        work.save(tx).await?;
        for answer in answers {
            fault::point!("transfer.moving", answer.input.as_str());
        }
        Ok(())
    }

    /// A run of answers was applied and committed: wakes the calls that wait for these transfers.
    pub(crate) fn answers_committed(&self, answers: impl Iterator<Item = TransferInput>) {
        self.waiters.wake(answers.map(|answer| {
            fault::point!("transfer.moved", answer.input.as_str());
            let moved = if answer.input.may_end() { Moved::ToItsEnd } else { Moved::On };
            (answer.transfer_id, moved)
        }));
        self.waiters.applied();
    }
}
