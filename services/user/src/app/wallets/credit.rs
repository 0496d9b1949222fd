//! What a grant and a sending have in common: one request id has one outcome, for ever.
//!
//! A refusal is an outcome too. It leaves no posting, so its row and the posting of a concurrent call with the same
//! request id would not conflict by themselves. Both write the wallet that the refusal hangs on (the sender's, or the
//! one that a grant is for), and look for both rows in the snapshot that they write on: of two such calls one
//! conflicts, tries again, and finds what the other left. Only a grant to nobody writes no wallet: ids of users are
//! made here, so whoever was no user in one call's snapshot is none in the other's, and the two rows meet.

use types::{Answer, Call, Keep};

use crate::app::{App, or_first_answer};
use crate::domain::ledger::{Kind, WalletEntry};
use crate::domain::wallet::CreditRefused;
use crate::error::{Error, Result};
use crate::storage::{Finished, Tx};

/// The entry of whoever asked, or why there is none. Both are committed.
pub(super) type Outcome = Result<WalletEntry, CreditRefused>;

/// What the caller is answered.
fn answer_of(Answer { value, is_replay }: Answer<Outcome>) -> Result<Answer<WalletEntry>> {
    match value {
        Ok(value) => Ok(Answer { value, is_replay }),
        Err(refused) if is_replay => Err(Error::Replayed(Box::new(refused.into()))),
        Err(refused) => Err(refused.into()),
    }
}

impl App {
    /// The outcome that the request id had before this transaction began.
    pub(super) async fn credit_outcome(
        &self,
        tx: &mut Tx,
        call: &Call,
        answer: Kind,
    ) -> Result<Option<Answer<Outcome>>> {
        if let Some(entry) = tx.posting_replay(call, answer).await? {
            return Ok(Some(Answer::replay(Ok(entry))));
        }
        let Some(saved) = tx.request_fetch(&call.key).await? else { return Ok(None) };
        Ok(Some(saved.replay(call)?.map(Err)))
    }

    /// Keeps a refusal.
    pub(super) fn credit_refuse(
        &self,
        mut tx: Tx,
        call: &Call,
        refused: CreditRefused,
    ) -> Result<Finished<Answer<Outcome>>> {
        tx.request_insert(call, &refused, self.now(), Keep::Forever)?;
        Ok(tx.commit(Answer::first(Err(refused))))
    }

    /// The answer to a grant or a sending, given what its transaction came to.
    pub(super) async fn credit_answer(
        &self,
        call: &Call,
        answer: Kind,
        outcome: Result<Answer<Outcome>>,
    ) -> Result<Answer<WalletEntry>> {
        let first = async || {
            let mut tx = self.store.begin("credit_outcome").await?;
            let outcome = self.credit_outcome(&mut tx, call, answer).await;
            tx.rollback().await;
            outcome
        };
        answer_of(or_first_answer(outcome, first).await?)
    }
}
