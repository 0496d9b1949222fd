//! This service's part in moving credit to and from order service: reserve, then post or release, as the
//! coordinator there decides.
//!
//! Commands arrive as events of the stream `order`; each is applied by the participant's table
//! (`events::participant`) and answered by an event of ours, all in the transaction that moves the consumer's
//! mark. [`expiry`] asks for the decision when none has come in time; nothing here ever decides.

mod answer;
mod command;
pub mod expiry;

use std::fmt;
use std::sync::Arc;

use events::{ConsumerId, EffectError, Effects, Event, StoreError, participant};
use types::{Clock, IdSource};

use crate::domain::wallet::WalletKey;
use crate::storage::Tx;
use answer::Answer;
use command::Command;

/// The consumer that these effects are of. What it applies, and what [`expiry`] applies, exclude each other by
/// its mark.
pub const CONSUMER: ConsumerId = ConsumerId { name: "user.transfers", stream: "order" };

/// Applies the coordinator's commands.
#[derive(Clone)]
pub struct TransferEffects {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl fmt::Debug for TransferEffects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransferEffects")
    }
}

impl TransferEffects {
    /// Effects whose answers get their ids and times from here.
    pub fn new(clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { clock, ids }
    }

    /// Applies one command and answers it. Every command gets an answer, a duplicate too: an operator who has
    /// a step sent again is waiting for one.
    async fn apply_one(&self, tx: &mut Tx, command: &Command<'_>) -> Result<(), StoreError> {
        let applied = participant::apply(tx, &command.step).await?;
        let answer = Answer::to(&command.step, &applied);
        if matches!(answer, Answer::Impossible { .. }) {
            tracing::error!(
                transfer.id = %command.step.transfer_id(),
                step = command.step.as_str(),
                hold = ?applied.hold.map(|hold| hold.state),
                "a step of a transfer is impossible; an operator must look"
            );
        }
        let event = command.event;
        answer.append(tx, event.new.id, event.new.headers.clone(), self.ids.next(), self.clock.now()).await
    }
}

impl Effects<Tx> for TransferEffects {
    async fn apply(&self, tx: &mut Tx, run: &[Event]) -> Result<(), EffectError> {
        let commands: Vec<Command<'_>> =
            run.iter().filter_map(|event| Command::decode(event).transpose()).collect::<Result<_, _>>()?;
        if commands.is_empty() {
            return Ok(());
        }
        wallets_lock(tx, commands.iter().map(|command| &command.step)).await?;
        for command in &commands {
            self.apply_one(tx, command).await?;
        }
        Ok(())
    }
}

/// Locks what the steps will change: the wallets that they name and those that their holds name, each once, by
/// id.
async fn wallets_lock<'a>(
    tx: &mut Tx,
    steps: impl Iterator<Item = &'a participant::Step>,
) -> Result<(), StoreError> {
    let (mut wallets, mut transfers) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            participant::Step::Reserve(spec) => wallets.push(WalletKey::of(spec.owner, spec.amount)),
            participant::Step::Confirm(id) | participant::Step::Cancel(id) => transfers.push(*id),
        }
    }
    if !transfers.is_empty() {
        wallets.extend(tx.hold_wallets(&transfers).await?);
    }
    wallets.sort_unstable();
    wallets.dedup();
    tx.wallet_lock(&wallets).await?;
    Ok(())
}
