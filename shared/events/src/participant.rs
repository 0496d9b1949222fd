//! The participant's table of the transfer protocol: what reserve, confirm and cancel do to a hold in each of
//! its states. Written once, for the wallets in MongoDB and the accounts in PostgreSQL.
//!
//! | call | no hold | HELD | POSTED | CANCELLED |
//! | --- | --- | --- | --- | --- |
//! | reserve | hold it, or insert CANCELLED with the reason and refuse | same content: reserved; else impossible | reserved (a late duplicate) | refused: nothing may hang |
//! | confirm | impossible | post | posted | impossible |
//! | cancel | insert CANCELLED: a tombstone, so that a reserve that comes later is refused | release | impossible | released |
//!
//! Every duplicate gets the answer of the first call. "Impossible" changes nothing; an operator has to look into it.
//! The three anomalies that the rows prevent are those of Seata's TCC mode (idempotence, empty rollback, hanging).

use std::future::Future;

use fault::Flaw;
use time::OffsetDateTime;
use types::{Money, OrderId, TransferId, UserId};

use crate::store::StoreError;

/// Which way the credit goes, seen from the account that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It leaves.
    Debit,
    /// It arrives.
    Credit,
}

/// What a transfer asks to be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldSpec {
    /// The id of the transfer.
    pub transfer_id: TransferId,
    /// The user whose wallet or account it is.
    pub owner: UserId,
    /// Whether the credit leaves or arrives.
    pub direction: Direction,
    /// The amount, which is above zero.
    pub amount: Money,
    /// The time from which the coordinator is asked, if no decision came.
    pub expires_at: OffsetDateTime,
    /// The order that is paid or refunded.
    pub order_id: OrderId,
}

/// The state of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldState {
    /// The amount is set aside.
    Held,
    /// Final: the amount is in the book.
    Posted,
    /// Final: nothing has moved, and nothing will.
    Cancelled,
}

/// Why a reserve was refused; the names are those of the packages' `ErrorReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Less is available than the amount.
    InsufficientCredit,
    /// The balance would pass its limit.
    BalanceLimit,
    /// No such user.
    UserNotFound,
    /// The user may not spend.
    UserDeactivated,
    /// Nothing may leave the wallet.
    WalletFrozen,
    /// More than a limit of the wallet: of a payment, or of a day.
    WalletLimit,
    /// The transfer was cancelled, perhaps before the reserve arrived.
    Cancelled,
}

impl Refusal {
    /// The refusal's name on the wire and in databases.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InsufficientCredit => "INSUFFICIENT_CREDIT",
            Self::BalanceLimit => "BALANCE_LIMIT",
            Self::UserNotFound => "USER_NOT_FOUND",
            Self::UserDeactivated => "USER_DEACTIVATED",
            Self::WalletFrozen => "WALLET_FROZEN",
            Self::WalletLimit => "WALLET_LIMIT",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// The refusal of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::InsufficientCredit,
            Self::BalanceLimit,
            Self::UserNotFound,
            Self::UserDeactivated,
            Self::WalletFrozen,
            Self::WalletLimit,
            Self::Cancelled,
        ]
        .into_iter()
        .find(|refusal| refusal.as_str() == name)
    }
}

/// A hold as the database has it. A tombstone has no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The id of the transfer.
    pub transfer_id: TransferId,
    /// What was asked for; `None` in the tombstone of a reserve that never came.
    pub spec: Option<HoldSpec>,
    /// Whether it is held, posted or cancelled.
    pub state: HoldState,
    /// Why the reserve was refused, if it was.
    pub refusal: Option<Refusal>,
    /// Counts the hold's changes from 1: the version of its aggregate's events.
    pub version: i64,
}

/// One call of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Set the amount aside.
    Reserve(HoldSpec),
    /// The decision is CONFIRM: post it.
    Confirm(TransferId),
    /// The decision is CANCEL: release it, or make sure that it is never held.
    Cancel(TransferId),
}

impl Step {
    /// The transfer that the step belongs to.
    #[must_use]
    pub fn transfer_id(&self) -> TransferId {
        match self {
            Self::Reserve(spec) => spec.transfer_id,
            Self::Confirm(id) | Self::Cancel(id) => *id,
        }
    }

    /// The step's name in events.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Reserve(_) => "reserve",
            Self::Confirm(_) => "confirm",
            Self::Cancel(_) => "cancel",
        }
    }
}

/// The participant's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The amount is held, or was held and has been posted since.
    Reserved,
    /// The reserve is refused for good.
    Refused(Refusal),
    /// The amount is in the book.
    Posted,
    /// Nothing is held, and nothing will be.
    Released,
    /// The table has no such step, and nothing changed. The state is `None` when there was no hold.
    Impossible(Option<HoldState>),
}

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The answer to the call.
    pub outcome: Outcome,
    /// The hold after the step; `None` when there is none.
    pub hold: Option<Hold>,
    /// Whether this step changed it; `false` for a duplicate.
    pub changed: bool,
}

