//! What a grant and a sending have in common: one request id has one outcome, for ever.
//!
//! A refusal is an outcome too. It leaves no posting, so its row and the posting of a concurrent call with the same
//! request id would not conflict by themselves. Both write the wallet that the refusal hangs on (the sender's, or the
//! one that a grant is for), and look for both rows in the snapshot that they write on: of two such calls one
//! conflicts, tries again, and finds what the other left. Only a grant to nobody writes no wallet: ids of users are
//! made here, so whoever was no user in one call's snapshot is none in the other's, and the two rows meet.

use super::{Answer, App, Idempotency};
use crate::domain::ledger::{Kind, WalletEntry};
use crate::domain::wallet::CreditRefused;
use crate::error::{Error, Result};
use crate::storage::{Claim, Keep, Outcome, Tx};

/// The entry of whoever asked, or why there is none. The inner error is an outcome that commits.
pub(super) type Moved = Result<Answer<WalletEntry>, Answer<CreditRefused>>;

/// What the caller is told.
pub(super) fn told(moved: Moved) -> Result<Answer<WalletEntry>> {
    moved.map_err(|Answer { value, is_replay }| {
        let refused = Error::from(value);
        if is_replay { Error::Replayed(Box::new(refused)) } else { refused }
    })
}

impl App {
    /// The outcome that the request id had before this transaction began.
    pub(super) async fn credit_outcome(
        &self,
        tx: &mut Tx,
        Idempotency { key, fingerprint }: &Idempotency,
        answer: Kind,
    ) -> Result<Option<Moved>> {
        if let Some(entry) = tx.posting_replay(Claim { key, fingerprint }, answer).await? {
            return Ok(Some(Ok(Answer::again(entry))));
        }
        let Some(saved) = tx.request_fetch(key).await? else { return Ok(None) };
        let refused = saved.replay(key, fingerprint)?.into_credit_refused()?;
        Ok(Some(Err(Answer::again(refused))))
    }

    /// Keeps a refusal.
    pub(super) fn credit_refuse(
        &self,
        tx: &mut Tx,
        Idempotency { key, fingerprint }: &Idempotency,
        refused: CreditRefused,
    ) -> Result<Moved> {
        let outcome = Outcome::CreditRefused(refused);
        tx.request_insert(key, fingerprint, &outcome, self.now(), Keep::Forever)?;
        Ok(Err(Answer::first(refused)))
    }

    /// As [`App::or_first_answer`], for credit.
    pub(super) async fn or_first_outcome(
        &self,
        moved: Result<Moved>,
        idempotency: &Idempotency,
        answer: Kind,
    ) -> Result<Moved> {
        let Err(Error::Contention) = moved else { return moved };
        let mut tx = self.store.begin("credit_outcome").await?;
        let outcome = self.credit_outcome(&mut tx, idempotency, answer).await;
        tx.rollback().await;
        outcome?.ok_or(Error::RequestInProgress)
    }
}