/// What a database must do for the table, inside one transaction.
pub trait ParticipantTx: Send {
    /// Reads a hold and locks it, or its absence as well as the database can: of two concurrent inserts one
    /// must fail with [`StoreError::Transient`].
    fn hold_fetch(
        &mut self,
        transfer_id: TransferId,
    ) -> impl Future<Output = Result<Option<Hold>, StoreError>> + Send;

    /// Inserts a new hold.
    fn hold_insert(&mut self, hold: &Hold) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Writes a hold's new state and version.
    fn hold_update(&mut self, hold: &Hold) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Sets an amount aside by a conditional update (for a credit: room below the balance limit); the inner
    /// error says why it cannot be.
    fn balance_reserve(
        &mut self,
        spec: &HoldSpec,
    ) -> impl Future<Output = Result<Result<(), Refusal>, StoreError>> + Send;

    /// Gives back what [`ParticipantTx::balance_reserve`] set aside.
    fn balance_release(&mut self, spec: &HoldSpec) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Moves what was set aside: the double entry and the balance.
    fn balance_post(&mut self, spec: &HoldSpec) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Applies one step of the table.
///
/// # Errors
/// Those of the store; nothing may be committed then.
pub async fn apply<Tx: ParticipantTx>(tx: &mut Tx, step: &Step) -> Result<Applied, StoreError> {
    let hold = tx.hold_fetch(step.transfer_id()).await?;
    match (step, hold) {
        (Step::Reserve(spec), None) => reserve(tx, spec).await,
        (Step::Reserve(spec), Some(hold)) => Ok(reserve_again(spec, hold)),
        (Step::Confirm(_), Some(hold)) if hold.state == HoldState::Held => {
            finish(tx, hold, HoldState::Posted).await
        }
        (Step::Confirm(_), Some(hold)) if hold.state == HoldState::Posted => {
            Ok(unchanged(Outcome::Posted, Some(hold)))
        }
        (Step::Cancel(_), Some(hold)) if hold.state == HoldState::Held => {
            finish(tx, hold, HoldState::Cancelled).await
        }
        (Step::Cancel(_), Some(hold)) if hold.state == HoldState::Cancelled => {
            Ok(unchanged(Outcome::Released, Some(hold)))
        }
        (Step::Cancel(_), None) if Flaw::NoTombstone.is_in() => Ok(unchanged(Outcome::Released, None)),
        (Step::Cancel(transfer_id), None) => {
            let tombstone = Hold {
                transfer_id: *transfer_id,
                spec: None,
                state: HoldState::Cancelled,
                refusal: Some(Refusal::Cancelled),
                version: 1,
            };
            tx.hold_insert(&tombstone).await?;
            Ok(Applied { outcome: Outcome::Released, hold: Some(tombstone), changed: true })
        }
        (Step::Confirm(_) | Step::Cancel(_), hold) => {
            Ok(unchanged(Outcome::Impossible(hold.as_ref().map(|hold| hold.state)), hold))
        }
    }
}

async fn reserve<Tx: ParticipantTx>(tx: &mut Tx, spec: &HoldSpec) -> Result<Applied, StoreError> {
    let refusal = tx.balance_reserve(spec).await?.err();
    let hold = Hold {
        transfer_id: spec.transfer_id,
        spec: Some(spec.clone()),
        state: if refusal.is_some() { HoldState::Cancelled } else { HoldState::Held },
        refusal,
        version: 1,
    };
    tx.hold_insert(&hold).await?;
    let outcome = refusal.map_or(Outcome::Reserved, Outcome::Refused);
    Ok(Applied { outcome, hold: Some(hold), changed: true })
}

fn reserve_again(spec: &HoldSpec, hold: Hold) -> Applied {
    let same = hold.spec.as_ref() == Some(spec);
    let outcome = match hold.state {
        HoldState::Held | HoldState::Posted if same => Outcome::Reserved,
        HoldState::Held | HoldState::Posted => Outcome::Impossible(Some(hold.state)),
        HoldState::Cancelled => Outcome::Refused(hold.refusal.unwrap_or(Refusal::Cancelled)),
    };
    unchanged(outcome, Some(hold))
}

async fn finish<Tx: ParticipantTx>(
    tx: &mut Tx,
    mut hold: Hold,
    state: HoldState,
) -> Result<Applied, StoreError> {
    let spec = hold.spec.as_ref().ok_or_else(|| {
        StoreError::Permanent(format!("hold {} is held and has no content", hold.transfer_id).into())
    })?;
    let outcome = if state == HoldState::Posted {
        tx.balance_post(spec).await?;
        Outcome::Posted
    } else {
        tx.balance_release(spec).await?;
        Outcome::Released
    };
    hold.state = state;
    hold.version += 1;
    tx.hold_update(&hold).await?;
    Ok(Applied { outcome, hold: Some(hold), changed: true })
}

fn unchanged(outcome: Outcome, hold: Option<Hold>) -> Applied {
    Applied { outcome, hold, changed: false }
}
